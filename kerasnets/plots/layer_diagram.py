"""The diagram of a network: its layers, their shapes, and the connections between them."""

from collections import Counter
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from . import canvas
from .graph import list_calls, list_parents, place_calls

# Sizes of the diagram in inches, and of its text in points.
BOX, GAP, SIDE, LANE = 0.27, 0.19, 0.12, 0.22
FONT_SIZE = 9
BETWEEN = 4  # characters between two columns of text
LETTER = 0.66 * FONT_SIZE / 72  # a character of DejaVu Sans Mono is 0.602 of the font size, rounded to whole pixels


def architecture(model: Any, *, lang: str = "en", ax: Axes | None = None) -> Figure:
    """The layers of a model from top to bottom: name, class, output shape and number of parameters.

    Layers with parameters are shaded and have a thick frame. A layer that is called several times has a box for each
    call, with its parameters in the first one.

    Args:
        model: a built Functional or Sequential ``keras.Model``.
        lang: language of the labels, ``"en"`` or ``"zh"``.
        ax: an Axes to draw on.

    Raises:
        ValueError: the model is neither Functional nor Sequential, or is not built.

    Examples:
        >>> figure = kerasnets.plots.architecture(kerasnets.build("Net"))
    """
    nodes = list_calls(model)
    words = canvas.words(lang)
    layout = _Layout(nodes, _describe_calls(nodes, words))
    figure, (ax,) = canvas.panels(ax, 1, 1, (layout.width + 0.3, layout.height + 0.65))
    ax.set(xlim=(-0.02, layout.width + 0.02), ylim=(layout.height + 0.02, -0.02), aspect="equal")
    ax.set_axis_off()
    # On a figure of its own the text has its full size; on the caller's Axes it shrinks with the boxes.
    size = FONT_SIZE * (1 if isinstance(figure, canvas.Picture) else _shrinkage(ax, layout))
    total = words["parameters"].format(model.count_params())
    ax.set_title(": ".join([*canvas.replace_undrawable([model.name]), total]), **canvas.text(fontsize=size * 11 / 9))
    _draw_boxes(ax, layout, size)
    _draw_arrows(ax, layout)
    return figure


def _describe_calls(nodes: list, words: dict[str, str]) -> dict[Any, tuple[str, ...]]:
    """For each call the texts in its box: name, class, output shapes, parameters."""
    cells: dict[Any, tuple[str, ...]] = {}
    calls: Counter = Counter()
    for node in nodes:
        operation = node.operation
        calls[operation] += 1
        count = operation.count_params() if hasattr(operation, "count_params") else 0
        note = words["parameters"].format(count) if count else ""
        if calls[operation] > 1:
            note = words["shared"]
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in node.outputs)
        cells[node] = (*canvas.replace_undrawable([operation.name]), type(operation).__name__, shapes, note)
    return cells


class _Layout:
    """The places of boxes and arrows, in inches from the top left.

    Attributes:
        cells: call → the texts in its box.
        starts: where the texts start in a box.
        box_width: width of a box.
        corners: call → top left corner of its box.
        edges: pairs of a call and one that takes its output.
        skips: those edges that pass a row, each in a lane of its own at the right.
        right: right end of the boxes.
        width, height: size of the diagram.
    """

    def __init__(self, nodes: list, cells: dict[Any, tuple[str, ...]]):
        self.cells = cells
        # Chinese characters are about twice as wide as others.
        columns = [[sum(2 if c > "\u2e7f" else 1 for c in row[i]) for row in cells.values()] for i in range(4)]
        widths = [max(column) + BETWEEN for column in columns]
        self.starts = np.cumsum([0, *widths[:-1]]) * LETTER + SIDE
        self.box_width = sum(widths) * LETTER + 2 * SIDE - BETWEEN * LETTER
        places = place_calls(nodes)
        in_a_row = max(Counter(row for row, _ in places.values()).values())
        rows = max(row for row, _ in places.values()) + 1
        step = self.box_width + GAP
        self.corners = {
            node: ((in_a_row - 1) / 2 * step + place * step, row * (BOX + GAP)) for node, (row, place) in places.items()
        }
        self.edges = [(parent, node) for node in nodes for parent in list_parents(node)]
        self.skips = [edge for edge in self.edges if places[edge[1]][0] - places[edge[0]][0] > 1]
        self.right = in_a_row * step - GAP
        self.width, self.height = self.right + LANE * len(self.skips), rows * (BOX + GAP) - GAP


def _shrinkage(ax: Axes, layout: _Layout) -> float:
    """How much smaller than its full size the diagram is on an Axes."""
    extent, dpi = ax.get_window_extent(), ax.figure.figure.dpi
    return min(1, extent.width / dpi / layout.width, extent.height / dpi / layout.height)


def _draw_boxes(ax: Axes, layout: _Layout, size: float) -> None:
    style = canvas.text(fontsize=size, va="center_baseline")
    style["fontfamily"] = ["monospace", *style["fontfamily"]]
    for node, texts in layout.cells.items():
        x, y = layout.corners[node]
        has_weights = bool(getattr(node.operation, "weights", None))
        ax.add_patch(
            FancyBboxPatch(
                (x, y),
                layout.box_width,
                BOX,
                boxstyle="round,pad=0,rounding_size=0.05",
                facecolor="#dbe9f6" if has_weights else "white",
                edgecolor="black",
                linewidth=1.6 if has_weights else 0.8,
            )
        )
        for i, text in enumerate(texts):
            weight = "bold" if i == 0 else "normal"
            ax.text(x + layout.starts[i], y + BOX / 2, text, color="black", weight=weight, **style)


def _draw_arrows(ax: Axes, layout: _Layout) -> None:
    arrow = {
        "arrowstyle": "-|>",
        "mutation_scale": 9,
        "color": rcParams["text.color"],
        "shrinkA": 0,
        "shrinkB": 0,
        "zorder": 0.5,
    }
    for parent, node in layout.edges:
        (x0, y0), (x1, y1) = layout.corners[parent], layout.corners[node]
        if (parent, node) in layout.skips:
            # Around the boxes between, in a lane of its own.
            lane = layout.right + LANE * (layout.skips.index((parent, node)) + 0.7)
            top, bottom = y0 + BOX / 2, y1 + BOX / 2
            corners = [(x0 + layout.box_width, top), (lane, top), (lane, bottom), (x1 + layout.box_width, bottom)]
            ax.add_patch(FancyArrowPatch(path=Path(corners), fill=False, **arrow))
        else:
            middle = layout.box_width / 2
            ax.add_patch(FancyArrowPatch((x0 + middle, y0 + BOX), (x1 + middle, y1), **arrow))
