"""Weights that survive Ctrl-C and errors on JAX.

Keras's JAX trainer takes the values out of the model's variables while it runs, and JAX deletes the values that a step
was given. A loop that ends between a step and Keras's next look would leave a model without weights.
"""

import contextlib
import signal
import threading
from collections.abc import Callable

import keras
import numpy as np

_STATE = {
    "train": ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables"),
    "test": ("trainable_variables", "non_trainable_variables", "metrics_variables"),
    "predict": ("trainable_variables", "non_trainable_variables"),
}

_interrupts = threading.local()


@contextlib.contextmanager
def weights_kept(model: keras.Model, training: bool = False):
    """Leave `model` with the weights of its last finished step, however the loop inside ends.

    On JAX the first Ctrl-C takes effect at the end of a step that :func:`before_interrupts` wraps; a second one takes
    effect at once. The variables keep their values until JAX deletes them, so that other threads have either the
    weights of now or JAX's error that says so. Other backends change variables in place, and need nothing.
    """
    if keras.config.backend() != "jax":
        yield
        return
    optimizer = getattr(model, "optimizer", None)
    if training and model.built and not optimizer.built:  # else its variables would have no values to go back to
        optimizer.build(model.trainable_variables)
    kept = [*model.variables, *(optimizer.variables if optimizer is not None else ())]
    before = [variable.value for variable in kept]

    def keep_values(**groups):
        model._jax_state = None  # it is older than what a callback has set

    outermost = model.__dict__.setdefault("_purge_model_variables", keep_values) is keep_values
    try:
        with _first_interrupt_waits():
            yield
    except BaseException:
        model.jax_state_sync()
        # A value that a step was given is deleted by JAX, and what the step gave has taken its place.
        for variable, value in zip(kept, before, strict=True):
            if _is_gone(variable) and not value.is_deleted():
                variable.assign(value)
        for variable in model.metrics_variables:
            if _is_gone(variable):  # made by this call, and reset by the next
                variable.assign(np.zeros(variable.shape, variable.dtype))
        raise
    finally:
        if outermost:
            del model.__dict__["_purge_model_variables"]


def _is_gone(variable: keras.Variable) -> bool:
    return variable._value is None or variable._value.is_deleted()


def before_interrupts(model: keras.Model, kind: str, function: Callable) -> Callable:
    """`function`, one of Keras's step functions on JAX, with an interrupt only after the model has its result."""
    if keras.config.backend() != "jax":
        return function

    def run(state, data):
        outputs, state = function(state, data)
        if getattr(_interrupts, "waiting", False):
            _interrupts.waiting = False
            model._jax_state, model._jax_state_synced = dict(zip(_STATE[kind], state, strict=True)), False
            model.jax_state_sync()
            raise KeyboardInterrupt
        return outputs, state

    return run


@contextlib.contextmanager
def _first_interrupt_waits():
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def wait(number, frame):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _interrupts.waiting = True

    _interrupts.waiting = False
    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        late, _interrupts.waiting = _interrupts.waiting, False
    if late:
        raise KeyboardInterrupt
