"""The filters of a layer as images."""

import math
from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from kerasnets._internal.arguments import check_integer
from kerasnets._internal.arrays import to_numpy

from . import canvas


def weights(
    model: Any,
    layer: str | None = None,
    *,
    n: int = 32,
    columns: int = 8,
    title: str | None = None,
    lang: str = "en",
    ax: Axes | None = None,
) -> Figure:
    """The first `n` filters of a layer as images: negative weights are black, zero is grey, positive ones are white.

    For a dense layer each image shows a unit's weights for the pixels of the input; for a convolution it shows a
    filter's kernel (for the first input channel, if there are several). All have the same scale. In the first layer of
    a network of colour images, red, green and blue are the weights for these colours.

    Args:
        model: a built ``keras.Model``.
        layer: name of a dense or 2D convolution layer; default: the first one.
        n: number of filters, or all if there are fewer.
        columns: filters per row.
        title: what is shown, such as "ConvNeuralNetwork, mnist"; it is added above the picture.
        lang: language of the title, ``"en"`` or ``"zh"``.
        ax: an Axes to replace with the grid.

    Raises:
        ValueError: the layer doesn't exist or has no kernel, the inputs of a dense layer aren't the pixels of an image,
            or an option is below 1.

    Examples:
        >>> figure = kerasnets.plots.weights(kerasnets.build("Net"), title="Net, not trained")
    """
    check_integer("n", n)
    check_integer("columns", columns)
    chosen = _layer_with_kernel(model, layer)
    kernel = to_numpy(chosen.kernel)
    takes_colours = _takes_colours(model) and chosen is _layer_with_kernel(model, None)
    if kernel.ndim == 4:
        filters = np.moveaxis(kernel, -1, 0) if takes_colours else kernel[:, :, 0, :].transpose(2, 0, 1)
    else:
        filters = kernel.T.reshape(-1, *_image_shape(model, chosen.name, len(kernel), takes_colours))
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
        canvas.draw_image(cell, picture, -limit, limit)
        cell.set(xticks=[], yticks=[])
    scale = ScalarMappable(Normalize(-limit, limit), "gray")
    bar = axes[0].figure.colorbar(scale, ax=axes, shrink=0.9, aspect=max(8, 8 * rows), pad=0.02)
    bar.ax.tick_params(labelfontfamily=canvas.families())
    (name,) = canvas.replace_undrawable([chosen.name])
    what = "filters" if kernel.ndim == 4 else "unit_weights"
    shows = words[what if len(shown) < len(filters) else f"all_{what}"]
    shows = shows.format(n=len(shown), total=len(filters), name=name)
    axes[0].figure.suptitle(shows, **canvas.text(fontsize=11))
    canvas.add_title(axes[0].figure, title)
    return figure


def _layer_with_kernel(model: Any, name: str | None) -> Any:
    """The layer called `name`, or the first layer whose kernel has 2 or 4 axes."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, not {type(model).__name__}.")
    suitable = [layer for layer in model.layers if len(getattr(getattr(layer, "kernel", None), "shape", ())) in (2, 4)]
    names = ", ".join(repr(layer.name) for layer in suitable) or "none"
    if name is None and suitable:
        return suitable[0]
    for layer in suitable:
        if layer.name == name:
            return layer
    raise ValueError(f"No layer {name!r} with the kernel of a dense layer or 2D convolution; these have one: {names}.")


def _takes_colours(model: Any) -> bool:
    """Whether the model's images have red, green and blue, as the last or the first axis."""
    shape = getattr(model, "input_shape", None)
    return isinstance(shape, tuple) and len(shape) == 4 and 3 in (shape[1], shape[3])


def _image_shape(model: Any, name: str, pixels: int, takes_colours: bool) -> tuple[int, ...]:
    """The shape of the images behind a dense layer's inputs: those of the model, or else square grey ones."""
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, tuple) and None not in shape[1:] and math.prod(shape[1:]) == pixels:
        if takes_colours:  # Flatten has the channels last
            return shape[1:] if shape[3] == 3 else (*shape[2:], 3)
        if len(shape) == 3:
            return shape[1:]
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise ValueError(f"The {pixels} inputs of layer {name!r} are not the pixels of one of the model's images.")
    return side, side
