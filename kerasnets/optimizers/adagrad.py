"""Adagrad."""

from typing import Any, ClassVar

import keras
from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.optimizers.base import LearningRate, Optimizer


@keras.saving.register_keras_serializable(package="kerasnets")
class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of their squares (``torch.optim.Adagrad``).

    With gradient g (g + λθ with weight decay), at step t = 1, 2, …::

        s ← s + g²                from initial_accumulator_value
        θ ← θ − γ/(1 + (t − 1)·η)·g/(√s + ε)

    Keras's ``Adagrad`` starts from s = 0.1, takes √(s + ε), and has no η.

    Args:
        learning_rate: γ.
        lr_decay: η ≥ 0.
        weight_decay: λ.
        initial_accumulator_value: the initial s.
        epsilon: ε ≥ 0.
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
        >>> optimizer = kerasnets.optimizers.Adagrad(0.1)
        >>> optimizer.apply([keras.ops.array([2.0])], [variable])
        >>> round(float(variable.numpy()[0]), 4)
        0.9
    """

    torch_settings: ClassVar = {
        "lr_decay": "lr_decay",
        "eps": "epsilon",
        "initial_accumulator_value": "initial_accumulator_value",
    }
    torch_state_at_start = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        epsilon: float = 1e-10,
        maximize: bool = False,
        param_groups: list[dict[str, Any]] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs: Any,
    ):
        lr_decay, epsilon = check_number("lr_decay", lr_decay), check_number("epsilon", epsilon)
        initial_accumulator_value = check_number("initial_accumulator_value", initial_accumulator_value)
        super().__init__(learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, **kwargs)
        self.lr_decay = lr_decay
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    @property
    def state_names(self):
        return ["sum"]

    def initial_state(self, shape, dtype=None):
        # Not keras.initializers.Constant, which rounds to float32 on TensorFlow.
        return ops.full(shape, self.initial_accumulator_value, dtype)

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self.prepare(gradient, variable, learning_rate)
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
