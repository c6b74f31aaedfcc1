"""``NeuralNetwork`` and the deeper ``NeuralNetwork_v1``.

From PyTorch's "Build the Neural Network" and from "How to create a neural network with PyTorch" (v1: §7.2.1).
"""

from collections.abc import Sequence

import keras

from kerasnets import layers, models
from kerasnets._internal.arguments import check_image_shape, check_sizes
from kerasnets.networks.image_format import flatten_images


def NeuralNetwork(
    hidden: Sequence[int] = (512, 512), classes: int = 10, input_shape: Sequence[int] = (28, 28)
) -> models.Model:
    """Flatten, then linear layers with ReLU between them; logits out.

    The original's ``linear_relu_stack.0`` is the layer ``linear_relu_stack_0``, and so on by position.

    Args:
        hidden: units of the hidden layers.
        classes: number of classes, the units of the last layer.
        input_shape: height and width of the images in pixels, and the channels of colour images.

    Returns:
        A Functional model: float ``(batch, *input_shape)`` → logits ``(batch, classes)``.

    Raises:
        ValueError: a size is not a positive whole number.
    """
    return _perceptron("NeuralNetwork", hidden, classes, input_shape)


def NeuralNetwork_v1(
    hidden: Sequence[int] = (1024, 1024, 512, 512), classes: int = 10, input_shape: Sequence[int] = (28, 28)
) -> models.Model:
    """:func:`NeuralNetwork` with four hidden layers: the tutorial's first attempt to beat 87 % on Fashion-MNIST.

    Args:
        hidden: units of the hidden layers.
        classes: number of classes, the units of the last layer.
        input_shape: height and width of the images in pixels, and the channels of colour images.

    Returns:
        A Functional model: float ``(batch, *input_shape)`` → logits ``(batch, classes)``.

    Raises:
        ValueError: a size is not a positive whole number.
    """
    return _perceptron("NeuralNetwork_v1", hidden, classes, input_shape)


def _perceptron(name: str, hidden: Sequence[int], classes: int, input_shape: Sequence[int]) -> models.Model:
    hidden = check_sizes("hidden", hidden)
    (classes,) = check_sizes("classes", classes, 1)
    inputs = keras.Input(check_image_shape("input_shape", input_shape), name="image")
    x = flatten_images()(inputs)
    for position, units in enumerate((*hidden, classes)):
        if position:
            x = keras.layers.ReLU(name=f"linear_relu_stack_{2 * position - 1}")(x)
        x = layers.Linear(
            units, name=f"linear_relu_stack_{2 * position}", torch_name=f"linear_relu_stack.{2 * position}"
        )(x)
    return models.Model(inputs, x, name=name)
