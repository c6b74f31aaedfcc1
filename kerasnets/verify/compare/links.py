"""Weights from modules to layers: for each Keras variable the parameters that it is made of.

The layers in ``kerasnets.interop.layer_weights.TABLE`` go through that table. Here are the others: recurrent layers,
attention, transposed convolutions, group norm, and parameters of a module's own.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasnets import layers as ours
from kerasnets._internal.arrays import to_numpy
from kerasnets._internal.feature_order import Layout
from kerasnets.interop.layer_weights import layer_entries
from kerasnets.verify.compare.calls import Call
from kerasnets.verify.compare.keras_side import KerasCall
from kerasnets.verify.compare.match import Match

Convert = Callable[..., np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Link:
    """A Keras variable and the parameters or buffers that it stands for.

    Attributes:
        call: position of Keras's call.
        variable: the variable.
        names: PyTorch's names.
        convert: from arrays of PyTorch's shapes to the variable's.
        is_sum: the variable is the sum of two biases of PyTorch's, each of which has its gradient.
    """

    call: int
    variable: keras.Variable
    names: tuple[str, ...]
    convert: Convert
    is_sum: bool = False

    @property
    def is_buffer(self) -> bool:
        """Whether it is a running value of a batch norm."""
        return ".running_" in self.names[0] or self.names[0].startswith("running_")

    def value(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """PyTorch's value in the variable's shape, from values by name.

        Raises:
            ValueError: the shapes don't fit.
        """
        arrays = [state[name] for name in self.names]
        try:
            found = np.asarray(self.convert(*arrays))
        except ValueError as error:
            shapes = ", ".join(str(a.shape) for a in arrays)
            text = f"{self.names[0]} of shape {shapes} doesn't fit {self.variable.name}, {tuple(self.variable.shape)}"
            raise ValueError(text) from error
        if found.shape != tuple(self.variable.shape):
            shapes = ", ".join(str(a.shape) for a in arrays)
            text = f"{self.names[0]} of shape {shapes} doesn't fit {self.variable.name}, {tuple(self.variable.shape)}"
            raise ValueError(text)
        return found

    def gradient(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """PyTorch's gradient (or step) in the variable's shape, from gradients by name."""
        if self.is_sum:
            return np.asarray(self.convert(state[self.names[0]], 0 * state[self.names[1]]))
        return self.value(state)


def make_links(
    theirs: Sequence[Call], ours: Sequence[KerasCall], match: Match, layouts: Mapping[int, Layout], state: Mapping
) -> list[Link]:
    """The links of all matched pairs.

    Args:
        theirs: PyTorch's calls.
        ours: Keras's calls.
        match: the pairs.
        layouts: id of a layer → the order of its input's features in PyTorch.
        state: the module's ``state_dict``, as arrays.
    """
    found: list[Link] = []
    for pair in match.pairs:
        call, layer = theirs[pair.torch], ours[pair.keras].layer
        if any(link.variable is weight for link in found for weight in layer.weights):
            continue  # a layer that runs several times
        prefix = f"{call.name}." if call.name else ""
        found += [
            dataclasses.replace(link, call=pair.keras)
            for link in _layer_links(call, layer, prefix, layouts.get(id(layer)), state)
            if all(name in state for name in link.names)
        ]
    return found


def _layer_links(call: Call, layer: Any, prefix: str, layout: Layout, state: Mapping) -> list[Link]:
    layers = keras.layers
    if call.kind == "parameter":
        return _own_parameters(call, layer, state)
    if isinstance(layer, layers.Bidirectional):
        suffix = f"_l{call.settings.get('layer', 0)}"
        return [
            *_recurrent(layer.forward_layer, prefix, suffix, state),
            *_recurrent(layer.backward_layer, prefix, f"{suffix}_reverse", state),
        ]
    if isinstance(layer, layers.LSTM | layers.GRU | layers.SimpleRNN):
        return _recurrent(layer, prefix, f"_l{call.settings.get('layer', 0)}", state)
    if isinstance(layer, ours.MultiHeadAttention) and call.parameters:
        return _packed(layer, call.parameters)
    if isinstance(layer, layers.MultiHeadAttention) and not isinstance(layer, ours.MultiHeadAttention):
        return _attention(layer, prefix, call.parameters)
    if hasattr(layers, "Conv2DTranspose") and type(layer).__name__.endswith("Transpose"):
        return _named(
            layer, prefix, kernel=("weight", lambda w: np.moveaxis(w, (0, 1), (-1, -2))), bias=("bias", _same)
        )
    if isinstance(layer, layers.GroupNormalization):
        return _named(layer, prefix, gamma=("weight", _same), beta=("bias", _same))
    if type(layer).__name__ == "RMSNormalization":
        return _named(layer, prefix, scale=("weight", _same))
    if isinstance(layer, layers.PReLU):
        shape = tuple(layer.alpha.shape)
        return _named(layer, prefix, alpha=("weight", lambda w: np.broadcast_to(w, shape)))
    if isinstance(layer, layers.EinsumDense):
        return _named(layer, prefix, kernel=("weight", np.transpose), bias=("bias", _same))
    try:
        entries = layer_entries(prefix.removesuffix("."), layer, layout)
    except TypeError:  # a layer that kerasnets doesn't know
        return _own_parameters(call, layer, state)
    return [
        Link(0, entry.variable, (entry.name if prefix else entry.name.lstrip("."),), _by_entry(entry))
        for entry in entries
        if entry.variable is not None
    ]


def _by_entry(entry: Any) -> Convert:
    def convert(array: np.ndarray) -> np.ndarray:
        if array.shape != entry.shape:
            raise ValueError(f"{entry.name} has shape {array.shape} in PyTorch, {entry.shape} here")
        return entry.from_torch(array)

    return convert


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _named(layer: Any, prefix: str, **rows: tuple[str, Convert]) -> list[Link]:
    """Links by attribute: ``kernel=("weight", convert)``."""
    variables = {attribute: getattr(layer, attribute, None) for attribute in rows}
    return [
        Link(0, variable, (prefix + rows[attribute][0],), rows[attribute][1])
        for attribute, variable in variables.items()
        if variable is not None
    ]


def _recurrent(layer: Any, prefix: str, suffix: str, state: Mapping) -> list[Link]:
    """Gates: i, f, g, o in both libraries for an LSTM; r, z, n in PyTorch and z, r, h in Keras for a GRU."""
    cell = layer.cell
    order = [1, 0, 2] if isinstance(layer, keras.layers.GRU) else None

    def gates(array: np.ndarray) -> np.ndarray:
        return array if order is None else np.concatenate([np.split(array, 3)[i] for i in order])

    names = [f"{prefix}{name}{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    found = [
        Link(0, cell.kernel, (names[0],), lambda w: gates(w).T),
        Link(0, cell.recurrent_kernel, (names[1],), lambda w: gates(w).T),
    ]
    if cell.bias is None or names[2] not in state:
        return found
    if isinstance(layer, ours.LSTM | ours.GRU):
        return [*found, Link(0, cell.bias_ih, (names[2],), gates), Link(0, cell.bias_hh, (names[3],), gates)]
    both = (names[2], names[3])
    if len(cell.bias.shape) == 2:  # a GRU with reset_after keeps the two apart
        return [*found, Link(0, cell.bias, both, lambda b, c: np.stack([gates(b), gates(c)]))]
    return [*found, Link(0, cell.bias, both, lambda b, c: gates(b) + gates(c), is_sum=True)]


def _attention(layer: Any, prefix: str, parts: Sequence[str] = ()) -> list[Link]:
    """PyTorch keeps queries, keys and values in one matrix, Keras one tensor per head in each of three.

    Args:
        layer: Keras's.
        prefix: the module's name and a dot.
        parts: names of linear layers that make up the attention: of all three, or one each; and the projection.
    """
    if parts:
        return _written_out(layer, parts)
    found = []
    for part, dense in enumerate((layer.query_dense, layer.key_dense, layer.value_dense)):
        shape = tuple(dense.kernel.shape)
        found.append(Link(0, dense.kernel, (f"{prefix}in_proj_weight",), _third(part, shape, transpose=True)))
        if dense.bias is not None:
            found.append(Link(0, dense.bias, (f"{prefix}in_proj_bias",), _third(part, tuple(dense.bias.shape))))
    out = layer.output_dense
    shape = tuple(out.kernel.shape)
    found.append(Link(0, out.kernel, (f"{prefix}out_proj.weight",), lambda w: _reshape(w.T, shape)))
    if out.bias is not None:
        found.append(Link(0, out.bias, (f"{prefix}out_proj.bias",), _same))
    return found


def _written_out(layer: Any, parts: Sequence[str]) -> list[Link]:
    *makers, last = parts
    found = []
    for part, dense in enumerate((layer.query_dense, layer.key_dense, layer.value_dense)):
        maker = makers[part if len(makers) == 3 else 0]
        for variable, name, transpose in ((dense.kernel, "weight", True), (dense.bias, "bias", False)):
            if variable is None:
                continue
            shape = tuple(variable.shape)
            convert = _third(part, shape, transpose) if len(makers) == 1 else _whole(shape)
            found.append(Link(0, variable, (f"{maker}.{name}",), convert))
    for variable, name in ((layer.output_dense.kernel, "weight"), (layer.output_dense.bias, "bias")):
        if variable is not None:
            found.append(Link(0, variable, (f"{last}.{name}",), _whole(tuple(variable.shape))))
    return found


def _packed(layer: Any, parts: Sequence[str]) -> list[Link]:
    """Links of kerasnets' attention to linear layers, of all three projections or one each; and the last one."""
    *makers, last = parts

    def names(end: str) -> tuple[str, ...]:
        return tuple(f"{maker}.{end}" for maker in makers)

    rows = (
        (layer.in_proj_kernel, names("weight"), lambda *parts: np.concatenate(parts).T),
        (layer.in_proj_bias, names("bias"), lambda *parts: np.concatenate(parts)),
        (layer.out_proj_kernel, (f"{last}.weight",), np.transpose),
        (layer.out_proj_bias, (f"{last}.bias",), _same),
    )
    return [Link(0, *row) for row in rows if row[0] is not None]


