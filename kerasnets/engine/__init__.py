"""The fast path: engines that run many steps per call, one per backend, inside Keras's own ``fit``.

Keras's loop stays in charge of arguments, epochs, validation, callbacks and history. Two things are ours. A data
adapter keeps arrays on the device (:mod:`~kerasnets.engine.source`) or collects batches that come one by one
(:mod:`~kerasnets.engine.stream`), and a function runs a block of steps in one call of the backend's engine. What must
not run that way is decided in :mod:`~kerasnets.engine.fallback`.
"""

import contextlib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasnets import batches
from kerasnets._internal import keras_private
from kerasnets._internal.arguments import check_integer
from kerasnets.engine import fallback
from kerasnets.engine.callbacks import BlockCallbacks, steps_between_looks
from kerasnets.engine.inputs import check_stock
from kerasnets.engine.labels import check_batch
from kerasnets.engine.protocol import Engine
from kerasnets.engine.rescue import before_interrupts, weights_kept
from kerasnets.engine.source import Arrays, OrderOf, arrays_source, split
from kerasnets.engine.stream import Stream, stream_of
from kerasnets.initializers import words_drawn

Source = Arrays | Stream | None


def engine_of(model: keras.Model) -> Engine:
    """The engine of `model` on the active backend; it is kept with the model, and so are its compiled programs."""
    if "_kerasnets_engine" not in model.__dict__:
        module = importlib.import_module(f"kerasnets.engine.{keras.config.backend()}")
        model.__dict__.setdefault("_kerasnets_engine", module.Engine(model))  # or another thread's
    return model.__dict__["_kerasnets_engine"]


def fit(model: keras.Model, stock: Callable, *args, fast: bool = True, seed: int | None = None, **kwargs):
    """``keras.Model.fit``, with blocks of steps where the model and the data allow it.

    Args:
        model: the model.
        stock: stock Keras's bound ``fit``.
        *args: arguments of ``keras.Model.fit``.
        fast: False for stock Keras's own steps.
        seed: seed of the order of batches: that of PyTorch's ``DataLoader`` after ``torch.manual_seed(seed)`` and the
            network's initial weights, a function of (seed, the number of these weights, epoch). None: each epoch
            continues what ``keras.utils.set_random_seed`` started. It needs arrays: other data has its own order.
        **kwargs: arguments of ``keras.Model.fit``.

    Returns:
        The ``keras.callbacks.History``.

    Raises:
        ValueError: `seed` is not a whole number ≥ 0, or is given for data with an order of its own.
    """
    options = _bound(keras.Model.fit, model, args, kwargs)
    if seed is not None:
        check_integer("seed", seed, low=0)
        if reason := keras_private.find_missing():
            raise ValueError(f"seed={seed} can't be used: {reason}. Leave seed out, or install a tested Keras.")
    keras_private.assert_compiled(model, "fit")
    if not hasattr(model, "checks_arrays"):
        check_stock(model, options["x"], options["y"], options["validation_data"])
    engine = _engine_if(fast, model, "train")
    train, test = _fit_sources(model, options, seed, engine)
    if engine is not None:
        _check_labels(model, train, test)
    if seed is not None and train is None:
        raise ValueError(
            f"seed={seed} sets the order of arrays, but x is a {type(options['x']).__name__}, which has its own order. "
            "Leave seed out."
        )
    if train is not None:
        options["callbacks"] = _callbacks(model, options, train, test)
        train.may_change = _has_user_callbacks(options["callbacks"])
    blocks = engine is not None and train is not None and isinstance(options["callbacks"], BlockCallbacks)
    if blocks:
        _set_strides(options["callbacks"], in_fit=True)
        _count_blocks(options, "steps_per_epoch", train)
        _count_blocks(options, "validation_steps", test)
    with (
        weights_kept(model, training=True),
        _function(model, engine, "train", train if blocks else None),
        _function(model, engine, "test", test),
    ):
        return stock(**options)


