"""Adagrad."""

import keras
from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import Optimizer


@keras.saving.register_keras_serializable(package="kerasnets")
class Adagrad(Optimizer):
    """Steps over the root of the sum of squared gradients (``torch.optim.Adagrad``).

    With gradient g (and g + λθ where there is weight decay), at step t = 1, 2, …::

        s ← s + g²                from initial_accumulator_value
        θ ← θ − γ/(1 + (t − 1)·η)·g/(√s + ε)

    Keras's ``Adagrad`` begins at 0.1, takes √(s + ε), and has no η.

    Args:
        learning_rate: γ.
        lr_decay: η.
        weight_decay: λ.
        initial_accumulator_value: where the sum begins.
        epsilon: ε ≥ 0.
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
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        epsilon: float = 1e-10,
        maximize: bool = False,
        param_groups: list[dict] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs,
    ):
        lr_decay, epsilon = check_number("lr_decay", lr_decay), check_number("epsilon", epsilon)
        initial_accumulator_value = check_number("initial_accumulator_value", initial_accumulator_value)
        super().__init__(learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, kwargs)
        self.lr_decay = lr_decay
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def _state_names(self):
        return ["sum"]

    def _begin(self, shape, dtype=None):
        # Not keras.initializers.Constant, which rounds to float32 on TensorFlow.
        return ops.full(shape, self.initial_accumulator_value, dtype)

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self._start(gradient, variable, learning_rate)
        accumulator = self.state_of(variable)["sum"]
        total = ops.convert_to_tensor(accumulator) + ops.square(gradient)
        self.assign(accumulator, total)
        if self.lr_decay:
            rate = rate / (ops.cast(self.iterations, variable.dtype) * self.lr_decay + 1.0)
        self.assign(variable, value - rate * gradient / (ops.sqrt(total) + self.epsilon))

    def get_config(self):
        return {
            **super().get_config(),
            "lr_decay": self.lr_decay,
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }
