"""experiments/sweep.py: the tutorial's settings, the command line, and what a run leaves behind."""

import importlib.util
import json

import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from processes import ROOT, run_forked

from kerasnets.training.sweeps import plan

pytestmark = pytest.mark.once

SPEC = importlib.util.spec_from_file_location("sweep", ROOT / "experiments" / "sweep.py")
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)


def test_the_tutorials_settings():
    """Its four loops, of which each has SGD at 0.01 in batches of 64 without a schedule once."""
    recipe = script.make_recipe("NeuralNetwork", "fashion_mnist_sample", None, None, is_tutorial=True)
    assert (recipe.optimizer, recipe.optimizer_options, recipe.batch_size) == ("SGD", {"learning_rate": 0.01}, 64)
    settings = [tuple(trial.params.values()) for trial in plan.Plan(recipe, script.TUTORIAL, None, 0, 0).trials]
    step = "StepLR(step_size=10, gamma=0.1)"
    expected = {
        *((rate, 64, "SGD", None) for rate in (0.1, 0.01, 0.001)),
        *((0.01, size, "SGD", None) for size in (32, 64, 128)),
        *((0.01, 64, optimizer, None) for optimizer in ("SGD", "Adam")),
        *((0.01, 64, "SGD", schedule) for schedule in (None, step)),
    }
    assert len(settings) == len(expected) == 7
    assert set(settings) == expected


def test_options_are_read_as_python_reads_them():
    assert script.parse_values("learning_rate=0.1,1e-2") == ("learning_rate", [0.1, 0.01])
    assert script.parse_values("optimizer=SGD,Adam") == ("optimizer", ["SGD", "Adam"])
    assert script.parse_values("options.hidden=[8, 8],[16]") == ("options.hidden", [[8, 8], [16]])
    assert script.parse_values("schedule=None,StepLR(10, gamma=0.1)") == ("schedule", [None, "StepLR(10, gamma=0.1)"])
    assert script.parse_range("batch_size=32:256") == ("batch_size", IntDistribution(32, 256))
    assert script.parse_range("learning_rate=1e-4:1:log") == ("learning_rate", FloatDistribution(1e-4, 1, log=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--grid", "batch_size"), "--grid batch_size: expected NAME=VALUE,VALUE"),
        (("--grid", "batch_size=3-"), "--grid batch_size=3-: expected NAME=VALUE,VALUE"),
        (("--search", "batch_size=3"), "--search batch_size=3: expected NAME=LOW:HIGH"),
        (("--grid", "optimiser=SGD"), "Did you mean 'optimizer'?"),
        (("--grid", "seed=0", "--storage", "sweep.db"), "storage='sweep.db': expected a database's URL"),
        (("--backend", "torch", "--grid", "backend=torc"), "Did you mean 'torch'?"),
    ],
)
def test_wrong_options_end_with_one_line(options, message, tmp_path):
    done = run_forked("experiments/sweep.py", *options, "--out", str(tmp_path), check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


def test_a_sweep_from_the_command_line(tmp_path):
    done = run_forked(
        "experiments/sweep.py", "--network", "Net", "--dataset", "fashion_mnist_sample", "--epochs", "1", "--grid",
        "learning_rate=0.01,0.1", "--grid", "batch_size=250", "--seeds", "2", "--workers", "2", "--held-out", "5000",
        "--lang", "zh", "--device", "cpu", "--out", str(tmp_path), "--seed", "5",
    )  # fmt: skip
    rows = json.loads((tmp_path / "sweep.json").read_text())["rows"]
    expected = [{"learning_rate": rate, "batch_size": 250, "seed": seed} for rate in (0.01, 0.1) for seed in (5, 6)]
    assert [row["settings"] for row in rows] == expected
    best = json.loads((tmp_path / "best.json").read_text())
    assert f"best test accuracy {best['test_accuracy']:.2f} %" in done.stdout
    assert "4 of 4 trials" in done.stdout
    for picture in ("comparison.png", "importance.png", "parallel_coordinates.png"):
        assert (tmp_path / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert picture in done.stdout