def evaluate(model: keras.Model, stock: Callable, *args, fast: bool = True, **kwargs):
    """``keras.Model.evaluate``; arguments as in :func:`fit`."""
    if "_use_cached_eval_dataset" in kwargs:  # stock fit's own call, for which fit has prepared everything
        return stock(*args, **kwargs)
    options = _bound(keras.Model.evaluate, model, args, kwargs)
    keras_private.assert_compiled(model, "evaluate")
    if not hasattr(model, "checks_arrays"):
        check_stock(model, options["x"], options["y"])
    engine = _engine_if(fast, model, "test")
    source = None
    if engine is not None and not _keras_counts(options):
        data = [options[name] for name in ("x", "y", "sample_weight")]
        source = _test_source(engine, data, options["batch_size"], options["steps"])
    if source is not None:
        _check_labels(model, source)
        options |= {"x": source, "y": None, "sample_weight": None}
        options["callbacks"] = BlockCallbacks(
            options["callbacks"], test=source, add_progbar=options["verbose"] != 0, verbose=options["verbose"],
            epochs=1, steps=source.steps, model=model,
        )  # fmt: skip
        _set_strides(options["callbacks"])
        _count_blocks(options, "steps", source)
    with weights_kept(model), _function(model, engine, "test", source):
        return stock(**options)


def predict(model: keras.Model, stock: Callable, *args, fast: bool = True, **kwargs):
    """``keras.Model.predict``; arguments as in :func:`fit`."""
    options = _bound(keras.Model.predict, model, args, kwargs)
    if not hasattr(model, "checks_arrays"):
        check_stock(model, options["x"], with_loss=False)
    engine = _engine_if(fast and model.built, model, "predict")
    source = None
    if engine is not None and options["steps"] is None and not _keras_counts(options):
        source = arrays_source(options["x"], batch_size=options["batch_size"])
    if source is not None:
        source.building = False
        options["x"] = source
        options["callbacks"] = BlockCallbacks(
            options["callbacks"], predict=source, add_progbar=options["verbose"] != 0, verbose=options["verbose"],
            epochs=1, steps=source.steps, model=model,
        )  # fmt: skip
        source.run_in_blocks(1)
    with weights_kept(model), _function(model, engine, "predict", source):
        return stock(**options)


# Sources


def _fit_sources(
    model: keras.Model, options: dict[str, Any], seed: int | None, engine: Engine | None
) -> tuple[Source, Source]:
    """The sources of the training and of its validation, put into the options; None for what stock Keras takes."""
    in_blocks = engine is not None and not _keras_counts(options)
    by_stock = options["shuffle"] not in (True, False) or options["steps_per_epoch"] is not None
    train = None
    if seed is not None or (in_blocks and not by_stock):
        train = _train_arrays(model, options, seed)
        in_blocks &= train is None or not by_stock
    if train is None and seed is None and in_blocks and _collects(engine) and not options["validation_split"]:
        train = _train_stream(options)
    test = None
    if train is not None and in_blocks and options["validation_data"] is not None:
        data = keras.utils.unpack_x_y_sample_weight(options["validation_data"])
        batch_size = options["validation_batch_size"] or options["batch_size"]
        test = _test_source(engine, data, batch_size, options["validation_steps"])
        if test is not None:
            options["validation_data"] = test
    return train, test


def _train_arrays(model: keras.Model, options: dict[str, Any], seed: int | None) -> Source:
    given = [options[name] for name in ("x", "y", "sample_weight")]
    validation_data = options["validation_data"]
    if options["validation_split"] and validation_data is None and arrays_source(*given) is not None:
        given, validation_data = split((*given,), options["validation_split"])
    train = arrays_source(
        *given, batch_size=options["batch_size"], class_weight=options["class_weight"],
        order=_order(model, seed) if options["shuffle"] else None, epoch=options["initial_epoch"],
    )  # fmt: skip
    if train is not None:
        options |= {"x": train, "y": None, "sample_weight": None, "class_weight": None, "shuffle": False}
        options |= {"validation_split": 0.0, "validation_data": validation_data}
    return train


def _train_stream(options: dict[str, Any]) -> Source:
    names = ("x", "y", "sample_weight", "batch_size", "steps_per_epoch", "shuffle", "class_weight")
    train = stream_of(**{name: options[name] for name in names})
    if train is not None:
        options |= {"x": train, "class_weight": None, "shuffle": False}
    return train


def _collects(engine: Engine | None) -> bool:
    return engine is not None and engine.collects()


def _test_source(engine: Engine | None, data, batch_size: int | None, steps: int | None) -> Source:
    x, y, sample_weight = data
    source = arrays_source(x, y, sample_weight, batch_size=batch_size) if steps is None else None
    if source is None and _collects(engine):
        source = stream_of(x, y, sample_weight, batch_size=batch_size, steps_per_epoch=steps, shuffle=False)
    return source


