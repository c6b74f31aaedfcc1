"""What a traced step has as constants, as a key that changes when one of them does."""

from collections.abc import Hashable
from operator import is_

import keras
import numpy as np
import torch

from kerasnets._internal import keras_private
from kerasnets.engine.fallback import acts_in_a_step, parts
from kerasnets.engine.torch.optimizers import constants_of


def variables_of(model: keras.Model, kind: str) -> list[keras.Variable]:
    """The variables that a step of this kind (``"train"``, ``"test"`` or ``"predict"``) reads or changes, each once."""
    groups = [model.variables]
    if kind != "predict":
        groups.append(model.metrics_variables)
    if kind == "train":
        groups.append(model.optimizer.variables)
    return list({id(v): v for group in groups for v in group}.values())


class StepKey:
    """The key of a model's step: the attributes of Keras's objects, and where the variables' values are.

    Reading them all takes a millisecond. A look whether something was replaced since takes a tenth of that, so that it
    can be done before every step.

    Args:
        model: a Functional or Sequential model.
        kind: ``"train"``, ``"test"`` or ``"predict"``.
    """

    def __init__(self, model: keras.Model, kind: str):
        self.model, self.kind = model, kind
        self._key: Hashable = None

    def get(self) -> tuple[Hashable, list]:
        """The key now, and the objects that it names by their ids."""
        if self._key is None or not self._is_unchanged():
            self._read()
        return self._key, self._held

    def _owners(self) -> list:
        """What is compiled into the step as a whole."""
        model = self.model
        found = [getattr(model, "_functional", None), keras_private.global_generator()]
        if self.kind != "predict":
            found += [keras_private.compile_record(model), model.loss, model.optimizer]
        return found

    @staticmethod
    def _settings() -> tuple:
        return keras.config.epsilon(), keras.config.floatx(), keras.config.image_data_format()

    def _places(self) -> list[tuple]:
        return [(v.value, bool(v.trainable), v.regularizer, v.constraint) for v in self._variables]

    def _read(self) -> None:
        found = list(parts(self.model, self.kind))
        self._held = [found, self._owners()]
        self._now = self._settings()
        self._seen = [(vars(part), tuple(vars(part).values())) for part in found]
        self._mutable = [
            value
            for part in found
            for name, value in vars(part).items()
            if acts_in_a_step(name) and isinstance(value, list | dict | set | np.ndarray | torch.Tensor)
        ]
        self._frozen = [_frozen(value, []) for value in self._mutable]
        self._variables = variables_of(self.model, self.kind)
        self._values = self._places()
        optimizer = self.model.optimizer if self.kind == "train" else None
        self._scalars = [] if optimizer is None else _scalars_of(optimizer)
        self._versions = [scalar.value._version for scalar in self._scalars]
        attributes = tuple(
            (
                id(part),
                *((name, _frozen(value, self._held)) for name, value in vars(part).items() if acts_in_a_step(name)),
            )
            for part in found
        )
        places = tuple((v.data_ptr(), trainable, id(r), id(c)) for v, trainable, r, c in self._values)
        constants = () if optimizer is None else _frozen(constants_of(optimizer), self._held)
        self._key = (self._now, attributes, places, tuple(map(id, self._owners())), constants)

    def _is_unchanged(self) -> bool:
        return (
            self._now == self._settings()
            and all(map(is_, self._owners(), self._held[1]))
            and all(len(now) == len(then) and all(map(is_, now.values(), then)) for now, then in self._seen)
            and self._frozen == [_frozen(value, []) for value in self._mutable]
            and all(all(map(is_, now, then)) for now, then in zip(self._places(), self._values, strict=True))
            and self._versions == [scalar.value._version for scalar in self._scalars]
        )


def _scalars_of(optimizer) -> list[keras.Variable]:
    """Numbers of the optimizer that a fused step takes as constants, such as the momentum."""
    changing = (optimizer.iterations, keras_private.learning_rate_of(optimizer))
    found = [value for value in vars(optimizer).values() if isinstance(value, keras.Variable) and value.shape == ()]
    return [value for value in found if not any(value is each for each in changing)]


_PLAIN = (int, float, str, bool, bytes, type(None))


def _frozen(value, held: list) -> Hashable:
    """`value` as part of a key; objects go by their ids and are kept in `held`."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list | tuple):
        return tuple(_frozen(each, held) for each in value)
    if isinstance(value, dict):
        return tuple((str(name), _frozen(each, held)) for name, each in value.items())
    held.append(value)
    if isinstance(value, np.ndarray):
        return (id(value), value.tobytes()) if value.size <= 1024 else id(value)
    if isinstance(value, torch.Tensor):  # which counts its changes
        return id(value), value._version
    return id(value)
