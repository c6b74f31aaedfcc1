"""Compiled steps: what they were compiled from, and how many of them are kept."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import keras
import numpy as np

from kerasnets.engine.fallback import _NOT_IN_A_STEP


class Programs:
    """Compiled steps by key; a new one is compiled when that pays.

    Compiling takes as long as hundreds of steps, so a key must first have spent that time in stock Keras's steps: data
    whose shape changes from batch to batch then costs twice stock Keras's time at worst. The first program of each kind
    is compiled at once.

    Args:
        bound: how many are kept; the least recently used one is dropped.
    """

    def __init__(self, bound: int = 64):
        self.bound = bound
        self._kept: OrderedDict[Hashable, tuple[Any, list]] = OrderedDict()
        self._spent: OrderedDict[Hashable, float] = OrderedDict()
        self._price: dict[str, float] = {}

    def get(self, kind: str, key: Hashable, held: list, compile_step: Callable[[], Any]):
        """The program for `key`, or None if stock Keras's step should run instead.

        Args:
            kind: ``"train"``, ``"test"`` or ``"predict"``.
            key: everything that the program has as a constant, objects by their ids.
            held: those objects, kept alive so that no id is reused.
            compile_step: compiles the program.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        if self._spent.get(key, 0.0) < self._price.get(kind, 0.0):
            return None
        begin = time.perf_counter()
        program = compile_step()
        self._price[kind] = time.perf_counter() - begin
        self._spent.pop(key, None)
        self._kept[key] = program, held
        if len(self._kept) > self.bound:
            self._kept.popitem(last=False)
        return program

    def spend(self, key: Hashable, seconds: float) -> None:
        """Count the seconds of a stock step that had this key."""
        self._spent[key] = self._spent.get(key, 0.0) + seconds
        self._spent.move_to_end(key)
        if len(self._spent) > 16 * self.bound:
            self._spent.popitem(last=False)


def variables_of(model: keras.Model, kind: str) -> list:
    """The variables that a step of this kind (``"train"``, ``"test"`` or ``"predict"``) reads or changes, each once."""
    groups = [model.variables]
    if kind != "predict":
        groups.append(model.metrics_variables)
    if kind == "train":
        groups.append(model.optimizer.variables)
    return list({id(v): v for group in groups for v in group}.values())


def snapshot(parts: Iterable[object]) -> tuple[Hashable, list]:
    """The attributes of Keras objects as a key that changes when one of them does, and the objects it names by id."""
    held: list = []
    key = []
    for part in parts:
        held.append(part)
        items = [id(part)]
        for name, value in vars(part).items():
            if name not in _NOT_IN_A_STEP and not name.endswith("_initializer"):
                items.append(name)
                items.append(_frozen(value, held))
        key.append(tuple(items))
    return tuple(key), held


_PLAIN = (int, float, str, bool, bytes, type(None))


def _frozen(value, held: list) -> Hashable:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list | tuple):
        return tuple(_frozen(each, held) for each in value)
    if isinstance(value, dict):
        return tuple((str(name), _frozen(each, held)) for name, each in value.items())
    held.append(value)
    if isinstance(value, np.ndarray):
        return (id(value), value.tobytes()) if value.size <= 1024 else id(value)
    if hasattr(value, "_version") and hasattr(value, "data_ptr"):  # PyTorch's tensors count their changes
        return id(value), value._version
    return id(value)
