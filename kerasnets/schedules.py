"""PyTorch's learning-rate schedules as Keras classes.

A schedule is given to an optimizer in place of its learning rate and follows ``optimizer.iterations``: it is compiled
into the training step, saved in the ``.keras`` file, and a resumed run goes on where it was.

>>> StepLR(0.1, step_size=30, steps_per_epoch=938)          # every 30 epochs of 938 batches, a tenth
>>> OneCycleLR(0.1, total_steps=5 * 938)                    # moves the optimizer's momentum (or beta_1) as well

``steps_per_epoch`` says how many optimizer steps there are to one ``scheduler.step()`` of the PyTorch program: the
number of batches where it is called once an epoch, 1 (the default) where it is called after every batch.

Keras's own schedules are not used inside: they divide the step number as a floating-point number, where a drop can come
a step early or late and float32 loses digits after many steps. Here epochs are integers, and the formulas are written
so that float32 keeps its digits when the rate is near zero.
"""

# ruff: noqa: D102 (a method that overrides one is documented there)

import math
import warnings
from collections.abc import Callable, Sequence

import keras
from keras import ops

from kerasnets._internal.arguments import check_integer, check_number


def _float(x):
    """`x` as a tensor of Keras's float type."""
    return ops.cast(x, keras.config.floatx())


def _sin_squared(x):
    """sin²(x) for 0 ≤ x ≤ π/2."""
    if keras.backend.standardize_dtype(x.dtype) == "float64":
        # Keras's own sin returns float32 for float64 on JAX. Twelve terms of the series are exact to the last digits.
        sine, square = 0.0, x * x
        for k in reversed(range(12)):
            sine = sine * square + (-1) ** k / math.factorial(2 * k + 1)
        sine = sine * x
    else:
        sine = ops.sin(x)
    return sine * sine


class LRSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """What the schedules here share: a base rate, and epochs of `steps_per_epoch` optimizer steps.

    A subclass gives :meth:`rate`; ``schedule(step)`` is the learning rate of optimizer step `step` (0 is the first).

    Args:
        learning_rate: the base rate η₀ ≥ 0, the ``lr`` that PyTorch's optimizer would be given.
        steps_per_epoch: optimizer steps to one ``scheduler.step()`` in PyTorch.

    Raises:
        ValueError: an argument is out of range.
    """

    #: Whether the schedule moves the optimizer's momentum (or beta_1) too.
    cycle_momentum = False

    def __init__(self, learning_rate: float, steps_per_epoch: int = 1):
        super().__init__()
        self.learning_rate = check_number("learning_rate", learning_rate)
        self.steps_per_epoch = check_integer("steps_per_epoch", steps_per_epoch)

    def __call__(self, step):
        """The learning rate of optimizer step `step`, a scalar tensor."""
        return self.rate(self._epoch(step))

    def _epoch(self, step):
        return ops.cast(step, "int32") // self.steps_per_epoch

    def rate(self, epoch):
        """The learning rate after `epoch` (an int32 scalar tensor) calls of PyTorch's ``scheduler.step()``."""
        raise NotImplementedError(f"{type(self).__name__} must implement rate(epoch).")

    def momentum(self, step):
        """The momentum (or beta_1) of optimizer step `step`, a scalar tensor; only where `cycle_momentum` is true."""
        return self.momentum_at(self._epoch(step))

    def momentum_at(self, epoch):
        """The momentum (or beta_1) after `epoch` calls of ``scheduler.step()``; only where `cycle_momentum` is true."""
        raise ValueError(f"{type(self).__name__} does not move the momentum.")

    def rebase(self, learning_rate: float) -> "LRSchedule":
        """The same schedule from another base rate, as PyTorch runs it for a parameter group with its own ``lr``."""
        return type(self).from_config({**self.get_config(), "learning_rate": learning_rate})

    def get_config(self):
        """The arguments of the constructor."""
        return {"learning_rate": self.learning_rate, "steps_per_epoch": self.steps_per_epoch}


