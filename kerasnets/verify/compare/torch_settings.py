"""Kinds and settings of PyTorch's modules and functions, in the vocabulary of :mod:`calls`."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kerasnets.verify.compare.calls import describe_adaptive_pool, describe_pool

Described = tuple[str, dict[str, Any]]

#: Classes and functions without settings that matter → kind.
_PLAIN_MODULES: dict[type, str] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.SiLU: "silu",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.SELU: "selu",
    nn.Mish: "mish",
    nn.Hardswish: "hard silu",
    nn.Hardsigmoid: "hard sigmoid",
    nn.Softsign: "softsign",
    nn.Softplus: "softplus",
    nn.LogSigmoid: "log sigmoid",
    nn.Tanhshrink: "tanh shrink",
    nn.Flatten: "flatten",
    nn.Unflatten: "reshape",
    nn.Identity: "identity",
    nn.PReLU: "prelu",
    nn.PixelShuffle: "reshape",
    nn.ChannelShuffle: "reshape",
}
_PLAIN_FUNCTIONS = {
    **{name: name for name in ("relu", "relu6", "silu", "sigmoid", "tanh", "selu", "mish", "softplus", "softsign")},
    "relu_": "relu",
    "logsigmoid": "log sigmoid",
    "sigmoid_": "sigmoid",
    "tanh_": "tanh",
    "hardswish": "hard silu",
    "hardsigmoid": "hard sigmoid",
    **dict.fromkeys(("view", "reshape", "unsqueeze", "squeeze", "expand", "unflatten", "view_as"), "reshape"),
    **dict.fromkeys(
        ("permute", "transpose", "movedim", "t", "swapaxes", "moveaxis", "mT", "T", "__get__"), "transpose"
    ),
    **dict.fromkeys(("contiguous", "clone", "detach"), "identity"),
    **dict.fromkeys(("to", "float", "double", "type", "long"), "cast"),
    **dict.fromkeys(("chunk", "split", "unbind", "tensor_split"), "split"),
    **dict.fromkeys(("__getitem__", "select", "narrow", "index_select"), "take"),
    "flatten": "flatten",
    "pad": "pad",
    **dict.fromkeys(("add", "__add__", "__radd__", "add_", "__iadd__"), "add"),
    **dict.fromkeys(("sub", "__sub__", "__rsub__", "rsub", "sub_", "__isub__"), "subtract"),
    **dict.fromkeys(("mul", "__mul__", "__rmul__", "mul_", "__imul__", "multiply"), "multiply"),
    **dict.fromkeys(("div", "__truediv__", "__rtruediv__", "true_divide", "div_", "__itruediv__"), "divide"),
    **dict.fromkeys(("matmul", "__matmul__", "bmm", "mm", "einsum", "baddbmm"), "matmul"),
    **dict.fromkeys(("exp", "log", "sqrt", "rsqrt", "abs", "pow", "clamp", "norm", "sum", "amax"), ""),
    "__pow__": "pow",
}
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_INSTANCE = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def describe_module(module: nn.Module, rank: int, size: tuple[int, ...]) -> Described:
    """Kind and settings of a module of ``torch.nn``.

    Args:
        module: the module.
        rank: number of axes of its input.
        size: height and width (…) of its input, for adaptive pooling.
    """
    if type(module) in _PLAIN_MODULES:
        return _PLAIN_MODULES[type(module)], {}
    if isinstance(module, nn.Linear):
        return "linear", {"units": module.out_features, "bias": module.bias is not None}
    if isinstance(module, _CONVOLUTIONS + _TRANSPOSED):
        return _describe_convolution(module)
    if isinstance(module, nn.Embedding):
        settings = {"words": module.num_embeddings, "features": module.embedding_dim}
        return "embedding", {**settings, "padding_idx": module.padding_idx}
    if isinstance(module, nn.RNNBase):
        return _describe_recurrent(module)
    if isinstance(module, nn.MultiheadAttention):
        heads = module.num_heads
        settings = {"heads": heads, "size of a head": module.embed_dim // heads, "dropout": module.dropout}
        return "attention", {**settings, "bias": module.in_proj_bias is not None}
    if isinstance(module, _DROPOUTS):
        return "dropout", {"rate": module.p}
    return _describe_norm(module, rank) or _describe_activation(module) or _describe_pool(module, rank, size)


def _describe_norm(module: Any, rank: int) -> Described | None:
    if isinstance(module, _NORMS):
        settings = {"epsilon": module.eps, "momentum": module.momentum, "scale": module.affine, "center": module.affine}
        return "batch norm", {**settings, "running variance": "unbiased", "axis of the channels": 1}
    if isinstance(module, nn.LayerNorm):
        center = module.bias is not None
        axes = len(module.normalized_shape)
        settings = {"epsilon": module.eps, "scale": module.elementwise_affine, "center": center}
        return "layer norm", {**settings, "normalized axes": axes}
    if isinstance(module, nn.GroupNorm):
        affine = module.affine
        return "group norm", {"groups": module.num_groups, "epsilon": module.eps, "scale": affine, "center": affine}
    if isinstance(module, _INSTANCE):
        affine = module.affine
        return "group norm", {"groups": module.num_features, "epsilon": module.eps, "scale": affine, "center": affine}
    if type(module).__name__ == "RMSNorm":
        return "rms norm", {"epsilon": module.eps, "scale": module.elementwise_affine}
    return None


def _describe_activation(module: Any) -> Described | None:
    if isinstance(module, nn.GELU):
        return "gelu", {"approximation": "tanh" if module.approximate == "tanh" else "none"}
    if isinstance(module, nn.LeakyReLU):
        return "leaky relu", {"negative slope": module.negative_slope}
    if isinstance(module, nn.ELU):
        return "elu", {"alpha": module.alpha}
    if isinstance(module, nn.Softmax | nn.LogSoftmax):
        kind = "softmax" if isinstance(module, nn.Softmax) else "log softmax"
        return kind, {"axis": module.dim}
    return None


def _tuple(value: Any, count: int) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value)


def _describe_convolution(module: Any) -> Described:
    count: int = len(module.kernel_size)
    settings: dict[str, Any] = {
        "filters": module.out_channels,
        "kernel size": module.kernel_size,
        "strides": module.stride,
        "dilation": module.dilation,
        "groups": module.groups,
        "bias": module.bias is not None,
    }
    if isinstance(module, _TRANSPOSED):
        borders: Any = module.padding
        crop = [(p, p - extra) for p, extra in zip(borders, module.output_padding, strict=True)]
        return "transposed convolution", {**settings, "padding": tuple(crop)}
    if module.padding == "same":
        reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        padding = tuple((total // 2, total - total // 2) for total in reach)
    else:
        padding = tuple((p, p) for p in _tuple(0 if module.padding == "valid" else module.padding, count))
    mode = "zeros" if module.padding_mode == "zeros" else module.padding_mode
    return "convolution", {**settings, "padding": padding, "padding mode": mode}


def _describe_recurrent(module: nn.RNNBase) -> Described:
    settings: dict[str, Any] = {"units": module.hidden_size, "bias": module.bias}
    settings |= {"directions": 2 if module.bidirectional else 1, "go backwards": False, "merge_mode": "concat"}
    if isinstance(module, nn.RNN):
        return "rnn", {**settings, "activation": module.nonlinearity}
    settings |= {"activation": "tanh", "recurrent activation": "sigmoid"}
    if isinstance(module, nn.GRU):
        return "gru", {**settings, "reset gate": "after the matrix product"}
    return "lstm", settings


def _describe_pool(module: Any, rank: int, size: tuple[int, ...]) -> Described:
    name = type(module).__name__
    if isinstance(module, nn.Upsample):
        return "upsample", {"interpolation": "nearest" if module.mode == "nearest" else module.mode}
    if name.startswith(("MaxPool", "AvgPool")):
        count = rank - 2
        kernel = _tuple(module.kernel_size, count)
        strides = _tuple(module.stride, count) if module.stride is not None else kernel
        kind = "max" if name.startswith("Max") else "average"
        return describe_pool(kind, kernel, strides, _tuple(module.padding, count))
    if name.startswith("Adaptive"):
        return describe_adaptive_pool("max" if "Max" in name else "average", module.output_size, size)
    if name.startswith("ZeroPad") or "Pad" in name:
        return "pad", {}
    return name, {}


def describe_function(func: Callable, args: tuple, kwargs: dict[str, Any]) -> Described:
    """Kind and settings of a function that a ``forward`` calls."""
    name = getattr(func, "__name__", str(func))
    given = _bind(func, args, kwargs)
    x = args[0] if args and isinstance(args[0], torch.Tensor) else None
    kind = _PLAIN_FUNCTIONS.get(name)
    numbers = [a for a in args if isinstance(a, int | float)]
    if kind in ("multiply", "divide") and len(numbers) == 1 and x is args[0]:
        return "scale", {"factor": float(numbers[0]) if kind == "multiply" else 1.0 / numbers[0]}
    if name in _PLAIN_FUNCTIONS:
        return _PLAIN_FUNCTIONS[name] or name, {}
    if name == "gelu":
        return "gelu", {"approximation": "tanh" if given.get("approximate") == "tanh" else "none"}
    if name in ("softmax", "log_softmax"):
        return name.replace("_", " "), {"axis": given.get("dim", args[1] if len(args) > 1 else None)}
    if name in ("leaky_relu", "leaky_relu_"):
        return "leaky relu", {"negative slope": given.get("negative_slope", 0.01)}
    if name in ("elu", "elu_"):
        return "elu", {"alpha": given.get("alpha", 1.0)}
    if "dropout" in name:
        return "dropout", {"rate": given.get("p", 0.5)}
    if name in ("cat", "concat", "concatenate"):
        return "concatenate", {}
    if name in ("mean", "adaptive_avg_pool2d", "adaptive_avg_pool1d") and x is not None:
        return _describe_mean(name, x, given, args)
    if name in ("max_pool2d", "boolean_dispatch", "avg_pool2d", "max_pool1d", "avg_pool1d") and x is not None:
        count = x.ndim - 2
        kernel = _tuple(given.get("kernel_size", args[1] if len(args) > 1 else 2), count)
        stride = given.get("stride", args[2] if len(args) > 2 else None)
        strides = _tuple(stride, count) if stride not in (None, [], ()) else kernel
        padding = _tuple(given.get("padding", args[3] if len(args) > 3 else 0), count)
        return describe_pool("average" if "avg" in name else "max", kernel, strides, padding)
    if name == "scaled_dot_product_attention":
        return "dot-product attention", {}
    if name == "interpolate":
        return "upsample", {"interpolation": given.get("mode", "nearest")}
    return name, {}


def _describe_mean(name: str, x: torch.Tensor, given: dict[str, Any], args: tuple) -> Described:
    if name != "mean":
        wanted = given.get("output_size", args[1] if len(args) > 1 else 1)
        return describe_adaptive_pool("average", wanted, tuple(x.shape[2:]))
    axes = given.get("dim", args[1] if len(args) > 1 else None)
    axes = tuple(axis % x.ndim for axis in ((axes,) if isinstance(axes, int) else axes or ()))
    if x.ndim > 2 and (axes == tuple(range(2, x.ndim)) or (x.ndim == 3 and axes == (1,))):  # steps or pixels
        return "global average pool", {}
    return "mean", {"axes": axes}


def _bind(func: Callable, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name; functions written in C have no signature."""
    try:
        bound = inspect.signature(func).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return dict(kwargs)
    bound.apply_defaults()
    return {**bound.arguments, **kwargs}
