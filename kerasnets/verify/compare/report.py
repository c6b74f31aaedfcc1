"""The report of a comparison: as text, as a picture and as JSON."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasnets._internal import atomic
from kerasnets._internal.arguments import check_path
from kerasnets.verify.compare.finding import CHECKS, Figure, Finding

#: Figures of one check that the text shows.
_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of :func:`kerasnets.compare`.

    Attributes:
        backend: Keras's backend.
        findings: one per cause, the first difference first.
        figures: how far each tensor is from PyTorch's, beside PyTorch's noise floor.
        matches: for each matched layer PyTorch's name, Keras's name, its kind, and what it was matched by.
        notes: what is not a difference but good to know.
        learning_rates: PyTorch's and Keras's rates by step; None without an optimizer.
        weights_loaded: whether the model came with the module's weights.
        seconds: how long it took.

    Examples:
        >>> import torch
        >>> module = torch.nn.Sequential(torch.nn.Linear(4, 2))
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu")])
        >>> x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
        >>> report = kerasnets.compare(module, model, x)
        >>> report.same, len(report.findings) > 0
        (False, True)
    """

    backend: str
    findings: tuple[Finding, ...]
    figures: tuple[Figure, ...]
    matches: tuple[tuple[str, str, str, str], ...]
    notes: tuple[str, ...] = ()
    learning_rates: tuple[list[float], list[float]] | None = None
    weights_loaded: bool = False
    seconds: float = 0.0

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """The first difference; None if nothing differs."""
        return self.findings[0] if self.findings else None

    def __str__(self) -> str:
        """The report as text."""
        return self.text()

    def text(self, matches: bool = True) -> str:
        """The report as text.

        Args:
            matches: also list which layer was matched with which module.
        """
        lines = [f"kerasnets.compare on {self.backend}: {self._verdict()}"]
        lines += [f"  {i}. [{f.check}] {f}{_location(f)}" for i, f in enumerate(self.findings, 1)]
        lines += [f"  note: {note}" for note in self.notes]
        if matches:
            lines += ["", "Matched layers (PyTorch, Keras, by)"]
            lines += _columns([(a, b, f"{kind}, by {by}") for a, b, kind, by in self.matches])
        lines += ["", "Differences, relative to each tensor's largest value (PyTorch's noise floor in brackets)"]
        for check in CHECKS:
            rows = [figure for figure in self.figures if figure.check == check]
            if rows:
                lines += [
                    "",
                    f"{check.capitalize()}: {len(rows)} compared, {sum(f.differs for f in rows)} beyond the noise",
                ]
                lines += _columns([_row(f) for f in _select(rows)])
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.same:
            return "the same as PyTorch, within its noise."
        count = len(self.findings)
        return f"{count} difference{'s' * (count > 1)} from PyTorch. The first is where to begin:"

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON: infinite differences are ``None``."""
        data = dataclasses.asdict(self)
        data["same"] = self.same
        for row in (*data["findings"], *data["figures"]):
            row.update({k: None for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)})
        return data

    def save_json(self, path: str | Path) -> None:
        """Write the report as JSON, as an atomic file write.

        Raises:
            TypeError: `path` is not the path of a file.
        """
        with atomic.replaced(check_path("path", path)) as unfinished:
            unfinished.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    def plot(self, ax: Any = None) -> Any:
        """Draw the difference by layer; see ``kerasnets/verify/compare/picture.py``."""
        from kerasnets.verify.compare.picture import plot_report

        return plot_report(self, ax)


def _location(finding: Finding) -> str:
    parts = [f"PyTorch's {finding.torch_name}"] * bool(finding.torch_name)
    if finding.difference is not None and math.isfinite(finding.difference):
        parts.append(f"difference {finding.difference:.1e}")
    return f" ({', '.join(parts)})" if parts else ""


def _select(rows: Sequence[Figure]) -> Sequence[Figure]:
    """All rows if there are few; otherwise those that differ first, then the largest."""
    if len(rows) <= _SHOWN:
        return rows
    worst = sorted(rows, key=lambda f: (not f.differs, -max(f.float64 or 0.0, f.float32 or 0.0)))[:_SHOWN]
    return [row for row in rows if row in worst]


def _row(figure: Figure) -> tuple[str, ...]:
    cells = []
    for name, value, noise in (
        ("float64", figure.float64, figure.noise64),
        ("float32", figure.float32, figure.noise32),
    ):
        if value is not None:
            cells.append(f"{name} {value:.0e}" + (f" ({noise:.0e})" if noise is not None else ""))
    return (figure.name, *cells, "differs" if figure.differs else "ok")


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    count = max((len(row) for row in rows), default=0)
    padded = [(*row[:-1], *[""] * (count - len(row)), row[-1]) for row in rows]
    widths = [max(len(row[i]) for row in padded) for i in range(count)]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in padded]
