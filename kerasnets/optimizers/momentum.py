"""The momentum of SGD and RMSprop."""

from typing import Any

from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import LearningRate, Optimizer, as_given, moves_momentum


class MomentumOptimizer(Optimizer):
    """A rule with a momentum buffer, which exists if momentum is not 0 at construction or a schedule moves it.

    Args:
        learning_rate: as in :class:`Optimizer`.
        momentum: μ ≥ 0.
        **kwargs: the other arguments of :class:`Optimizer`.
    """

    cycled = "momentum"

    def __init__(self, learning_rate: LearningRate, momentum: float, **kwargs: Any):
        momentum = check_number("momentum", momentum)
        super().__init__(learning_rate, **kwargs)
        self._given_momentum = momentum
        self._momentum = self.add_scalar("momentum", momentum)
        self._has_momentum = momentum != 0.0 or self.is_momentum_scheduled

    def _check_learning_rate(self, learning_rate):
        super()._check_learning_rate(learning_rate)
        if moves_momentum(learning_rate) and not getattr(self, "_has_momentum", True):
            raise ValueError(
                f"{type(learning_rate).__name__} moves the momentum, and this {type(self).__name__} was made with "
                "momentum=0: it has no momentum buffers."
            )

    @property
    def has_momentum(self) -> bool:
        """Whether there are momentum buffers."""
        return self._has_momentum

    @property
    def momentum(self):
        """The momentum μ: a variable, or the schedule's value at this iteration.

        It can be set to another value > 0 if it was not 0 at construction. (In PyTorch, 0 would freeze the buffers.)
        """
        scheduled = self.scheduled_value()
        return self._momentum if scheduled is None else scheduled

    @momentum.setter
    def momentum(self, value):
        self.check_not_scheduled()
        value = check_number("momentum", value)
        if (value != 0.0) != self._has_momentum:
            was = "not 0" if self._has_momentum else "0"
            raise ValueError(
                f"Invalid momentum: {value!r}; it was {was} when the optimizer was made, which decides whether there "
                "are momentum buffers."
            )
        self._momentum.assign(value)

    def set_scheduled_value(self, value):
        self._momentum.assign(value)

    def momentum_as(self, dtype):
        """Return the momentum of the current step as a scalar tensor of `dtype`."""
        return ops.cast(self._momentum, dtype)

    def get_config(self):
        given = self._given_momentum
        return {
            **super().get_config(),
            "momentum": given if self.is_momentum_scheduled else as_given(self._momentum, given),
        }
