"""Pictures of networks: the layers and what flows between them, and the filters of one layer."""

import math
from collections import Counter
from typing import Any

import keras
import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from kerasnets._internal.arguments import check_integer

from . import canvas

# Sizes of the diagram in inches, and of its letters in points.
BOX, GAP, SIDE, LANE = 0.27, 0.19, 0.12, 0.22
FONT_SIZE = 9
LETTER = 0.602 * FONT_SIZE / 72  # DejaVu Sans Mono's letters are 0.602 of the font size wide


def architecture(model: Any, *, lang: str = "en", ax: Axes | None = None) -> Figure:
    """The layers of a model from top to bottom: name, class, output shape and number of parameters.

    Layers with parameters are shaded and have a thick frame. A layer that is called several times has a box for each
    call, and its parameters count in the first.

    Args:
        model: a built Functional or Sequential ``keras.Model``.
        lang: language of the labels, ``"en"`` or ``"zh"``.
        ax: an Axes to draw on.

    Raises:
        ValueError: the model has no graph, being neither Functional nor Sequential, or not built yet.
    """
    nodes = _nodes(model)
    words = canvas.words(lang)
    rows = _rows(nodes)
    cells = {}
    calls: Counter = Counter()
    for node in nodes:
        operation = node.operation
        calls[operation] += 1
        count = operation.count_params() if hasattr(operation, "count_params") else 0
        note = words["parameters"].format(count) if count else ""
        if calls[operation] > 1:
            note = words["shared"]
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in node.outputs)
        cells[node] = (*canvas.drawable([operation.name]), type(operation).__name__, shapes, note)

    # Chinese letters are about two of the others wide.
    widths = [max(sum(2 if c > "\u2e7f" else 1 for c in row[i]) for row in cells.values()) + 2 for i in range(4)]
    starts = np.cumsum([0, *widths[:-1]]) * LETTER + SIDE
    box_width = sum(widths) * LETTER + 2 * SIDE - 2 * LETTER
    columns = max(Counter(level for level, _ in rows.values()).values())
    levels = max(level for level, _ in rows.values()) + 1
    corner = {
        node: (
            (columns - 1) / 2 * (box_width + GAP) + place * (box_width + GAP),
            level * (BOX + GAP),
        )
        for node, (level, place) in rows.items()
    }
    edges = [(parent, node) for node in nodes for parent in _parents(node)]
    skips = [edge for edge in edges if rows[edge[1]][0] - rows[edge[0]][0] > 1]
    right = columns * (box_width + GAP) - GAP
    width, height = right + LANE * len(skips), levels * (BOX + GAP) - GAP

    figure, (ax,) = canvas.panels(ax, 1, 1, (width + 0.3, height + 0.55))
    ax.set(xlim=(-0.02, width + 0.02), ylim=(height + 0.02, -0.02), aspect="equal")
    ax.set_axis_off()
    extent = ax.get_window_extent()
    shrink = min(1, extent.width / ax.figure.figure.dpi / width, extent.height / ax.figure.figure.dpi / height)
    # On a figure of its own the letters have their full size; on an Axes of the caller's they shrink with the boxes.
    size = FONT_SIZE if isinstance(figure, canvas.Picture) else FONT_SIZE * shrink
    total = words["parameters"].format(model.count_params())
    ax.set_title(": ".join([*canvas.drawable([model.name]), total]), **canvas.text(fontsize=size * 11 / 9))
    style = canvas.text(fontsize=size, va="center_baseline")
    style["fontfamily"] = ["monospace", *style["fontfamily"]]
    for node, texts in cells.items():
        x, y = corner[node]
        heavy = bool(getattr(node.operation, "weights", None))
        ax.add_patch(
            FancyBboxPatch(
                (x, y),
                box_width,
                BOX,
                boxstyle="round,pad=0,rounding_size=0.05",
                facecolor="#dbe9f6" if heavy else "white",
                edgecolor="black",
                linewidth=1.6 if heavy else 0.8,
            )
        )
        for i, text in enumerate(texts):
            weight = "bold" if i == 0 else "normal"
            ax.text(x + starts[i], y + BOX / 2, text, color="black", weight=weight, **style)
    arrow = {
        "arrowstyle": "-|>",
        "mutation_scale": 9,
        "color": rcParams["text.color"],
        "shrinkA": 0,
        "shrinkB": 0,
        "zorder": 0.5,
    }
    for parent, node in edges:
        (x0, y0), (x1, y1) = corner[parent], corner[node]
        if (parent, node) in skips:
            # Around the boxes between, in a lane of its own at the right.
            lane = right + LANE * (skips.index((parent, node)) + 0.7)
            top, bottom = y0 + BOX / 2, y1 + BOX / 2
            way = Path([(x0 + box_width, top), (lane, top), (lane, bottom), (x1 + box_width, bottom)])
            ax.add_patch(FancyArrowPatch(path=way, fill=False, **arrow))
        else:
            middle = box_width / 2
            ax.add_patch(FancyArrowPatch((x0 + middle, y0 + BOX), (x1 + middle, y1), **arrow))
    return figure


