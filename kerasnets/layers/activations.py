"""Activations with parameters."""

from typing import Any

import keras

from kerasnets._internal.arguments import check_integer, check_number


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


@keras.saving.register_keras_serializable(package="kerasnets")
class PReLU(keras.layers.PReLU):
    """``torch.nn.PReLU``: x if x ≥ 0, else slope·x, with one learned slope for all features, or one per channel.

    Slopes start from 0.25. Keras's own layer has one for each feature of an example, and starts from 0. Source: the
    page ``torch.nn.PReLU``.

    Args:
        num_parameters: 1, or the number of channels.
        alpha_initializer: a Keras initializer of the slopes; None means 0.25.
        axis: the axis of the channels, as in :class:`BatchNormalization`; 1 under ``channels_first``.
        **kwargs: ``alpha_regularizer``, ``alpha_constraint``, ``name`` and ``dtype`` as in ``keras.layers.PReLU``.

    Raises:
        ValueError: an argument is out of range, or `num_parameters` is neither 1 nor the number of channels.

    Examples:
        >>> kerasnets.layers.PReLU()(np.array([[-2.0, 2.0]])).tolist()
        [[-0.5, 2.0]]
    """

    def __init__(self, num_parameters: int = 1, alpha_initializer: Any = None, axis: int = -1, **kwargs: Any):
        if kwargs.get("shared_axes") is not None:
            raise ValueError(
                f"PyTorch's PReLU has num_parameters instead of shared_axes; received {kwargs['shared_axes']!r}."
            )
        given = keras.initializers.Constant(0.25) if alpha_initializer is None else alpha_initializer
        super().__init__(alpha_initializer=given, **kwargs)
        self.num_parameters, self.axis = check_integer("num_parameters", num_parameters), axis

    def build(self, input_shape):
        """Create the slopes."""
        channels = self.axis % len(input_shape)
        if self.num_parameters not in (1, input_shape[channels]):
            raise ValueError(
                f"The layer {self.name!r} has num_parameters={self.num_parameters}; expected 1, or the number of "
                f"channels on axis {self.axis} of {tuple(input_shape)}."
            )
        own = () if self.num_parameters == 1 else (channels,)
        self.shared_axes = [axis for axis in range(1, len(input_shape)) if axis not in own]
        super().build(input_shape)

    def get_config(self):
        """Return the arguments of the constructor."""
        config = {**super().get_config(), "num_parameters": self.num_parameters, "axis": self.axis}
        del config["shared_axes"]
        return config
