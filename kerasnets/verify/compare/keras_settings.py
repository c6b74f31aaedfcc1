"""Kinds and settings of Keras's layers and operations, in the vocabulary of :mod:`calls`."""

import functools
from typing import Any

import keras
import numpy as np

from kerasnets import layers as ours
from kerasnets._internal.arrays import to_numpy
from kerasnets.verify.compare.calls import describe_adaptive_pool

Described = tuple[str, dict[str, Any]]

_LAYERS = keras.layers
_CONVOLUTIONS = (_LAYERS.Conv1D, _LAYERS.Conv2D, _LAYERS.Conv3D)
_DEPTHWISE = (_LAYERS.DepthwiseConv1D, _LAYERS.DepthwiseConv2D)
_TRANSPOSED = tuple(getattr(_LAYERS, f"Conv{n}DTranspose") for n in (1, 2, 3) if hasattr(_LAYERS, f"Conv{n}DTranspose"))
_DROPOUTS = (_LAYERS.Dropout, _LAYERS.SpatialDropout1D, _LAYERS.SpatialDropout2D, _LAYERS.SpatialDropout3D)
#: Layers and operations whose settings don't matter, by class name → kind.
_PLAIN = {
    **dict.fromkeys(("Flatten", "GetItem"), ""),
    "Flatten": "flatten",
    "GetItem": "take",
    "Identity": "identity",
    **dict.fromkeys(("Reshape", "ExpandDims", "Squeeze", "RepeatVector", "BroadcastTo"), "reshape"),
    **dict.fromkeys(("Permute", "Transpose", "Moveaxis", "Swapaxes"), "transpose"),
    **dict.fromkeys(("Split", "Unstack"), "split"),
    "Cast": "cast",
    **dict.fromkeys(("Pad", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"), "pad"),
    **dict.fromkeys(("Cropping1D", "Cropping2D", "Cropping3D"), "crop"),
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    **dict.fromkeys(("Divide", "TrueDivide"), "divide"),
    **dict.fromkeys(("Matmul", "Einsum", "Dot"), "matmul"),
    **dict.fromkeys(("Concatenate",), "concatenate"),
    "GlobalAveragePooling1D": "global average pool",
    "GlobalAveragePooling2D": "global average pool",
    "GlobalAveragePooling3D": "global average pool",
    "GlobalMaxPooling1D": "global max pool",
    "GlobalMaxPooling2D": "global max pool",
    "GlobalMaxPooling3D": "global max pool",
    "DotProductAttention": "dot-product attention",
}
#: Functions of ``keras.activations`` → kind.
_ACTIVATIONS = {
    **{name: name for name in ("relu", "relu6", "silu", "sigmoid", "tanh", "selu", "mish", "softplus", "softsign")},
    "swish": "silu",
    "hard_sigmoid": "hard sigmoid",
    "hard_silu": "hard silu",
    "hard_swish": "hard silu",
    "log_sigmoid": "log sigmoid",
    "tanh_shrink": "tanh shrink",
}


def describe_activation(function: Any) -> Described:
    """Kind and settings of an activation: by its name in ``keras.activations``, or by its values."""
    name = getattr(function, "__name__", "")
    if str(getattr(function, "__module__", "")).startswith("keras."):
        if name == "gelu":
            return "gelu", {"approximation": "none"}
        if name in ("softmax", "log_softmax"):
            return name.replace("_", " "), {"axis": -1}
        if name == "leaky_relu":
            return "leaky relu", {"negative slope": 0.2}
        if name == "elu":
            return "elu", {"alpha": 1.0}
        if name in _ACTIVATIONS:
            return _ACTIVATIONS[name], {}
    return identify_function(function) or (name or "function", {})


def identify_function(function: Any) -> Described | None:
    """Kind and settings of a function that acts on each number, by its values; None if it is none of the known ones."""
    x = np.linspace(-6.0, 6.0, 25, dtype="float32")
    try:
        actual = to_numpy(function(keras.ops.convert_to_tensor(x)))
    except Exception:  # it takes something else than a vector
        return None
    if actual.shape != x.shape:
        return None
    known = {(kind, ()): getattr(keras.activations, name, None) for name, kind in _ACTIVATIONS.items()}
    candidates: list[tuple[Described, Any]] = [((kind, {}), f) for (kind, _), f in known.items() if f is not None]
    for approximate, name in ((False, "none"), (True, "tanh")):
        gelu = functools.partial(keras.activations.gelu, approximate=approximate)
        candidates.append((("gelu", {"approximation": name}), gelu))
    slope = float(-actual[0] / 6.0)
    if 0.0 < slope < 1.0:
        leaky = functools.partial(keras.activations.leaky_relu, negative_slope=slope)
        candidates.append((("leaky relu", {"negative slope": round(slope, 6)}), leaky))
    if np.allclose(actual, x, atol=1e-6):
        return "identity", {}
    for described, candidate in candidates:
        if np.allclose(actual, to_numpy(candidate(keras.ops.convert_to_tensor(x))), atol=2e-6):
            return described
    return None


def inner(operation: Any) -> Any:
    """The layer that a ``TimeDistributed`` applies to each step, or the operation itself."""
    return operation.layer if isinstance(operation, _LAYERS.TimeDistributed) else operation


def describe(operation: Any, shape: tuple[int | None, ...], kwargs: dict[str, Any]) -> Described:
    """Kind and settings of a call.

    Args:
        operation: a layer or an operation of ``keras.ops``.
        shape: the shape of its first input.
        kwargs: the call's keyword arguments.
    """
    layer = inner(operation)
    if isinstance(layer, keras.Layer):
        found = _describe_weighted(layer, shape) or _describe_layer(layer, shape, kwargs)
        if found:
            return found
        if layer.weights:
            return "parameter", {}
    return _describe_operation(layer, shape)


def _describe_weighted(layer: Any, shape) -> Described | None:
    if isinstance(layer, _LAYERS.Dense):
        return "linear", {"units": layer.units, "bias": layer.use_bias}
    if type(layer).__name__ == "EinsumDense":
        return "linear", {"units": layer.kernel.shape[-1], "bias": layer.bias is not None}
    if isinstance(layer, _CONVOLUTIONS + _DEPTHWISE) and not isinstance(layer, _TRANSPOSED):
        return "convolution", _describe_convolution(layer, shape)
    if isinstance(layer, _TRANSPOSED):
        return "transposed convolution", _describe_transposed(layer)
    if isinstance(layer, _LAYERS.Embedding):
        settings = {"words": layer.input_dim, "features": layer.output_dim}
        return "embedding", {**settings, "padding_idx": getattr(layer, "padding_idx", None)}
    if isinstance(layer, _LAYERS.Bidirectional):
        kind, settings = _describe_recurrent(layer.forward_layer)
        return kind, {**settings, "directions": 2, "merge_mode": layer.merge_mode}
    if isinstance(layer, _LAYERS.LSTM | _LAYERS.GRU | _LAYERS.SimpleRNN):
        return _describe_recurrent(layer)
    if isinstance(layer, _LAYERS.MultiHeadAttention):
        settings = {"heads": layer._num_heads, "size of a head": layer._key_dim, "bias": layer._use_bias}
        return "attention", {**settings, "dropout": layer._dropout}
    if isinstance(layer, _LAYERS.PReLU):
        return "prelu", {}
    return _describe_norm(layer, shape)


def _describe_norm(layer: Any, shape) -> Described | None:
    if isinstance(layer, _LAYERS.BatchNormalization):
        own = isinstance(layer, ours.BatchNormalization)
        axis = layer.axis[0] if isinstance(layer.axis, list | tuple) else layer.axis
        return "batch norm", {
            "epsilon": layer.epsilon,
            "momentum": layer.momentum if own else 1.0 - layer.momentum,
            "scale": layer.scale,
            "center": layer.center,
            "running variance": "unbiased" if own else "biased",
            "axis of the channels": axis % len(shape),
        }
    if isinstance(layer, _LAYERS.LayerNormalization):
        axes = len(layer.axis) if isinstance(layer.axis, list | tuple) else 1
        settings = {"epsilon": layer.epsilon, "scale": layer.scale, "center": layer.center}
        return "layer norm", {**settings, "normalized axes": axes}
    if isinstance(layer, _LAYERS.GroupNormalization):
        groups = layer.groups if layer.groups != -1 else shape[layer.axis]
        return "group norm", {
            "groups": groups,
            "epsilon": layer.epsilon,
            "scale": layer.scale,
            "center": layer.center,
        }
    if type(layer).__name__ == "RMSNormalization":
        return "rms norm", {"epsilon": layer.epsilon, "scale": True}
    return None


def spatial(layer: Any, shape) -> list[int | None]:
    """Height and width (…) in a shape of feature maps."""
    return list(shape[1:-1] if layer.data_format == "channels_last" else shape[2:])


def same_padding(size: int | None, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Zeros before and after an axis, by Keras's ``"same"``; those of stride 1 where the size is unknown."""
    reach = dilation * (kernel - 1)
    total = reach if size is None else max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
    return total // 2, total - total // 2


def _describe_convolution(layer: Any, shape) -> dict[str, Any]:
    sizes, kernel = spatial(layer, shape), tuple(layer.kernel_size)
    channels = shape[-1 if layer.data_format == "channels_last" else 1]
    depthwise = isinstance(layer, _DEPTHWISE)
    axes = list(zip(sizes, kernel, layer.strides, layer.dilation_rate, strict=True))
    border = getattr(layer, "_border", None)
    if layer.padding == "same":
        padding = tuple(same_padding(*axis) for axis in axes)
    elif layer.padding == "causal":
        padding = tuple((d * (k - 1), 0) for _, k, _, d in axes)
    else:
        padding = tuple((p, p) for p in border or (0,) * len(kernel))
    return {
        "filters": channels * layer.depth_multiplier if depthwise else layer.filters,
        "kernel size": kernel,
        "strides": tuple(layer.strides),
        "dilation": tuple(layer.dilation_rate),
        "groups": channels if depthwise else layer.groups,
        "bias": layer.use_bias,
        "padding": padding,
        "padding mode": "zeros",
    }


def _describe_transposed(layer: Any) -> dict[str, Any]:
    kernel, strides = tuple(layer.kernel_size), tuple(layer.strides)
    crop = tuple((0, min(k - s, 0)) for k, s in zip(kernel, strides, strict=True))  # valid fills up to the stride
    if (border := getattr(layer, "_border", None)) is not None:
        added = layer.output_padding or (0,) * len(border)
        crop = tuple((p, p - a) for p, a in zip(border, added, strict=True))
    elif layer.padding == "same":
        totals = [k - s for k, s in zip(kernel, strides, strict=True)]
        crop = tuple((total // 2, total - total // 2) if total > 0 else (0, total) for total in totals)
    return {
        "filters": layer.filters,
        "kernel size": kernel,
        "strides": strides,
        "dilation": tuple(layer.dilation_rate),
        "groups": getattr(layer, "groups", 1),
        "bias": layer.use_bias,
        "padding": crop,
    }


def _describe_recurrent(layer: Any) -> Described:
    settings: dict[str, Any] = {"units": layer.units, "bias": layer.use_bias, "directions": 1}
    settings["go backwards"] = bool(layer.go_backwards)
    activation = describe_activation(layer.activation)[0]
    if isinstance(layer, _LAYERS.SimpleRNN):
        return "rnn", {**settings, "activation": activation}
    settings |= {
        "activation": activation,
        "recurrent activation": describe_activation(layer.recurrent_activation)[0],
    }
    if isinstance(layer, _LAYERS.GRU):
        place = "after" if layer.reset_after else "before"
        return "gru", {**settings, "reset gate": f"{place} the matrix product"}
    return "lstm", settings


def _describe_layer(layer: Any, shape, kwargs: dict[str, Any]) -> Described | None:
    if isinstance(layer, _DROPOUTS):
        return "dropout", {"rate": layer.rate, "always on": kwargs.get("training") is True}
    if isinstance(layer, _LAYERS.LeakyReLU):
        return "leaky relu", {"negative slope": float(layer.negative_slope)}
    if isinstance(layer, _LAYERS.ReLU):
        if layer.max_value is not None:
            return ("relu6" if layer.max_value == 6 else "clipped relu"), {}
        return ("leaky relu", {"negative slope": float(layer.negative_slope)}) if layer.negative_slope else ("relu", {})
    if isinstance(layer, _LAYERS.ELU):
        return "elu", {"alpha": layer.alpha}
    if isinstance(layer, _LAYERS.Softmax):
        return "softmax", {"axis": layer.axis}
    if isinstance(layer, _LAYERS.Activation):
        return describe_activation(layer.activation)
    if isinstance(layer, _LAYERS.Lambda):
        return identify_function(layer.function)
    if "UpSampling" in type(layer).__name__:
        return "upsample", {"interpolation": getattr(layer, "interpolation", "nearest")}
    if type(layer).__name__.startswith("Adaptive") and None not in (sizes := spatial(layer, shape)):
        kind = "max" if "Max" in type(layer).__name__ else "average"
        return describe_adaptive_pool(kind, layer.output_size, tuple(n for n in sizes if n))
    if hasattr(layer, "pool_size"):
        kernel, strides = tuple(layer.pool_size), tuple(layer.strides)
        sizes = spatial(layer, shape)
        padding = tuple(
            same_padding(n, k, s) if layer.padding == "same" else (0, 0)
            for n, k, s in zip(sizes, kernel, strides, strict=True)
        )
        kind = "max" if "Max" in type(layer).__name__ else "average"
        return f"{kind} pool", {"pool size": kernel, "strides": strides, "padding": padding}
    return None


def _describe_operation(operation: Any, shape) -> Described:
    name = type(operation).__name__
    if name in _PLAIN:
        return _PLAIN[name], {}
    if name == "Gelu":
        return "gelu", {"approximation": "tanh" if operation.approximate else "none"}
    if name in ("Softmax", "LogSoftmax"):
        return ("softmax" if name == "Softmax" else "log softmax"), {"axis": getattr(operation, "axis", -1)}
    if name == "LeakyRelu":
        return "leaky relu", {"negative slope": operation.negative_slope}
    if name == "Mean":
        axis = operation.axis
        axes = tuple(a % len(shape) for a in ((axis,) if isinstance(axis, int) else axis or ()))
        whole = len(shape) > 2 and axes == tuple(range(1, len(shape) - 1))
        return ("global average pool", {}) if whole else ("mean", {"axes": axes})
    snake = "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")
    return _ACTIVATIONS.get(snake, snake.replace("_", " ") if isinstance(operation, keras.Layer) else snake), {}
