"""RAdam."""

from typing import Any, ClassVar

import keras
from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import LearningRate
from kerasnets.optimizers.betas import BetaOptimizer


@keras.saving.register_keras_serializable(package="kerasnets")
class RAdam(BetaOptimizer):
    """Adam that waits for its second moment to be reliable (``torch.optim.RAdam``).

    With gradient g (g + λθ with weight decay), at step t = 1, 2, …::

        m ← β₁·m + (1 − β₁)·g
        v ← β₂·v + (1 − β₂)·g²
        ρ∞ = 2/(1 − β₂) − 1,  ρ = ρ∞ − 2·t·β₂ᵗ/(1 − β₂ᵗ)
        r = √((ρ − 4)·(ρ − 2)·ρ∞ / ((ρ∞ − 4)·(ρ∞ − 2)·ρ))
        θ ← θ − γ/(1 − β₁ᵗ)·m·r·√(1 − β₂ᵗ)/(√v + ε)    if ρ > 5
        θ ← θ − γ/(1 − β₁ᵗ)·m                           otherwise: for the first five steps with β₂ = 0.999

    Keras has no such optimizer.

    Args:
        learning_rate: γ.
        beta_1: β₁ in [0, 1).
        beta_2: β₂ in [0, 1).
        epsilon: ε ≥ 0.
        weight_decay: λ.
        decoupled_weight_decay: shrink the variables by γ·λ·θ, as AdamW does, instead of adding λθ to the gradient.
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
        >>> optimizer = kerasnets.optimizers.RAdam(0.1)
        >>> optimizer.apply([keras.ops.array([2.0])], [variable])
        >>> round(float(variable.numpy()[0]), 4)
        0.8
    """

    torch_settings: ClassVar = {
        "betas": ("beta_1", "beta_2"),
        "eps": "epsilon",
        "decoupled_weight_decay": "decoupled_weight_decay",
    }

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
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
        self.decoupled_weight_decay = bool(decoupled_weight_decay)

    @property
    def state_names(self):
        return ["exp_avg", "exp_avg_sq"]

    def _length(self, new, step):
        """Return ρ: how many steps a plain mean with the variance of this running one would have.

        Args:
            new: 1 − β₂.
            step: t, of the same dtype.
        """
        rate = -ops.log1p(-new)  # βᵗ = exp(−u)
        u = step * rate
        length = 2.0 / new - 1.0 + 2.0 * step * (1.0 + 1.0 / ops.expm1(-u))
        if keras.backend.standardize_dtype(new.dtype) == "float64":
            return length
        # In float32, ρ ≈ t is lost in the difference of two numbers of 2/(1 − β₂): the series of both around 0.
        ends = new * (1 / 6 + new * (1 / 12 + new * (19 / 360 + new * (3 / 80))))
        s = u * u
        rest = u * (1 / 2 - u * (1 / 12 - s * (1 / 720 - s * (1 / 30240 - s / 1209600))))
        return ops.where(u < 1.0, ends + 2.0 / rate * rest, length)

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self.prepare(gradient, variable, learning_rate)
        state, dtype = self.state_of(variable), variable.dtype
        mean = self.update_mean(state["exp_avg"], gradient)
        square = self.update_square(state["exp_avg_sq"], gradient)
        new = self.one_minus_beta_2()
        most, now = 2.0 / new - 1.0, self._length(new, ops.cast(self.iterations + 1, new.dtype))
        reliable = now > 5.0
        ratio = (now - 4.0) * (now - 2.0) * most / ((most - 4.0) * (most - 2.0) * now)
        factor = ops.sqrt(ops.where(reliable, ratio * self.bias_correction_2(), ops.ones_like(ratio)))
        adapted = ops.cast(factor, dtype) / (ops.sqrt(square) + self.epsilon)
        step = rate / ops.cast(self.bias_correction_1(), dtype) * mean
        self.assign(variable, value - step * ops.where(reliable, adapted, ops.ones_like(adapted)))

    def get_config(self):
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "decoupled_weight_decay": self.decoupled_weight_decay,
        }
