"""Keras calls the three methods of its optimizer that ours override, on every backend.

They are private: if Keras renamed one, its own rule would be used without an error.
"""

import collections

import keras
import pytest

from kerasnets import optimizers

HOOKS = ("_clip_gradients", "_apply_weight_decay", "_backend_update_step")


@pytest.fixture
def calls(monkeypatch):
    """How often each hook was called."""
    counter = collections.Counter()

    def counted(name):
        method = vars(optimizers.Optimizer)[name]

        def call(self, *arguments):
            counter[name] += 1
            return method(self, *arguments)

        return call

    for name in HOOKS:
        monkeypatch.setattr(optimizers.Optimizer, name, counted(name))
    return counter


@pytest.mark.parametrize("rule", ["SGD", "AdamW"])
def test_keras_calls_the_overridden_methods(rule, calls):
    variable = keras.Variable([1.0, 2.0], name="w")
    optimizer = getattr(optimizers, rule)(0.1, weight_decay=0.1)
    for step in (1, 2):
        optimizer.apply([keras.ops.ones((2,))], [variable])
        assert calls == dict.fromkeys(HOOKS, step)


@pytest.mark.skipif(keras.config.backend() == "tensorflow", reason="TensorFlow's optimizers have no stateless_apply")
def test_keras_calls_them_without_state(calls):
    variable = keras.Variable([1.0, 2.0], name="w")
    optimizer = optimizers.Adam(0.1)
    optimizer.build([variable])
    optimizer.stateless_apply([v.value for v in optimizer.variables], [keras.ops.ones((2,))], [variable.value])
    assert calls == dict.fromkeys(HOOKS, 1)


def test_keras_calls_them_in_fit(calls):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizers.SGD(0.1), loss="mse")
    model.fit(keras.ops.ones((4, 2)), keras.ops.ones((4, 1)), verbose=0)
    assert set(calls) == set(HOOKS)  # more than once where the step is compiled


def test_keras_calls_them_when_gradients_are_accumulated(calls):
    variable = keras.Variable([1.0, 2.0], name="w")
    optimizer = optimizers.SGD(0.1, gradient_accumulation_steps=2)
    for _ in range(2):
        optimizer.apply([keras.ops.ones((2,))], [variable])
    assert set(calls) == set(HOOKS)
