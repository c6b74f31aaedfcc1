"""PyTorch's fused operations in place of what Keras's layers compose from small ones."""

from collections.abc import Callable

import keras
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own name for it)

from kerasnets import layers


def call_of(layer: keras.Layer) -> Callable | None:
    """A function that does what ``layer.call`` does, by PyTorch's fused operations; None to keep the layer's own."""
    if "call" in vars(layer) or layer.compute_dtype not in ("float32", "float64", "bfloat16"):
        return None
    kind = type(layer)
    if kind in (layers.Linear, keras.layers.Dense) and layer.quantization_mode is None and not layer.lora_enabled:
        return lambda x, training=None: _dense(layer, x)
    if kind in (layers.Conv2D, keras.layers.Conv2D) and not layer.lora_enabled:
        simple = layer.padding == "valid" or (layer.padding == "same" and layer.strides == (1, 1))
        return (lambda x: _conv(layer, x)) if simple else None
    if kind is layers.BatchNormalization and layer.compute_dtype == layer.variable_dtype:
        return lambda x, training=None: _batch_norm(layer, x, training)
    if kind is keras.layers.MaxPooling2D and layer.padding == "valid":
        return lambda x: _channels_first(
            layer.data_format, x, lambda x: F.max_pool2d(x, layer.pool_size, layer.strides)
        )
    if kind is keras.layers.SpectralNormalization:
        return lambda x, training=False: _spectral_normalization(layer, x, training)
    return None


def _spectral_normalization(layer, x, training):
    """Keras's own with a choice of values instead of a branch, which no trace can follow."""
    if training:
        kernel = layer.kernel.value
        empty = torch.all(kernel == 0)
        vector, normalized = layer.normalized_weights()
        layer.vector_u.assign(torch.where(empty, layer.vector_u.value, vector))
        layer.kernel.assign(torch.where(empty, kernel, normalized))
    return layer.layer(x).to(x.dtype)


def _channels_first(data_format: str, x, function: Callable):
    """`function` of feature maps as PyTorch has them; in memory the channels are last throughout."""
    if data_format == "channels_last":
        return function(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return function(x.contiguous(memory_format=torch.channels_last))


def _dense(layer, x):
    if layer.bias is None:
        x = torch.matmul(x, layer.kernel.value)
    elif x.ndim == 2:
        x = torch.addmm(layer.bias.value, x, layer.kernel.value)
    else:
        x = torch.matmul(x, layer.kernel.value) + layer.bias.value
    return x if layer.activation is None else layer.activation(x)


def _conv(layer, x):
    border = getattr(layer, "_border", None)
    bias = None if layer.bias is None else layer.bias.value
    x = _channels_first(
        layer.data_format,
        x,
        lambda x: F.conv2d(
            x,
            layer.kernel.value.permute(3, 2, 0, 1),
            bias,
            stride=layer.strides,
            padding=layer.padding if border is None else border,
            dilation=layer.dilation_rate,
            groups=layer.groups,
        ),
    )
    return x if layer.activation is None else layer.activation(x)


def _batch_norm(layer, x, training):
    def normalise(x):
        return F.batch_norm(
            x,
            layer.moving_mean.value,
            layer.moving_variance.value,
            None if layer.gamma is None else layer.gamma.value,
            None if layer.beta is None else layer.beta.value,
            training=bool(training and layer.trainable),
            momentum=layer.momentum,
            eps=layer.epsilon,
        )

    if x.ndim == 4:
        last = layer.axis in (-1, 3)
        return _channels_first("channels_last" if last else "channels_first", x, normalise)
    return normalise(x) if x.ndim == 2 else type(layer).call(layer, x, training)
