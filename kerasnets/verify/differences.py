"""How far apart two tensors are: the measure of every comparison."""

import numpy as np


def relative_difference(actual: np.ndarray, expected: np.ndarray, scale: float | None = None) -> float:
    """The largest difference between two tensors, over a scale.

    Args:
        actual: a tensor.
        expected: a tensor of the same shape.
        scale: what to divide by; default: the largest absolute value in `expected`.

    Raises:
        ValueError: the shapes differ.
    """
    if actual.shape != expected.shape:
        raise ValueError(f"Can't compare tensors of the shapes {actual.shape} and {expected.shape}.")
    scale = float(np.abs(expected).max()) if scale is None else scale
    return float(np.abs(actual.astype("float64") - expected).max()) / (scale or 1.0)
