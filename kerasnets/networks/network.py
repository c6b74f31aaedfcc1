"""``Network``, from "Building neural networks with PyTorch"."""

from collections.abc import Sequence

import keras

from kerasnets import layers, models
from kerasnets._internal.arguments import check_image_shape, check_sizes
from kerasnets.networks.image_format import flatten_images


def Network(hidden: int = 256, classes: int = 10, input_shape: Sequence[int] = (28, 28)) -> models.Model:
    """One hidden layer with sigmoid, and softmax at the end: ``hidden``, ``sigmoid``, ``output``, ``softmax``.

    Args:
        hidden: units of the hidden layer.
        classes: number of classes, the units of the last layer.
        input_shape: height and width of the images in pixels, and the channels of colour images.

    Returns:
        A Functional model: float ``(batch, *input_shape)`` → probabilities ``(batch, classes)``.

    Raises:
        ValueError: a size is not a positive whole number.
    """
    (hidden,) = check_sizes("hidden", hidden, 1)
    (classes,) = check_sizes("classes", classes, 1)
    inputs = keras.Input(check_image_shape("input_shape", input_shape), name="image")
    x = flatten_images()(inputs)
    x = layers.Linear(hidden, name="hidden")(x)
    x = keras.layers.Activation("sigmoid", name="sigmoid")(x)
    x = layers.Linear(classes, name="output")(x)
    outputs = keras.layers.Softmax(name="softmax")(x)
    return models.Model(inputs, outputs, name="Network")
