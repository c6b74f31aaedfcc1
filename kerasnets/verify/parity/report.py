"""The comparison's figures as rows of a table, and in docs/parity.md."""

import itertools
from pathlib import Path
from typing import Any

from kerasnets import backend as backends
from kerasnets._internal import atomic
from kerasnets.training import recipes
from kerasnets.verify.markdown import format_table
from kerasnets.verify.parity.case import OPTIMIZERS
from kerasnets.verify.parity.comparison import FREE_STEPS
from kerasnets.verify.parity.figure import EXACT, FACTOR, LEAST, Figure, nearness

_ADAM = "; Adam's weights: 10 noise floors if that is more"
#: Check and type of each table → its bound.
_BOUNDS = {
    ("one step", "float64"): f"bound {EXACT:.0e}{_ADAM}",
    ("running free", "float64"): f"{FREE_STEPS} steps, bound {EXACT:.0e}{_ADAM}",
    ("one step", "float32"): f"bound {FACTOR:.0f} noise floors, each at least {LEAST:.0f} roundings",
    ("running free", "float32"): "bound the noise floor plus 4 roundings or one test image",
}


def format_figure(figure: Figure) -> tuple[str, ...]:
    """A row for the console: training, quantity, difference, noise floor, bound, and whether the bound holds."""
    quantity = figure.quantity
    if figure.check == "running free":
        quantity = f"free: {quantity.removeprefix('test ')}"
    numbers = (f"{number:.1e}" for number in (figure.difference, figure.noise, figure.bound))
    return f"{figure.optimizer}, {figure.dtype}", quantity, *numbers, "NO" if figure.broken else "ok"


def write_figures(path: Path, results: list[dict[str, Any]]) -> None:
    """Write the figures between the marks of docs/parity.md.

    Args:
        path: the file.
        results: contents of the ``result.json`` files of ``experiments/parity.py``.

    Raises:
        ValueError: the file has no lines ``<!-- parity -->`` and ``<!-- /parity -->``.
    """
    figures: dict[str, list[Figure]] = {name: [] for name in backends.BACKENDS}
    for result in results:
        figures[result["backend"]] += [Figure(**figure) for figure in result["figures"]]
    every = [figure for found in figures.values() for figure in found]
    broken = sum(figure.broken for figure in every)
    lines = [
        "Each cell has the difference between kerasnets and PyTorch and, in brackets, the noise floor: the difference",
        "between PyTorch and PyTorch. Both are relative to the tensor's largest value; those of an accuracy are in",
        "percentage points. Of all outputs, losses, gradients, weights and buffers, it shows the one nearest to its",
        "bound.",
        "",
        f"{len(every)} figures, of which {broken or 'none'} {'breaks its' if broken == 1 else 'break their'} bound.",
    ]
    for (check, dtype), bound in _BOUNDS.items():
        lines += ["", f"## {check.capitalize()}, {dtype}: {bound}", ""]
        lines += format_table(("network, training", "torch", "JAX", "TensorFlow"), _rows(figures, check, dtype))
    atomic.replace_marked(path, "parity", [*lines, "", _describe_runs(results)])


def _rows(figures: dict[str, list[Figure]], check: str, dtype: str) -> list[tuple[str, ...]]:
    rows = []
    networks = dict.fromkeys(recipe.network for recipe in recipes.RECIPES)
    for network, optimizer in itertools.product(networks, OPTIMIZERS):
        row = (network, optimizer, dtype, check)
        found = [
            [f for f in of_backend if (f.network, f.optimizer, f.dtype, f.check) == row]
            for of_backend in figures.values()
        ]
        if any(found):
            cells = [_format_cell(max(f, key=nearness)) if f else "not measured" for f in found]
            rows.append((f"{network}, {optimizer}", *cells))
    return rows


def _format_cell(figure: Figure) -> str:
    digits = ".2f" if figure.quantity == "test accuracy" else ".0e"
    text = f"{figure.quantity.removeprefix('test ')} {figure.difference:{digits}} ({figure.noise:{digits}})"
    return f"{text}, **broken**" if figure.broken else text


def _describe_runs(results: list[dict[str, Any]]) -> str:
    machines = sorted({f"{result['machine']}, device {result['device']}" for result in results})
    versions = {name: version for result in results for name, version in result["versions"].items()}
    return (
        f"Machine: {'; '.join(machines)}. Seed {', '.join(sorted({str(result['seed']) for result in results}))}, "
        f"{', '.join(sorted({str(result['steps']) for result in results}))} steps. "
        f"Versions: {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}."
    )
