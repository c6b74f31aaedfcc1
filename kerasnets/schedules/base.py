"""What the schedules share: a base rate, and epochs of so many optimizer steps."""

import math

import keras
from keras import ops

from kerasnets._internal.arguments import check_integer, check_number


def as_float(x):
    """`x` as a tensor of Keras's float type."""
    return ops.cast(x, keras.config.floatx())


def sin_squared(x):
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
