"""PyTorch's order of the features in a Keras model's tensors, followed through the model's graph.

PyTorch flattens feature maps as (channels, height, width), Keras as (height, width, channels), so that the inputs of a
layer after a flattening have different orders. To find out what an operation does to the order, it is run on the
numbers 0, 1, 2, … instead of features.

The original is taken to make the same movement of feature maps where one acts alike in both orders: where it moves
places and channels each on their own, as a flip, a roll or ShuffleNet's shuffle of channels does. What it moves then is
feature maps again.

A tensor with three axes that doesn't come from a convolution, pooling or padding is (batch, steps, features) in both
libraries, as from an embedding. One with four or more axes is feature maps in Keras's data format; an input, in that of
the layer that reads it.
"""

import math

import keras
import numpy as np

from kerasnets._internal import keras_private
from kerasnets._internal.arrays import to_numpy

#: How PyTorch orders the features of a tensor: a data format here (feature maps, which are channels-first in PyTorch),
#: an array (for each element of one example, its position in PyTorch), or None (the same order).
Layout = str | np.ndarray | None


class _OfMaps(np.ndarray):
    """Positions of elements that are those of feature maps, moved, and how many channels the maps had."""

    channels: int


#: Layers with weights that keep the order of their features.
_NORMALISATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.PReLU,
)
#: Layers that are known to keep the order of their features.
_ELEMENTWISE = (
    *_NORMALISATIONS,
    keras.layers.Activation,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.Softmax,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)


def layouts_of(model: keras.Model) -> dict[int, Layout]:
    """Return the layout of each layer's input: id of the layer → layout.

    Raises:
        TypeError: the model is neither Functional nor Sequential.
        ValueError: the model is not built, or PyTorch has no single order for a layer's inputs.
    """
    layouts: dict[int, Layout] = {}
    _follow(model, None, layouts)
    return layouts


def positions_of(tensor: keras.KerasTensor) -> np.ndarray | None:
    """Return the position in PyTorch of each feature of a symbolic vector.

    None if the order is the same, or if PyTorch has no single order for these features.
    """
    inputs = _inputs_behind(tensor)
    if not inputs:
        return None
    try:
        (layout,) = _follow(keras.Model(inputs, tensor, name="behind"), None, {})
    except (TypeError, ValueError):
        return None
    return layout if isinstance(layout, np.ndarray) and layout.ndim == 1 else None


