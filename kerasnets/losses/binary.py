"""The losses of yes and no: binary cross-entropy of probabilities and of logits."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasnets._internal.arrays import to_numpy
from kerasnets.losses.base import ElementLoss

#: The least x·(1 − x) that PyTorch divides by: 1e-12 in float32, whatever the dtype.
_LEAST_VARIANCE = float(np.float32(1e-12))


class _Binary(ElementLoss):
    """Base class: the weights, which are broadcast to the shape of the predictions."""

    def __init__(self, weight: Any, reduction: str, name: str | None, dtype: Any):
        super().__init__(reduction, name, dtype)
        self.weight = _to_list(weight)

    def _broadcast(self, name: str, losses):
        """Return the weights called `name` as a tensor that fits `losses`."""
        weights = ops.convert_to_tensor(getattr(self, name), dtype=self.dtype)
        shape, there = tuple(weights.shape), tuple(losses.shape)
        fits = all(a in (1, b) or b is None for a, b in zip(reversed(shape), reversed(there), strict=False))
        if len(shape) > len(there) or not fits:
            raise ValueError(f"`{name}` of shape {shape} doesn't fit predictions of shape {there}.")
        return weights

    def _weigh(self, losses):
        return losses if self.weight is None else losses * self._broadcast("weight", losses)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "weight": self.weight}


def _to_list(weights: Any) -> Any:
    """Return weights as a number or nested lists, which a file can hold."""
    return None if weights is None else to_numpy(weights).astype("float64").tolist()


@keras.saving.register_keras_serializable(package="kerasnets")
class BCEWithLogitsLoss(_Binary):
    """``torch.nn.BCEWithLogitsLoss``: binary cross-entropy of logits x and targets y in [0, 1].

    The loss of an element is −w·(p·y·log σ(x) + (1 − y)·log(1 − σ(x))), averaged over all elements, where p is
    `pos_weight`. Source: the page ``torch.nn.BCEWithLogitsLoss``. (``keras.losses.BinaryCrossentropy`` with
    ``from_logits=True`` averages the last axis first, and has no `pos_weight`.)

    Args:
        weight: w, numbers that are broadcast to the shape of the predictions; None means 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``. ``"mean"`` divides by the number of elements, whatever the
            weights.
        pos_weight: p, weights of the positive targets, broadcast in the same way: one number per class for
            predictions of shape ``(batch, classes)``; None means 1.
        name, dtype: as in ``keras.losses.Loss``; 16-bit types are computed in float32.

    Call arguments:
        y_true: numbers in [0, 1], of the shape of the predictions.
        y_pred: logits, ``(batch, …)``.
        sample_weight: factors of the losses, of shape ``(batch,)`` or the targets' shape; not part of the divisor.

    Raises:
        ValueError: `reduction` is unknown, the shapes differ, or the weights don't fit them.

    Examples:
        >>> loss = kerasnets.losses.BCEWithLogitsLoss()
        >>> round(float(loss([[1.0]], [[0.0]])), 4)
        0.6931
    """

    def __init__(
        self,
        weight: Any = None,
        reduction: str = "mean",
        pos_weight: Any = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(weight, reduction, name, dtype)
        self.pos_weight = _to_list(pos_weight)

    def compare(self, y_true, y_pred):
        factor = 1.0
        if self.pos_weight is not None:
            factor = 1.0 + (self._broadcast("pos_weight", y_pred) - 1.0) * y_true
        # 1 − σ(x) = σ(−x), and log σ(−x) = log σ(x) − x
        return self._weigh((1.0 - y_true) * y_pred - (factor * ops.log_sigmoid(y_pred)))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "pos_weight": self.pos_weight}


@keras.saving.register_keras_serializable(package="kerasnets")
class BCELoss(_Binary):
    """``torch.nn.BCELoss``: binary cross-entropy of probabilities x and targets y in [0, 1].

    The loss of an element is −w·(y·log x + (1 − y)·log(1 − x)), averaged over all elements. As in PyTorch, the
    logarithms are at least −100, and the gradient is w·(x − y)/max(x·(1 − x), 1e-12), so that both are finite at 0 and
    1. Source: the page ``torch.nn.BCELoss``. (``keras.losses.BinaryCrossentropy`` clips the probabilities to
    [1e-7, 1 − 1e-7], and averages the last axis first.)

    Args:
        weight: w, numbers that are broadcast to the shape of the predictions; None means 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``. ``"mean"`` divides by the number of elements, whatever the
            weights.
        name, dtype: as in ``keras.losses.Loss``; 16-bit types are computed in float32.

    Call arguments:
        y_true: numbers in [0, 1], of the shape of the predictions.
        y_pred: probabilities, ``(batch, …)``. One outside [0, 1] makes the loss NaN. (PyTorch raises an error.)
        sample_weight: factors of the losses, of shape ``(batch,)`` or the targets' shape; not part of the divisor.

    Raises:
        ValueError: `reduction` is unknown, the shapes differ, or the weights don't fit them.

    Examples:
        >>> loss = kerasnets.losses.BCELoss()
        >>> round(float(loss([[1.0]], [[0.5]])), 4)
        0.6931
    """

    def __init__(self, weight: Any = None, reduction: str = "mean", name: str | None = None, dtype: Any = None):
        super().__init__(weight, reduction, name, dtype)

    def compare(self, y_true, y_pred):
        x = ops.stop_gradient(y_pred)
        logs = [ops.where(log < -100.0, -100.0, log) for log in (ops.log(x), ops.log1p(-x))]
        losses = -(y_true * logs[0] + (1.0 - y_true) * logs[1])
        variance = x * (1.0 - x)
        slope = (x - y_true) / ops.where(variance < _LEAST_VARIANCE, _LEAST_VARIANCE, variance)
        # PyTorch's gradient is not quite that of the loss: at 0 and 1 it is finite.
        return self._weigh(losses + (y_pred - x) * slope)
