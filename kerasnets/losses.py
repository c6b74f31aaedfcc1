"""PyTorch's losses as Keras classes, with its names for the reductions and its weighted means.

A loss is given to ``model.compile(loss=…)``, or called as ``loss(targets, predictions)``, Keras's order. All of them compute in
``keras.config.floatx()``, in float32 at least, so that labels stay exact.

How the arguments of ``fit`` act: ``sample_weight`` and ``class_weight`` multiply the losses and leave the divisor of the mean alone,
as in Keras's own losses. The argument `weight` of a loss is PyTorch's: it enters the divisor as well.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

REDUCTIONS = ("mean", "sum", "none")


class _Loss(keras.losses.Loss):
    """What the losses share: the names of the reductions, the precision, and how weights of samples are aligned.

    ``call`` returns one value an element; ``keras.losses.Loss`` weights and reduces them.
    """

    def __init__(self, reduction: str = "mean", name: str | None = None, dtype=None):
        if reduction not in REDUCTIONS:
            raise ValueError(f"`reduction` must be one of {', '.join(map(repr, REDUCTIONS))}; received {reduction!r}.")
        dtype = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
        super().__init__(name=name, reduction=reduction, dtype=keras.backend.result_type(dtype, "float32"))

    def _rank(self, y_pred) -> int:
        """The number of axes of the unreduced loss."""
        return len(y_pred.shape)

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            # Keras aligns weights and losses from the right; a weight a sample belongs to the first axis.
            sample_weight = ops.convert_to_tensor(sample_weight, dtype=self.dtype)
            rank = self._rank(ops.convert_to_tensor(y_pred))
            if len(sample_weight.shape) == rank + 1 and sample_weight.shape[-1] == 1:
                sample_weight = ops.squeeze(sample_weight, axis=-1)
            while len(sample_weight.shape) < rank:
                sample_weight = ops.expand_dims(sample_weight, axis=-1)
        return super().__call__(y_true, y_pred, sample_weight=sample_weight)

    def check_targets(self, targets, num_classes: int | None = None) -> None:
        """Check targets on the host, before a training starts.

        Args:
            targets: array of numbers.
            num_classes: the size of the last axis of the predictions; not needed here.

        Raises:
            ValueError: the targets are no numbers.
        """
        kind = np.asarray(targets).dtype
        if kind.kind not in "biuf":
            raise ValueError(f"{type(self).__name__} needs targets that are real numbers; received the dtype {kind}.")


def _agree(shape, other) -> bool:
    """Whether two shapes may be the same, as far as they are known."""
    return len(shape) == len(other) and all(a is None or b is None or a == b for a, b in zip(shape, other, strict=True))


class _ClassLoss(_Loss):
    """What the losses on classes share: class indices as targets, `weight` and `ignore_index`."""

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        name: str | None = None,
        dtype=None,
    ):
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        if weight is not None:
            weight = ops.convert_to_numpy(weight)
            if weight.ndim != 1:
                raise ValueError(f"`weight` must have one entry a class; received an array of shape {weight.shape}.")
            weight = [float(w) for w in weight]
        if not isinstance(ignore_index, int):
            raise ValueError(f"`ignore_index` must be an integer; received {ignore_index!r}.")
        self.weight = weight
        self.ignore_index = ignore_index

    def _rank(self, y_pred):
        return len(y_pred.shape) - 1

    def _class_weight(self, num_classes: int):
        """`weight` as a tensor of shape ``(classes,)``, or ``None``."""
        if self.weight is None:
            return None
        if len(self.weight) != num_classes:
            raise ValueError(
                f"`weight` must have one entry a class: {num_classes} classes are predicted; received {len(self.weight)} weights."
            )
        return ops.convert_to_tensor(self.weight, dtype=self.dtype)

    def _index_loss(self, y_true, log_p, smoothing: float = 0.0):
        """The loss of each target that is a class index.

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
                f"Targets of shape {tuple(y_true.shape)} don't fit predictions of shape {tuple(log_p.shape)}: expected a "
                f"class index for each, shape {tuple(log_p.shape[:-1])}."
            )
        num_classes = log_p.shape[-1]
        weight = self._class_weight(num_classes)

        label = ops.cast(y_true, "int32")
        ignored = ops.equal(y_true, self.ignore_index)
        chosen = ops.equal(ops.expand_dims(label, -1), ops.arange(num_classes, dtype="int32"))
        # A label that is no class matches none. It can't raise inside a compiled step, but it must not pass for a number.
        known = ops.logical_and(ops.any(chosen, axis=-1), ops.equal(ops.cast(label, y_true.dtype), y_true))

        # A choice rather than a product with a one-hot vector: a probability of 0 elsewhere is −∞ in log_p.
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
            losses = losses / ops.mean(weights)
        return losses

    def check_targets(self, targets, num_classes: int) -> None:
        """Check targets on the host, before a training starts.

        Args:
            targets: class indices, any shape, of an integer type or whole floats.
            num_classes: the size of the last axis of the predictions.

        Raises:
            ValueError: a target is neither a class index in [0, num_classes) nor `ignore_index`; the message names the first.
        """
        super().check_targets(targets, num_classes)
        targets = np.asarray(targets)
        good = (targets >= 0) & (targets < num_classes) & (targets == np.floor(targets)) | (
            targets == self.ignore_index
        )
        if not good.all():
            where = tuple(int(i) for i in np.argwhere(~good)[0])
            raise ValueError(
                f"{type(self).__name__} got the target {targets[where]} at index {where[0] if len(where) == 1 else where}; "
                f"expected a class index from 0 to {num_classes - 1}, or {self.ignore_index} (`ignore_index`)."
            )

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "ignore_index": self.ignore_index}


