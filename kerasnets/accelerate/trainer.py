"""``fit``, ``evaluate`` and ``predict`` of ``keras.Model``, on an engine that runs many steps a call.

Arguments, callbacks and results are stock Keras's. Callbacks that look at every batch get every batch; where none does,
an epoch is two calls of the engine, one for the full batches and one for a smaller last one.
"""

import importlib
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from kerasnets.batches import Batches, epoch_order
from kerasnets.callbacks import StepLog

#: Times that a progress bar moves in an epoch.
_BAR_MOVES = 50

_said: set[str] = set()


class StockFitWarning(UserWarning):
    """Said once for each reason why a ``fit``, ``evaluate`` or ``predict`` runs through stock Keras."""


def engine_of(model: keras.Model):
    """The engine of `model` on the active backend; it is kept with the model, and so are its compiled programs."""
    if "_kerasnets_engine" not in model.__dict__:
        module = importlib.import_module(f"kerasnets.accelerate.{keras.config.backend()}")
        model.__dict__["_kerasnets_engine"] = module.Engine(model)
    return model.__dict__["_kerasnets_engine"]


def fit(
    model: keras.Model,
    stock: Callable[..., keras.callbacks.History],
    x=None,
    y=None,
    batch_size=None,
    epochs=1,
    verbose="auto",
    callbacks=None,
    validation_split=0.0,
    validation_data=None,
    shuffle=True,
    class_weight=None,
    sample_weight=None,
    initial_epoch=0,
    steps_per_epoch=None,
    validation_steps=None,
    validation_batch_size=None,
    validation_freq=1,
    *,
    seed: int | None = None,
) -> keras.callbacks.History:
    """``keras.Model.fit`` with its arguments, fast where it can be.

    `stock` is stock Keras's bound method, for what the engine does not handle. `seed` is that of the batches' order,
    which is a function of (seed, epoch); None: ``keras.utils.set_random_seed``'s, or a new one where there was none.
    """
    given = {
        "batch_size": batch_size, "epochs": epochs, "verbose": verbose, "callbacks": callbacks,
        "validation_split": validation_split, "validation_data": validation_data, "shuffle": shuffle,
        "class_weight": class_weight, "sample_weight": sample_weight, "initial_epoch": initial_epoch,
        "steps_per_epoch": steps_per_epoch, "validation_steps": validation_steps,
        "validation_batch_size": validation_batch_size, "validation_freq": validation_freq,
    }  # fmt: skip

    def by_stock(reason):
        _say(reason)
        return stock(x, y, **given)

    model._assert_compile_called("fit")
    reason = _why_not(model, "train_step")
    if steps_per_epoch is not None:
        reason = reason or "steps_per_epoch is given"
    if shuffle not in (True, False):
        reason = reason or f"shuffle={shuffle!r}"
    if validation_steps is not None:
        reason = reason or "validation_steps is given"
    if reason:
        return by_stock(reason)
    seed = _seed(seed)
    try:
        source, validation_data = _training_source(
            x, y, sample_weight, class_weight, batch_size, validation_split, validation_data, bool(shuffle), seed
        )
        validation = None
        if validation_data is not None:
            validation_data = keras.utils.unpack_x_y_sample_weight(validation_data)
            validation = _source(*validation_data, validation_batch_size or batch_size, shuffle=False, seed=0)
    except _UnhandledError as unhandled:
        return by_stock(str(unhandled))

    engine = engine_of(model)
    first = next(source.examples())
    model._symbolic_build(data_batch=_without_none(first))
    try:
        source.move(engine)
        source.prepare(engine)
        if validation is not None:
            validation.move(engine)
            validation.prepare(engine, "test")
    except Exception as error:  # whatever a tracer raises for a layer or metric it can't follow
        return by_stock(_untraced(error))

    if not isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = keras.callbacks.CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=epochs,
            steps=len(source),
            model=model,
        )
    stride = _stride(callbacks, "train", len(source))

    model.stop_training = False
    logs: dict[str, Any] = {}
    callbacks.on_train_begin()
    for epoch in range(model._initial_epoch or initial_epoch, epochs):
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        for begin, end, run in source.steps(engine, epoch, stride):
            if stride is None:
                run()
            else:
                callbacks.on_train_batch_begin(begin)
                run()
                callbacks.on_train_batch_end(end - 1, _logs(model))
            if model.stop_training:
                break
        logs = _logs(model)
        if validation is not None and model._should_eval(epoch, validation_freq):
            held_out = _evaluate(model, engine, validation, callbacks)
            logs |= {f"val_{name}": value for name, value in held_out.items()}
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    if epochs > 0:
        model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end(logs=logs)
    return model.history


