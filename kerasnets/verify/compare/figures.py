"""Every tensor's difference in both float types, beside PyTorch's noise floor."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerasnets.verify.compare.calls import Call
from kerasnets.verify.compare.finding import Figure
from kerasnets.verify.compare.forced import LOCAL, chain_of, nearest
from kerasnets.verify.compare.runs import TorchRun, Values
from kerasnets.verify.differences import relative_difference
from kerasnets.verify.parity.figure import EXACT, FACTOR, LEAST

#: Least relative differences that count; a gradient may turn at a ReLU whose input is a rounding away from 0.
_LEAST = {"gradients": 1e-3, "buffers": 1e-4}
#: Gradients this much smaller than the largest one are rounding noise, as that of a bias before a batch norm.
_SMALL = 1e-6


@dataclasses.dataclass
class Side:
    """What a free run of the port gave.

    Attributes:
        inference, training: where → value.
        loss: the loss.
        gradients: id of a variable → gradient.
        buffers: id of a variable → value after a step in training mode.
    """

    inference: Mapping[tuple[int, int], np.ndarray]
    training: Mapping[tuple[int, int], np.ndarray]
    loss: np.ndarray | None
    gradients: Mapping[int, np.ndarray]
    buffers: Mapping[int, np.ndarray]


def make_figures(
    run64: TorchRun,
    run32: TorchRun,
    ported64: Any,
    ported32: Any,
    side64: Side,
    side32: Side,
    noise: Mapping[str, Sequence[Values]],
) -> list[Figure]:
    """The figures of outputs, training mode, loss, gradients and buffers.

    Args:
        run64: PyTorch's run in float64.
        run32: PyTorch's run in float32.
        ported64: the copy of the port in float64.
        ported32: the copy in float32.
        side64: the run of the copy in float64.
        side32: the run of the copy in float32.
        noise: float type → values of PyTorch's other ways to compute the same.
    """
    both = [_measure(r, p, s) for r, p, s in ((run64, ported64, side64), (run32, ported32, side32))]
    floors = [_floors(r, noise[d]) for r, d in ((run64, "float64"), (run32, "float32"))]
    found = []
    for (check, key, name), difference in both[0].items():
        single = both[1].get((check, key, name))
        floor = floors[0].get((check, key), 0.0), floors[1].get((check, key), 0.0)
        found.append(Figure(check, name, difference, single, *floor, _differs(check, difference, single, *floor)))
    return found


def _differs(check: str, double: float, single: float | None, noise64: float, noise32: float) -> bool:
    """Whether both types are beyond their bounds; NaN is."""
    if double <= max(EXACT, FACTOR * noise64) or double <= _LEAST.get(check, LOCAL):
        return False
    bound = FACTOR * max(noise32, LEAST * float(np.finfo("float32").eps))
    return single is None or not single <= max(bound, _LEAST.get(check, LOCAL))


def _measure(run: TorchRun, ported: Any, side: Side) -> dict[tuple[str, str, str], float]:
    """(check, key, name) → difference."""
    found: dict[tuple[str, str, str], float] = {}
    modes: tuple[tuple[str, list[Call], Mapping], ...] = (
        ("outputs", run.calls, side.inference),
        ("training mode", run.training_calls, side.training),
    )
    for check, calls, values in modes:
        if not values:
            continue
        for pair in ported.match.pairs:
            value = calls[pair.torch].value if pair.torch < len(calls) else None
            if value is not None and calls[pair.torch].name == run.calls[pair.torch].name:
                name = calls[pair.torch].name or "module"
                own = values[chain_of(ported.calls, pair.keras)[-1], 0]
                both_ways = calls[pair.torch].settings.get("directions") == 2
                found[check, f"{pair.torch}", name] = nearest(value, own, both_ways=both_ways)[1]
        for name, place in ported.outputs.items():
            found[check, name, name] = nearest(run.values[check][name], values[place])[1]
    if side.loss is not None:
        loss = run.values["loss"]["loss"]
        found["loss", "loss", "loss"] = relative_difference(np.asarray(side.loss), loss)
    largest = max((float(np.abs(g).max()) for g in run.values["gradients"].values()), default=0.0)
    for link in ported.links:
        key, theirs = id(link.variable), run.values["buffers" if link.is_buffer else "gradients"]
        changed = side.buffers.get(key) if link.is_buffer else side.gradients.get(key)
        if changed is None or any(name not in theirs for name in link.names):
            continue
        try:
            expected = link.gradient(theirs)
        except ValueError:
            continue
        scale = max(float(np.abs(expected).max()), 0.0 if link.is_buffer else _SMALL * largest * 1e2)
        check = "buffers" if link.is_buffer else "gradients"
        name = f"{link.names[0]} ({link.variable.name})" if "in_proj" in link.names[0] else link.names[0]
        found[check, link.names[0], name] = relative_difference(changed, expected, scale)
    return found


def _floors(run: TorchRun, others: Sequence[Values]) -> dict[tuple[str, str], float]:
    """(check, key) → PyTorch's largest difference from itself."""
    return {
        (check, name): max(
            (relative_difference(other[check][name], value) for other in others if name in other[check]), default=0.0
        )
        for check, values in run.values.items()
        for name, value in values.items()
    }
