"""Optimizer state between a Keras model and its PyTorch original: moments, steps, rates, the scheduler's epoch.

A training that PyTorch began continues here, on any backend, with the same next step, and the other way round. The
optimizers themselves state what their PyTorch namesakes keep (see :class:`kerasnets.optimizers.Optimizer`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasnets import optimizers, schedules
from kerasnets._internal.arrays import to_numpy, to_tensor
from kerasnets.interop.layer_weights import Entry
from kerasnets.interop.optimizer_checks import Group, Kept, compare_settings, count_steps, find_rate, scheduled_setting
from kerasnets.interop.parameter_groups import Names, find_groups, trained_variables
from kerasnets.interop.weights import entries, kind_of

# --- To PyTorch -------------------------------------------------------------------------------------------------------


def optimizer_state_dict(model: keras.Model, names: Names | None = None) -> dict[str, Any]:
    """Return the state of the compiled optimizer in the form of ``torch.optim.Optimizer.state_dict``.

    Args:
        model: a built model, compiled with an optimizer of :mod:`kerasnets.optimizers`.
        names: the original's parameters in its order, ``[name for name, _ in original.named_parameters()]`` (PyTorch's
            optimizers number them); or a list of such lists, one per parameter group of PyTorch's optimizer. Parameters
            that are not trained may be left out if PyTorch's optimizer was made without them. The default is all of
            them in the order of :func:`state_dict`, which is right if the original registers its modules in the order
            in which it calls them.

    Returns:
        ``{"state": …, "param_groups": …}`` with PyTorch tensors: moments, steps, the current learning rate and the
        optimizer's settings.

    Raises:
        ValueError: the model is not built or not compiled, `names` are not the model's parameters or contain one twice,
            or the parameters of a group have different learning rates or weight decays here.
        TypeError: `model` is not a Keras model, `names` are not strings, or the optimizer's rule is not one of
            ``torch.optim``.

    Examples:
        >>> model = kerasnets.models.Sequential([keras.Input((2,)), kerasnets.layers.Linear(1, name="fc")])
        >>> model.compile(kerasnets.optimizers.SGD(0.1, momentum=0.9), kerasnets.losses.MSELoss())
        >>> history = model.fit(np.eye(2), np.ones((2, 1)), verbose=0)
        >>> state = kerasnets.optimizer_state_dict(model)
        >>> state["param_groups"][0]["momentum"]
        0.9
    """
    optimizer = _get_optimizer(model)
    steps = int(to_numpy(optimizer.iterations))
    state: dict[int, dict[str, Any]] = {}
    param_groups, index = [], 0
    for group in find_groups(model, optimizer, names):
        numbers = range(index, index + len(group))
        param_groups.append({**_group_settings(optimizer, group), "params": list(numbers)})
        if steps or optimizer.torch_state_at_start:
            state.update(zip(numbers, (_parameter_state(optimizer, entry, steps) for entry in group), strict=True))
        index += len(group)
    return {"state": {number: kept for number, kept in state.items() if kept}, "param_groups": param_groups}


def scheduler_state_dict(model: keras.Model) -> dict[str, Any]:
    """Return the position of the optimizer's schedule, as a PyTorch scheduler counts it.

    Args:
        model: a built model, compiled with an optimizer whose learning rate is one of :mod:`kerasnets.schedules`.

    Returns:
        ``last_epoch``, the number of calls of ``scheduler.step()`` (iterations / the schedule's ``steps_per_epoch``),
        and the other counters of ``torch.optim.lr_scheduler.LRScheduler``. A PyTorch scheduler loads it with
        ``scheduler.load_state_dict({**scheduler.state_dict(), **scheduler_state_dict(model)})``. Make the scheduler
        before the optimizer loads its state, because a new scheduler resets the learning rate.

    Raises:
        ValueError: the model is not compiled, or its learning rate is not a schedule.
        TypeError: `model` is not a Keras model, or the optimizer's rule is not one of ``torch.optim``.

    Examples:
        >>> schedule = kerasnets.schedules.StepLR(0.1, step_size=1)
        >>> model = kerasnets.models.Sequential([keras.Input((2,)), kerasnets.layers.Linear(1, name="fc")])
        >>> model.compile(kerasnets.optimizers.SGD(schedule), kerasnets.losses.MSELoss())
        >>> history = model.fit(np.eye(2), np.ones((2, 1)), batch_size=1, verbose=0)
        >>> kerasnets.scheduler_state_dict(model)["last_epoch"]
        2
    """
    optimizer = _get_optimizer(model)
    if optimizer.schedule is None:
        raise ValueError("The optimizer's learning rate is not a schedule of kerasnets.schedules: it has no epoch.")
    epoch = int(to_numpy(optimizer.iterations)) // optimizer.schedule.steps_per_epoch
    return {"last_epoch": epoch, "_step_count": epoch + 1, "_last_lr": [float(to_numpy(optimizer.learning_rate))]}


def _group_settings(optimizer: optimizers.Optimizer, group: list[Entry]) -> dict[str, Any]:
    """The settings of a parameter group of PyTorch's, including what a scheduler keeps there."""
    trained = trained_variables(optimizer, group)
    settings = optimizer.get_torch_settings()
    if not trained:
        return {**settings, "lr": float(to_numpy(optimizer.learning_rate))}
    rates = {float(to_numpy(optimizer.learning_rate_of(variable))) for variable in trained}
    decays = {float(optimizer.weight_decay_of(variable)) for variable in trained}
    if len(rates) > 1 or len(decays) > 1:
        raise ValueError(
            f"The parameters {[entry.name for entry in group]} are one group in PyTorch, but here they have the "
            f"learning rates {sorted(rates)} and the weight decays {sorted(decays)}. Give one list of names per group."
        )
    settings.update(lr=rates.pop(), weight_decay=decays.pop())
    if (schedule := optimizer.schedule_of(trained[0])) is not None:
        settings.update(_scheduler_settings(optimizer, schedule))
    return settings


def _scheduler_settings(optimizer: optimizers.Optimizer, schedule: schedules.LRSchedule) -> dict[str, Any]:
    """What a PyTorch scheduler keeps in the optimizer's parameter group."""
    kept = {"initial_lr": schedule.learning_rate}
    if isinstance(schedule, schedules.OneCycleLR):
        first = schedule.learning_rate / schedule.div_factor
        kept = {"initial_lr": first, "max_lr": schedule.learning_rate, "min_lr": first / schedule.final_div_factor}
    if optimizer.cycled is not None and (name := scheduled_setting(optimizer)):
        now = float(to_numpy(schedule.momentum(optimizer.iterations)))
        kept[name] = optimizer.get_torch_settings(cycled=now)[name]
        if isinstance(schedule, schedules.OneCycleLR | schedules.CyclicLR):
            kept.update(base_momentum=schedule.base_momentum, max_momentum=schedule.max_momentum)
    return kept


def _parameter_state(optimizer: optimizers.Optimizer, entry: Entry, steps: int) -> dict[str, Any]:
    """What PyTorch's optimizer keeps for a parameter; empty for a frozen one."""
    import torch

    state = {name: to_tensor(_to_torch(entry, to_numpy(slot))) for name, slot in _slots(optimizer, entry).items()}
    if state and optimizer.torch_counts_steps:
        state["step"] = torch.tensor(float(steps))
    return state


def _to_torch(entry: Entry, array: np.ndarray) -> np.ndarray:
    """Return a state in PyTorch's order: an array like the parameter's, or one number for all of it."""
    return entry.to_torch(array) if array.ndim else array.copy()


# --- From PyTorch -----------------------------------------------------------------------------------------------------


def load_optimizer_state_dict(
    model: keras.Model,
    state: Mapping[str, Any],
    names: Names | None = None,
    scheduler: Mapping[str, Any] | None = None,
    iterations: int | None = None,
) -> None:
    """Set the compiled optimizer to the state of a PyTorch optimizer, so that the next step is the same.

    This sets moments, buffers and the step counter, and the learning rate unless it is a schedule. The other settings
    (momentum, betas, weight decay, …) must already be those of the compiled optimizer.

    Args:
        model: a built model, compiled with the optimizer of :mod:`kerasnets.optimizers` that has the same rule.
        state: ``optimizer.state_dict()`` from PyTorch.
        names: as in :func:`optimizer_state_dict`; not needed if PyTorch's optimizer was made from
            ``named_parameters()`` and knows them. Without names, one group of as many parameters as are trained here
            is taken for those, in the order of :func:`state_dict`.
        scheduler: ``scheduler.state_dict()`` from PyTorch, if the learning rate is a schedule here: its ``last_epoch``
            times the schedule's ``steps_per_epoch`` is the number of steps.
        iterations: the number of optimizer steps, if neither of the two contains it (SGD doesn't count steps).

    Raises:
        ValueError: the model is not built or not compiled; `state` is damaged or another optimizer's; names, shapes,
            settings or counters don't match; or the compiled optimizer's learning rate can't be set. All mismatches are
            listed, and the optimizer is unchanged.
        TypeError: `state` or `scheduler` is not a dict (but the optimizer itself, for example), `names` are not
            strings, `model` is not a Keras model, or its optimizer's rule is not one of ``torch.optim``.

    Examples:
        >>> import torch
        >>> model = kerasnets.models.Sequential([keras.Input((2,)), kerasnets.layers.Linear(1, name="fc")])
        >>> model.compile(kerasnets.optimizers.SGD(0.1, momentum=0.9), kerasnets.losses.MSELoss())
        >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.5, momentum=0.9)
        >>> kerasnets.load_optimizer_state_dict(model, optimizer.state_dict())
        >>> float(model.optimizer.learning_rate)
        0.5
    """
    optimizer = _get_optimizer(model)
    if scheduler is not None:
        _check_mapping("scheduler", scheduler)
    _check_structure(state)
    _check_rate_is_settable(optimizer)
    groups = _match_groups(model, optimizer, state["param_groups"], names)
    problems: list[str] = []
    kept = _match_states(groups, state["state"], problems)
    done = count_steps(optimizer, kept, scheduler, iterations, problems)
    compare_settings(optimizer, groups, problems)
    rate = find_rate(optimizer, groups, done, problems)
    values = _convert_states(optimizer, kept, problems)
    if problems:
        raise ValueError("The optimizer's state doesn't fit; nothing was loaded.\n  " + "\n  ".join(problems))
    if rate is not None:
        optimizer.learning_rate = rate
    optimizer.iterations.assign(done)
    for slot, value in values:
        slot.assign(value)


def _get_optimizer(model: keras.Model) -> optimizers.Optimizer:
    """Return the optimizer of `model`, if PyTorch has the same rule."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        entries(model)  # raises if it is not a Keras model at all
        raise ValueError(f"The model {model.name!r} is not compiled: it has no optimizer.")
    # A class states its own settings: one that inherits them may have changed the rule.
    if not isinstance(optimizer, optimizers.Optimizer) or "torch_settings" not in vars(type(optimizer)):
        known = [name for name in optimizers.__all__ if "torch_settings" in vars(getattr(optimizers, name))]
        raise TypeError(
            f"The optimizer is a {type(optimizer).__module__}.{type(optimizer).__name__}; expected one of "
            f"kerasnets.optimizers ({', '.join(known)}) or a subclass of its Optimizer that states its torch_settings. "
            "Others have another rule than PyTorch's."
        )
    if optimizer.gradient_accumulation_steps:
        raise TypeError("PyTorch has no place for the state of an optimizer that accumulates gradients.")
    return optimizer


def _check_mapping(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"Expected a dict as `{name}`, not {kind_of(value)}.")


def _check_structure(state: Any) -> None:
    """Raise an error if `state` doesn't have the form of ``optimizer.state_dict()``."""
    _check_mapping("state", state)
    kept, param_groups = state.get("state"), state.get("param_groups")
    if (
        not isinstance(kept, Mapping)
        or not isinstance(param_groups, Sequence)
        or not all(isinstance(part, Mapping) for part in (*kept.values(), *param_groups))
    ):
        raise ValueError("Expected a PyTorch optimizer's state_dict(), a dict with 'state' and 'param_groups'.")
    for index, group in enumerate(param_groups):
        numbers = group.get("params")
        if not isinstance(numbers, Sequence) or not all(isinstance(number, int) for number in numbers):
            raise ValueError(f"param_groups[{index}] has no list of numbers 'params'.")


def _check_rate_is_settable(optimizer: optimizers.Optimizer) -> None:
    source = optimizer.learning_rate_source
    if callable(source) and optimizer.schedule is None:
        raise ValueError(
            f"The optimizer's learning rate is a {type(source).__name__}, which can't be set: nothing was loaded. "
            "Expected a number or a schedule of kerasnets.schedules."
        )


def _match_groups(model, optimizer: optimizers.Optimizer, param_groups, names: Names | None) -> list[Group]:
    """Pair PyTorch's parameter groups with the model's entries."""
    if names is None and all("param_names" in group for group in param_groups):
        names = [group["param_names"] for group in param_groups]
    sizes = [len(group["params"]) for group in param_groups]
    found = find_groups(model, optimizer, names, sizes[0] if len(sizes) == 1 else None)
    if sizes != (expected := [len(group) for group in found]):
        raise ValueError(
            f"PyTorch's optimizer has groups of {sizes} parameters, the model (by `names`) of {expected}; expected the "
            "same. Only those that are not trained here may be left out of `names`."
        )
    return [Group(place, *pair) for place, pair in enumerate(zip(param_groups, found, strict=True))]


def _match_states(groups: list[Group], state: Mapping, problems: list[str]) -> Kept:
    """Pair the entries with what PyTorch keeps for each, which is empty before a parameter's first step."""
    numbers = [number for group in groups for number in group.settings["params"]]
    if unknown := [number for number in state if number not in numbers]:
        problems.append(f"there is a state of {unknown}, which are not in the 'params' of any group")
    found = [entry for group in groups for entry in group.entries]
    return [(entry, state.get(number, {})) for number, entry in zip(numbers, found, strict=True)]


def _slots(optimizer: optimizers.Optimizer, entry: Entry) -> dict[str, keras.Variable]:
    """What the optimizer keeps for a parameter: PyTorch's name → variable; empty for a frozen one."""
    return optimizer.state_of(entry.variable) if optimizer.is_built_for(entry.variable) else {}


def _convert_states(optimizer: optimizers.Optimizer, kept: Kept, problems: list[str]) -> list[tuple]:
    """Return the optimizer's variables and their new values."""
    values = []
    for entry, tensors in kept:
        given = {name: value for name, value in tensors.items() if name != "step" and value is not None}
        slots = _slots(optimizer, entry)
        if (given or "step" in tensors) and set(given) != set(slots):
            problems.append(f"{entry.name} has the state {sorted(given)}, expected {sorted(slots) or 'none'}")
            continue
        for name, slot in slots.items():
            if not given:  # PyTorch's optimizer has not updated this parameter yet
                values.append((slot, optimizer.first_value(name, slot)))
                continue
            try:
                source = entry if len(slot.shape) else Entry(entry.name, slot)
                values.append((slot, source.convert(given[name], slot.dtype)))
            except ValueError as error:
                problems.append(f"{name} of {entry.name} {error}")
    return values
