"""Methods of a model's own, and what changes on the way: as in stock Keras."""

import threading
import warnings

import keras
import numpy as np
import pytest
import torch
from keras import layers as L  # noqa: N812
from stock import BACKEND, WORDS, X, Y, assert_as_stock, branching, classifier, nll_of_probabilities, on_torch, rng

import kerasnets
from kerasnets import losses, optimizers
from kerasnets.engine import engine_of, fallback

# What a model may override


class OwnTestStep(keras.Model):
    def test_step(self, *data):
        result = super().test_step(*data)
        if BACKEND == "jax":
            return {**result[0], "own": result[0]["loss"] * 0 + 7.0}, result[1]
        return {**result, "own": result["loss"] * 0 + 7.0}


class OwnMetrics(keras.Model):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {**super().compute_metrics(x, y, y_pred, sample_weight), "own": keras.ops.sum(y_pred) * 0 + 3.0}


class OwnResult(keras.Model):
    def get_metrics_result(self):
        return {name: value * 2 for name, value in super().get_metrics_result().items()}


class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, y_pred, sample_weight, training=training) * 2


@pytest.mark.parametrize("cls", [OwnTestStep, OwnMetrics, OwnResult, OwnLoss])
@pytest.mark.filterwarnings("ignore::kerasnets.engine.fallback.StockFitWarning")
def test_methods_of_the_models_own(cls):
    def make():
        inputs = keras.Input((6,))
        model = cls(inputs, L.Dense(3, activation="softmax")(inputs))
        model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return kerasnets.accelerate(model)

    assert_as_stock(make, validation_data=(X[:10], Y[:10]))


@pytest.mark.usefixtures("no_fallback")
def test_masks_reach_loss_and_metrics():
    def make():
        inputs = keras.Input((5,), dtype="int32")
        hidden = L.Embedding(9, 4, mask_zero=True)(inputs)
        model = keras.Model(inputs, L.Dense(3, activation="softmax")(hidden))
        weighted = [keras.metrics.SparseCategoricalAccuracy(name="weighted")]
        options = {"metrics": ["accuracy"], "weighted_metrics": weighted}
        model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", **options)
        return kerasnets.accelerate(model)

    weights = rng.uniform(0.5, 2, WORDS.shape).astype("float32")
    assert_as_stock(make, x=WORDS, y=WORDS % 3)
    assert_as_stock(make, x=WORDS, y=WORDS % 3, sample_weight=weights)


# Python's state


class Counting(L.Layer):
    """Counts its calls in Python, and multiplies by the count."""

    calls = 0

    def call(self, x):
        self.calls += 1
        return x * (1.0 + 0.1 * self.calls)


def noisy(x):
    return x + float(np.random.default_rng().integers(1, 2))


@pytest.mark.parametrize("layer", [Counting, lambda: L.Lambda(noisy), lambda: L.Activation(branching)])
@pytest.mark.filterwarnings("ignore::kerasnets.engine.fallback.StockFitWarning")
def test_python_code_of_the_users_own_runs_as_in_stock_keras(layer):
    if BACKEND != "torch" and layer is not Counting:
        pytest.skip("stock Keras can't trace it")
    assert_as_stock(lambda: classifier(layer()))


