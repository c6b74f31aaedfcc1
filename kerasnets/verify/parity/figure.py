"""The result of one comparison, and its bound."""

import dataclasses
from collections.abc import Sequence

import numpy as np

#: Bound of relative differences in float64.
EXACT = 1e-10
#: Bound of one step in float32, in noise floors.
FACTOR = 10.0
#: Minimum noise floor, in units of rounding.
LEAST = 4.0


@dataclasses.dataclass(frozen=True)
class Figure:
    """The result of one comparison.

    Attributes:
        network, optimizer, dtype: what was trained.
        check: ``"one step"`` or ``"running free"``.
        steps: steps done before the comparison.
        quantity: what was compared: outputs, loss, gradients, weights, buffers, test loss or test accuracy.
        tensor: the tensor that came closest to its bound, by PyTorch's name.
        difference: between Keras and PyTorch: relative, or in percentage points for the test accuracy.
        noise: the noise floor, in the same unit.
        bound: the largest difference allowed.
    """

    network: str
    optimizer: str
    dtype: str
    check: str
    steps: int
    quantity: str
    tensor: str
    difference: float
    noise: float
    bound: float

    @property
    def share(self) -> float:
        """The difference over its bound."""
        return self.difference / self.bound

    @property
    def broken(self) -> bool:
        """Whether the bound is broken; NaN breaks it."""
        return not self.difference <= self.bound


def compute_bound(optimizer: str, dtype: str, check: str, quantity: str, noise: float, test_images: int) -> float:
    """The bound of a difference.

    Args:
        optimizer: class name of the optimizer.
        dtype: ``"float32"`` or ``"float64"``.
        check: ``"one step"`` or ``"running free"``.
        quantity: as in :class:`Figure`.
        noise: the noise floor.
        test_images: number of test images.
    """
    least = LEAST * float(np.finfo(dtype).eps)
    if quantity == "test accuracy":
        least = 100.0 / test_images
    bound = noise + least if (dtype, check) == ("float32", "running free") else FACTOR * max(noise, least)
    if dtype == "float64":
        return max(EXACT, bound) if optimizer == "Adam" and quantity == "weights" else EXACT
    return bound


def nearness(figure: Figure) -> float:
    """Sort key: the share of the bound, infinite if the difference is NaN."""
    return figure.share if figure.difference == figure.difference else float("inf")


def select_worst(figures: Sequence[Figure]) -> list[Figure]:
    """The figure nearest to its bound for each network, optimizer, type, check and quantity."""
    found: dict[tuple, Figure] = {}
    for figure in figures:
        key = (figure.network, figure.optimizer, figure.dtype, figure.check, figure.quantity)
        found[key] = max(found.get(key, figure), figure, key=nearness)
    return list(found.values())
