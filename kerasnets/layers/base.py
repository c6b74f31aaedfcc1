"""What the layers share: the name in PyTorch, and initial values by fan-in."""

from typing import Any

import keras
import numpy as np

from kerasnets import initializers


class Named(keras.Layer):
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


class FanIn(Named):
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

    def fan_in(self, input_shape) -> int:
        """Return the number of inputs of one output."""
        raise NotImplementedError

    def build(self, input_shape):
        """Create the weights."""
        given = self.kernel_initializer, self.bias_initializer
        kernel, bias = given
        # Only during build: a copy of the layer, made from its config, may be built for another input.
        if isinstance(kernel, initializers.FanInUniform):
            self.kernel_initializer = kernel.for_inputs(self._positions)
        if isinstance(bias, initializers.FanInUniform) and bias.fan_in is None:
            self.bias_initializer = bias.with_fan_in(self.fan_in(input_shape))
        super().build(input_shape)
        self.kernel_initializer, self.bias_initializer = given
        self._positions = None


def multiply(x, kernel):
    """Return x·kernel, ``(…, in)`` by ``(in, out)``."""
    # Keras's torch backend multiplies float64 matrices in float32 (keras issue 23704).
    if keras.backend.standardize_dtype(x.dtype) == "float64":
        return keras.ops.einsum("...i,io->...o", x, kernel)
    return keras.ops.matmul(x, kernel)
