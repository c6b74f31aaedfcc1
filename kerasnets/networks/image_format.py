"""Where a network puts the channel axis of its feature maps."""

import keras

from kerasnets._internal.arguments import check_choice


def check_data_format(value: str | None) -> str:
    """The image data format: `value`, or Keras's configured one for None."""
    if value is None:
        return keras.config.image_data_format()
    return check_choice("data_format", value, ("channels_last", "channels_first"))


def channel_shape(input_shape: tuple[int, ...], data_format: str) -> tuple[int, ...]:
    """The shape of a grey image with its channel axis where `data_format` wants it."""
    return (1, *input_shape) if data_format == "channels_first" else (*input_shape, 1)
