"""PyTorch's losses as Keras classes, with its names for the reductions and its weighted means.

A loss is given to ``model.compile(loss=…)``, or called as ``loss(targets, predictions)``, Keras's order. All of them
compute in ``keras.config.floatx()``, in float32 at least, so that labels stay exact.

How the arguments of ``fit`` act: ``sample_weight`` and ``class_weight`` multiply the losses and leave the divisor of
the mean alone, as in Keras's own losses. The argument `weight` of a loss is PyTorch's: it enters the divisor as well.
Keras's masks are not read: give the targets that shall not count the label `ignore_index`.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

REDUCTIONS = ("mean", "sum", "none")
HALF = ("float16", "bfloat16")


class _Loss(keras.losses.Loss):
    """What the losses share: the names of the reductions, the precision, and how weights of samples are aligned.

    ``call`` returns one value an element. The reduction is not left to ``keras.losses.Loss``, which aligns weights of
    samples with the last axes and, on the torch backend, divides float64 in float32.
    """

    def __init__(self, reduction: str = "mean", name: str | None = None, dtype=None):
        if reduction not in REDUCTIONS:
            raise ValueError(f"`reduction` must be one of {', '.join(map(repr, REDUCTIONS))}; received {reduction!r}.")
        dtype = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
        super().__init__(name=name, reduction=reduction, dtype="float32" if dtype in HALF else dtype)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The reduced loss of predictions `y_pred` for targets `y_true`."""
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        losses = self.call(y_true, y_pred)
        if sample_weight is not None:
            losses = losses * self._aligned(ops.convert_to_tensor(sample_weight, dtype=self.dtype), losses)
        if self.reduction == "none":
            return losses
        return _mean(losses) if self.reduction == "mean" else ops.sum(losses)

    def _aligned(self, weight, losses):
        """`weight` with as many axes as `losses`: one number a sample belongs to the first axis."""
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

    def check_targets(self, targets, num_classes: int | None = None) -> None:
        """Check targets on the host, before a training starts.

        Args:
            targets: array of numbers.
            num_classes: the size of the last axis of the predictions; not needed here.

        Raises:
            ValueError: the targets are no numbers.
        """
        kind = _to_numpy(targets).dtype
        if kind.kind not in "biuf":
            raise ValueError(f"{type(self).__name__} needs targets that are real numbers; received the dtype {kind}.")


def _mean(x):
    """The mean of all elements; ``keras.ops.mean`` of float64 is computed in float32 on torch and JAX."""
    count = math.prod(ops.shape(x))
    return ops.sum(x) / (count if isinstance(count, int) else ops.cast(count, x.dtype))


