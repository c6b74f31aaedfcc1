"""The learning rates of 50 steps of the schedule: where they part, and why."""

import copy
import warnings
from typing import Any

import keras
import numpy as np

from kerasnets._internal import keras_private
from kerasnets._internal.arrays import to_numpy
from kerasnets.verify.compare.finding import Figure, Finding, write_number
from kerasnets.verify.compare.port import Port
from kerasnets.verify.parity.figure import FACTOR

#: Scheduler steps to compare.
STEPS = 50
#: Largest relative difference of two rates, where PyTorch's noise is smaller; float32 has seven digits.
BOUND = 2e-5


def compare_rates(port: Port) -> tuple[list[Figure], list[Finding], tuple[list[float], list[float]] | None]:
    """Compare the rates; returns figures, findings and the rates of both sides."""
    if port.optimizers is None:
        return [], [], None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch: the scheduler steps before the optimizer
        expected = original_rates(port, STEPS)
        others = [original_rates(port, STEPS, towards) for towards in (-np.inf, np.inf)]
    actual = port_rates(port, len(expected))
    a, b = np.array(expected), np.array(actual)
    scale = np.maximum(np.abs(a), 1e-3 * (np.abs(a).max() or 1.0))
    noise = max(float((np.abs(a - np.array(other)) / scale).max()) for other in others)
    off = ~(np.abs(a - b) <= max(BOUND, FACTOR * noise) * scale)
    difference = float((np.abs(a - b) / scale).max())
    figure = Figure("learning rate", f"{len(a)} steps", difference, None, noise, None, bool(off.any()))
    if not off.any():
        return [figure], [], (expected, actual)
    first = int(np.argmax(off))
    cause, known = _name_cause(a, b, port.steps_per_epoch)
    text = f"{cause}: at step {first} it is {write_number(actual[first])}, PyTorch's is {write_number(expected[first])}"
    mend = _mend(port, cause)
    name = type(port.scheduler[0]).__name__ if port.scheduler else "constant"
    finding = Finding("learning rate", "learning rate", text, mend, name, difference, known=known)
    return [figure], [finding], (expected, actual)


def original_rates(port: Port, count: int, towards: float | None = None) -> list[float]:
    """PyTorch's learning rates of the first `count` scheduler steps, or of as many as there are.

    Args:
        port: what is compared.
        count: number of steps.
        towards: move the rates that the schedule starts from by one rounding in this direction, for the noise floor.
    """
    assert port.optimizers is not None
    optimizer, scheduler = copy.deepcopy((port.optimizers[0], port.scheduler[0] if port.scheduler else None))
    if scheduler is not None:
        optimizer = scheduler.optimizer
    if towards is not None:
        for group in optimizer.param_groups:
            group.update({k: np.nextafter(v, towards).item() for k, v in group.items() if _is_rate(k, v)})
        for name in ("base_lrs", "max_lrs"):
            if rates := getattr(scheduler, name, None):
                setattr(scheduler, name, [np.nextafter(rate, towards).item() for rate in rates])
    if scheduler is None:
        return [float(optimizer.param_groups[0]["lr"])] * count
    found = []
    for _ in range(count):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        try:
            scheduler.step()
        except ValueError:  # OneCycleLR, after its last step
            break
    return found


def _is_rate(key: str, value: Any) -> bool:
    return key.endswith("lr") and isinstance(value, float)


def port_rates(port: Port, count: int) -> list[float]:
    """Keras's learning rates at the same steps."""
    assert port.optimizers is not None
    own = port.optimizers[1]
    function = port.scheduler[1] if port.scheduler else None
    source = keras_private.learning_rate_of(own) if function is None else function
    if isinstance(source, keras.optimizers.schedules.LearningRateSchedule):
        return [float(to_numpy(source(step * port.steps_per_epoch))) for step in range(count)]
    rate = float(to_numpy(own.learning_rate))
    return [rate if function is None else _call_rate(function, epoch, rate) for epoch in range(count)]


def _call_rate(function: Any, epoch: int, rate: float) -> float:
    try:
        return float(function(epoch))
    except TypeError:  # as keras.callbacks.LearningRateScheduler calls it
        return float(function(epoch, rate))


