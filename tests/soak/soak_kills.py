"""A training that is killed twenty times at random moments ends bit for bit like one that was left alone."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from processes import ROOT

import kerasnets

KILLS = 20

TRAINING = """
import sys
import keras
sys.path.insert(0, "tests/training")
import test_backup

class Ready(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        print("ready", flush=True)

result = test_backup.train(sys.argv[1], [Ready()], epochs=60)
print("done", flush=True)
"""


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def finish(folder):
    process = start(folder)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return said


@pytest.mark.parametrize("seed", [0])
def test_twenty_kills(seed, tmp_path):
    finish(tmp_path / "straight")
    random, killed = np.random.default_rng(seed), 0
    for _ in range(KILLS):
        process = start(tmp_path / "killed")
        while (line := process.stdout.readline().strip()) not in ("ready", "done"):
            assert line or process.poll() is None
        time.sleep(random.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        if (tmp_path / "killed" / "result.json").exists():
            break
    print(f"killed {killed} times")
    finish(tmp_path / "killed")
    straight, resumed = (kerasnets.load_model(tmp_path / n / "model.keras") for n in ("straight", "killed"))
    for expected, actual in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)
