"""Convolutions."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from kerasnets._internal.arguments import check_integer
from kerasnets.layers.base import FanIn


def _check_sides(name: str, value: Any, rank: int, others: str = "") -> tuple[int, ...]:
    """Return one integer per spatial axis; raises ValueError."""
    sides = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(sides) != rank or any(not isinstance(side, int) or side < 0 for side in sides):
        many = " or two of them (height, width)" if rank == 2 else ""
        raise ValueError(f"`{name}` must be {others}an integer >= 0{many}; received {value!r}.")
    return sides


def _by_axis(data_format: str, sizes, other) -> tuple:
    """Return one entry per axis: `sizes` for the spatial ones, `other` for batch and channels."""
    return (other, *sizes, other) if data_format == "channels_last" else (other, other, *sizes)


class _Padded(FanIn):
    """Mix-in for a convolution: PyTorch's padding, as numbers of zeros on both sides."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = "valid",
        **kwargs: Any,
    ):
        given, padding = (padding, padding) if isinstance(padding, str) else (padding, "valid")
        super().__init__(check_integer("filters", filters), kernel_size, strides=strides, padding=padding, **kwargs)
        if isinstance(given, str):
            self._border = None
            return
        self._border = _check_sides("padding", given, self.rank, "'valid', 'same', ")
        reach = tuple(d * (k - 1) for d, k in zip(self.dilation_rate, self.kernel_size, strict=True))
        if set(self.strides) == {1} and reach == tuple(2 * p for p in self._border):
            # The usual case, such as 3×3 with padding 1: the backend pads inside the convolution, which is faster.
            self._border, self.padding = None, "same"

    def _padded(self, sizes, border_of_others):
        """Return one entry per axis: `sizes` for height and width, `border_of_others` for batch and channels."""
        return _by_axis(self.data_format, sizes, border_of_others)

    def fan_in(self, input_shape):
        """Return the number of inputs of one output."""
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return math.prod(self.kernel_size) * channels // self.groups

    def call(self, inputs):
        """Return the output for `inputs`."""
        if self.data_format == "channels_last" or not self.use_bias:
            return super().call(inputs)
        # Keras's TensorFlow backend adds the bias along the width if that happens to be as large as `filters`.
        outputs = self.convolution_op(inputs, self.kernel) + keras.ops.reshape(
            self.bias, (self.filters, *(1,) * self.rank)
        )
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
class Conv2D(_Padded, keras.layers.Conv2D):
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

    Examples:
        >>> layer = kerasnets.layers.Conv2D(6, 3)
        >>> tuple(layer(np.ones((2, 32, 32, 1))).shape)
        (2, 30, 30, 6)
    """


@keras.saving.register_keras_serializable(package="kerasnets")
class Conv1D(_Padded, keras.layers.Conv1D):
    """``torch.nn.Conv1d``: a 1D convolution whose kernel and bias start from U(±1/√fan_in).

    fan_in = kernel size · (input channels / groups). This is ``keras.layers.Conv1D`` with other initial values, and
    PyTorch's padding as an option. The kernel has Keras's shape, ``(size, in/groups, filters)``. Source: the page
    ``torch.nn.Conv1d``.

    Args:
        filters: the number of output channels, PyTorch's ``out_channels``.
        kernel_size: an integer.
        strides: an integer.
        padding: ``"valid"``, ``"same"`` or ``"causal"`` (Keras's rules), or PyTorch's: an integer, the number of zeros
            on both sides.
        data_format, dilation_rate, groups, activation, use_bias, name, dtype, …: as in ``keras.layers.Conv1D``.
        kernel_initializer: a Keras initializer; None means :class:`kerasnets.initializers.FanInUniform`.
        bias_initializer: a Keras initializer; None means :class:`kerasnets.initializers.FanInUniform` with the
            kernel's fan-in.
        torch_name: the attribute path in the original, such as ``"conv1"``; None means the layer's name.

    Input shape: ``(batch, steps, channels)``, or ``(batch, channels, steps)`` with ``data_format="channels_first"``.
    Output shape: in the same order.

    Raises:
        ValueError: `padding` is none of these.

    Examples:
        >>> layer = kerasnets.layers.Conv1D(4, 3, padding=1)
        >>> tuple(layer(np.ones((2, 10, 1))).shape)
        (2, 10, 4)
    """

    def call(self, inputs):
        """Return the output for `inputs`."""
        if self._border is not None:
            inputs = keras.ops.pad(inputs, self._padded([(p, p) for p in self._border], (0, 0)))
        return keras.layers.Conv1D.call(self, inputs)  # Keras's doesn't go through convolution_op


@keras.saving.register_keras_serializable(package="kerasnets")
class Conv2DTranspose(FanIn, keras.layers.Conv2DTranspose):
    """``torch.nn.ConvTranspose2d``: a transposed 2D convolution, by PyTorch's padding and initial values.

    Kernel and bias start from U(±1/√fan_in) with fan_in = kernel height · kernel width · filters: PyTorch takes the
    outputs for the inputs here. The height of the output is

        (height − 1)·stride − 2·padding + dilation·(kernel height − 1) + output_padding + 1

    With Keras's paddings (``"valid"``, ``"same"``) the output has another size, or is cropped at another side. The
    kernel has Keras's shape, ``(height, width, filters, in)``. Source: the page ``torch.nn.ConvTranspose2d``. Keras has
    no `groups`, and no dilation together with strides.

    Args:
        filters: the number of output channels, PyTorch's ``out_channels``.
        kernel_size: one or two integers, (height, width).
        strides: one or two integers.
        padding: PyTorch's: one or two integers; or ``"valid"`` or ``"same"``, Keras's rules.
        output_padding: rows and columns added at the bottom and on the right, less than the stride; None means 0 with
            PyTorch's padding, and Keras's choice with Keras's.
        data_format, dilation_rate, activation, use_bias, name, dtype, …: as in ``keras.layers.Conv2DTranspose``.
        kernel_initializer: a Keras initializer; None means :class:`kerasnets.initializers.FanInUniform`.
        bias_initializer: a Keras initializer; None means :class:`kerasnets.initializers.FanInUniform` with the
            kernel's fan-in.
        torch_name: the attribute path in the original, such as ``"up1"``; None means the layer's name.

    Input shape: ``(batch, height, width, channels)``, or ``(batch, channels, height, width)`` with
    ``data_format="channels_first"``. Output shape: in the same order.

    Raises:
        ValueError: `padding` or `output_padding` is none of these.

    Examples:
        >>> layer = kerasnets.layers.Conv2DTranspose(3, 2, strides=2)
        >>> tuple(layer(np.ones((2, 5, 5, 8))).shape)
        (2, 10, 10, 3)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = 0,
        output_padding: int | Sequence[int] | None = None,
        **kwargs: Any,
    ):
        given, padding = (padding, padding) if isinstance(padding, str) else (padding, "valid")
        super().__init__(
            check_integer("filters", filters),
            kernel_size,
            strides=strides,
            padding=padding,
            output_padding=output_padding,
            **kwargs,
        )
        self._border: tuple[int, ...] | None = None
        if not isinstance(given, str):
            self._border = _check_sides("padding", given, self.rank, "'valid', 'same', ")

    def fan_in(self, input_shape):
        """Return the number that PyTorch takes for that of the inputs of one output."""
        return math.prod(self.kernel_size) * self.filters

    def _cuts(self) -> list[tuple[int, int]]:
        """Return, for height and width, what the full output has more than PyTorch's in front and at the end."""
        assert self._border is not None
        axes = zip(self.kernel_size, self.dilation_rate, self.strides, strict=True)
        reach = [(d * (k - 1) + 1, s) for k, d, s in axes]
        # Keras fills the output up to the stride.
        added = self.output_padding or (0,) * self.rank
        return [(p, max(k, s) - k + p - a) for (k, s), p, a in zip(reach, self._border, added, strict=True)]

    def call(self, inputs):
        """Return the output for `inputs`."""
        if self._border is None:
            return super().call(inputs)
        ops = keras.ops
        outputs = ops.conv_transpose(
            inputs, self.kernel, self.strides, "valid", None, self.data_format, self.dilation_rate
        )
        cuts = self._cuts()
        everything = slice(None)
        outputs = outputs[
            _by_axis(self.data_format, [slice(front, -end if end > 0 else None) for front, end in cuts], everything)
        ]
        if any(end < 0 for _, end in cuts):
            outputs = ops.pad(outputs, _by_axis(self.data_format, [(0, max(-end, 0)) for _, end in cuts], (0, 0)))
        if self.use_bias:
            shape = (self.filters,) if self.data_format == "channels_last" else (self.filters, 1, 1)
            outputs = outputs + ops.reshape(self.bias, shape)
        return outputs if self.activation is None else self.activation(outputs)

    def compute_output_shape(self, input_shape):
        """Return the shape of the output for an input of `input_shape`."""
        if self._border is None:
            return super().compute_output_shape(input_shape)
        last = self.data_format == "channels_last"
        sizes = input_shape[1:-1] if last else input_shape[2:]
        cuts = self._cuts()
        axes = zip(sizes, self.strides, self.kernel_size, self.dilation_rate, cuts, strict=True)
        new = [
            None if n is None else (n - 1) * s + max(d * (k - 1) + 1, s) - front - end
            for n, s, k, d, (front, end) in axes
        ]
        return (input_shape[0], *new, self.filters) if last else (input_shape[0], self.filters, *new)

    def get_config(self):
        """Return the arguments of the constructor."""
        config = super().get_config()
        if self._border is not None:
            config["padding"] = self._border
        return config