class _Decay(LRSchedule):
    """η₀·γᵏ, where a subclass counts the drops k."""

    def __init__(self, learning_rate: float, gamma: float, steps_per_epoch: int):
        super().__init__(learning_rate, steps_per_epoch)
        self.gamma = check_number("gamma", gamma, above=True)

    def drops(self, epoch):
        """How often the rate has been multiplied by γ."""
        raise NotImplementedError

    def rate(self, epoch):
        # exp(k·log γ) and not γᵏ: rounding γ to float32 would be felt k times.
        return ops.exp(_float(self.drops(epoch)) * math.log(self.gamma)) * self.learning_rate

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="kerasnets")
class StepLR(_Decay):
    """The rate times γ every `step_size` epochs: ηₜ = η₀·γ^⌊t/step_size⌋ (``torch.optim.lr_scheduler.StepLR``).

    Args:
        learning_rate: η₀.
        step_size: epochs between two drops.
        gamma: γ > 0.
        steps_per_epoch: optimizer steps to one ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, learning_rate: float, step_size: int, gamma: float = 0.1, steps_per_epoch: int = 1):
        super().__init__(learning_rate, gamma, steps_per_epoch)
        self.step_size = check_integer("step_size", step_size)

    def drops(self, epoch):
        return epoch // self.step_size

    def get_config(self):
        return {**super().get_config(), "step_size": self.step_size}


@keras.saving.register_keras_serializable(package="kerasnets")
class MultiStepLR(_Decay):
    """The rate times γ at each milestone: ηₜ = η₀·γ^(milestones ≤ t) (``torch.optim.lr_scheduler.MultiStepLR``).

    Args:
        learning_rate: η₀.
        milestones: epochs, in any order; one named twice counts twice.
        gamma: γ > 0.
        steps_per_epoch: optimizer steps to one ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, learning_rate: float, milestones: Sequence[int], gamma: float = 0.1, steps_per_epoch: int = 1):
        super().__init__(learning_rate, gamma, steps_per_epoch)
        self.milestones = sorted(check_integer("milestone", milestone, 0) for milestone in milestones)

    def drops(self, epoch):
        return ops.sum(ops.cast(epoch >= ops.convert_to_tensor(self.milestones, "int32"), "int32"))

    def get_config(self):
        return {**super().get_config(), "milestones": self.milestones}


@keras.saving.register_keras_serializable(package="kerasnets")
class ExponentialLR(_Decay):
    """The rate times γ every epoch: ηₜ = η₀·γᵗ (``torch.optim.lr_scheduler.ExponentialLR``).

    Args:
        learning_rate: η₀.
        gamma: γ > 0.
        steps_per_epoch: optimizer steps to one ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, learning_rate: float, gamma: float, steps_per_epoch: int = 1):
        super().__init__(learning_rate, gamma, steps_per_epoch)

    def drops(self, epoch):
        return epoch


@keras.saving.register_keras_serializable(package="kerasnets")
class LinearLR(LRSchedule):
    """A straight line between two factors, constant after it (``torch.optim.lr_scheduler.LinearLR``).

    ηₜ = η₀·(start_factor·(n − t) + end_factor·t)/n for t ≤ n = total_iters, η₀·end_factor from there on.

    Args:
        learning_rate: η₀.
        start_factor: in (0, 1].
        end_factor: in [0, 1].
        total_iters: epochs from one to the other.
        steps_per_epoch: optimizer steps to one ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        learning_rate: float,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        steps_per_epoch: int = 1,
    ):
        super().__init__(learning_rate, steps_per_epoch)
        self.start_factor = check_number("start_factor", start_factor, above=True)
        self.end_factor = check_number("end_factor", end_factor)
        for name, factor in (("start_factor", start_factor), ("end_factor", end_factor)):
            if factor > 1.0:
                raise ValueError(f"Invalid {name}: {factor!r}; expected at most 1.")
        self.total_iters = check_integer("total_iters", total_iters)

    def rate(self, epoch):
        t = ops.minimum(epoch, self.total_iters)
        start, end = (self.learning_rate * factor / self.total_iters for factor in (self.start_factor, self.end_factor))
        return _float(self.total_iters - t) * start + _float(t) * end

    def get_config(self):
        return {
            **super().get_config(),
            "start_factor": self.start_factor,
            "end_factor": self.end_factor,
            "total_iters": self.total_iters,
        }


