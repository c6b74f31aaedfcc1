"""The diagrams of "Working with neural networks": a neuron, a network of layers, the effect of the learning rate."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

from kerasnets._internal.arguments import check_integer, check_number, check_sizes

from . import canvas

WORDS = {
    "en": {
        "activation": "activation",
        "hidden": "hidden {}",
        "input": "input",
        "inputs": "inputs",
        "loss": "loss θ²/2",
        "neuron": "A neuron",
        "output": "output",
        "output_layer": "output",
        "right": "γ = {:g}: about right",
        "sum": "sum",
        "too_large": "γ = {:g}: too large",
        "too_small": "γ = {:g}: too small",
        "weights": "weights",
    },
    "zh": {
        "activation": "激活函数",
        "hidden": "隐藏层 {}",
        "input": "输入层",
        "inputs": "输入",
        "loss": "损失 θ²/2",
        "neuron": "神经元",
        "output": "输出",
        "output_layer": "输出层",
        "right": "γ = {:g}：合适",
        "sum": "加权求和",
        "too_large": "γ = {:g}：过大",
        "too_small": "γ = {:g}：过小",
        "weights": "权重",
    },
}

UNIT, CONSTANT = "#dbe9f6", "white"
#: A layer with more units is drawn as its first ones, three dots, and its last ones.
MOST_UNITS = 8


def neuron(inputs: int = 3, *, activation: str = "f", lang: str = "en", ax: Axes | None = None) -> Figure:
    """A single neuron: inputs times weights, plus the bias, through the activation function: y = f(Σᵢ wᵢ·xᵢ + b).

    The bias is drawn as the weight b of a constant input 1.

    Args:
        inputs: number of inputs, 1 to 8.
        activation: text in the circle of the activation.
        lang: language of the labels, ``"en"`` or ``"zh"``.
        ax: an Axes to draw on.

    Raises:
        ValueError: there are fewer than 1 or more than 8 inputs.

    Examples:
        >>> figure = kerasnets.plots.neuron(inputs=3)
    """
    if check_integer("inputs", inputs) > MOST_UNITS:
        raise ValueError(f"Invalid inputs: {inputs}; expected at most {MOST_UNITS}.")
    words = _words(canvas.words(lang))
    (activation,) = canvas.replace_undrawable([activation])
    figure, (ax,) = canvas.panels(ax, 1, 1, (6.4, 1.4 + 0.62 * (inputs + 1)))
    rows = np.arange(inputs, -1, -1) - inputs / 2
    total, through, end = (2.2, 0.0), (3.6, 0.0), 4.8
    for i, y in enumerate(rows, start=1):
        bias = i > inputs
        symbol, weight = ("1", "b") if bias else (f"x{_low(i)}", f"w{_low(i)}")
        _circle(ax, (0, y), 0.28, symbol, CONSTANT)
        _arrow(ax, _rim(total, (0, y), 0.28), _rim((0, y), total, 0.4))
        # On the arrow, where the arrows are still apart.
        ax.text(
            0.95,
            y * (1 - 0.95 / total[0]),
            weight,
            bbox={"facecolor": rcParams["axes.facecolor"], "edgecolor": "none", "pad": 1.5},
            **_style(),
        )
    _circle(ax, total, 0.4, "Σ", UNIT, size=16)
    _circle(ax, through, 0.4, activation, UNIT)
    _arrow(ax, (total[0] + 0.4, 0), (through[0] - 0.4, 0))
    _arrow(ax, (through[0] + 0.4, 0), (end, 0))
    ax.text(end + 0.15, 0, "y", **_style())
    for x, y, word in (
        (0, rows[0] + 0.5, "inputs"),
        (0.95, rows[0] + 0.5, "weights"),
        (through[0], 0.7, "activation"),
        (end + 0.15, 0.7, "output"),
    ):
        ax.text(x, y, words[word], **_style(9))
    # To the right of the arrows, which end at the left if there are many inputs.
    ax.text(total[0] - 0.05, 0.7, words["sum"], **{**_style(9), "ha": "left"})
    ax.set_title(f"{words['neuron']}: y = {activation}(Σᵢ wᵢ·xᵢ + b)", **canvas.text(fontsize=11))
    ax.set(xlim=(-0.5, end + 0.55), ylim=(rows[-1] - 0.4, max(rows[0], 0.5) + 0.7), aspect="equal")
    ax.set_axis_off()
    return figure


def layered_network(
    sizes: Sequence[int],
    *,
    names: Sequence[str] | None = None,
    most: int = MOST_UNITS,
    lang: str = "en",
    ax: Axes | None = None,
) -> Figure:
    """A fully connected network: a column of circles per layer, a line for each weight between two drawn units.

    Args:
        sizes: units of at least two layers, from input to output; ``(784, 256, 128, 10)`` is FashionNetwork.
        names: names of the layers; default: input, hidden 1, …, output.
        most: number of units to draw per layer; of larger layers, the first and last ones with three dots between.
        lang: language of the names, ``"en"`` or ``"zh"``.
        ax: an Axes to draw on.

    Raises:
        ValueError: a size is not a positive whole number, there are fewer than two layers, the number of names differs,
            or `most` is below 2.

    Examples:
        >>> figure = kerasnets.plots.layered_network([784, 128, 64, 10])
    """
    sizes = check_sizes("sizes", sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes={sizes!r}: expected at least two layers.")
    if names is not None and len(names) != len(sizes):
        raise ValueError(f"{len(names)} names for {len(sizes)} layers: expected one per layer.")
    check_integer("most", most, 2)
    words = _words(canvas.words(lang))
    if names is None:
        hidden = [words["hidden"].format(i) for i in range(1, len(sizes) - 1)]
        names = [words["input"], *hidden, words["output_layer"]]
    columns = [_column(units, most) for units in sizes]
    height = max(column.max() for column in columns)
    apart = 2.4

    figure, (ax,) = canvas.panels(ax, 1, 1, (1.6 * len(sizes) + 0.4, 0.9 * height + 1.5))
    ends = [
        ((i * apart, a), ((i + 1) * apart, b))
        for i, (left, right) in enumerate(pairwise(columns))
        for a in left
        for b in right
    ]
    ax.add_collection(LineCollection(ends, colors="#777777", linewidths=0.6, zorder=1))
    for i, (units, column, name) in enumerate(zip(sizes, columns, canvas.replace_undrawable(names), strict=True)):
        for y in column:
            _circle(ax, (i * apart, y), 0.3, "", CONSTANT if i == 0 else UNIT)
        if units > len(column):
            upper = _upper(most)
            middle = (column[upper - 1] + column[upper]) / 2
            for y in (-0.25, 0.0, 0.25):
                ax.add_patch(Circle((i * apart, middle + y), 0.06, color=rcParams["text.color"], zorder=2))
        ax.text(i * apart, height + 0.75, name, **_style(10))
        ax.text(i * apart, -height - 0.75, f"{units:,}", **_style(10))
    ax.set(xlim=(-0.9, (len(sizes) - 1) * apart + 0.9), ylim=(-height - 1.1, height + 1.1), aspect="equal")
    ax.set_axis_off()
    return figure


def gradient_descent(
    rates: Sequence[float] = (0.05, 0.6, 2.1), *, steps: int = 8, lang: str = "en", ax: Axes | None = None
) -> Figure:
    """The effect of the learning rate γ: gradient descent on the loss θ²/2, θ ← θ − γ·θ, one panel per rate.

    A rate is about right if the last distance from the minimum is at most a tenth of the first. Otherwise it is too
    small below 1, the rate that arrives in one step, and too large above.

    Args:
        rates: learning rates, > 0.
        steps: number of steps, from θ = −1.
        lang: language of the labels, ``"en"`` or ``"zh"``.
        ax: an Axes to draw on, or to replace with the panels if there are several rates.

    Raises:
        ValueError: there are no rates or no steps, or a rate is not above 0.

    Examples:
        >>> figure = kerasnets.plots.gradient_descent((0.1, 0.9))
    """
    rates = [check_number("learning_rate", rate, above=True) for rate in rates]
    if not rates:
        raise ValueError("Expected at least one learning rate; got none.")
    check_integer("steps", steps, most=10_000)
    words = _words(canvas.words(lang))
    figure, axes = canvas.panels(ax, 1, len(rates), (3.0 * len(rates) + 0.4, 3.0))
    for panel, rate in zip(axes, rates, strict=True):
        theta = -((1 - rate) ** np.arange(steps + 1))
        limit = 1.25 * np.abs(theta).max()
        curve = np.linspace(-limit, limit, 201)
        panel.plot(curve, curve**2 / 2, color="#777777", linewidth=1.5)
        panel.plot(theta, theta**2 / 2, color="#d55e00", marker="o", markersize=5, linewidth=1.2)
        panel.plot(theta[0], theta[0] ** 2 / 2, color="#0072b2", marker="s", markersize=8)  # the start
        verdict = "right" if abs(theta[-1]) <= 0.1 else "too_small" if rate < 1 else "too_large"
        panel.set_title(words[verdict].format(rate), **canvas.text(fontsize=11))
        panel.set_xlabel("θ", **canvas.text())
        panel.set_ylabel(words["loss"], **canvas.text())
        panel.tick_params(labelfontfamily=canvas.families())
        panel.grid(alpha=0.4)
    return figure


def _words(shared: dict[str, str]) -> dict[str, str]:
    """The labels of the diagrams in the language that :func:`canvas.words` chose."""
    return WORDS["zh" if shared is canvas.WORDS["zh"] else "en"]


def _low(number: int) -> str:
    """A digit as a subscript."""
    return chr(ord("₀") + number)


def _style(size: float = 12) -> dict:
    return canvas.text(fontsize=size, ha="center", va="center", zorder=3)


def _circle(ax: Axes, center: tuple[float, float], radius: float, label: str, color: str, size: float = 12) -> None:
    ax.add_patch(Circle(center, radius, facecolor=color, edgecolor="black", linewidth=1.2, zorder=2))
    if label:
        ax.text(*center, label, color="black", **_style(size))


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 11, "shrinkA": 0, "shrinkB": 0, "zorder": 1.5}
    ax.add_patch(FancyArrowPatch(start, end, color=rcParams["text.color"], **style))


def _rim(start: tuple[float, float], center: tuple[float, float], radius: float) -> tuple[float, float]:
    """The point where the line from `start` meets the circle around `center`."""
    way = np.subtract(center, start)
    return tuple(np.subtract(center, radius * way / np.linalg.norm(way)))


def _column(units: int, most: int) -> np.ndarray:
    """The heights (n,) of the drawn units of a layer, from the top; two rows stay empty if some are left out."""
    if units <= most:
        return (units - 1) / 2 - np.arange(units)
    heights = (most + 1) / 2 - np.arange(most + 2)
    return np.delete(heights, [_upper(most), _upper(most) + 1])


def _upper(most: int) -> int:
    """How many of `most` drawn units are above the dots."""
    return (most + 1) // 2
