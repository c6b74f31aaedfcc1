"""``FashionNetwork``, from the book chapter "Working with neural networks"."""

from collections.abc import Sequence

import keras

from kerasnets import layers, models
from kerasnets._internal.arguments import check_choice, check_image_shape, check_rate, check_sizes
from kerasnets.networks.image_format import flatten_images


def FashionNetwork(
    hidden: Sequence[int] = (256, 128),
    output: str = "log_softmax",
    dropout: float = 0.0,
    classes: int = 10,
    input_shape: Sequence[int] = (28, 28),
) -> models.Model:
    """Two hidden layers with ReLU, and (log-)softmax at the end.

    ``hidden1`` …, the one shared ``activation``, with dropout the one shared ``drop`` behind it, then ``output`` and
    ``log_softmax`` or ``softmax``.

    Args:
        hidden: units of the hidden layers.
        output: ``"log_softmax"`` (for ``NLLLoss``), ``"softmax"`` or ``"logits"`` (for ``CrossEntropyLoss``).
        dropout: fraction of the hidden features dropped in training; 0.25 in the chapter's second version.
        classes: number of classes, the units of the last layer.
        input_shape: height and width of the images in pixels, and the channels of colour images.

    Returns:
        A Functional model: float ``(batch, *input_shape)`` → ``(batch, classes)``.

    Raises:
        ValueError: an option has a value that doesn't fit; the message names it.
    """
    hidden = check_sizes("hidden", hidden)
    check_choice("output", output, ("log_softmax", "softmax", "logits"))
    dropout = check_rate("dropout", dropout)
    (classes,) = check_sizes("classes", classes, 1)

    inputs = keras.Input(check_image_shape("input_shape", input_shape), name="image")
    activation = keras.layers.ReLU(name="activation")
    drop = keras.layers.Dropout(dropout, name="drop") if dropout else None
    x = flatten_images()(inputs)
    for i, units in enumerate(hidden, start=1):
        x = activation(layers.Linear(units, name=f"hidden{i}")(x))
        if drop is not None:
            x = drop(x)
    x = layers.Linear(classes, name="output")(x)
    if output != "logits":
        x = keras.layers.Activation(output, name=output)(x)
    return models.Model(inputs, x, name="FashionNetwork")
