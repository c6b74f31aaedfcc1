"""A case is played twice, through stock Keras and by the fast path, and everything that it recorded must be equal.

A case is a function of a :class:`Trial`. It builds and compiles a model and calls ``trial.fit``, ``trial.evaluate`` and
``trial.predict``, with whatever changes in between; each of them records what came out. :func:`play` runs it one way,
:func:`differences` compares two records.
"""

import contextlib
import dataclasses
import gc
import inspect
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kerasnets
from kerasnets import models

ALL = tuple(kerasnets.backend.BACKENDS)

#: Seconds after which a case counts as hanging.
LIMIT = 300

CASES: dict[str, "Case"] = {}


@dataclasses.dataclass(frozen=True)
class Case:
    """What is played, and what to expect of it.

    Args:
        name: unique, a path of words.
        play: function of a :class:`Trial`.
        rtol, atol: how far the two ways may differ by rounding.
        backends: where stock Keras can do it.
        floatx: Keras's float type while it is played.
        user_code: whether the model has Python code that isn't Keras's or kerasnets': without trust it runs through
            stock Keras.
        trust: whether ``accelerate(model, trust=True)`` is played.
        stock: whether something else in it is known to go through stock Keras.
        raises: whether stock Keras raises here.
        known: backend to the reason why the two differ there, and may.
    """

    name: str
    play: Callable[["Trial"], None]
    rtol: float = 2e-4
    atol: float = 1e-5
    backends: tuple[str, ...] = ALL
    floatx: str = "float32"
    user_code: bool = False
    trust: bool = False
    stock: bool = False
    raises: bool = False
    known: dict[str, str] = dataclasses.field(default_factory=dict)


def case(name: str, **options) -> Callable:
    """Decorator that puts a function of a :class:`Trial` into the table.

    A case of user code that may be traced (``traceable=True``) is there twice, the second time with trust.
    """
    traceable = options.pop("traceable", False)

    def add(play):
        found = [Case(name, play, **options)]
        if traceable:
            found = [
                Case(name, play, **{**options, "user_code": True}),
                Case(f"{name} (trusted)", play, **{**options, "user_code": False, "trust": True}),
            ]
        for one in found:
            if one.name in CASES:
                raise ValueError(f"There are two cases called {one.name!r}.")
            CASES[one.name] = one
        return play

    return add


def exact(name: str, **options) -> Callable:
    """As :func:`case`, in float64 and to 1e-9."""
    return case(name, **{"floatx": "float64", "rtol": 1e-9, "atol": 1e-10, **options})


