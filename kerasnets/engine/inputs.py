"""Checks of images and labels on the host: their form, shape, type and scale."""

import math
from typing import Any

import keras
import numpy as np

from kerasnets._internal import keras_private
from kerasnets._internal.arguments import name_torch_object
from kerasnets._internal.arrays import to_numpy
from kerasnets.engine.mistakes import check_loss_fits, warn_of


def as_array(value):
    """The one array or tensor of a data set, also as ``[array]`` or ``{name: array}``; None for anything else."""
    if isinstance(value, list | tuple | dict) and len(value) == 1:
        value = next(iter(value.values() if isinstance(value, dict) else value))
    is_array = hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__getitem__")
    return value if is_array else None


def is_empty(x) -> bool:
    """Whether `x` is a list, a dict or a loader with nothing in it."""
    try:
        return not hasattr(x, "shape") and len(x) == 0
    except TypeError:  # no length, or a loader that doesn't know its own
        return False


def check_stock(model: keras.Model, x, y=None, validation_data=None, *, with_loss: bool = True) -> None:
    """Look for the classic mistakes in what a stock Keras model is given; its own models check more.

    Raises:
        TypeError: images or labels are lists or PyTorch's objects, or the loss is PyTorch's.
        ValueError: the loss is kerasnets' and doesn't fit the outputs.
    """
    if with_loss:
        check_loss_fits(model, strict=False)
    pairs = [(x, y)]
    if isinstance(validation_data, tuple | list) and len(validation_data) >= 2:
        pairs.append(tuple(validation_data[:2]))
    for images, labels in pairs:
        check_form(model, images, labels)
        if (array := as_array(images)) is not None:
            check_scale(model, array)


def check_form(model: keras.Model, x, y=None) -> None:
    """Refuse images or labels in a list, where the model takes one array, and PyTorch's objects.

    Raises:
        TypeError: the labels are a list, or the images a PyTorch module or data set.
        ValueError: the images are a list, for which Keras raises the same.
    """
    if name := name_torch_object(x):
        remedy = "torch.utils.data.DataLoader(dataset, batch_size=64)" if name.endswith("Dataset") else "images"
        raise TypeError(f"x is PyTorch's {name}; expected an array or a data set, such as {remedy}.")
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if inputs is not None and len(inputs) > 1:
        return
    if isinstance(x, list | tuple) and x and as_array(x) is None and x[0] is not None:
        raise ValueError(f"The images are a {type(x).__name__} of {len(x)}; expected an array: np.asarray(images).")
    # Arrays in a list are several targets, which a compute_loss of the model's may take of one output.
    of_numbers = isinstance(y, list | tuple) and not any(hasattr(each, "shape") for each in y)
    if of_numbers and as_array(x) is not None and len(outputs or "1") == 1:
        raise TypeError(f"The labels are a {type(y).__name__}; expected an array, as np.asarray(labels) gives.")


def check_images(x, input_shape: tuple[int | None, ...]) -> None:
    """Check that `x` is an array of images that a model with `input_shape` takes.

    Args:
        x: array or tensor ``(n, *input_shape[1:])`` of floats.
        input_shape: the model's, with None for the batch axis.

    Raises:
        TypeError: `x` is not an array of floats (raw 0…255 pixels, text, objects).
        ValueError: `x` has another shape, or is empty.
    """
    expected = tuple(input_shape[1:])
    shape = tuple(x.shape)
    text = "(n, " + ", ".join(map(str, expected)) + ")"
    if shape[1:] != expected:
        raise ValueError(f"The images have shape {shape}; expected {text}.{_advise(shape, expected)}")
    if shape[0] == 0:
        raise ValueError(f"The images have shape {shape}: there are no images. Expected {text} with n of at least 1.")
    check_is_float(x)
    check_type("images", x)


def _advise(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> str:
    """What to do about images of another shape than `expected`, which is without the batch axis; may be empty."""
    if shape == expected:
        return " A single image needs the batch axis, too: x[None]."
    if len(shape) == len(expected) + 2 and 1 in (shape[1], shape[-1]):
        return " Leave the channel axis out: the network adds its own."
    if len(shape) == 4 and shape[1] == 3 and len(expected) < 4 and expected[0] != 3:
        return " PyTorch has the channels before height and width, here they are last: np.moveaxis(x, 1, -1)."
    if len(expected) == 2 and len(shape) == 4 and shape[-1] == 3:
        return f" These are colour images: the network needs input_shape={shape[1:]}."
    if len(expected) == len(shape) == 3 and expected[-1] == 3:
        return f" These are grey images: the network needs input_shape={shape[1:]}."
    return ""


def check_is_float(x) -> None:
    """Raise a TypeError unless the images are floats: uint8 pixels are not scaled yet."""
    dtype = keras.backend.standardize_dtype(x.dtype) if not isinstance(x, np.ndarray) else x.dtype.name
    if "float" not in dtype:
        hint = f" {_SCALE_THEM}" if dtype == "uint8" else ""
        raise TypeError(f"The images are of type {dtype}; expected floats in [-1, 1], as load_data gives them.{hint}")


def check_type(what: str, array) -> None:
    """Refuse types that one backend takes and another doesn't."""
    dtype = getattr(array, "dtype", None)
    if isinstance(dtype, np.dtype) and (not dtype.isnative or dtype.name in ("uint64", "longdouble", "float128")):
        order = " in foreign byte order" if not dtype.isnative else ""
        better = "float32" if dtype.kind == "f" else "int64"
        raise TypeError(f"The {what} are of type {dtype.name}{order}; expected {better}: {what}.astype({better!r}).")


# Scale

#: Scaled images have no larger values.
LARGE = 16.0
_SCALE_THEM = "Pixels 0…255 become such by x.astype('float32') / 127.5 - 1."
#: Layers that leave the images' values as they are.
_PASS = (
    keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Reshape, keras.layers.Permute, keras.layers.Identity,
    keras.layers.ZeroPadding2D, keras.layers.Dropout,
)  # fmt: skip
_WEIGHS = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def check_scale(model: keras.Model, images) -> None:
    """Warn of pixels from 0 to 255 that reach a layer with weights: at PyTorch's learning rates the loss becomes NaN.

    A warning, because Adam may cope, and a lesson may show what happens. A model that begins with ``Rescaling``, a
    normalization or a layer of your own may take such pixels.

    Args:
        model: the model.
        images: array or tensor (n, …), of which the first hundred are looked at.
    """
    sizes = tuple(images.shape[1:])
    if None in sizes:
        return  # ragged
    if math.prod(map(int, sizes)) < 64 or not takes_scaled_images(model):
        return  # a table of numbers
    sample = to_numpy(images[:100])
    if sample.dtype.kind not in "fiu" or not sample.size:
        return
    low, high = float(sample.min()), float(sample.max())
    if not (low >= 0.0 and LARGE < high <= 255.0):
        return
    warn_of(
        model,
        f"The images have values from {low:g} to {high:g}; expected about -1 to 1, as load_data gives them. With raw "
        f"pixels the loss easily becomes NaN. {_SCALE_THEM} Or begin the network with keras.layers.Rescaling.",
    )


def takes_scaled_images(model: keras.Model) -> bool:
    """Whether the images reach a layer with weights as they are given."""
    operations: Any = [node.operation for node in keras_private.list_calls(model)] or model.layers
    for operation in operations:
        if isinstance(operation, keras.Model):
            return takes_scaled_images(operation)
        if not isinstance(operation, _PASS):
            return isinstance(operation, _WEIGHS)
    return False
