"""The weights that the model came with: PyTorch's, loaded rightly or wrongly, or new ones from a distribution."""

import copy
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from kerasnets import layers
from kerasnets.verify.compare.calls import Call
from kerasnets.verify.compare.finding import Finding, write_number
from kerasnets.verify.compare.keras_side import KerasCall
from kerasnets.verify.compare.links import Link

#: Fewer numbers say nothing about a distribution.
LEAST = 24
#: Part of the variables that must have the module's numbers if the weights are to count as loaded.
LOADED = 0.75


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-5, atol=1e-7 * (np.abs(b).max() if b.size else 1)))


def _same_numbers(a: np.ndarray, b: np.ndarray) -> bool:
    return a.size == b.size and _same(np.sort(a, axis=None), np.sort(b, axis=None))


def is_loaded(links: Sequence[Link], given: Sequence[np.ndarray], state: Mapping[str, np.ndarray]) -> bool:
    """Whether the model's weights are the module's: most variables have its numbers, in any order.

    A few may have them by the same seed, where the layers draw PyTorch's own numbers.
    """
    known = [
        _same_numbers(value, theirs)
        for link, value in zip(links, given, strict=True)
        if (theirs := _value(link, state)) is not None and theirs.size >= 4 and np.ptp(theirs) > 0
    ]
    return bool(known) and sum(known) >= LOADED * len(known)


def _value(link: Link, state: Mapping[str, np.ndarray]) -> np.ndarray | None:
    try:
        return link.value(state)
    except ValueError:
        return None


def find_loading_causes(
    links: Sequence[Link], given: Sequence[np.ndarray], state: Mapping[str, np.ndarray], ours: Sequence[KerasCall]
) -> list[Finding]:
    """What is wrong with weights that were loaded from the module.

    Args:
        links: variables and parameters.
        given: the model's values, by link.
        state: PyTorch's, by name.
        ours: Keras's calls.
    """
    found = []
    for link, value in zip(links, given, strict=True):
        theirs = _value(link, state)
        if theirs is None or _same(value, theirs):
            continue
        call = ours[link.call]
        cause = _name_loading_cause(link, value, theirs, call, state)
        mend = "load it with kerasnets.load_state_dict(model, module.state_dict())"
        difference = float(np.abs(value - theirs).max() / (np.abs(theirs).max() or 1.0))
        found.append(Finding("loaded weights", call.name, cause, mend, link.names[0], difference, link.call))
    return found


def _name_loading_cause(link: Link, value: np.ndarray, theirs: np.ndarray, call: KerasCall, state: Mapping) -> str:
    name = link.variable.name
    if call.kind in ("lstm", "gru") and (order := _gate_order(value, theirs, call.kind)):
        gates = "i, f, g, o" if call.kind == "lstm" else "z, r, h"
        return f"the gates of {name} are in another order: {order}, Keras's order is {gates}"
    if link.is_sum:
        for i, one in enumerate(link.names):
            if _same(value, np.asarray(state[one])):
                return f"{name} is {one} alone; {link.names[1 - i]} must be added to it"
    if not _same_numbers(value, theirs):
        what = (
            "is not PyTorch's" if np.ptp(value) > 0 or value.size == 1 else "was not loaded: it has its initial value"
        )
        return f"{name} {what} ({', '.join(link.names)})"
    if call.kind == "linear" and _same_numbers(value[:, 0], theirs[:, 0]):
        return (
            f"flatten order: the rows of {name} are in PyTorch's order (channels, height, width), the model flattens "
            "(height, width, channels)"
        )
    if value.ndim == 2 and value.shape[0] == value.shape[1] and _same(value, theirs.T):
        return f"{name} is transposed"
    if value.ndim > 2:
        for axes in permutations(range(value.ndim)):
            if theirs.transpose(axes).shape == value.shape and _same(value, theirs.transpose(axes)):
                return f"{name} has its axes in another order"
        if _same(value, theirs[::-1, ::-1]):
            return f"{name} is flipped in height and width"
    return f"{name} has PyTorch's numbers in another order"


