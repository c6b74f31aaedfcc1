"""Adadelta."""

from typing import Any, ClassVar

import keras
from keras import ops

from kerasnets._internal.arguments import check_number, is_real
from kerasnets.optimizers.base import LearningRate, Optimizer


@keras.saving.register_keras_serializable(package="kerasnets")
class Adadelta(Optimizer):
    """Gradients scaled by running means of squared steps and squared gradients (``torch.optim.Adadelta``).

    With gradient g (g + λθ with weight decay)::

        s ← ρ·s + (1 − ρ)·g²
        d = √(u + ε)/√(s + ε)·g
        u ← ρ·u + (1 − ρ)·d²
        θ ← θ − γ·d

    Keras's ``Adadelta`` has the same formula with γ = 0.001, ρ = 0.95, ε = 1e-7 by default.

    Args:
        learning_rate: γ.
        rho: ρ in [0, 1].
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
        >>> optimizer = kerasnets.optimizers.Adadelta()
        >>> optimizer.apply([keras.ops.array([2.0])], [variable])
        >>> round(float(variable.numpy()[0]), 4)
        0.9968
    """

    torch_settings: ClassVar = {"rho": "rho", "eps": "epsilon"}

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        rho: float = 0.9,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
        maximize: bool = False,
        param_groups: list[dict[str, Any]] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs: Any,
    ):
        if not is_real(rho) or not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho: {rho!r}; expected a number between 0 and 1.")
        epsilon = check_number("epsilon", epsilon)
        super().__init__(learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, **kwargs)
        self.rho = float(rho)
        self.epsilon = epsilon

    @property
    def state_names(self):
        return ["square_avg", "acc_delta"]

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self.prepare(gradient, variable, learning_rate)
        state = self.state_of(variable)
        square_avg, acc_delta = state["square_avg"], state["acc_delta"]
        square = ops.convert_to_tensor(square_avg) * self.rho + ops.square(gradient) * (1.0 - self.rho)
        deltas = ops.convert_to_tensor(acc_delta)
        delta = ops.sqrt(deltas + self.epsilon) / ops.sqrt(square + self.epsilon) * gradient
        self.assign(square_avg, square)
        self.assign(acc_delta, deltas * self.rho + ops.square(delta) * (1.0 - self.rho))
        self.assign(variable, value - rate * delta)

    def get_config(self):
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}
