"""Fully connected layers, and the flattening before them."""

import keras

from kerasnets._internal.feature_order import positions_of
from kerasnets.layers.base import FanIn, multiply


@keras.saving.register_keras_serializable(package="kerasnets")
class Linear(FanIn, keras.layers.Dense):
    """``torch.nn.Linear``: y = x·W + b, where W and b start from U(±1/√in_features).

    This is ``keras.layers.Dense`` with other initial values (Keras's are Glorot uniform and zeros). The kernel has
    Keras's shape, ``(in_features, units)``, the transpose of PyTorch's ``weight``. Source: the page
    ``torch.nn.Linear``.

    Args:
        units: the number of outputs, PyTorch's ``out_features``.
        activation, use_bias, name, dtype, …: as in ``keras.layers.Dense``.
        kernel_initializer: a Keras initializer; None means :class:`kerasnets.initializers.FanInUniform`.
        bias_initializer: a Keras initializer; None means :class:`kerasnets.initializers.FanInUniform` with the
            kernel's fan-in.
        torch_name: the attribute path in the original, such as ``"linear_relu_stack.0"``; None means the layer's name.

    Input shape: ``(batch, …, in_features)``. Output shape: ``(batch, …, units)``.

    Examples:
        >>> layer = kerasnets.layers.Linear(3)
        >>> tuple(layer(np.ones((2, 5))).shape)
        (2, 3)
    """

    def fan_in(self, input_shape):
        """Return the number of inputs of one output."""
        return input_shape[-1]

    def __call__(self, inputs, *args, **kwargs):
        """Return the output for `inputs`; the first call builds the layer."""
        if not self.built and isinstance(inputs, keras.KerasTensor) and len(inputs.shape) == 2:
            self._positions = positions_of(inputs)  # PyTorch flattens feature maps in another order
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs, training=None):
        """Return the output for `inputs`."""
        if self.compute_dtype != "float64":
            return super().call(inputs, training=training)
        x = multiply(inputs, self.kernel)
        if self.bias is not None:
            x = x + keras.ops.convert_to_tensor(self.bias)
        return x if self.activation is None else self.activation(x)


@keras.saving.register_keras_serializable(package="kerasnets")
class Flatten(keras.layers.Flatten):
    """Flatten each example to a vector, in the same order of features for both image data formats.

    - Feature maps (four or more axes, including the batch) are flattened in the order (height, width, channels);
      ``channels_first`` ones are transposed first.
    - Inputs with fewer axes, such as images ``(batch, 28, 28)``, are only reshaped, like
      ``torch.nn.Flatten(start_dim=1)``. (``keras.layers.Flatten`` transposes these, too, under ``channels_first``.)

    PyTorch's order of feature maps is (channels, height, width); ``kerasnets.load_state_dict`` reorders the weights.

    Args:
        data_format: ``"channels_last"``, ``"channels_first"``, or None for the current
            ``keras.config.image_data_format()``, which is then part of the config.
        **kwargs: ``name`` and ``dtype`` as in ``keras.layers.Flatten``.

    Input shape: ``(batch, …)``. Output shape: ``(batch, features)``.

    Examples:
        >>> layer = kerasnets.layers.Flatten()
        >>> tuple(layer(np.ones((2, 15, 15, 6))).shape)
        (2, 1350)
    """

    def call(self, inputs):
        """Reshape `inputs` to ``(batch, features)``."""
        rank = len(inputs.shape)
        features = self.compute_output_shape(inputs.shape)[1]
        if self.data_format == "channels_first" and rank > 3:
            inputs = keras.ops.transpose(inputs, (0, *range(2, rank), 1))
        return keras.ops.reshape(inputs, (keras.ops.shape(inputs)[0], -1 if features is None else features))
