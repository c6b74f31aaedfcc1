"""SequentialLR and ReduceLROnPlateau."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kerasnets._internal.arguments import check_integer, check_number
from kerasnets._internal.arrays import to_numpy
from kerasnets._internal.show import as_call
from kerasnets.schedules.base import LRSchedule


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

    Examples:
        >>> schedule = kerasnets.schedules.SequentialLR(
        ...     [
        ...         kerasnets.schedules.LinearLR(0.4, start_factor=0.5, total_iters=2),
        ...         kerasnets.schedules.ExponentialLR(0.4, gamma=0.5),
        ...     ],
        ...     milestones=[2],
        ... )
        >>> [round(float(schedule(step)), 4) for step in range(4)]
        [0.2, 0.3, 0.4, 0.2]
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
        """Make the sequence that ``get_config`` described."""
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

    Examples:
        >>> plateau = kerasnets.schedules.ReduceLROnPlateau("loss", factor=0.5, patience=0, threshold=0.9)
        >>> model = kerasnets.models.Sequential([keras.Input((2,)), kerasnets.layers.Linear(1)])
        >>> model.compile(kerasnets.optimizers.SGD(0.01), kerasnets.losses.MSELoss())
        >>> history = model.fit(np.eye(2), np.ones((2, 1)), epochs=3, verbose=0, callbacks=[plateau])
        >>> float(model.optimizer.learning_rate) < 0.01
        True
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
