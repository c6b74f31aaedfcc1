"""Compares a network with its PyTorch original: same weights, same batches, no dropout.

PyTorch disagrees with itself: with another memory format or number of threads it sums in another order, and training
makes the difference grow. Each comparison therefore has a noise floor, measured beside it: how far PyTorch is from
PyTorch, from the same state and on the same batches,

- with two threads instead of one;
- in channels_last memory format instead of NCHW, if there is a convolution;
- from weights that are each moved up or down by one rounding, at random: the first two may well give the same bits, as
  for a small linear layer, and then say nothing about a backend that sums in a third order;
- in float64, with batch norm written out as a formula: PyTorch's kernel adds one number after the other, and is a
  hundred roundings away from a more careful sum, whatever the threads and the format.

Differences are relative: the largest difference in a tensor over the largest value in that tensor. A noise floor below
4 units of rounding counts as 4. A training is checked in two ways:

- One step at a time: PyTorch's weights, buffers and optimizer state after 0, 10, 100 and 938 steps are loaded, and both
  sides take one step. Bounds: 1e-10 in float64, 10 times the noise floor in float32.
- Running free: both sides train on their own. Bounds: in float64, weights and buffers within 1e-10 after 100 steps; in
  float32, test loss and test accuracy within the noise floor, which is here the largest difference between any two of
  PyTorch's runs, plus 4 units of rounding or one image.

A few runs say little about how far PyTorch is from itself: a rounding can wake a dead unit, and one run in five then
ends elsewhere, a hundred thousand times further away than the others. If a bound is broken, PyTorch therefore runs up
to 64 times more, each time from weights moved by other roundings. (If runs differ by chance alone, one in 7 is further
from the first run than 4 others are from each other, and one in 800 further than 68 others.)

Under Adam, float64 weights may differ by 10 noise floors if that is more than 1e-10: Adam's first step from a gradient
as small as ε can have any length, so that roundings of 1e-13 in the gradients become 1e-9 in the weights.

A bias before a batch norm has a true gradient of zero, because the mean is subtracted again. Its computed gradient is
rounding noise, and is measured on the scale of the gradient of its layer's weight. Adam turns that noise into steps of
full length: these biases, and the running means that they shift, are not compared under Adam.
"""

# PyTorch first: TensorFlow imported before torchvision (and its Triton) aborts the process.
import torch  # noqa: F401  # isort: skip
import torchvision  # noqa: F401  # isort: skip

from kerasnets.verify.differences import relative_difference
from kerasnets.verify.parity.case import DTYPES, OPTIMIZERS, Case, list_batches, make_case
from kerasnets.verify.parity.comparison import FREE_STEPS, POINTS, Comparison
from kerasnets.verify.parity.figure import EXACT, FACTOR, LEAST, Figure, nearness, select_worst
from kerasnets.verify.parity.original import Original, Run, State, Variant, build_criterion, train_original
from kerasnets.verify.parity.picture import plot_curves
from kerasnets.verify.parity.ported import Ported
from kerasnets.verify.parity.report import format_figure, write_figures

__all__ = [
    "DTYPES",
    "EXACT",
    "FACTOR",
    "FREE_STEPS",
    "LEAST",
    "OPTIMIZERS",
    "POINTS",
    "Case",
    "Comparison",
    "Figure",
    "Original",
    "Ported",
    "Run",
    "State",
    "Variant",
    "build_criterion",
    "format_figure",
    "list_batches",
    "make_case",
    "nearness",
    "plot_curves",
    "relative_difference",
    "select_worst",
    "train_original",
    "write_figures",
]
