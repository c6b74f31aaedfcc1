"""RMSprop."""

import keras
from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import MomentumOptimizer


@keras.saving.register_keras_serializable(package="kerasnets")
class RMSprop(MomentumOptimizer):
    """Steps over the root of a running mean of squared gradients (``torch.optim.RMSprop``).

    With gradient g (and g + λθ where there is weight decay)::

        s ← ρ·s + (1 − ρ)·g²
        d = √s + ε                or √(s − m²) + ε, m ← ρ·m + (1 − ρ)·g, if centered
        b ← μ·b + g/d             where there is momentum
        θ ← θ − γ·b               or θ − γ·g/d without

    Keras's ``RMSprop`` takes √(s + ε), and keeps steps in its momentum.

    Args:
        learning_rate: γ.
        rho: ρ, PyTorch's ``alpha``.
        epsilon: ε, outside the root.
        weight_decay: λ.
        momentum: μ ≥ 0. Where it is 0 there is no buffer.
        centered: whether to subtract the mean's square.
        maximize: whether to climb.
        param_groups: settings for some of the variables.
        clip_grad_norm: bound of the norm of all gradients.
        clip_grad_value: bound of each component.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    Raises:
        ValueError: an argument is out of range.
        TypeError: an unknown argument.
    """

    def __init__(
        self,
        learning_rate=0.01,
        rho: float = 0.99,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        maximize: bool = False,
        param_groups: list[dict] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs,
    ):
        rho, epsilon, momentum = (
            check_number("rho", rho),
            check_number("epsilon", epsilon),
            check_number("momentum", momentum),
        )
        super().__init__(learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, kwargs)
        self.rho = rho
        self.epsilon = epsilon
        self.centered = bool(centered)
        self._add_momentum(momentum)

    def _state_names(self):
        return ["square_avg"] + ["grad_avg"] * self.centered + ["momentum_buffer"] * self._has_buffers

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self._start(gradient, variable, learning_rate)
        state = self.state_of(variable)
        square_avg = state["square_avg"]
        mean = updated = ops.convert_to_tensor(square_avg) * self.rho + ops.square(gradient) * (1.0 - self.rho)
        self.assign(square_avg, updated)
        if self.centered:
            grad_avg = state["grad_avg"]
            average = ops.convert_to_tensor(grad_avg)
            average = average + (gradient - average) * (1.0 - self.rho)
            self.assign(grad_avg, average)
            mean = updated - ops.square(average)
        step = gradient / (ops.sqrt(mean) + self.epsilon)
        if self._has_buffers:
            buffer = state["momentum_buffer"]
            step = ops.cast(self._momentum, variable.dtype) * ops.convert_to_tensor(buffer) + step
            self.assign(buffer, step)
        self.assign(variable, value - rate * step)

    def get_config(self):
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon, "centered": self.centered}
