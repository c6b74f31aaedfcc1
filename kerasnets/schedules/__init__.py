"""PyTorch's learning-rate schedules as Keras classes.

Pass a schedule to an optimizer as its learning rate. It follows ``optimizer.iterations``: it is compiled into the
training step and saved in the ``.keras`` file, and a resumed run continues at the same point.

>>> from kerasnets.schedules import OneCycleLR, StepLR
>>> schedule = StepLR(0.1, step_size=30, steps_per_epoch=938)  # a tenth of the rate every 30 epochs of 938 batches
>>> schedule = OneCycleLR(0.1, total_steps=5 * 938)  # moves the optimizer's momentum (or beta_1), too

``steps_per_epoch`` is the number of optimizer steps per ``scheduler.step()`` of the PyTorch program: the number of
batches if it is called once per epoch, 1 (the default) if it is called after every batch.

These classes don't build on Keras's schedules, which divide the step number as a floating-point number: a drop may come
a step early or late, and float32 loses digits after many steps. Here epochs are integers, and the formulas keep
float32's digits when the rate is near zero.
"""

import keras  # noqa: F401 (before the rest: it loads kerasnets' optimizers, which need LRSchedule)

from kerasnets.schedules.base import LRSchedule
from kerasnets.schedules.composite import ReduceLROnPlateau, SequentialLR
from kerasnets.schedules.cycles import CyclicLR, OneCycleLR
from kerasnets.schedules.decay import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from kerasnets.schedules.tables import LambdaLR, MultiplicativeLR

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRSchedule",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


def __dir__() -> list[str]:
    return __all__
