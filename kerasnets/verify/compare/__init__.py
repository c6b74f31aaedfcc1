"""Finds where a Keras port differs from its PyTorch original, and names the cause.

>>> import torch
>>> module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
>>> model = keras.Sequential([keras.Input((4,)), kerasnets.layers.Linear(3, activation="relu")])
>>> report = kerasnets.compare(module, model, np.ones((8, 4), "float32"))
>>> print(report)
kerasnets.compare on torch: the same as PyTorch, within its noise.
...

What is done, on copies of both sides, and where each part is:

- Arguments are checked, and both sides get the batch in their own layout (``port``, ``pairs``, ``inputs``).
- Both sides become lists of calls in one vocabulary (``calls``, ``torch_side``, ``keras_side``).
- Calls with weights are matched (``match``), and the weights moved (``links``).
- Each layer runs on PyTorch's own input (``forced``), so that a difference is found where it arises. Rules on the
  settings name the cause (``rules``, ``segments``, ``diagnosis``).
- Both sides run freely in float64 and float32 (``runs``), beside PyTorch's noise floor (``figures``).
- Losses, optimizers, learning rates and initial weights are compared separately (``losses``,
  ``optimizers``, ``rates``, ``initial``).
"""

# PyTorch first: TensorFlow imported before torchvision (and its Triton) aborts the process.
import torch  # noqa: F401  # isort: skip
import torchvision  # noqa: F401  # isort: skip

from kerasnets.verify.compare.api import assert_same, compare
from kerasnets.verify.compare.finding import CHECKS, Figure, Finding
from kerasnets.verify.compare.report import Report

__all__ = ["CHECKS", "Figure", "Finding", "Report", "assert_same", "compare"]
