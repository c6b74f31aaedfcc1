"""The picture of both sides' loss curves."""

from collections.abc import Mapping, Sequence

from kerasnets import plots
from kerasnets.plots import canvas


def plot_curves(curves: Mapping[str, Mapping[str, Sequence[float]]], *, title: str) -> canvas.Picture:
    """Both sides' loss curves, one panel for each of :attr:`Comparison.curves`, two in a row, under `title`."""
    columns = min(len(curves), 2)
    rows = -(-len(curves) // columns)
    figure = canvas.Picture(figsize=(6.5 * columns, 3.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for (name, losses), axes in zip(curves.items(), panels, strict=False):
        plots.learning_curves(losses, xlabel="step", ylabel="mean training loss so far", ax=axes)
        # The curves coincide: a thin line on top of a broad pale one shows both.
        for line, style in zip(axes.lines, ({"linewidth": 7.0, "alpha": 0.4}, {"linewidth": 1.5}), strict=True):
            line.set(marker="", **style)
        canvas.add_legend(axes)
        axes.set_title(name)
    for axes in panels:  # the panels left over
        axes.set_axis_off()
    canvas.add_title(figure, title)
    return figure
