import dataclasses
import json
import math
import runpy
import sys

import keras
import numpy as np
import pytest
from gradients import precision
from keras import ops
from processes import ROOT, run_forked

from kerasnets import backend, batches, data, optimizers, training
from kerasnets.training import recipes
from kerasnets.verify import parity

BACKEND = keras.config.backend()
FIGURE = parity.Figure("Net", "SGD", "float32", "one step", 0, "weights", "fc1.bias", 5e-7, 1e-7, 1e-6)


@pytest.fixture
def in_float64():
    """Skips the test on a Keras that loses float64."""
    with precision("float64"):
        pass


@pytest.fixture(autouse=True)
def same_float_type_afterwards():
    with precision("float32"):
        yield


def experiment(monkeypatch, *options):
    """Run the script; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["parity.py", *map(str, options)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "experiments" / "parity.py"), run_name="__main__")
    return end.value.code


def comparison(network, optimizer, steps):
    """A comparison on few images in small batches."""
    recipe = recipes.find(network, "fashion_mnist_sample").replace(batch_size=16)
    (x, y), (x_test, y_test) = data.load_data("fashion_mnist_sample")
    arrays = (x[:200], y[:200]), (x_test[:100], y_test[:100])
    return parity.Comparison(
        parity.make_case(optimizer, recipe, steps), training.load_recipe_data(recipe, arrays), steps
    )


@pytest.mark.parametrize(
    ("network", "optimizer", "steps", "dtypes"),
    [
        ("Network2", "Adam", 11, parity.DTYPES),
        ("Net", "StepLR", 11, parity.DTYPES),
        ("ConvNeuralNetwork", "Adam", 2, ["float64"]),
    ],
)
@pytest.mark.usefixtures("in_float64")
def test_same_numbers_as_pytorch(network, optimizer, steps, dtypes, pytestconfig):
    compared = comparison(network, optimizer, steps)
    if pytestconfig.getoption("--device") == "gpu":
        dtypes = ["float64"]  # the noise floor of float32 is the CPU's
    for dtype in dtypes:
        figures = compared.compare(dtype)
        assert [figure for figure in figures if figure.broken] == []
        expected = {"outputs", "loss", "gradients", "weights"} | ({"buffers"} if "Conv" in network else set())
        for point in [point for point in parity.POINTS if point <= steps]:
            assert {f.quantity for f in figures if f.check == "one step" and f.steps == point} == expected
        free = {f.quantity for f in figures if f.check == "running free"}
        assert free == ({"weights"} if dtype == "float64" else {"test loss", "test accuracy"})
    ours = f"kerasnets on {BACKEND}"
    for curves in compared.curves.values():
        assert list(curves) == ["PyTorch", ours]
        np.testing.assert_allclose(curves[ours], curves["PyTorch"], rtol=1e-5)


@pytest.mark.usefixtures("in_float64")
def test_same_numbers_as_pytorch_on_colour_images():
    recipe = recipes.find("Net", "cifar10").replace(batch_size=16)
    random = np.random.default_rng(0)
    x, y = random.uniform(-1, 1, (80, 32, 32, 3)).astype("float32"), random.integers(0, 10, 80)
    arrays = (x[:64], y[:64]), (x[64:], y[64:])
    figures = parity.Comparison(parity.make_case("SGD", recipe, 2), arrays, 2).compare("float64")
    assert {figure.quantity for figure in figures} >= {"outputs", "loss", "gradients", "weights"}
    assert [figure for figure in figures if figure.broken] == []


def test_biases_without_a_gradient_are_those_before_a_batch_norm():
    case = parity.make_case("SGD", recipes.find("ConvNeuralNetwork"), 1)
    assert parity.Ported(case).find_biases_without_gradient() == {
        "conv1.bias": "batch_norm1",
        "conv2.bias": "batch_norm2",
        "conv3.bias": "batch_norm3",
        "fc1.bias": "batch_norm_fc1",
        "fc2.bias": "batch_norm_fc2",
    }


@pytest.fixture
def other_rules(monkeypatch):
    """A test may change an optimizer's rule: stock Keras's ``fit`` asks it for every step; PyTorch runs less often."""
    monkeypatch.setenv("KERASNETS_ACCELERATE", "0")
    monkeypatch.setattr(parity.comparison, "MORE", 2)


def stock_sgd(self, gradient, variable, learning_rate):
    """Keras's own rule, whose velocity holds steps: it differs once the learning rate has changed."""
    velocity = self.state_of(variable)["momentum_buffer"]
    new = ops.convert_to_tensor(velocity) * 0.9 - ops.cast(learning_rate, variable.dtype) * gradient
    self.assign(velocity, new)
    self.assign_add(variable, new)


