"""The initialiser that Keras lacks: U(±1/√fan_in), PyTorch's default for the weights and biases of its layers.

The two other ways in which the documents set weights are Keras's own: ``normal_(std=0.01)`` is
``keras.initializers.RandomNormal(stddev=0.01)``, ``fill_(0)`` is ``keras.initializers.Constant(0.0)`` (or ``"zeros"``).
"""

import math

import keras


@keras.saving.register_keras_serializable(package="kerasnets")
class FanInUniform(keras.initializers.VarianceScaling):
    """Draws from U(−1/√fan_in, 1/√fan_in), the default of ``torch.nn.Linear`` and ``torch.nn.Conv2d``.

    Source: the tables "Variables" on the pages ``torch.nn.Linear`` and ``torch.nn.Conv2d`` of PyTorch's documentation.
    In PyTorch's code a kernel is drawn by ``kaiming_uniform_(a=√5)``, whose bound √(6 / ((1 + a²)·fan_in)) comes to the
    same.

    The fan-in is the number of inputs that one output sees. A kernel's is in its shape (Keras's order, outputs last):
    ``in`` of ``(in, out)``, ``height·width·(in/groups)`` of ``(height, width, in/groups, out)``. A bias of shape
    ``(out,)`` doesn't know it: :class:`kerasnets.layers.Linear` and :class:`kerasnets.layers.Conv2D` give it to theirs.

    For a kernel alone this is ``keras.initializers.VarianceScaling(1/3, "fan_in", "uniform")``, from which it is
    derived.

    Args:
        fan_in: the number of inputs that one output sees; ``None`` takes it from the shape of the kernel.
        seed: an integer or a ``keras.random.SeedGenerator``. As in all of Keras's initialisers, an instance that has an
            integer or ``None`` draws the same values at each call.

    Raises:
        ValueError: `fan_in` is not a positive integer, or it is ``None`` and the shape has fewer than two axes.
    """

    def __init__(self, fan_in: int | None = None, seed=None):
        if fan_in is not None and (not isinstance(fan_in, int) or fan_in < 1):
            raise ValueError(f"`fan_in` must be a positive integer or None; received {fan_in!r}.")
        super().__init__(scale=1 / 3, mode="fan_in", distribution="uniform", seed=seed)
        self.fan_in = fan_in

    def __call__(self, shape, dtype=None):
        """Draw a tensor of `shape` and `dtype` (``None``: ``keras.config.floatx()``)."""
        if self.fan_in is None and len(shape) < 2:
            raise ValueError(
                f"FanInUniform can't tell the fan-in from the shape {tuple(shape)}, which is not a kernel's. Give it "
                "as FanInUniform(fan_in=…), or use kerasnets.layers.Linear or Conv2D, which know it."
            )
        bound = 1 / math.sqrt(self.fan_in or math.prod(shape[:-1]))
        return keras.random.uniform(shape, -bound, bound, dtype=dtype, seed=self.seed)

    def get_config(self):
        """The constructor's arguments."""
        return {"fan_in": self.fan_in, "seed": super().get_config()["seed"]}
