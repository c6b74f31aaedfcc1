"""Adam and AdamW."""

from typing import Any, ClassVar

import keras
from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import LearningRate, Optimizer, as_given


@keras.saving.register_keras_serializable(package="kerasnets")
class Adam(Optimizer):
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
    """

    torch_settings: ClassVar = {
        "betas": ("beta_1", "beta_2"),
        "eps": "epsilon",
        "amsgrad": "amsgrad",
        "decoupled_weight_decay": "decoupled_weight_decay",
    }
    cycled = "beta_1"

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
        beta_1, beta_2 = check_number("beta_1", beta_1, below=1.0), check_number("beta_2", beta_2, below=1.0)
        epsilon = check_number("epsilon", epsilon)
        super().__init__(learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, **kwargs)
        self.epsilon = epsilon
        self.amsgrad = bool(amsgrad)
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

    @property
    def state_names(self):
        return ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * self.amsgrad

    @staticmethod
    def _plain_beta(given, one_minus_beta):
        current = as_given(one_minus_beta, 1.0 - given)
        return given if current == 1.0 - given else 1.0 - current

    def _bias_correction(self, one_minus_beta):
        """Return 1 − βᵗ, as −(exp(t·log(1 − (1 − β))) − 1) to keep the digits of a small 1 − β."""
        step = ops.cast(self.iterations + 1, one_minus_beta.dtype)
        return -ops.expm1(step * ops.log1p(-ops.convert_to_tensor(one_minus_beta)))

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self.prepare(gradient, variable, learning_rate)
        state, dtype = self.state_of(variable), variable.dtype
        new_1, new_2 = ops.cast(self._one_minus_beta_1, dtype), ops.cast(self._one_minus_beta_2, dtype)
        mean, square = ops.convert_to_tensor(state["exp_avg"]), ops.convert_to_tensor(state["exp_avg_sq"])
        mean = mean + new_1 * (gradient - mean)
        square = (1.0 - new_2) * square + new_2 * ops.square(gradient)
        self.assign(state["exp_avg"], mean)
        self.assign(state["exp_avg_sq"], square)
        if self.amsgrad:
            largest = ops.convert_to_tensor(state["max_exp_avg_sq"])
            square = ops.where(largest > square, largest, square)
            self.assign(state["max_exp_avg_sq"], square)
        correction_1 = ops.cast(self._bias_correction(self._one_minus_beta_1), dtype)
        correction_2 = ops.cast(ops.sqrt(self._bias_correction(self._one_minus_beta_2)), dtype)
        self.assign(variable, value - rate / correction_1 * mean / (ops.sqrt(square) / correction_2 + self.epsilon))

    def get_config(self):
        beta_1 = self._betas[0]
        if not self.is_momentum_scheduled:
            beta_1 = self._plain_beta(beta_1, self._one_minus_beta_1)
        return {
            **super().get_config(),
            "beta_1": beta_1,
            "beta_2": self._plain_beta(self._betas[1], self._one_minus_beta_2),
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
        }


@keras.saving.register_keras_serializable(package="kerasnets")
class AdamW(Adam):
    """Adam with decoupled weight decay (``torch.optim.AdamW``).

    θ ← θ·(1 − γ·λ), then Adam's step without weight decay. The arguments are Adam's, with λ = 0.01 by default (Keras's
    ``AdamW``: 0.004).
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