@pytest.mark.usefixtures("in_float64", "other_rules")
def test_stock_sgd_breaks_the_bound_when_the_rate_drops(monkeypatch):
    monkeypatch.setattr(optimizers.SGD, "update_step", stock_sgd)
    broken = [figure for figure in comparison("Network2", "StepLR", 8).compare("float64") if figure.broken]
    assert [(figure.check, figure.quantity) for figure in broken] == [("running free", "weights")]


@pytest.mark.usefixtures("in_float64", "other_rules")
def test_keras_epsilon_breaks_the_bound_and_the_exit_code(monkeypatch, tmp_path, capsys):
    rule = optimizers.Adam.update_step

    def update_step(self, *arguments):
        self.epsilon = 1e-7
        rule(self, *arguments)
        self.epsilon = 1e-8

    monkeypatch.setattr(optimizers.Adam, "update_step", update_step)
    options = ["--network", "Network2", "--dataset", "fashion_mnist_sample", "--steps", "2", "--dtype", "float64"]
    assert experiment(monkeypatch, *options, "--optimizer", "Adam", "--out", tmp_path) == 1
    result = json.loads((tmp_path / "result.json").read_text())
    figures = [parity.Figure(**figure) for figure in result["figures"]]
    broken = [(figure.check, figure.quantity) for figure in figures if figure.broken]
    assert broken == [("one step", "weights"), ("running free", "weights")]
    assert result["broken"] == 2
    assert "Broken: Network2, Adam, float64, one step, step 0: weights" in capsys.readouterr().out


