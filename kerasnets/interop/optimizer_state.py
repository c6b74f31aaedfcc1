"""Optimizer state between a Keras model and its PyTorch original: moments, steps, rates, the scheduler's epoch.

A training begun in PyTorch goes on here, on any backend, with the same next step, and the other way round.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np

from kerasnets import optimizers, schedules
from kerasnets._internal.arguments import check_integer
from kerasnets._internal.arrays import cast, to_numbers, to_numpy, to_tensor
from kerasnets.interop.weights import Entry, entries, kind_of, strip_prefixes

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

#: Schedules count in int32, and so does Keras on JAX.
_MOST_STEPS = 2**31 - 1

#: The parameters' names in PyTorch's order: one list, or one list for each of the optimizer's parameter groups.
Names = Sequence[str] | Sequence[Sequence[str]]


def optimizer_state_dict(model: keras.Model, names: Names | None = None) -> dict:
    """Give the state of the compiled optimizer as ``torch.optim.Optimizer.load_state_dict`` takes it.

    Args:
        model: a built model, compiled with an optimizer of :mod:`kerasnets.optimizers`.
        names: the original's parameters in its order, ``[name for name, _ in original.named_parameters()]``: PyTorch's
            optimizers number them; or a list of such lists, one for each parameter group of PyTorch's optimizer.
            Parameters that are not trained here may be left out, where PyTorch's optimizer was made without them. By
            default they are all there, in the order of :func:`state_dict`, which is the original's where that
            registers its modules in the order in which it calls them.

    Returns:
        ``{"state": …, "param_groups": …}`` with PyTorch tensors: moments, steps, the current learning rate and the
        optimizer's settings.

    Raises:
        ValueError: the model is not built or not compiled, `names` are not the model's parameters or have one twice,
            or a group in `names` has parameters with different learning rates or weight decays here.
        TypeError: `model` is no Keras model, `names` are no strings, or the optimizer has no namesake in
            ``torch.optim`` with the same rule.
    """
    import torch

    optimizer, settings_there = _compiled(model)
    groups = _parameter_groups(model, optimizer, names)
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
        TypeError: `model` is no Keras model, or the optimizer has no namesake in ``torch.optim`` with the same rule.
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
            ``named_parameters()`` and knows them. Without names, an optimizer with one group of as many parameters as
            are trained here is taken to have those, in the order of :func:`state_dict`.
        scheduler: ``scheduler.state_dict()`` from PyTorch, where the learning rate is a schedule here: its
            ``last_epoch`` times the schedule's ``steps_per_epoch`` is the number of steps done.
        iterations: optimizer steps done, where neither of the two says so (SGD keeps no count).

    Raises:
        ValueError: the model is not built or not compiled; `state` is the state of another optimizer or damaged;
            names, shapes, settings or counters don't fit; or the compiled optimizer's learning rate can't be set. What
            doesn't fit is listed, and the optimizer is unchanged.
        TypeError: `state` or `scheduler` is no dict (such as the optimizer itself), `names` are no strings, `model` is
            no Keras model, or its optimizer has no namesake in ``torch.optim`` with the same rule.
    """
    optimizer, settings_there = _compiled(model)
    if scheduler is not None:
        _check_mapping("scheduler", scheduler)
    _check_structure(state)
    if callable(optimizer._learning_rate) and _schedule(optimizer) is None:
        raise ValueError(
            f"The optimizer's learning rate is a {type(optimizer._learning_rate).__name__}, which can't be set: "
            "nothing was loaded. Expected a number or a schedule of kerasnets.schedules."
        )
    param_groups = state["param_groups"]
    if names is None and all("param_names" in group for group in param_groups):
        names = [group["param_names"] for group in param_groups]
    sizes = [len(group["params"]) for group in param_groups]
    groups = _parameter_groups(model, optimizer, names, sizes[0] if len(sizes) == 1 else None)
    expected = [len(group) for group in groups]
    if sizes != expected:
        raise ValueError(
            f"PyTorch's optimizer has groups of {sizes} parameters, the model (by `names`) of {expected}; expected the "
            "same. Only those that are not trained here may be left out of `names`."
        )
    problems: list[str] = []
    numbers = [number for group in param_groups for number in group["params"]]
    if unknown := [number for number in state["state"] if number not in numbers]:
        problems.append(f"there is a state of {unknown}, which are no 'params' of a group")
    kept = [
        (entry, state["state"].get(number, {}))
        for number, entry in zip(numbers, [entry for group in groups for entry in group], strict=True)
    ]
    done = _steps_done(optimizer, kept, scheduler, iterations, problems)
    _compare_settings(optimizer, settings_there, param_groups, groups, problems)
    rate = _rate_to_set(optimizer, param_groups, groups, done, problems)
    values = []
    for entry, tensors in kept:
        given = {k: v for k, v in tensors.items() if k != "step" and v is not None}
        slots = _slots(optimizer, entry)
        if (given or "step" in tensors) and set(given) != set(slots):
            problems.append(f"{entry.name} has the state {sorted(given)}, expected {sorted(slots) or 'none'}")
            continue
        for name, slot in slots.items():
            if given:
                value = given[name]
            else:  # PyTorch's optimizer has not moved this parameter yet
                start = optimizer.initial_accumulator_value if isinstance(optimizer, optimizers.Adagrad) else 0.0
                value = np.full(entry.shape, start)
            try:
                values.append((slot, entry.convert(value, slot.dtype)))
            except ValueError as error:
                problems.append(f"{name} of {entry.name} {error}")
    if problems:
        raise ValueError("The optimizer's state doesn't fit; nothing was loaded.\n  " + "\n  ".join(problems))
    if rate is not None:
        optimizer.learning_rate = rate
    optimizer.iterations.assign(done)
    for slot, value in values:
        slot.assign(value)


