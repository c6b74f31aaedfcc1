"""The losses of differences between numbers, and the divergence between distributions."""

from typing import Any

import keras
from keras import ops

from kerasnets._internal.arguments import check_number
from kerasnets.losses.base import REDUCTIONS, ElementLoss


def _distance(y_true, y_pred):
    """Return |y_pred − y_true|, whose gradient at 0 is 0; that of keras.ops.abs is 1 on JAX."""
    d = y_pred - y_true
    return d * ops.stop_gradient(ops.sign(d))


@keras.saving.register_keras_serializable(package="kerasnets")
class MSELoss(ElementLoss):
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

    Examples:
        >>> loss = kerasnets.losses.MSELoss()
        >>> round(float(loss([[1.0, 2.0]], [[1.0, 4.0]])), 4)
        2.0
    """

    def compare(self, y_true, y_pred):
        return ops.square(y_pred - y_true)


@keras.saving.register_keras_serializable(package="kerasnets")
class L1Loss(ElementLoss):
    """``torch.nn.L1Loss``: ``|y_pred − y_true|`` of each element, averaged over all of them.

    The gradient is 0 where the two are equal. Source: the page ``torch.nn.L1Loss``.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``. With ``"none"`` there is one value per element.
            (``keras.losses.MeanAbsoluteError`` averages the last axis first.)
        name, dtype: as in ``keras.losses.Loss``; 16-bit types are computed in float32.

    Call arguments:
        y_true, y_pred: numbers of the same shape, ``(batch, …)``.
        sample_weight: factors of the losses, of shape ``(batch,)`` or the targets' shape; not part of the divisor.

    Raises:
        ValueError: `reduction` is unknown, or the shapes differ. (PyTorch warns, and broadcasts.)

    Examples:
        >>> loss = kerasnets.losses.L1Loss()
        >>> round(float(loss([[1.0, 2.0]], [[1.0, 4.0]])), 4)
        1.0
    """

    def compare(self, y_true, y_pred):
        return _distance(y_true, y_pred)


@keras.saving.register_keras_serializable(package="kerasnets")
class SmoothL1Loss(ElementLoss):
    """``torch.nn.SmoothL1Loss``: a parabola near 0 and a line of slope 1 beyond.

    With ``d = |y_pred − y_true|``, the loss of an element is d²/(2β) for d < β and d − β/2 otherwise. With β = 0 it is
    :class:`L1Loss`. It is :class:`HuberLoss` with δ = β, divided by β. Source: the page ``torch.nn.SmoothL1Loss``.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        beta: β ≥ 0.
        name, dtype: as in ``keras.losses.Loss``; 16-bit types are computed in float32.

    Call arguments:
        y_true, y_pred: numbers of the same shape, ``(batch, …)``.
        sample_weight: factors of the losses, of shape ``(batch,)`` or the targets' shape; not part of the divisor.

    Raises:
        ValueError: an argument is out of range, or the shapes differ. (PyTorch warns, and broadcasts.)

    Examples:
        >>> loss = kerasnets.losses.SmoothL1Loss(beta=1.0)
        >>> round(float(loss([[0.0]], [[3.0]])), 4)
        2.5
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0, name: str | None = None, dtype: Any = None):
        super().__init__(reduction, name, dtype)
        self.beta = check_number("beta", beta)

    def compare(self, y_true, y_pred):
        d = _distance(y_true, y_pred)
        if self.beta == 0:
            return d
        return ops.where(d < self.beta, 0.5 * ops.square(d) / self.beta, d - 0.5 * self.beta)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "beta": self.beta}


@keras.saving.register_keras_serializable(package="kerasnets")
class HuberLoss(ElementLoss):
    """``torch.nn.HuberLoss``: a parabola near 0 and a line of slope δ beyond.

    With ``d = |y_pred − y_true|``, the loss of an element is d²/2 for d ≤ δ and δ·(d − δ/2) otherwise. Source: the page
    ``torch.nn.HuberLoss``.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``. With ``"none"`` there is one value per element.
            (``keras.losses.Huber`` averages the last axis first.)
        delta: δ > 0.
        name, dtype: as in ``keras.losses.Loss``; 16-bit types are computed in float32.

    Call arguments:
        y_true, y_pred: numbers of the same shape, ``(batch, …)``.
        sample_weight: factors of the losses, of shape ``(batch,)`` or the targets' shape; not part of the divisor.

    Raises:
        ValueError: an argument is out of range, or the shapes differ. (PyTorch warns, and broadcasts.)

    Examples:
        >>> loss = kerasnets.losses.HuberLoss(delta=1.0)
        >>> round(float(loss([[0.0]], [[3.0]])), 4)
        2.5
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0, name: str | None = None, dtype: Any = None):
        super().__init__(reduction, name, dtype)
        self.delta = check_number("delta", delta, above=True)

    def compare(self, y_true, y_pred):
        d = _distance(y_true, y_pred)
        return ops.where(d <= self.delta, 0.5 * ops.square(d), self.delta * (d - 0.5 * self.delta))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "delta": self.delta}


@keras.saving.register_keras_serializable(package="kerasnets")
class KLDivLoss(ElementLoss):
    """``torch.nn.KLDivLoss``: the Kullback-Leibler divergence, from log-probabilities x and probabilities p.

    The loss of an element is p·(log p − x), and 0 where p = 0. With `log_target` the targets are log p. Source: the
    page ``torch.nn.KLDivLoss``. (``keras.losses.KLDivergence`` takes probabilities as predictions.)

    Args:
        reduction: ``"mean"`` divides the sum by the number of elements, ``"batchmean"`` by the batch size, which is the
            divergence; ``"sum"`` or ``"none"``.
        log_target: the targets are logarithms of probabilities.
        name, dtype: as in ``keras.losses.Loss``; 16-bit types are computed in float32.

    Call arguments:
        y_true: probabilities, or their logarithms, ``(batch, …)``.
        y_pred: log-probabilities of the same shape.
        sample_weight: factors of the losses, of shape ``(batch,)`` or the targets' shape; not part of the divisor.

    Raises:
        ValueError: `reduction` is unknown, or the shapes differ. (PyTorch broadcasts.)

    Examples:
        >>> loss = kerasnets.losses.KLDivLoss()
        >>> round(float(loss([[1.0, 0.0]], np.log([[0.5, 0.5]]))), 4)
        0.3466
    """

    def __init__(self, reduction: str = "mean", log_target: bool = False, name: str | None = None, dtype: Any = None):
        if reduction not in (*REDUCTIONS, "batchmean"):
            known = ", ".join(map(repr, (*REDUCTIONS, "batchmean")))
            raise ValueError(f"`reduction` must be one of {known}; received {reduction!r}.")
        super().__init__("sum" if reduction == "batchmean" else reduction, name, dtype)
        self.reduction = reduction
        self.log_target = bool(log_target)

    def compare(self, y_true, y_pred):
        if self.log_target:
            losses = ops.exp(y_true) * (y_true - y_pred)
        else:
            is_zero = ops.equal(y_true, 0.0)
            entropy = ops.log(ops.where(is_zero, ops.ones_like(y_true), y_true))  # log 0 would be −∞
            losses = y_true * (entropy - y_pred)
        if self.reduction == "batchmean":
            batch = ops.shape(losses)[0]
            losses = losses / (batch if isinstance(batch, int) else ops.cast(batch, losses.dtype))
        return losses

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "log_target": self.log_target}
