"""L-BFGS: a network's loss minimised by SciPy, with gradients of the active backend.

The other optimizers see one gradient a step. This one asks for the loss and its gradient as often as its line search
wants, which PyTorch does through a closure given to ``step``. It suits small, smooth problems with all images at once.

>>> result = kerasnets.lbfgs.minimize(model, kerasnets.losses.CrossEntropyLoss(), x, y, max_iterations=50)
>>> result.losses[0], result.losses[-1], result.evaluations
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasnets import backend
from kerasnets._internal.arguments import check_integer, check_number
from kerasnets.models import check_images


@dataclasses.dataclass(frozen=True)
class Minimum:
    """What :func:`minimize` came to.

    Attributes:
        losses: the loss before the first iteration and after each one, with the weight decay's part.
        evaluations: how often loss and gradient were computed.
        converged: whether a tolerance was reached, not the limit of iterations or evaluations, nor (near the minimum,
            in float32) the point where rounding hides from the line search which way is down.
        message: SciPy's reason for the end.
    """

    losses: list[float]
    evaluations: int
    converged: bool
    message: str


def minimize(
    model: keras.Model,
    loss: Callable[[Any, Any], Any],
    x: Any,
    y: Any,
    *,
    max_iterations: int = 100,
    max_evaluations: int | None = None,
    history_size: int = 10,
    weight_decay: float = 0.0,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
) -> Minimum:
    """Minimise loss(y, model(x)) + λ/2·Σθ² over the trainable variables θ, by limited-memory BFGS on all data at once.

    The model computes as in evaluation, without dropout: a line search needs a function that doesn't change under it.
    SciPy computes in float64, the model in its own type. Source: R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A limited
    memory algorithm for bound constrained optimization", 1995, through ``scipy.optimize.minimize``.

    Args:
        model: a built model; its weights are the start, and at the end those of the lowest loss found.
        loss: a loss of :mod:`kerasnets.losses` or of Keras, or a function of targets and predictions to a scalar.
        x: inputs ``(n, *input_shape[1:])``.
        y: targets, one an input, as the loss takes them.
        max_iterations: directions to search along, at most.
        max_evaluations: computations of loss and gradient after which no new direction is tried; default: 1.25 times
            `max_iterations`, as ``torch.optim.LBFGS`` has it.
        history_size: how many past steps the curvature is estimated from.
        weight_decay: λ.
        tolerance_grad: ends where no component of the gradient is larger.
        tolerance_change: ends where the loss fell by less than this share of it (of 1, for losses below).

    Returns:
        The :class:`Minimum`; the model has changed.

    Raises:
        ModuleNotFoundError: SciPy is not installed.
        ValueError: shapes, labels or an option don't fit, or the loss at the start is no finite number.
    """
    check_integer("max_iterations", max_iterations)
    check_integer("history_size", history_size)
    if max_evaluations is None:
        max_evaluations = max(1, max_iterations * 5 // 4)
    check_integer("max_evaluations", max_evaluations)
    weight_decay = check_number("weight_decay", weight_decay)
    check_number("tolerance_grad", tolerance_grad)
    check_number("tolerance_change", tolerance_change)
    check_images(x, model.input_shape)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} images and {len(y)} targets: expected one target an image.")
    if hasattr(loss, "check_targets"):
        loss.check_targets(y, model.output_shape[-1])
    try:
        import scipy.optimize
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("L-BFGS needs SciPy: pip install scipy", name=error.name) from None

    variables = model.trainable_variables
    losses: list[float] = []
    x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)

    def closure(theta: np.ndarray) -> tuple[float, np.ndarray]:
        _set(variables, theta)
        value, gradients = backend.value_and_gradients(model, lambda outputs: loss(y, outputs), x)
        value = float(ops.convert_to_numpy(value)) + weight_decay / 2 * float(theta @ theta)
        if not losses:
            if not math.isfinite(value):
                raise ValueError(f"The loss at the start is {value}; expected a finite number.")
            losses.append(value)
        return value, _flat(gradients) + weight_decay * theta

    # SciPy hands over the iterate by this parameter's name.
    def after_iteration(intermediate_result):
        losses.append(float(intermediate_result.fun))

    result = scipy.optimize.minimize(
        closure,
        _flat(variables),
        jac=True,
        method="L-BFGS-B",
        callback=after_iteration,
        options={
            "maxiter": max_iterations,
            "maxfun": max_evaluations,
            "maxcor": history_size,
            "gtol": tolerance_grad,
            "ftol": tolerance_change,
        },
    )
    _set(variables, result.x)
    return Minimum(losses, int(result.nfev), bool(result.success), str(result.message))


def _flat(tensors) -> np.ndarray:
    """All numbers of `tensors` as one float64 vector."""
    return np.concatenate([ops.convert_to_numpy(tensor).ravel() for tensor in tensors]).astype("float64")


def _set(variables, theta: np.ndarray) -> None:
    """Put the numbers of `theta` into `variables`, in their order and shapes."""
    ends = np.cumsum([math.prod(variable.shape) for variable in variables])
    for variable, part in zip(variables, np.split(theta, ends[:-1]), strict=True):
        variable.assign(part.reshape(variable.shape).astype(variable.dtype))
