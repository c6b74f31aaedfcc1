"""``kerasnets.predictor`` and ``model(x)`` in one thread while another traces, trains, builds or loads a model.

The threads take turns, so that a prediction falls where it could go wrong: inside a trace, between two variables that
are built or loaded, between two steps of a training.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import layers, losses, models, optimizers

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(32, 6, 6, 1)).astype("float32"), np.arange(32) % 4
on_torch = pytest.mark.skipif(keras.config.backend() != "torch", reason="about the torch backend")
SECONDS = 60  # until a deadlock is an error


class Turns:
    """Another thread gives the test's thread a turn, and goes on when that one is done."""

    def __init__(self, number=1):
        self.left, self.home = number, threading.current_thread()
        self._asked, self._done = threading.Semaphore(0), threading.Semaphore(0)

    def give(self):
        """Nothing in the test's own thread, and when all the turns are taken."""
        if self.left and threading.current_thread() is not self.home:
            self.left -= 1
            self._asked.release()
            assert self._done.acquire(timeout=SECONDS)

    def take(self, action):
        """Do `action` while the other thread waits."""
        assert self._asked.acquire(timeout=SECONDS)
        try:
            return action()
        finally:
            self._done.release()


class GivesATurn(L.Layer):
    """Returns its input, and gives a turn when another thread calls it: when it is traced."""

    def __init__(self, turns):
        super().__init__()
        self.turns = turns

    def call(self, x):
        self.turns.give()
        return x


class AfterEachStep(keras.callbacks.Callback):
    """Gives a turn after each step, and keeps the weights of then."""

    def __init__(self, turns):
        super().__init__()
        self.turns, self.weights = turns, []

    def on_train_batch_end(self, batch, logs=None):
        self.turns.give()
        self.weights.append([np.array(w) for w in self.model.get_weights()])


def network(*more, optimizer=None, first="glorot_uniform"):
    model = models.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(3, 3, padding="same", kernel_initializer=first, name="conv"),
            L.ReLU(),
            L.MaxPooling2D(),
            layers.Flatten(),
            layers.BatchNormalization(name="norm"),
            *more,
            layers.Linear(4, name="last"),
        ]
    )
    model.compile(optimizer or optimizers.SGD(0.1, momentum=0.9), losses.CrossEntropyLoss(), metrics=["accuracy"])
    return kerasnets.accelerate(model, trust=True)


def outputs(model):
    return keras.ops.convert_to_numpy(model(X))


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def other_thread():
    with ThreadPoolExecutor(2) as pool:
        yield pool.submit


def test_while_another_model_is_traced(other_thread):
    used, unused = network(), network()
    expected, of_unused = outputs(used), outputs(unused)
    predict, first_use = kerasnets.predictor(used), kerasnets.predictor(unused)
    close(predict(X), expected)
    turns = Turns()
    training = other_thread(network(GivesATurn(turns)).fit, X, Y, batch_size=8, verbose=0)

    def look():
        close(outputs(used), expected)
        close(predict(X), expected)
        return other_thread(first_use, X)  # on torch it waits, since only one step is traced at a time

    close(turns.take(look).result(SECONDS), of_unused)
    training.result(SECONDS)
    close(predict(X), expected)


def test_a_model_that_is_built_while_another_is_traced(other_thread):
    keras.utils.set_random_seed(7)
    reference = network()
    turns = Turns()
    training = other_thread(network(GivesATurn(turns)).fit, X, Y, batch_size=8, verbose=0)

    def build():
        keras.utils.set_random_seed(7)
        model = network()
        close(outputs(model), outputs(reference))
        return model

    model = turns.take(build)
    training.result(SECONDS)
    close(kerasnets.predictor(model)(X), outputs(reference))
    history = model.fit(X, Y, batch_size=8, verbose=0, seed=0).history
    assert history == reference.fit(X, Y, batch_size=8, verbose=0, seed=0).history


