"""``Net``, from "Neural Network", chapter 2.1.3 of the Chinese PyTorch Tutorial."""

from collections.abc import Sequence

import keras

from kerasnets import layers, models
from kerasnets._internal.arguments import check_image_shape, check_sizes
from kerasnets.networks.image_format import check_data_format, to_feature_maps


def Net(
    filters: int = 6, classes: int = 10, input_shape: Sequence[int] = (32, 32), data_format: str | None = None
) -> models.Model:
    """One 3×3 convolution without padding, ReLU, max-pooling 2, ReLU again, flatten, one linear layer.

    The tutorial's 32×32 images give feature maps of 30×30, then 15×15; six of them flatten to 1350 features.

    Args:
        filters: filters of the convolution.
        classes: number of outputs.
        input_shape: height and width of the images in pixels, at least 4 each, and the channels of colour images.
        data_format: ``"channels_last"`` or ``"channels_first"``, inside the network only; default: Keras's configured
            one. The same weights give the same outputs in both.

    Returns:
        A Functional model: float ``(batch, *input_shape)`` → logits ``(batch, classes)``.

    Raises:
        ValueError: an option has a value that doesn't fit; the message names it.
    """
    (filters,) = check_sizes("filters", filters, 1)
    (classes,) = check_sizes("classes", classes, 1)
    input_shape = check_image_shape("input_shape", input_shape)
    if min(input_shape[:2]) < 4:
        raise ValueError(f"input_shape={input_shape!r}: expected at least 4 pixels per side.")
    data_format = check_data_format(data_format)

    inputs = keras.Input(input_shape, name="image")
    x = to_feature_maps(inputs, data_format)
    x = layers.Conv2D(filters, 3, data_format=data_format, name="conv1")(x)
    x = keras.layers.ReLU(name="relu1")(x)
    x = keras.layers.MaxPooling2D(2, data_format=data_format, name="max_pool")(x)
    x = keras.layers.ReLU(name="relu2")(x)
    x = layers.Flatten(data_format=data_format, name="flatten")(x)
    outputs = layers.Linear(classes, name="fc1")(x)
    return models.Model(inputs, outputs, name="Net")
