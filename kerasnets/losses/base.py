"""What the losses share: the names of the reductions, the precision, the alignment of sample weights."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasnets._internal.arrays import to_numbers
from kerasnets._internal.show import as_call

REDUCTIONS = ("mean", "sum", "none")
HALF = ("float16", "bfloat16")


class Loss(keras.losses.Loss):
    """Base class of the losses: names of the reductions, precision, and alignment of sample weights.

    ``call`` returns one value per element. The reduction is not ``keras.losses.Loss``'s, which aligns sample weights
    with the last axes and, on the torch backend, divides float64 in float32.
    """

    def __init__(self, reduction: str = "mean", name: str | None = None, dtype: Any = None):
        if reduction not in REDUCTIONS:
            raise ValueError(f"`reduction` must be one of {', '.join(map(repr, REDUCTIONS))}; received {reduction!r}.")
        dtype = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
        super().__init__(name=name, reduction=reduction, dtype="float32" if dtype in HALF else dtype)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the reduced loss of predictions `y_pred` for targets `y_true`."""
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        losses = self.call(y_true, y_pred)
        if sample_weight is not None:
            losses = losses * self._aligned(ops.convert_to_tensor(sample_weight, dtype=self.dtype), losses)
        if self.reduction == "none":
            return losses
        return mean(losses) if self.reduction == "mean" else ops.sum(losses)

    def __repr__(self):
        return as_call(self, self.get_config())

    def _aligned(self, weight, losses):
        """Return `weight` with as many axes as `losses`; one number per sample belongs to the first axis."""
        rank = len(losses.shape)
        if len(weight.shape) == rank + 1 and weight.shape[-1] == 1:
            weight = ops.squeeze(weight, axis=-1)
        while len(weight.shape) < rank:
            weight = ops.expand_dims(weight, axis=-1)
        pairs = zip(losses.shape, weight.shape, strict=False)
        if len(weight.shape) != rank or not all(a == b or b in (1, None) or a is None for a, b in pairs):
            raise ValueError(
                f"`sample_weight` of shape {tuple(weight.shape)} doesn't fit losses of shape {tuple(losses.shape)}."
            )
        return weight

    def check_targets(self, targets: Any, num_classes: int) -> None:
        """Check targets on the host, before training starts.

        Args:
            targets: array of numbers.
            num_classes: the size of the last axis of the predictions; not used here.

        Raises:
            ValueError: the targets are not numbers.
        """
        self.read_targets(targets)

    def read_targets(self, targets: Any) -> np.ndarray:
        """Return the targets as numbers."""
        try:
            return to_numbers(targets)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: the array of targets {error}.") from None


def mean(x):
    """Return the mean of all elements; ``keras.ops.mean`` of float64 is computed in float32 on torch and JAX."""
    count = math.prod(ops.shape(x))
    return ops.sum(x) / (count if isinstance(count, int) else ops.cast(count, x.dtype))


def shapes_agree(shape, other) -> bool:
    """Whether two shapes, which may be partly unknown, can be the same."""
    return len(shape) == len(other) and all(a is None or b is None or a == b for a, b in zip(shape, other, strict=True))


class ElementLoss(Loss):
    """Base class of the losses of pairs of numbers: targets and predictions have the same shape."""

    def call(self, y_true, y_pred):
        """Return the unreduced losses, in the shape of the predictions."""
        if not shapes_agree(y_true.shape, y_pred.shape):
            raise ValueError(
                f"{type(self).__name__} needs targets with the shape of the predictions, {tuple(y_pred.shape)}; "
                f"received {tuple(y_true.shape)}. Reshape the targets: broadcasting would compare each with every "
                "prediction."
            )
        return self.compare(y_true, y_pred)

    def compare(self, y_true, y_pred):
        """Return the loss of each pair."""
        raise NotImplementedError(f"{type(self).__name__} must implement compare(y_true, y_pred).")
