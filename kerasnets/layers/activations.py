"""Activations with parameters."""

from typing import Any

import keras

from kerasnets._internal.arguments import check_number


@keras.saving.register_keras_serializable(package="kerasnets")
class LeakyReLU(keras.layers.LeakyReLU):
    """``torch.nn.LeakyReLU``: x if x ≥ 0, else slope·x, with PyTorch's slope of 0.01 (Keras's is 0.3).

    Source: the page ``torch.nn.LeakyReLU``.

    Args:
        negative_slope: the slope below zero, ≥ 0.
        **kwargs: ``name`` and ``dtype`` as in ``keras.layers.LeakyReLU``.

    Examples:
        >>> kerasnets.layers.LeakyReLU(0.5)(np.array([-2.0, 2.0])).tolist()
        [-1.0, 2.0]
    """

    def __init__(self, negative_slope: float = 0.01, **kwargs: Any):
        super().__init__(negative_slope=check_number("negative_slope", negative_slope), **kwargs)
