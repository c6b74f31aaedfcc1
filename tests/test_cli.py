"""What the experiments' command lines share."""

import typing

import keras
import numpy as np
import pytest
import typer

import kerasnets
from kerasnets import backend, cli, data, plots
from kerasnets.data.datasets import find_dataset
from kerasnets.training import recipes


@pytest.fixture
def no_data(monkeypatch):
    """Loading a data set is an error."""

    def fail(*arguments, **options):
        raise AssertionError("data is loaded")

    monkeypatch.setattr(data, "load_data", fail)


def test_pictures_show_the_arrays_of_the_training_predicted_once(no_data, monkeypatch, tmp_path, capsys):
    x = np.random.default_rng(0).uniform(-1, 1, (40, 28, 28)).astype("float32")
    y = np.arange(40) % 10
    shown, calls = {}, []

    def record(name):
        draw = getattr(plots, name)

        def wrapped(*arguments, **options):
            shown[name] = arguments
            return draw(*arguments, **options)

        monkeypatch.setattr(plots, name, wrapped)

    record("predictions")
    record("confusion_matrix")
    for name in ("predict", "evaluate"):
        method = getattr(kerasnets.models.Model, name)
        counted = lambda self, *a, name=name, method=method, **o: (calls.append(name), method(self, *a, **o))[1]  # noqa: E731
        monkeypatch.setattr(kerasnets.models.Model, name, counted)
    recipe = recipes.find("Net", "fashion_mnist_sample")
    result = cli.train(recipe, tmp_path, 1, 20, 3, arrays=((x, y), (x[:12], y[:12])), verbose=0)
    cli.finish(result, tmp_path)
    assert calls == ["evaluate", "predict"]  # the test after the only epoch is part of fit
    images, labels, predicted = shown["predictions"]
    np.testing.assert_array_equal(images, np.pad(x[:12], ((0, 0), (2, 2), (2, 2)), constant_values=-1))
    np.testing.assert_array_equal(labels, y[:12])
    np.testing.assert_array_equal(shown["confusion_matrix"][1], predicted)
    assert result.test_accuracy == pytest.approx(100 * np.mean(predicted == labels), abs=1e-4)
    printed = capsys.readouterr().out
    assert f"Test Accuracy: {result.test_accuracy:.2f}%" in printed
    for file in ("result.json", "model.keras", "predictions.png", "confusion_matrix.png", "learning_curves.png"):
        assert str(tmp_path / file) in printed
        assert (tmp_path / file).exists()


def test_train_keeps_what_the_command_line_leaves_out(monkeypatch, capsys):
    trained = []

    class Result:
        test_accuracy = 12.345

    monkeypatch.setattr(kerasnets.training, "train", lambda recipe, **options: (trained.append(recipe), Result)[1])
    recipe = recipes.find("NeuralNetwork")
    cli.train(recipe, None, None, None, 0)
    cli.train(recipe, None, 2, None, 0)
    assert trained == [recipe, recipe.replace(epochs=2)]
    assert capsys.readouterr().out.splitlines() == ["Test Accuracy: 12.35%"] * 2


def test_choices_are_the_backends_and_the_data_sets_of_the_networks(no_data):
    assert shown_of(cli.Backend) == list(backend.BACKENDS)
    assert shown_of(cli.Dataset) == shown_of(cli.LocalDataset) == list(data.NAMES)
    assert shown_of(cli.GreyDataset) == [name for name in data.NAMES if find_dataset(name).shape == (28, 28)]


def shown_of(option):
    """The choices that --help shows of an option."""
    return typing.get_args(option)[1].metavar.strip("[]").split("|")


@pytest.mark.parametrize(
    ("option", "typed", "meant"),
    [
        ("--backend", "pytorch", "torch"),
        ("--backend", "Jax", "jax"),
        ("--device", "cuda", "gpu"),
        ("--device", "cuda:0", "gpu"),
        ("--dataset", "FashionMNIST", "fashion_mnist"),
        ("--dataset", "minst", "mnist"),
        ("--precision", "bf16", "bfloat16"),
    ],
)
def test_a_wrong_choice_gets_the_near_one(option, typed, meant, monkeypatch, capsys):
    def main(
        backend: cli.Backend = None,
        device: cli.Device = "auto",
        dataset: cli.Dataset = "mnist",
        precision: cli.Precision = "float32",
    ) -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr("sys.argv", ["script.py", option, typed])
    with pytest.raises(SystemExit) as ended:
        cli.run(main, "Do it.")
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"Unknown {option.strip('-').replace('dataset', 'data set')} {typed!r}" in said
    assert f"Did you mean {meant!r}?" in said


def test_missing_backends_are_left_out_with_the_way_to_install_them(monkeypatch):
    monkeypatch.setattr(backend, "is_installed", lambda name: name == "torch")
    said = []
    assert cli.choose_backends("torch,jax,torch", said.append) == ["torch", "torch"]
    (line,) = said
    assert "The backend jax is not installed" in line
    assert "pip install -e '.[jax]'" in line
    with pytest.raises(ValueError, match="Unknown backend 'theano'; expected one of 'torch', 'jax', 'tensorflow'"):
        cli.choose_backends("torch,theano")


def test_start_ends_the_program_with_one_line(monkeypatch, capsys):
    other = next(name for name in backend.BACKENDS if name != keras.config.backend())
    with pytest.raises(typer.Exit) as ended:
        cli.start(other, "auto")  # too late: Keras is imported
    assert ended.value.exit_code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ")
    assert other in line


@pytest.mark.parametrize(("terminal", "verbose"), [(True, "auto"), (False, 0)])
def test_progress_bars_are_for_terminals(terminal, verbose, monkeypatch):
    monkeypatch.setattr(kerasnets.training, "shows_progress_bars", lambda: terminal)
    assert cli.choose_verbose() == verbose


def test_help_keeps_the_lines_of_the_examples(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["script.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda seed: None, "Do it.\n\nExamples:\n  python script.py\n  python script.py --fast\n")
    assert ended.value.code == 0
    assert "Examples:\n    python script.py\n    python script.py --fast\n" in capsys.readouterr().out
