"""The weights of each kind of layer under PyTorch's names and in its shapes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from kerasnets import layers as ours
from kerasnets._internal.arrays import cast, to_numbers
from kerasnets._internal.feature_order import Layout


def _same(array: np.ndarray, layout: Layout) -> np.ndarray:
    return array


def _linear(kernel: np.ndarray, layout: Layout) -> np.ndarray:
    """``(in, out)`` → ``(out, in)``, with the inputs in PyTorch's order."""
    if isinstance(layout, np.ndarray) and layout.ndim == 1:
        kernel = kernel[np.argsort(layout)]
    return kernel.T


def _convolution(kernel: np.ndarray, layout: Layout) -> np.ndarray:
    """``(*size, in / groups, out)`` → ``(out, in / groups, *size)``."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def _depthwise(kernel: np.ndarray, layout: Layout) -> np.ndarray:
    """``(*size, in, multiplier)`` → ``(in · multiplier, 1, *size)``: a convolution with one group per channel."""
    *size, channels, multiplier = kernel.shape
    return np.moveaxis(kernel, (-2, -1), (0, 1)).reshape(channels * multiplier, 1, *size)


def _slopes(alpha: np.ndarray, layout: Layout) -> np.ndarray:
    """The slopes of PReLU, of one for all or one per channel: ``(1, …, 1, channels)`` → ``(channels,)``."""
    if sum(size > 1 for size in alpha.shape) > 1:
        raise ValueError(
            f"PyTorch's PReLU has one slope, or one per channel, but the layer has slopes of shape {alpha.shape}: give "
            "PReLU shared_axes=(1, 2) after a convolution."
        )
    return _features(alpha.ravel(), layout)


def _gates(array: np.ndarray, layout: Layout, gates: tuple[int, ...]) -> np.ndarray:
    """``(in, gates · units)`` → ``(gates · units, in)``, or a bias, with the gates in PyTorch's order."""
    parts = np.split(array.T, len(gates))
    return np.concatenate([parts[gates.index(place)] for place in range(len(gates))])


def _features(vector: np.ndarray, layout: Layout) -> np.ndarray:
    """One value per feature (or per channel, whose order is the same), in PyTorch's order."""
    if isinstance(layout, np.ndarray) and vector.shape == layout.shape == (vector.size,):
        return vector[np.argsort(layout)]
    if layout == "channels_last" and vector.ndim > 1:  # of a layer normalization over all axes
        return np.moveaxis(vector, -1, 0)
    return vector


