"""PyTorch's initial values, drawn as PyTorch draws them: U(±1/√fan_in), Xavier uniform and N(0, 1).

Others exist in Keras: ``normal_(std=0.01)`` is ``keras.initializers.RandomNormal(stddev=0.01)``, and ``fill_(0)`` is
``"zeros"``.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from kerasnets._internal import keras_private
from kerasnets._internal.torch_random import Generator, global_generator

__all__ = ["FanInUniform", "StandardNormal", "XavierUniform"]


def __dir__() -> list[str]:
    return __all__


class _TorchStream(keras.initializers.Initializer):
    """Mix-in for an initializer whose numbers are PyTorch's."""

    seed: Any
    #: Whether a call continues the stream of ``keras.utils.set_random_seed``, instead of a seed of its own.
    continues_stream: bool

    def __init__(self, *args, seed=None, **kwargs):
        super().__init__(*args, seed=seed, **kwargs)
        self.continues_stream = seed is None

    def generator(self) -> Generator:
        """Return where the next numbers come from."""
        if self.continues_stream:
            # In a stateless scope Keras only asks for a value to infer shapes from.
            return global_generator().copy() if keras_private.in_stateless_scope() else global_generator()
        if isinstance(self.seed, keras.random.SeedGenerator):
            state = keras.ops.convert_to_numpy(self.seed.next())  # its seed and how often it was asked
            return Generator(int(np.random.SeedSequence(state.astype("uint32").tolist()).generate_state(1)[0]))
        return Generator(self.seed)

    def draw_uniform(self, shape: tuple[int, ...], bound: float, dtype: str) -> np.ndarray:
        """Draw a kernel ``(…, in, out)`` from U(±bound); PyTorch's has the outputs first, then the inputs."""
        order = (len(shape) - 1, len(shape) - 2, *range(len(shape) - 2)) if len(shape) > 1 else (0,)
        drawn_as = tuple(shape[axis] for axis in order)
        values = self.generator().uniform(drawn_as, -bound, bound, _drawn_type(dtype))
        return values.transpose(np.argsort(order))

    def words(self, shape: Sequence[int], dtype: str) -> int:
        """Return how many 32-bit words of the stream a call takes; by default one per number, two in float64."""
        return math.prod(shape) * (2 if _drawn_type(dtype) == "float64" else 1)


@keras.saving.register_keras_serializable(package="kerasnets")
class FanInUniform(_TorchStream, keras.initializers.VarianceScaling):
    """Draws from U(−1/√fan_in, 1/√fan_in), the default of ``torch.nn.Linear`` and ``torch.nn.Conv2d``.

    The numbers are PyTorch's own, bit for bit: after ``keras.utils.set_random_seed(s)``, kernels and biases that are
    drawn one after the other are those that PyTorch draws in this order after ``torch.manual_seed(s)`` on a CPU.

    Source: the tables "Variables" on the pages ``torch.nn.Linear`` and ``torch.nn.Conv2d`` of PyTorch's documentation.
    PyTorch's code draws kernels with ``kaiming_uniform_(a=√5)``, whose bound √3·√(2 / (1 + a²)) / √fan_in is the same
    but for rounding.

    The fan-in is the number of inputs of one output. A kernel's shape contains it (outputs are the last axis in Keras):
    it is ``in`` of ``(in, out)`` and ``height·width·(in/groups)`` of ``(height, width, in/groups, out)``. The shape of
    a bias, ``(out,)``, doesn't, so that :class:`kerasnets.layers.Linear` and :class:`kerasnets.layers.Conv2D`
    pass it to theirs.

    For a kernel this is the distribution of ``keras.initializers.VarianceScaling(1/3, "fan_in", "uniform")``, its base
    class.

    Args:
        fan_in: the number of inputs of one output; None takes it from the shape of the kernel.
        seed: None continues the stream of ``keras.utils.set_random_seed``; an integer draws, at each call, what PyTorch
            draws first after ``torch.manual_seed(seed)``; a ``keras.random.SeedGenerator`` gives each call a seed.

    Raises:
        ValueError: `fan_in` is not a positive integer, or it is None and the shape has fewer than two axes.

    Examples:
        >>> values = kerasnets.initializers.FanInUniform(seed=0)((4, 3))  # 4 inputs, 3 outputs
        >>> bool((abs(values) <= 0.5).all())
        True
    """

    def __init__(self, fan_in: int | None = None, seed: int | keras.random.SeedGenerator | None = None):
        if fan_in is not None and (not isinstance(fan_in, int) or fan_in < 1):
            raise ValueError(f"`fan_in` must be a positive integer or None; received {fan_in!r}.")
        super().__init__(scale=1 / 3, mode="fan_in", distribution="uniform", seed=seed)
        self.fan_in = fan_in
        self._positions: np.ndarray | None = None

    def __call__(self, shape: Sequence[int], dtype: Any = None):
        """Draw a tensor of `shape` and `dtype` (the default is ``keras.config.floatx()``)."""
        shape, dtype = tuple(shape), keras.backend.standardize_dtype(dtype)
        if self.fan_in is None and len(shape) < 2:
            raise ValueError(
                f"FanInUniform can't tell the fan-in from the shape {shape}, which is not a kernel's. Pass it "
                "as FanInUniform(fan_in=…), or use kerasnets.layers.Linear or Conv2D, which know it."
            )
        if self.fan_in is not None:
            bound = 1 / math.sqrt(self.fan_in)
        else:
            bound = math.sqrt(3.0) * (math.sqrt(2.0 / (1 + math.sqrt(5) ** 2)) / math.sqrt(math.prod(shape[:-1])))
        values = self.draw_uniform(shape, bound, dtype)
        if self._positions is not None:
            values = values[self._positions]
        return keras.ops.convert_to_tensor(np.ascontiguousarray(values), dtype)

    def with_fan_in(self, fan_in: int) -> "FanInUniform":
        """The same with the fan-in given."""
        return type(self)(fan_in, seed=None if self.continues_stream else self.seed)

    def for_inputs(self, positions: np.ndarray | None) -> "FanInUniform":
        """The same for the kernel of a layer whose inputs have other positions in PyTorch: int ``(in,)``, or None."""
        changed = type(self)(self.fan_in, seed=None if self.continues_stream else self.seed)
        changed._positions = positions
        return changed

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"fan_in": self.fan_in, "seed": super().get_config()["seed"]}