def _name_cause(a: np.ndarray, b: np.ndarray, every: int) -> tuple[str, bool]:
    def same(x: np.ndarray, y: np.ndarray) -> bool:
        return len(x) > 3 and np.allclose(x, y, rtol=1e-4, atol=1e-6 * np.abs(a).max()) and np.ptp(x) > 0

    for shift in (1, 2):
        if same(a[shift:], b[:-shift]):
            return f"the schedule is {shift} step{'s' * (shift > 1)} early (off by {_word(shift)})", True
        if same(a[:-shift], b[shift:]):
            return f"the schedule is {shift} step{'s' * (shift > 1)} late (off by {_word(shift)})", True
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return "the learning rate differs", True
    if np.ptp(b) == 0:
        return "the learning rate is constant, PyTorch's follows a schedule", True
    if np.ptp(a) == 0:
        return "the learning rate follows a schedule, PyTorch's is constant", True
    with np.errstate(all="ignore"):
        ratio = b / a
    if np.isfinite(ratio).all() and np.ptp(ratio) < 1e-4 * abs(ratio[0]):
        return f"the base learning rate is {write_number(float(ratio[0]))} times PyTorch's", True
    for factor in range(2, len(a) // 2):
        if same(a[::factor][: len(b) // factor], b[: len(a[::factor])][: len(b) // factor]):
            return f"the schedule is {factor} times as fast as PyTorch's", True
        if same(b[::factor][: len(a) // factor], a[: len(b[::factor])][: len(a) // factor]):
            return f"the schedule is {factor} times as slow as PyTorch's", True
    drops_a, drops_b = (np.count_nonzero(np.abs(np.diff(x)) > 1e-9 * np.abs(a).max()) for x in (a, b))
    if drops_a < len(a) // 2 <= drops_b:
        return "the schedule is smooth, PyTorch's is a staircase", True
    if drops_b < len(a) // 2 <= drops_a:
        return "the schedule is a staircase, PyTorch's is smooth", True
    return _compare_drops(a, b)


def _word(number: int) -> str:
    return {1: "one", 2: "two"}[number]


def _compare_drops(a: np.ndarray, b: np.ndarray) -> tuple[str, bool]:
    """Where the rate changes, and by how much."""
    places_a, places_b = (np.flatnonzero(np.abs(np.diff(x)) > 1e-6 * np.abs(x[:-1]).max()) + 1 for x in (a, b))
    if len(places_a) and len(places_b) and places_a[0] == places_b[0]:
        p = places_a[0]
        x, y = a[p] / a[p - 1], b[p] / b[p - 1]
        if abs(x - y) > 1e-4:
            return (
                f"the factor of a drop (gamma) is {write_number(float(y))}, PyTorch's is {write_number(float(x))}",
                True,
            )
        if len(places_a) < len(a) // 2:
            return f"the drops are at steps {places_b[:4].tolist()}, PyTorch's at {places_a[:4].tolist()}", True
    if len(places_a) and len(places_b) and max(len(places_a), len(places_b)) < len(a) // 2:
        return f"the first drop is at step {places_b[0]}, PyTorch's at {places_a[0]}", True
    if abs(a[0] - b[0]) > 1e-4 * abs(a[0]):
        return "the schedule starts from another learning rate", True
    return "the schedule has another shape", True


def _mend(port: Port, cause: str) -> str:
    from kerasnets import schedules

    assert port.optimizers is not None
    theirs = port.optimizers[0]
    if port.scheduler is None:
        return f"learning_rate={write_number(float(theirs.param_groups[0]['lr']))}"
    scheduler = port.scheduler[0]
    name = type(scheduler).__name__
    if name not in schedules.__all__:
        return f"write PyTorch's {name}"
    given = []
    if name != "OneCycleLR" and getattr(scheduler, "base_lrs", None):
        given.append(write_number(float(scheduler.base_lrs[0])))
    for key in (
        "step_size",
        "milestones",
        "gamma",
        "T_max",
        "eta_min",
        "start_factor",
        "end_factor",
        "total_iters",
        "factor",
        "power",
        "T_0",
    ):
        value = getattr(scheduler, key, None)
        if value is not None:
            shown = sorted(value.elements()) if hasattr(value, "elements") else value
            given.append(f"{key}={write_number(shown)}")
    if name == "CyclicLR":
        up = round(scheduler.total_size * scheduler.step_ratio)
        given += [f"max_lr={write_number(float(scheduler.max_lrs[0]))}", f"step_size_up={up}"]
        given += [f"step_size_down={round(scheduler.total_size) - up}", f"mode={scheduler.mode!r}"]
    if port.steps_per_epoch > 1:
        given.append(f"steps_per_epoch={port.steps_per_epoch}")
    return f"use kerasnets.schedules.{name}({', '.join(given)})"
