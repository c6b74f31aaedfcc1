"""One image through a network with the least delay."""

from collections.abc import Callable

import keras
import numpy as np

from kerasnets.engine import engine_of, fallback


def predictor(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives a model's outputs for one image or a batch, with the least delay.

    ``model.predict`` sets up data pipeline, progress bar and callbacks at each call, tens of milliseconds for an image;
    this only runs the network, compiled for each shape at its first use. The weights are the model's at each call.

    Args:
        model: a Functional or Sequential model with one input and one output.

    Returns:
        A function of one image, float ``(height, width)`` as the model's ``input_shape`` says, to outputs
        ``(classes,)``; or of a batch ``(n, height, width)`` to outputs ``(n, classes)``. NumPy in and out. It raises a
        ValueError for an image of another shape.

    Raises:
        TypeError: `model` is no Functional or built Sequential model, or has more than one input or output.
    """
    if not getattr(model, "inputs", None):
        raise TypeError(f"predictor takes a Functional or a built Sequential model; got a {type(model).__name__}.")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise TypeError(f"predictor takes a model with one input and one output; {model.name!r} has others.")
    shape = tuple(model.inputs[0].shape[1:])
    forward = engine_of(model).forward()

    def fits(given):
        return given == shape or (
            len(given) == len(shape) and all(a in (None, b) for a, b in zip(shape, given, strict=True))
        )

    def run(images):
        images = np.asarray(images, dtype=keras.config.floatx())
        if fits(images.shape):
            return forward(images[None])[0]
        if not fits(images.shape[1:]) or not len(images):
            batch = f"(n, {', '.join(map(str, shape))})"
            raise ValueError(f"The image has shape {images.shape}; expected {shape}, or {batch} for a batch.")
        return forward(images)

    return run
