"""Adam and AdamW."""

from typing import Any, ClassVar

import keras
from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import LearningRate
from kerasnets.optimizers.betas import BetaOptimizer


@keras.saving.register_keras_serializable(package="kerasnets")
class Adam(BetaOptimizer):
    """Adaptive moments (``torch.optim.Adam``).

    With gradient g (g + λθ with weight decay), at step t = 1, 2, …::

        m ← β₁·m + (1 − β₁)·g
        v ← β₂·v + (1 − β₂)·g²
        w = v, or the largest v so far with amsgrad
        θ ← θ − γ/(1 − β₁ᵗ)·m / (√(w/(1 − β₂ᵗ)) + ε)

    Keras's ``Adam`` adds its ε (1e-7) to √w before the bias correction, and its weight decay is AdamW's.

    Args:
        learning_rate: γ.
        beta_1: β₁ in [0, 1).
        beta_2: β₂ in [0, 1).
        epsilon: ε ≥ 0.
        weight_decay: λ.
        amsgrad: use the largest second moment so far.
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
        >>> optimizer = kerasnets.optimizers.Adam(0.1)
        >>> optimizer.apply([keras.ops.array([2.0])], [variable])
        >>> round(float(variable.numpy()[0]), 4)
        0.9
    """

    torch_settings: ClassVar = {
        "betas": ("beta_1", "beta_2"),
        "eps": "epsilon",
        "amsgrad": "amsgrad",
        "decoupled_weight_decay": "decoupled_weight_decay",
    }

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
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
        self.amsgrad = bool(amsgrad)

    @property
    def state_names(self):
        return ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * self.amsgrad

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self.prepare(gradient, variable, learning_rate)
        state, dtype = self.state_of(variable), variable.dtype
        mean = self.update_mean(state["exp_avg"], gradient)
        square = self.update_square(state["exp_avg_sq"], gradient)
        if self.amsgrad:
            largest = ops.convert_to_tensor(state["max_exp_avg_sq"])
            square = ops.where(largest > square, largest, square)
            self.assign(state["max_exp_avg_sq"], square)
        correction_1 = ops.cast(self.bias_correction_1(), dtype)
        correction_2 = ops.cast(ops.sqrt(self.bias_correction_2()), dtype)
        self.assign(variable, value - rate / correction_1 * mean / (ops.sqrt(square) / correction_2 + self.epsilon))

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon, "amsgrad": self.amsgrad}


@keras.saving.register_keras_serializable(package="kerasnets")
class AdamW(Adam):
    """Adam with decoupled weight decay (``torch.optim.AdamW``).

    θ ← θ·(1 − γ·λ), then Adam's step without weight decay. The arguments are Adam's, with λ = 0.01 by default (Keras's
    ``AdamW``: 0.004).

    Examples:
        >>> variable = keras.Variable([1.0])
        >>> optimizer = kerasnets.optimizers.AdamW(0.1, weight_decay=0.5)
        >>> optimizer.apply([keras.ops.array([2.0])], [variable])
        >>> round(float(variable.numpy()[0]), 4)
        0.85
    """

    torch_settings: ClassVar = Adam.torch_settings
    decoupled_weight_decay = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        maximize: bool = False,
        param_groups: list[dict[str, Any]] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            weight_decay,
            amsgrad,
            maximize,
            param_groups,
            clip_grad_norm,
            clip_grad_value,
            **kwargs,
        )