def _gate_order(value: np.ndarray, theirs: np.ndarray, kind: str) -> str:
    letters = "ifgo" if kind == "lstm" else "zrh"
    if value.shape[-1] % len(letters):
        return ""
    a, b = np.split(value, len(letters), -1), np.split(theirs, len(letters), -1)
    order = [next((n for n, part in zip(letters, b, strict=True) if _same(x, part)), "") for x in a]
    return ", ".join(order) if all(order) and len(set(order)) == len(letters) else ""


# --- Distributions ----------------------------------------------------------------------------------------------------


def draw_again(module: Any) -> dict[str, np.ndarray]:
    """Weights of a copy of the module after every ``reset_parameters``, by name; PyTorch's own distributions."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = copy.deepcopy(module)
        for child in fresh.modules():
            reset = getattr(child, "reset_parameters", None) or getattr(child, "_reset_parameters", None)
            if callable(reset):
                reset()
    return {name: p.detach().double().numpy().copy() for name, p in fresh.named_parameters()}


def find_distribution_causes(
    links: Sequence[Link],
    given: Sequence[np.ndarray],
    states: Sequence[Mapping[str, np.ndarray]],
    theirs: Mapping[int, Call],
    ours: Sequence[KerasCall],
) -> list[Finding]:
    """Variables whose initial values come from another distribution than PyTorch's.

    Args:
        links: variables and parameters.
        given: the model's values, by link.
        states: PyTorch's weights: the module's, and ones drawn again. Either may be like Keras's.
        theirs: position of Keras's call → PyTorch's.
        ours: Keras's calls.
    """
    found = []
    for link, value in zip(links, given, strict=True):
        samples = [
            v for state in states if all(n in state for n in link.names) and (v := _value(link, state)) is not None
        ]
        if link.is_buffer or link.is_sum or not samples:
            continue
        problems = [_compare_samples(value.astype("float64"), sample) for sample in samples]
        if all(problems):
            call = ours[link.call]
            text = f"the initial {link.variable.name} is {problems[-1]}"
            mend = _mend(call, link)
            torch_name = theirs[link.call].name if link.call in theirs else link.names[0]
            found.append(Finding("initial weights", call.name, text, mend, torch_name, None, link.call))
    return found


def _describe(values: np.ndarray) -> str:
    low, high, std = float(values.min()), float(values.max()), float(values.std())
    if low == high:
        return f"constant {write_number(round(low, 6))}"
    low, high, std = round(low, 4), round(high, 4), round(std, 5)
    return f"in [{write_number(low)}, {write_number(high)}] with standard deviation {write_number(std)}"


def _compare_samples(own: np.ndarray, sample: np.ndarray) -> str:
    """What differs between two samples, in words; empty if they can have one distribution."""
    text = f"{_describe(own)}, PyTorch's is {_describe(sample)}"
    if np.ptp(own) == 0 or np.ptp(sample) == 0:
        if own.size == 1 or sample.size == 1:
            return ""
        both = np.ptp(own) == 0 and np.ptp(sample) == 0
        return "" if both and np.isclose(own.flat[0], sample.flat[0]) else text
    n = min(own.size, sample.size)
    if n < LEAST:
        return ""
    spread = abs(np.log(own.std() / sample.std()))
    if spread > 6.0 / np.sqrt(n) + 0.02:
        return text
    shift = abs(own.mean() - sample.mean()) / sample.std()
    if shift > 7.0 / np.sqrt(n):
        return text
    if n >= 400:
        tails = abs(_kurtosis(own) - _kurtosis(sample))
        if tails > 6.0 * np.sqrt(24.0 / n) + 0.15:
            return f"{text}, of another shape"
    return ""


def _kurtosis(values: np.ndarray) -> float:
    centred = values - values.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


def _mend(call: KerasCall, link: Link) -> str:
    name = type(call.layer).__name__
    if call.kind == "linear":
        return "use kerasnets.layers.Linear"
    if name in layers.__all__ and not link.is_buffer:
        return f"use kerasnets.layers.{name}"
    if call.kind == "rnn":
        return "give kernel_initializer, recurrent_initializer and bias_initializer RandomUniform(±1/√units)"
    return f"give the layer PyTorch's distribution as {link.variable.name}_initializer"
