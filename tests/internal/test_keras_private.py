"""Keras's private parts are there; where one is gone, the fast path leaves everything to stock Keras."""

import keras
import numpy as np
import pytest
from processes import run

import kerasnets
from kerasnets import losses
from kerasnets._internal import keras_private
from kerasnets.engine import fallback

X, Y = np.random.default_rng(0).normal(size=(32, 6)).astype("float32"), np.arange(32) % 3


def classifier():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    model.compile("sgd", losses.CrossEntropyLoss(), metrics=["accuracy"])
    return kerasnets.accelerate(model)


def test_nothing_is_missing_and_no_name_is_taken():
    keras_private.find_missing.cache_clear()
    keras.backend.clear_session()
    assert keras_private.find_missing() is None
    assert keras.Sequential([keras.layers.Dense(1)]).name == "sequential"
    assert keras.optimizers.SGD().name == "sgd"
    assert keras.layers.ReLU().name == "re_lu"


def test_a_missing_part_leads_to_stock_keras(monkeypatch, every_reason_is_said_again):
    expected = classifier().fit(X, Y, verbose=0, shuffle=False, accelerate=False).history
    model = classifier()
    monkeypatch.setattr(keras_private, "_METHODS", {**keras_private._METHODS, "_renamed": ()})
    keras_private.find_missing.cache_clear()
    try:
        with pytest.warns(fallback.StockFitWarning, match="Keras .* has changed .*_renamed"):
            history = model.fit(X, Y, verbose=0, shuffle=False).history
        with pytest.raises(ValueError, match=r"seed=1 can't be used: Keras .* has changed"):
            model.fit(X, Y, verbose=0, seed=1)
    finally:
        keras_private.find_missing.cache_clear()
    assert history == expected


def test_a_missing_module_leads_to_stock_keras():
    code = """
import sys
import keras
sys.modules["keras.src.trainers.data_adapters.py_dataset_adapter"] = None
import warnings
warnings.simplefilter("always")
import numpy as np
import kerasnets
from kerasnets import losses, optimizers
model = kerasnets.build("Network2")
model.compile(optimizers.SGD(0.1), losses.CrossEntropyLoss())
x = np.zeros((32, 28, 28), "float32")
print(model.fit(x, np.arange(32) % 10, verbose=0).history["loss"])
print(model.predict(x, verbose=0).shape, kerasnets.predictor(model)(x).shape)
"""
    done = run("-c", code)
    assert "py_dataset_adapter" in done.stderr
    assert "StockFitWarning" in done.stderr
    assert "(32, 10) (32, 10)" in done.stdout


def test_a_callback_looks_at_batches_if_it_has_a_method_of_its_own():
    from kerasnets.engine.callbacks import steps_between_looks

    class Loud(keras.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            pass

    quiet = [keras.callbacks.History(), keras.callbacks.EarlyStopping(), keras.callbacks.LambdaCallback()]
    assert steps_between_looks(quiet, "train", 10, in_fit=True) is None
    for loud in (Loud(), keras.callbacks.LambdaCallback(on_train_batch_begin=print), keras.callbacks.TerminateOnNaN()):
        assert steps_between_looks([*quiet, loud], "train", 10, in_fit=True) == 1
