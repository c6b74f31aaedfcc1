"""The picture of a report: the difference by layer, with PyTorch's noise shaded."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasnets.plots import canvas
from kerasnets.plots.results import COLORS
from kerasnets.verify.compare.finding import Figure

if TYPE_CHECKING:
    from kerasnets.verify.compare.report import Report

#: Smaller differences are drawn here: 0 has no logarithm.
_FLOOR = 1e-17
_PANELS = (
    ("outputs", "Outputs by layer, inference"),
    ("training mode", "Outputs by layer, training"),
    ("gradients", "Gradients"),
)


def plot_report(report: "Report", ax: Any = None) -> Any:
    """Draw the differences of outputs and gradients by layer on a logarithmic axis.

    Args:
        report: the report.
        ax: an Axes to replace with the panels; None for a new figure.

    Returns:
        The matplotlib Figure. Its points are the differences in float64 and float32. The band reaches up to ten noise
        floors of PyTorch in float32; circles are beyond the bounds.
    """
    panels = [(title, rows) for check, title in _PANELS if (rows := [f for f in report.figures if f.check == check])]
    panels = panels or [("Nothing was compared", [])]
    most = max(len(rows) for _, rows in panels)
    width = min(6.5 + 0.3 * most, 16.0)
    figure, axes = canvas.panels(ax, len(panels), 1, (width, 3.1 * len(panels)))
    for panel, (title, rows) in zip(axes, panels, strict=True):
        _draw(panel, rows)
        panel.set_title(title, **canvas.text(fontsize=10))
    verdict = "same as PyTorch" if report.same else str(report.first)
    lines = textwrap.wrap(f"{report.backend}: {verdict}", int(9 * width))
    axes[0].set_title("\n".join([*lines, "", panels[0][0]]), **canvas.text(fontsize=10))
    return figure


def _draw(panel: Any, rows: Sequence[Figure]) -> None:
    places = np.arange(len(rows))
    noise = np.array([10 * max(f.noise32 or 0.0, 5e-7) for f in rows])
    panel.fill_between(places, _FLOOR, noise, step="mid", color="#d8d8d8", label="PyTorch's noise, float32 (×10)")
    for dtype, marker, color in (("float64", "o", COLORS[0]), ("float32", "s", COLORS[1])):
        values = [getattr(f, dtype) for f in rows]
        drawn = [max(v, _FLOOR) if v is not None and np.isfinite(v) else np.nan for v in values]
        panel.plot(places, drawn, marker=marker, markersize=4, linewidth=1, color=color, label=dtype)
        wrong = [i for i, f in enumerate(rows) if f.differs and np.isfinite(drawn[i])]
        panel.scatter(wrong, [drawn[i] for i in wrong], s=90, facecolors="none", edgecolors="#c00000", linewidths=1.2)
    panel.set_yscale("log")
    panel.set_ylim(_FLOOR / 3, None)
    panel.set_xticks(places, [_shorten(f.name) for f in rows], rotation=90, **canvas.text(fontsize=7))
    panel.set_ylabel("relative difference", **canvas.text(fontsize=9))
    panel.spines[["top", "right"]].set_visible(False)
    if len(rows):
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)


def _shorten(name: str) -> str:
    return name if len(name) <= 24 else f"…{name[-23:]}"
