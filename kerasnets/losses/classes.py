"""The losses on classes: class indices as targets, weights of the classes, a label that doesn't count."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasnets._internal.arrays import to_numpy
from kerasnets.losses.base import Loss, mean, shapes_agree


class ClassLoss(Loss):
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
        if not shapes_agree(y_true.shape, log_p.shape[:-1]):
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
            losses = losses / mean(weights)
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
        targets = self.read_targets(targets)
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
class CrossEntropyLoss(ClassLoss):
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
            ``check_targets`` raises an error for it before training.

    Examples:
        >>> loss = kerasnets.losses.CrossEntropyLoss()
        >>> round(float(loss([2], [[0.0, 0.0, 0.0]])), 4)
        1.0986
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
        if shapes_agree(y_true.shape, y_pred.shape) and y_true.shape[-1] != 1:
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
        targets = self.read_targets(targets)
        if targets.dtype.kind == "f" and targets.ndim > 1 and targets.shape[-1] == num_classes > 1:
            return
        super().check_targets(targets, num_classes)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="kerasnets")
class NLLLoss(ClassLoss):
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
            ``check_targets`` raises an error for it before training.

    Examples:
        >>> loss = kerasnets.losses.NLLLoss()
        >>> round(float(loss([0], np.log([[0.5, 0.25, 0.25]]))), 4)
        0.6931
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