@keras.saving.register_keras_serializable(package="kerasnets")
class LambdaLR(LRSchedule):
    """The base rate times a function of the epoch: ηₜ = η₀·λ(t) (``torch.optim.lr_scheduler.LambdaLR``).

    The function is called once, on the host, for the epochs 0 … `epochs` − 1, and the factors are kept: so the schedule
    compiles and is saved. After them the last factor holds.

    Args:
        learning_rate: η₀.
        lr_lambda: λ, called with the epoch as an int; or the factors themselves.
        epochs: how many epochs to call `lr_lambda` for (epochs of `steps_per_epoch` optimizer steps).
        steps_per_epoch: optimizer steps to one ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range, or a factor is negative or not finite.
    """

    def __init__(
        self,
        learning_rate: float,
        lr_lambda: Callable[[int], float] | Sequence[float],
        epochs: int | None = None,
        steps_per_epoch: int = 1,
    ):
        super().__init__(learning_rate, steps_per_epoch)
        if callable(lr_lambda):
            if epochs is None:
                raise ValueError("LambdaLR needs epochs=…: the number of epochs to call lr_lambda for.")
            self.factors = [
                check_number(f"lr_lambda({t})", lr_lambda(t)) for t in range(check_integer("epochs", epochs))
            ]
        else:
            self.factors = [check_number(f"factor {t} of lr_lambda", factor) for t, factor in enumerate(lr_lambda)]
            if not self.factors or (epochs is not None and epochs != len(self.factors)):
                raise ValueError(f"lr_lambda has {len(self.factors)} factors; expected {epochs or 'at least 1'}.")

    def rate(self, epoch):
        table = ops.convert_to_tensor([self.learning_rate * factor for factor in self.factors], keras.config.floatx())
        return ops.take(table, ops.minimum(epoch, len(self.factors) - 1))

    def get_config(self):
        return {**super().get_config(), "lr_lambda": self.factors}


@keras.saving.register_keras_serializable(package="kerasnets")
class CosineAnnealingLR(LRSchedule):
    """Half a cosine down to `eta_min` in `T_max` epochs, and up again (``torch.optim.lr_scheduler.CosineAnnealingLR``).

    ηₜ = eta_min + (η₀ − eta_min)·(1 + cos(πt/T_max))/2 for every t, as PyTorch's recursion gives it: after T_max the
    rate rises, and is η₀ again at 2·T_max.

    Args:
        learning_rate: η₀.
        T_max: epochs from η₀ to `eta_min`.
        eta_min: the lowest rate.
        steps_per_epoch: optimizer steps to one ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, learning_rate: float, T_max: int, eta_min: float = 0.0, steps_per_epoch: int = 1):
        super().__init__(learning_rate, steps_per_epoch)
        self.T_max = check_integer("T_max", T_max)
        self.eta_min = check_number("eta_min", eta_min)

    def rate(self, epoch):
        # (1 + cos(πt/T))/2 = sin²(π(T − t)/2T): the difference is exact in integers, the cosine's is not in float32.
        # The same for the share of eta_min, so that nothing cancels where it is the larger rate.
        left = ops.abs(self.T_max - epoch % (2 * self.T_max))
        part, rest = (_sin_squared(_float(n) * (math.pi / 2 / self.T_max)) for n in (left, self.T_max - left))
        return part * self.learning_rate + rest * self.eta_min

    def get_config(self):
        return {**super().get_config(), "T_max": self.T_max, "eta_min": self.eta_min}


@keras.saving.register_keras_serializable(package="kerasnets")
class CosineAnnealingWarmRestarts(LRSchedule):
    """Half a cosine, begun again after T_0, T_0·T_mult, … epochs (``lr_scheduler.CosineAnnealingWarmRestarts``).

    ηₜ = eta_min + (η₀ − eta_min)·(1 + cos(π·T_cur/T_i))/2, where T_cur are the epochs since the last restart and
    T_i = T_0·T_multⁱ the length of this cycle.

    Args:
        learning_rate: η₀.
        T_0: epochs of the first cycle.
        T_mult: how much longer each cycle is than the one before.
        eta_min: the lowest rate.
        steps_per_epoch: optimizer steps to one ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, learning_rate: float, T_0: int, T_mult: int = 1, eta_min: float = 0.0, steps_per_epoch: int = 1):
        super().__init__(learning_rate, steps_per_epoch)
        self.T_0 = check_integer("T_0", T_0)
        self.T_mult = check_integer("T_mult", T_mult)
        self.eta_min = check_number("eta_min", eta_min)

    def rate(self, epoch):
        if self.T_mult == 1:
            since, length = epoch % self.T_0, ops.cast(self.T_0, "int32")
        else:
            starts, lengths = self._cycles()
            cycle = ops.sum(ops.cast(epoch >= ops.convert_to_tensor(starts, "int32"), "int32")) - 1
            since = epoch - ops.take(ops.convert_to_tensor(starts, "int32"), cycle)
            length = ops.take(ops.convert_to_tensor(lengths, "int32"), cycle)
        part, rest = (_sin_squared(_float(n) / _float(length) * (math.pi / 2)) for n in (length - since, since))
        return part * self.learning_rate + rest * self.eta_min

    def _cycles(self) -> tuple[list[int], list[int]]:
        """First epoch and length of every cycle that 32-bit step numbers can reach."""
        starts, lengths = [0], [self.T_0]
        while starts[-1] + lengths[-1] * (1 + self.T_mult) < 2**31:
            starts.append(starts[-1] + lengths[-1])
            lengths.append(lengths[-1] * self.T_mult)
        return starts, lengths

    def get_config(self):
        return {**super().get_config(), "T_0": self.T_0, "T_mult": self.T_mult, "eta_min": self.eta_min}