def test_experiment_in_a_fresh_process(tmp_path):
    done = run_forked(
        *["experiments/parity.py", "--network", "Network2", "--optimizer", "SGD", "--steps", "2", "--device", "cpu"],
        *["--dtype", "float32", "--dataset", "fashion_mnist_sample", "--out", str(tmp_path)],
    )
    assert "noise floor" in done.stdout
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["backend"] == BACKEND
    assert result["broken"] == 0
    assert {figure["dtype"] for figure in result["figures"]} == {"float32"}
    assert (tmp_path / "Network2.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_has_what_came_nearest_to_its_bound(monkeypatch, tmp_path, capsys):
    near = dataclasses.replace(FIGURE, quantity="outputs", difference=9e-7)
    free = dataclasses.replace(FIGURE, check="running free", quantity="test accuracy", difference=0.25, noise=0.5)
    broken = dataclasses.replace(FIGURE, network="Network", difference=2e-6)
    for name, figures in {"torch": [FIGURE, near, dataclasses.replace(free, bound=0.51)], "jax": [broken]}.items():
        (tmp_path / name).mkdir()
        result = {"backend": name, "device": "cpu", "machine": "Z80, 1 core", "seed": 0, "steps": 938}
        result |= {"versions": {name: "1.2"}, "figures": [dataclasses.asdict(figure) for figure in figures]}
        (tmp_path / name / "result.json").write_text(json.dumps(result))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- parity -->\nold\n<!-- /parity -->\n")
    assert experiment(monkeypatch, "--out", tmp_path, "--report", page) == 0
    before, *lines, end = page.read_text().splitlines()
    assert (before, lines.pop(0), end) == ("before", "<!-- parity -->", "<!-- /parity -->")
    assert "old" not in lines
    assert "| Net, SGD | outputs 9e-07 (1e-07) | not measured | not measured |" in lines
    assert "| Net, SGD | accuracy 0.25 (0.50) | not measured | not measured |" in lines
    assert "| Network, SGD | not measured | weights 2e-06 (1e-07), **broken** | not measured |" in lines
    assert len([line for line in lines if line.startswith("| Net")]) == 3
    assert "4 figures, of which 1 breaks its bound." in lines
    assert "Z80, 1 core, device cpu" in lines[-1]
    assert "jax 1.2, torch 1.2" in lines[-1]
    page.write_text("no marks")
    assert experiment(monkeypatch, "--out", tmp_path, "--report", page) == 1
    assert "no lines <!-- parity --> and <!-- /parity -->" in capsys.readouterr().err
    empty = tmp_path / "empty"
    assert experiment(monkeypatch, "--out", empty, "--report", page) == 1
    assert "no result.json below" in capsys.readouterr().err


def test_unknown_network_is_named(monkeypatch, tmp_path, capsys):
    assert experiment(monkeypatch, "--network", "Resnet", "--out", tmp_path) == 1
    assert "'Resnet'; expected one of 'NeuralNetwork'" in capsys.readouterr().err


@pytest.mark.usefixtures("other_rules")
def test_more_runs_of_pytorch_do_not_excuse_a_real_difference(monkeypatch):
    rule = optimizers.SGD.update_step
    monkeypatch.setattr(optimizers.SGD, "update_step", lambda self, g, v, rate: rule(self, g, v, 10.0 * rate))
    figures = comparison("Network2", "SGD", 8).compare("float32")
    broken = {(figure.check, figure.quantity) for figure in figures if figure.broken}
    assert {("one step", "weights"), ("running free", "test loss")} <= broken


@pytest.mark.parametrize(("difference", "broken"), [(1e-6, False), (1.1e-6, True), (math.nan, True), (math.inf, True)])
def test_broken(difference, broken):
    figure = dataclasses.replace(FIGURE, difference=difference)
    assert figure.broken == broken
    assert parity.select_worst([FIGURE, figure, FIGURE])[0] is figure


def test_picture_has_both_curves_of_every_panel():
    curves = {name: {"PyTorch": [2.0, 1.0], "kerasnets on jax": [2.0, 1.1]} for name in "abc"}
    figure = parity.plot_curves(curves, title="Net, mnist")
    *panels, left_over = figure.axes
    assert figure.get_suptitle() == "Net, mnist"
    assert [axes.get_title() for axes in panels] == ["a", "b", "c"]
    for axes in panels:
        assert [line.get_ydata().tolist() for line in axes.lines] == [[2.0, 1.0], [2.0, 1.1]]
        below, above = axes.lines
        assert below.get_linewidth() > 3 * above.get_linewidth()
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["PyTorch", "kerasnets on jax"]
    assert not left_over.axison


def test_relative_is_of_the_largest_value():
    expected, actual = np.array([4.0, 0.0, -8.0]), np.array([4.0, 2.0, -8.0])
    assert parity.relative_difference(actual, expected) == 0.25
    assert parity.relative_difference(actual, expected, scale=2.0) == 1.0
    assert parity.relative_difference(np.zeros(2), np.zeros(2)) == 0.0
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        parity.relative_difference(np.zeros(2), expected)


def test_batches_are_those_of_a_training():
    case = parity.make_case("SGD", recipes.find("Network2").replace(batch_size=4), 5, seed=3)
    first, second = parity.list_batches(10, case, 5)
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert [len(batch) for batch in second] == [4, 4]
    np.testing.assert_array_equal(np.concatenate(first), batches.epoch_order(10, 3, 0))
    np.testing.assert_array_equal(np.concatenate(second), batches.epoch_order(10, 3, 1)[:8])


@pytest.mark.usefixtures("in_float64")
def test_set_dtype():
    backend.set_dtype("float64")
    layer = keras.layers.Dense(2)
    assert str(ops.convert_to_numpy(layer(np.full((1, 3), 1 / 3))).dtype) == "float64"
    with pytest.raises(ValueError, match="'float16'; expected 'float32' or 'float64'"):
        backend.set_dtype("float16")


def test_case_rejects():
    with pytest.raises(ValueError, match="'Sgd'; expected one of 'SGD', 'Adam', 'StepLR'"):
        parity.make_case("Sgd", recipes.find("Net"), 1)
    with pytest.raises(ValueError, match="steps=0"):
        parity.make_case("SGD", recipes.find("Net"), 0)
