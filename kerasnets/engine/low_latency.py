"""One image through a network with the least delay."""

from collections.abc import Callable

import keras
import numpy as np

from kerasnets._internal import keras_private
from kerasnets._internal.arguments import refuse_torch_model
from kerasnets.engine import engine_of, fallback
from kerasnets.engine.inputs import LARGE, check_is_float, check_scale, takes_scaled_images


def predictor(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function that returns a model's outputs for one image or a batch, with the least delay.

    ``model.predict`` sets up a data pipeline, a progress bar and callbacks at each call, which takes tens of
    milliseconds per image. This only runs the network, compiled for each shape at its first use, with the weights that
    the model has at each call. Make a new predictor after changing anything else, such as a layer's activation. A model
    with code of your own runs through ``model.predict_on_batch``, as :func:`kerasnets.accelerate` explains.

    Other threads may train, trace, build or load at the same time. While they change this very model, the weights are
    those that it has at that moment: after a step or, on PyTorch and TensorFlow and while weights are loaded, in the
    middle of one. On JAX a call waits for the block of steps that is running, and reading the model itself, as by
    ``model(x)``, is an error as long as ``fit`` has its weights.

    Args:
        model: a Functional or built Sequential model with one input and one output.

    Returns:
        A function from one image, float ``(height, width)`` as the model's ``input_shape`` says, to outputs
        ``(classes,)``; or from a batch ``(n, height, width)`` to outputs ``(n, classes)``. NumPy in and out. It raises
        a ValueError for an image of another shape. Pixels that aren't scaled are found as in ``fit``.

    Raises:
        TypeError: `model` is not a Functional or built Sequential model, or has more than one input or output.

    Examples:
        >>> predict_one = kerasnets.predictor(kerasnets.build("NeuralNetwork"))
        >>> predict_one(np.zeros((28, 28), "float32")).shape
        (10,)
    """
    refuse_torch_model("predictor", model)
    if not getattr(model, "inputs", None):
        raise TypeError(f"predictor takes a Functional or a built Sequential model; got a {type(model).__name__}.")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise TypeError(f"predictor takes a model with one input and one output; {model.name!r} has others.")
    shape = tuple(model.inputs[0].shape[1:])
    reason = keras_private.find_missing() or fallback.why_not(model, "predict")
    forward = engine_of(model).forward() if reason is None else model.predict_on_batch

    def fits(given):
        return given == shape or (
            len(given) == len(shape) and all(a in (None, b) for a, b in zip(shape, given, strict=True))
        )

    is_ours, takes_scaled = hasattr(model, "checks_arrays"), takes_scaled_images(model)

    def run(images):
        images = np.asarray(images)
        if is_ours and images.dtype.kind != "f":
            check_is_float(images)
        images = np.asarray(images, dtype=keras.config.floatx(), order="C")
        is_one = fits(images.shape)
        batch = images[None] if is_one else images
        if not fits(batch.shape[1:]) or not len(batch):
            text = f"(n, {', '.join(map(str, shape))})"
            raise ValueError(f"The image has shape {images.shape}; expected {shape}, or {text} for a batch.")
        if takes_scaled and batch[:100].max() > LARGE:
            check_scale(model, batch)
        outputs = forward(batch)
        return outputs[0] if is_one else outputs

    return run
