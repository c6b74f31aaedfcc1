import dataclasses
import json
import runpy
import sys

import keras
import numpy as np
import pytest
from processes import ROOT

from kerasnets import backend
from kerasnets.training import recipes
from kerasnets.verify import relay

BACKEND = keras.config.backend()
RECIPE = recipes.find("Network2", "fashion_mnist_sample")


def test_float64_ends_with_the_weights_of_one_backend(tmp_path):
    if BACKEND == "torch":
        pytest.skip("the sessions of the other backends pass their files on to torch and back")
    result = relay.run(("torch", BACKEND, "torch"), RECIPE, "float64", tmp_path)
    assert result.broken == []
    assert [stage.backend for stage in result.stages] == ["torch", BACKEND, "torch"]
    assert {str(array.dtype) for stage in result.stages for array in stage.weights.values()} == {"float64"}
    # The optimizer and its schedule were carried over: 94 batches per epoch, the rate halved after each.
    assert [stage.iterations for stage in result.stages] == [94, 188, 282]
    assert [stage.learning_rate for stage in result.stages] == pytest.approx([0.005, 0.0025, 0.00125])
    # Every stage learned something; otherwise equal weights would prove nothing.
    assert relay.compare_weights(result.stages[0].weights, result.whole.weights) > 1e-3
    assert relay.compare_weights(result.stages[1].weights, result.whole.weights) > 1e-3


def experiment(monkeypatch, folder, *options):
    """Run the script; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["relay.py", "--out", str(folder), *options])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "experiments" / "relay.py"), run_name="__main__")
    return end.value.code


def test_experiment_in_float32(tmp_path, monkeypatch, capsys):
    if BACKEND == "torch":
        pytest.skip("the experiment needs at least two backends")
    options = ["--network", "Network2", "--dataset", "fashion_mnist_sample", "--dtype", "float32", "--device", "cpu"]
    assert experiment(monkeypatch, tmp_path, *options, "--backends", f"torch,{BACKEND}") == 0
    assert "noise floor" in capsys.readouterr().out
    (result,) = json.loads((tmp_path / "result.json").read_text())["results"]
    assert set(result["figures"]) == {"test loss", "test accuracy"}
    assert [leg["backend"] for leg in result["legs"]] == ["torch", BACKEND]
    assert len(result["nudged"]) == relay.NUDGED
    assert (tmp_path / "float32" / "relay-2.keras").exists()


def test_missing_backends_are_left_out_with_the_way_to_install_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(backend, "is_installed", lambda name: name == "torch")
    assert experiment(monkeypatch, tmp_path, "--dataset", "fashion_mnist_sample") == 1
    output = capsys.readouterr()
    for name in ("jax", "tensorflow"):
        assert f"The backend {name} is not installed" in output.out
        assert f"pip install -e '.[{name}]'" in output.out
    assert "needs at least two backends" in output.err


def test_unknown_backend_is_named(monkeypatch, tmp_path, capsys):
    assert experiment(monkeypatch, tmp_path, "--backends", "torch,theano") == 1
    assert "'theano'" in capsys.readouterr().err


def outcome(**changes):
    weights = {"fc1.weight": np.array([1.0, -2.0])}
    return dataclasses.replace(relay.Outcome("torch", [0.5], 0.5, 80.0, 1000, weights, 94, 0.01), **changes)


def test_bounds():
    moved = outcome(weights={"fc1.weight": np.array([1.0, -2.0 - 1e-8])})
    assert relay.Result("float64", [moved], outcome(), []).broken == ["weights"]
    assert relay.Result("float64", [outcome()], outcome(), []).broken == []
    nudged = [outcome(test_accuracy=80.3, test_loss=0.501)]
    near = outcome(test_accuracy=79.7, test_loss=0.499)
    assert relay.Result("float32", [near], outcome(), nudged).broken == []
    assert relay.Result("float32", [near], outcome(), []).broken == ["test loss", "test accuracy"]
    worse = outcome(test_accuracy=79.5, test_loss=float("nan"))
    assert relay.Result("float32", [worse], outcome(), nudged).broken == ["test loss", "test accuracy"]


def test_a_broken_bound_asks_for_more_runs_of_one_backend(monkeypatch, tmp_path):
    """Each further run is from other roundings, and they end when the relay is among them, or are all done."""
    nudges = []

    def run_in_child(*stages):
        nudges.extend(stage.nudge for stage in stages if stage.nudge)
        return [outcome(test_loss=0.55 if stage.target else 0.5 + 0.01 * stage.nudge) for stage in stages]

    monkeypatch.setattr(relay, "run_in_child", run_in_child)
    monkeypatch.setattr(relay, "AT_ONCE", 2)
    assert relay.run(("torch", BACKEND), RECIPE, "float32", tmp_path).broken == []
    assert nudges == [1, 2, 3, 4, 5]
    nudges.clear()
    monkeypatch.setattr(relay, "MORE", 1)
    assert relay.run(("torch", BACKEND), RECIPE, "float32", tmp_path).broken == []
    monkeypatch.setattr(relay, "MORE", 0)
    assert relay.run(("torch", BACKEND), RECIPE, "float32", tmp_path).broken == ["test loss"]
