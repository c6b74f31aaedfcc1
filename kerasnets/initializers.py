"""The initializer that Keras lacks: U(±1/√fan_in), PyTorch's default for weights and biases.

Others exist in Keras: ``normal_(std=0.01)`` is ``keras.initializers.RandomNormal(stddev=0.01)``, and ``fill_(0)`` is
``"zeros"``.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasnets")
class FanInUniform(keras.initializers.VarianceScaling):
    """Draws from U(−1/√fan_in, 1/√fan_in), the default of ``torch.nn.Linear`` and ``torch.nn.Conv2d``.

    Source: the tables "Variables" on the pages ``torch.nn.Linear`` and ``torch.nn.Conv2d`` of PyTorch's documentation.
    PyTorch's code draws kernels with ``kaiming_uniform_(a=√5)``, whose bound √(6 / ((1 + a²)·fan_in)) is the same.

    The fan-in is the number of inputs of one output. A kernel's shape contains it (outputs are the last axis in Keras):
    it is ``in`` of ``(in, out)`` and ``height·width·(in/groups)`` of ``(height, width, in/groups, out)``. The shape of
    a bias, ``(out,)``, doesn't, so that :class:`kerasnets.layers.Linear` and :class:`kerasnets.layers.Conv2D`
    pass it to theirs.

    For a kernel this is the same as ``keras.initializers.VarianceScaling(1/3, "fan_in", "uniform")``, its base class.

    Args:
        fan_in: the number of inputs of one output; None takes it from the shape of the kernel.
        seed: an integer or a ``keras.random.SeedGenerator``. As with all Keras initializers, an instance with an
            integer or None draws the same values at each call.

    Raises:
        ValueError: `fan_in` is not a positive integer, or it is None and the shape has fewer than two axes.
    """

    def __init__(self, fan_in: int | None = None, seed: int | keras.random.SeedGenerator | None = None):
        if fan_in is not None and (not isinstance(fan_in, int) or fan_in < 1):
            raise ValueError(f"`fan_in` must be a positive integer or None; received {fan_in!r}.")
        super().__init__(scale=1 / 3, mode="fan_in", distribution="uniform", seed=seed)
        self.fan_in = fan_in

    def __call__(self, shape: Sequence[int], dtype: Any = None):
        """Draw a tensor of `shape` and `dtype` (the default is ``keras.config.floatx()``)."""
        if self.fan_in is None and len(shape) < 2:
            raise ValueError(
                f"FanInUniform can't tell the fan-in from the shape {tuple(shape)}, which is not a kernel's. Pass it "
                "as FanInUniform(fan_in=…), or use kerasnets.layers.Linear or Conv2D, which know it."
            )
        bound = 1 / math.sqrt(self.fan_in or math.prod(shape[:-1]))
        return keras.random.uniform(shape, -bound, bound, dtype=dtype, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"fan_in": self.fan_in, "seed": super().get_config()["seed"]}
