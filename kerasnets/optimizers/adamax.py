"""Adamax."""

from typing import Any, ClassVar

import keras
from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import LearningRate
from kerasnets.optimizers.betas import BetaOptimizer


@keras.saving.register_keras_serializable(package="kerasnets")
class Adamax(BetaOptimizer):
    """Adam with the largest gradient instead of the mean square (``torch.optim.Adamax``).

    With gradient g (g + λθ with weight decay), at step t = 1, 2, …::

        m ← β₁·m + (1 − β₁)·g
        u ← max(β₂·u, |g| + ε)
        θ ← θ − γ/(1 − β₁ᵗ)·m/u

    Keras's ``Adamax`` adds its ε (1e-7) to u after the maximum, and its weight decay is AdamW's.

    Args:
        learning_rate: γ.
        beta_1: β₁ in [0, 1).
        beta_2: β₂ in [0, 1).
        epsilon: ε ≥ 0.
        weight_decay: λ.
        maximize: maximize instead of minimize.
        param_groups: settings for some of the variables, see :mod:`kerasnets.optimizers`.
        clip_grad_norm: maximum global gradient norm.
        clip_grad_value: maximum absolute value of a gradient's components.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    Raises:
        ValueError: an argument is out of range.
        TypeError: an argument is unknown.

    Examples:
        >>> variable = keras.Variable([1.0])
        >>> optimizer = kerasnets.optimizers.Adamax(0.1)
        >>> optimizer.apply([keras.ops.array([2.0])], [variable])
        >>> round(float(variable.numpy()[0]), 4)
        0.9
    """

    torch_settings: ClassVar = {"betas": ("beta_1", "beta_2"), "eps": "epsilon"}

    def __init__(
        self,
        learning_rate: LearningRate = 0.002,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        maximize: bool = False,
        param_groups: list[dict[str, Any]] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs: Any,
    ):
        epsilon = check_number("epsilon", epsilon)
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            weight_decay=weight_decay,
            maximize=maximize,
            param_groups=param_groups,
            clip_grad_norm=clip_grad_norm,
            clip_grad_value=clip_grad_value,
            **kwargs,
        )
        self.epsilon = epsilon

    @property
    def state_names(self):
        return ["exp_avg", "exp_inf"]

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self.prepare(gradient, variable, learning_rate)
        state, dtype = self.state_of(variable), variable.dtype
        mean = self.update_mean(state["exp_avg"], gradient)
        size = ops.abs(gradient) + self.epsilon
        old = (1.0 - ops.cast(self.one_minus_beta_2(), dtype)) * ops.convert_to_tensor(state["exp_inf"])
        largest = ops.where(old > size, old, size)
        self.assign(state["exp_inf"], largest)
        self.assign(variable, value - rate / ops.cast(self.bias_correction_1(), dtype) * mean / largest)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
