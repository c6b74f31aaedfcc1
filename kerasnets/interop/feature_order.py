"""The order that PyTorch has the features of a Keras model's tensors in, followed through the model's graph.

PyTorch flattens feature maps as (channels, height, width), Keras as (height, width, channels), so that the weights
behind a flattening see their inputs in another order. What an operation does to the order is asked of the operation
itself: it is run on the numbers 0, 1, 2, … in place of features.

A tensor of three axes that no convolution, pooling or padding has made is (batch, steps, features) on both sides, as
from an embedding; one of four and more is feature maps in Keras's data format.
"""

import math

import keras
import numpy as np

from kerasnets._internal.arrays import to_numpy

#: How the features of a tensor are ordered in the original: a data format (feature maps, which are channels-first
#: there), an array (for each element of one example, its position in the original), or None (the order is as here).
Layout = str | np.ndarray | None

#: Layers with weights that keep the order of their features.
_NORMALISATIONS = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)
#: Layers that keep the order of their features, and need not be asked.
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
    """What each layer of `model` gets as its input: id of the layer → layout.

    Raises:
        TypeError: the model is neither Functional nor Sequential.
        ValueError: the model is not built, or PyTorch has no one order for what a layer gets.
    """
    layouts: dict[int, Layout] = {}
    _follow(model, None, layouts)
    return layouts


def _follow(model: keras.Model, inputs: list[Layout] | None, layouts: dict[int, Layout]) -> list[Layout]:
    """Note the layout that each layer of `model` gets; return those of the model's outputs.

    Keras has no public way to walk a graph: this reads the nodes as ``keras.utils.model_to_dot`` does.
    """
    graph = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    if not model.built or graph is None:
        raise ValueError(f"The model {model.name!r} has no weights yet: build it first, or give it an Input.")
    if not hasattr(graph, "_nodes_by_depth"):
        raise TypeError(f"The model {model.name!r} ({type(model).__name__}) is neither Functional nor Sequential.")
    if inputs is None:
        inputs = [_default(tensor.shape) for tensor in graph.inputs]
    known = {id(tensor): layout for tensor, layout in zip(graph.inputs, inputs, strict=True)}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if not node.operation or node.is_input or any(id(tensor) not in known for tensor in node.input_tensors):
                continue
            given = [known[id(tensor)] for tensor in node.input_tensors]
            if isinstance(node.operation, keras.Model):
                results = _follow(node.operation, given, layouts)
            else:
                _note(node.operation, given[0], node.input_tensors[0].shape, layouts)
                results = [_through(node, output, given) for output in node.outputs]
            known.update((id(tensor), layout) for tensor, layout in zip(node.outputs, results, strict=True))
    return [known[id(tensor)] for tensor in graph.outputs]


def _note(operation, layout: Layout, shape: tuple[int | None, ...], layouts: dict[int, Layout]) -> None:
    """Note what `operation` gets, if PyTorch can give the same to its counterpart."""
    if isinstance(layout, np.ndarray) and layout.ndim > 1:
        if _takes_maps(operation) and not np.array_equal(layout, _positions(operation.data_format, layout.shape)):
            raise ValueError(
                f"The layer {operation.name!r} gets feature maps that were reshaped from features in Keras's order, "
                f"{layout.shape}, where PyTorch's view has (channels, …). Reshape to that order, then permute: for "
                "example Reshape((2, 3, 3)) and Permute((2, 3, 1)) in place of Reshape((3, 3, 2))."
            )
        if isinstance(operation, keras.layers.Dense) and (np.diff(layout, axis=-1) <= 0).any():
            raise ValueError(
                f"The layer {operation.name!r} gets feature maps that were reshaped to {layout.shape}, which PyTorch "
                "has in another order. Flatten them first, or keep the channels as the last axis."
            )
    normalises = isinstance(operation, keras.layers.LayerNormalization)
    if normalises and isinstance(layout, str) and len(operation.axis) < len(shape) - 1:
        layout = None  # channels alone, for example, in the order that they have on both sides
    other = layouts.setdefault(id(operation), layout)
    vectors = [known for known in (other, layout) if isinstance(known, np.ndarray) and known.ndim == 1]
    if vectors and not np.array_equal(other, layout) and getattr(operation, "weights", None):
        raise ValueError(
            f"The layer {operation.name!r} is used for inputs whose features PyTorch orders in two ways, so that no "
            "one set of weights fits both."
        )


def _takes_maps(operation) -> bool:
    return bool(getattr(operation, "data_format", None)) and not isinstance(operation, keras.layers.Flatten)


