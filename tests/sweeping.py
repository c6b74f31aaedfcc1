"""What the tests of sweeps share: small data, a sweep in processes of its own, and the serial runs to compare with."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import optuna
from processes import ROOT

import kerasnets
from kerasnets.training import recipes
from kerasnets.training.sweeps import plan, storage

#: Batches of one size: on torch a smaller last one is timed before it is traced, and the two round differently.
IMAGES, TESTED = 64, 20

PROGRAM = """
import json, sys
sys.path.insert(0, "tests")
import sweeping
sweeping.run(*json.loads(sys.argv[1]))
"""


def arrays():
    generator = np.random.default_rng(0)
    labels = np.arange(IMAGES + TESTED) % 10
    images = generator.normal(labels[:, None, None] / 5 - 1, 0.3, (len(labels), 28, 28)).astype("float32")
    return (images[:IMAGES], labels[:IMAGES]), (images[IMAGES:], labels[IMAGES:])


def recipe(epochs=2):
    return recipes.find("FashionNetwork", "fashion_mnist_sample").replace(
        epochs=epochs, batch_size=32, options={"hidden": [16, 16], "dropout": 0.5}
    )


def space(seeds):
    """3 × seeds cells."""
    return {"learning_rate": [0.1, 0.01, 0.001], "seed": list(range(seeds))}


def run(out, seeds, epochs, url=None):
    return kerasnets.sweep(
        recipe(epochs), space(seeds), out=out, storage=url, heartbeat=1, grace=3, arrays=arrays(), progress=False
    )


def start(out, seeds, epochs, url=None):
    """A worker: a process that runs the sweep."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps([str(out), seeds, epochs, url])], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def count_finished(url):
    """How many trials of the sweep are complete; 0 before there is one."""
    try:
        with storage.quiet():
            study = optuna.load_study(study_name="sweep", storage=url)
    except Exception:  # no tables yet, or no study
        return 0
    return sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.get_trials(deepcopy=False))


def descendants(pid):
    """The processes that a process started, and that these did."""
    parents = {}
    for folder in os.listdir("/proc"):  # noqa: PTH208
        if folder.isdigit():
            try:
                with open(f"/proc/{folder}/stat") as file:  # noqa: PTH123
                    parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(folder))
            except OSError:
                continue
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def kill_some(out, seeds, epochs, workers, kills, url=None, seed=0):
    """Run a sweep of 3 × seeds cells with workers that are killed at random and replaced; returns what was killed.

    Half of the kills hit a worker, the others a process that it started: the one with the backend, or a trial.
    """
    generator = random.Random(seed)
    database = url or f"sqlite:///{out}/sweep.db"
    running = [start(out, seeds, epochs, url) for _ in range(workers)]
    killed = []
    try:
        for number in range(kills):
            share = 3 * seeds * (number + generator.random()) / (kills + 1)
            while (finished := count_finished(database)) < share:
                assert any(worker.poll() is None for worker in running), running[0].stderr.read()
                time.sleep(0.1)
            victim = generator.randrange(workers)
            below = descendants(running[victim].pid)
            if number % 2 and below:
                os.kill(below[-1], signal.SIGKILL)
                killed.append(f"a trial after {finished}")
                continue
            running[victim].kill()
            running[victim].communicate()
            running[victim] = start(out, seeds, epochs, url)
            killed.append(f"a worker after {finished}")
        for worker in running:
            _, errors = worker.communicate(timeout=1200)
            assert worker.returncode == 0, errors
    finally:
        for worker in running:
            worker.kill()
            worker.communicate()
    return killed


def check_against_serial_runs(out, seeds, epochs, url=None):
    """Each cell is there once, and its numbers and weights are bit for bit those of a run by itself."""
    database = url or f"sqlite:///{out}/sweep.db"
    with storage.quiet():
        study = optuna.load_study(study_name="sweep", storage=database)
    cells = plan.Plan(recipe(epochs), space(seeds), None, 0, 0).trials
    finished = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    assert sorted(trial.user_attrs["cell"] for trial in finished) == list(range(len(cells)))
    rows = json.loads((out / "sweep.json").read_text())["rows"]
    assert [row["cell"] for row in rows] == list(range(len(cells)))
    for row, cell in zip(rows, cells, strict=True):
        assert row["settings"] == cell.params
        rate = cell.params["learning_rate"]
        alone = kerasnets.train(
            recipe(epochs).replace(optimizer_options={"learning_rate": rate}), seed=cell.params["seed"],
            arrays=arrays(), verbose=0, test_each_epoch=True,
        )  # fmt: skip
        for name in ("train_loss", "train_accuracy", "test_loss", "test_losses", "test_accuracy"):
            assert row[name] == getattr(alone, name), (cell.params, name)
        kept = kerasnets.load_model(out / "runs" / f"{row['cell']:04d}" / "model.keras")
        for actual, expected in zip(kept.get_weights(), alone.model.get_weights(), strict=True):
            np.testing.assert_array_equal(actual, expected)