def weights(
    model: Any, layer: str | None = None, *, n: int = 32, columns: int = 8, lang: str = "en", ax: Axes | None = None
) -> Figure:
    """The first `n` filters of a layer as images: black is the lowest weight, grey zero, white the highest.

    A unit of a dense layer is drawn as the image whose pixels it weighs, a filter of a convolution as its kernel (for
    its first input channel, where there are several). All share one scale.

    Args:
        model: a built ``keras.Model``.
        layer: the name of a dense or 2D-convolution layer; ``None``: the first such layer.
        n: how many filters; fewer where there are fewer.
        columns: filters in a row.
        lang: language of the title, ``"en"`` or ``"zh"``.
        ax: an Axes to put the grid in the place of.

    Raises:
        ValueError: no such layer, it has no kernel, a dense layer's inputs aren't the pixels of an image, or an option
            is below 1.
    """
    check_integer("n", n)
    check_integer("columns", columns)
    chosen = _layer_with_kernel(model, layer)
    kernel = canvas.as_array(chosen.kernel)
    if kernel.ndim == 4:
        filters = kernel[:, :, 0, :].transpose(2, 0, 1)
    else:
        filters = kernel.T.reshape(-1, *_image_shape(model, chosen.name, len(kernel)))
    shown = filters[:n]
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    words = canvas.words(lang)
    figure, axes = canvas.panels(ax, rows, columns, (max(columns + 1.0, 4.5), rows + 0.7))
    for cell in axes[len(shown) :]:
        cell.remove()
    axes = axes[: len(shown)]
    limit = float(np.abs(shown).max()) or 1.0
    for cell, picture in zip(axes, shown, strict=True):
        image = cell.imshow(picture, cmap="gray", vmin=-limit, vmax=limit)
        cell.set(xticks=[], yticks=[])
    bar = axes[0].figure.colorbar(image, ax=axes, shrink=0.9, aspect=max(8, 8 * rows), pad=0.02)
    bar.ax.tick_params(labelfontfamily=canvas.families())
    (name,) = canvas.drawable([chosen.name])
    title = words["filters"].format(n=len(shown), total=len(filters), name=name)
    axes[0].figure.suptitle(title, **canvas.text(fontsize=11))
    return figure


def _nodes(model: Any) -> list:
    """The calls of layers in the model's graph, as Keras's own ``summary`` finds them: there is no public way."""
    graph = getattr(model, "_functional", None) or model
    by_depth = getattr(graph, "_nodes_by_depth", None)  # the inputs lie deepest
    if not by_depth:
        raise ValueError(
            f"Expected a built Functional or Sequential model, whose layers form a known graph; got a "
            f"{type(model).__name__}. Give a Sequential model an Input, or call it once."
        )
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _parents(node: Any) -> list:
    """The calls whose outputs the call `node` takes, each once."""
    histories = [tensor._keras_history for tensor in node.input_tensors]
    return list(dict.fromkeys(h.operation._inbound_nodes[h.node_index] for h in histories if not node.is_input))


def _rows(nodes: list) -> dict[Any, tuple[int, float]]:
    """For each call its row (one below its lowest parent) and its place in it, in boxes from the middle."""
    level: dict[Any, int] = {}
    for node in nodes:  # parents come first
        level[node] = 1 + max((level[parent] for parent in _parents(node)), default=-1)
    places: dict[Any, tuple[int, float]] = {}
    for row in range(max(level.values()) + 1):
        members = [node for node in nodes if level[node] == row]
        # Below the parents, so that arrows cross little.
        members.sort(key=lambda node: np.mean([places[parent][1] for parent in _parents(node)] or [0]))
        for i, node in enumerate(members):
            places[node] = (row, i - (len(members) - 1) / 2)
    return places


def _layer_with_kernel(model: Any, name: str | None) -> Any:
    """The layer `name`, or the first layer that has a kernel of 2 or 4 axes."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, not {type(model).__name__}.")
    suitable = [layer for layer in model.layers if len(getattr(getattr(layer, "kernel", None), "shape", ())) in (2, 4)]
    names = ", ".join(repr(layer.name) for layer in suitable) or "none"
    if name is None and suitable:
        return suitable[0]
    for layer in suitable:
        if layer.name == name:
            return layer
    raise ValueError(f"No layer {name!r} with the kernel of a dense layer or 2D convolution; there are: {names}.")


def _image_shape(model: Any, name: str, pixels: int) -> tuple[int, int]:
    """Height and width of the images whose `pixels` a dense layer weighs: the model's inputs, or squares."""
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, tuple) and len(shape) == 3 and None not in shape[1:] and math.prod(shape[1:]) == pixels:
        return shape[1:]
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise ValueError(f"The {pixels} inputs of layer {name!r} are not the pixels of one of the model's images.")
    return side, side