def _compiled(model: keras.Model) -> tuple[keras.optimizers.Optimizer, dict]:
    """The optimizer of `model` and its row of _SETTINGS."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        entries(model)  # raises where it is no Keras model at all
        raise ValueError(f"The model {model.name!r} is not compiled: it has no optimizer.")
    settings = _SETTINGS.get(type(optimizer).__name__)
    if settings is None or type(optimizer) is not getattr(optimizers, type(optimizer).__name__, None):
        raise TypeError(
            f"The optimizer is a {type(optimizer).__module__}.{type(optimizer).__name__}; expected one of "
            f"kerasnets.optimizers: {', '.join(_SETTINGS)}. Others have another rule than PyTorch's."
        )
    if optimizer.gradient_accumulation_steps:
        raise TypeError("An optimizer that accumulates gradients has a state that PyTorch's has no place for.")
    return optimizer, settings


def _check_mapping(name: str, value) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"Expected a dict as `{name}`, not {kind_of(value)}.")


def _check_structure(state: Mapping) -> None:
    """Raise where `state` isn't built as PyTorch builds ``optimizer.state_dict()``."""
    _check_mapping("state", state)
    kept, param_groups = state.get("state"), state.get("param_groups")
    if (
        not isinstance(kept, Mapping)
        or not isinstance(param_groups, Sequence)
        or not all(isinstance(part, Mapping) for part in (*kept.values(), *param_groups))
    ):
        raise ValueError("Expected a PyTorch optimizer's state_dict(), a dict with 'state' and 'param_groups'.")
    for position, group in enumerate(param_groups):
        numbers = group.get("params")
        if not isinstance(numbers, Sequence) or not all(isinstance(number, int) for number in numbers):
            raise ValueError(f"param_groups[{position}] has no list of numbers 'params'.")


def _schedule(optimizer) -> schedules.LRSchedule | None:
    """The optimizer's schedule; Keras gives no public way to it."""
    return optimizer._learning_rate if isinstance(optimizer._learning_rate, schedules.LRSchedule) else None


def _schedule_of(optimizer, variable) -> schedules.LRSchedule:
    """The optimizer's schedule as `variable` follows it, from its group's base rate."""
    schedule, own = _schedule(optimizer), optimizer._group(variable)
    return schedule if own is None or own.learning_rate is None else schedule.rebase(own.learning_rate)


