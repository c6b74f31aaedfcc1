"""Pictures of activation functions and their derivatives, computed by the active backend."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerasnets._internal.arguments import check_integer, check_known
from kerasnets._internal.arrays import to_numpy

from . import canvas

#: PyTorch's default slope of leaky ReLU below 0; Keras has another default.
NEGATIVE_SLOPE = 0.01

#: A slope that can be told from 0 in the picture, drawn beside the true one.
VISIBLE_SLOPE = 0.2

NAMES = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "ReLU", "leaky_relu": "Leaky ReLU", "softmax": "Softmax"}


def activation(
    function: str | Callable[[Any], Any], *, points: int = 201, lang: str = "en", ax: Axes | None = None
) -> Figure:
    """An activation function and its derivative for x from -10 to 10.

    Softmax is computed over all points as one vector. Its derivative is that of each yᵢ with respect to its own xᵢ, the
    diagonal of the Jacobian.

    Args:
        function: ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` (slope 0.01) or ``"softmax"``, with
            derivatives in closed form; or a function of a tensor of shape (points,) that returns one of the same
            shape, such as ``keras.activations.gelu``, with derivatives from central differences.
        points: number of values of x; 0 is one of them if it is odd.
        lang: language of the labels, ``"en"`` or ``"zh"``.
        ax: an Axes to draw on.

    Raises:
        ValueError: the name is unknown, there are fewer than 2 points, or the function changes the shape.

    Examples:
        >>> figure = kerasnets.plots.activation("leaky_relu")
    """
    if isinstance(function, str):
        check_known("activation", function, NAMES)
    if not isinstance(function, str) and not callable(function):
        raise TypeError(f"function={function!r}: expected a name or a function.")
    check_integer("points", points, 2, most=100_000)
    words = canvas.words(lang)
    x = np.linspace(-10, 10, points, dtype="float32")
    if callable(function):
        name = getattr(function, "__name__", type(function).__name__)
        y, slope = _values(function, x), _central_differences(function, x)
    else:
        name = NAMES[function]
        y, slope = (to_numpy(values) for values in _closed_form(function, x))

    (name,) = canvas.replace_undrawable([name])
    figure, (ax,) = canvas.panels(ax, 1, 1, (6.0, 4.0))
    every = max(1, points // 12)
    ax.plot(x, y, label=f"{name}(x)", color="#0072b2", linewidth=2, marker="o", markevery=every, markersize=5)
    derivative = words["derivative"] + (" ∂yᵢ/∂xᵢ" if function == "softmax" else "")
    # A jump at 0 is drawn as one, not as a slope to the next point.
    jumps = {"drawstyle": "steps-pre"} if function in ("relu", "leaky_relu") else {}
    ax.plot(x, slope, label=derivative, color="#d55e00", linestyle="--", linewidth=2, **jumps)
    if function == "leaky_relu":
        visible = np.where(x > 0, x, VISIBLE_SLOPE * x)
        label = words["slope"].format(VISIBLE_SLOPE)
        ax.plot(x, visible, label=label, color="#666666", linestyle=":", linewidth=2, zorder=1)
    ax.set_title(words["function"].format(name), **canvas.text())
    ax.set_xlabel("x", **canvas.text())
    ax.set_ylabel(f"{name}(x)", **canvas.text())
    ax.tick_params(labelfontfamily=canvas.families())
    ax.grid(alpha=0.4)
    ax.legend(prop={"family": canvas.families()})
    return figure


def _closed_form(name: str, x: np.ndarray) -> tuple[Any, Any]:
    """Values and derivative of an activation at `x`, as tensors of the active backend."""
    from keras import ops

    x = ops.convert_to_tensor(x)
    if name == "sigmoid":
        y = ops.sigmoid(x)
        return y, y * (1 - y)
    if name == "tanh":
        y = ops.tanh(x)
        return y, 1 - y * y
    if name == "relu":
        return ops.relu(x), ops.where(x > 0, 1.0, 0.0)
    if name == "leaky_relu":
        return ops.leaky_relu(x, negative_slope=NEGATIVE_SLOPE), ops.where(x > 0, 1.0, NEGATIVE_SLOPE)
    y = ops.softmax(x)
    return y, y * (1 - y)


def _values(function: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    from keras import ops

    y = to_numpy(function(ops.convert_to_tensor(x)))
    if y.shape != x.shape:
        raise ValueError(f"Expected the function to keep the shape {x.shape}; it gave {y.shape}.")
    return y


def _central_differences(function: Callable[[Any], Any], x: np.ndarray, step: float = 0.01) -> np.ndarray:
    """dyᵢ/dxᵢ from a pair of calls for each xᵢ, which gives the diagonal for a function of the whole vector."""
    slopes = []
    for i in range(len(x)):
        above, below = x.copy(), x.copy()
        above[i] += step
        below[i] -= step
        # Divided by the actual step in float32.
        slopes.append((_values(function, above)[i] - _values(function, below)[i]) / (above[i] - below[i]))
    return np.array(slopes)
