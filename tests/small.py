"""The small network that many tests train."""

from keras import Input

from kerasnets import losses, models, optimizers
from kerasnets.layers import Flatten, Linear


def small_network(*end, more=(), kind=models.Sequential, **compiled):
    """A compiled classifier of images (28, 28) in ten classes, with few weights.

    Args:
        *end: layers behind the linear one.
        more: layers before it.
        kind: Keras's class or kerasnets'.
        **compiled: arguments of ``compile`` in place of SGD, CrossEntropyLoss and the accuracy.
    """
    model = kind([Input((28, 28), name="image"), Flatten(), *more, Linear(10), *end])
    defaults = {"optimizer": optimizers.SGD(0.05), "loss": losses.CrossEntropyLoss(), "metrics": ["accuracy"]}
    model.compile(**{**defaults, **compiled})
    return model
