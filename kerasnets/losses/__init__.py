"""PyTorch's losses as Keras classes, with its names for the reductions and its weighted means.

Pass a loss to ``model.compile(loss=…)``, or call it as ``loss(targets, predictions)``, in Keras's order. All of them
compute in ``keras.config.floatx()``, but at least in float32, so that labels stay exact.

``fit``'s arguments ``sample_weight`` and ``class_weight`` multiply the losses and don't change the divisor of the mean,
as in Keras's own losses. A loss's argument `weight` is PyTorch's: it changes the divisor as well. Keras's masks are
ignored: use the label `ignore_index` for targets that should not count.
"""

from kerasnets.losses.binary import BCELoss, BCEWithLogitsLoss
from kerasnets.losses.classes import CrossEntropyLoss, NLLLoss
from kerasnets.losses.elements import HuberLoss, KLDivLoss, L1Loss, MSELoss, SmoothL1Loss

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


def __dir__() -> list[str]:
    return __all__
