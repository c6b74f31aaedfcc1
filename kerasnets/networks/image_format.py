"""How a network takes its images, and where it puts the channel axis of its feature maps."""

import keras

from kerasnets import layers
from kerasnets._internal.arguments import check_choice


def check_data_format(value: str | None) -> str:
    """The image data format: `value`, or Keras's configured one for None."""
    if value is None:
        return keras.config.image_data_format()
    return check_choice("data_format", value, ("channels_last", "channels_first"))


def to_feature_maps(images: keras.KerasTensor, data_format: str) -> keras.KerasTensor:
    """Images, grey or with the channels last, as feature maps with the channel axis where `data_format` wants it."""
    shape = images.shape[1:]
    if len(shape) == 2:
        shape = (1, *shape) if data_format == "channels_first" else (*shape, 1)
        return keras.layers.Reshape(shape, name="channel")(images)
    return keras.layers.Permute((3, 1, 2), name="channel")(images) if data_format == "channels_first" else images


def flatten_images() -> layers.Flatten:
    """The layer that makes vectors of images, whatever Keras's configured format: the channels are last in them."""
    return layers.Flatten(data_format="channels_last", name="flatten")
