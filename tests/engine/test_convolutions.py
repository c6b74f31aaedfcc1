"""Convolutions on a CPU: XLA's lose their threads inside a loop."""

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import models

BACKEND = keras.config.backend()
X = np.random.default_rng(0).normal(size=(12, 6, 6, 2)).astype("float32")
Y = np.arange(12) % 3


class Blur(keras.layers.Layer):
    """A layer of a user's own, which no list of layers could know."""

    def call(self, x):
        """Convolve with a constant kernel."""
        return keras.ops.conv(x, keras.ops.ones((3, 3, 2, 2)) / 18, padding="same")


def compiled(*inner):
    """A model with these layers before its head."""
    model = models.Sequential([keras.Input(X.shape[1:]), *inner, keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return kerasnets.accelerate(model, trust=True)


def nested():
    return keras.Sequential([keras.layers.Reshape((36, 2)), keras.layers.Conv1D(2, 3, groups=2)])


def wide():
    return keras.Sequential([keras.layers.Conv2D(64, 1), keras.layers.Conv2D(64, 3)])


@pytest.mark.skipif(BACKEND != "jax", reason="the engine for JAX")
@pytest.mark.parametrize(
    ("inner", "alone"),
    [
        (lambda: keras.layers.MaxPooling2D(), False),
        (lambda: keras.layers.Conv2D(2, 3), True),
        (wide, False),
        (lambda: keras.Sequential([wide(), keras.layers.Conv2D(2, 3, strides=2)]), True),
        (lambda: keras.layers.Conv2DTranspose(2, 3, strides=2), True),
        (nested, True),
        (Blur, True),
    ],
    ids=["none", "narrow", "wide", "wide and strided", "transposed", "nested", "own layer"],
)
def test_a_step_with_a_convolution_is_dispatched_alone_on_jax(inner, alone, monkeypatch):
    from kerasnets.engine import jax as engine

    dispatched, run = [], engine._Block.__call__
    monkeypatch.setattr(
        engine._Block, "__call__", lambda self, *given: dispatched.append(given[3:]) or run(self, *given)
    )
    stock, fast = compiled(inner()), compiled(inner())
    fast.set_weights(stock.get_weights())
    options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    history = fast.fit(X, Y, **options).history
    assert dispatched == ([(0,), (1,), (2,)] if alone else [(0, 3)]) * 2
    expected = stock.fit(X, Y, accelerate=False, **options).history
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    dispatched.clear()
    fast.evaluate(X, Y, batch_size=4, verbose=0)
    assert len(dispatched) == (3 if alone else 1)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the engine for TensorFlow")
@pytest.mark.parametrize(
    ("inner", "by_xla"),
    [
        (lambda: keras.layers.MaxPooling2D(), True),
        (lambda: keras.layers.Conv2D(2, 3), False),
        (lambda: keras.layers.Conv2DTranspose(2, 3), False),
        (lambda: keras.layers.DepthwiseConv2D(3), False),
        (lambda: keras.layers.SeparableConv2D(2, 3), False),
        (nested, False),
    ],
    ids=["none", "plain", "transposed", "depthwise", "separable", "nested"],
)
def test_xla_is_not_chosen_for_convolutions_on_tensorflow(inner, by_xla):
    from kerasnets.engine.tensorflow import Engine

    assert Engine(compiled(inner()))._pays_with_xla() is by_xla
