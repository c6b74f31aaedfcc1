"""Numbers of any library as NumPy arrays, and NumPy arrays as PyTorch tensors."""

import keras
import numpy as np


def to_numpy(value) -> np.ndarray:
    """A variable, a tensor of any library or an array as a NumPy array."""
    if isinstance(value, keras.Variable):
        value = value.value
    if hasattr(value, "detach"):  # PyTorch's; np.asarray of it warns
        value = value.detach().cpu()
        return value.float().numpy().astype("bfloat16") if str(value.dtype) == "torch.bfloat16" else value.numpy()
    return np.asarray(value)


def to_numbers(value) -> np.ndarray | None:
    """Like :func:`to_numpy`, with bfloat16 as float32; None if `value` holds no real numbers."""
    value = to_numpy(value)
    if value.dtype.name == "bfloat16":
        return value.astype("float32")
    return value if value.dtype.kind in "fiub" else None


def cast(array: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers as `dtype` in native byte order, as ``torch.Tensor.copy_`` converts them: too large ones become inf.

    Every backend takes the result. Of big-endian and longdouble arrays, PyTorch takes none.
    """
    with np.errstate(all="ignore"):
        if dtype in ("float16", "bfloat16"):  # PyTorch rounds float64 twice
            array = array.astype("float32")
        return array.astype(dtype)


def to_tensor(array: np.ndarray):
    """A NumPy array as a PyTorch tensor on the CPU; imports torch."""
    import torch

    if array.dtype.name == "bfloat16":  # a type that torch.from_numpy doesn't know
        return torch.from_numpy(array.astype("float32")).to(torch.bfloat16)
    return torch.from_numpy(array)
