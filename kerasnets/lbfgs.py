"""L-BFGS: minimizes a network's loss with SciPy, and gradients from the active backend.

The other optimizers see one gradient per step. This one evaluates the loss and its gradient as often as its line search
needs; PyTorch passes a closure to ``step`` for that. It suits small, smooth problems with all images at once.

>>> x, y = np.eye(10), np.arange(10)
>>> model = kerasnets.models.Sequential([keras.Input((10,)), kerasnets.layers.Linear(10)])
>>> result = kerasnets.lbfgs.minimize(model, kerasnets.losses.CrossEntropyLoss(), x, y, max_iterations=50)
>>> result.losses[-1] < 0.01 < result.losses[0]
True
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasnets import backend
from kerasnets._internal.arguments import check_integer, check_number
from kerasnets._internal.arrays import to_numpy
from kerasnets.engine.inputs import check_images

__all__ = ["Minimum", "minimize"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True)
class Minimum:
    """The result of :func:`minimize`.

    Attributes:
        losses: the loss before the first iteration and after each one, including weight decay.
        evaluations: how many times loss and gradient were computed.
        converged: whether a tolerance was reached. Otherwise the limit of iterations or evaluations was, or the line
            search failed, which happens close to a minimum because of rounding in float32.
        message: SciPy's reason for stopping.

    Examples:
        >>> minimum = kerasnets.lbfgs.Minimum(losses=[2.0, 0.5], evaluations=3, converged=True, message="")
        >>> minimum.losses[-1]
        0.5
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
    """Minimize loss(y, model(x)) + λ/2·Σθ² over the trainable variables θ with limited-memory BFGS on all data.

    The model runs in evaluation mode, without dropout, because a line search needs a deterministic function. SciPy
    computes in float64, the model in its own type. Source: R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A limited memory
    algorithm for bound constrained optimization", 1995, through ``scipy.optimize.minimize``.

    Args:
        model: a built model. Its weights are the starting point, and are set to those of the lowest loss found.
        loss: a loss of :mod:`kerasnets.losses` or of Keras, or a function of targets and predictions to a scalar.
        x: inputs ``(n, *input_shape[1:])``.
        y: targets, one per input, in the form that the loss takes.
        max_iterations: maximum number of search directions.
        max_evaluations: number of evaluations of loss and gradient after which no new direction is tried. The default
            is 1.25 times `max_iterations`, as in ``torch.optim.LBFGS``.
        history_size: number of past steps for the estimate of the curvature.
        weight_decay: λ.
        tolerance_grad: stop when no component of the gradient is larger.
        tolerance_change: stop when the loss decreases by less than this fraction of it (of 1 if the loss is below 1).

    Returns:
        The :class:`Minimum`. The model's weights have changed.

    Raises:
        ModuleNotFoundError: SciPy is not installed.
        ValueError: shapes, labels or an option are invalid, or the initial loss is not finite.

    Examples:
        >>> model = kerasnets.models.Sequential([keras.Input((2,)), kerasnets.layers.Linear(1)])
        >>> minimum = kerasnets.lbfgs.minimize(model, kerasnets.losses.MSELoss(), np.eye(2), np.ones((2, 1)))
        >>> minimum.losses[-1] < 1e-6
        True
    """
    max_iterations = check_integer("max_iterations", max_iterations)
    if max_evaluations is None:
        max_evaluations = max(1, max_iterations * 5 // 4)
    options = {
        "maxiter": max_iterations,
        "maxfun": check_integer("max_evaluations", max_evaluations),
        "maxcor": check_integer("history_size", history_size),
        "gtol": check_number("tolerance_grad", tolerance_grad),
        "ftol": check_number("tolerance_change", tolerance_change),
    }
    problem = _Problem(model, loss, x, y, check_number("weight_decay", weight_decay))
    result = _scipy_minimize()(
        problem.evaluate,
        _flatten(problem.variables),
        jac=True,
        method="L-BFGS-B",
        callback=problem.after_iteration,
        options=options,
    )
    problem.set_weights(result.x)
    return Minimum(problem.losses, int(result.nfev), bool(result.success), str(result.message))


def _scipy_minimize() -> Callable[..., Any]:
    try:
        from scipy.optimize import minimize
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("L-BFGS needs SciPy: pip install scipy.", name=error.name) from None
    return minimize


class _Problem:
    """The loss and its gradient as functions of one vector, for SciPy."""

    def __init__(self, model: keras.Model, loss: Callable[[Any, Any], Any], x: Any, y: Any, weight_decay: float):
        check_images(x, model.input_shape)
        if len(x) != len(y):
            raise ValueError(f"{len(x)} images and {len(y)} targets: expected one target per image.")
        if hasattr(loss, "check_targets"):
            loss.check_targets(y, model.output_shape[-1])
        self.variables = model.trainable_variables
        self.losses: list[float] = []
        self._model, self._loss, self._weight_decay = model, loss, weight_decay
        self._x, self._y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)

    def evaluate(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute the loss and its gradient at `theta`."""
        self.set_weights(theta)
        value, gradients = backend.value_and_gradients(
            self._model, lambda outputs: self._loss(self._y, outputs), self._x
        )
        value = float(to_numpy(value)) + self._weight_decay / 2 * float(theta @ theta)
        if not self.losses:
            if not math.isfinite(value):
                raise ValueError(f"The initial loss is {value}; expected a finite number.")
            self.losses.append(value)
        return value, _flatten(gradients) + self._weight_decay * theta

    def after_iteration(self, intermediate_result) -> None:  # SciPy requires this name
        """Record the loss."""
        self.losses.append(float(intermediate_result.fun))

    def set_weights(self, theta: np.ndarray) -> None:
        """Assign the numbers of `theta` to the variables, in their order and shapes."""
        ends = np.cumsum([math.prod(variable.shape) for variable in self.variables])
        for variable, part in zip(self.variables, np.split(theta, ends[:-1]), strict=True):
            variable.assign(part.reshape(variable.shape).astype(variable.dtype))


def _flatten(tensors: Sequence[Any]) -> np.ndarray:
    """Return all numbers of `tensors` as one float64 vector."""
    return np.concatenate([to_numpy(tensor).ravel() for tensor in tensors]).astype("float64")
