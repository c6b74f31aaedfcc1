"""Traced steps: which are worth making, and how many of them are kept."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Programs:
    """Traced steps by key; a new one is traced when that pays.

    Tracing takes as long as hundreds of steps, so a key must first have spent that time in stock Keras's steps: data
    whose shape changes from batch to batch then costs twice stock Keras's time at worst. The first program of each kind
    is traced at once.

    Args:
        bound: how many are kept; the least recently used one is dropped.
    """

    def __init__(self, bound: int = 64):
        self.bound = bound
        self._kept: OrderedDict[Hashable, tuple[Any, list]] = OrderedDict()
        self._spent: OrderedDict[Hashable, float] = OrderedDict()
        self._price: dict[str, float] = {}

    def get(self, kind: str, key: Hashable, held: list, trace: Callable[[], Any], at_once: bool = False):
        """The program for `key`, or None if stock Keras's step should run instead.

        Args:
            kind: ``"train"``, ``"test"`` or ``"predict"``.
            key: everything that the program has as a constant, objects by their ids.
            held: those objects, kept alive so that no id is reused.
            trace: makes the program.
            at_once: trace a new key now, so that the numbers don't depend on the clock.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        if not at_once and self._spent.get(key, 0.0) < self._price.get(kind, 0.0):
            return None
        begin = time.perf_counter()
        program = trace()
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
