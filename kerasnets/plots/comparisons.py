"""What trainings with different settings reached."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import canvas
from .results import COLORS, MARKERS

#: More values than this are points on an axis of numbers.
MOST_VALUES = 8
#: More lines than this have no legend, and one colour.
MOST_LINES = 6
#: What repeats a training, and is not compared.
_REPEATS = ("seed",)


def comparison(
    settings: Sequence[Mapping[str, Any]],
    accuracies: Sequence[float],
    *,
    title: str | None = None,
    lang: str = "en",
    ax: Axes | None = None,
) -> Figure:
    """The accuracy against each setting that differs between trainings, one panel each.

    A line joins trainings that differ in the panel's setting only: a marker is their mean over seeds, and a bar their
    range. Up to six lines have a legend. A setting with many numbers, as from a search, has a point per training.

    Args:
        settings: the settings of each training, by name.
        accuracies: their accuracies in percent.
        title: what is shown, such as "ConvNeuralNetwork, mnist"; it is added above the picture.
        lang: language of the labels, ``"en"`` or ``"zh"``.
        ax: an Axes to draw on, or to replace with the panels if there are several.

    Raises:
        ValueError: there are no trainings, or the lengths differ.

    Examples:
        >>> settings = [{"learning_rate": 0.1, "seed": 0}, {"learning_rate": 0.01, "seed": 0}]
        >>> figure = kerasnets.plots.comparison(settings, [85.0, 87.0])
    """
    if not settings or len(settings) != len(accuracies):
        raise ValueError(
            f"Expected as many settings as accuracies, and at least one; got {len(settings)} and {len(accuracies)}."
        )
    words = canvas.words(lang)
    names = [name for name in _names_of(settings) if name not in _REPEATS and len(_values_of(settings, name)) > 1]
    names = names or [name for name in _names_of(settings) if len(_values_of(settings, name)) > 1]
    names = names or _names_of(settings)[:1]
    figure, axes = canvas.panels(ax, 1, max(len(names), 1), (max(4.4, 3.4 * len(names)), 3.8), sharey=True)
    for panel, name in itertools.zip_longest(axes, names):
        panel.tick_params(labelfontfamily=canvas.families())
        panel.grid(alpha=0.4)
        if name is None:  # one training without settings
            panel.plot([0], list(accuracies), MARKERS[0], color=COLORS[0])
            continue
        panel.set_xlabel(*canvas.replace_undrawable([words.get(f"setting_{name}", name)]), **canvas.text())
        if len(_values_of(settings, name)) > MOST_VALUES:
            _draw_points(panel, [setting.get(name) for setting in settings], accuracies)
        else:
            _draw_lines(panel, name, settings, accuracies, words)
    axes[0].set_ylabel(words["test_accuracy_percent"], **canvas.text())
    canvas.add_title(axes[0].figure, title)
    return figure


def _names_of(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(itertools.chain(*settings)))


def _values_of(settings: Sequence[Mapping[str, Any]], name: str) -> list:
    """The values of a setting: numbers in their order, others in the order of the trainings."""
    values: list[Any] = []
    for setting in settings:
        if setting.get(name) not in values:
            values.append(setting.get(name))
    return sorted(values) if all(_is_number(value) for value in values) else values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _draw_points(panel: Axes, values: Sequence[Any], accuracies: Sequence[float]) -> None:
    if all(_is_number(value) for value in values):
        if min(values) > 0 and max(values) >= 20 * min(values):
            panel.set_xscale("log")
        panel.plot(values, accuracies, MARKERS[0], color=COLORS[0], alpha=0.7)
        return
    names = list(dict.fromkeys(map(str, values)))
    panel.plot([names.index(str(value)) for value in values], accuracies, MARKERS[0], color=COLORS[0], alpha=0.7)
    panel.set_xticks(range(len(names)), canvas.replace_undrawable(names), **canvas.text(rotation=45, ha="right"))


def _draw_lines(
    panel: Axes, name: str, settings: Sequence[Mapping[str, Any]], accuracies: Sequence[float], words: Mapping[str, str]
) -> None:
    values = _values_of(settings, name)
    varied = [key for key in _names_of(settings) if key not in _REPEATS and len(_values_of(settings, key)) > 1]
    groups: dict[str, dict[int, list[float]]] = {}
    for setting, accuracy in zip(settings, accuracies, strict=True):
        others = {key: setting.get(key) for key in varied if key != name}
        group = groups.setdefault(", ".join(f"{key}={value}" for key, value in others.items()), {})
        group.setdefault(values.index(setting.get(name)), []).append(accuracy)
    lines = {others: group for others, group in groups.items() if len(group) > 1} or groups
    many = len(lines) > MOST_LINES
    for index, (label, group) in enumerate(lines.items()):
        places = sorted(group)
        means = np.array([np.mean(group[place]) for place in places])
        reach = [means - [min(group[p]) for p in places], [max(group[p]) for p in places] - means]
        look = 0 if many else index
        panel.errorbar(
            places, means, yerr=reach, capsize=3, color=COLORS[look], marker=MARKERS[look], alpha=0.5 if many else 1.0,
            label=canvas.replace_undrawable([label])[0],
        )  # fmt: skip
    if 1 < len(lines) <= MOST_LINES:
        canvas.add_legend(panel)
    panel.set_xlim(-0.4, len(values) - 0.6)
    shown = canvas.replace_undrawable([words["none"] if value is None else value for value in values])
    slant = {"rotation": 20, "ha": "right"} if max(map(len, shown)) > 8 else {}
    panel.set_xticks(range(len(values)), shown, **canvas.text(**slant))