class Recorder(keras.callbacks.Callback):
    """Writes down every call, its index, and the numbers in its logs."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def _note(self, name, *args, logs=None):
        logs = dict(logs or {})
        if "outputs" in logs:
            logs["outputs"] = keras.tree.map_structure(lambda a: tuple(a.shape), logs["outputs"])
        self.calls.append((name, *args, logs))


def _recording(name):
    def method(self, *args, logs=None):
        if args and (args[-1] is None or isinstance(args[-1], dict)):
            *args, logs = args
        self._note(name, *args, logs=logs)

    return method


for _name in (
    *("on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end", "on_test_begin", "on_test_end"),
    *("on_predict_begin", "on_predict_end", "on_train_batch_begin", "on_train_batch_end", "on_test_batch_begin"),
    *("on_test_batch_end", "on_predict_batch_begin", "on_predict_batch_end"),
):
    setattr(Recorder, _name, _recording(_name))


class Trial:
    """One way through a case.

    Args:
        case: the case.
        fast: whether by the fast path.
        folder: an empty folder for files.
        nudge: the initial weights are moved by this relative amount, to see how far rounding grows.
    """

    def __init__(self, case: Case, fast: bool, folder: Path, nudge: float = 0.0):
        self.case, self.fast, self.folder, self.nudge = case, fast, folder, nudge
        self.backend = keras.config.backend()
        self.records: list[tuple[str, Any]] = []
        self._nudged: set[int] = set()
        self._accelerated: list[keras.Model] = []

    # What a case calls

    def accelerate(self, model: keras.Model) -> keras.Model:
        """`model`, made fast if this is the fast way."""
        if self.fast and not isinstance(model, models.Model | models.Sequential):
            model = kerasnets.accelerate(model, **({"trust": True} if self.case.trust else {}))
        self._accelerated.append(model)
        return model

    def fit(self, model, *args, optimizer: bool = True, **options):
        """``model.fit`` of a few steps; history, callbacks' calls and the state afterwards are recorded."""
        self._ready(model)
        given = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0, **options}
        if not _takes_batch_size(args[0] if args else options.get("x")):
            del given["batch_size"]
        history = self._call(model, "fit", *args, **given)
        self.note("fit: history", dict(history.history))
        self.note("fit: epochs", list(history.epoch))
        self._note_calls(options.get("callbacks"))
        self.state(model, "fit", optimizer)
        return history

    def evaluate(self, model, *args, **options):
        """``model.evaluate``, recorded."""
        self._ready(model)
        given = {"batch_size": 8, "verbose": 0, "return_dict": True, **options}
        if not _takes_batch_size(args[0] if args else options.get("x")):
            del given["batch_size"]
        result = self._call(model, "evaluate", *args, **given)
        self.note("evaluate", result)
        self._note_calls(options.get("callbacks"))
        self.state(model, "evaluate", optimizer=False)
        return result

    def predict(self, model, *args, **options):
        """``model.predict``, recorded."""
        self._ready(model)
        given = {"batch_size": 8, "verbose": 0, **options}
        if not _takes_batch_size(args[0] if args else options.get("x")):
            del given["batch_size"]
        outputs = self._call(model, "predict", *args, **given)
        self.note("predict", outputs)
        self._note_calls(options.get("callbacks"))
        return outputs

    def all(self, model, x, y=None, *, evaluate=None, predict=None, **options):
        """`fit`, `evaluate` and `predict` on the same data."""
        self.fit(model, x, y, **options)
        weights = {k: options[k] for k in ("sample_weight",) if k in options}
        self.evaluate(model, x, y, **{**weights, **(evaluate or {})})
        self.predict(model, x, **(predict or {}))

    def state(self, model, when: str = "", optimizer: bool = True) -> None:
        """Record the model's variables, with the seed generators', and the optimizer's."""
        groups = {"weights": model.variables, "metrics": model.metrics_variables}
        if optimizer and getattr(model, "optimizer", None) is not None:
            groups["optimizer"] = model.optimizer.variables
        for group, variables in groups.items():
            values = {}
            for index, variable in enumerate(variables):
                values[f"{index} {variable.path}"] = keras.ops.convert_to_numpy(variable.value)
            self.note(f"{when}: {group}", values)

    def note(self, name: str, value) -> None:
        """Record any value."""
        self.records.append((f"{len(self.records)} {name}", _plain(value)))

    # How

    def _call(self, model, method, *args, **options):
        checked = isinstance(model, models.Model | models.Sequential)
        if checked and "accelerate" not in options:
            options["accelerate"] = self.fast
        elif not checked and not self.fast:
            options.pop("accelerate", None)
        return getattr(model, method)(*args, **options)

    def _ready(self, model) -> None:
        if not self.nudge or id(model) in self._nudged or not model.built:
            return
        self._nudged.add(id(model))
        random = np.random.default_rng(5)
        for variable in model.weights:
            value = keras.ops.convert_to_numpy(variable.value)
            if value.dtype.kind == "f":
                variable.assign(value * (1 + self.nudge * random.choice([-1, 1], value.shape)).astype(value.dtype))

    def _note_calls(self, callbacks) -> None:
        for callback in callbacks or () if isinstance(callbacks, list | tuple | None) else ():
            if isinstance(callback, Recorder):
                self.note("callbacks", list(callback.calls))
                callback.calls.clear()


def _takes_batch_size(x) -> bool:
    arrays = keras.tree.flatten(x)
    return x is not None and all(hasattr(a, "shape") and hasattr(a, "dtype") for a in arrays)


