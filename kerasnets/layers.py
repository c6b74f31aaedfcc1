"""PyTorch's rules for layers as Keras classes: initial values, padding, normalization, the order of features.

If PyTorch's rule is the same as Keras's, use Keras's layer: ``keras.layers.Dropout`` (it scales by 1/(1 − rate) in
training, like ``nn.Dropout``), ``MaxPooling2D``, ``ReLU``, ``Softmax``, ``Activation("log_softmax")``.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasnets import initializers
from kerasnets._internal.arguments import check_integer, check_number, is_real
from kerasnets._internal.feature_order import positions_of

__all__ = ["BatchNormalization", "Conv2D", "Flatten", "LeakyReLU", "Linear"]


def __dir__() -> list[str]:
    return __all__


class _Named(keras.Layer):
    """Mix-in for a layer with weights: its attribute path in the original, which begins its ``state_dict`` names."""

    def __init__(self, *args, torch_name: str | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self._torch_name = torch_name

    @property
    def torch_name(self) -> str:
        """The attribute path in the original, such as ``"linear_relu_stack.0"``; the default is the layer's name."""
        return self._torch_name or self.name

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "torch_name": self._torch_name}


class _FanIn(_Named):
    """Mix-in for a layer whose kernel and bias both start from U(±1/√fan_in)."""

    kernel_initializer: Any
    bias_initializer: Any
    #: The position in PyTorch of each input, where it isn't the same.
    _positions: np.ndarray | None = None

    def __init__(self, *args, kernel_initializer=None, bias_initializer=None, **kwargs):
        super().__init__(
            *args,
            kernel_initializer=initializers.FanInUniform() if kernel_initializer is None else kernel_initializer,
            bias_initializer=initializers.FanInUniform() if bias_initializer is None else bias_initializer,
            **kwargs,
        )

    def _fan_in(self, input_shape) -> int:
        raise NotImplementedError

    def build(self, input_shape):
        given = self.kernel_initializer, self.bias_initializer
        kernel, bias = given
        # Only during build: a copy of the layer, made from its config, may be built for another input.
        if isinstance(kernel, initializers.FanInUniform):
            self.kernel_initializer = kernel.for_inputs(self._positions)
        if isinstance(bias, initializers.FanInUniform) and bias.fan_in is None:
            self.bias_initializer = bias.with_fan_in(self._fan_in(input_shape))
        super().build(input_shape)
        self.kernel_initializer, self.bias_initializer = given
        self._positions = None


