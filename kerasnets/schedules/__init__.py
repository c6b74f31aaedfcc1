"""PyTorch's learning-rate schedules as Keras classes.

A schedule is given to an optimizer in place of its learning rate and follows ``optimizer.iterations``: it is compiled
into the training step, saved in the ``.keras`` file, and a resumed run goes on where it was.

>>> StepLR(0.1, step_size=30, steps_per_epoch=938)          # every 30 epochs of 938 batches, a tenth
>>> OneCycleLR(0.1, total_steps=5 * 938)                    # moves the optimizer's momentum (or beta_1) as well

``steps_per_epoch`` says how many optimizer steps there are to one ``scheduler.step()`` of the PyTorch program: the
number of batches where it is called once an epoch, 1 (the default) where it is called after every batch.

Keras's own schedules are not used inside: they divide the step number as a floating-point number, where a drop can come
a step early or late and float32 loses digits after many steps. Here epochs are integers, and the formulas are written
so that float32 keeps its digits when the rate is near zero.
"""

from kerasnets.schedules.base import LRSchedule
from kerasnets.schedules.composite import OneCycleLR, ReduceLROnPlateau, SequentialLR
from kerasnets.schedules.decay import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    StepLR,
)

__all__ = [
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LRSchedule",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
