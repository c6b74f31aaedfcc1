"""The runner of recipes: what is trained, tested and written."""

import json

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import training
from kerasnets.batches import epoch_order
from kerasnets.training import recipes


@pytest.fixture(scope="module")
def arrays():
    (x, y), (x_test, y_test) = kerasnets.load_data("fashion_mnist_sample")
    return (x[:200], y[:200]), (x_test[:50], y_test[:50])


def small(**changes):
    """FashionNetwork with dropout, small enough for a test."""
    recipe = recipes.find("FashionNetwork", "fashion_mnist_sample")
    return recipe.replace(**{"options": {"hidden": (16, 8), "dropout": 0.25}, "epochs": 2, **changes})


@pytest.mark.parametrize("recipe", recipes.RECIPES, ids=lambda r: f"{r.name}-{r.dataset}")
def test_every_recipe_trains(recipe, arrays):
    """One step of each: the loss takes the network's output, and is finite."""
    (x, y), _ = arrays
    if len(recipe.network_options["input_shape"]) == 3:  # in colour, 32×32
        x = np.repeat(np.pad(x, [(0, 0), (2, 2), (2, 2)])[..., None], 3, axis=-1)
    result = training.train(recipe.replace(epochs=1), arrays=((x[:64], y[:64]), (x[:10], y[:10])), verbose=0)
    assert np.isfinite(result.train_loss).all()
    assert 0 <= result.test_accuracy <= 100


def test_the_order_has_each_example_once_and_depends_on_seed_and_epoch():
    for epoch in (0, 5):
        assert sorted(epoch_order(200, 3, epoch)) == list(range(200))
    assert (epoch_order(200, 3, 0) != epoch_order(200, 3, 1)).any()
    assert (epoch_order(200, 3, 0) != epoch_order(200, 4, 0)).any()


class Seen(keras.layers.Layer):
    """Passes its input on and adds up, in a weight, an image's first pixel times its position in the epoch."""

    def build(self, shape):
        self.sum = self.add_weight(shape=(2,), initializer="zeros", trainable=False, dtype="float32")

    def call(self, x, training=False):
        if training:
            position, total = self.sum[0], self.sum[1]
            pixels = keras.ops.reshape(x, (-1, 784))[:, 0]
            self.sum.assign(keras.ops.stack([position + 1.0, total + (position + 1.0) * keras.ops.sum(pixels)]))
        return x


@pytest.mark.parametrize("way", ["blocks", "stock"])
def test_fit_sees_the_batches_of_each_epoch(way):
    """Every epoch, also a first one that isn't number 0, in its (seed, epoch) order, with and without the fast path."""
    x = np.arange(40, dtype="float32")[:, None, None] * np.ones((1, 28, 28), "float32")
    y = np.zeros(40, "int64")
    seen = Seen()
    model = keras.Sequential([keras.Input((28, 28)), seen, keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile(loss=kerasnets.losses.CrossEntropyLoss())
    kerasnets.accelerate(model, trust=True)
    for first, last in ((0, 2), (4, 5)):
        seen.sum.assign([0.0, 0.0])
        model.fit(
            x, y, batch_size=16, seed=7, initial_epoch=first, epochs=last, verbose=0, accelerate=way == "blocks"
        )  # fmt: skip
        expected, position = 0.0, 0
        for epoch in range(first, last):
            order = epoch_order(40, 7, epoch)
            for start in range(0, 40, 16):
                position += 1
                expected += position * x[order[start : start + 16], 0, 0].sum()
        got = keras.ops.convert_to_numpy(seen.sum)
        assert got.tolist() == [position, expected]


def test_result_files(arrays, tmp_path):
    result = training.train(small(), arrays=arrays, seed=1, out=tmp_path, verbose=0)
    written = json.loads((tmp_path / "result.json").read_text())
    for key in ("network", "dataset", "backend", "device", "versions", "seed"):
        assert written[key] == result.to_dict()[key]
    assert written["seed"] == 1
    assert len(written["train_loss"]) == len(written["epoch_seconds"]) == 2
    assert written["test_accuracy"] == pytest.approx(result.test_accuracy)
    loaded = kerasnets.load_model(tmp_path / "model.keras")
    for actual, expected in zip(loaded.get_weights(), result.model.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "result.json"]


@pytest.mark.parametrize("options", [{}, {"weight": [0.5, 2.0] * 5}], ids=["plain", "weighted"])
def test_results_on_the_test_images_are_those_of_evaluate(options, arrays):
    (x, y), _ = arrays
    test = np.tile(x, (3, 1, 1)), np.tile(y, 3)  # two batches
    result = training.train(small(loss_options=options, epochs=1), arrays=(arrays[0], test), verbose=0)
    expected = result.model.evaluate(*test, batch_size=500, verbose=0, return_dict=True)
    assert result.test_loss == pytest.approx(expected["loss"], rel=1e-5)
    assert result.test_accuracy == training.percent(expected["accuracy"])
    assert result.test_accuracy == pytest.approx(100 * np.mean(result.predicted == test[1]), abs=1e-4)
    np.testing.assert_array_equal(result.test_images, test[0])
    shares = [np.mean(result.predicted[test[1] == c] == c) for c in range(10)]
    np.testing.assert_array_equal(result.recalls, shares)


def test_the_test_losses_of_each_epoch(arrays):
    plain = training.train(small(), arrays=arrays, verbose=0)
    tested = training.train(small(), arrays=arrays, verbose=0, test_each_epoch=True)
    assert plain.test_losses == []
    assert plain.losses == {"loss": plain.train_loss}
    assert tested.train_loss == pytest.approx(plain.train_loss, rel=1e-6)
    assert len(tested.test_losses) == 2
    assert tested.test_losses[-1] == pytest.approx(tested.test_loss, rel=1e-5)
    first = training.train(small(epochs=1), arrays=arrays, verbose=0)
    assert tested.test_losses[0] == pytest.approx(first.test_loss, rel=1e-5)
    assert tested.losses == {"loss": tested.train_loss, "val_loss": tested.test_losses}


def test_the_same_seed_gives_the_same_run(arrays):
    first, second, other = (training.train(small(), arrays=arrays, seed=s, verbose=0) for s in (2, 2, 3))
    assert first.train_loss == pytest.approx(second.train_loss, rel=1e-6)
    assert first.train_loss != pytest.approx(other.train_loss, rel=1e-3)


def test_negative_seed(arrays):
    with pytest.raises(ValueError, match="Invalid seed: -1; expected a whole number ≥ 0"):
        training.train(small(), arrays=arrays, seed=-1)


def test_bad_labels_stop_before_any_work(arrays, tmp_path):
    (x, y), test = arrays
    y = y.copy()
    y[5] = 10
    with pytest.raises(ValueError, match="target 10 at index 5"):
        training.train(small(), arrays=((x, y), test), out=tmp_path)
    assert list(tmp_path.iterdir()) == []
