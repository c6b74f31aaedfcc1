"""RMSprop."""

from typing import Any, ClassVar

import keras
from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import LearningRate
from kerasnets.optimizers.momentum import MomentumOptimizer


@keras.saving.register_keras_serializable(package="kerasnets")
class RMSprop(MomentumOptimizer):
    """Gradients divided by the root of a running mean of their squares (``torch.optim.RMSprop``).

    With gradient g (g + λθ with weight decay)::

        s ← ρ·s + (1 − ρ)·g²
        d = √s + ε                or √(s − m²) + ε, m ← ρ·m + (1 − ρ)·g, if centered
        b ← μ·b + g/d             with momentum
        θ ← θ − γ·b               or θ − γ·g/d without

    Keras's ``RMSprop`` takes √(s + ε), and its momentum is a sum of steps.

    Args:
        learning_rate: γ.
        rho: ρ, PyTorch's ``alpha``.
        epsilon: ε, outside the root.
        weight_decay: λ.
        momentum: μ ≥ 0. With 0 there is no buffer.
        centered: subtract the square of the mean gradient.
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
        >>> optimizer = kerasnets.optimizers.RMSprop(0.01)
        >>> optimizer.apply([keras.ops.array([2.0])], [variable])
        >>> round(float(variable.numpy()[0]), 4)
        0.9
    """

    torch_settings: ClassVar = {"alpha": "rho", "eps": "epsilon", "centered": "centered", "momentum": "momentum"}

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        rho: float = 0.99,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        maximize: bool = False,
        param_groups: list[dict[str, Any]] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs: Any,
    ):
        rho, epsilon = check_number("rho", rho), check_number("epsilon", epsilon)
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
        self.rho = rho
        self.epsilon = epsilon
        self.centered = bool(centered)

    @property
    def state_names(self):
        return ["square_avg"] + ["grad_avg"] * self.centered + ["momentum_buffer"] * self.has_momentum

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self.prepare(gradient, variable, learning_rate)
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
        if self.has_momentum:
            buffer = state["momentum_buffer"]
            step = self.momentum_as(variable.dtype) * ops.convert_to_tensor(buffer) + step
            self.assign(buffer, step)
        self.assign(variable, value - rate * step)

    def get_config(self):
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon, "centered": self.centered}
