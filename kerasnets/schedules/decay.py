"""Schedules with one formula for all steps."""

import math
from collections.abc import Sequence

import keras
from keras import ops

from kerasnets._internal.arguments import check_integer, check_number
from kerasnets.schedules.base import LRSchedule, as_float, sin_squared


class _Decay(LRSchedule):
    """η₀·γᵏ; a subclass counts the drops k."""

    def __init__(self, learning_rate: float, gamma: float, steps_per_epoch: int):
        super().__init__(learning_rate, steps_per_epoch)
        self.gamma = check_number("gamma", gamma, above=True)

    def drops(self, epoch):
        """Return how many times the rate has been multiplied by γ."""
        raise NotImplementedError

    def rate(self, epoch):
        # exp(k·log γ) instead of γᵏ, which would multiply the rounding error of γ in float32 by k.
        return ops.exp(as_float(self.drops(epoch)) * math.log(self.gamma)) * self.learning_rate

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="kerasnets")
class StepLR(_Decay):
    """Multiply the rate by γ every `step_size` epochs: ηₜ = η₀·γ^⌊t/step_size⌋ (``torch.optim.lr_scheduler.StepLR``).

    Args:
        learning_rate: η₀.
        step_size: epochs between drops.
        gamma: γ > 0.
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> schedule = kerasnets.schedules.StepLR(0.1, step_size=2, gamma=0.5)
        >>> [round(float(schedule(step)), 4) for step in range(5)]
        [0.1, 0.1, 0.05, 0.05, 0.025]
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
    """Multiply the rate by γ at each milestone: ηₜ = η₀·γ^(milestones ≤ t) (``lr_scheduler.MultiStepLR``).

    Args:
        learning_rate: η₀.
        milestones: epochs, in any order; repeated ones count each time.
        gamma: γ > 0.
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> schedule = kerasnets.schedules.MultiStepLR(0.1, milestones=[1, 3])
        >>> [round(float(schedule(step)), 4) for step in range(4)]
        [0.1, 0.01, 0.01, 0.001]
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
    """Multiply the rate by γ every epoch: ηₜ = η₀·γᵗ (``torch.optim.lr_scheduler.ExponentialLR``).

    Args:
        learning_rate: η₀.
        gamma: γ > 0.
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> schedule = kerasnets.schedules.ExponentialLR(0.4, gamma=0.5)
        >>> [round(float(schedule(step)), 4) for step in range(4)]
        [0.4, 0.2, 0.1, 0.05]
    """

    def __init__(self, learning_rate: float, gamma: float, steps_per_epoch: int = 1):
        super().__init__(learning_rate, gamma, steps_per_epoch)

    def drops(self, epoch):
        return epoch