@keras.saving.register_keras_serializable(package="kerasnets")
class CrossEntropyLoss(_ClassLoss):
    """``torch.nn.CrossEntropyLoss``: log-softmax and negative log-likelihood of the target class, on logits.

    With logits x, classes c of C, target class y, weights w and smoothing ε, the loss of one target is

        l = −(1 − ε)·w_y·log softmax(x)_y − (ε/C)·Σ_c w_c·log softmax(x)_c

    and 0 for a target that is `ignore_index`. ``"mean"`` divides the sum by Σ w_y over the targets that are not ignored.
    For targets that are probabilities p, with (1 − ε)·p + ε/C in place of p,

        l = −Σ_c w_c·p_c·log softmax(x)_c

    and ``"mean"`` divides by the number of targets. Source: the page ``torch.nn.CrossEntropyLoss``.

    Args:
        weight: w, one number a class; ``None``: 1 for each.
        ignore_index: the label of targets that count for nothing.
        label_smoothing: ε in [0, 1].
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        name, dtype: as in ``keras.losses.Loss``; computed in float32 at least.

    Call arguments:
        y_true: class indices of shape ``(batch, …)`` or ``(batch, …, 1)``, or probabilities of shape ``(batch, …, classes)``.
        y_pred: logits of shape ``(batch, …, classes)``. (PyTorch has the classes on axis 1.)
        sample_weight: numbers of shape ``(batch,)`` or of the targets', which multiply the losses, not the divisor.

    Raises:
        ValueError: an argument is out of its range, or shapes don't fit. A label that is no class makes the loss NaN; see
            :meth:`check_targets` for an error beforehand.
    """

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
        name: str | None = None,
        dtype=None,
    ):
        super().__init__(weight, ignore_index, reduction, name, dtype)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"`label_smoothing` must be within [0, 1]; received {label_smoothing!r}.")
        self.label_smoothing = float(label_smoothing)

    def call(self, y_true, y_pred):
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
        weight = self._class_weight(num_classes)
        if self.label_smoothing > 0:
            p = (1 - self.label_smoothing) * p + self.label_smoothing / num_classes
        if weight is not None:
            p = p * weight
        return -ops.sum(p * log_p, axis=-1)

    def check_targets(self, targets, num_classes: int) -> None:
        """Check targets on the host, before a training starts.

        Args:
            targets: class indices, any shape, of an integer type or whole floats; or class probabilities: floats whose
                last axis has `num_classes` entries.
            num_classes: the size of the last axis of the logits.

        Raises:
            ValueError: a target is neither a class index in [0, num_classes) nor `ignore_index`; the message names the first.
        """
        shape = np.shape(targets)
        if np.asarray(targets).dtype.kind == "f" and len(shape) > 1 and shape[-1] == num_classes > 1:
            return
        super().check_targets(targets, num_classes)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="kerasnets")
class NLLLoss(_ClassLoss):
    """``torch.nn.NLLLoss``: the negative log-likelihood of the target class, on log-probabilities.

    With log-probabilities x, target class y and weights w the loss of one target is l = −w_y·x_y, and 0 for a target that is
    `ignore_index`. ``"mean"`` divides the sum by Σ w_y over the targets that are not ignored. Source: the page
    ``torch.nn.NLLLoss``.

    Args:
        weight: w, one number a class; ``None``: 1 for each.
        ignore_index: the label of targets that count for nothing.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        from_probabilities: whether the predictions are probabilities (a softmax's output), whose logarithm is taken first.
        name, dtype: as in ``keras.losses.Loss``; computed in float32 at least.

    Call arguments:
        y_true: class indices of shape ``(batch, …)`` or ``(batch, …, 1)``.
        y_pred: log-probabilities (or probabilities) of shape ``(batch, …, classes)``. (PyTorch has the classes on axis 1.)
        sample_weight: numbers of shape ``(batch,)`` or of the targets', which multiply the losses, not the divisor.

    Raises:
        ValueError: an argument is out of its range, or shapes don't fit. A label that is no class makes the loss NaN; see
            :meth:`check_targets` for an error beforehand.
    """

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        from_probabilities: bool = False,
        name: str | None = None,
        dtype=None,
    ):
        super().__init__(weight, ignore_index, reduction, name, dtype)
        self.from_probabilities = from_probabilities

    def call(self, y_true, y_pred):
        return self._index_loss(y_true, ops.log(y_pred) if self.from_probabilities else y_pred)

    def get_config(self):
        return {**super().get_config(), "from_probabilities": self.from_probabilities}


@keras.saving.register_keras_serializable(package="kerasnets")
class MSELoss(_Loss):
    """``torch.nn.MSELoss``: (y_pred − y_true)² of each element, averaged over all of them. Source: the page of that name.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value an element; ``keras.losses.MeanSquaredError`` averages the last
            axis first).
        name, dtype: as in ``keras.losses.Loss``; computed in float32 at least.

    Call arguments:
        y_true, y_pred: numbers of the same shape, ``(batch, …)``.
        sample_weight: numbers of shape ``(batch,)`` or of the targets', which multiply the losses, not the divisor.

    Raises:
        ValueError: `reduction` is unknown, or the shapes differ. (PyTorch warns, and broadcasts.)
    """

    def call(self, y_true, y_pred):
        if not _agree(y_true.shape, y_pred.shape):
            raise ValueError(
                f"MSELoss needs targets of the shape of the predictions, {tuple(y_pred.shape)}; received "
                f"{tuple(y_true.shape)}. Reshape the targets: broadcasting would compare each with every other."
            )
        return ops.square(y_pred - y_true)