def test_while_another_model_is_built(other_thread):
    turns = Turns()

    def initializer(shape, dtype=None):
        turns.give()
        return keras.ops.full(shape, 0.25, dtype=dtype)

    model = network()
    expected, predict = outputs(model), kerasnets.predictor(model)
    building = other_thread(network, first=initializer)

    def look():
        close(outputs(model), expected)
        close(predict(X), expected)
        model.fit(X, Y, batch_size=8, verbose=0)
        close(predict(X), outputs(model))

    turns.take(look)
    built = building.result(SECONDS)
    assert (built.get_weights()[0] == 0.25).all()
    close(kerasnets.predictor(built)(X), outputs(built))


@pytest.mark.parametrize("accelerate", [True, False])
def test_between_two_steps_of_the_same_model(accelerate, other_thread):
    """The predictor has the weights of the last step; what reads the model itself never gets others unnoticed."""
    model, turns = network(), Turns(3)
    predict, callback = kerasnets.predictor(model), AfterEachStep(turns)
    options = {"batch_size": 8, "epochs": 2, "verbose": 0, "callbacks": [callback], "accelerate": accelerate}
    training = other_thread(model.fit, X, Y, **options)

    def look():
        now = predict(X)
        if keras.config.backend() != "jax":
            close(outputs(model), now)
            return now
        for read in (lambda: outputs(model), model.get_weights):
            with pytest.raises((RuntimeError, ValueError), match="deleted"):
                read()
        return now

    seen = [turns.take(look) for _ in range(3)]
    training.result(SECONDS)
    close(predict(X), outputs(model))
    for weights, actual in zip(callback.weights, seen, strict=False):
        model.set_weights(weights)
        close(actual, outputs(model))
    assert np.abs(seen[0] - seen[2]).max() > 1e-3


def test_in_the_middle_of_the_steps_of_the_same_model(other_thread):
    model = network()
    predict = kerasnets.predictor(model)
    training = other_thread(model.fit, X, Y, batch_size=4, epochs=200, verbose=0)
    number = 0
    while not training.done():
        now, number = predict(X), number + 1
        assert now.shape == (32, 4)
        assert np.isfinite(now).all()
    assert np.isfinite(training.result().history["loss"]).all()
    assert number > 1
    close(predict(X), outputs(model))


@on_torch
def test_a_prediction_that_is_traced_while_the_same_model_is(other_thread, monkeypatch):
    """The step of an optimizer that can't be traced goes on without it."""
    from kerasnets.engine.torch import step

    def losses_of(*more, during=lambda model: None):
        keras.utils.set_random_seed(3)
        model = network(*more, optimizer=keras.optimizers.Nadam(0.01))
        training = other_thread(model.fit, X, Y, batch_size=8, epochs=3, verbose=0, seed=0)
        during(model)
        return training.result(SECONDS).history

    expected, turns, at_the_lock, trace = losses_of(), Turns(), threading.Event(), step.trace

    def predict_too(model):
        def look():
            monkeypatch.setattr(step, "trace", lambda *given: (at_the_lock.set(), trace(*given))[1])
            predictions.append(other_thread(kerasnets.predictor(model), X))
            assert at_the_lock.wait(SECONDS)

        turns.take(look)

    predictions = []
    assert losses_of(GivesATurn(turns), during=predict_too) == expected
    assert np.isfinite(predictions[0].result(SECONDS)).all()


def test_while_weights_are_loaded(other_thread):
    """A prediction in the middle has the weights that the model has at that moment; one afterwards the loaded ones."""
    model, source = network(), network()
    source.fit(X, Y, verbose=0)
    before, after, predict = outputs(model), outputs(source), kerasnets.predictor(model)
    close(predict(X), before)
    bias, turns = model.layers[-1].bias, Turns()
    assign = bias.assign

    def give_a_turn_first(value):
        turns.give()
        return assign(value)

    bias.assign = give_a_turn_first
    loading = other_thread(kerasnets.load_state_dict, model, kerasnets.state_dict(source))
    between = turns.take(lambda: (predict(X), outputs(model)))
    loading.result(SECONDS)
    close(*between)
    assert np.abs(between[0] - before).max() > 1e-3
    close(predict(X), after)
