"""PyTorch's rules for layers as Keras classes: initial values, padding, normalisation, the order of features.

Where PyTorch's rule is Keras's own, use Keras's layer: ``keras.layers.Dropout`` (survivors are scaled by 1/(1 − rate)
in training, as in ``nn.Dropout``), ``MaxPooling2D``, ``ReLU``, ``Softmax``, ``Activation("log_softmax")``.
"""

import math
import numbers

import keras

from kerasnets import initializers
from kerasnets._internal.arguments import check_integer, check_number


class _Named:
    """Mix-in of a layer that has weights: the attribute path of its original, under which a ``state_dict`` has them."""

    def __init__(self, *args, torch_name: str | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self._torch_name = torch_name

    @property
    def torch_name(self) -> str:
        """The original's attribute path, such as ``"linear_relu_stack.0"``; the layer's name where none was given."""
        return self._torch_name or self.name

    def get_config(self):
        return {**super().get_config(), "torch_name": self._torch_name}


class _FanIn(_Named):
    """Mix-in of a layer with a kernel and a bias that both start from U(±1/√fan_in)."""

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
        given = self.bias_initializer
        if isinstance(given, initializers.FanInUniform) and given.fan_in is None:
            # For this build only: a copy of the layer, made from its config, may be built for another input.
            self.bias_initializer = initializers.FanInUniform(self._fan_in(input_shape), seed=given.seed)
        super().build(input_shape)
        self.bias_initializer = given


@keras.saving.register_keras_serializable(package="kerasnets")
class Linear(_FanIn, keras.layers.Dense):
    """``torch.nn.Linear``: y = x·W + b, where W and b start from U(±1/√in_features).

    It is ``keras.layers.Dense`` with other initial values (Keras's: Glorot-uniform and zeros). The kernel has Keras's
    shape, ``(in_features, units)``, the transpose of PyTorch's ``weight``. Source: the page ``torch.nn.Linear``.

    Args:
        units: the number of outputs, PyTorch's ``out_features``.
        activation, use_bias, name, dtype, …: as in ``keras.layers.Dense``.
        kernel_initializer: any Keras initialiser; ``None``: :class:`kerasnets.initializers.FanInUniform`.
        bias_initializer: any Keras initialiser; ``None``: :class:`kerasnets.initializers.FanInUniform` with the
            kernel's fan-in.
        torch_name: the original's attribute path, such as ``"linear_relu_stack.0"``; ``None``: the layer's name.

    Input shape: ``(batch, …, in_features)``. Output shape: ``(batch, …, units)``.
    """

    def _fan_in(self, input_shape):
        return input_shape[-1]

    def call(self, inputs, training=None):
        """The output for `inputs`."""
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

    fan_in = kernel height · kernel width · (input channels / groups). It is ``keras.layers.Conv2D`` with other initial
    values, and with PyTorch's way to pad. The kernel has Keras's shape, ``(height, width, in/groups, filters)``.
    Source: the page ``torch.nn.Conv2d``.

    Args:
        filters: the number of output channels, PyTorch's ``out_channels``.
        kernel_size: an integer or two, (height, width).
        strides: an integer or two.
        padding: ``"valid"``, ``"same"`` (Keras's rule), or PyTorch's: an integer or two, the number of zeros put on
            both sides of the height and the width. With strides, Keras's ``"same"`` is none of PyTorch's paddings.
        data_format, dilation_rate, groups, activation, use_bias, name, dtype, …: as in ``keras.layers.Conv2D``.
        kernel_initializer: any Keras initialiser; ``None``: :class:`kerasnets.initializers.FanInUniform`.
        bias_initializer: any Keras initialiser; ``None``: :class:`kerasnets.initializers.FanInUniform` with the
            kernel's fan-in.
        torch_name: the original's attribute path, such as ``"conv1"``; ``None``: the layer's name.

    Input shape: ``(batch, height, width, channels)``, or ``(batch, channels, height, width)`` with
    ``data_format="channels_first"``. Output shape: the same order. (On a CPU, TensorFlow has no ``channels_first``
    convolution of float64.)

    Raises:
        ValueError: `padding` is none of these.
    """

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", **kwargs):
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
            # The usual case, 3×3 with padding 1: the backends pad inside the convolution.
            self._border, self.padding = None, "same"

    def _padded(self, sizes, border_of_others):
        """One entry an axis: those of height and width from `sizes`, `border_of_others` for batch and channels."""
        other = border_of_others
        if self.data_format == "channels_last":
            return (other, *sizes, other)
        return (other, other, *sizes)

    def _fan_in(self, input_shape):
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return math.prod(self.kernel_size) * channels // self.groups

    def call(self, inputs):
        """The output for `inputs`."""
        if self.data_format == "channels_last" or not self.use_bias:
            return super().call(inputs)
        # Keras's TensorFlow backend adds the bias along the width where that happens to be as large as `filters`.
        outputs = self.convolution_op(inputs, self.kernel) + keras.ops.reshape(self.bias, (self.filters, 1, 1))
        return outputs if self.activation is None else self.activation(outputs)

    def convolution_op(self, inputs, kernel):
        """The convolution without the bias, after PyTorch's padding."""
        if self._border is not None:
            inputs = keras.ops.pad(inputs, self._padded([(p, p) for p in self._border], (0, 0)))
        return super().convolution_op(inputs, kernel)

    def compute_output_shape(self, input_shape):
        """The shape that comes out of an input of `input_shape`."""
        if self._border is not None:
            added = self._padded([2 * p for p in self._border], 0)
            input_shape = tuple(None if n is None else n + a for n, a in zip(input_shape, added, strict=True))
        return super().compute_output_shape(input_shape)

    def get_config(self):
        """The constructor's arguments."""
        config = super().get_config()
        if self._border is not None:
            config["padding"] = self._border
        return config


@keras.saving.register_keras_serializable(package="kerasnets")
class BatchNormalization(_Named, keras.layers.BatchNormalization):
    """``torch.nn.BatchNorm1d`` and ``BatchNorm2d``: y = γ·(x − mean) / √(var + ε) + β for each channel.

    In training, mean and var are the batch's own over all axes but the channels', var the biased one, (1/n)·Σ(x −
    mean)², and the running values move by PyTorch's momentum m:

        running_mean ← (1 − m)·running_mean + m·mean
        running_var  ← (1 − m)·running_var + m·var·n/(n − 1)

    n is the number of values a channel. In evaluation the running values take the place of mean and var. Source: the
    page ``torch.nn.BatchNorm2d``. Keras's own layer has ε = 1e-3, counts momentum the other way round (its 0.99 is
    PyTorch's 0.01) and moves the running variance by the biased one.

    The statistics are computed in float32 at least, whatever the dtype policy. ``trainable = False`` puts the layer
    into evaluation for good, as in Keras (PyTorch would go on with the batch's own statistics until ``.eval()``).

    Args:
        axis: the channels' axis: −1, or 1 after a convolution with ``data_format="channels_first"``.
        momentum: m above, between 0 and 1; ``get_config`` has it in the same sense.
        epsilon: ε above.
        center: whether there is a β. PyTorch's ``affine`` is both `center` and `scale`.
        scale: whether there is a γ.
        torch_name: the original's attribute path, such as ``"bn1"``; ``None``: the layer's name.
        kwargs: initialisers, regularisers and constraints, ``name`` and ``dtype`` as in
            ``keras.layers.BatchNormalization``.

    Raises:
        ValueError: `momentum` is not within [0, 1]; or, in training, there is one value a channel, whose variance is
            undefined. Where TensorFlow doesn't know the batch size as it traces the step, outputs and running values
            become NaN instead.
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        **kwargs,
    ):
        if not isinstance(momentum, numbers.Real) or not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be within [0, 1]; received {momentum!r}.")
        epsilon = check_number("epsilon", epsilon)
        if not isinstance(axis, list | tuple):
            check_integer("axis", axis, low=-100)
        # Two options of Keras's layer that this rule doesn't have.
        super().__init__(axis, momentum, epsilon, center, scale, renorm=False, synchronized=False, **kwargs)
        self.supports_masking = False

    def call(self, inputs, training=None):
        """Normalise `inputs`; in training, move the running values as well."""
        ops = keras.ops
        # Not keras.backend.result_type, which makes float64 float32 on all backends but TensorFlow.
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
        """Mean and biased variance of each channel of `x`, shaped ``(channels,)``; the running values are moved."""
        ops = keras.ops
        axes = [axis for axis in range(len(x.shape)) if axis != self.axis % len(x.shape)]
        count = math.prod(ops.shape(x)[axis] for axis in axes)
        traced = not isinstance(count, int)  # TensorFlow traces the step without a batch size
        if traced:
            count = ops.cast(count, x.dtype)
        elif count == 1:
            raise ValueError(
                f"Batch normalisation in training needs more than one value a channel, but the layer {self.name!r} "
                f"got an input of shape {tuple(x.shape)}. Use a larger batch, or drop a last batch of one."
            )

        def average(values):
            # Sums, since keras.ops.mean of float64 is computed in float32 on torch and JAX; and each image's first:
            # TensorFlow adds up one number after the other, and 50,000 of them cost the outputs two of seven digits.
            if axes[1:]:
                values = ops.sum(values, axis=axes[1:], keepdims=True)
            return ops.sum(values, axis=axes[0], keepdims=True) / count

        mean = average(x)
        variance = ops.squeeze(average(ops.square(x - mean)), axis=axes)
        mean = ops.squeeze(mean, axis=axes)
        if traced:
            # Nothing can raise inside a compiled step, but NaN is loud.
            variance = ops.where(count > 1, variance, float("nan"))
        for running, batch in ((self.moving_mean, mean), (self.moving_variance, variance * (count / (count - 1)))):
            running.assign((1 - self.momentum) * ops.cast(running, batch.dtype) + self.momentum * batch)
        return mean, variance

    def get_config(self):
        """The constructor's arguments."""
        config = super().get_config()
        for option in ("renorm", "renorm_clipping", "renorm_momentum", "synchronized"):
            del config[option]
        return config


@keras.saving.register_keras_serializable(package="kerasnets")
class LeakyReLU(keras.layers.LeakyReLU):
    """``torch.nn.LeakyReLU``: x where x ≥ 0, else slope·x, with PyTorch's slope of 0.01 (Keras's: 0.3).

    Source: the page ``torch.nn.LeakyReLU``.

    Args:
        negative_slope: the slope below zero, ≥ 0.
        kwargs: ``name`` and ``dtype`` as in ``keras.layers.LeakyReLU``.
    """

    def __init__(self, negative_slope: float = 0.01, **kwargs):
        super().__init__(negative_slope=check_number("negative_slope", negative_slope), **kwargs)


@keras.saving.register_keras_serializable(package="kerasnets")
class Flatten(keras.layers.Flatten):
    """One vector an example, in one order of features whatever the image data format.

    - Feature maps (four axes and more, with the batch) give the order (height, width, channels): those that are
      ``channels_first`` are transposed first.
    - Anything with fewer axes, such as an image ``(batch, 28, 28)``, has no channels to move and is reshaped as it is,
      like ``torch.nn.Flatten(start_dim=1)``. (``keras.layers.Flatten`` transposes that, too, under ``channels_first``.)

    PyTorch's order of feature maps is (channels, height, width); ``kerasnets.load_state_dict`` reorders the weights.

    Args:
        data_format: ``"channels_last"``, ``"channels_first"``, or ``None`` for ``keras.config.image_data_format()``
            now; the config has the name.
        kwargs: ``name`` and ``dtype`` as in ``keras.layers.Flatten``.

    Input shape: ``(batch, …)``. Output shape: ``(batch, features)``.
    """

    def call(self, inputs):
        """Reshape `inputs` to ``(batch, features)``."""
        rank = len(inputs.shape)
        features = self.compute_output_shape(inputs.shape)[1]
        if self.data_format == "channels_first" and rank > 3:
            inputs = keras.ops.transpose(inputs, (0, *range(2, rank), 1))
        return keras.ops.reshape(inputs, (keras.ops.shape(inputs)[0], -1 if features is None else features))