def _to_numpy(array) -> np.ndarray:
    """Lists and arrays as they are; tensors from wherever they lie."""
    return ops.convert_to_numpy(array) if ops.is_tensor(array) else np.asarray(array)


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
            weight = _to_numpy(weight)
            if weight.ndim != 1:
                raise ValueError(f"`weight` must have one entry a class; received an array of shape {weight.shape}.")
            weight = [float(w) for w in weight]
        if not isinstance(ignore_index, int):
            raise ValueError(f"`ignore_index` must be an integer; received {ignore_index!r}.")
        self.weight = weight
        self.ignore_index = ignore_index

    def _class_weight(self, num_classes: int):
        """`weight` as a tensor of shape ``(classes,)``, or ``None``."""
        if self.weight is None:
            return None
        if len(self.weight) != num_classes:
            raise ValueError(
                f"`weight` must have one entry a class: {num_classes} classes are predicted; received "
                f"{len(self.weight)} weights."
            )
        return ops.convert_to_tensor(self.weight, dtype=self.dtype)

    def _index_loss(self, y_true, log_p, smoothing: float = 0.0):
        """The losses of targets that are class indices.

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
        weight = self._class_weight(num_classes)

        label = ops.cast(y_true, "int32")
        ignored = ops.equal(y_true, self.ignore_index)
        chosen = ops.equal(ops.expand_dims(label, -1), ops.arange(num_classes, dtype="int32"))
        # A label that is no class matches none. Nothing can raise inside a compiled step, but NaN is loud.
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
            losses = losses / _mean(weights)
        return losses

    def check_targets(self, targets, num_classes: int) -> None:
        """Check targets on the host, before a training starts.

        Args:
            targets: class indices, any shape, of an integer type or whole floats.
            num_classes: the size of the last axis of the predictions.

        Raises:
            ValueError: a target is neither a class index in [0, num_classes) nor `ignore_index`; the message names the
                first.
        """
        super().check_targets(targets, num_classes)
        targets = _to_numpy(targets)
        is_class = (targets >= 0) & (targets < num_classes) & (targets == np.floor(targets))
        good = is_class | (targets == self.ignore_index)
        if not good.all():
            first = tuple(np.argwhere(~good)[0].tolist())
            index = ", ".join(map(str, first))
            raise ValueError(
                f"{type(self).__name__} got the target {targets[first]} at index {index}; expected a class index "
                f"from 0 to {num_classes - 1}, or {self.ignore_index} (`ignore_index`)."
            )

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "weight": self.weight, "ignore_index": self.ignore_index}


@keras.saving.register_keras_serializable(package="kerasnets")
class CrossEntropyLoss(_ClassLoss):
    """``torch.nn.CrossEntropyLoss``: log-softmax and negative log-likelihood of the target class, on logits.

    With logits x, classes c of C, target class y, weights w and smoothing ε, the loss of one target is

        l = −(1 − ε)·w_y·log softmax(x)_y − (ε/C)·Σ_c w_c·log softmax(x)_c

    and 0 for a target that is `ignore_index`. ``"mean"`` divides the sum by Σ w_y over the targets that are not
    ignored. For targets that are probabilities p, with (1 − ε)·p + ε/C in place of p,

        l = −Σ_c w_c·p_c·log softmax(x)_c

    and ``"mean"`` divides by the number of targets. Source: the page ``torch.nn.CrossEntropyLoss``.

    Args:
        weight: w, one number a class; ``None``: 1 for each.
        ignore_index: the label of targets that count for nothing.
        label_smoothing: ε in [0, 1].
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        name, dtype: as in ``keras.losses.Loss``; computed in float32 at least.

    Call arguments:
        y_true: class indices of shape ``(batch, …)`` or ``(batch, …, 1)``, or probabilities of shape
            ``(batch, …, classes)``.
        y_pred: logits of shape ``(batch, …, classes)``. (PyTorch has the classes on axis 1.)
        sample_weight: numbers of shape ``(batch,)`` or of the targets', which multiply the losses, not the divisor.

    Raises:
        ValueError: an argument is out of its range, or shapes don't fit. A label that is no class makes the loss NaN;
            see :meth:`check_targets` for an error beforehand.
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
        """The unreduced losses of tensors; with ``"mean"`` scaled so that their plain mean is the loss."""
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
            ValueError: a target is neither a class index in [0, num_classes) nor `ignore_index`; the message names the
                first.
        """
        targets = _to_numpy(targets)
        if targets.dtype.kind == "f" and targets.ndim > 1 and targets.shape[-1] == num_classes > 1:
            return
        super().check_targets(targets, num_classes)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="kerasnets")
class NLLLoss(_ClassLoss):
    """``torch.nn.NLLLoss``: the negative log-likelihood of the target class, on log-probabilities.

    With log-probabilities x, target class y and weights w the loss of one target is l = −w_y·x_y, and 0 for a target
    that is `ignore_index`. ``"mean"`` divides the sum by Σ w_y over the targets that are not ignored. Source: the page
    ``torch.nn.NLLLoss``.

    Args:
        weight: w, one number a class; ``None``: 1 for each.
        ignore_index: the label of targets that count for nothing.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        from_probabilities: whether the predictions are probabilities (a softmax's output), whose logarithm is taken
            first.
        name, dtype: as in ``keras.losses.Loss``; computed in float32 at least.

    Call arguments:
        y_true: class indices of shape ``(batch, …)`` or ``(batch, …, 1)``.
        y_pred: log-probabilities (or probabilities) of shape ``(batch, …, classes)``. (PyTorch has the classes on axis
            1.)
        sample_weight: numbers of shape ``(batch,)`` or of the targets', which multiply the losses, not the divisor.

    Raises:
        ValueError: an argument is out of its range, or shapes don't fit. A label that is no class makes the loss NaN;
            see :meth:`check_targets` for an error beforehand.
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
        """The unreduced losses of tensors; with ``"mean"`` scaled so that their plain mean is the loss."""
        return self._index_loss(y_true, ops.log(y_pred) if self.from_probabilities else y_pred)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "from_probabilities": self.from_probabilities}


@keras.saving.register_keras_serializable(package="kerasnets")
class MSELoss(_Loss):
    """``torch.nn.MSELoss``: (y_pred − y_true)² of each element, averaged over all of them.

    Source: the page ``torch.nn.MSELoss``.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value an element; ``keras.losses.MeanSquaredError`` averages
            the last axis first).
        name, dtype: as in ``keras.losses.Loss``; computed in float32 at least.

    Call arguments:
        y_true, y_pred: numbers of the same shape, ``(batch, …)``.
        sample_weight: numbers of shape ``(batch,)`` or of the targets', which multiply the losses, not the divisor.

    Raises:
        ValueError: `reduction` is unknown, or the shapes differ. (PyTorch warns, and broadcasts.)
    """

    def call(self, y_true, y_pred):
        """The unreduced losses of tensors; with ``"mean"`` scaled so that their plain mean is the loss."""
        if not _agree(y_true.shape, y_pred.shape):
            raise ValueError(
                f"MSELoss needs targets of the shape of the predictions, {tuple(y_pred.shape)}; received "
                f"{tuple(y_true.shape)}. Reshape the targets: broadcasting would compare each with every other."
            )
        return ops.square(y_pred - y_true)
