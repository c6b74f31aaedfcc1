"""kerasnets.compare on ten architectures: correct ports, seeded faults, reports, and what it refuses."""

import json
import re

import keras
import matplotlib as mpl
import numpy as np
import pytest
import torch
from faults import FAULTS
from ports import PORTS, make
from processes import run_forked
from torch import nn
from typer.testing import CliRunner

import kerasnets
from kerasnets import layers, losses, optimizers
from kerasnets.__main__ import app
from kerasnets.verify.compare import CHECKS, Finding

mpl.use("Agg")

BACKEND = keras.config.backend()
#: All of them take minutes on JAX, which compiles each one: there and on TensorFlow some are tried.
EVERY = {"torch": 1, "tensorflow": 10, "jax": 16}[BACKEND]
CHOSEN = [fault for fault in FAULTS if EVERY == 1 or fault[0] != "ResNet-18"][::EVERY]
CORRECT = {"jax": ["VGG block"], "tensorflow": ["VGG block", "character LSTM"]}.get(BACKEND, PORTS)


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_port(name):
    module, model, x, y, arguments = make(name)
    report = kerasnets.assert_same(module, model, x, y, **arguments)
    assert report.same
    assert report.first is None
    assert not any(figure.differs for figure in report.figures)
    assert {figure.check for figure in report.figures} >= {"outputs", "training mode", "loss", "gradients", "optimizer"}
    assert len(report.matches) >= 3


@pytest.mark.parametrize(
    ("name", "options", "where", "words"),
    [(name, *rest) for name, _, *rest in CHOSEN],
    ids=[f"{name}, {fault}" for name, fault, *_ in CHOSEN],
)
def test_a_fault_is_located_and_named(name, options, where, words):
    module, model, x, y, arguments = make(name, **options)
    report = kerasnets.compare(module, model, x, y, **arguments)
    named = [f for f in report.findings if f.known and re.search(where, f.where) and words in f.cause]
    assert named, report.text()
    assert report.first.check == named[0].check, report.text()


