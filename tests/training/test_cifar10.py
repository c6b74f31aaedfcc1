"""Trainings on CIFAR-10's files: shapes come from the data set, numbers are PyTorch's, pictures are in colour."""

import json
import runpy
import sys

import cifar10
import keras
import matplotlib.image
import numpy as np
import pytest
from processes import ROOT

import kerasnets
from kerasnets import data, training
from kerasnets.__main__ import app
from kerasnets.data import cache, prepare
from kerasnets.training import recipes
from kerasnets.verify import same_seed

PICTURES = ["confusion_matrix.png", "learning_curves.png", "predictions.png"]


@pytest.fixture(autouse=True)
def files(monkeypatch, tmp_path):
    """CIFAR-10's files with 320 and 64 random images, where load_data looks; this process reads them."""
    cifar10.write(tmp_path / "data", monkeypatch, count=64)
    monkeypatch.setenv("KERASNETS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_run", lambda request: prepare.answer(json.loads(json.dumps(request))))


@pytest.mark.once
@pytest.mark.parametrize("network", kerasnets.list_networks())
@pytest.mark.parametrize("dataset", data.NAMES)
def test_a_network_takes_the_images_and_the_classes_of_each_data_set(network, dataset, monkeypatch):
    recipe = recipes.find(network, dataset)
    images = np.zeros((2, *data.datasets.find_dataset(dataset).shape), "float32")
    monkeypatch.setattr(data, "load_data", lambda *_, **__: ((images, [0, 1]), (images, [0, 1])))
    (x, _), _ = training.load_recipe_data(recipe)
    model = training.compile_recipe(recipe)
    assert model.input_shape[1:] == x.shape[1:]
    assert model.output_shape == (None, len(data.class_names(dataset)))
    assert recipe.options == recipes.find(network).options  # shape and classes are not asked of the user


@pytest.mark.once
def test_shapes_in_the_table_are_those_of_the_arrays():
    for name, shape in (("cifar10", (320, 32, 32, 3)), ("fashion_mnist_sample", (6000, 28, 28))):
        assert kerasnets.load_data(name)[0][0].shape == shape
        assert data.datasets.find_dataset(name).shape == shape[1:]


def test_net_on_cifar10_needs_no_padding():
    assert recipes.find("Net").pad == 2
    assert recipes.find("Net", "cifar10").network_options["input_shape"] == (32, 32, 3)


def test_an_option_of_the_recipe_comes_first():
    recipe = recipes.find("NeuralNetwork", "cifar10", {"classes": 11, "hidden": (4,)})
    assert training.compile_recipe(recipe).output_shape == (None, 11)


@pytest.mark.parametrize("network", ["NeuralNetwork", "Net"])
def test_the_tutorials_program_prints_the_same_losses(network):
    """In plain PyTorch with torchvision's data set and transforms, and here, from the same seed."""
    settings = same_seed.Settings(recipes.find(network, "cifar10").replace(epochs=2), seed=3, log_every=1)
    theirs, ours = same_seed.run_tutorial(settings), same_seed.run_ours(settings)
    assert len(theirs) == 10
    assert [line.rpartition(" ")[0] for line in ours] == [line.rpartition(" ")[0] for line in theirs]
    np.testing.assert_allclose(same_seed.read_losses(ours), same_seed.read_losses(theirs), rtol=0, atol=5e-4)


def test_train_writes_a_model_that_knows_its_images(tmp_path):
    recipe = recipes.find("ConvNeuralNetwork", "cifar10").replace(epochs=1)
    result = kerasnets.train(recipe, out=tmp_path / "out", verbose=0)
    assert np.isfinite(result.train_loss).all()
    assert result.recalls.shape == (10,)
    model = kerasnets.load_model(tmp_path / "out" / "model.keras")
    assert model.input_shape == (None, 32, 32, 3)
    np.testing.assert_array_equal(model.predict(result.test_images, verbose=0).argmax(axis=1), result.predicted)


def test_images_of_another_data_set_stop_before_any_work(tmp_path):
    grey = np.zeros((8, 28, 28), "float32"), np.arange(8)
    for recipe, images, needed in (
        (recipes.find("ConvNeuralNetwork", "cifar10"), grey, r"grey images: the network needs input_shape=\(28, 28\)"),
        (recipes.find("ConvNeuralNetwork"), kerasnets.load_data("cifar10")[1], r"input_shape=\(32, 32, 3\)"),
    ):
        with pytest.raises(ValueError, match=needed):
            kerasnets.train(recipe, arrays=(images, images), out=tmp_path / "out", verbose=0)
    assert not (tmp_path / "out").exists()


# The commands


def run(monkeypatch, main, *words):
    monkeypatch.setattr(sys, "argv", ["kerasnets", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)


def is_in_colour(picture):
    pixels = matplotlib.image.imread(picture)[..., :3]
    return bool((np.ptp(pixels, axis=-1) > 0.3).mean() > 0.05)


@pytest.mark.once
def test_the_command_trains_on_colour_images_and_draws_them(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    words = ["train", "ConvNeuralNetwork", "--dataset", "cifar10", "--epochs", 1, "--out", out]
    run(monkeypatch, app, *words)
    assert "ConvNeuralNetwork on cifar10, 1 epoch" in capsys.readouterr().out
    assert json.loads((out / "result.json").read_text())["dataset"] == "cifar10"
    assert sorted(path.name for path in out.glob("*.png")) == PICTURES
    assert is_in_colour(out / "predictions.png")


@pytest.mark.parametrize("script", ["mnist", "fashion_mnist"])
def test_the_experiments_take_colour_images(script, tmp_path, monkeypatch):
    main = lambda: runpy.run_path(str(ROOT / f"experiments/{script}.py"), run_name="__main__")  # noqa: E731
    run(monkeypatch, main, "--dataset", "cifar10", "--epochs", 1, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == PICTURES
    model = keras.models.load_model(tmp_path / "out" / "model.keras")
    assert model.input_shape == (None, 32, 32, 3)