def change_by_epoch(change):
    """A callback that changes the model when its second epoch begins."""

    class Change(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                change(self.model)

    return Change


def set_rate(model):
    model.layers[0].rate = 0.7


def set_activation(model):
    model.layers[1].activation = keras.activations.tanh


def set_regularizer(model):
    model.layers[1].kernel._regularizer = keras.regularizers.L2(0.5)


def set_loss_weight(model):
    model.loss.weight = [1.0, 5.0, 0.1]


def set_optimizer(model):
    model.optimizer.clipnorm = 0.01


def freeze(model):
    model.layers[1].trainable = False


CHANGES = [set_rate, set_activation, set_regularizer, set_loss_weight, set_optimizer, freeze]


def changeable():
    return classifier(L.Dropout(0.2, seed=5), L.Dense(4, activation="relu"), loss=nll_of_probabilities())


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("no_fallback")
def test_attributes_changed_between_fits(change):
    if change is freeze and BACKEND == "tensorflow":
        pytest.skip("stock Keras keeps the step that it traced, and asks for a new compile")
    assert_as_stock(changeable, between=change)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("no_fallback")
def test_attributes_changed_by_a_callback(change):
    if change is freeze and BACKEND != "torch":
        pytest.skip("stock Keras asks for a new compile")
    assert_as_stock(changeable, callbacks=[change_by_epoch(change)])


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.usefixtures("no_fallback")
def test_batch_norm_frozen_or_thawed_without_a_new_compile(affine):
    def make():
        model = classifier(L.Dense(5), L.BatchNormalization(center=affine, scale=affine))
        model.layers[1].trainable = affine
        return model

    def toggle(model):
        model.layers[1].trainable = not affine

    assert_as_stock(make, between=toggle)


# Random numbers in predictions


class Always(L.Dropout):
    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


@pytest.mark.filterwarnings("ignore::kerasnets.engine.fallback.StockFitWarning")
@pytest.mark.parametrize("trust", [False, True])
def test_dropout_in_predictions_differs_by_batch_and_by_call(trust):
    model = classifier(Always(0.5), trust=trust)
    x = np.ones((24, 6), "float32")
    first, second = (model.predict(x, batch_size=8, verbose=0) for _ in range(2))
    assert np.abs(first[:8] - first[8:16]).max() > 1e-3
    assert np.abs(first - second).max() > 1e-3
    predict = kerasnets.predictor(model)
    assert np.abs(predict(x) - predict(x)).max() > 1e-3


# Traces leave nothing behind


class Unseeded(L.Layer):
    def call(self, x):
        return x + keras.random.normal((6,))


class Unfollowable(L.Layer):
    def call(self, x):
        keras.random.normal((6,))
        return branching(x)


@on_torch
@pytest.mark.parametrize("layer", [Unseeded, Unfollowable])
@pytest.mark.filterwarnings("ignore::kerasnets.engine.fallback.StockFitWarning")
def test_unseeded_noise_leaves_no_fake_tensor_behind(layer):
    def noise_after():
        keras.src.backend.common.global_state.set_global_attribute("global_seed_generator", None)
        keras.utils.set_random_seed(1)
        model = classifier(layer(), trust=True)
        before = torch.get_rng_state()
        history = model.fit(X, Y, batch_size=8, epochs=2, verbose=0, shuffle=False).history["loss"]
        assert keras.ops.convert_to_numpy(keras.random.normal((2,))).shape == (2,)
        return history, before

    (first, _), (second, _) = noise_after(), noise_after()
    assert len(set(first)) == 2
    assert first == second


@on_torch
def test_a_trace_is_invisible_to_other_threads():
    """While a step is traced, another thread sees the layers' own calls and gets the model's outputs."""
    loss = losses.NLLLoss(from_probabilities=True)
    model = classifier(L.Dense(4, activation="relu"), L.BatchNormalization(), loss=loss)
    expected = keras.ops.convert_to_numpy(model(X))
    model.optimizer.learning_rate = 0.0
    model.layers[1].momentum = 1.0
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            changed = [layer.name for layer in model.layers if "call" in vars(layer)]
            seen.append((changed, np.abs(keras.ops.convert_to_numpy(model(X)) - expected).max()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for size in (5, 6, 7, 8):
            engine_of(model)._programs._price.clear()
            model.fit(X, Y, batch_size=size, verbose=0, shuffle=False)
    finally:
        stop.set()
        thread.join()
    assert seen
    assert not any(changed for changed, _ in seen)
    assert max(off for _, off in seen) < 1e-5


@on_torch
def test_a_bug_of_ours_is_not_taken_for_a_step_that_cant_be_traced(monkeypatch):
    from kerasnets.engine.torch import step

    monkeypatch.setattr(step, "call_of", lambda layer: {}["no such layer"])
    with pytest.raises(KeyError, match="no such layer"):
        classifier().fit(X, Y, verbose=0)


# Backends' own ways


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute")
def test_a_strategy_in_use_goes_through_stock_keras():
    import tensorflow as tf

    model = classifier(optimizer=optimizers.SGD(0.1))
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    fallback._said.clear()
    with strategy.scope(), pytest.warns(fallback.StockFitWarning, match=r"tf\.distribute"):
        model.fit(X, Y, verbose=0)


@pytest.mark.usefixtures("no_fallback")
def test_an_optional_input():
    def make():
        a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b", optional=True)
        model = keras.Model({"a": a, "b": b}, L.Dense(3, activation="softmax")(OptionalSum()([a, b])))
        model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
        return kerasnets.accelerate(model, trust=True)

    assert_as_stock(make, x={"a": X, "b": None})


class OptionalSum(L.Layer):
    def call(self, inputs):
        return inputs[0] if inputs[1] is None else inputs[0] + inputs[1]

    def compute_output_shape(self, shapes):
        return shapes[0]


# Seeds


@pytest.mark.parametrize("form", ["loader", "generator"])
def test_a_seed_for_data_with_its_own_order_is_refused(form):
    data = torch.utils.data.DataLoader([*zip(X, Y, strict=True)]) if form == "loader" else iter(())
    with pytest.raises(ValueError, match="seed=3 sets the order of arrays"):
        classifier().fit(data, seed=3, shuffle=False, verbose=0)


@pytest.mark.parametrize("options", [{}, {"steps_per_epoch": 3}, {"class_weight": {0: 2.0}}])
def test_a_seed_gives_the_same_order_with_stock_steps(options):
    def losses_of(accelerate):
        keras.utils.set_random_seed(1)
        model = classifier(Counting if accelerate is None else L.Dense(4))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fallback.StockFitWarning)
            return model.fit(X, Y, batch_size=8, epochs=3, seed=5, verbose=0, accelerate=accelerate, **options)

    np.testing.assert_allclose(losses_of(True).history["loss"], losses_of(False).history["loss"], rtol=1e-5)
    assert np.isfinite(losses_of(None).history["loss"]).all()