@keras.saving.register_keras_serializable(package="kerasnets")
class Linear(_FanIn, keras.layers.Dense):
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
    """

    def _fan_in(self, input_shape):
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
        # Keras's torch backend multiplies float64 matrices in float32 (keras issue 23704).
        x = keras.ops.einsum("...i,io->...o", inputs, self.kernel)
        if self.bias is not None:
            x = x + keras.ops.convert_to_tensor(self.bias)
        return x if self.activation is None else self.activation(x)


@keras.saving.register_keras_serializable(package="kerasnets")
class Conv2D(_FanIn, keras.layers.Conv2D):
    """``torch.nn.Conv2d``: a 2D convolution whose kernel and bias start from U(±1/√fan_in).

    fan_in = kernel height · kernel width · (input channels / groups). This is ``keras.layers.Conv2D`` with other
    initial values, and PyTorch's padding as an option. The kernel has Keras's shape, ``(height, width,
    in/groups, filters)``. Source: the page ``torch.nn.Conv2d``.

    Args:
        filters: the number of output channels, PyTorch's ``out_channels``.
        kernel_size: one or two integers, (height, width).
        strides: one or two integers.
        padding: ``"valid"``, ``"same"`` (Keras's rule), or PyTorch's: one or two integers, the number of zeros on both
            sides of the height and the width. With strides, no padding of PyTorch's is the same as Keras's ``"same"``.
        data_format, dilation_rate, groups, activation, use_bias, name, dtype, …: as in ``keras.layers.Conv2D``.
        kernel_initializer: a Keras initializer; None means :class:`kerasnets.initializers.FanInUniform`.
        bias_initializer: a Keras initializer; None means :class:`kerasnets.initializers.FanInUniform` with the
            kernel's fan-in.
        torch_name: the attribute path in the original, such as ``"conv1"``; None means the layer's name.

    Input shape: ``(batch, height, width, channels)``, or ``(batch, channels, height, width)`` with
    ``data_format="channels_first"``. Output shape: in the same order. (On a CPU, TensorFlow has no ``channels_first``
    convolution for float64.)

    Raises:
        ValueError: `padding` is none of these.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str | int | Sequence[int] = "valid",
        **kwargs: Any,
    ):
        border = None
        if not isinstance(padding, str):
            border, padding = padding, "valid"
        super().__init__(check_integer("filters", filters), kernel_size, strides=strides, padding=padding, **kwargs)
        if border is None:
            self._border = None
            return
        self._border = (border, border) if isinstance(border, int) else tuple(border)
        if len(self._border) != 2 or any(not isinstance(p, int) or p < 0 for p in self._border):
            raise ValueError(
                f"`padding` must be 'valid', 'same', an integer >= 0 or two of them (height, width); "
                f"received {border!r}."
            )
        reach = tuple(d * (k - 1) for d, k in zip(self.dilation_rate, self.kernel_size, strict=True))
        if self.strides == (1, 1) and reach == tuple(2 * p for p in self._border):
            # The usual case, such as 3×3 with padding 1: the backend pads inside the convolution, which is faster.
            self._border, self.padding = None, "same"

    def _padded(self, sizes, border_of_others):
        """Return one entry per axis: `sizes` for height and width, `border_of_others` for batch and channels."""
        other = border_of_others
        if self.data_format == "channels_last":
            return (other, *sizes, other)
        return (other, other, *sizes)

    def _fan_in(self, input_shape):
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return math.prod(self.kernel_size) * channels // self.groups

    def call(self, inputs):
        """Return the output for `inputs`."""
        if self.data_format == "channels_last" or not self.use_bias:
            return super().call(inputs)
        # Keras's TensorFlow backend adds the bias along the width if that happens to be as large as `filters`.
        outputs = self.convolution_op(inputs, self.kernel) + keras.ops.reshape(self.bias, (self.filters, 1, 1))
        return outputs if self.activation is None else self.activation(outputs)

    def convolution_op(self, inputs, kernel):
        """Pad the inputs as PyTorch does, and convolve them, without the bias."""
        if self._border is not None:
            inputs = keras.ops.pad(inputs, self._padded([(p, p) for p in self._border], (0, 0)))
        return super().convolution_op(inputs, kernel)

    def compute_output_shape(self, input_shape):
        """Return the shape of the output for an input of `input_shape`."""
        if self._border is not None:
            added = self._padded([2 * p for p in self._border], 0)
            input_shape = tuple(None if n is None else n + a for n, a in zip(input_shape, added, strict=True))
        return super().compute_output_shape(input_shape)

    def get_config(self):
        """Return the arguments of the constructor."""
        config = super().get_config()
        if self._border is not None:
            config["padding"] = self._border
        return config