def _whole(shape: tuple[int, ...]) -> Convert:
    return lambda array: _reshape(array.T, shape)


def _third(part: int, shape: tuple[int, ...], transpose: bool = False) -> Convert:
    def convert(array: np.ndarray) -> np.ndarray:
        third = np.split(array, 3)[part]
        return _reshape(third.T if transpose else third, shape)

    return convert


def _reshape(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return array.reshape(shape) if array.size == np.prod(shape) else array


def _own_parameters(call: Call, layer: Any, state: Mapping) -> list[Link]:
    """Variables of a layer of the user's own, by name or by shape, axes of length 1 aside."""
    names = list(call.parameters) or [n for n in state if n.startswith(f"{call.name}.")]
    found = []
    for variable in layer.weights:
        if "seed" in variable.path:
            continue
        shape = tuple(variable.shape)
        fitting = [n for n in names if _squeezed(np.shape(state[n])) == _squeezed(shape)]
        turned = [n for n in names if _squeezed(np.shape(state[n]))[::-1] == _squeezed(shape)]
        if fitting:
            found.append(Link(0, variable, (fitting[0],), lambda a, shape=shape: a.reshape(shape)))
        elif turned:
            found.append(Link(0, variable, (turned[0],), lambda a, shape=shape: a.T.reshape(shape)))
        if fitting or turned:
            names.remove((fitting or turned)[0])
    return found


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def assign(links: Sequence[Link], state: Mapping[str, np.ndarray]) -> list[tuple[Link, str]]:
    """Set the variables to PyTorch's values; returns the links whose shapes don't fit, with the reason."""
    unfit = []
    for link in links:
        try:
            value = link.value(state)
        except ValueError as error:
            unfit.append((link, str(error)))
            continue
        link.variable.assign(value.astype(keras.backend.standardize_dtype(link.variable.dtype)))
    return unfit


def read_state(module: Any) -> dict[str, np.ndarray]:
    """Parameters and buffers of a module, by name."""
    return {name: to_numpy(value).copy() for name, value in module.state_dict(keep_vars=False).items()}