def evaluate(
    model: keras.Model,
    stock: Callable,
    x=None,
    y=None,
    batch_size=None,
    verbose="auto",
    sample_weight=None,
    steps=None,
    callbacks=None,
    return_dict=False,
    **kwargs,
):
    """``keras.Model.evaluate`` with its arguments, fast where it can be; `stock` as in :func:`fit`."""

    def by_stock(reason):
        _say(reason)
        return stock(
            x, y, batch_size=batch_size, verbose=verbose, sample_weight=sample_weight, steps=steps,
            callbacks=callbacks, return_dict=return_dict, **kwargs,
        )  # fmt: skip

    if kwargs:  # stock fit's own call
        return by_stock("")
    model._assert_compile_called("evaluate")
    reason = _why_not(model, "test_step") or ("steps is given" if steps is not None else None)
    if reason:
        return by_stock(reason)
    try:
        source = _source(x, y, sample_weight, batch_size, shuffle=False, seed=0)
    except _UnhandledError as unhandled:
        return by_stock(str(unhandled))
    engine = engine_of(model)
    model._symbolic_build(data_batch=_without_none(next(source.examples())))
    try:
        source.move(engine)
        source.prepare(engine, "test")
    except Exception as error:
        return by_stock(_untraced(error))
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = keras.callbacks.CallbackList(
            callbacks, add_progbar=verbose != 0, verbose=verbose, epochs=1, steps=len(source), model=model
        )
    logs = _evaluate(model, engine, source, callbacks)
    return logs if return_dict else model._flatten_metrics_in_order(logs)


