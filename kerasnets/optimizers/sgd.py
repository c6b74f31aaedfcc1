"""Stochastic gradient descent with momentum."""

import numbers

import keras
from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import MomentumOptimizer


@keras.saving.register_keras_serializable(package="kerasnets")
class SGD(MomentumOptimizer):
    """Stochastic gradient descent with momentum (``torch.optim.SGD``).

    With gradient g (and g + λθ where there is weight decay), momentum μ, dampening τ and learning rate γ::

        v ← g                     at the first step
        v ← μ·v + (1 − τ)·g       afterwards
        θ ← θ − γ·v               or θ − γ·(g + μ·v) with nesterov

    The velocity holds gradients, not steps (Keras's ``SGD``: v ← μ·v − γ·g): a changed γ acts at once on all of it.

    Args:
        learning_rate: γ.
        momentum: μ ≥ 0. Where it is 0 there is no velocity.
        dampening: τ.
        weight_decay: λ.
        nesterov: whether to look one step ahead.
        maximize: whether to climb.
        param_groups: settings for some of the variables.
        clip_grad_norm: bound of the norm of all gradients.
        clip_grad_value: bound of each component.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    Raises:
        ValueError: an argument is out of range, or Nesterov without momentum or with dampening.
        TypeError: an unknown argument.
    """

    def __init__(
        self,
        learning_rate=0.001,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
        param_groups: list[dict] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs,
    ):
        momentum = check_number("momentum", momentum)
        if not isinstance(dampening, numbers.Real):
            raise ValueError(f"Invalid dampening: {dampening!r}; expected a number.")
        if nesterov and (momentum == 0.0 or dampening != 0.0):
            raise ValueError(
                "Nesterov momentum requires a momentum and zero dampening; got "
                f"momentum={momentum!r}, dampening={dampening!r}."
            )
        super().__init__(learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, kwargs)
        self.dampening = float(dampening)
        self.nesterov = bool(nesterov)
        self._add_momentum(momentum)

    def _state_names(self):
        return ["momentum_buffer"] if self._has_buffers else []

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self._start(gradient, variable, learning_rate)
        if self._has_buffers:
            velocity = self.state_of(variable)["momentum_buffer"]
            momentum = ops.cast(self._momentum, variable.dtype)
            fresh = gradient
            if self.dampening:
                # From zero, μ·v + g is g; only dampening must be kept out of the first step.
                later = ops.cast(ops.greater(self.iterations, 0), variable.dtype)
                fresh = gradient * (1.0 - self.dampening * later)
            updated = momentum * ops.convert_to_tensor(velocity) + fresh
            self.assign(velocity, updated)
            gradient = gradient + momentum * updated if self.nesterov else updated
        self.assign(variable, value - rate * gradient)

    def get_config(self):
        return {**super().get_config(), "dampening": self.dampening, "nesterov": self.nesterov}
