"""OneCycleLR, SequentialLR, and ReduceLROnPlateau."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kerasnets._internal.arguments import check_integer, check_number
from kerasnets._internal.arrays import to_numpy
from kerasnets._internal.show import as_call
from kerasnets.schedules.base import LRSchedule, as_float, sin_squared


@keras.saving.register_keras_serializable(package="kerasnets")
class OneCycleLR(LRSchedule):
    """Up to `max_lr`, then down to almost 0, and momentum the other way (``torch.optim.lr_scheduler.OneCycleLR``).

    With n = total_steps, the rate rises from max_lr/div_factor to max_lr at step pct_start·n − 1 and falls to
    max_lr/(div_factor·final_div_factor) at step n − 1; momentum falls from max_momentum to base_momentum and rises
    again. With `three_phase`, the descent begins as the mirror image of the rise. The optimizers of
    :mod:`kerasnets.optimizers` let it move ``momentum`` (SGD, RMSprop) or ``beta_1`` (Adam, AdamW); Keras's own only
    follow the rate. PyTorch's scheduler raises an error after n steps; here the rate stays that of step n.

    Args:
        max_lr: the highest rate; for a parameter group, its own learning rate.
        total_steps: steps of the cycle, n; or give `epochs` and `steps_per_epoch`.
        epochs: epochs of the cycle.
        steps_per_epoch: batches per epoch. The schedule moves after every batch, as in PyTorch.
        pct_start: the fraction of the cycle in which the rate rises, in [0, 1].
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum: also move momentum (or beta_1).
        base_momentum: the lowest momentum, in (0, 1).
        max_momentum: the highest momentum, in (0, 1).
        div_factor: max_lr divided by the first rate.
        final_div_factor: the first rate divided by the last.
        three_phase: return to the first rate before the final descent.

    Raises:
        ValueError: an argument is out of range, or a phase would be zero steps long.
    """

    def __init__(
        self,
        max_lr: float,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ):
        super().__init__(check_number("max_lr", max_lr))
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(
                    "OneCycleLR needs total_steps, or epochs and steps_per_epoch; got "
                    f"total_steps=None, epochs={epochs!r}, steps_per_epoch={steps_per_epoch!r}."
                )
            total_steps = check_integer("epochs", epochs) * check_integer("steps_per_epoch", steps_per_epoch)
        self.total_steps = check_integer("total_steps", total_steps)
        self.pct_start = check_number("pct_start", pct_start)
        if self.pct_start > 1.0:
            raise ValueError(f"Invalid pct_start: {pct_start!r}; expected a number between 0 and 1.")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"Invalid anneal_strategy: {anneal_strategy!r}; expected 'cos' or 'linear'.")
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = bool(cycle_momentum)
        self.base_momentum = check_number("base_momentum", base_momentum, above=True, below=1.0)
        self.max_momentum = check_number("max_momentum", max_momentum, above=True, below=1.0)
        self.div_factor = check_number("div_factor", div_factor, above=True)
        self.final_div_factor = check_number("final_div_factor", final_div_factor, above=True)
        self.three_phase = bool(three_phase)
        rise = self.pct_start * self.total_steps - 1
        if rise == 0:
            raise ValueError(
                f"pct_start={pct_start!r} of total_steps={total_steps!r} is one step, so that the rate would rise "
                "in zero steps; expected another pct_start."
            )

    def _phases(self, low, high, last, mirrored):
        """Return (first step, last step, first value, last value) for each phase."""
        up = self.pct_start * self.total_steps - 1
        end = self.total_steps - 1
        if not self.three_phase:
            phases = [(0.0, up, low, high), (up, end, high, last)]
        else:
            down = 2 * self.pct_start * self.total_steps - 2
            phases = [(0.0, up, low, high), (up, down, high, mirrored), (down, end, mirrored, last)]
        # A last phase without steps is never reached.
        return phases if phases[-1][0] != phases[-1][1] else phases[:-1]

    def _anneal(self, epoch, phases):
        epoch = ops.minimum(epoch, self.total_steps)
        t = as_float(epoch)
        value = None
        for start, end, first, last in reversed(phases):
            left = (end - t) / (end - start)
            if self.anneal_strategy == "cos":
                left = sin_squared(left * (math.pi / 2))
            here = left * (first - last) + last
            value = here if value is None else ops.where(epoch <= math.floor(end), here, value)
        return value

    def rate(self, epoch):
        first = self.learning_rate / self.div_factor
        return self._anneal(epoch, self._phases(first, self.learning_rate, first / self.final_div_factor, first))

    def momentum_at(self, epoch):
        low, high = self.base_momentum, self.max_momentum
        return self._anneal(epoch, self._phases(high, low, high, high))

    def rebase(self, learning_rate):
        return type(self)(**{**self.get_config(), "max_lr": learning_rate})

    def get_config(self):
        return {
            "max_lr": self.learning_rate,
            "total_steps": self.total_steps,
            "pct_start": self.pct_start,
            "anneal_strategy": self.anneal_strategy,
            "cycle_momentum": self.cycle_momentum,
            "base_momentum": self.base_momentum,
            "max_momentum": self.max_momentum,
            "div_factor": self.div_factor,
            "final_div_factor": self.final_div_factor,
            "three_phase": self.three_phase,
        }


@keras.saving.register_keras_serializable(package="kerasnets")
class SequentialLR(LRSchedule):
    """Several schedules, one after the other, each from its own epoch 0 (``torch.optim.lr_scheduler.SequentialLR``).

    Args:
        schedules: the schedules. They count the epochs of the sequence, and take no `steps_per_epoch` of their own.
        milestones: the epochs at which the second, third, … schedule begins, in increasing order.
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: there are no schedules, one has another `steps_per_epoch`, or there is not one milestone for each
            schedule after the first.
        TypeError: a schedule is not one of this package.
    """

    def __init__(self, schedules: Sequence[LRSchedule], milestones: Sequence[int], steps_per_epoch: int = 1):
        self.schedules = list(schedules)
        if not self.schedules:
            raise ValueError("SequentialLR needs at least one schedule; got none.")
        for schedule in self.schedules:
            if not isinstance(schedule, LRSchedule):
                raise TypeError(f"SequentialLR takes schedules of kerasnets.schedules; got {schedule!r}.")
        super().__init__(self.schedules[0].learning_rate, steps_per_epoch)
        for schedule in self.schedules:
            if schedule.steps_per_epoch not in (1, self.steps_per_epoch):
                raise ValueError(
                    f"{type(schedule).__name__} has steps_per_epoch={schedule.steps_per_epoch}, the sequence has "
                    f"{self.steps_per_epoch}. Give it to SequentialLR only."
                )
        self.milestones = [check_integer("milestone", milestone) for milestone in milestones]
        if len(self.milestones) != len(self.schedules) - 1 or self.milestones != sorted(set(self.milestones)):
            raise ValueError(
                f"Invalid milestones: {list(milestones)}; expected {len(self.schedules) - 1} increasing epochs, "
                "one for each schedule after the first."
            )
        self.cycle_momentum = any(schedule.cycle_momentum for schedule in self.schedules)

    def rate(self, epoch):
        value = self.schedules[0].rate(epoch)
        for milestone, schedule in zip(self.milestones, self.schedules[1:], strict=True):
            value = ops.where(epoch >= milestone, schedule.rate(ops.maximum(epoch - milestone, 0)), value)
        return value

    def momentum_at(self, epoch):
        if not self.cycle_momentum:
            return super().momentum_at(epoch)
        starts = [0, *self.milestones]
        # Before the first OneCycleLR begins, momentum has the value that PyTorch's constructors set: the first of the
        # last OneCycleLR.
        before = next(schedule for schedule in reversed(self.schedules) if schedule.cycle_momentum)
        value = before.momentum_at(ops.zeros_like(epoch))
        for i, schedule in enumerate(self.schedules):
            if schedule.cycle_momentum:
                # It stays constant when the next schedule begins.
                local = (
                    epoch - starts[i]
                    if i == len(self.milestones)
                    else ops.minimum(epoch, starts[i + 1] - 1) - starts[i]
                )
                value = ops.where(epoch >= starts[i], schedule.momentum_at(ops.maximum(local, 0)), value)
        return value

    def rebase(self, learning_rate):
        """Return the sequence with another base rate; each schedule keeps its ratio to the first."""
        if self.learning_rate == 0:
            raise ValueError(f"A sequence with the base rate 0 can't be rebased to {learning_rate!r}.")
        schedules = [
            schedule.rebase(
                learning_rate
                if schedule.learning_rate == self.learning_rate
                else learning_rate * (schedule.learning_rate / self.learning_rate)
            )
            for schedule in self.schedules
        ]
        return type(self)(schedules, self.milestones, self.steps_per_epoch)

    def get_config(self):
        return {
            "schedules": [keras.saving.serialize_keras_object(schedule) for schedule in self.schedules],
            "milestones": self.milestones,
            "steps_per_epoch": self.steps_per_epoch,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "SequentialLR":
        """Make the sequence that :meth:`get_config` described."""
        schedules = [keras.saving.deserialize_keras_object(schedule) for schedule in config["schedules"]]
        return cls(schedules, config["milestones"], config["steps_per_epoch"])


class ReduceLROnPlateau(keras.callbacks.Callback):
    """Lower the learning rate when a metric stops improving (``torch.optim.lr_scheduler.ReduceLROnPlateau``).

    After each epoch, the metric has improved if it is below best·(1 − threshold) (``"rel"``) or below best − threshold
    (``"abs"``), and the opposite for ``mode="max"``; otherwise the epoch is bad. After *more* than `patience` bad
    epochs in a row, the rate becomes max(rate·factor, min_lr), if that changes it by more than `eps`. Bad epochs during
    the `cooldown` after it don't count. Keras's callback of this name acts after *exactly* `patience` bad epochs, one
    earlier, and only has an absolute threshold.

    Like PyTorch's object, the callback keeps its counts when `fit` is called again. The rates of parameter groups of
    :mod:`kerasnets.optimizers` change with the optimizer's.

    Args:
        monitor: name of the metric in `logs`; the argument of PyTorch's ``step()``.
        mode: ``"min"`` or ``"max"``.
        factor: factor of a reduction, < 1.
        patience: number of bad epochs in a row that don't lower the rate yet.
        threshold: minimum improvement.
        threshold_mode: ``"rel"`` or ``"abs"``.
        cooldown: epochs to wait after a reduction.
        min_lr: minimum rate.
        eps: minimum change of the rate.
        verbose: 1 prints a line for each reduction.

    Raises:
        ValueError: an argument is out of range.
        TypeError: the optimizer's rate is a schedule; raised when training begins.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
        verbose: int = 0,
    ):
        super().__init__()
        if not isinstance(monitor, str):
            raise TypeError(
                f"Invalid monitor: {monitor!r}; expected the name of a metric such as 'val_loss'. The optimizer "
                "is the model's: give this callback to fit."
            )
        if mode not in ("min", "max"):
            raise ValueError(f"Invalid mode: {mode!r}; expected 'min' or 'max'.")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"Invalid threshold_mode: {threshold_mode!r}; expected 'rel' or 'abs'.")
        self.factor = check_number("factor", factor, below=1.0)
        self.monitor = monitor
        self.mode = mode
        self.patience = check_integer("patience", patience, 0)
        self.threshold = check_number("threshold", threshold)
        self.threshold_mode = threshold_mode
        self.cooldown = check_integer("cooldown", cooldown, 0)
        self.min_lr = check_number("min_lr", min_lr)
        self.eps = check_number("eps", eps)
        self.verbose = verbose
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def __repr__(self):
        return as_call(self, vars(self))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Raise an error now if the rate can't be set, instead of at the first plateau."""
        self.model.optimizer.learning_rate = self._rate()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Update the counts, and lower the rate if it is time."""
        logs = {} if logs is None else logs
        logs["learning_rate"] = self._rate()
        if self.monitor not in logs:
            warnings.warn(
                f"ReduceLROnPlateau monitors {self.monitor!r}, which is not one of this epoch's metrics: "
                f"{', '.join(sorted(logs))}.",
                stacklevel=2,
            )
            return
        current = float(logs[self.monitor])
        if self._is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            old = self._rate()
            new = max(old * self.factor, self.min_lr)
            if old - new > self.eps:
                self.model.optimizer.learning_rate = new
                if self.verbose:
                    print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau lowers the learning rate from {old:g} to {new:g}.")
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def _rate(self) -> float:
        return float(to_numpy(self.model.optimizer.learning_rate))

    def _is_better(self, current: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        margin = sign * self.threshold
        bound = self.best * (1.0 + margin) if self.threshold_mode == "rel" else self.best + margin
        return current < bound if self.mode == "min" else current > bound
