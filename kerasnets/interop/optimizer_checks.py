"""The numbers and settings of a PyTorch optimizer's state, compared with those of the optimizer here.

Every mismatch is a line in the list `problems`, so that the error can list them all.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kerasnets._internal.arguments import check_integer
from kerasnets._internal.arrays import cast, to_numbers, to_numpy
from kerasnets.interop.layer_weights import Entry
from kerasnets.interop.parameter_groups import trained_variables
from kerasnets.optimizers import Optimizer
from kerasnets.schedules import LRSchedule

#: Schedules count in int32, and so does Keras on JAX.
_MOST_STEPS = 2**31 - 1
#: Settings that files of older PyTorch versions lack.
_NEWER_SETTINGS = {"maximize", "decoupled_weight_decay"}


class Group(NamedTuple):
    """A parameter group: its index and settings in PyTorch, and the model's entries."""

    place: int
    settings: Mapping[str, Any]
    entries: list[Entry]


#: What PyTorch keeps for each parameter.
Kept = list[tuple[Entry, Mapping[str, Any]]]


def scheduled_setting(optimizer: Optimizer) -> str | None:
    """PyTorch's name of the setting that the schedule moves besides the learning rate: ``momentum`` or ``betas``."""
    if not optimizer.is_momentum_scheduled:
        return None
    return next(name for name, key in optimizer.torch_settings.items() if optimizer.cycled in (key, *key))


def _to_number(value: Any) -> float | None:
    """A number, or a tensor of one, as a float; None unless it is finite and ≥ 0."""
    try:
        array = to_numbers(value)
    except ValueError:
        return None
    return float(array.item()) if array.size == 1 and 0.0 <= array.item() < math.inf else None


def _to_count(name: str, value: Any, problems: list[str]) -> int | None:
    """A count as an int (PyTorch may keep it as a float); None, and a problem, if it is not a whole number ≥ 0."""
    number = _to_number(value)
    if number is None or number % 1:
        problems.append(f"{name} is {value!r}, expected a whole number ≥ 0")
        return None
    return int(number)


def count_steps(
    optimizer: Optimizer, kept: Kept, scheduler: Mapping | None, iterations: int | None, problems: list[str]
) -> int:
    """Return the number of optimizer steps, from whatever contains it; sources that disagree are a problem."""
    found = [_to_count(f"step of {entry.name}", state["step"], problems) for entry, state in kept if "step" in state]
    if iterations is not None:
        found.append(check_integer("iterations", iterations, 0))
    is_given = bool(found) or scheduler is not None  # even if only by a count that is already a problem
    counts = {count for count in found if count is not None}
    if len(counts) > 1:
        problems.append(f"the parameters have different numbers of steps: {sorted(counts)}")
    done = max(counts, default=None)
    if scheduler is not None:
        done = _compare_epoch(optimizer.schedule, scheduler, done, problems)
    updated = any(state for _, state in kept)
    if done is None and not optimizer.torch_counts_steps:
        # Without a schedule the number doesn't matter: dampening only needs to know if there was a first step.
        done = max(int(to_numpy(optimizer.iterations)), 1) if updated else 0
    elif updated and not is_given:
        problems.append("the state has no 'step', and neither `scheduler` nor `iterations` gives the number of steps")
    if done is not None and done > _MOST_STEPS:
        problems.append(f"{done} steps are more than the {_MOST_STEPS} that can be counted here")
        done = 0
    return done or 0


def _compare_epoch(
    schedule: LRSchedule | None, scheduler: Mapping, done: int | None, problems: list[str]
) -> int | None:
    """Return the number of steps according to the scheduler, or `done` after a comparison with its epoch."""
    if schedule is None or "last_epoch" not in scheduler:
        problems.append("a scheduler's state with 'last_epoch' needs a schedule of kerasnets.schedules here")
        return done
    epoch = _to_count("the scheduler's last_epoch", scheduler["last_epoch"], problems)
    if epoch is None:
        return done
    if done is None:
        return epoch * schedule.steps_per_epoch
    if done // schedule.steps_per_epoch != epoch:
        problems.append(
            f"the scheduler is at epoch {epoch}, but {done} steps are {done // schedule.steps_per_epoch} epochs of "
            f"steps_per_epoch={schedule.steps_per_epoch}"
        )
    return done