def _plain(value):
    """`value` with tensors as NumPy arrays, and nothing that changes later."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else tuple(map(_plain, value))
    if isinstance(value, keras.Variable) or keras.ops.is_tensor(value):
        return _Tensor(np.array(keras.ops.convert_to_numpy(value)))
    return value.copy() if isinstance(value, np.ndarray) else value


@dataclasses.dataclass
class _Tensor:
    """What was a tensor of the backend's, and no array of NumPy's."""

    value: np.ndarray


@dataclasses.dataclass
class Outcome:
    """The record of a case that was played one way."""

    records: list[tuple[str, Any]]
    error: BaseException | None
    trace: str
    stock_reasons: list[str]
    other_warnings: list[str]


def play(case: Case, fast: bool, nudge: float = 0.0) -> Outcome:
    """Play `case` one way, from the same random state."""
    keras.utils.clear_session(free_memory=False)
    gc.collect()
    _say_again()
    with (
        tempfile.TemporaryDirectory() as folder,
        precision(case.floatx),
        time_limit(LIMIT),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        keras.utils.set_random_seed(1)
        trial = Trial(case, fast, Path(folder), nudge)
        error, trace = None, ""
        try:
            case.play(trial)
        except HangError:
            raise
        except Exception as raised:
            error, trace = raised, "".join(traceback.format_exception(raised)[-6:])
    said = {True: [], False: []}
    for warning in caught:
        said[warning.category.__name__ == "StockFitWarning"].append(f"{warning.category.__name__}: {warning.message}")
    said = {key: list(dict.fromkeys(lines)) for key, lines in said.items()}
    return Outcome(trial.records, error, trace, said[True], said[False])


def _say_again() -> None:
    """Let every reason for stock Keras be said as if for the first time."""
    for name, module in list(sys.modules.items()):
        if name.startswith("kerasnets"):
            for value in (getattr(module, "_said", None), getattr(module, "said", None)):
                if isinstance(value, set | dict | list):
                    value.clear()


@contextlib.contextmanager
def precision(floatx: str) -> Iterator[None]:
    """Keras in another float type; the global policy is float32 again afterwards."""
    from kerasnets import backend

    backend.set_dtype(floatx)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")
        backend.set_dtype("float32")


class HangError(BaseException):
    """A case took too long."""


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """An error where the block takes longer; nothing on systems without alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_):
        raise HangError(f"The case took longer than {seconds} s.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Comparing


def differences(stock: Outcome, fast: Outcome, rtol: float, atol: float) -> list[str]:
    """What differs by more than rounding, a line each, in the order of the records."""
    found = []
    for (name, expected), (other, actual) in zip(stock.records, fast.records, strict=False):
        if name != other:
            return [*found, f"stock recorded {name!r} where fast recorded {other!r}"]
        found += _compare(name, expected, actual, rtol, atol)
    if not _failed_alike(stock.error, fast.error):
        found.append(f"stock raised {_named(stock.error)}; fast raised {_named(fast.error)}")
    elif len(stock.records) != len(fast.records):
        found.append(f"stock made {len(stock.records)} records, fast {len(fast.records)}")
    return found


def _failed_alike(stock, fast) -> bool:
    if type(stock) is type(fast):
        return True
    # JAX, weights read within a batch: stock Keras has taken them out of the variables, ours leaves the deleted ones
    # there, for the sake of other threads. Neither can be read before ``model.jax_state_sync()``.
    return "'NoneType' object is not callable" in str(stock) and "has been deleted" in str(fast)


def _named(error) -> str:
    return "nothing" if error is None else f"{type(error).__name__}: {str(error).strip()[:300]}"


def _compare(path, expected, actual, rtol, atol) -> list[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        if list(expected) != list(actual):
            return [f"{path}: keys {list(expected)} in stock, {list(actual)} in fast"]
        return [line for key in expected for line in _compare(f"{path}[{key}]", expected[key], actual[key], rtol, atol)]
    if isinstance(expected, list | tuple) and type(expected) is type(actual):
        if len(expected) != len(actual):
            return [f"{path}: {len(expected)} entries in stock, {len(actual)} in fast"]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for i, (e, a) in pairs for line in _compare(f"{path}[{i}]", e, a, rtol, atol)]
    if type(expected) is not type(actual):
        return [f"{path}: {_kind(expected)} in stock, {_kind(actual)} in fast"]
    if isinstance(expected, _Tensor):
        return _compare(path, expected.value, actual.value, rtol, atol)
    if isinstance(expected, np.ndarray):
        if expected.shape != actual.shape or expected.dtype != actual.dtype:
            return [f"{path}: {_kind(expected)} in stock, {_kind(actual)} in fast"]
        e, a = (
            np.asarray(v, float) if v.dtype.kind != "c" and v.dtype.name != "object" else v for v in (expected, actual)
        )
    elif isinstance(expected, bool | str | bytes | None) or not isinstance(expected, float | int | np.number):
        return [] if expected == actual else [f"{path}: {expected!r} in stock, {actual!r} in fast"]
    else:
        e, a = np.asarray(expected, float), np.asarray(actual, float)
    tight = np.asarray(expected).dtype.kind in "iub"
    if np.allclose(a, e, rtol=0 if tight else rtol, atol=0 if tight else atol, equal_nan=True):
        return []
    with np.errstate(all="ignore"):
        difference = np.abs(a - e)
        worst = np.unravel_index(np.nanargmax(np.where(np.isnan(difference), np.inf, difference)), difference.shape)
    return [
        f"{path}: stock {e[worst]:.8g}, fast {a[worst]:.8g} at {worst} (largest difference {difference[worst]:.2g})"
    ]


def _kind(value) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype}{value.shape}"
    if isinstance(value, _Tensor):
        return f"a tensor {value.value.dtype}{value.value.shape}"
    return f"{type(value).__name__} {str(value)[:60]}"


def has_trust() -> bool:
    """Whether ``accelerate`` takes ``trust``."""
    return "trust" in inspect.signature(kerasnets.accelerate).parameters
