"""Optimizer state between a Keras model and its PyTorch original: moments, steps, rates, the scheduler's epoch.

A training begun in PyTorch goes on here, on any backend, with the same next step, and the other way round.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from kerasnets import optimizers, schedules
from kerasnets.arrays import to_numbers, to_numpy, to_tensor
from kerasnets.state_dict import Entry, entries, strip_prefixes

_COMMON = {"weight_decay": "weight_decay", "maximize": "maximize"}
_MOMENTUM = {"momentum": "momentum", **_COMMON}
_ADAM = {"betas": ("beta_1", "beta_2"), "eps": "epsilon", "amsgrad": "amsgrad", **_COMMON}
#: Class in ``kerasnets.optimizers`` → its namesake's settings in ``torch.optim`` → what ``get_config`` calls them here.
_SETTINGS = {
    "SGD": {"dampening": "dampening", "nesterov": "nesterov", **_MOMENTUM},
    "RMSprop": {"alpha": "rho", "eps": "epsilon", "centered": "centered", **_MOMENTUM},
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "Adagrad": {
        "lr_decay": "lr_decay",
        "eps": "epsilon",
        "initial_accumulator_value": "initial_accumulator_value",
        **_COMMON,
    },
    "Adadelta": {"rho": "rho", "eps": "epsilon", **_COMMON},
}

#: The parameters' names in PyTorch's order: one list, or one list for each of the optimizer's parameter groups.
Names = Sequence[str] | Sequence[Sequence[str]]


def optimizer_state_dict(model: keras.Model, names: Names | None = None) -> dict:
    """Give the state of the compiled optimizer as ``torch.optim.Optimizer.load_state_dict`` takes it.

    Args:
        model: a built model, compiled with an optimizer of :mod:`kerasnets.optimizers`.
        names: the original's parameters in its order, ``[name for name, _ in original.named_parameters()]``: PyTorch's
            optimizers number them; or a list of such lists, one for each parameter group of PyTorch's optimizer. By
            default they are in the order of :func:`state_dict`, which is the original's where that registers its
            modules in the order in which it calls them.

    Returns:
        ``{"state": …, "param_groups": …}`` with PyTorch tensors: moments, steps, the current learning rate and the
        optimizer's settings.

    Raises:
        ValueError: the model is not compiled, `names` are not the model's parameters, or a group in `names` has
            parameters with different learning rates or weight decays here.
        TypeError: the optimizer has no namesake in ``torch.optim`` with the same rule.
    """
    import torch

    optimizer, settings_there = _compiled(model)
    groups = _parameter_groups(model, names)
    config = optimizer.get_config()
    steps = int(to_numpy(optimizer.iterations))
    state, param_groups, index = {}, [], 0
    for group in groups:
        settings = {name: _setting(config, key) for name, key in settings_there.items()}
        trained = [entry for entry in group if _is_trained(optimizer, entry)]
        rates = {float(to_numpy(optimizer.learning_rate_of(entry.variable))) for entry in trained}
        decays = {float(optimizer.weight_decay_of(entry.variable) or 0.0) for entry in trained}
        if len(rates) > 1 or len(decays) > 1:
            raise ValueError(
                f"The parameters {[entry.name for entry in group]} are one group in PyTorch, but here they have the "
                f"learning rates {sorted(rates)} and the weight decays {sorted(decays)}. Give a list of names a group."
            )
        settings["lr"] = rates.pop() if rates else float(to_numpy(optimizer.learning_rate))
        settings["weight_decay"] = decays.pop() if decays else settings["weight_decay"]
        if isinstance(optimizer, optimizers.Adam):
            settings["decoupled_weight_decay"] = isinstance(optimizer, optimizers.AdamW)
        if trained and _schedule(optimizer):
            settings.update(_cycle(optimizer, settings_there, trained[0].variable))
        param_groups.append({**settings, "params": list(range(index, index + len(group)))})
        for number, entry in enumerate(group, start=index):
            # PyTorch makes a parameter's state at its first step; Adagrad makes it at once.
            slots = _slots(optimizer, entry) if steps or isinstance(optimizer, optimizers.Adagrad) else {}
            if slots:
                state[number] = {name: to_tensor(entry.to_torch(to_numpy(slot))) for name, slot in slots.items()}
                if _counts(optimizer):
                    state[number]["step"] = torch.tensor(float(steps))
        index += len(group)
    return {"state": state, "param_groups": param_groups}


def scheduler_state_dict(model: keras.Model) -> dict:
    """Give the position of the optimizer's schedule as a PyTorch scheduler counts it.

    Args:
        model: a built model, compiled with an optimizer whose learning rate is one of :mod:`kerasnets.schedules`.

    Returns:
        ``last_epoch``, the number of calls of ``scheduler.step()`` (iterations / the schedule's ``steps_per_epoch``),
        and the other counters of ``torch.optim.lr_scheduler.LRScheduler``. A PyTorch scheduler takes it by
        ``scheduler.load_state_dict({**scheduler.state_dict(), **scheduler_state_dict(model)})``; let it be made before
        the optimizer loads its own state, since a new scheduler starts the learning rate afresh.

    Raises:
        ValueError: the model is not compiled, or its learning rate is no schedule.
    """
    optimizer, _ = _compiled(model)
    schedule = _schedule(optimizer)
    if schedule is None:
        raise ValueError("The optimizer's learning rate is no schedule of kerasnets.schedules: it has no epoch.")
    epoch = int(to_numpy(optimizer.iterations)) // schedule.steps_per_epoch
    return {"last_epoch": epoch, "_step_count": epoch + 1, "_last_lr": [float(to_numpy(optimizer.learning_rate))]}


def load_optimizer_state_dict(
    model: keras.Model,
    state: Mapping,
    names: Names | None = None,
    scheduler: Mapping | None = None,
    iterations: int | None = None,
) -> None:
    """Set the compiled optimizer to where a PyTorch optimizer stands, so that the next step is the same.

    Moments, buffers and the step counter are set, and the learning rate, where it is no schedule. The other settings
    (momentum, betas, weight decay, …) must be those of the compiled optimizer already.

    Args:
        model: a built model, compiled with the namesake of the PyTorch optimizer in :mod:`kerasnets.optimizers`.
        state: ``optimizer.state_dict()`` from PyTorch.
        names: as in :func:`optimizer_state_dict`; not needed where PyTorch's optimizer was made from
            ``named_parameters()`` and knows them.
        scheduler: ``scheduler.state_dict()`` from PyTorch, where the learning rate is a schedule here: its
            ``last_epoch`` times the schedule's ``steps_per_epoch`` is the number of steps done.
        iterations: optimizer steps done, where neither of the two says so (SGD keeps no count).

    Raises:
        ValueError: names, shapes, settings or counters don't fit. All are listed, and the optimizer is unchanged.
        TypeError: the optimizer has no namesake in ``torch.optim`` with the same rule.
    """
    optimizer, settings_there = _compiled(model)
    if not isinstance(state, Mapping) or not {"state", "param_groups"} <= set(state):
        raise ValueError("Expected a PyTorch optimizer's state_dict(), a dict with 'state' and 'param_groups'.")
    if names is None and all("param_names" in group for group in state["param_groups"]):
        names = [group["param_names"] for group in state["param_groups"]]
    groups = _parameter_groups(model, names)
    sizes, expected = [len(group["params"]) for group in state["param_groups"]], [len(group) for group in groups]
    if sizes != expected:
        raise ValueError(
            f"PyTorch's optimizer has groups of {sizes} parameters, the model (by `names`) of {expected}; expected the "
            "same."
        )
    problems: list[str] = []
    done = _steps_done(optimizer, state["state"], scheduler, iterations, problems)
    rate = _rate_to_set(optimizer, settings_there, state["param_groups"], groups, done, problems)
    values = []
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    for number, entry in zip(numbers, [entry for group in groups for entry in group], strict=True):
        given = {k: v for k, v in state["state"].get(number, {}).items() if k != "step" and v is not None}
        slots = _slots(optimizer, entry)
        if given and set(given) != set(slots):
            problems.append(f"{entry.name} has the state {sorted(given)}, expected {sorted(slots) or 'none'}")
            continue
        for name, slot in slots.items():
            array = to_numbers(given[name]) if given else None
            if array is None:  # PyTorch's optimizer has not moved this parameter yet
                start = optimizer.initial_accumulator_value if isinstance(optimizer, optimizers.Adagrad) else 0.0
                array = np.full(entry.shape, start)
            if array.shape != entry.shape:
                problems.append(f"{name} of {entry.name} has shape {array.shape}, expected {entry.shape}")
            else:
                values.append((entry, slot, array))
    if problems:
        raise ValueError("The optimizer's state doesn't fit; nothing was loaded.\n  " + "\n  ".join(problems))
    for entry, slot, array in values:
        slot.assign(entry.from_torch(array))
    optimizer.iterations.assign(done)
    if rate is not None:
        optimizer.learning_rate = rate


def _compiled(model: keras.Model) -> tuple[keras.optimizers.Optimizer, dict]:
    """The optimizer of `model`, built, and its row of _SETTINGS."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ValueError(f"The model {model.name!r} is not compiled: it has no optimizer.")
    settings = _SETTINGS.get(type(optimizer).__name__)
    if settings is None or type(optimizer) is not getattr(optimizers, type(optimizer).__name__, None):
        raise TypeError(
            f"The optimizer is a {type(optimizer).__module__}.{type(optimizer).__name__}; expected one of "
            f"kerasnets.optimizers: {', '.join(_SETTINGS)}. Others have another rule than PyTorch's."
        )
    if optimizer.gradient_accumulation_steps:
        raise TypeError("An optimizer that accumulates gradients has a state that PyTorch's has no place for.")
    optimizer.build(model.trainable_variables)
    return optimizer, settings


def _schedule(optimizer) -> schedules.LRSchedule | None:
    """The optimizer's schedule; Keras gives no public way to it."""
    return optimizer._learning_rate if isinstance(optimizer._learning_rate, schedules.LRSchedule) else None


def _parameter_groups(model: keras.Model, names: Names | None) -> list[list[Entry]]:
    """The entries that are parameters in PyTorch, in the order of its optimizer."""
    known = {e.name: e for e in entries(model) if e.name.rpartition(".")[2] in ("weight", "bias")}
    if names is None:
        return [list(known.values())]
    groups = [list(names)] if all(isinstance(name, str) for name in names) else [list(group) for group in names]
    groups = [list(strip_prefixes(dict.fromkeys(group), known)) for group in groups]
    given = [name for group in groups for name in group]
    if sorted(given) != sorted(known):
        missing, unexpected = [n for n in known if n not in given], [n for n in given if n not in known]
        raise ValueError(f"`names` are not the model's parameters: missing {missing}, unexpected {unexpected}.")
    return [[known[name] for name in group] for group in groups]


def _is_trained(optimizer, entry: Entry) -> bool:
    return any(entry.variable is variable for variable in optimizer._trainable_variables)


def _slots(optimizer, entry: Entry) -> dict[str, keras.Variable]:
    """PyTorch's names of what the optimizer keeps for a parameter → the variables; empty for a frozen one."""
    return optimizer.state_of(entry.variable) if _is_trained(optimizer, entry) else {}


def _counts(optimizer) -> bool:
    """Whether PyTorch's namesake keeps the number of steps."""
    return not isinstance(optimizer, optimizers.SGD)


def _cycled(optimizer, settings_there: Mapping) -> str | None:
    """PyTorch's name of the setting that the optimizer's schedule moves, if it moves one."""
    schedule = _schedule(optimizer)
    if schedule is None or not schedule.cycle_momentum:
        return None
    return "betas" if "betas" in settings_there else "momentum"


def _setting(config: Mapping, key: str | tuple[str, ...]):
    return tuple(config[part] for part in key) if isinstance(key, tuple) else config[key] or 0


def _cycle(optimizer, settings_there: Mapping, variable) -> dict:
    """What a PyTorch scheduler keeps in the optimizer's parameter group."""
    schedule = _schedule(optimizer)
    own = optimizer._group(variable)
    if own is not None and own.learning_rate is not None:
        schedule = schedule.rebase(own.learning_rate)
    kept = {"initial_lr": schedule.learning_rate}
    if isinstance(schedule, schedules.OneCycleLR):
        first = schedule.learning_rate / schedule.div_factor
        kept = {"initial_lr": first, "max_lr": schedule.learning_rate, "min_lr": first / schedule.final_div_factor}
    if name := _cycled(optimizer, settings_there):
        now = float(to_numpy(schedule.momentum(optimizer.iterations)))
        kept[name] = (now, optimizer.get_config()["beta_2"]) if name == "betas" else now
        if isinstance(schedule, schedules.OneCycleLR):
            kept.update(base_momentum=schedule.base_momentum, max_momentum=schedule.max_momentum)
    return kept


def _steps_done(optimizer, state: Mapping, scheduler, iterations, problems: list[str]) -> int:
    """The number of optimizer steps, from whatever knows it; a problem where two that know it disagree."""
    schedule = _schedule(optimizer)
    steps = {int(to_numpy(kept["step"])) for kept in state.values() if "step" in kept}
    if iterations is not None:
        steps.add(int(iterations))
    if len(steps) > 1:
        problems.append(f"the parameters have made different numbers of steps: {sorted(steps)}")
    done = max(steps, default=None)
    if scheduler is not None:
        if schedule is None or "last_epoch" not in scheduler:
            problems.append("a scheduler's state with 'last_epoch' needs a schedule of kerasnets.schedules here")
        elif done is None:
            done = scheduler["last_epoch"] * schedule.steps_per_epoch
        elif done // schedule.steps_per_epoch != scheduler["last_epoch"]:
            problems.append(
                f"the scheduler stands at epoch {scheduler['last_epoch']}, but {done} steps are "
                f"{done // schedule.steps_per_epoch} epochs of steps_per_epoch={schedule.steps_per_epoch}"
            )
    if done is None and not _counts(optimizer):
        # No schedule asks for more; dampening only asks whether there was a first step.
        done = max(int(to_numpy(optimizer.iterations)), 1) if state else 0
    return done or 0


def _rate_to_set(optimizer, settings_there, param_groups, groups, done: int, problems: list[str]) -> float | None:
    """The new learning rate (None: a schedule gives it), after a comparison of all settings."""
    config, schedule = optimizer.get_config(), _schedule(optimizer)
    base = float(to_numpy(optimizer.learning_rate))
    moved = _cycled(optimizer, settings_there)
    wanted = set()
    for theirs, group in zip(param_groups, groups, strict=True):
        trained = next((entry.variable for entry in group if _is_trained(optimizer, entry)), None)
        for name, key in settings_there.items():
            ours = _setting(config, key)
            if name == "weight_decay" and trained is not None:
                ours = optimizer.weight_decay_of(trained) or 0.0
            if name in theirs and name != moved and not np.allclose(theirs[name], ours, rtol=1e-6, atol=0):
                problems.append(f"{name} is {theirs[name]} in PyTorch and {ours} here")
        if trained is None:
            continue
        rate = float(theirs["lr"])
        if schedule is None:
            own = float(to_numpy(optimizer.learning_rate_of(trained)))
            wanted.add(float(np.float64(rate * base / own)) if own else rate)
            continue
        own = optimizer._group(trained)
        now = schedule if own is None or own.learning_rate is None else schedule.rebase(own.learning_rate)
        now = float(to_numpy(now(done)))
        if not np.isclose(rate, now, rtol=1e-5, atol=0):
            problems.append(
                f"the learning rate is {rate} in PyTorch, and the schedule here has {now} after {done} steps (of "
                "which SGD knows only by `scheduler` or `iterations`)"
            )
    if wanted and max(wanted) - min(wanted) > 1e-6 * max(wanted):
        problems.append(f"the groups' learning rates are not in the ratio of param_groups here: {sorted(wanted)}")
    return max(wanted, default=None)