def compare_settings(optimizer: Optimizer, groups: list[Group], problems: list[str]) -> None:
    """Add a problem for each setting that PyTorch's groups lack or have another value of, except the learning rate."""
    ours, scheduled = optimizer.get_torch_settings(), scheduled_setting(optimizer)
    for group in groups:
        theirs = group.settings
        # Each of PyTorch's optimizers has settings of its own, so that their names identify it.
        if lacking := [name for name in ("lr", *ours) if name not in {*theirs, *_NEWER_SETTINGS}]:
            problems.append(
                f"param_groups[{group.place}] has no {', '.join(map(repr, lacking))}, so it is not the state of "
                f"PyTorch's {type(optimizer).__name__}"
            )
        trained = trained_variables(optimizer, group.entries)
        decays = sorted({float(optimizer.weight_decay_of(variable)) for variable in trained})
        for name in [name for name in ours if name in theirs and name != scheduled]:
            for value in decays if name == "weight_decay" and decays else [ours[name]]:
                if name == "decoupled_weight_decay" and not _to_number(theirs.get("weight_decay")):
                    continue  # the same rule
                if not _is_same(theirs[name], value):
                    hint = ": AdamW decouples it, Adam doesn't" if name == "decoupled_weight_decay" else ""
                    problems.append(f"{name} is {theirs[name]} in PyTorch and {value} here{hint}")


def _is_same(theirs: Any, ours: Any) -> bool:
    if theirs is None or isinstance(theirs, str):
        return bool(theirs == ours)
    try:
        given = to_numbers(theirs)
    except ValueError:
        return False
    return given.shape == np.shape(ours) and np.allclose(given, ours, rtol=1e-6, atol=0)


def find_rate(optimizer: Optimizer, groups: list[Group], done: int, problems: list[str]) -> float | None:
    """Return the learning rate to set; None if there is a schedule, whose rate is compared with PyTorch's."""
    wanted: set[float] = set()
    for group in groups:
        if "lr" not in group.settings:
            continue
        rate = _to_number(group.settings["lr"])
        if rate is None:
            problems.append(
                f"lr of param_groups[{group.place}] is {group.settings['lr']!r}, expected a finite number ≥ 0"
            )
            continue
        trained = trained_variables(optimizer, group.entries)
        for variable in {optimizer.group_of(variable): variable for variable in trained}.values():
            if (schedule := optimizer.schedule_of(variable)) is not None:
                _compare_scheduled_rate(optimizer, schedule, rate, done, problems)
                continue
            ratio = float(to_numpy(optimizer.learning_rate_of(variable, 1.0)))
            if ratio:
                wanted.add(rate / ratio)
            elif rate:
                problems.append(f"lr of param_groups[{group.place}] is {rate}, and here it is always 0")
    if wanted and max(wanted) - min(wanted) > 1e-6 * max(wanted):
        problems.append(f"the groups' learning rates are not in the ratio of param_groups here: {sorted(wanted)}")
    rate = max(wanted, default=None)
    if rate is not None:
        dtype = optimizer.learning_rate_source.dtype
        if not np.isfinite(cast(np.array(rate), dtype)):
            problems.append(f"the learning rate is {rate}, too large for {dtype}")
    return rate


def _compare_scheduled_rate(
    optimizer: Optimizer, schedule: LRSchedule, rate: float, done: int, problems: list[str]
) -> None:
    now = float(to_numpy(schedule(done)))
    if not np.isclose(rate, now, rtol=1e-5, atol=0):
        hint = (
            ""
            if optimizer.torch_counts_steps
            else f" (PyTorch's {type(optimizer).__name__} doesn't count steps: give `scheduler` or `iterations`)"
        )
        problems.append(
            f"the learning rate is {rate} in PyTorch, and the schedule here has {now} after {done} steps{hint}"
        )
