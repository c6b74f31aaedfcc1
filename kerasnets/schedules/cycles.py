"""Schedules that go up and down, and move the momentum the other way."""

import math

import keras
from keras import ops

from kerasnets._internal.arguments import check_choice, check_integer, check_number
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

    Examples:
        >>> schedule = kerasnets.schedules.OneCycleLR(0.1, total_steps=5 * 938)
        >>> round(float(schedule(0)), 4)
        0.004
        >>> optimizer = kerasnets.optimizers.SGD(schedule, momentum=0.95)
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


_MODES = ("triangular", "triangular2", "exp_range")


@keras.saving.register_keras_serializable(package="kerasnets")
class CyclicLR(LRSchedule):
    """Up from `base_lr` to `max_lr` and down again, forever (``torch.optim.lr_scheduler.CyclicLR``).

    At step t, p = t mod (u + d) of a cycle with u steps up and d steps down, the rate is

        ηₜ = base_lr + (max_lr − base_lr)·f·h      h = p/u for p ≤ u, (u + d − p)/d otherwise

    where f is 1 (``"triangular"``), 1/2 for each cycle before this one (``"triangular2"``) or γᵗ (``"exp_range"``).
    Momentum is max_momentum − (max_momentum − base_momentum)·f·h. The optimizers of :mod:`kerasnets.optimizers` let it
    move ``momentum`` (SGD, RMSprop, Muon) or ``beta_1`` (Adam and its relatives); Keras's own only follow the rate.
    Another `scale_fn` of PyTorch's can be written as :class:`LambdaLR`.

    Args:
        base_lr: the lowest rate; for a parameter group, its own learning rate, and its highest in the same ratio.
        max_lr: the highest rate.
        step_size_up: u, in calls of PyTorch's ``scheduler.step()``.
        step_size_down: d; None means u.
        mode: ``"triangular"``, ``"triangular2"`` or ``"exp_range"``.
        gamma: γ > 0 of ``"exp_range"``.
        cycle_momentum: also move momentum (or beta_1).
        base_momentum: the lowest momentum, in [0, 1).
        max_momentum: the highest momentum, in [0, 1), which the first step has.
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> schedule = kerasnets.schedules.CyclicLR(0.1, 0.3, step_size_up=2)
        >>> [round(float(schedule(step)), 4) for step in range(5)]
        [0.1, 0.2, 0.3, 0.2, 0.1]
    """

    def __init__(
        self,
        base_lr: float,
        max_lr: float,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        steps_per_epoch: int = 1,
    ):
        super().__init__(check_number("base_lr", base_lr), steps_per_epoch)
        self.max_lr = check_number("max_lr", max_lr)
        self.step_size_up = check_integer("step_size_up", step_size_up)
        down = step_size_up if step_size_down is None else step_size_down
        self.step_size_down = check_integer("step_size_down", down)
        self.mode = check_choice("mode", mode, _MODES)
        self.gamma = check_number("gamma", gamma, above=True)
        self.cycle_momentum = bool(cycle_momentum)
        self.base_momentum = check_number("base_momentum", base_momentum, below=1.0)
        self.max_momentum = check_number("max_momentum", max_momentum, below=1.0)

    def _height(self, epoch):
        """Return f·h: how far between the lower and the upper end this epoch is."""
        up, down = self.step_size_up, self.step_size_down
        place = epoch % (up + down)
        height = ops.where(place <= up, as_float(place) / up, as_float(up + down - place) / down)
        if self.mode == "triangular":
            return height
        # exp(k·log γ) instead of γᵏ, which would multiply the rounding error of γ in float32 by k.
        cycles, rate = (epoch // (up + down), 0.5) if self.mode == "triangular2" else (epoch, self.gamma)
        return height * ops.exp(as_float(cycles) * math.log(rate))

    def rate(self, epoch):
        return self.learning_rate + (self.max_lr - self.learning_rate) * self._height(epoch)

    def momentum_at(self, epoch):
        return self.max_momentum - (self.max_momentum - self.base_momentum) * self._height(epoch)

    def rebase(self, learning_rate):
        if self.learning_rate == 0:
            raise ValueError(f"A cycle with the base rate 0 can't be rebased to {learning_rate!r}.")
        highest = self.max_lr * (learning_rate / self.learning_rate)
        return type(self)(**{**self.get_config(), "base_lr": learning_rate, "max_lr": highest})

    def get_config(self):
        names = ("max_lr", "step_size_up", "step_size_down", "mode", "gamma", "cycle_momentum", "base_momentum")
        return {
            "base_lr": self.learning_rate,
            **{name: getattr(self, name) for name in names},
            "max_momentum": self.max_momentum,
            "steps_per_epoch": self.steps_per_epoch,
        }