def _inputs_behind(tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    """Return the inputs of the graph that computes a vector; an empty list for a graph without feature maps."""
    waiting, seen, inputs, has_maps = [tensor], set(), {}, False
    while waiting:
        current = waiting.pop()
        has_maps |= len(current.shape) > 2
        node = keras_private.node_behind(current)
        if node is None:
            return []
        if node.is_input:
            inputs[id(current)] = current
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.extend(node.input_tensors)
    return list(inputs.values()) if has_maps else []


def _follow(model: keras.Model, inputs: list[Layout] | None, layouts: dict[int, Layout]) -> list[Layout]:
    """Record the layout of each layer's input; return the layouts of the model's outputs."""
    nodes = keras_private.list_calls(model)
    if not model.built or (isinstance(model, keras.Sequential) and not nodes):
        raise ValueError(f"The model {model.name!r} has no weights yet: build it first, or give it an Input.")
    if not nodes:
        raise TypeError(f"The model {model.name!r} ({type(model).__name__}) is neither Functional nor Sequential.")
    if inputs is None:
        inputs = [_format_read(tensor, nodes) or _default(tensor.shape) for tensor in model.inputs]
    known = {id(tensor): layout for tensor, layout in zip(model.inputs, inputs, strict=True)}
    for node in nodes:
        if not node.operation or node.is_input or any(id(tensor) not in known for tensor in node.input_tensors):
            continue
        given = [known[id(tensor)] for tensor in node.input_tensors]
        if isinstance(node.operation, keras.Model):
            results = _follow(node.operation, given, layouts)
        else:
            _record(node.operation, given[0], node.input_tensors[0].shape, layouts)
            results = [_layout_after(node, output, given) for output in node.outputs]
        known.update((id(tensor), layout) for tensor, layout in zip(node.outputs, results, strict=True))
    return [known[id(tensor)] for tensor in model.outputs]


def _format_read(tensor: keras.KerasTensor, nodes: list) -> str | None:
    """Return the data format in which the graph's first layers read feature maps; None if none of them has one."""
    rank = len(tensor.shape)
    if rank < 4:
        return None
    for node in nodes:
        operation = node.operation
        if node.is_input or not any(each is tensor for each in node.input_tensors):
            continue
        if data_format := getattr(operation, "data_format", None):
            return data_format
        if isinstance(operation, _ELEMENTWISE):
            return _format_read(node.outputs[0], nodes)
        if isinstance(operation, keras.layers.Permute):
            moved = _format_read(node.outputs[0], nodes)
            channels = operation.dims[0 if moved == "channels_first" else -1]  # the axis that becomes the channels
            return {1: "channels_first", rank - 1: "channels_last"}.get(channels) if moved else None
    return None


def _record(operation, layout: Layout, shape: tuple[int | None, ...], layouts: dict[int, Layout]) -> None:
    """Record the layout of the input of `operation`; raises ValueError if PyTorch's counterpart can't have the same."""
    if isinstance(layout, np.ndarray) and layout.ndim > 1:
        if _takes_maps(operation) and not np.array_equal(layout, _positions(operation.data_format, layout.shape)):
            raise ValueError(
                f"The layer {operation.name!r} gets feature maps that were reshaped from features in Keras's order, "
                f"{layout.shape}, but PyTorch's view has (channels, …). Reshape to that order, then permute: for "
                "example Reshape((2, 3, 3)) and Permute((2, 3, 1)) instead of Reshape((3, 3, 2))."
            )
        if isinstance(operation, keras.layers.Dense) and (np.diff(layout, axis=-1) <= 0).any():
            raise ValueError(
                f"The layer {operation.name!r} gets feature maps that were reshaped to {layout.shape}, which PyTorch "
                "has in another order. Flatten them first, or keep the channels as the last axis."
            )
    if isinstance(operation, keras.layers.GroupNormalization) and isinstance(layout, np.ndarray):
        raise ValueError(
            f"The layer {operation.name!r} gets features in groups that PyTorch makes of others: flattened or reshaped "
            "feature maps have another order there. Normalise the feature maps before they are flattened."
        )
    normalises = isinstance(operation, keras.layers.LayerNormalization)
    if normalises and isinstance(layout, str) and len(operation.axis) < len(shape) - 1:
        layout = None  # for example channels alone, whose order is the same
    other = layouts.setdefault(id(operation), layout)
    vectors = [known for known in (other, layout) if isinstance(known, np.ndarray) and known.ndim == 1]
    if vectors and not _is_same(other, layout) and getattr(operation, "weights", None):
        raise ValueError(
            f"The layer {operation.name!r} is used for inputs whose features PyTorch orders in two ways, so that no "
            "single set of weights fits both."
        )


def _takes_maps(operation) -> bool:
    return bool(getattr(operation, "data_format", None)) and not isinstance(operation, keras.layers.Flatten)


def _layout_after(node, output, given: list[Layout]) -> Layout:
    """Return the layout of `output`, one of the outputs of `node`."""
    operation, tensors = node.operation, node.input_tensors
    if getattr(operation, "data_format", None) and len(output.shape) > 2:
        return operation.data_format  # convolution, pooling, padding, …: feature maps in this format
    if getattr(operation, "weights", None) and not isinstance(operation, _NORMALISATIONS):
        return _default(output.shape)  # new features
    if any(size is None for tensor in (output, *tensors) for size in tensor.shape[1:]):
        return _of_other_size(node, output, given)
    if len(tensors) == 1 and math.prod(tensors[0].shape[1:]) == math.prod(output.shape[1:]):
        return given[0] if isinstance(operation, _ELEMENTWISE) else _try_out(node, given[0], tensors[0], output)
    if type(operation).__name__ == "Concatenate" and len(output.shape) == 2:
        parts, start = [], 0
        for tensor, layout in zip(tensors, given, strict=True):
            parts.append(_positions(layout, tensor.shape[1:]) + start)
            start += tensor.shape[1]
        return np.concatenate(parts)
    combined = [layout for tensor, layout in zip(tensors, given, strict=True) if tensor.shape == output.shape]
    return _combined(operation, combined) if combined else _of_other_size(node, output, given)


def _try_out(node, layout: Layout, tensor, output) -> Layout:
    """Return the layout after a flattening, reshape or permutation, by applying it to the positions."""
    positions = _positions(layout, tensor.shape[1:])
    moved = _moved(node, positions)
    if moved is None or not np.array_equal(np.sort(moved, axis=None), np.arange(moved.size)):
        # It doesn't only move elements.
        return layout if tensor.shape == output.shape else _default(output.shape)
    if moved.shape == positions.shape and np.array_equal(moved, positions):
        return layout
    if moved.ndim == 1:
        return _after_moving_a_vector(node, layout, moved, tensor)
    if np.array_equal(moved, _positions("channels_last", moved.shape)):
        return "channels_last"
    if isinstance(layout, str | _OfMaps):
        moved = _keep_channels(moved, layout, tensor)
        if data_format := _acts_alike(moved, layout):
            return data_format
    if layout is None and moved.shape == positions.shape and _moves_apart(moved.reshape(-1, moved.shape[-1])):
        return None  # steps and features each on their own, as a reversed sequence: the same in both orders
    tokens = layout is None and len(tensor.shape) > 2 and tensor.shape[-1] == output.shape[-1]
    if tokens and moved.ndim > 2 and _default(output.shape) == "channels_last":
        return "channels_last"  # (batch, steps, features) → (batch, height, width, features): features are channels
    return moved


def _after_moving_a_vector(node, layout: Layout, moved: np.ndarray, tensor) -> Layout:
    """Return the layout of a vector whose positions are `moved`."""
    if np.array_equal(moved, np.arange(moved.size)):
        return None
    if len(tensor.shape) > 2:
        return _keep_channels(moved, layout, tensor) if isinstance(layout, str | _OfMaps) else moved
    # A vector of a vector: with the movement m and positions p, PyTorch has m⁻¹·p·m after the same movement.
    movement = _moved(node, np.arange(moved.size))
    assert movement is not None
    found = np.argsort(movement)[moved]
    return None if np.array_equal(found, np.arange(moved.size)) else found


def _keep_channels(moved: np.ndarray, layout: str | _OfMaps, tensor) -> _OfMaps:
    found = moved.view(_OfMaps)
    if isinstance(layout, str):
        found.channels = tensor.shape[1 if layout == "channels_first" else -1]
    else:
        found.channels = layout.channels
    return found


def _acts_alike(moved: _OfMaps, layout: Layout) -> str | None:
    """Return the data format of moved feature maps whose places and channels were each moved on their own, or None."""
    given = layout if isinstance(layout, str) else None
    last, first = (moved.shape[axis] == moved.channels for axis in (-1, 0))
    if last and given != "channels_first" and _moves_apart(moved.reshape(-1, moved.shape[-1]).T):
        return "channels_last"
    is_first = (given or keras.config.image_data_format()) == "channels_first"
    return "channels_first" if is_first and first and _moves_apart(moved.reshape(moved.shape[0], -1)) else None


def _moves_apart(positions: np.ndarray) -> bool:
    """Whether a matrix of positions is 0, 1, 2, … with its rows and its columns each moved as wholes."""
    rows, columns = np.divmod(positions, positions.shape[1])
    return bool((rows == rows[:, :1]).all() and (columns == columns[:1]).all())


def _moved(node, positions: np.ndarray) -> np.ndarray | None:
    """Return the positions as `node` moves them; None if it doesn't take integers, and so doesn't only move them."""
    (tensor,) = node.input_tensors
    batch = np.stack([positions.astype("int32")] * (tensor.shape[0] or 1))
    args, kwargs = node.arguments.fill_in({id(tensor): keras.ops.convert_to_tensor(batch)})
    try:
        moved = node.operation(*args, **kwargs)
    except Exception:  # each backend has its own for a type that an operation doesn't take
        return None
    if isinstance(moved, list | tuple):  # the parts of a split
        return np.concatenate([to_numpy(part)[0].ravel() for part in moved]).astype("int64")
    return to_numpy(moved)[0].astype("int64")


def _combined(operation, layouts: list[Layout]) -> Layout:
    """Return the layout of a sum, product or the like of tensors of the same shape."""
    first, *others = layouts
    if all(_is_same(other, first) for other in others):
        return first
    vectors = any(isinstance(layout, np.ndarray) and layout.ndim == 1 for layout in layouts)
    if not vectors and any(layout is None for layout in layouts):
        return None  # (steps, features), as from an embedding: the same order in the original
    raise ValueError(
        f"The layer {operation.name!r} combines features that PyTorch orders in different ways, as flattened feature "
        "maps and other features: the weights of the layers after it can't fit."
    )


def _of_other_size(node, output, given: list[Layout]) -> Layout:
    """Return the layout of an output whose size differs: joined, cut, enlarged or reduced."""
    tensors = node.input_tensors
    if len(tensors) == 1 and isinstance(given[0], np.ndarray) and given[0].ndim == 1:
        moved = _moved(node, given[0])
        if moved is not None and moved.size > 1 and np.isin(moved, given[0]).all():
            raise ValueError(
                f"The layer {node.operation.name!r} takes some of the features of flattened feature maps. PyTorch has "
                "them in another order and would take others."
            )
    maps = [layout for tensor, layout in zip(tensors, given, strict=True) if len(tensor.shape) == len(output.shape)]
    if maps and all(isinstance(layout, str) and layout == maps[0] for layout in maps):
        return maps[0]
    return _default(output.shape)


def _is_same(layout: Layout, other: Layout) -> bool:
    if isinstance(layout, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(layout, other)
    return type(layout) is type(other) and layout == other


def _positions(layout: Layout, shape: tuple[int, ...]) -> np.ndarray:
    """Return, for each element of an example of this shape, its position in PyTorch's flattened order."""
    if isinstance(layout, np.ndarray):
        return layout
    numbers = np.arange(math.prod(shape))
    if layout == "channels_last":
        return np.moveaxis(numbers.reshape(shape[-1], *shape[:-1]), 0, -1)
    return numbers.reshape(shape)


def _default(shape: tuple[int | None, ...]) -> Layout:
    """Four or more axes are feature maps in Keras's data format; fewer have the same order in PyTorch."""
    return keras.config.image_data_format() if len(shape) > 3 else None
