"""Pictures of images: a grid, a grid with predictions, and one image beside its class probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerasnets._internal.arguments import check_integer
from kerasnets._internal.arrays import to_numpy

from . import canvas

#: Longer titles over the images of a grid are broken into two lines.
TITLE_WIDTH = 24
#: The inches that a title of this length needs at font size 9; over narrower images the font is smaller.
IMAGE_WIDTH = 2.2
WRONG = "#b2182b"


def show_images(
    images: Any,
    labels: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    n: int = 10,
    columns: int = 5,
    title: str | None = None,
    lang: str = "en",
    ax: Axes | None = None,
) -> Figure:
    """The first `n` images in a grid, with their labels as titles.

    Args:
        images: (m, height, width), (m, height, width, 3) in colour, or with a channel axis of size 1; all on one scale
            from the smallest value to the largest.
        labels: class ids (m,).
        class_names: names by class id; default: the ids.
        n: number of images, or all if there are fewer.
        columns: images per row.
        title: what is shown, such as "ConvNeuralNetwork, mnist"; it is added above the picture.
        lang: language of the labels, ``"en"`` or ``"zh"``.
        ax: an Axes to replace with the grid.

    Raises:
        ValueError: a shape, a length, a class id or an option is invalid.

    Examples:
        >>> (x, y), _ = kerasnets.load_data("fashion_mnist_sample")
        >>> figure = kerasnets.plots.show_images(x, y, class_names=kerasnets.data.class_names(), n=5)
    """
    images = canvas.as_images(images)
    titles = None
    if labels is not None:
        labels = canvas.as_classes(labels, "labels", len(images))
        names = canvas.names_of(class_names, labels.max() + 1)
        word = canvas.words(lang)["label"]
        titles = [names[i] if class_names is not None else word.format(names[i]) for i in labels[: max(n, 0)]]
    figure, axes = _grid(images, titles, n, columns, ax)
    canvas.add_title(axes[0].figure, title)
    return figure


def predictions(
    images: Any,
    labels: Any,
    predicted: Any,
    *,
    class_names: Sequence[str] | None = None,
    n: int = 10,
    columns: int = 5,
    title: str | None = None,
    lang: str = "en",
    ax: Axes | None = None,
) -> Figure:
    """The first `n` images, titled "Predicted: … (Label: …)"; wrong predictions have a ✗, a bold title and a frame.

    Args:
        images: (m, height, width), (m, height, width, 3) in colour, or with a channel axis of size 1.
        labels: the true class ids (m,).
        predicted: the predicted class ids (m,), or scores (m, classes): logits, log-probabilities or probabilities.
        class_names: names by class id; default: the ids.
        n: number of images, or all if there are fewer.
        columns: images per row.
        title: what is shown, such as "ConvNeuralNetwork, mnist"; it is added above the picture.
        lang: language of the titles, ``"en"`` or ``"zh"``.
        ax: an Axes to replace with the grid.

    Raises:
        ValueError: a shape, a length, a class id or an option is invalid.

    Examples:
        >>> (_, _), (x, y) = kerasnets.load_data("fashion_mnist_sample")
        >>> figure = kerasnets.plots.predictions(x[:5], y[:5], [9, 2, 1, 1, 0])
    """
    images = canvas.as_images(images)
    labels = canvas.as_classes(labels, "labels", len(images))
    predicted = canvas.as_classes(predicted, "predicted", len(images))
    names = canvas.names_of(class_names, max(labels.max(), predicted.max()) + 1)
    words = canvas.words(lang)
    titles = [
        words["predicted"].format(names[p], names[t])
        for p, t in zip(predicted[: max(n, 0)], labels[: max(n, 0)], strict=True)
    ]
    if max(map(len, titles), default=0) > TITLE_WIDTH:
        titles = [title.replace(" (", "\n(").replace("（", "\n（") for title in titles]
    wrong = predicted != labels
    titles = [f"✗ {title}" if bad else title for title, bad in zip(titles, wrong, strict=False)]
    figure, axes = _grid(images, titles, n, columns, ax)
    axes[0].figure.suptitle(words["predictions"], **canvas.text())
    canvas.add_title(axes[0].figure, title)
    for cell, bad in zip(axes, wrong, strict=False):
        if bad:
            cell.title.set(fontweight="bold", color=WRONG)
            for spine in cell.spines.values():
                spine.set(visible=True, linewidth=4, color=WRONG)
    return figure


def view_classify(
    image: Any,
    probabilities: Any,
    *,
    label: int | None = None,
    class_names: Sequence[str] | None = None,
    title: str | None = None,
    lang: str = "en",
    ax: Axes | None = None,
) -> Figure:
    """An image beside the probabilities of the classes as horizontal bars; the most probable class is filled.

    Args:
        image: (height, width), (height, width, 3) in colour, or with axes of size 1 around it.
        probabilities: (classes,) or (1, classes); not logits or log-probabilities.
        label: the true class, which is named above the image and printed bold; None if it isn't known.
        class_names: names by class id; default: the ids.
        title: what is shown, such as "ConvNeuralNetwork, mnist"; it is added above the picture.
        lang: language of the labels, ``"en"`` or ``"zh"``.
        ax: an Axes to replace with the two panels.

    Raises:
        ValueError: a shape is invalid, or a probability is outside [0, 1].

    Examples:
        >>> model = kerasnets.build("Network2", seed=0)
        >>> (x, y), _ = kerasnets.load_data("fashion_mnist_sample")
        >>> figure = kerasnets.plots.view_classify(x[0], model.predict(x[:1], verbose=0)[0], label=y[0])
    """
    picture = canvas.as_image(image)
    given = to_numpy(probabilities)
    values = given.reshape(-1).astype("float64")
    if values.size != max(given.shape, default=0) or values.size == 0:
        raise ValueError(f"Expected the probabilities of one image, of shape (classes,); got shape {given.shape}.")
    if not (np.all(values >= 0) and np.all(values <= 1 + 1e-5)):
        raise ValueError(
            f"Expected probabilities between 0 and 1; got values from {values.min():.4g} to {values.max():.4g}. "
            "Apply softmax to logits, or exp to log-probabilities, first."
        )
    names = canvas.names_of(class_names, len(values))[: len(values)]
    if class_names is not None and len(class_names) != len(values):
        raise ValueError(f"Expected {len(values)} names in `class_names`, one per probability; got {len(class_names)}.")
    if label is not None:
        label = check_integer("label", label, 0, most=len(values) - 1)
    words = canvas.words(lang)

    height = max(3.0, 0.26 * len(values) + 0.8)
    figure, (left, right) = canvas.panels(ax, 1, 2, (7.0, height), width_ratios=(1, 1.2))
    canvas.draw_image(left, picture, picture.min(), picture.max())
    left.set_axis_off()
    colors = ["#1f4e8c" if i == values.argmax() else "white" for i in range(len(values))]
    bars = right.barh(range(len(values)), values, color=colors, edgecolor="black", linewidth=0.8)
    right.bar_label(bars, fmt="{:.2f}", padding=3, **canvas.text(fontsize=8))
    right.set_yticks(range(len(values)), names, **canvas.text())
    right.invert_yaxis()
    right.set_xlim(0, 1.12)  # space for the number beside a full bar
    right.set_xticks(np.linspace(0, 1, 6))
    right.spines["bottom"].set_bounds(0, 1)
    if label is not None:
        left.set_title(words["label"].format(names[label]), **canvas.text())
        right.get_yticklabels()[label].set_fontweight("bold")
    right.set_title(words["class_probability"], **canvas.text())
    right.spines[["top", "right"]].set_visible(False)
    canvas.add_title(left.figure, title)
    return figure


def _grid(images: np.ndarray, titles: list[str] | None, n: int, columns: int, ax: Axes | None) -> tuple[Figure, list]:
    """The first `n` of `images` with `titles`, and the Axes of each."""
    check_integer("n", n)
    check_integer("columns", columns)
    images = images[:n]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    lines = max((title.count("\n") + 1 for title in titles), default=0) if titles else 0
    size = (max(IMAGE_WIDTH * columns, 3.0), rows * (1.9 + 0.2 * lines) + 0.4)
    figure, axes = canvas.panels(ax, rows, columns, size)
    for cell in axes[len(images) :]:
        cell.remove()
    low, high = images.min(), images.max()
    parent = axes[0].figure
    font_size = min(9, 9 * parent.bbox.width / parent.figure.dpi / columns / IMAGE_WIDTH)
    for i, cell in enumerate(axes[: len(images)]):
        canvas.draw_image(cell, images[i], low, high)
        cell.set(xticks=[], yticks=[])
        cell.spines[:].set_visible(False)
        if titles:
            cell.set_title(titles[i], **canvas.text(fontsize=font_size))
    return figure, axes[: len(images)]