def _through(node, output, given: list[Layout]) -> Layout:
    """The layout of `output`, one of the tensors that come out of `node`."""
    operation, tensors = node.operation, node.input_tensors
    if getattr(operation, "data_format", None) and len(output.shape) > 2:
        return operation.data_format  # convolution, pooling, padding, …: feature maps in this format
    if getattr(operation, "weights", None) and not isinstance(operation, _NORMALISATIONS):
        return _default(output.shape)  # new features
    if any(size is None for tensor in (output, *tensors) for size in tensor.shape[1:]):
        return _of_other_size(node, output, given)
    if len(tensors) == 1 and math.prod(tensors[0].shape[1:]) == math.prod(output.shape[1:]):
        return given[0] if isinstance(operation, _ELEMENTWISE) else _asked(node, given[0], tensors[0], output)
    if type(operation).__name__ == "Concatenate" and len(output.shape) == 2:
        parts, start = [], 0
        for tensor, layout in zip(tensors, given, strict=True):
            parts.append(_positions(layout, tensor.shape[1:]) + start)
            start += tensor.shape[1]
        return np.concatenate(parts)
    combined = [layout for tensor, layout in zip(tensors, given, strict=True) if tensor.shape == output.shape]
    return _combined(operation, combined) if combined else _of_other_size(node, output, given)


def _asked(node, layout: Layout, tensor, output) -> Layout:
    """What a flattening, a reshape or a permutation makes of `layout`: let it move the positions themselves."""
    positions = _positions(layout, tensor.shape[1:])
    moved = _moved(node, positions)
    if moved is None or not np.array_equal(np.sort(moved, axis=None), np.arange(moved.size)):
        # It computes something; it doesn't just move.
        return layout if tensor.shape == output.shape else _default(output.shape)
    if moved.shape == positions.shape and np.array_equal(moved, positions):
        return layout
    if moved.ndim == 1:
        return None if np.array_equal(moved, np.arange(moved.size)) else moved
    if np.array_equal(moved, _positions("channels_last", moved.shape)):
        return "channels_last"
    tokens = layout is None and len(tensor.shape) > 2 and tensor.shape[-1] == output.shape[-1]
    if tokens and moved.ndim > 2 and _default(output.shape) == "channels_last":
        return "channels_last"  # (batch, steps, features) → (batch, height, width, features): features are channels
    return moved


def _moved(node, positions: np.ndarray) -> np.ndarray | None:
    """Where `node` puts each element of one example; None if it takes no integers, and so doesn't just move."""
    (tensor,) = node.input_tensors
    batch = np.stack([positions.astype("int32")] * (tensor.shape[0] or 1))
    args, kwargs = node.arguments.fill_in({id(tensor): keras.ops.convert_to_tensor(batch)})
    try:
        moved = node.operation(*args, **kwargs)
    except Exception:  # of whatever kind the backend has for a type that it doesn't take
        return None
    if isinstance(moved, list | tuple):  # the parts of a split
        return np.concatenate([to_numpy(part)[0].ravel() for part in moved]).astype("int64")
    return to_numpy(moved)[0].astype("int64")


def _combined(operation, layouts: list[Layout]) -> Layout:
    """The layout of a sum, product or the like of tensors of one shape."""
    first, *others = layouts
    if all(type(other) is type(first) and np.array_equal(other, first) for other in others):
        return first
    vectors = any(isinstance(layout, np.ndarray) and layout.ndim == 1 for layout in layouts)
    if not vectors and any(layout is None for layout in layouts):
        return None  # steps and features, as an embedding has them: the original must have them in this order here
    raise ValueError(
        f"The layer {operation.name!r} combines features that PyTorch orders in different ways, as flattened feature "
        "maps and other features: no weights behind it would fit."
    )


def _of_other_size(node, output, given: list[Layout]) -> Layout:
    """The layout of what is joined, cut, enlarged or reduced."""
    tensors = node.input_tensors
    if len(tensors) == 1 and isinstance(given[0], np.ndarray) and given[0].ndim == 1:
        moved = _moved(node, given[0])
        if moved is not None and moved.size > 1 and np.isin(moved, given[0]).all():
            raise ValueError(
                f"The layer {node.operation.name!r} takes some of the features of flattened feature maps, which "
                "PyTorch has in another order: it would take others."
            )
    maps = [layout for tensor, layout in zip(tensors, given, strict=True) if len(tensor.shape) == len(output.shape)]
    if maps and all(isinstance(layout, str) and layout == maps[0] for layout in maps):
        return maps[0]
    return _default(output.shape)


def _positions(layout: Layout, shape: tuple[int, ...]) -> np.ndarray:
    """For each element of an example of this shape, its position in the original's flattened order."""
    if isinstance(layout, np.ndarray):
        return layout
    numbers = np.arange(math.prod(shape))
    if layout == "channels_last":
        return np.moveaxis(numbers.reshape(shape[-1], *shape[:-1]), 0, -1)
    return numbers.reshape(shape)


def _default(shape: tuple[int | None, ...]) -> Layout:
    """Four axes and more are feature maps in Keras's data format; fewer have the same order on both sides."""
    return keras.config.image_data_format() if len(shape) > 3 else None
