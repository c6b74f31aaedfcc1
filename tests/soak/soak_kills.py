"""A training that is killed twenty times at random moments ends bit for bit like one that was left alone.

Its batches are all of one size: on torch a smaller last batch runs through stock Keras until a trace of it pays, which
depends on the clock, and the two round differently.
"""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from processes import ROOT

import kerasnets

KILLS, EPOCHS = 20, 120

TRAINING = """
import sys
import keras
sys.path[:0] = ["tests", "tests/training"]
import test_backup

class Epochs(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        print("epoch", epoch, flush=True)

test_backup.train(sys.argv[1], [Epochs()], epochs=int(sys.argv[2]), batch_size=50)
"""


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(folder), str(EPOCHS)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def finish(folder):
    """Run to the end; returns the epochs that were run, as they were printed."""
    process = start(folder)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return [line for line in said.splitlines() if line.startswith("epoch")]


def kill(folder, epochs, seconds):
    """Kill a run `seconds` after it began the epoch that comes after so many; returns that epoch's number."""
    process = start(folder)
    begun = []
    while len(begun) <= epochs:
        line = process.stdout.readline()
        assert line, f"the training ended by itself, with {process.wait()}"
        begun += [int(line.split()[1])] if line.startswith("epoch") else []
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    return begun[-1]


@pytest.mark.parametrize("seed", [0])
def test_twenty_kills(seed, tmp_path):
    assert len(finish(tmp_path / "straight")) == EPOCHS
    random = np.random.default_rng(seed)
    killed = [kill(tmp_path / "killed", random.integers(5), random.uniform(0, 0.1)) for _ in range(KILLS)]
    left = finish(tmp_path / "killed")
    print(f"killed in the epochs {', '.join(map(str, killed))}; the last run had {len(left)} of {EPOCHS} to go")
    assert len(left) < EPOCHS
    straight, resumed = (kerasnets.load_model(tmp_path / n / "model.keras") for n in ("straight", "killed"))
    for expected, actual in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)
