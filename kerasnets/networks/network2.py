"""``Network2``, from "Building neural networks with PyTorch", in the tutorial's three forms."""

from collections.abc import Sequence

import keras

from kerasnets import layers, models
from kerasnets._internal.arguments import check_choice, check_image_shape, check_sizes
from kerasnets.networks.image_format import flatten_images

#: Form → the six names: linear, ReLU, linear, ReLU, linear, softmax.
_NAMES = {
    "class": ("fc1", "relu1", "fc2", "relu2", "fc3", "softmax"),
    "sequential": ("0", "1", "2", "3", "4", "5"),
    "named": ("fc1", "relu1", "fc2", "relu2", "output", "softmax"),
}


def Network2(
    form: str = "class", hidden: Sequence[int] = (128, 64), classes: int = 10, input_shape: Sequence[int] = (28, 28)
) -> models.Model | models.Sequential:
    """Two hidden layers with ReLU, and softmax at the end.

    The three forms compute the same outputs and differ in their names, like the tutorial's three versions:

    - ``"class"``: a Functional model with the class's ``fc1``, ``fc2``, ``fc3``;
    - ``"sequential"``: a Sequential model whose layers are named by position, ``0`` … ``5``;
    - ``"named"``: a Sequential model with the names of the tutorial's ``OrderedDict``, ``fc1`` … ``softmax``.

    The tutorial's ``model[0]`` is ``model.layers[1]`` in the two Sequential forms, because the images are flattened by
    a layer here and beforehand in the tutorial; in the form ``"class"`` the input layer counts too, so it is
    ``layers[2]``. By name it is ``model.get_layer("0")`` in the form ``"sequential"`` and ``model.get_layer("fc1")`` in
    the other two. Its weight is ``.kernel``, transposed: ``(784, 128)``.

    Args:
        form: ``"class"``, ``"sequential"`` or ``"named"``.
        hidden: units of the two hidden layers.
        classes: number of classes, the units of the last layer.
        input_shape: height and width of the images in pixels, and the channels of colour images.

    Returns:
        A Functional or Sequential model: float ``(batch, *input_shape)`` → probabilities ``(batch, classes)``.

    Raises:
        ValueError: an option has a value that doesn't fit; the message names it.
    """
    check_choice("form", form, _NAMES)
    hidden = check_sizes("hidden", hidden, 2)
    (classes,) = check_sizes("classes", classes, 1)
    inputs = keras.Input(check_image_shape("input_shape", input_shape), name="image")
    first, relu1, second, relu2, last, softmax = _NAMES[form]
    stack = [
        flatten_images(),
        layers.Linear(hidden[0], name=first),
        keras.layers.ReLU(name=relu1),
        layers.Linear(hidden[1], name=second),
        keras.layers.ReLU(name=relu2),
        layers.Linear(classes, name=last),
        keras.layers.Softmax(name=softmax),
    ]
    if form != "class":
        return models.Sequential([inputs, *stack], name="Network2")
    x = inputs
    for layer in stack:
        x = layer(x)
    return models.Model(inputs, x, name="Network2")
