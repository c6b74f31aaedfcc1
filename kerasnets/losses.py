"""PyTorch's losses as Keras classes, with its names for the reductions and its weighted means.

Pass a loss to ``model.compile(loss=…)``, or call it as ``loss(targets, predictions)``, in Keras's order. All of them
compute in ``keras.config.floatx()``, but at least in float32, so that labels stay exact.

``fit``'s arguments ``sample_weight`` and ``class_weight`` multiply the losses and don't change the divisor of the mean,
as in Keras's own losses. A loss's argument `weight` is PyTorch's: it changes the divisor as well. Keras's masks are
ignored: use the label `ignore_index` for targets that should not count.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasnets._internal.arrays import to_numbers, to_numpy
from kerasnets._internal.show import as_call

__all__ = ["CrossEntropyLoss", "MSELoss", "NLLLoss"]


def __dir__() -> list[str]:
    return __all__


REDUCTIONS = ("mean", "sum", "none")
HALF = ("float16", "bfloat16")


class _Loss(keras.losses.Loss):
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
        return _mean(losses) if self.reduction == "mean" else ops.sum(losses)

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
        self._read_targets(targets)

    def _read_targets(self, targets: Any) -> np.ndarray:
        try:
            return to_numbers(targets)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: the array of targets {error}.") from None


def _mean(x):
    """Return the mean of all elements; ``keras.ops.mean`` of float64 is computed in float32 on torch and JAX."""
    count = math.prod(ops.shape(x))
    return ops.sum(x) / (count if isinstance(count, int) else ops.cast(count, x.dtype))


def _agree(shape, other) -> bool:
    """Whether two shapes, which may be partly unknown, can be the same."""
    return len(shape) == len(other) and all(a is None or b is None or a == b for a, b in zip(shape, other, strict=True))


class _ClassLoss(_Loss):
    """Base class of the losses on classes: class indices as targets, `weight` and `ignore_index`."""

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        if weight is not None:
            array = to_numpy(weight)
            if array.ndim != 1:
                raise ValueError(f"`weight` must have one entry per class; received an array of shape {array.shape}.")
            weight = [float(w) for w in array]
        if not isinstance(ignore_index, int):
            raise ValueError(f"`ignore_index` must be an integer; received {ignore_index!r}.")
        self.weight = weight
        self.ignore_index = ignore_index

    def class_weights(self, num_classes: int):
        """Return `weight` as a tensor of shape ``(num_classes,)``, or None.

        Raises:
            ValueError: `weight` is for another number of classes.
        """
        if self.weight is None:
            return None
        if len(self.weight) != num_classes:
            raise ValueError(
                f"`weight` must have one entry per class: {num_classes} classes are predicted; received "
                f"{len(self.weight)} weights."
            )
        return ops.convert_to_tensor(self.weight, dtype=self.dtype)

    def _index_loss(self, y_true, log_p, smoothing: float = 0.0):
        """Compute the losses of targets that are class indices.

        Args:
            y_true: class indices, shape ``(batch, …)`` or ``(batch, …, 1)``.
            log_p: log-probabilities, shape ``(batch, …, classes)``.
            smoothing: PyTorch's ``label_smoothing``.

        Returns:
            Tensor of shape ``(batch, …)``; with ``reduction="mean"`` scaled so that its mean is the weighted one.
        """
        if len(y_true.shape) == len(log_p.shape) and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, axis=-1)
        if not _agree(y_true.shape, log_p.shape[:-1]):
            raise ValueError(
                f"Targets of shape {tuple(y_true.shape)} don't fit predictions of shape {tuple(log_p.shape)}: expected "
                f"a class index for each, shape {tuple(log_p.shape[:-1])}."
            )
        num_classes = log_p.shape[-1]
        weight = self.class_weights(num_classes)

        label = ops.cast(y_true, "int32")
        ignored = ops.equal(y_true, self.ignore_index)
        chosen = ops.equal(ops.expand_dims(label, -1), ops.arange(num_classes, dtype="int32"))
        # A compiled step can't raise an error for a label that is not a class, but NaN is noticed.
        known = ops.logical_and(ops.any(chosen, axis=-1), ops.equal(ops.cast(label, y_true.dtype), y_true))

        # Not a product with a one-hot vector: log_p may be −∞ for other classes.
        losses = -ops.sum(ops.where(chosen, log_p, 0.0), axis=-1)
        weights = ops.ones_like(losses)
        if weight is not None:
            weights = ops.sum(ops.where(chosen, weight, 0.0), axis=-1)
            losses = losses * weights
        if smoothing > 0:
            every = log_p if weight is None else log_p * weight
            losses = (1 - smoothing) * losses - (smoothing / num_classes) * ops.sum(every, axis=-1)
        losses = ops.where(known, losses, float("nan"))
        losses = ops.where(ignored, 0.0, losses)
        if self.reduction == "mean":
            weights = ops.where(ignored, 0.0, weights)
            losses = losses / _mean(weights)
        return losses

    def check_targets(self, targets: Any, num_classes: int) -> None:
        """Check targets on the host, before training starts.

        Args:
            targets: class indices, any shape, of an integer type or whole floats.
            num_classes: the size of the last axis of the predictions.

        Raises:
            ValueError: a target is neither a class index in [0, num_classes) nor `ignore_index`; the message gives the
                first one.
        """
        targets = self._read_targets(targets)
        is_class = (targets >= 0) & (targets < num_classes) & (targets == np.floor(targets))
        good = is_class | (targets == self.ignore_index)
        if not good.all():
            first = tuple(np.argwhere(~good)[0].tolist())
            index = ", ".join(map(str, first))
            raise ValueError(
                f"{type(self).__name__} got the target {targets[first]} at index {index}; expected a class index "
                f"from 0 to {num_classes - 1}, or {self.ignore_index} (`ignore_index`)."
            )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "weight": self.weight, "ignore_index": self.ignore_index}


@keras.saving.register_keras_serializable(package="kerasnets")
class CrossEntropyLoss(_ClassLoss):
    """``torch.nn.CrossEntropyLoss``: log-softmax and negative log-likelihood of the target class, on logits.

    With logits x, classes c of C, target class y, weights w and smoothing ε, the loss of one target is

        l = −(1 − ε)·w_y·log softmax(x)_y − (ε/C)·Σ_c w_c·log softmax(x)_c

    and 0 for a target that is `ignore_index`. ``"mean"`` divides the sum by Σ w_y over the targets that are not
    ignored. For targets that are probabilities p, smoothed to (1 − ε)·p + ε/C,

        l = −Σ_c w_c·p_c·log softmax(x)_c

    and ``"mean"`` divides by the number of targets. Source: the page ``torch.nn.CrossEntropyLoss``.

    Args:
        weight: w, one number per class; None means 1 for each.
        ignore_index: the label of targets that don't count.
        label_smoothing: ε in [0, 1].
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        name, dtype: as in ``keras.losses.Loss``; 16-bit types are computed in float32.

    Call arguments:
        y_true: class indices of shape ``(batch, …)`` or ``(batch, …, 1)``, or probabilities of shape
            ``(batch, …, classes)``.
        y_pred: logits of shape ``(batch, …, classes)``. (PyTorch has the classes on axis 1.)
        sample_weight: factors of the losses, of shape ``(batch,)`` or the targets' shape; not part of the divisor.

    Raises:
        ValueError: an argument is out of range, or shapes don't match. A label that is not a class makes the loss NaN;
            :meth:`check_targets` raises an error for it before training.
    """

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(weight, ignore_index, reduction, name, dtype)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"`label_smoothing` must be within [0, 1]; received {label_smoothing!r}.")
        self.label_smoothing = float(label_smoothing)

    def call(self, y_true, y_pred):
        """Return the unreduced losses; with ``"mean"`` they are scaled so that their plain mean is the loss."""
        log_p = ops.log_softmax(y_pred, axis=-1)
        if _agree(y_true.shape, y_pred.shape) and y_true.shape[-1] != 1:
            return self._probability_loss(y_true, log_p)
        return self._index_loss(y_true, log_p, self.label_smoothing)

    def _probability_loss(self, p, log_p):
        if self.ignore_index >= 0:
            raise ValueError(
                f"`ignore_index` (here {self.ignore_index}) has no meaning for targets that are class probabilities."
            )
        num_classes = log_p.shape[-1]
        weight = self.class_weights(num_classes)
        if self.label_smoothing > 0:
            p = (1 - self.label_smoothing) * p + self.label_smoothing / num_classes
        if weight is not None:
            p = p * weight
        return -ops.sum(p * log_p, axis=-1)

    def check_targets(self, targets: Any, num_classes: int) -> None:
        """Check targets on the host, before training starts.

        Args:
            targets: class indices, any shape, of an integer type or whole floats; or class probabilities: floats whose
                last axis has `num_classes` entries.
            num_classes: the size of the last axis of the logits.

        Raises:
            ValueError: a target is neither a class index in [0, num_classes) nor `ignore_index`; the message gives the
                first one.
        """
        targets = self._read_targets(targets)
        if targets.dtype.kind == "f" and targets.ndim > 1 and targets.shape[-1] == num_classes > 1:
            return
        super().check_targets(targets, num_classes)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="kerasnets")
class NLLLoss(_ClassLoss):
    """``torch.nn.NLLLoss``: the negative log-likelihood of the target class, on log-probabilities.

    With log-probabilities x, target class y and weights w the loss of one target is l = −w_y·x_y, and 0 for a target
    that is `ignore_index`. ``"mean"`` divides the sum by Σ w_y over the targets that are not ignored. Source: the page
    ``torch.nn.NLLLoss``.

    Args:
        weight: w, one number per class; None means 1 for each.
        ignore_index: the label of targets that don't count.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        from_probabilities: the predictions are probabilities (the output of a softmax) instead of log-probabilities.
        name, dtype: as in ``keras.losses.Loss``; 16-bit types are computed in float32.

    Call arguments:
        y_true: class indices of shape ``(batch, …)`` or ``(batch, …, 1)``.
        y_pred: log-probabilities (or probabilities) of shape ``(batch, …, classes)``. (PyTorch has the classes on axis
            1.)
        sample_weight: factors of the losses, of shape ``(batch,)`` or the targets' shape; not part of the divisor.

    Raises:
        ValueError: an argument is out of range, or shapes don't match. A label that is not a class makes the loss NaN;
            :meth:`check_targets` raises an error for it before training.
    """

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        from_probabilities: bool = False,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(weight, ignore_index, reduction, name, dtype)
        self.from_probabilities = from_probabilities

    def call(self, y_true, y_pred):
        """Return the unreduced losses; with ``"mean"`` they are scaled so that their plain mean is the loss."""
        return self._index_loss(y_true, ops.log(y_pred) if self.from_probabilities else y_pred)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "from_probabilities": self.from_probabilities}


@keras.saving.register_keras_serializable(package="kerasnets")
class MSELoss(_Loss):
    """``torch.nn.MSELoss``: (y_pred − y_true)² of each element, averaged over all of them.

    Source: the page ``torch.nn.MSELoss``.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``. With ``"none"`` there is one value per element.
            (``keras.losses.MeanSquaredError`` averages the last axis first.)
        name, dtype: as in ``keras.losses.Loss``; 16-bit types are computed in float32.

    Call arguments:
        y_true, y_pred: numbers of the same shape, ``(batch, …)``.
        sample_weight: factors of the losses, of shape ``(batch,)`` or the targets' shape; not part of the divisor.

    Raises:
        ValueError: `reduction` is unknown, or the shapes differ. (PyTorch warns, and broadcasts.)
    """

    def call(self, y_true, y_pred):
        """Return the unreduced losses; with ``"mean"`` they are scaled so that their plain mean is the loss."""
        if not _agree(y_true.shape, y_pred.shape):
            raise ValueError(
                f"MSELoss needs targets with the shape of the predictions, {tuple(y_pred.shape)}; received "
                f"{tuple(y_true.shape)}. Reshape the targets: broadcasting would compare each with every prediction."
            )
        return ops.square(y_pred - y_true)