@keras.saving.register_keras_serializable(package="kerasnets")
class OneCycleLR(LRSchedule):
    """Up to `max_lr`, down to almost nothing, momentum the other way round (``torch.optim.lr_scheduler.OneCycleLR``).

    With n = total_steps the rate goes from max_lr/div_factor to max_lr by step pct_start·n − 1 and to
    max_lr/(div_factor·final_div_factor) by step n − 1; momentum from max_momentum to base_momentum and back. With
    `three_phase` the way down first mirrors the way up. The optimizers of :mod:`kerasnets.optimizers` let it move
    ``momentum`` (SGD, RMSprop) or ``beta_1`` (Adam, AdamW); Keras's own only take the rate. PyTorch's scheduler raises
    an error after n steps; here the rate of step n holds.

    Args:
        max_lr: the highest rate; also what a parameter group's own learning rate stands for.
        total_steps: steps of the cycle, n; or give `epochs` and `steps_per_epoch`.
        epochs: epochs of the cycle.
        steps_per_epoch: batches of an epoch. The schedule is stepped after every batch, as in PyTorch.
        pct_start: the share of the cycle in which the rate rises, in [0, 1].
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum: whether momentum (or beta_1) moves, too.
        base_momentum: the lowest momentum, in (0, 1).
        max_momentum: the highest momentum, in (0, 1).
        div_factor: max_lr over the first rate.
        final_div_factor: the first rate over the last.
        three_phase: whether to come back to the first rate before the last descent.

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
                f"pct_start={pct_start!r} of total_steps={total_steps!r} is one step: it would rise in zero steps; "
                "expected another pct_start."
            )

    def _phases(self, low, high, last, mirrored):
        """(first step, last step, first value, last value) of each phase."""
        up = self.pct_start * self.total_steps - 1
        end = self.total_steps - 1
        if not self.three_phase:
            phases = [(0.0, up, low, high), (up, end, high, last)]
        else:
            down = 2 * self.pct_start * self.total_steps - 2
            phases = [(0.0, up, low, high), (up, down, high, mirrored), (down, end, mirrored, last)]
        # A phase of no steps at the end is never reached.
        return phases if phases[-1][0] != phases[-1][1] else phases[:-1]

    def _anneal(self, epoch, phases):
        epoch = ops.minimum(epoch, self.total_steps)
        t = _float(epoch)
        value = None
        for start, end, first, last in reversed(phases):
            left = (end - t) / (end - start)
            if self.anneal_strategy == "cos":
                left = _sin_squared(left * (math.pi / 2))
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
    """One schedule after the other, each from its own epoch 0 (``torch.optim.lr_scheduler.SequentialLR``).

    Args:
        schedules: the schedules. They count the epochs of the sequence; give them no `steps_per_epoch` of their own.
        milestones: the epochs at which the second, third, … begins, rising.
        steps_per_epoch: optimizer steps to one ``scheduler.step()``.

    Raises:
        ValueError: no schedule, a schedule with another `steps_per_epoch`, or milestones that don't fit.
        TypeError: a schedule that is not one of this module.
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
                f"Invalid milestones: {list(milestones)}; expected {len(self.schedules) - 1} rising epochs, one for "
                "each schedule but the first."
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
        # Until the first OneCycleLR begins, momentum is what PyTorch's constructors leave: the last one's first value.
        before = next(schedule for schedule in reversed(self.schedules) if schedule.cycle_momentum)
        value = before.momentum_at(ops.zeros_like(epoch))
        for i, schedule in enumerate(self.schedules):
            if schedule.cycle_momentum:
                # It holds still when the next schedule takes over.
                local = (
                    epoch - starts[i]
                    if i == len(self.milestones)
                    else ops.minimum(epoch, starts[i + 1] - 1) - starts[i]
                )
                value = ops.where(epoch >= starts[i], schedule.momentum_at(ops.maximum(local, 0)), value)
        return value

    def rebase(self, learning_rate):
        """The sequence from another base rate; schedules with rates of their own keep the ratio to the first."""
        if self.learning_rate == 0:
            raise ValueError(f"A sequence that begins at rate 0 can't be moved to the base rate {learning_rate!r}.")
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
    def from_config(cls, config):
        """The sequence that `config`, of :meth:`get_config`, describes."""
        schedules = [keras.saving.deserialize_keras_object(schedule) for schedule in config["schedules"]]
        return cls(schedules, config["milestones"], config["steps_per_epoch"])


