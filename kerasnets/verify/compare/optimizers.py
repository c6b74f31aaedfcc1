"""The two optimizers on the same weights and gradients: how far apart their steps are, and why."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import torch

from kerasnets import optimizers as ours
from kerasnets._internal.arrays import to_numpy
from kerasnets.verify.compare.finding import Figure, Finding, write_number
from kerasnets.verify.compare.links import Link
from kerasnets.verify.compare.port import Port
from kerasnets.verify.compare.runs import nudge
from kerasnets.verify.parity.figure import FACTOR

#: The gradients of the steps are the batch's times these: a second step shows momentum, a sign the second moment.
SCALES = (1.0, 0.5, -2.0)
#: Largest relative difference of the steps of a variable, where PyTorch's noise is smaller.
BOUND = 1e-4
#: Seeds of the roundings by which the noise floor's weights and gradients are moved.
NUDGES = (1, 2, 3)

Settings = dict[str, Any]
#: Muon's settings, of the same names on both sides.
_OF_MUON = ("ns_steps", "ns_coefficients", "adjust_lr_fn")
#: Names of the same rule.
_RULES = {"AdamW": "Adam", "Nadam": "NAdam"}


def describe_original(optimizer: torch.optim.Optimizer) -> Settings:
    """Settings of PyTorch's optimizer, of its first parameter group."""
    group, name = optimizer.param_groups[0], type(optimizer).__name__
    found: Settings = {"rule": _RULES.get(name, name), "weight decay": float(group.get("weight_decay", 0.0))}
    names = {"momentum": "momentum", "eps": "epsilon", "alpha": "rho", "rho": "rho", "momentum_decay": "momentum_decay"}
    for theirs, shared in names.items():
        if theirs in group:
            found[shared] = float(group[theirs])
    if "betas" in group:
        found["beta_1"], found["beta_2"] = map(float, group["betas"])
    found.update({setting: group[setting] for setting in _OF_MUON if setting in group})
    for flag in ("nesterov", "amsgrad", "centered", "maximize"):
        if flag in group:
            found[flag] = bool(group[flag])
    if found["weight decay"]:
        found["weight decay is"] = (
            "decoupled" if group.get("decoupled_weight_decay", name in ("AdamW", "Muon")) else "coupled"
        )
    return found


def describe_port(optimizer: keras.optimizers.Optimizer) -> Settings:
    """Settings of Keras's optimizer, under the same names."""
    config, name = optimizer.get_config(), type(optimizer).__name__
    found: Settings = {"rule": _RULES.get(name, name)}
    found["weight decay"] = float(config.get("weight_decay") or 0.0)
    for setting in ("momentum", "epsilon", "rho", "beta_1", "beta_2", "momentum_decay"):
        if setting in config:
            found[setting] = float(config[setting])
    found.update(_scheduled_at_start(optimizer))
    found.update({setting: config[setting] for setting in _OF_MUON if setting in config})
    for flag in ("nesterov", "amsgrad", "centered", "maximize"):
        if flag in config:
            found[flag] = bool(config[flag])
    if found["weight decay"]:
        own = isinstance(optimizer, ours.Optimizer)
        decoupled = getattr(optimizer, "decoupled_weight_decay", True) if own else True
        found["weight decay is"] = "decoupled" if decoupled else "coupled"
    for clip in ("clipnorm", "clipvalue", "global_clipnorm", "clip_grad_norm", "clip_grad_value"):
        if config.get(clip) is not None:
            found[clip] = config[clip]
    return found


def compare_optimizers(port: Port, links: Sequence[Link], model: keras.Model, state: dict, gradients: dict) -> tuple:
    """Take three steps on each side from the same weights with the same gradients, in float64.

    Args:
        port: what is compared.
        links: the variables of `model`, a copy of the port in float64.
        model: that copy.
        state: PyTorch's weights in float64.
        gradients: PyTorch's gradients in float64.

    Returns:
        The figures, and the findings.
    """
    if port.optimizers is None:
        return [], []
    theirs, own = port.optimizers
    before = {name: value.copy() for name, value in state.items()}
    after = step_original(port, before, gradients)
    others = [step_original(port, *(_nudge(part, seed) for part in (before, gradients))) for seed in NUDGES]
    stepped = _step_port(own, links, model, before, gradients, float(theirs.param_groups[0]["lr"]))
    figures, worst = [], []
    for link, value in stepped:
        start = link.value(before)
        expected = link.gradient({n: after[n] - before[n] for n in link.names})
        again = [link.gradient({n: other[n] - before[n] for n in link.names}) for other in others]
        scale = float(np.abs(expected).max()) or float(np.abs(start).max()) or 1.0
        difference = float(np.abs((value - start) - expected).max()) / scale
        noise = max(float(np.abs(steps - expected).max()) for steps in again) / scale
        differs = not difference <= max(BOUND, FACTOR * noise)
        figures.append(Figure("optimizer", link.names[0], difference, None, noise, None, differs))
        if differs:
            worst.append((link, difference))
    return figures, _name_causes(port, links, model, worst)


