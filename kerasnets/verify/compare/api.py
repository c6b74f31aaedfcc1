"""The public functions: ``kerasnets.compare`` and ``kerasnets.assert_same``."""

from collections.abc import Collection
from typing import Any

import keras
import torch

from kerasnets._internal.arguments import check_integer
from kerasnets.verify.compare.comparison import compare_port
from kerasnets.verify.compare.finding import CHECKS
from kerasnets.verify.compare.inputs import add_targets, arrange_batch, pair_outputs, read_inputs
from kerasnets.verify.compare.pairs import read_losses, read_optimizers, read_scheduler
from kerasnets.verify.compare.port import Port, check_sides
from kerasnets.verify.compare.report import Report
from kerasnets.verify.compare.runs import run_once
from kerasnets.verify.compare.torch_side import ControlFlowError


def compare(
    module: torch.nn.Module,
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = None,
    scheduler: Any = None,
    steps_per_epoch: int = 1,
) -> Report:
    """Compare a Keras port with its PyTorch original, and name the causes of their differences.

    Nothing is changed: both sides are copied. PyTorch's weights are moved to the copy of the port. Dropout is compared
    by its rate and left out of the runs.

    Args:
        module: the original, any ``torch.nn.Module`` whose ``forward`` takes and returns tensors and doesn't branch on
            values.
        model: the port, a built Functional or Sequential model.
        x: a batch of at least 2 examples, ``(batch, …)``, in the layout of either side; a small one will do. For
            several inputs a list in the order of both sides, or a dict by the names of the model's inputs or of the
            arguments of ``forward``.
        y: targets of the loss, as PyTorch's takes them; needed with `loss`. For several outputs a list in the order in
            which the module returns them, or a dict by their names.
        loss: PyTorch's and Keras's loss as a pair, or PyTorch's alone if the model is compiled with Keras's. For
            several outputs each of the two is a list or a dict as `y`, or one loss for all; ``compile``'s
            ``loss_weights`` count. By default, gradients are those of a fixed combination of the outputs.
        optimizer: PyTorch's optimizer of the module's parameters and Keras's optimizer as a pair, or PyTorch's alone if
            the model is compiled with Keras's. By default none are compared.
        scheduler: PyTorch's scheduler. Keras's rates come from its optimizer; if they come from a callback, give a pair
            of PyTorch's scheduler and the callback's function of the epoch.
        steps_per_epoch: optimizer steps for each ``scheduler.step()``.

    Returns:
        The report. It has findings, figures, matches, ``text()`` to read, ``plot()`` for a picture and ``save_json``.

    Raises:
        TypeError: an argument is of another type, the model has its own ``call``, the module's ``forward`` branches on
            values, or a layer can't be copied.
        ValueError: the model isn't built, `x` fits neither side, the sides have different numbers of inputs or outputs,
            or one of a pair is missing.

    Examples:
        >>> import torch
        >>> module = torch.nn.Sequential(torch.nn.Linear(4, 2))
        >>> model = keras.Sequential([keras.Input((4,)), kerasnets.layers.Linear(2)])
        >>> x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
        >>> report = kerasnets.compare(module, model, x)
        >>> report.same
        True
    """
    check_sides(module, model)
    arrays, names, arrange = read_inputs(module, model, x)
    steps = check_integer("steps_per_epoch", steps_per_epoch)
    theirs, own = arrange_batch(module, model, arrays, names, arrange)
    outputs = run_once(module, theirs, arrange)
    losses = read_losses(loss, model, pair_outputs(list(outputs), model))
    optimizers = read_optimizers(optimizer, module, model)
    schedulers = read_scheduler(scheduler, optimizers)
    targets = add_targets(losses, y, outputs, model, len(arrays[0]))
    return compare_port(Port(module, model, theirs, own, names, arrange, targets, optimizers, schedulers, steps))


def assert_same(
    module: torch.nn.Module, model: keras.Model, x: Any, y: Any = None, *, ignore: Collection[str] = (), **options: Any
) -> Report:
    """Raise an AssertionError with the report if a port differs from its original; for a test.

    Args:
        module: the original.
        model: the port.
        x: a batch.
        y: targets of the loss.
        ignore: checks whose findings don't count, of ``kerasnets.verify.compare.CHECKS``; such as
            ``["initial weights"]`` for a port that always loads its weights.
        **options: as in :func:`compare`.

    Returns:
        The report.

    Raises:
        AssertionError: the port differs.
        ValueError: `ignore` has an unknown check; otherwise as in :func:`compare`.
        TypeError: as in :func:`compare`.

    Examples:
        >>> import torch
        >>> module = torch.nn.Sequential(torch.nn.Linear(4, 2))
        >>> model = keras.Sequential([keras.Input((4,)), kerasnets.layers.Linear(2)])
        >>> x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
        >>> report = kerasnets.assert_same(module, model, x)
    """
    names = [ignore] if isinstance(ignore, str) or not isinstance(ignore, Collection) else list(ignore)
    for name in names:
        if name not in CHECKS:
            raise ValueError(f"ignore={name!r}: expected some of {', '.join(map(repr, CHECKS))}.")
    report = compare(module, model, x, y, **options)
    left = [finding for finding in report.findings if finding.check not in names]
    if left:
        raise AssertionError(report.text(matches=False))
    return report


__all__ = ["ControlFlowError", "assert_same", "compare"]