def _parameter_groups(
    model: keras.Model, optimizer, names: Names | None, count: int | None = None
) -> list[list[Entry]]:
    """The entries that are parameters in PyTorch, in the order of its optimizer; builds the optimizer here.

    Without `names` these are the trained ones where there are `count` of them, or else all.
    """
    known = {e.name: e for e in entries(model) if e.name.rpartition(".")[2] in ("weight", "bias")}
    optimizer.build(model.trainable_variables)
    trained = [name for name, entry in known.items() if _is_trained(optimizer, entry)]
    if names is None:
        names = trained if len(trained) == count else list(known)
    groups = _lists_of_names(names)
    given = [name for group in groups for name in group]
    if twice := [name for name, times in Counter(given).items() if times > 1]:
        raise ValueError(f"`names` have {twice} more than once.")
    given = list(strip_prefixes(dict.fromkeys(given), known))
    missing, unexpected = [n for n in trained if n not in given], [n for n in given if n not in known]
    if missing or unexpected:
        raise ValueError(f"`names` are not the model's parameters: missing {missing}, unexpected {unexpected}.")
    rest = iter(given)
    return [[known[next(rest)] for _ in group] for group in groups]


def _lists_of_names(names: Names) -> list[list[str]]:
    """`names` as one list for each group."""

    def listed(value):
        return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value

    names = listed(names)
    several = isinstance(names, list) and not all(isinstance(name, str) for name in names)
    groups = [listed(group) for group in names] if several else [names]
    for group in groups:
        wrong = [name for name in group if not isinstance(name, str)] if isinstance(group, list) else [group]
        if wrong:
            raise TypeError(
                "Expected `names` as a list of strings, [name for name, _ in original.named_parameters()], or a list "
                f"of such lists; in place of a {'string' if isinstance(group, list) else 'list'} there is a "
                f"{type(wrong[0]).__name__}."
            )
    return groups


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
    schedule = _schedule_of(optimizer, variable)
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


def _numbers(value) -> np.ndarray | None:
    """`value` as an array; None if it holds no numbers or can't be read."""
    try:
        return to_numbers(value)
    except Exception:  # as in Entry.convert
        return None


def _number(value) -> float | None:
    """A number, or a tensor of one, as a float; None if it isn't finite and ≥ 0."""
    array = _numbers(value)
    if array is None or array.size != 1 or not 0.0 <= array.item() < math.inf:
        return None
    return float(array.item())


def _count(name: str, value, problems: list[str]) -> int | None:
    """A count of PyTorch's, which it may keep as a float; a problem if it is none."""
    number = _number(value)
    if number is None or number % 1:
        problems.append(f"{name} is {value!r}, expected a whole number ≥ 0")
        return None
    return int(number)


def _steps_done(optimizer, kept: list[tuple[Entry, Mapping]], scheduler, iterations, problems: list[str]) -> int:
    """The number of optimizer steps, from whatever knows it; a problem where two that know it disagree."""
    schedule = _schedule(optimizer)
    steps = {_count(f"step of {entry.name}", state["step"], problems) for entry, state in kept if "step" in state}
    if iterations is not None:
        steps.add(check_integer("iterations", iterations, 0))
    told = bool(steps)  # if only by a count that is a problem already
    steps.discard(None)
    if len(steps) > 1:
        problems.append(f"the parameters have made different numbers of steps: {sorted(steps)}")
    done = max(steps, default=None)
    if scheduler is not None:
        told, epoch = True, None
        if schedule is None or "last_epoch" not in scheduler:
            problems.append("a scheduler's state with 'last_epoch' needs a schedule of kerasnets.schedules here")
        else:
            epoch = _count("the scheduler's last_epoch", scheduler["last_epoch"], problems)
        if epoch is not None and done is None:
            done = epoch * schedule.steps_per_epoch
        elif epoch is not None and done // schedule.steps_per_epoch != epoch:
            problems.append(
                f"the scheduler stands at epoch {epoch}, but {done} steps are "
                f"{done // schedule.steps_per_epoch} epochs of steps_per_epoch={schedule.steps_per_epoch}"
            )
    moved = any(state for _, state in kept)
    if done is None and not _counts(optimizer):
        # No schedule asks for more; dampening only asks whether there was a first step.
        done = max(int(to_numpy(optimizer.iterations)), 1) if moved else 0
    elif moved and not told:
        problems.append("the state has no 'step', and neither `scheduler` nor `iterations` says how many were made")
    if done is not None and done > _MOST_STEPS:
        problems.append(f"{done} steps are more than the {_MOST_STEPS} that can be counted here")
        done = 0
    return done or 0