class ReduceLROnPlateau(keras.callbacks.Callback):
    """Lower the learning rate when a quantity stops improving (``torch.optim.lr_scheduler.ReduceLROnPlateau``).

    At the end of each epoch the quantity counts as better if it is below best·(1 − threshold) (``"rel"``) or below
    best − threshold (``"abs"``), mirrored for ``mode="max"``; otherwise the epoch is bad. *More* than `patience` bad
    epochs in a row lower the rate to max(rate·factor, min_lr), if that changes it by more than `eps`; bad epochs within
    the `cooldown` after it don't count. Keras's callback of this name acts *at* `patience` bad epochs, one earlier, and
    knows an absolute threshold only.

    As PyTorch's object does, the callback keeps its counts when `fit` is called again. Groups of an optimizer of
    :mod:`kerasnets.optimizers` move with the optimizer's rate.

    Args:
        monitor: name of the quantity in `logs`; PyTorch's argument of ``step()``.
        mode: ``"min"`` or ``"max"``.
        factor: what the rate is multiplied by, < 1.
        patience: bad epochs in a row that are borne.
        threshold: how much better is better.
        threshold_mode: ``"rel"`` or ``"abs"``.
        cooldown: epochs to wait after a reduction.
        min_lr: lower bound of the rate.
        eps: smallest change of the rate that is made.
        verbose: 1 prints a line at each reduction.

    Raises:
        ValueError: an argument is out of range.
        TypeError: when training begins, if the optimizer's rate is a schedule.
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
                f"Invalid monitor: {monitor!r}; expected the name of a log entry such as 'val_loss'. The optimizer is "
                "the model's: give this callback to fit."
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

    def on_train_begin(self, logs=None):
        """Find out now whether the rate can be set, and not when the first plateau is reached."""
        self.model.optimizer.learning_rate = self._rate()

    def on_epoch_end(self, epoch, logs=None):
        """Count the epoch, and lower the rate where it is time."""
        logs = {} if logs is None else logs
        logs["learning_rate"] = self._rate()
        if self.monitor not in logs:
            warnings.warn(
                f"ReduceLROnPlateau watches {self.monitor!r}, which is not among this epoch's quantities: "
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
        return float(ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _is_better(self, current: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        margin = sign * self.threshold
        bound = self.best * (1.0 + margin) if self.threshold_mode == "rel" else self.best + margin
        return current < bound if self.mode == "min" else current > bound
