"""The callbacks of a training: repeatable dropout, the tutorials' lines, and the log of epochs."""

import re

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import training
from kerasnets.training import recipes
from kerasnets.training.callbacks import EpochLog, EpochSeeds, StepLog


@pytest.fixture(scope="module")
def arrays():
    (x, y), (x_test, y_test) = kerasnets.load_data("fashion_mnist_sample")
    return (x[:200], y[:200]), (x_test[:50], y_test[:50])


def small(**changes):
    """FashionNetwork with dropout, small enough for a test."""
    recipe = recipes.find("FashionNetwork", "fashion_mnist_sample")
    return recipe.replace(**{"options": {"hidden": (16, 8), "dropout": 0.25}, "epochs": 2, **changes})


def test_epoch_seeds_repeat_dropout():
    model = kerasnets.build("FashionNetwork", dropout=0.5)
    x = np.ones((4, 28, 28), "float32")

    def outputs(seed, epoch):
        callback = EpochSeeds(seed)
        callback.set_model(model)
        callback.on_epoch_begin(epoch)
        return keras.ops.convert_to_numpy(model(x, training=True))

    first = outputs(0, 3)
    np.testing.assert_array_equal(first, outputs(0, 3))
    assert (first != outputs(0, 4)).any()
    assert (first != outputs(1, 3)).any()


def test_epoch_seeds_give_each_dropout_layer_its_own_numbers():
    inputs = keras.Input((100,))
    layers = [keras.layers.Dropout(0.5), keras.layers.Dropout(0.5)]
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
    callback = EpochSeeds(0)
    callback.set_model(model)
    callback.on_epoch_begin(0)
    first, second = (keras.ops.convert_to_numpy(layer.seed_generator.state) for layer in layers)
    assert (first != second).any()


def test_a_step_log_forgets_the_size_of_a_training_that_failed(arrays, capsys):
    (x, y), _ = arrays

    class Fail(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise RuntimeError("no")

    def make_model():
        keras.utils.set_random_seed(0)
        return training.compile_recipe(small(options={"hidden": (16, 8)}))

    def lines(log):
        batches = ((x[at : at + 50], y[at : at + 50]) for at in range(0, 200, 50))
        make_model().fit(batches, steps_per_epoch=4, shuffle=False, verbose=0, callbacks=[log])
        return capsys.readouterr().out

    log = StepLog(2)
    with pytest.raises(RuntimeError, match="no"):
        make_model().fit(x[:70], y[:70], batch_size=50, verbose=0, callbacks=[log, Fail()])
    assert lines(log) == lines(StepLog(2)) != ""


def test_step_log_prints_the_mean_of_the_last_batches(arrays, capsys):
    """The printed numbers are the means of the batch losses that a callback of its own collects."""
    (x, _), _ = arrays
    totals = []

    class Collect(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            totals.append(float(logs["loss"]) * min((batch + 1) * 32, len(x)))

    result = training.train(small(batch_size=32, epochs=1), arrays=arrays, log_every=3, callbacks=[Collect()])
    batch_losses = np.diff([0.0, *totals]) / np.array([32] * 6 + [8])
    lines = re.findall(r"Epoch \[1/1\], Step \[(\d)/7\], Loss: ([\d.]+)", capsys.readouterr().out)
    assert [step for step, _ in lines] == ["3", "6"]
    for (_, printed), expected in zip(lines, (batch_losses[:3].mean(), batch_losses[3:6].mean()), strict=True):
        assert float(printed) == pytest.approx(expected, abs=2e-4)
    assert result.train_loss[0] == pytest.approx(totals[-1] / 200, abs=1e-5)


def test_step_log_refuses_zero():
    with pytest.raises(ValueError, match="Invalid every: 0; expected a whole number ≥ 1"):
        StepLog(0)


def test_step_log_restarts_in_each_epoch(capsys):
    log = StepLog(2)
    log.set_params({"epochs": 2, "steps": 3})
    for epoch, losses in enumerate(([4.0, 2.0, 9.0], [1.0, 0.5, 9.0])):
        log.on_epoch_begin(epoch)
        for batch in range(3):
            log.on_train_batch_end(batch, {"loss": np.mean(losses[: batch + 1])})
    assert capsys.readouterr().out.splitlines() == [
        "Epoch [1/2], Step [2/3], Loss: 3.0000",
        "Epoch [2/2], Step [2/3], Loss: 0.7500",
    ]


def test_epoch_log_has_the_logs_and_seconds_of_each_epoch(arrays):
    (x, y), test = arrays
    model = training.compile_recipe(small())
    log = EpochLog()
    history = model.fit(x, y, epochs=2, validation_data=test, verbose=0, callbacks=[log]).history
    assert len(log.epochs) == 2
    for name, values in history.items():
        assert [epoch[name] for epoch in log.epochs] == pytest.approx(values)
    assert all(type(value) is float for epoch in log.epochs for value in epoch.values())
    assert all(epoch["seconds"] > 0 for epoch in log.epochs)
