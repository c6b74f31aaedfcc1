"""Compiled steps, kept with what they were compiled from."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import keras


class Programs:
    """One compiled step a name; it is compiled anew when what it was compiled from has changed."""

    def __init__(self):
        self._kept: dict[Hashable, tuple[Hashable, Sequence, Any]] = {}

    def get(self, name: Hashable, key: Hashable, objects: Sequence, make: Callable[[], Any]):
        """The program called `name`.

        Args:
            name: kind of step, and batch size where that is compiled in.
            key: values that are compiled in.
            objects: variables, optimizer and the like that are compiled in, compared by identity. They are kept, so
                that none of them can be mistaken for a later one.
            make: compiles the program.
        """
        kept = self._kept.get(name)
        if kept is None or kept[0] != key or list(map(id, kept[1])) != list(map(id, objects)):
            kept = self._kept[name] = (key, objects, make())
        return kept[2]


def variables_of(model: keras.Model, kind: str) -> list:
    """The variables that a step of this kind (``"train"``, ``"test"`` or ``"predict"``) reads or changes, each once."""
    groups = [model.variables]
    if kind != "predict":
        groups.append(model.metrics_variables)
    if kind == "train":
        groups.append(model.optimizer.variables)
    return list({id(v): v for group in groups for v in group}.values())


def parts(model: keras.Model, kind: str) -> tuple[Hashable, list]:
    """Key and objects of such a step, for :meth:`Programs.get`."""
    variables = variables_of(model, kind)
    compiled = [] if kind == "predict" else [model._compile_config, model.loss, model.optimizer]
    return tuple(bool(v.trainable) for v in variables), [*variables, *compiled]
