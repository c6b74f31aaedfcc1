"""Ctrl-C and errors leave a model with the weights of a finished step."""

import os
import signal
import threading

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import losses

X = np.random.default_rng(0).normal(size=(512, 20)).astype("float32")
Y = np.arange(512) % 3


def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(3)])
    model.compile("adam", losses.CrossEntropyLoss())
    return kerasnets.accelerate(model)


def weights_of(model):
    return [np.array(w) for w in (*model.get_weights(), *(v.value for v in model.optimizer.variables))]


def press_ctrl_c(seconds, ended):
    """Once; and again where Python has swallowed it, as it does with what is raised in a destructor or a callback."""
    ended.wait(seconds)
    while not ended.is_set():
        os.kill(os.getpid(), signal.SIGINT)
        ended.wait(5)


def repeat(call, *data, **options):
    while True:
        call(*data, **options)


@pytest.mark.filterwarnings("ignore")  # Keras warns of the call that is interrupted
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_ctrl_c_at_any_time(call, fast):
    if keras.config.backend() != "jax":
        pytest.skip("only JAX takes the values out of the variables")
    one = model()
    one.fit(X, Y, verbose=0, accelerate=fast)
    options = {"epochs": 10_000, "batch_size": 8} if call == "fit" else {}
    data = (X,) if call == "predict" else (X, Y)
    for seconds in np.random.default_rng(1).uniform(0.001, 0.2, 12):
        ended = threading.Event()
        thread = threading.Thread(target=press_ctrl_c, args=(seconds, ended))
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            repeat(getattr(one, call), *data, verbose=0, accelerate=fast, **options)
        ended.set()
        thread.join()
        assert all(np.isfinite(each).all() for each in weights_of(one))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert np.isfinite(one.fit(X, Y, verbose=0, accelerate=fast).history["loss"]).all()


@pytest.mark.parametrize("call", ["evaluate", "predict"])
@pytest.mark.parametrize("fast", [True, False])
def test_an_error_in_the_data_leaves_the_weights(call, fast):
    def failing():
        for _ in range(3):
            yield (X[:8], Y[:8]) if call == "evaluate" else (X[:8],)
        raise RuntimeError("no more")

    one = model()
    before = [np.array(each) for each in one.get_weights()]
    with pytest.raises(Exception, match="no more"):
        getattr(one, call)(failing(), verbose=0, accelerate=fast)
    for expected, actual in zip(before, one.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_other_handlers_are_left_alone():
    """A program that handles Ctrl-C itself does so during ``fit``, too."""
    seen = []
    old = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        stop = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: os.kill(os.getpid(), signal.SIGINT))
        model().fit(X, Y, epochs=2, verbose=0, callbacks=[stop])
    finally:
        signal.signal(signal.SIGINT, old)
    assert seen == [signal.SIGINT] * 2