@pytest.mark.once
@pytest.mark.parametrize("channels_first", [False, True])
def test_colour_images_in_either_order_of_axes(channels_first):
    """A linear layer takes them in any order: PyTorch's side gets the channels first."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(6 * 5 * 3, 4))
    model = keras.Sequential(
        [keras.Input((6, 5, 3)), layers.Flatten(data_format="channels_last"), layers.Linear(4, torch_name="1")]
    )
    x = np.random.default_rng(0).normal(size=(4, 6, 5, 3)).astype("float32")
    kerasnets.assert_same(module, model, np.moveaxis(x, -1, 1) if channels_first else x)


@pytest.mark.once
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_our_network_of_colour_images(data_format):
    x = np.random.default_rng(0).normal(size=(4, 8, 9, 3)).astype("float32")
    module = kerasnets.originals.build("ConvNeuralNetwork", input_shape=(8, 9, 3), dropout=0.0)
    model = kerasnets.build("ConvNeuralNetwork", input_shape=(8, 9, 3), dropout=0.0, data_format=data_format)
    kerasnets.assert_same(module, model, x)


def test_nothing_is_changed():
    module, model, x, y, arguments = make("VGG block")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    weights = [np.array(keras.ops.convert_to_numpy(w)) for w in model.weights]
    modes = [m.training for m in module.modules()]
    floats = keras.config.floatx(), keras.config.dtype_policy().name
    kerasnets.compare(module, model, x, y, **arguments)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    for weight, value in zip(model.weights, weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), value)
    assert [m.training for m in module.modules()] == modes
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == floats
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.once
def test_the_first_finding_as_a_sentence():
    module, model, x, y, arguments = make("VGG block", epsilon=1e-3)
    report = kerasnets.compare(module, model, x, y, **arguments)
    assert str(report.first) == (
        "batch_norm1: epsilon is 1e-3, PyTorch's is 1e-5; use kerasnets.layers.BatchNormalization"
    )
    with pytest.raises(AssertionError, match=r"batch_norm1: epsilon is 1e-3"):
        kerasnets.assert_same(module, model, x, y, **arguments)


@pytest.mark.once
def test_text_json_and_picture(tmp_path):
    module, model, x, y, arguments = make("VGG block", strided="same")
    report = kerasnets.compare(module, model, x, y, **arguments)
    text = report.text()
    assert "1. [outputs] strided: padding is" in text
    assert re.search(r"features\.3 +strided +convolution, by", text)
    assert "beyond the noise" in text
    assert "Matched layers" not in report.text(matches=False)
    report.save_json(tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["same"] is False
    assert data["backend"] == BACKEND
    assert data["findings"][0]["where"] == "strided"
    assert {"check", "name", "float64", "float32", "noise64", "noise32", "differs"} == set(data["figures"][0])
    assert len(data["learning_rates"][0]) == 50
    figure = report.plot()
    assert [axes.get_yscale() for axes in figure.axes] == ["log"] * 3
    assert "strided" in figure.axes[0].get_title()
    figure.savefig(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.once
def test_ignored_checks():
    module, model, x, y, arguments = make("LeNet-5", stock=True)
    report = kerasnets.assert_same(module, model, x, y, ignore=["initial weights"], **arguments)
    assert {finding.check for finding in report.findings} == {"initial weights"}
    with pytest.raises(ValueError, match="'weights': expected"):
        kerasnets.assert_same(module, model, x, y, ignore=["weights"], **arguments)


@pytest.mark.once
def test_every_check_has_a_place_in_the_order():
    assert {f.check for f in [Finding(check, "a", "b") for check in CHECKS]} == set(CHECKS)


@pytest.mark.once
def test_x_in_either_layout():
    module, model, x, _, _ = make("VGG block")
    for batch in (x, np.moveaxis(x, 1, -1), torch.from_numpy(x)):
        assert kerasnets.compare(module, model, batch).same


@pytest.mark.once
def test_a_compiled_model_brings_its_loss_and_optimizer():
    module, model, x, y, arguments = make("VGG block")
    model.compile(optimizer=arguments["optimizer"][1], loss=losses.CrossEntropyLoss())
    report = kerasnets.compare(module, model, x, y, loss=arguments["loss"][0], optimizer=arguments["optimizer"][0])
    assert [finding.where for finding in report.findings] == ["loss"]
    assert "label_smoothing is 0, PyTorch's is 0.1" in report.first.cause


@pytest.mark.once
def test_a_loss_that_refuses_the_outputs_is_a_finding():
    module, model, x, y, _ = make("LeNet-5")
    report = kerasnets.compare(
        module, model, x, y, loss=(nn.CrossEntropyLoss(), losses.CrossEntropyLoss(weight=[1.0] * 3))
    )
    assert [finding.where for finding in report.findings] == ["loss"]
    assert "10 classes are predicted" in report.first.cause


# --- What is refused


def small():
    return keras.Sequential([keras.Input((4,)), layers.Linear(3)])


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        x = self.linear(x)
        return x if x.sum() > 0 else -x


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.linear = layers.Linear(3)

    def call(self, x):
        return self.linear(x)


X, Y = np.ones((2, 4), "float32"), np.array([0, 1])
SGD = optimizers.SGD(0.1)


@pytest.mark.once
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"module": small}, TypeError, "expected a torch.nn.Module"),
        ({"model": lambda: nn.Linear(4, 3)}, TypeError, "expected a keras.Model"),
        ({"model": Subclassed}, TypeError, "call of its own.*Functional"),
        ({"model": lambda: keras.Sequential([layers.Linear(3)])}, ValueError, "no weights yet"),
        ({"module": Branching}, TypeError, "reads a number out of a tensor"),
        ({"x": "a"}, ValueError, "x is of type str"),
        ({"x": X[:1]}, ValueError, r"\(1, 4\); expected a batch of at least 2"),
        ({"x": X * np.nan}, ValueError, "not finite"),
        ({"x": X[:, :3]}, ValueError, r"\(2, 3\), which doesn't fit the model's input"),
        ({"y": np.array([0, 1, 2])}, ValueError, "3 targets; expected 2"),
        ({"y": None}, ValueError, "y=None"),
        ({"loss": "mse"}, ValueError, "expected a pair"),
        ({"loss": (nn.MSELoss(), "nothing")}, ValueError, "'nothing'"),
        ({"loss": (nn.MSELoss(), 3)}, TypeError, "expected a Keras loss"),
        ({"optimizer": SGD}, ValueError, "expected a pair"),
        ({"optimizer": (SGD, SGD)}, TypeError, "neither is PyTorch's"),
        ({"optimizer": (torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1), SGD)}, ValueError, "another module"),
        ({"scheduler": 3}, TypeError, "scheduler=3"),
        ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch: 0"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_input_is_named(change, error, words):
    given = {"module": lambda: nn.Linear(4, 3), "model": small, "x": X, "y": Y} | change
    options = {"loss": (nn.CrossEntropyLoss(), losses.CrossEntropyLoss())}
    options |= {
        name: value for name, value in given.items() if name in ("loss", "optimizer", "scheduler", "steps_per_epoch")
    }
    with pytest.raises(error, match=words):
        kerasnets.compare(given["module"](), given["model"](), given["x"], given["y"], **options)


# --- The command

FILE = """
import keras, numpy as np, torch
from kerasnets import layers, losses

module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3))
model = keras.Sequential([keras.Input((4,)), layers.Linear(8), keras.layers.LayerNormalization({}), layers.Linear(3)])
x = np.random.default_rng(0).normal(size=(4, 4))
y = np.array([0, 1, 2, 0])
loss = torch.nn.CrossEntropyLoss(), losses.CrossEntropyLoss()
"""


@pytest.mark.once
def test_command(tmp_path):
    port, out = tmp_path / "port.py", tmp_path / "out"
    port.write_text(FILE.format("epsilon=1e-5"))
    done = run_forked("-m", "kerasnets", "compare", str(port), "--out", str(out))
    assert f"kerasnets.compare on {BACKEND}: the same as PyTorch" in done.stdout
    assert json.loads((out / "report.json").read_text())["same"] is True
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.once
def test_exit_codes(tmp_path):
    port = tmp_path / "port.py"
    for text, code, words in (
        (FILE.format(""), 1, "epsilon is 1e-3, PyTorch's is 1e-5"),
        ("x = 3\n", 2, "has no module, model; expected"),
    ):
        port.write_text(text)
        done = CliRunner().invoke(app, ["compare", str(port)])
        assert done.exit_code == code
        assert words in done.output
    assert "There is no file" in CliRunner().invoke(app, ["compare", str(tmp_path / "nothing.py")]).output