@keras.saving.register_keras_serializable(package="kerasnets")
class XavierUniform(_TorchStream, keras.initializers.GlorotUniform):
    """Draws from U(±√(6 / (fan_in + fan_out))), as ``torch.nn.init.xavier_uniform_`` does.

    The distribution is that of ``keras.initializers.GlorotUniform``; the numbers are PyTorch's own.

    Args:
        seed: as in :class:`FanInUniform`.

    Raises:
        ValueError: the shape has fewer than two axes.

    Examples:
        >>> initializer = kerasnets.initializers.XavierUniform(seed=0)
        >>> tuple(initializer((3, 4)).shape)
        (3, 4)
    """

    def __init__(self, seed: int | keras.random.SeedGenerator | None = None):
        super().__init__(seed=seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None):
        """Draw a tensor of `shape` and `dtype` (the default is ``keras.config.floatx()``)."""
        shape, dtype = tuple(shape), keras.backend.standardize_dtype(dtype)
        if len(shape) < 2:
            raise ValueError(f"XavierUniform expects a kernel of two axes or more; received the shape {shape}.")
        fans = math.prod(shape[:-2]) * (shape[-2] + shape[-1])
        values = self.draw_uniform(shape, math.sqrt(3.0) * math.sqrt(2.0 / fans), dtype)
        return keras.ops.convert_to_tensor(np.ascontiguousarray(values), dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"seed": super().get_config()["seed"]}


@keras.saving.register_keras_serializable(package="kerasnets")
class StandardNormal(_TorchStream, keras.initializers.RandomNormal):
    """Draws from N(0, 1), the default of ``torch.nn.Embedding``.

    The numbers are PyTorch's own, but for the last bits: those that ``torch.nn.init.normal_`` draws on a CPU, after the
    same seed, in float32 or float64.

    Args:
        seed: as in :class:`FanInUniform`.

    Examples:
        >>> values = kerasnets.initializers.StandardNormal(seed=0)((1000, 8))
        >>> abs(float(values.mean())) < 0.1
        True
    """

    def __init__(self, seed: int | keras.random.SeedGenerator | None = None):
        super().__init__(mean=0.0, stddev=1.0, seed=seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None):
        """Draw a tensor of `shape` and `dtype` (the default is ``keras.config.floatx()``)."""
        dtype = keras.backend.standardize_dtype(dtype)
        return keras.ops.convert_to_tensor(self.generator().normal(tuple(shape), _drawn_type(dtype)), dtype)

    def words(self, shape, dtype):
        """Return how many 32-bit words of the stream a call takes."""
        n = math.prod(shape)
        if n < 16:
            return 4 * -(-n // 2)
        return (n + 16 * (n % 16 > 0)) * (2 if _drawn_type(dtype) == "float64" else 1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"seed": super().get_config()["seed"]}


def words_drawn(layers: Iterable[keras.Layer]) -> int:
    """How many 32-bit words of the stream the initial weights of `layers` took; see :func:`batches.epoch_order`."""
    words = 0
    for layer in layers:
        for name, value in vars(layer).items():
            if isinstance(value, _TorchStream) and value.continues_stream:
                for variable in _variables_of(layer, name.removesuffix("_initializer")):
                    words += value.words(variable.shape, variable.dtype)
    return words


def _variables_of(layer: keras.Layer, name: str) -> list[keras.Variable]:
    """The variables that an initializer has drawn: one of its name, or several that begin with it."""
    variable = getattr(layer, name, None)
    if isinstance(variable, keras.Variable):
        return [variable]
    return [v for n in ("kernel", "ih", "hh") if (v := getattr(layer, f"{name}_{n}", None)) is not None]


def _drawn_type(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"