@keras.saving.register_keras_serializable(package="kerasnets")
class BatchNormalization(_Named, keras.layers.BatchNormalization):
    """``torch.nn.BatchNorm1d`` and ``BatchNorm2d``: y = γ·(x − mean) / √(var + ε) + β for each channel.

    In training, mean and var are those of the batch, over all axes except the channels. var is the biased variance,
    (1/n)·Σ(x − mean)², and the running values are updated with PyTorch's momentum m:

        running_mean ← (1 − m)·running_mean + m·mean
        running_var  ← (1 − m)·running_var + m·var·n/(n − 1)

    n is the number of values per channel. In evaluation, the running values are used instead. Source: the page
    ``torch.nn.BatchNorm2d``. Keras's own layer has ε = 1e-3, counts momentum the other way (its 0.99 is PyTorch's
    0.01), and updates the running variance with the biased one.

    The statistics are computed at least in float32, whatever the dtype policy. With ``trainable = False`` the layer
    always uses the running values, as in Keras. (PyTorch would use the batch's statistics until ``.eval()``.)

    Args:
        axis: the axis of the channels: −1, or 1 after a convolution with ``data_format="channels_first"``.
        momentum: m, between 0 and 1; also in ``get_config``.
        epsilon: ε.
        center: add β. PyTorch's ``affine`` stands for both `center` and `scale`.
        scale: multiply by γ.
        torch_name: the attribute path in the original, such as ``"bn1"``; None means the layer's name.
        **kwargs: initializers, regularizers, constraints, ``name`` and ``dtype`` as in
            ``keras.layers.BatchNormalization``.

    Raises:
        ValueError: `momentum` is not within [0, 1]; or, in training, there is only one value per channel, which has no
            variance. If TensorFlow doesn't know the batch size while tracing, outputs and running values become NaN
            instead.
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ):
        if not is_real(momentum) or not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be within [0, 1]; received {momentum!r}.")
        epsilon = check_number("epsilon", epsilon)
        if not isinstance(axis, list | tuple):
            check_integer("axis", axis, low=-100)
        # This rule lacks two options of Keras's layer.
        super().__init__(axis, momentum, epsilon, center, scale, renorm=False, synchronized=False, **kwargs)
        self.supports_masking = False

    def call(self, inputs, training=None):
        """Normalize `inputs`; in training, also update the running values."""
        ops = keras.ops
        # Not keras.backend.result_type, which turns float64 into float32 on all backends except TensorFlow.
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        x = ops.cast(inputs, "float32" if dtype in ("float16", "bfloat16") else dtype)
        channel = self.axis % len(x.shape)
        shape = [x.shape[axis] if axis == channel else 1 for axis in range(len(x.shape))]

        def spread(values):
            return ops.reshape(ops.cast(values, x.dtype), shape)

        if training and self.trainable:
            mean, variance = self.batch_statistics(x)
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale = ops.rsqrt(spread(variance) + self.epsilon)
        if self.scale:
            scale = scale * spread(self.gamma)
        x = (x - spread(mean)) * scale
        if self.center:
            x = x + spread(self.beta)
        return ops.cast(x, self.compute_dtype)

    def batch_statistics(self, x):
        """Return mean and biased variance per channel of `x`, shape ``(channels,)``, and update the running values."""
        ops = keras.ops
        axes = [axis for axis in range(len(x.shape)) if axis != self.axis % len(x.shape)]
        count = math.prod(ops.shape(x)[axis] for axis in axes)
        traced = not isinstance(count, int)  # TensorFlow traces the step without a batch size
        if traced:
            count = ops.cast(count, x.dtype)
        elif count == 1:
            raise ValueError(
                f"Batch normalization in training needs more than one value per channel, but the layer {self.name!r} "
                f"got an input of shape {tuple(x.shape)}. Use a larger batch, or drop a last batch of one."
            )

        def average(values):
            # Sums, because keras.ops.mean of float64 is computed in float32 on torch and JAX. First within each image:
            # TensorFlow adds numbers one by one, and adding 50,000 of them would lose two of float32's seven digits.
            if axes[1:]:
                values = ops.sum(values, axis=axes[1:], keepdims=True)
            return ops.sum(values, axis=axes[0], keepdims=True) / count

        mean = average(x)
        variance = ops.squeeze(average(ops.square(x - mean)), axis=axes)
        mean = ops.squeeze(mean, axis=axes)
        if traced:
            # A compiled step can't raise an error, but NaN is noticed.
            variance = ops.where(count > 1, variance, float("nan"))
        for running, batch in ((self.moving_mean, mean), (self.moving_variance, variance * (count / (count - 1)))):
            running.assign((1 - self.momentum) * ops.cast(running, batch.dtype) + self.momentum * batch)
        return mean, variance

    def get_config(self):
        """Return the arguments of the constructor."""
        config = super().get_config()
        for option in ("renorm", "renorm_clipping", "renorm_momentum", "synchronized"):
            del config[option]
        return config


@keras.saving.register_keras_serializable(package="kerasnets")
class LeakyReLU(keras.layers.LeakyReLU):
    """``torch.nn.LeakyReLU``: x if x ≥ 0, else slope·x, with PyTorch's slope of 0.01 (Keras's is 0.3).

    Source: the page ``torch.nn.LeakyReLU``.

    Args:
        negative_slope: the slope below zero, ≥ 0.
        **kwargs: ``name`` and ``dtype`` as in ``keras.layers.LeakyReLU``.
    """

    def __init__(self, negative_slope: float = 0.01, **kwargs: Any):
        super().__init__(negative_slope=check_number("negative_slope", negative_slope), **kwargs)


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
    """

    def call(self, inputs):
        """Reshape `inputs` to ``(batch, features)``."""
        rank = len(inputs.shape)
        features = self.compute_output_shape(inputs.shape)[1]
        if self.data_format == "channels_first" and rank > 3:
            inputs = keras.ops.transpose(inputs, (0, *range(2, rank), 1))
        return keras.ops.reshape(inputs, (keras.ops.shape(inputs)[0], -1 if features is None else features))
