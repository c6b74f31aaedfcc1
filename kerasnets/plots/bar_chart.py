"""Numbers as horizontal bars, to compare programs."""

from collections.abc import Collection, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import canvas
from .results import COLORS


def bars(
    groups: Mapping[str, Mapping[str, float]],
    *,
    marked: Collection[str] = (),
    xlabel: str | None = None,
    title: str | None = None,
    lang: str = "en",
    ax: Axes | None = None,
) -> Figure:
    """A bar for each name with its number at the end; one panel per group, each with its own scale.

    Args:
        groups: title of a panel → name → number ≥ 0, from top to bottom.
        marked: names whose bars are coloured; the others are light grey.
        xlabel: label of the numbers; default: seconds per epoch.
        title: what is shown, such as "ConvNeuralNetwork, mnist"; it is added above the picture.
        lang: language of the labels, ``"en"`` or ``"zh"``.
        ax: an Axes to draw on, or to replace with the panels if there are several groups.

    Raises:
        ValueError: there is no group, a group has no bars, or a number is negative, infinite or NaN.

    Examples:
        >>> figure = kerasnets.plots.bars({"accuracy": {"Net": 0.91, "Network": 0.88}}, marked=["Net"])
    """
    if not isinstance(groups, Mapping) or not all(isinstance(values, Mapping) for values in groups.values()):
        raise TypeError(f"groups={groups!r}: expected a dict of dicts from names to numbers.")
    if not groups or not all(groups.values()):
        raise ValueError(f"Expected at least one group, and a bar in each; got {dict(groups)!r}.")
    for group, values in groups.items():
        for name, value in values.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"Expected a finite number ≥ 0 for {name!r} in {group!r}; got {value!r}.")
    words = canvas.words(lang)
    most = max(map(len, groups.values()))
    figure, axes = canvas.panels(ax, 1, len(groups), (6.4 * len(groups), 1.2 + 0.34 * most))
    for panel, (group, values) in zip(axes, groups.items(), strict=True):
        names = canvas.replace_undrawable(list(values))
        colors = [COLORS[0] if name in marked else "#c8c8c8" for name in values]
        drawn = panel.barh(range(len(values)), list(values.values()), color=colors)
        panel.bar_label(drawn, [f"{value:#.3g}" for value in values.values()], padding=3, **canvas.text(fontsize=9))
        panel.set_yticks(range(len(names)), names, **canvas.text())
        panel.invert_yaxis()
        panel.margins(x=0.15)  # space for the numbers
        panel.set_title(canvas.replace_undrawable([group])[0], **canvas.text())
        panel.set_xlabel(xlabel or words["epoch_seconds"], **canvas.text())
        panel.spines[["top", "right"]].set_visible(False)
    canvas.add_title(axes[0].figure, title)
    return figure
