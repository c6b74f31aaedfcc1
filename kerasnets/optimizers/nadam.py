"""NAdam."""

import math
from typing import Any, ClassVar

import keras
from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import LearningRate, at_least_float32
from kerasnets.optimizers.betas import BetaOptimizer


@keras.saving.register_keras_serializable(package="kerasnets")
class NAdam(BetaOptimizer):
    """Adam with Nesterov's momentum (``torch.optim.NAdam``).

    With gradient g (g + λθ with weight decay), at step t = 1, 2, …::

        μₜ = β₁·(1 − 0.96^(t·ψ)/2)
        m ← β₁·m + (1 − β₁)·g
        v ← β₂·v + (1 − β₂)·g²
        d = √(v/(1 − β₂ᵗ)) + ε
        θ ← θ − γ·(1 − μₜ)/(1 − μ₁·…·μₜ)·g/d − γ·μₜ₊₁/(1 − μ₁·…·μₜ₊₁)·m/d

    ψ is `momentum_decay`. (PyTorch keeps the product of the μ in its default type, usually float32; here it has the
    variable's.) Keras's ``Nadam`` has another ε (1e-7), no `momentum_decay` argument, and AdamW's weight decay.

    Args:
        learning_rate: γ.
        beta_1: β₁ in [0, 1).
        beta_2: β₂ in [0, 1).
        epsilon: ε ≥ 0.
        weight_decay: λ.
        momentum_decay: ψ ≥ 0.
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
        >>> optimizer = kerasnets.optimizers.NAdam(0.1)
        >>> optimizer.apply([keras.ops.array([2.0])], [variable])
        >>> bool(variable.numpy()[0] < 1)
        True
    """

    torch_settings: ClassVar = {
        "betas": ("beta_1", "beta_2"),
        "eps": "epsilon",
        "momentum_decay": "momentum_decay",
        "decoupled_weight_decay": "decoupled_weight_decay",
    }

    def __init__(
        self,
        learning_rate: LearningRate = 0.002,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
        param_groups: list[dict[str, Any]] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs: Any,
    ):
        epsilon, momentum_decay = check_number("epsilon", epsilon), check_number("momentum_decay", momentum_decay)
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
        self.momentum_decay = momentum_decay
        self.decoupled_weight_decay = bool(decoupled_weight_decay)

    @property
    def state_names(self):
        return ["exp_avg", "exp_avg_sq", "mu_product"]

    def create_state(self, name, variables):
        if name != "mu_product":
            return super().create_state(name, variables)
        return [  # one number per variable, as in PyTorch
            self.add_variable((), "ones", at_least_float32(v.dtype), "only_first_replica", name=f"{v.name}_{name}")
            for v in variables
        ]

    def first_value(self, name, slot):
        return ops.ones((), slot.dtype) if name == "mu_product" else super().first_value(name, slot)

    def _mu(self, step, dtype):
        """Return μ of a step, from 1."""
        decay = ops.exp(ops.cast(step, dtype) * (self.momentum_decay * math.log(0.96)))
        return ops.cast(self.beta_1, dtype) * (1.0 - 0.5 * decay)

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self.prepare(gradient, variable, learning_rate)
        state, dtype = self.state_of(variable), variable.dtype
        mean = self.update_mean(state["exp_avg"], gradient)
        square = self.update_square(state["exp_avg_sq"], gradient)
        counted = state["mu_product"].dtype
        now, following = (self._mu(self.iterations + t, counted) for t in (1, 2))
        product = ops.convert_to_tensor(state["mu_product"]) * now
        self.assign(state["mu_product"], product)
        d = ops.sqrt(square / ops.cast(self.bias_correction_2(), dtype)) + self.epsilon
        direct = ops.cast((1.0 - now) / (1.0 - product), dtype)
        momentum = ops.cast(following / (1.0 - product * following), dtype)
        self.assign(variable, value - rate * (direct * gradient + momentum * mean) / d)

    def get_config(self):
        return {
            **super().get_config(),
            "epsilon": self.epsilon,
            "momentum_decay": self.momentum_decay,
            "decoupled_weight_decay": self.decoupled_weight_decay,
        }
