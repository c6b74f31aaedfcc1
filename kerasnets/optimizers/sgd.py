"""Stochastic gradient descent with momentum."""

from typing import Any, ClassVar

import keras
from keras import ops

from kerasnets._internal.arguments import is_real
from kerasnets.optimizers.base import LearningRate
from kerasnets.optimizers.momentum import MomentumOptimizer


@keras.saving.register_keras_serializable(package="kerasnets")
class SGD(MomentumOptimizer):
    """Stochastic gradient descent with momentum (``torch.optim.SGD``).

    With gradient g (g + λθ with weight decay), momentum μ, dampening τ and learning rate γ::

        v ← g                     in the first step
        v ← μ·v + (1 − τ)·g       afterwards
        θ ← θ − γ·v               or θ − γ·(g + μ·v) with nesterov

    The velocity is a sum of gradients, so that a new γ applies to all of it at once. In Keras's ``SGD`` it is a sum of
    steps, v ← μ·v − γ·g.

    Args:
        learning_rate: γ.
        momentum: μ ≥ 0. With 0 there is no velocity.
        dampening: τ.
        weight_decay: λ.
        nesterov: use Nesterov momentum.
        maximize: maximize instead of minimize.
        param_groups: settings for some of the variables, see :mod:`kerasnets.optimizers`.
        clip_grad_norm: maximum global gradient norm.
        clip_grad_value: maximum absolute value of a gradient's components.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    Raises:
        ValueError: an argument is out of range, or `nesterov` is used without momentum or with dampening.
        TypeError: an argument is unknown.

    Examples:
        >>> variable = keras.Variable([1.0])
        >>> optimizer = kerasnets.optimizers.SGD(0.1, momentum=0.9)
        >>> optimizer.apply([keras.ops.array([2.0])], [variable])
        >>> round(float(variable.numpy()[0]), 4)
        0.8
    """

    torch_settings: ClassVar = {"dampening": "dampening", "nesterov": "nesterov", "momentum": "momentum"}
    torch_counts_steps = False

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
        param_groups: list[dict[str, Any]] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs: Any,
    ):
        if not is_real(dampening):
            raise ValueError(f"Invalid dampening: {dampening!r}; expected a number.")
        if nesterov and (momentum == 0.0 or dampening != 0.0):
            raise ValueError(
                "Nesterov momentum requires a momentum and zero dampening; got "
                f"momentum={momentum!r}, dampening={dampening!r}."
            )
        super().__init__(
            learning_rate,
            momentum,
            weight_decay=weight_decay,
            maximize=maximize,
            param_groups=param_groups,
            clip_grad_norm=clip_grad_norm,
            clip_grad_value=clip_grad_value,
            **kwargs,
        )
        self.dampening = float(dampening)
        self.nesterov = bool(nesterov)

    @property
    def state_names(self):
        return ["momentum_buffer"] if self.has_momentum else []

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self.prepare(gradient, variable, learning_rate)
        if self.has_momentum:
            velocity = self.state_of(variable)["momentum_buffer"]
            momentum = self.momentum_as(variable.dtype)
            fresh = gradient
            if self.dampening:
                # In the first step μ·v is 0, so that only dampening must be left out.
                later = ops.cast(ops.greater(self.iterations, 0), variable.dtype)
                fresh = gradient * (1.0 - self.dampening * later)
            updated = momentum * ops.convert_to_tensor(velocity) + fresh
            self.assign(velocity, updated)
            gradient = gradient + momentum * updated if self.nesterov else updated
        self.assign(variable, value - rate * gradient)

    def get_config(self):
        return {**super().get_config(), "dampening": self.dampening, "nesterov": self.nesterov}
