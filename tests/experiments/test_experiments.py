"""The experiments as a user runs them: commands, what they print, what they leave behind."""

import json
from pathlib import Path

import keras
import pytest
from processes import ROOT, run, run_forked

ACTIVE = keras.config.backend()
SCRIPTS = sorted(path.name for path in (ROOT / "experiments").glob("*.py"))


def check_png(path: Path):
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.once
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_options_and_examples(script):
    text = run_forked(f"experiments/{script}", "--help", COLUMNS="100").stdout
    for word in ("--backend", "--device", "Examples:", f"python experiments/{script}"):
        assert word in text


@pytest.mark.once
def test_quickstart(tmp_path):
    options = ("--out", str(tmp_path), "--epochs", "1", "--seed", "3")
    done = run("experiments/quickstart.py", *options)
    for network in ("NeuralNetwork", "ConvNeuralNetwork"):
        result = json.loads((tmp_path / network / "result.json").read_text())
        assert (result["network"], result["backend"], result["seed"]) == (network, ACTIVE, 3)
        assert f"{result['test_accuracy']:.2f} %" in done.stdout
        assert f"Test Accuracy: {result['test_accuracy']:.2f}%" in done.stdout
        assert (tmp_path / network / "model.keras").exists()
    assert "Epoch [1/1], Step [94/94], Loss: " in done.stdout
    for picture in ("predictions.png", "confusion_matrix.png", "learning_curves.png"):
        check_png(tmp_path / picture)


@pytest.mark.parametrize(
    ("script", "options", "line"),
    [
        ("mnist.py", ("--network", "Network2"), "Epoch [2/2], Step [20/24], Loss: "),
        ("fashion_mnist.py", ("--network", "NeuralNetwork_v1"), "Epoch [2/2], Step [20/24], Loss: "),
        ("fashion_network.py", ("--dropout", "0.25"), "Training loss: "),
    ],
)
def test_trainings(tmp_path, script, options, line):
    done = run_forked(
        f"experiments/{script}", *options, "--dataset", "fashion_mnist_sample", "--epochs", "2", "--batch-size", "250",
        "--log-every", "20", "--out", str(tmp_path), "--backend", ACTIVE, "--device", "cpu",
    )  # fmt: skip
    assert line in done.stdout
    assert "Test Accuracy: " in done.stdout
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["train_loss"]) == len(result["epoch_seconds"]) == 2
    assert result["train_loss"][1] < result["train_loss"][0]
    assert result["dataset"] == "fashion_mnist_sample"
    assert result["backend"] == ACTIVE
    assert result["device"] == "cpu"
    for picture in ("predictions.png", "confusion_matrix.png", "learning_curves.png"):
        check_png(tmp_path / picture)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mnist.py", "--network", "Nets"), "'Nets'"),
        (("mnist.py", "--dataset", "emnist"), "'emnist'"),
        (("mnist.py", "--backend", "theano"), "'theano'"),
        (("mnist.py", "--epochs", "0"), "--epochs"),
        (("fashion_network.py", "--dropout", "1.5"), "--dropout"),
    ],
)
def test_wrong_options_end_with_a_message(arguments, message):
    done = run_forked(f"experiments/{arguments[0]}", *arguments[1:], check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gpu_that_is_not_there_ends_with_a_message(tmp_path):
    from kerasnets import backend

    if any(not name.startswith("cpu") for name in backend.devices()):
        pytest.skip("there is a GPU here")
    done = run_forked("experiments/quickstart.py", "--device", "gpu", "--out", str(tmp_path), check=False)
    assert done.returncode == 1
    assert "'gpu' was asked for" in done.stderr
    assert "Traceback" not in done.stderr
