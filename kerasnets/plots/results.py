"""Pictures of results: confusion matrices and learning curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kerasnets._internal.arrays import to_numpy

from . import canvas

#: With more classes the cells are too small for numbers.
MOST_NUMBERED_CLASSES = 30
# Okabe and Ito's colours for colour-blind readers, with grey for black; the markers differ for prints in grey.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#777777", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")


def confusion_matrix(
    labels: Any,
    predicted: Any,
    *,
    class_names: Sequence[str] | None = None,
    normalize: bool = True,
    title: str | None = None,
    lang: str = "en",
    ax: Axes | None = None,
) -> Figure:
    """How often images of each class (row) were predicted to be of each class (column).

    Args:
        labels: the true class ids (n,).
        predicted: the predicted class ids (n,), or scores (n, classes).
        class_names: names by class id; their number is the number of classes.
        normalize: divide each row by its sum, so that the diagonal has the recall of each class; False shows counts.
            The cells of a class without images show a dash.
        title: what is shown, such as "ConvNeuralNetwork, mnist"; it is added above the picture.
        lang: language of the labels, ``"en"`` or ``"zh"``.
        ax: an Axes to draw on.

    Raises:
        ValueError: the lengths differ, there are no images, or a class id has no name.

    Examples:
        >>> figure = kerasnets.plots.confusion_matrix([0, 1, 1], [0, 1, 0], class_names=["cat", "dog"])
    """
    scores = to_numpy(predicted)
    labels = canvas.as_classes(labels, "labels")
    predicted = canvas.as_classes(scores, "predicted", len(labels))
    if not len(labels):
        raise ValueError("Expected at least one image; `labels` and `predicted` are empty.")
    classes = int(max(labels.max(), predicted.max())) + 1
    if scores.ndim == 2:
        classes = max(classes, scores.shape[1])
    names = canvas.names_of(class_names, classes)
    words = canvas.words(lang)

    matrix = np.zeros((len(names), len(names)), dtype="int64")
    np.add.at(matrix, (labels, predicted), 1)
    rows = matrix.sum(axis=1, keepdims=True)
    shown = matrix / np.maximum(rows, 1) if normalize else matrix

    side = min(2.2 + 0.55 * len(names), 20)
    figure, (ax,) = canvas.panels(ax, 1, 1, (max(side, 4.2) + 0.8, max(side, 4.2)))
    image = ax.imshow(shown, cmap="Blues", vmin=0, vmax=1 if normalize else max(shown.max(), 1))
    ax.figure.colorbar(image, ax=ax, shrink=0.85)
    ax.set_title(words["normalized_confusion_matrix" if normalize else "confusion_matrix"], **canvas.text())
    ax.set_xlabel(words["predicted_label"], **canvas.text())
    ax.set_ylabel(words["true_label"], **canvas.text())
    slant = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 2 else {}
    ax.set_xticks(range(len(names)), names, **canvas.text(**slant))
    ax.set_yticks(range(len(names)), names, **canvas.text())
    if len(names) <= MOST_NUMBERED_CLASSES:
        for (row, column), value in np.ndenumerate(shown):
            number = ("–" if rows[row] == 0 else f"{value:.2f}") if normalize else str(value)
            color = _ink(image.cmap(image.norm(value)))
            ax.text(column, row, number, ha="center", va="center", color=color, **canvas.text(fontsize=9))
    canvas.add_title(ax.figure, title)
    return figure


def learning_curves(
    histories: Any,
    *,
    xlabel: str | None = None,
    ylabel: str | None = None,
    validation: str | None = None,
    title: str | None = None,
    lang: str = "en",
    ax: Axes | None = None,
) -> Figure:
    """Loss, accuracy and other numbers by epoch, one panel each; validation is dashed.

    Args:
        histories: one or several trainings: the result of ``model.fit``; its ``.history``, a dict of lists with a
            ``"loss"``; or a dict from names to any of these or to lists of one number per epoch.
        xlabel: label of the horizontal axis, which starts at 1; default: epochs.
        ylabel: label for lists of numbers; default: loss.
        validation: what to call the ``"val_…"`` numbers; default: validation.
        title: what is shown, such as "ConvNeuralNetwork, mnist"; it is added above the picture.
        lang: language of the labels, ``"en"`` or ``"zh"``.
        ax: an Axes to draw on, or to replace with the panels if there are several.

    Raises:
        TypeError: `histories` is something else.
        ValueError: there are no curves, or a curve has no values.

    Examples:
        >>> figure = kerasnets.plots.learning_curves({"loss": [0.9, 0.5], "val_loss": [0.8, 0.6]})
    """
    words = canvas.words(lang)
    curves = _curves(histories)
    quantities = list(dict.fromkeys(quantity for _, quantity, _, _ in curves))
    names = list(dict.fromkeys(name for name, *_ in curves))
    labels = dict(zip(names, canvas.replace_undrawable(names), strict=True))
    word_of = {"loss": words["loss"], "accuracy": words["accuracy"], None: ylabel or words["loss"]}

    held_out_too = {name for name, _, held_out, _ in curves if held_out}
    has_legend = bool(names[0]) or bool(held_out_too)
    size = max(6.0, 4.6 * len(quantities)) + 1.6 * has_legend
    figure, axes = canvas.panels(ax, 1, len(quantities), (size, 4.0))
    (held_out_name,) = canvas.replace_undrawable([validation or words["validation"]])
    for panel, quantity in zip(axes, quantities, strict=True):
        for name, _, held_out, values in (curve for curve in curves if curve[1] == quantity):
            part = held_out_name if held_out else words["training"]
            label = f"{labels[name]}, {part}" if name and name in held_out_too else labels[name] or part
            _draw_curve(panel, values, label, names.index(name), held_out)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panel.tick_params(labelfontfamily=canvas.families())
        panel.set_xlabel(*canvas.replace_undrawable([xlabel or words["epoch"]]), **canvas.text())
        panel.set_ylabel(*canvas.replace_undrawable([word_of.get(quantity, quantity)]), **canvas.text())
        panel.grid(alpha=0.4)
    if has_legend:
        # The panels share their curves' names and looks.
        by_label = {str(line.get_label()): line for panel in axes for line in panel.lines}
        canvas.add_legend(axes[-1], by_label.values())
    canvas.add_title(axes[0].figure, title)
    return figure


def _draw_curve(panel: Axes, values: np.ndarray, label: str, index: int, held_out: bool) -> None:
    """Draw numbers by epoch in the colour and with the marker of training `index`, dashed if `held_out`."""
    panel.plot(
        np.arange(1, len(values) + 1),
        values,
        label=label,
        color=COLORS[index % len(COLORS)],
        marker=MARKERS[index % len(MARKERS)],
        markevery=max(1, len(values) // 15),
        linestyle="--" if held_out else "-",
        markerfacecolor="white" if held_out else None,
    )


def _curves(histories: Any) -> list[tuple[str, str | None, bool, np.ndarray]]:
    """Every curve as (name of the training, quantity, whether it is for validation data, values)."""
    trainings = getattr(histories, "history", histories)
    if not isinstance(trainings, Mapping):
        raise TypeError(
            f"Expected what fit returned, or a dict from names to histories or lists; got {type(histories).__name__}."
        )
    if "loss" in trainings:
        trainings = {"": trainings}
    curves = []
    for name, training in trainings.items():
        training = getattr(training, "history", training)
        by_key = training if isinstance(training, Mapping) else {None: training}
        for key, values in by_key.items():
            values = to_numpy(values)
            what = " ".join(repr(part) for part in (name, key) if part)
            if values.ndim != 1 or values.dtype.kind not in "iuf" or not values.size:
                raise ValueError(
                    f"Expected a list of one number per epoch for {what}; got {values.dtype} of shape {values.shape}."
                )
            held_out = key is not None and key.startswith("val_")
            curves.append((str(name), key.removeprefix("val_") if key else None, held_out, values))
    if not curves:
        raise ValueError("Expected at least one history; got none.")
    return curves


def _ink(rgba: Any) -> str:
    """Black or white, whichever has more contrast with the colour `rgba` (at least 4.5 to 1, by WCAG's formula)."""
    rgb = np.asarray(rgba[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return "white" if luminance < 0.179 else "black"