def _nudge(arrays: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """The arrays with every float moved up or down by one rounding, at random."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: nudge(torch.from_numpy(array), generator).numpy() if array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }


def step_original(port: Port, state: dict, gradients: dict) -> dict[str, np.ndarray]:
    """PyTorch's weights after the steps."""
    assert port.optimizers is not None
    module, optimizer = copy.deepcopy((port.module, port.optimizers[0]))
    module.double()
    optimizer.state.clear()
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(torch.from_numpy(state[name]))
    for scale in SCALES:
        for name, p in parameters.items():
            p.grad = torch.from_numpy(gradients[name] * scale) if name in gradients else None
        optimizer.step()
    return {name: p.detach().numpy().copy() for name, p in parameters.items()}


def _scheduled_at_start(optimizer: keras.optimizers.Optimizer) -> dict[str, float]:
    """The momentum (or beta_1) that the schedule sets for the first step."""
    if not isinstance(optimizer, ours.Optimizer) or optimizer.cycled is None or not optimizer.is_momentum_scheduled:
        return {}
    assert optimizer.schedule is not None
    return {optimizer.cycled: float(to_numpy(optimizer.schedule.momentum(0)))}


def copy_optimizer(optimizer: keras.optimizers.Optimizer, rate: float) -> keras.optimizers.Optimizer:
    """A new optimizer with the same settings and a constant learning rate, in Keras's current float type."""
    config = {**optimizer.get_config(), **_scheduled_at_start(optimizer), "learning_rate": rate}
    new = type(optimizer).from_config(config)
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if (value := getattr(optimizer, name, None)) is not None:
            setattr(new, name, value)
    return new


def _step_port(own: Any, links: Sequence[Link], model: keras.Model, state: dict, gradients: dict, rate: float) -> list:
    variables = list(model.trainable_variables)
    linked = {id(link.variable): link for link in links if not link.is_buffer}
    optimizer = copy_optimizer(own, rate)
    optimizer.build(variables)
    given = []
    for variable in variables:
        link = linked.get(id(variable))
        known = link is not None and all(name in gradients for name in link.names)
        value = link.gradient(gradients) if link is not None and known else np.zeros(variable.shape)
        given.append(value)
    for scale in SCALES:
        tensors = [keras.ops.convert_to_tensor(scale * g, dtype=v.dtype) for g, v in zip(given, variables, strict=True)]
        optimizer.apply(tensors, variables)
    return [
        (linked[id(v)], to_numpy(v).copy())
        for v in variables
        if id(v) in linked and all(n in gradients for n in linked[id(v)].names)
    ]


def _mend(theirs: torch.optim.Optimizer, settings: Settings) -> str:
    name = type(theirs).__name__
    if name not in ours.__all__:
        return f"write PyTorch's {name}"
    kind: Any = type(theirs)
    defaults = kind([torch.zeros(1, 1, requires_grad=True)], lr=1.0).param_groups[0]
    group = theirs.param_groups[0]
    given = [write_number(float(group["lr"]))]
    for setting, key in (
        ("momentum", "momentum"),
        ("weight_decay", "weight_decay"),
        ("eps", "epsilon"),
        ("alpha", "rho"),
        ("momentum_decay", "momentum_decay"),
    ):
        if setting in group and group[setting] != defaults[setting]:
            given.append(f"{key}={write_number(float(group[setting]))}")
    if "betas" in group and group["betas"] != defaults["betas"]:
        given += [f"beta_{i}={write_number(float(b))}" for i, b in enumerate(group["betas"], 1)]
    flags = ["nesterov", "amsgrad", "centered", "maximize"]
    if name in ("NAdam", "RAdam"):
        flags.append("decoupled_weight_decay")
    for flag in flags:
        if flag in group and bool(group[flag]) != bool(defaults[flag]):
            given.append(f"{flag}={bool(group[flag])}")
    given += [f"{key}={group[key]!r}" for key in _OF_MUON if key in group and group[key] != defaults[key]]
    return f"use kerasnets.optimizers.{name}({', '.join(given)})"


def _name_causes(
    port: Port, links: Sequence[Link], model: keras.Model, worst: list[tuple[Link, float]]
) -> list[Finding]:
    assert port.optimizers is not None
    theirs, own = port.optimizers
    a, b = describe_original(theirs), describe_port(own)
    difference = max((d for _, d in worst), default=None)
    causes = list(_compare_settings(a, b, bool(worst)))
    if worst and not causes:
        causes = [*_compare_groups(theirs, own, links, port)]
    known = bool(causes)
    if worst and not causes:
        names = sorted({link.names[0] for link, _ in worst})
        shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        causes = [f"the steps differ from PyTorch's for {shown} ({len(names)} of {len(links)}), the settings don't"]
    if (
        not causes
        and port.scheduler
        and b["rule"] == "SGD"
        and b.get("momentum")
        and not isinstance(own, ours.Optimizer)
    ):
        causes = ["stock SGD's velocity holds steps that are already scaled by the rate, so that a new rate acts late"]
        known = True
    mend = _mend(theirs, a)
    if known and any("exclu" in c or "group" in c for c in causes):
        mend = "give param_groups=…, for example kerasnets.optimizers.no_weight_decay()"
    return [Finding("optimizer", "optimizer", c, mend, type(theirs).__name__, difference, known=known) for c in causes]


def _compare_settings(theirs: Settings, own: Settings, measured: bool):
    if theirs["rule"] != own["rule"]:
        yield f"the rule is {own['rule']}, PyTorch's is {theirs['rule']}"
        return
    for name in (
        "momentum",
        "nesterov",
        "beta_1",
        "beta_2",
        "epsilon",
        "rho",
        "momentum_decay",
        "amsgrad",
        "centered",
        "maximize",
        "weight decay",
    ):
        x, y = theirs.get(name), own.get(name)
        if x is None or y is None:
            continue
        if not math.isclose(x, y, rel_tol=1e-5, abs_tol=1e-12):
            yield f"{name} is {write_number(y)}, PyTorch's is {write_number(x)}"
    for name in (name for name in _OF_MUON if name in theirs and name in own):
        x, y = (tuple(value) if isinstance(value, list) else value for value in (theirs[name], own[name]))
        if x != y:
            yield f"{name} is {y!r}, PyTorch's is {x!r}"
    if (
        theirs.get("weight decay is")
        and own.get("weight decay is")
        and theirs["weight decay is"] != own["weight decay is"]
    ):
        words = {
            "coupled": "coupled (added to the gradient, as in PyTorch's SGD and Adam)",
            "decoupled": "decoupled (subtracted from the weights, as in AdamW)",
        }
        yield f"weight decay is {words[own['weight decay is']]}, PyTorch's is {words[theirs['weight decay is']]}"
    if measured:
        for name in ("clipnorm", "clipvalue", "global_clipnorm", "clip_grad_norm", "clip_grad_value"):
            if name in own:
                yield f"gradients are clipped ({name}={own[name]}), which PyTorch's optimizer doesn't do"


def _compare_groups(theirs: Any, own: Any, links: Sequence[Link], port: Port):
    """Learning rates and weight decays that differ by parameter."""
    names = {id(p): name for name, p in port.module.named_parameters()}
    first = theirs.param_groups[0]
    decays, rates = {}, {}
    for group in theirs.param_groups:
        for p in group["params"]:
            decays[names[id(p)]] = float(group.get("weight_decay", 0.0))
            rates[names[id(p)]] = float(group["lr"]) / (float(first["lr"]) or 1.0)
    kept = [link for link in links if not link.is_buffer and link.names[0] in decays]
    if len(theirs.param_groups) > 1:
        if len(set(decays.values())) > 1:
            free = sorted({link.names[0] for link in kept if decays[link.names[0]] != decays[kept[0].names[0]]})
            yield f"weight decay is the same for all, PyTorch's differs by parameter group ({', '.join(free[:3])} …)"
        if len(set(rates.values())) > 1:
            yield "the learning rate is the same for all, PyTorch's differs by parameter group"
    missing = [name for name in dict(port.module.named_parameters()) if name not in decays]
    if missing:
        yield f"it trains {', '.join(missing[:3])}, which is in no parameter group of PyTorch's"
    uniform = len(theirs.param_groups) == 1 and float(first.get("weight_decay", 0.0)) > 0
    if uniform and (getattr(own, "_exclude_from_weight_decay", None) or getattr(own, "is_uniform", True) is False):
        yield "weight decay excludes some variables, PyTorch's doesn't"
