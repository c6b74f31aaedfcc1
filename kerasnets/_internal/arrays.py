"""Conversions between NumPy arrays and the tensors of any library."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


def to_numpy(value: Any) -> np.ndarray:
    """Return a variable, a tensor of any library, an array or a list as a NumPy array."""
    import keras  # here, since the modules that Keras's import loads take their names from this one

    if isinstance(value, keras.Variable):
        value = value.value
    if hasattr(value, "detach"):  # a PyTorch tensor; np.asarray of it warns
        value = value.detach().cpu()
        return value.float().numpy().astype("bfloat16") if str(value.dtype) == "torch.bfloat16" else value.numpy()
    return np.asarray(value)


def to_numbers(value: Any, expected: str = "real numbers") -> np.ndarray:
    """Like :func:`to_numpy`, with bfloat16 as float32, for values that may hold anything.

    Args:
        value: what a file or a user gave.
        expected: what the error message says was expected.

    Raises:
        ValueError: `value` can't be read or doesn't hold real numbers. The message follows the name of the value:
            ``"is of type str, expected real numbers"``.
    """
    try:
        array = to_numpy(value)
    except Exception as error:  # a sparse, quantized or float8 tensor, a ragged list: each has its own
        raise ValueError(f"can't be read: {error}") from None
    if array.dtype.name == "bfloat16":
        return array.astype("float32")
    if array.dtype.kind not in "fiub":
        what = f"{type(value).__name__} {getattr(value, 'dtype', '')}".rstrip()
        raise ValueError(f"is of type {what}, expected {expected}")
    return array


def cast(array: np.ndarray, dtype: str) -> np.ndarray:
    """Convert numbers to `dtype` in native byte order, as ``torch.Tensor.copy_`` does: too large ones become inf.

    Every backend takes the result. (PyTorch takes no big-endian or longdouble arrays.)
    """
    with np.errstate(all="ignore"):
        if dtype in ("float16", "bfloat16"):  # PyTorch rounds float64 twice
            array = array.astype("float32")
        return array.astype(dtype)


def to_tensor(array: np.ndarray) -> "torch.Tensor":
    """Return a NumPy array as a PyTorch tensor on the CPU; imports torch."""
    import torch

    if array.dtype.name == "bfloat16":  # a type that torch.from_numpy doesn't know
        return torch.from_numpy(array.astype("float32")).to(torch.bfloat16)
    return torch.from_numpy(array)
