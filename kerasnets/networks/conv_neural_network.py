"""``ConvNeuralNetwork``, from "How to create a neural network with PyTorch", §7.2.2."""

from collections.abc import Sequence

import keras

from kerasnets import layers, models
from kerasnets._internal.arguments import check_image_shape, check_rate, check_sizes
from kerasnets.networks.image_format import check_data_format, to_feature_maps


def ConvNeuralNetwork(
    filters: Sequence[int] = (32, 64, 128),
    hidden: Sequence[int] = (512, 512),
    dropout: float = 0.4,
    classes: int = 10,
    input_shape: Sequence[int] = (28, 28),
    data_format: str | None = None,
) -> models.Model:
    """Blocks of convolution, batch normalisation, ReLU and max-pooling, then linear layers; logits out.

    A block is a 3×3 convolution with padding 1 (``conv1`` …), ``batch_norm1`` …, ReLU and a 2×2 max-pooling. Then come
    ``flatten`` (3·3·128 features for 28×28 images), for each hidden layer ``fc1`` …, ``batch_norm_fc1`` …, ReLU and the
    one shared ``dropout``, and a last linear layer.

    Args:
        filters: filters of the convolutions, one block each.
        hidden: units of the hidden linear layers.
        dropout: fraction of the hidden features dropped in training.
        classes: number of classes, the units of the last layer.
        input_shape: height and width of the images in pixels, and the channels of colour images. Each block halves
            height and width, rounding down.
        data_format: ``"channels_last"`` or ``"channels_first"``, inside the network only; default: Keras's configured
            one. The same weights give the same outputs in both.

    Returns:
        A Functional model: float ``(batch, *input_shape)`` → logits ``(batch, classes)``.

    Raises:
        ValueError: an option has a value that doesn't fit; the message names it.
    """
    filters, hidden = check_sizes("filters", filters), check_sizes("hidden", hidden)
    (classes,) = check_sizes("classes", classes, 1)
    dropout = check_rate("dropout", dropout)
    input_shape = check_image_shape("input_shape", input_shape)
    if min(input_shape[:2]) < 2 ** len(filters):
        raise ValueError(
            f"input_shape={input_shape!r}: expected at least {2 ** len(filters)} pixels per side, which {len(filters)} "
            "poolings halve to 1."
        )
    data_format = check_data_format(data_format)
    channel_axis = 1 if data_format == "channels_first" else -1

    inputs = keras.Input(input_shape, name="image")
    x = to_feature_maps(inputs, data_format)
    for i, count in enumerate(filters, start=1):
        x = layers.Conv2D(count, 3, padding="same", data_format=data_format, name=f"conv{i}")(x)
        x = layers.BatchNormalization(axis=channel_axis, name=f"batch_norm{i}")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
        x = keras.layers.MaxPooling2D(2, data_format=data_format, name=f"max_pool{i}")(x)
    x = layers.Flatten(data_format=data_format, name="flatten")(x)
    drop = keras.layers.Dropout(dropout, name="dropout")
    for i, units in enumerate(hidden, start=1):
        x = layers.Linear(units, name=f"fc{i}")(x)
        x = layers.BatchNormalization(name=f"batch_norm_fc{i}")(x)
        x = keras.layers.ReLU(name=f"relu_fc{i}")(x)
        x = drop(x)
    outputs = layers.Linear(classes, name=f"fc{len(hidden) + 1}")(x)
    return models.Model(inputs, outputs, name="ConvNeuralNetwork")