def _count_blocks(options: dict[str, Any], name: str, source: Source) -> None:
    """Keras's loop counts blocks where it was told a number of steps."""
    if isinstance(source, Stream) and options[name] is not None:
        options[name] = len(source.blocks)


def _order(model: keras.Model, seed: int | None) -> OrderOf:
    """The order of an epoch's examples, as a function of their number and the epoch's."""

    def order(n: int, epoch: int) -> np.ndarray | None:
        if not model.built:  # its weights are drawn first
            return None
        if seed is None:
            return batches.next_order(n)
        return batches.epoch_order(n, seed, epoch, words_drawn(keras_private.all_layers(model)))

    return order


def _check_labels(model: keras.Model, *sources: Source) -> None:
    for source in sources:
        if isinstance(source, Arrays):
            check_batch(model, source.inputs)


# Keras's loop


def _bound(method: Callable, model: keras.Model, args: tuple, kwargs: dict) -> dict[str, Any]:
    given = inspect.signature(method).bind(model, *args, **kwargs)
    given.apply_defaults()
    options = dict(given.arguments)
    del options["self"]
    others = options.pop("kwargs", {})
    return options | others


def _engine_if(fast: bool, model: keras.Model, kind: str) -> Engine | None:
    """The engine, or None where stock Keras's own steps run, after the warning that says why."""
    if not fast:
        return None
    reason = keras_private.find_missing() or fallback.why_not(model, kind)
    if reason is None:
        engine = engine_of(model)
        reason = engine.why_not(model)
    if reason is not None:
        fallback.warn_once(reason)
        return None
    return engine


def _keras_counts(options: dict[str, Any]) -> bool:
    """Whether a list of callbacks of the user's, or a limit of Keras's, wants every step."""
    return isinstance(options["callbacks"], keras.callbacks.CallbackList) or bool(keras.config.max_steps_per_epoch())


def _callbacks(model: keras.Model, options: dict[str, Any], train: Arrays | Stream, test: Source):
    """A list of callbacks that knows the sources; the user's own where Keras counts the steps."""
    if _keras_counts(options) or (isinstance(train, Arrays) and options["steps_per_epoch"] is not None):
        return options["callbacks"]
    epochs = min(options["epochs"], keras.config.max_epochs() or options["epochs"])
    return BlockCallbacks(
        options["callbacks"], train=train, test=test, add_history=True, add_progbar=options["verbose"] != 0,
        verbose=options["verbose"], epochs=epochs, steps=train.steps, model=model,
    )  # fmt: skip


def _has_user_callbacks(callbacks: keras.callbacks.CallbackList) -> bool:
    known = (keras.callbacks.LambdaCallback, keras.callbacks.LearningRateScheduler)  # of functions of the user's
    each = getattr(callbacks, "callbacks", None) or [callbacks]
    return any(type(one) in known or not fallback.is_ours(type(one)) for one in each)


def _set_strides(callbacks: BlockCallbacks, in_fit: bool = False) -> None:
    for phase, source in callbacks.sources.items():
        if source is not None:
            source.run_in_blocks(steps_between_looks(callbacks.callbacks, phase, source.steps, in_fit))


@contextlib.contextmanager
def _function(model: keras.Model, engine: Engine | None, kind: str, source: Source):
    """Inside, Keras's loop calls the engine, if there is one; afterwards the model has Keras's own function.

    Keras creates that function again after a ``compile``, and so do the engines that compile their own.
    """
    name = f"{kind}_function"
    if engine is None and getattr(type(model), f"make_{name}") is not getattr(keras.Model, f"make_{name}"):
        yield
        return
    getattr(model, f"make_{name}")()
    stock = getattr(model, name)
    ours = before_interrupts(model, kind, _by_engine(engine, kind, source, stock) if engine is not None else stock)
    setattr(model, name, ours)
    try:
        yield
    finally:
        if getattr(model, name) is ours:
            setattr(model, name, stock)


def _by_engine(engine: Engine, kind: str, source: Source, stock: Callable) -> Callable:
    if source is None:
        return engine.batches(kind, stock) or stock
    block = (engine.stream if isinstance(source, Stream) else engine.block)(kind, source, stock)

    def ours(*arguments):
        # A callback may call train_on_batch and the like, which use the same function.
        return block(*arguments) if source.take_turn() else stock(*arguments)

    return ours