@keras.saving.register_keras_serializable(package="kerasnets")
class LinearLR(LRSchedule):
    """Interpolate linearly between two factors, then stay constant (``torch.optim.lr_scheduler.LinearLR``).

    ηₜ = η₀·(start_factor·(n − t) + end_factor·t)/n for t ≤ n = total_iters, and η₀·end_factor afterwards.

    Args:
        learning_rate: η₀.
        start_factor: in (0, 1].
        end_factor: in [0, 1].
        total_iters: epochs from `start_factor` to `end_factor`.
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> schedule = kerasnets.schedules.LinearLR(0.4, start_factor=0.5, total_iters=2)
        >>> [round(float(schedule(step)), 4) for step in range(4)]
        [0.2, 0.3, 0.4, 0.4]
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
        return as_float(self.total_iters - t) * start + as_float(t) * end

    def get_config(self):
        return {
            **super().get_config(),
            "start_factor": self.start_factor,
            "end_factor": self.end_factor,
            "total_iters": self.total_iters,
        }


@keras.saving.register_keras_serializable(package="kerasnets")
class ConstantLR(LRSchedule):
    """Multiply the rate by a factor for some epochs (``torch.optim.lr_scheduler.ConstantLR``).

    ηₜ = η₀·factor for t < total_iters, and η₀ afterwards.

    Args:
        learning_rate: η₀.
        factor: in (0, 1].
        total_iters: epochs with the factor.
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> schedule = kerasnets.schedules.ConstantLR(0.2, factor=0.5, total_iters=2)
        >>> [round(float(schedule(step)), 4) for step in range(4)]
        [0.1, 0.1, 0.2, 0.2]
    """

    def __init__(self, learning_rate: float, factor: float = 1.0 / 3, total_iters: int = 5, steps_per_epoch: int = 1):
        super().__init__(learning_rate, steps_per_epoch)
        self.factor = check_number("factor", factor, above=True)
        if factor > 1.0:
            raise ValueError(f"Invalid factor: {factor!r}; expected at most 1.")
        self.total_iters = check_integer("total_iters", total_iters)

    def rate(self, epoch):
        low, high = (
            ops.full((), rate, keras.config.floatx()) for rate in (self.learning_rate * self.factor, self.learning_rate)
        )
        return ops.where(epoch < self.total_iters, low, high)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "total_iters": self.total_iters}


@keras.saving.register_keras_serializable(package="kerasnets")
class PolynomialLR(LRSchedule):
    """Down to 0 as a power of the epochs that are left (``torch.optim.lr_scheduler.PolynomialLR``).

    ηₜ = η₀·(1 − t/n)^power for t ≤ n = total_iters, and 0 afterwards (η₀ with power 0).

    Args:
        learning_rate: η₀.
        total_iters: n, the epochs until the rate is 0.
        power: ≥ 0; 1 is a straight line.
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> schedule = kerasnets.schedules.PolynomialLR(0.4, total_iters=4)
        >>> [round(float(schedule(step)), 4) for step in range(5)]
        [0.4, 0.3, 0.2, 0.1, 0.0]
    """

    def __init__(self, learning_rate: float, total_iters: int = 5, power: float = 1.0, steps_per_epoch: int = 1):
        super().__init__(learning_rate, steps_per_epoch)
        self.total_iters = check_integer("total_iters", total_iters)
        self.power = check_number("power", power)

    def rate(self, epoch):
        left = as_float(self.total_iters - ops.minimum(epoch, self.total_iters)) / self.total_iters
        return ops.power(left, self.power) * self.learning_rate

    def get_config(self):
        return {**super().get_config(), "total_iters": self.total_iters, "power": self.power}


@keras.saving.register_keras_serializable(package="kerasnets")
class CosineAnnealingLR(LRSchedule):
    """Half a cosine down to `eta_min` in `T_max` epochs, then up again (``lr_scheduler.CosineAnnealingLR``).

    ηₜ = eta_min + (η₀ − eta_min)·(1 + cos(πt/T_max))/2 for every t, like PyTorch's recursion: after T_max the
    rate rises, to η₀ at 2·T_max.

    Args:
        learning_rate: η₀.
        T_max: epochs from η₀ to `eta_min`.
        eta_min: the lowest rate.
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> schedule = kerasnets.schedules.CosineAnnealingLR(0.1, T_max=2)
        >>> [round(float(schedule(step)), 4) for step in range(3)]
        [0.1, 0.05, 0.0]
    """

    def __init__(self, learning_rate: float, T_max: int, eta_min: float = 0.0, steps_per_epoch: int = 1):
        super().__init__(learning_rate, steps_per_epoch)
        self.T_max = check_integer("T_max", T_max)
        self.eta_min = check_number("eta_min", eta_min)

    def rate(self, epoch):
        # (1 + cos(πt/T))/2 = sin²(π(T − t)/2T). T − t is exact in integers, 1 + cos is not in float32. The factor of
        # eta_min is computed in the same way, so that nothing cancels if eta_min is the larger rate.
        left = ops.abs(self.T_max - epoch % (2 * self.T_max))
        part, rest = (sin_squared(as_float(n) * (math.pi / 2 / self.T_max)) for n in (left, self.T_max - left))
        return part * self.learning_rate + rest * self.eta_min

    def get_config(self):
        return {**super().get_config(), "T_max": self.T_max, "eta_min": self.eta_min}


@keras.saving.register_keras_serializable(package="kerasnets")
class CosineAnnealingWarmRestarts(LRSchedule):
    """Half a cosine, restarted after T_0, T_0·T_mult, … epochs (``lr_scheduler.CosineAnnealingWarmRestarts``).

    ηₜ = eta_min + (η₀ − eta_min)·(1 + cos(π·T_cur/T_i))/2, where T_cur is the number of epochs since the last
    restart and T_i = T_0·T_multⁱ the length of the current cycle.

    Args:
        learning_rate: η₀.
        T_0: epochs of the first cycle.
        T_mult: length of each cycle divided by that of the previous one.
        eta_min: the lowest rate.
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> schedule = kerasnets.schedules.CosineAnnealingWarmRestarts(0.1, T_0=2)
        >>> [round(float(schedule(step)), 4) for step in range(4)]
        [0.1, 0.05, 0.1, 0.05]
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
        part, rest = (sin_squared(as_float(n) / as_float(length) * (math.pi / 2)) for n in (length - since, since))
        return part * self.learning_rate + rest * self.eta_min

    def _cycles(self) -> tuple[list[int], list[int]]:
        """Return the first epoch and the length of every cycle that 32-bit step numbers can reach."""
        starts, lengths = [0], [self.T_0]
        while starts[-1] + lengths[-1] * (1 + self.T_mult) < 2**31:
            starts.append(starts[-1] + lengths[-1])
            lengths.append(lengths[-1] * self.T_mult)
        return starts, lengths

    def get_config(self):
        return {**super().get_config(), "T_0": self.T_0, "T_mult": self.T_mult, "eta_min": self.eta_min}
