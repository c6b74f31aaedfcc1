"""The base class of the schedules: a base rate, and epochs of a given number of optimizer steps."""

import math
from typing import Any

import keras
from keras import ops

from kerasnets._internal.arguments import check_integer, check_number
from kerasnets._internal.show import as_call


def as_float(x):
    """Cast `x` to Keras's float type."""
    return ops.cast(x, keras.config.floatx())


def sin_squared(x):
    """Compute sin²(x) for 0 ≤ x ≤ π/2."""
    if keras.backend.standardize_dtype(x.dtype) == "float64":
        # Keras's sin returns float32 for float64 on JAX. Twelve terms of the series are exact to the last digits.
        sine, square = 0.0, x * x
        for k in reversed(range(12)):
            sine = sine * square + (-1) ** k / math.factorial(2 * k + 1)
        sine = sine * x
    else:
        sine = ops.sin(x)
    return sine * sine


class LRSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Base class of the schedules: a base rate, and epochs of `steps_per_epoch` optimizer steps.

    A subclass defines :meth:`rate`. ``schedule(step)`` is the learning rate of optimizer step `step`; 0 is the first.

    Args:
        learning_rate: the base rate η₀ ≥ 0, the ``lr`` of PyTorch's optimizer.
        steps_per_epoch: optimizer steps per ``scheduler.step()`` in PyTorch.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> class Halving(kerasnets.schedules.LRSchedule):
        ...     def rate(self, epoch):
        ...         return self.learning_rate * 0.5**epoch
        >>> [float(Halving(0.5, steps_per_epoch=2)(step)) for step in range(4)]
        [0.5, 0.5, 0.25, 0.25]
    """

    #: Whether the schedule also moves the optimizer's momentum (or beta_1).
    cycle_momentum: bool = False

    def __init__(self, learning_rate: float, steps_per_epoch: int = 1):
        super().__init__()
        self.learning_rate = check_number("learning_rate", learning_rate)
        self.steps_per_epoch = check_integer("steps_per_epoch", steps_per_epoch)

    def __call__(self, step):
        """Return the learning rate of optimizer step `step`, a scalar tensor."""
        return self.rate(self._epoch(step))

    def _epoch(self, step):
        return ops.cast(step, "int32") // self.steps_per_epoch

    def rate(self, epoch):
        """Return the learning rate after `epoch` (an int32 scalar tensor) calls of PyTorch's ``scheduler.step()``."""
        raise NotImplementedError(f"{type(self).__name__} must implement rate(epoch).")

    def momentum(self, step):
        """Return the momentum (or beta_1) of optimizer step `step`, a scalar tensor; needs `cycle_momentum`."""
        return self.momentum_at(self._epoch(step))

    def momentum_at(self, epoch):
        """Return the momentum (or beta_1) after `epoch` calls of ``scheduler.step()``; needs `cycle_momentum`."""
        raise ValueError(f"{type(self).__name__} does not move the momentum.")

    def rebase(self, learning_rate: float) -> "LRSchedule":
        """Return the same schedule with another base rate, as for a parameter group with its own ``lr`` in PyTorch."""
        return type(self).from_config({**self.get_config(), "learning_rate": learning_rate})

    def __repr__(self):
        return as_call(self, {**self.get_config(), **vars(self)})

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"learning_rate": self.learning_rate, "steps_per_epoch": self.steps_per_epoch}