def predict(model: keras.Model, stock: Callable, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
    """``keras.Model.predict`` with its arguments, fast where it can be; `stock` as in :func:`fit`."""

    def by_stock(reason):
        _say(reason)
        return stock(x, batch_size=batch_size, verbose=verbose, steps=steps, callbacks=callbacks)

    reason = _why_not(model, "predict_step") or ("steps is given" if steps is not None else None)
    if reason:
        return by_stock(reason)
    try:
        source = _source(x, None, None, batch_size, shuffle=False, seed=0)
    except _UnhandledError as unhandled:
        return by_stock(str(unhandled))
    engine = engine_of(model)
    if not model.built:
        model(next(source.examples())[0])
    try:
        source.move(engine)
        source.prepare(engine, "predict")
    except Exception as error:
        return by_stock(_untraced(error))
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = keras.callbacks.CallbackList(
            callbacks, add_progbar=verbose != 0, verbose=verbose, epochs=1, steps=len(source), model=model
        )
    model.stop_predicting = False
    callbacks.on_predict_begin()
    parts = []
    for begin, end, run in source.steps(engine, 0, 1, "predict"):
        callbacks.on_predict_batch_begin(begin)
        parts.append(run())
        callbacks.on_predict_batch_end(end - 1, {"outputs": parts[-1]})
        if model.stop_predicting:
            break
    callbacks.on_predict_end()
    return keras.tree.map_structure(
        lambda *outputs: np.concatenate([keras.ops.convert_to_numpy(output) for output in outputs]), *parts
    )


def _evaluate(model, engine, source, callbacks) -> dict[str, Any]:
    stride = _stride(callbacks, "test", len(source))
    model.stop_evaluating = False
    callbacks.on_test_begin()
    model.reset_metrics()
    for begin, end, run in source.steps(engine, 0, stride, "test"):
        if stride is None:
            run()
        else:
            callbacks.on_test_batch_begin(begin)
            run()
            callbacks.on_test_batch_end(end - 1, _logs(model))
        if model.stop_evaluating:
            break
    logs = _logs(model)
    callbacks.on_test_end(logs)
    return logs


# Where the examples come from


class _UnhandledError(Exception):
    """Data that the engines don't take; the message is the reason, empty where stock Keras's error follows."""


class _Arrays:
    """Arrays of examples, their order a function of (seed, epoch)."""

    def __init__(self, data: tuple, batch_size: int, shuffle: bool, seed: int):
        self.data, self.batch_size, self.shuffle, self.seed = data, batch_size, shuffle, seed
        sizes = {len(leaf) for leaf in keras.tree.flatten(data) if leaf is not None}
        if len(sizes) != 1:
            raise _UnhandledError
        (self.n,) = sizes

    def __len__(self) -> int:
        return math.ceil(self.n / self.batch_size)

    def examples(self) -> Iterator[tuple]:
        yield keras.tree.map_structure(lambda a: None if a is None else a[: self.batch_size], self.data)

    def move(self, engine) -> None:
        self.data = keras.tree.map_structure(lambda a: None if a is None else engine.put(a), self.data)

    def _groups(self, engine, epoch: int) -> list[tuple[Any, int]]:
        """Which examples each step sees: the full batches, and a smaller last one."""
        order = epoch_order(self.n, self.seed, epoch) if self.shuffle else np.arange(self.n)
        full = self.n // self.batch_size * self.batch_size
        groups = []
        if full:
            groups.append((engine.put(order[:full].reshape(-1, self.batch_size)), full // self.batch_size))
        if full < self.n:
            groups.append((engine.put(order[full:][None]), 1))
        return groups

    def prepare(self, engine, kind: str = "train") -> None:
        if hasattr(engine, "prepare"):
            for rows, _ in self._groups(engine, 0):
                engine.prepare(kind, self.data, rows)

    def steps(self, engine, epoch: int, stride: int | None, kind: str = "train") -> Iterator[tuple[int, int, Callable]]:
        """First step, step after the last, and the function that runs them, `stride` steps or all of a size a time."""
        offset = 0
        for rows, count in self._groups(engine, epoch):
            begin = 0
            while begin < count:
                # Calls end at multiples of the stride, counted from the epoch's first step.
                end = count if stride is None else min(count, begin + stride - (offset + begin) % stride)
                if kind == "predict":
                    run = lambda begin=begin, rows=rows: engine.predict(self.data, rows, begin)  # noqa: E731
                else:
                    run = lambda begin=begin, end=end, rows=rows: getattr(engine, kind)(self.data, rows, begin, end)  # noqa: E731
                yield offset + begin, offset + end, run
                begin = end
            offset += count


class _Loader:
    """A ``torch.utils.data.DataLoader``: its own order, a step a batch."""

    def __init__(self, loader):
        self.loader, self.batch_size = loader, loader.batch_size

    def __len__(self) -> int:
        return len(self.loader)

    def _arrays(self, batch):
        parts = keras.utils.unpack_x_y_sample_weight(tuple(batch) if isinstance(batch, list) else batch)
        return tuple(keras.tree.map_structure(lambda a: None if a is None else np.asarray(a), part) for part in parts)

    def examples(self) -> Iterator[tuple]:
        yield self._arrays(next(iter(self.loader)))

    def move(self, engine) -> None:
        """Nothing: every batch is moved when its turn has come."""

    def prepare(self, engine, kind: str = "train") -> None:
        """Nothing, for the same reason."""

    def steps(self, engine, epoch, stride, kind="train") -> Iterator[tuple[int, int, Callable]]:
        for index, batch in enumerate(self.loader):
            data = keras.tree.map_structure(lambda a: None if a is None else engine.put(a), self._arrays(batch))
            size = len(keras.tree.flatten(data)[0])
            rows = engine.put(np.arange(size)[None])
            if kind == "predict":
                run = lambda data=data, rows=rows: engine.predict(data, rows, 0)  # noqa: E731
            else:
                run = lambda data=data, rows=rows: getattr(engine, kind)(data, rows, 0, 1)  # noqa: E731
            yield index, index + 1, run


def _training_source(x, y, sample_weight, class_weight, batch_size, validation_split, validation_data, shuffle, seed):
    """The source of a training, and its validation data, split off where it is asked for."""
    if type(x) is Batches or _is_loader(x):
        if validation_split and validation_data is None:
            raise _UnhandledError
        if class_weight is not None:
            raise _UnhandledError("" if _is_loader(x) else "class_weight is given beside a PyDataset")
        source = _source(x, y, sample_weight, batch_size, shuffle=shuffle, seed=seed)
        return _Arrays((x.x, x.y, None), x.batch_size, True, x.seed) if type(x) is Batches else source, validation_data
    if class_weight is not None:
        if sample_weight is not None:
            raise _UnhandledError
        if not isinstance(y, np.ndarray) or y.ndim != 1:
            raise _UnhandledError("class_weight is given beside other than a vector of labels")
    if validation_split and validation_data is None:
        arrays = _checked_arrays(x, y, sample_weight)
        n = len(keras.tree.flatten(arrays)[0])
        cut = math.floor(n * (1.0 - validation_split))
        if not 0 < cut < n:
            raise _UnhandledError
        parts = [
            keras.tree.map_structure(lambda a, part=part: None if a is None else a[part], arrays)
            for part in (slice(cut), slice(cut, None))
        ]
        (x, y, sample_weight), validation_data = parts
    if class_weight is not None:  # of the training alone
        sample_weight = np.ones(len(y), keras.config.floatx())
        for label, weight in class_weight.items():
            sample_weight[y == label] = weight
    return _source(x, y, sample_weight, batch_size, shuffle=shuffle, seed=seed), validation_data


def _source(x, y, sample_weight, batch_size, *, shuffle: bool, seed: int):
    if (type(x) is Batches or _is_loader(x)) and (y is not None or sample_weight is not None):
        raise _UnhandledError
    if type(x) is Batches:
        return _Arrays((x.x[x._order], x.y[x._order], None), x.batch_size, False, seed)
    if _is_loader(x):
        try:
            len(x)
        except TypeError:
            raise _UnhandledError("the loader has no length") from None
        return _Loader(x)
    return _Arrays(_checked_arrays(x, y, sample_weight), batch_size or 32, shuffle, seed)


def _checked_arrays(x, y, sample_weight) -> tuple:
    if y is None and sample_weight is not None:
        raise _UnhandledError("there are weights and no labels")
    leaves = [leaf for leaf in keras.tree.flatten((x, y, sample_weight)) if leaf is not None]
    for leaf in leaves:
        if not _is_array(leaf):
            raise _UnhandledError(f"the data comes as {type(leaf).__name__}, not as arrays")
    if x is None or not leaves:
        raise _UnhandledError("there are no arrays")
    return x, y, sample_weight


def _is_array(leaf) -> bool:
    if isinstance(leaf, np.ndarray):
        return leaf.dtype.kind in "biuf" and leaf.ndim > 0
    dense = not hasattr(leaf, "dense_shape") and not hasattr(leaf, "row_splits")
    return keras.ops.is_tensor(leaf) and dense and len(leaf.shape) > 0


def _is_loader(x) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.utils.data.DataLoader)


def _without_none(batch: tuple) -> tuple:
    return tuple(part for part in batch if part is not None)


def _seed(seed: int | None) -> int:
    if seed is None:
        seed = keras.src.utils.rng_utils.get_random_seed()
    return int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed


# What stock Keras has to do


def is_graph(model) -> bool:
    """Whether `model` is a Functional or Sequential Keras model."""
    return isinstance(model, keras.Sequential) or (
        isinstance(model, keras.Model) and bool(getattr(model, "inputs", None))
    )


def _why_not(model: keras.Model, step: str) -> str | None:
    """The reason why `model` must run through stock Keras; None: it need not."""
    if not is_graph(model):
        return f"{type(model).__name__} is neither Functional nor Sequential"
    if getattr(type(model), step) is not getattr(keras.Model, step) or step in model.__dict__:
        return f"{type(model).__name__} has a {step} of its own"
    if model.run_eagerly:
        return "run_eagerly is on"
    if keras.distribution.distribution() is not None:
        return "a keras.distribution is in use"
    if keras.config.max_epochs() or keras.config.max_steps_per_epoch():
        return "Keras is configured to limit epochs or steps"
    return engine_of(model).why_not(model)


def _untraced(error: Exception) -> str:
    return f"the step can't be traced ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})"


def _say(reason: str) -> None:
    if reason and reason not in _said:
        _said.add(reason)
        warnings.warn(
            f"This runs through stock Keras, which is slower: {reason}. (accelerate=False does so without this line.)",
            StockFitWarning,
            stacklevel=5,
        )


def _stride(callbacks: Iterable, phase: str, steps: int) -> int | None:
    """How many steps may pass between two calls of the callbacks' batch methods; None: nobody asks for them."""
    strides = []
    for callback in callbacks.callbacks:
        if type(callback) is keras.callbacks.ProgbarLogger:
            if callback.verbose not in (0, 2):
                strides.append(max(1, steps // _BAR_MOVES))
        elif type(callback) is StepLog:
            if phase == "train":
                strides.append(callback.every)
        elif type(callback) in (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore):
            if callback.save_freq != "epoch" and phase == "train":
                strides.append(1)
        elif any(
            not getattr(getattr(callback, name), "_is_default", False)
            for name in (f"on_{phase}_batch_begin", f"on_{phase}_batch_end", "on_batch_begin", "on_batch_end")
        ):
            strides.append(1)
    return math.gcd(*strides) if strides else None


def _logs(model: keras.Model) -> dict[str, Any]:
    """The metrics so far, as Python's numbers, in the order of stock Keras's."""
    return keras.src.utils.python_utils.pythonify_logs(model.get_metrics_result())