def _compare_settings(optimizer, settings_there: Mapping, param_groups, groups, problems: list[str]) -> None:
    """A problem for each setting that PyTorch's groups lack, or have otherwise; the learning rate is not compared."""
    config, moved = optimizer.get_config(), _cycled(optimizer, settings_there)
    kind = type(optimizer).__name__
    for position, (theirs, group) in enumerate(zip(param_groups, groups, strict=True)):
        # Each of PyTorch's optimizers has settings of its own, so that these tell them apart. Old files lack maximize.
        if lacking := [name for name in ("lr", *settings_there) if name not in theirs and name != "maximize"]:
            problems.append(
                f"param_groups[{position}] has no {', '.join(map(repr, lacking))}, so it is no state of PyTorch's "
                f"{kind}"
            )
        decays = {float(optimizer.weight_decay_of(e.variable) or 0) for e in group if _is_trained(optimizer, e)}
        for name, key in settings_there.items():
            if name not in theirs or name == moved:
                continue
            own = sorted(decays) if name == "weight_decay" and decays else [_setting(config, key)]
            given = _numbers(theirs[name])
            for ours in own:
                if given is None or given.shape != np.shape(ours) or not np.allclose(given, ours, rtol=1e-6, atol=0):
                    problems.append(f"{name} is {theirs[name]} in PyTorch and {ours} here")
        given = _number(theirs.get("decoupled_weight_decay"))
        if isinstance(optimizer, optimizers.Adam) and given is not None and _number(theirs.get("weight_decay")):
            decoupled = bool(given)
            rule = "AdamW" if decoupled else "Adam"
            if isinstance(optimizer, optimizers.AdamW) != decoupled:
                problems.append(
                    f"param_groups[{position}] has decoupled_weight_decay={decoupled}: its weight decay is {rule}'s, "
                    f"and the optimizer here is {kind}"
                )


def _rate_to_set(optimizer, param_groups, groups, done: int, problems: list[str]) -> float | None:
    """The new learning rate; None where a schedule gives it, after a comparison with that."""
    schedule = _schedule(optimizer)
    wanted = set()
    for position, (theirs, group) in enumerate(zip(param_groups, groups, strict=True)):
        if "lr" not in theirs:
            continue
        rate = _number(theirs["lr"])
        if rate is None:
            problems.append(f"lr of param_groups[{position}] is {theirs['lr']!r}, expected a finite number ≥ 0")
            continue
        trained = [entry.variable for entry in group if _is_trained(optimizer, entry)]
        for variable in {optimizer._group(variable): variable for variable in trained}.values():
            if schedule is None:
                ratio = float(to_numpy(optimizer.learning_rate_of(variable, 1.0)))
                if ratio:
                    wanted.add(rate / ratio)
                elif rate:
                    problems.append(f"lr of param_groups[{position}] is {rate}, and here it is always 0")
            else:
                now = float(to_numpy(_schedule_of(optimizer, variable)(done)))
                if not np.isclose(rate, now, rtol=1e-5, atol=0):
                    problems.append(
                        f"the learning rate is {rate} in PyTorch, and the schedule here has {now} after {done} steps "
                        "(of which SGD knows only by `scheduler` or `iterations`)"
                    )
    if wanted and max(wanted) - min(wanted) > 1e-6 * max(wanted):
        problems.append(f"the groups' learning rates are not in the ratio of param_groups here: {sorted(wanted)}")
    rate = max(wanted, default=None)
    if rate is not None and not np.isfinite(cast(np.array(rate), optimizer._learning_rate.dtype)):
        problems.append(f"the learning rate is {rate}, too large for {optimizer._learning_rate.dtype}")
    return rate
