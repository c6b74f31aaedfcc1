"""The β₁ and β₂ of Adam and its relatives: variables, running means, and the corrections of their bias."""

from typing import Any

from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import LearningRate, Optimizer, as_given


class BetaOptimizer(Optimizer):
    """A rule with running means of the gradient (β₁) and, in most of them, of its square (β₂).

    Args:
        learning_rate: as in :class:`Optimizer`.
        beta_1: β₁ in [0, 1).
        beta_2: β₂ in [0, 1).
        **kwargs: the other arguments of :class:`Optimizer`.
    """

    cycled = "beta_1"

    def __init__(self, learning_rate: LearningRate, beta_1: float, beta_2: float, **kwargs: Any):
        beta_1, beta_2 = check_number("beta_1", beta_1, below=1.0), check_number("beta_2", beta_2, below=1.0)
        super().__init__(learning_rate, **kwargs)
        # The variables hold 1 − β: float32 represents 0.001 to seven digits, but 1 − float32(0.999) only to four.
        self._one_minus_beta_1 = self.add_scalar("one_minus_beta_1", 1.0 - beta_1)
        self._one_minus_beta_2 = self.add_scalar("one_minus_beta_2", 1.0 - beta_2)
        self._betas = (beta_1, beta_2)

    @property
    def beta_1(self):
        """β₁, a scalar tensor: the value last set, or the schedule's value at this iteration."""
        scheduled = self.scheduled_value()
        return 1.0 - ops.convert_to_tensor(self._one_minus_beta_1) if scheduled is None else scheduled

    @beta_1.setter
    def beta_1(self, value):
        self.check_not_scheduled()
        self._one_minus_beta_1.assign(1.0 - check_number("beta_1", value, below=1.0))

    @property
    def beta_2(self):
        """β₂, a scalar tensor."""
        return 1.0 - ops.convert_to_tensor(self._one_minus_beta_2)

    @beta_2.setter
    def beta_2(self, value):
        self._one_minus_beta_2.assign(1.0 - check_number("beta_2", value, below=1.0))

    def set_scheduled_value(self, value):
        self._one_minus_beta_1.assign(1.0 - value)

    @staticmethod
    def _plain_beta(given, one_minus_beta):
        current = as_given(one_minus_beta, 1.0 - given)
        return given if current == 1.0 - given else 1.0 - current

    @staticmethod
    def _bias_correction(one_minus_beta, step):
        """Return 1 − βᵗ, as −(exp(t·log(1 − (1 − β))) − 1) to keep the digits of a small 1 − β."""
        step = ops.cast(step, one_minus_beta.dtype)
        return -ops.expm1(step * ops.log1p(-ops.convert_to_tensor(one_minus_beta)))

    def bias_correction_1(self):
        """Return 1 − β₁ᵗ at the current step t = 1, 2, …, a scalar tensor."""
        return self._bias_correction(self._one_minus_beta_1, self.iterations + 1)

    def bias_correction_2(self):
        """Return 1 − β₂ᵗ at the current step t = 1, 2, …, a scalar tensor."""
        return self._bias_correction(self._one_minus_beta_2, self.iterations + 1)

    def one_minus_beta_2(self):
        """Return 1 − β₂, a scalar tensor."""
        return ops.convert_to_tensor(self._one_minus_beta_2)

    def update_mean(self, slot, gradient):
        """Move the running mean `slot` to `gradient` by 1 − β₁; return it."""
        mean = ops.convert_to_tensor(slot)
        mean = mean + ops.cast(self._one_minus_beta_1, slot.dtype) * (gradient - mean)
        self.assign(slot, mean)
        return mean

    def update_square(self, slot, gradient):
        """Move the running mean `slot` of squares to that of `gradient` by 1 − β₂; return it."""
        new = ops.cast(self._one_minus_beta_2, slot.dtype)
        square = (1.0 - new) * ops.convert_to_tensor(slot) + new * ops.square(gradient)
        self.assign(slot, square)
        return square

    def get_config(self):
        beta_1 = self._betas[0]
        if not self.is_momentum_scheduled:
            beta_1 = self._plain_beta(beta_1, self._one_minus_beta_1)
        beta_2 = self._plain_beta(self._betas[1], self._one_minus_beta_2)
        return {**super().get_config(), "beta_1": beta_1, "beta_2": beta_2}