#: Layers → for each of their variables: the attribute in Keras, the name in PyTorch, and the conversion.
TABLE = (
    ((keras.layers.Dense,), (("kernel", "weight", _linear), ("bias", "bias", _same))),
    (
        (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
        (("kernel", "weight", _convolution), ("bias", "bias", _same)),
    ),
    (
        # (*size, out, in) here, (in, out, *size) there
        (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose),
        (("kernel", "weight", _convolution), ("bias", "bias", _same)),
    ),
    (
        # nn.Sequential of a convolution with one group per channel, without bias, and one of size 1
        (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D),
        (
            ("depthwise_kernel", "0.weight", _depthwise),
            ("pointwise_kernel", "1.weight", _convolution),
            ("bias", "1.bias", _same),
        ),
    ),
    (
        (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
        (("kernel", "weight", _depthwise), ("bias", "bias", _same)),
    ),
    (
        (keras.layers.BatchNormalization,),
        (
            ("gamma", "weight", _features),
            ("beta", "bias", _features),
            ("moving_mean", "running_mean", _features),
            ("moving_variance", "running_var", _features),
        ),
    ),
    ((keras.layers.LayerNormalization,), (("gamma", "weight", _features), ("beta", "bias", _features))),
    ((keras.layers.GroupNormalization,), (("gamma", "weight", _same), ("beta", "bias", _same))),
    ((keras.layers.PReLU,), (("alpha", "weight", _slopes),)),
    ((keras.layers.Embedding,), (("embeddings", "weight", _same),)),
    (
        (ours.MultiHeadAttention,),
        (
            # one packed matrix, or three if keys or values have another size
            ("in_proj_kernel", "in_proj_weight", _linear),
            ("q_proj_kernel", "q_proj_weight", _linear),
            ("k_proj_kernel", "k_proj_weight", _linear),
            ("v_proj_kernel", "v_proj_weight", _linear),
            ("in_proj_bias", "in_proj_bias", _same),
            ("out_proj_kernel", "out_proj.weight", _linear),
            ("out_proj_bias", "out_proj.bias", _same),
        ),
    ),
)
_COUNTER = "num_batches_tracked"
#: Last parts of the names that aren't parameters.
BUFFERS = ("running_mean", "running_var", _COUNTER)


@dataclass(frozen=True)
class Entry:
    """One entry of a ``state_dict``: its name, the Keras variable (None for batch norm's counter), and the conversion.

    `reorder` only moves elements; :meth:`from_torch` inverts it.
    """

    name: str
    variable: keras.Variable | None
    reorder: Callable[[np.ndarray], np.ndarray] = lambda array: array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in PyTorch."""
        return self.reorder(np.broadcast_to(np.int8(0), self._shape_here)).shape

    @property
    def _shape_here(self) -> tuple[int, ...]:
        return () if self.variable is None else tuple(self.variable.shape)

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Convert an array of the variable's shape to PyTorch's shape and order."""
        return np.array(self.reorder(array), order="C")

    def from_torch(self, array: np.ndarray) -> np.ndarray:
        """Convert an array in PyTorch's shape and order to the variable's shape."""
        shape = self._shape_here
        positions = self.reorder(np.arange(math.prod(shape)).reshape(shape))
        result = np.empty(math.prod(shape), array.dtype)
        result[positions.ravel()] = array.ravel()
        return result.reshape(shape)

    def convert(self, value: Any, dtype: str) -> Any:
        """Convert PyTorch's tensor or array to a tensor of the backend with this dtype and the variable's shape.

        Raises:
            ValueError: it has another shape or doesn't hold numbers. The message follows the entry's name.
        """
        array = to_numbers(value, f"numbers of shape {self.shape}")
        if array.shape != self.shape:
            raise ValueError(f"has shape {array.shape}, expected {self.shape}")
        return keras.ops.convert_to_tensor(self.from_torch(cast(array, dtype)), dtype)


def layer_entries(name: str, layer: keras.Layer, layout: Layout) -> list[Entry]:
    """Return the entries of one layer.

    Args:
        name: the attribute path in the original.
        layer: a built layer.
        layout: how PyTorch orders the features of the layer's input.

    Raises:
        TypeError: the layer has weights and is not in TABLE.
    """
    if not layer.weights:
        return []
    if isinstance(layer, keras.layers.Bidirectional):
        return [
            *_recurrent_entries(name, layer.forward_layer),
            *_recurrent_entries(name, layer.backward_layer, "_reverse"),
        ]
    if isinstance(layer, keras.layers.LSTM | keras.layers.GRU):
        return _recurrent_entries(name, layer)
    rows = next((rows for classes, rows in TABLE if isinstance(layer, classes)), ())
    found = []
    for attribute, suffix, function in rows:
        variable = getattr(layer, attribute, None)
        if variable is not None:
            found.append(Entry(f"{name}.{suffix}", variable, partial(function, layout=layout)))
    unknown = {id(weight): weight for weight in layer.weights}
    for entry in found:
        unknown.pop(id(entry.variable), None)
    if unknown:
        known = [cls.__name__ for classes, _ in TABLE for cls in classes]
        raise TypeError(
            f"The layer {layer.name!r} ({type(layer).__name__}) has weights with no known counterpart in PyTorch: "
            f"{', '.join(weight.path for weight in unknown.values())}. The known layers are: {', '.join(known)}."
        )
    if isinstance(layer, keras.layers.BatchNormalization):
        found.append(Entry(f"{name}.{_COUNTER}", None))
    return found


def _recurrent_entries(name: str, layer: keras.Layer, suffix: str = "") -> list[Entry]:
    """Return the entries of a recurrent layer in one direction."""
    if not isinstance(layer, ours.LSTM | ours.GRU):
        kind = type(layer).__name__
        raise TypeError(
            f"The layer {layer.name!r} is Keras's {kind}, which has other parameters than PyTorch's: use "
            f"kerasnets.layers.{kind}, which has its two biases."
            if kind in ("LSTM", "GRU")
            else f"The layer {layer.name!r} ({kind}) has weights with no known counterpart in PyTorch."
        )
    names = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh", "bias_ih": "bias_ih", "bias_hh": "bias_hh"}
    reorder = partial(_gates, layout=None, gates=layer.cell.gates)
    return [
        Entry(f"{name}.{there}_l{layer.torch_layer}{suffix}", getattr(layer.cell, here), reorder)
        for here, there in names.items()
        if layer.cell.use_bias or here.endswith("kernel")
    ]
