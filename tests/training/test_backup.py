"""Killed runs resume after their last finished epoch, and end as if they had not been interrupted."""

import json
import signal
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from processes import ROOT, run_forked

import kerasnets
from kerasnets import schedules, training
from kerasnets.training import recipes

EPOCHS = 4


def data():
    (x, y), (x_test, y_test) = kerasnets.load_data("fashion_mnist_sample")
    return (x[:200], y[:200]), (x_test[:50], y_test[:50])


def small(**changes):
    """FashionNetwork with dropout, small enough for a test."""
    recipe = recipes.find("FashionNetwork", "fashion_mnist_sample")
    return recipe.replace(**{"options": {"hidden": (16, 8), "dropout": 0.25}, "epochs": EPOCHS, **changes})


def train(out=None, callbacks=(), arrays=None, seed=5, **changes):
    return training.train(
        small(**changes), arrays=arrays or data(), seed=seed, out=out, verbose=0, callbacks=callbacks
    )  # fmt: skip


class Stop(keras.callbacks.Callback):
    """Interrupts a run in the middle of an epoch, counted from 0."""

    def __init__(self, epoch):
        super().__init__()
        self.last = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.last:
            raise KeyboardInterrupt


def interrupted(out, epoch, callbacks=(), **changes):
    """A run that ends in epoch number `epoch`; its callbacks with :class:`Stop`."""
    callbacks = [*callbacks, Stop(epoch)]
    with pytest.raises(KeyboardInterrupt):
        train(out, callbacks, **changes)


@pytest.fixture(scope="module")
def straight():
    return train()


def same(result, straight):
    np.testing.assert_allclose(result.train_loss, straight.train_loss, rtol=1e-6)
    for a, b in zip(result.model.get_weights(), straight.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# Kills

KILLED = """
import os, signal, sys
import keras
sys.path[:0] = ["tests", "tests/training"]
import test_backup
from kerasnets.training import backup

def kill(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if (sys.argv[2], epoch) == ("while writing", 2):
            backup.zipfile.ZipFile.writestr = kill
        if (sys.argv[2], epoch) == ("before the first", 0):
            kill()

    def on_train_batch_end(self, batch, logs=None):
        if (sys.argv[2], self.epoch, batch) == ("in a step", 2, 1):
            kill()

test_backup.train(sys.argv[1], [Kill()])
"""


@pytest.mark.parametrize(("when", "done"), [("before the first", 0), ("in a step", 2), ("while writing", 2)])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(when, done, tmp_path, straight, capsys):
    killed = run_forked("-c", KILLED, str(tmp_path), when, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    class Kill(keras.callbacks.Callback):
        """Of the same name, so that the runs have the same callbacks."""

    resumed = train(tmp_path, [Kill()])
    assert (f"after epoch {done} of 4" in capsys.readouterr().out) == (done > 0)
    assert len(resumed.train_loss) == EPOCHS
    same(resumed, straight)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "result.json"]


@pytest.mark.parametrize(
    ("make", "attribute"),
    [
        (lambda: keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=3, min_delta=10.0), "wait"),
        (lambda: keras.callbacks.EarlyStopping("loss", min_delta=10.0, patience=4, restore_best_weights=True), "wait"),
        (lambda: keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True), "best"),
    ],
)
def test_callbacks_keep_their_state(make, attribute, tmp_path):
    whole, first, second = make(), make(), make()
    uninterrupted = train(callbacks=[whole, Stop(99)], epochs=6)
    interrupted(tmp_path, 3, [first], epochs=6)
    resumed = train(tmp_path, [second, Stop(99)], epochs=6)
    same(resumed, uninterrupted)
    assert getattr(second, attribute) == pytest.approx(getattr(whole, attribute))
    rates = [float(keras.ops.convert_to_numpy(r.model.optimizer.learning_rate)) for r in (resumed, uninterrupted)]
    assert rates[0] == pytest.approx(rates[1])


def test_the_state_of_other_callbacks_is_not_restored(tmp_path, capsys):
    interrupted(tmp_path, 2, [keras.callbacks.EarlyStopping("loss")])
    train(tmp_path)
    assert "The callbacks differ from before (EarlyStopping, Stop)" in capsys.readouterr().out


# What doesn't fit


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", *range(8)])
def test_a_damaged_backup_is_set_aside_and_the_one_before_is_used(damage, tmp_path, straight, capsys):
    interrupted(tmp_path, 3)
    newest = tmp_path / "backup" / "epoch-00003.backup"
    contents = bytearray(newest.read_bytes())
    if damage == "truncated":
        contents = contents[: len(contents) // 2]
    elif damage == "garbage":
        contents = bytearray(np.random.default_rng(0).bytes(len(contents)))
    elif damage == "empty":
        contents = bytearray()
    else:  # a bit in the weights, which are the last and by far the largest part
        position = int(np.random.default_rng(damage).integers(2000, len(contents) - 1000))
        contents[position] ^= 1 << damage
    newest.write_bytes(contents)
    same(train(tmp_path, [Stop(99)]), straight)
    said = capsys.readouterr().out
    assert f"The backup {newest} is damaged" in said
    assert "after epoch 2 of 4" in said
    assert (tmp_path / "backup" / "epoch-00003.backup.damaged").read_bytes() == contents


def test_two_damaged_backups_leave_a_fresh_run(tmp_path, straight):
    interrupted(tmp_path, 3)
    for path in (tmp_path / "backup").glob("epoch*"):
        path.write_bytes(path.read_bytes()[:-100])
    same(train(tmp_path, [Stop(99)]), straight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_size": 50}, "batch_size 64, not 50"),
        ({"seed": 6}, "seed 5, not 6"),
        ({"arrays": ((data()[0][0] * 0.5, data()[0][1]), data()[1])}, "other images"),
        ({"arrays": ((data()[0][0], 9 - data()[0][1]), data()[1])}, "other labels"),
    ],
)
def test_a_backup_that_doesnt_fit_is_moved_aside(change, said, tmp_path, capsys):
    interrupted(tmp_path, 2)
    written = sorted(path.name for path in (tmp_path / "backup").glob("epoch*"))
    result = train(tmp_path, [Stop(99)], **change)
    output = capsys.readouterr().out
    assert said in output
    assert f"it is now in {tmp_path / 'backup-1'}" in output
    assert "Resuming" not in output
    assert len(result.train_loss) == EPOCHS
    assert sorted(path.name for path in (tmp_path / "backup-1").iterdir()) == written


def rewrite_records(folder, before, after):
    """Replace a part of the record in every backup."""
    for path in (folder / "backup").glob("epoch*"):
        with zipfile.ZipFile(path) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        assert before in contents["run.json"]
        contents["run.json"] = contents["run.json"].replace(before, after)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)


def test_a_backup_of_another_backend_is_moved_aside(tmp_path, capsys):
    here = keras.config.backend()
    other = "jax" if here == "torch" else "torch"
    interrupted(tmp_path, 2)
    rewrite_records(tmp_path, f'"{here}"'.encode(), f'"{other}"'.encode())
    train(tmp_path, [Stop(99)])
    assert f"backend '{other}', not '{here}'" in capsys.readouterr().out


def test_a_backup_from_before_pytorchs_order_of_batches_is_moved_aside(tmp_path, capsys):
    interrupted(tmp_path, 2)
    rewrite_records(tmp_path, b'"batch order": "PyTorch\'s", ', b"")
    result = train(tmp_path, [Stop(99)])
    output = capsys.readouterr().out
    assert "of another run (other batch order); it is now in" in output
    assert len(result.train_loss) == EPOCHS


def test_fewer_epochs_than_done(tmp_path, straight):
    interrupted(tmp_path, 3)
    with pytest.raises(ValueError, match=r"epochs=2: the run in .* has done 3 epochs"):
        train(tmp_path, epochs=2)
    same(train(tmp_path, [Stop(99)]), straight)  # nothing was lost


def test_files_of_the_users_stay(tmp_path):
    own = tmp_path / "backup"
    own.mkdir()
    for name in ("photo.jpg", "run.json", "epoch-1.weights.h5"):
        (own / name).write_text("mine")
    train(tmp_path, epochs=1)
    interrupted(tmp_path, 1)
    train(tmp_path, [Stop(99)], seed=6)  # the backup of the other seed is moved aside
    assert {path.name: path.read_text() for path in own.iterdir()} == dict.fromkeys(
        ("photo.jpg", "run.json", "epoch-1.weights.h5"), "mine"
    )


def test_a_second_process_in_the_same_folder_is_told(tmp_path):
    waiting = """
import sys
import keras
sys.path[:0] = ["tests", "tests/training"]
import test_backup

class Wait(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        print("ready", flush=True)
        sys.stdin.readline()

test_backup.train(sys.argv[1], [Wait()], epochs=1)
"""
    command = [sys.executable, "-c", waiting, str(tmp_path)]
    first = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        while "ready" not in first.stdout.readline():
            assert first.poll() is None
        with pytest.raises(RuntimeError, match=f"Another process is training in '{tmp_path}'"):
            train(tmp_path)
    finally:
        first.communicate("\n", timeout=120)
    assert first.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "result.json"]


def test_a_folder_that_cant_be_written_to(tmp_path):
    """It is said before the first step."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=f"The folder '{tmp_path / 'file'}' can't be written to"):
        train(tmp_path / "file", [Stop(0)])
    assert (tmp_path / "file").read_text() == "mine"


def test_schedules_and_numpy_numbers_in_a_recipe(tmp_path):
    rate = schedules.StepLR(np.float32(0.01), step_size=2, steps_per_epoch=np.int64(4))
    options = {"learning_rate": rate, "weight_decay": np.float64(1e-4)}
    changes = {"optimizer_options": options, "batch_size": np.int64(50)}
    interrupted(tmp_path, 2, **changes)
    same(train(tmp_path, [Stop(99)], **changes), train(**changes))
    recipe = json.loads((tmp_path / "result.json").read_text())["recipe"]
    assert recipe["batch_size"] == 50
    assert recipe["optimizer_options"]["learning_rate"]["class_name"] == "StepLR"
    with pytest.raises(TypeError, match=r"optimizer_options\['learning_rate'\] of the recipe is a function"):
        train(tmp_path, optimizer_options={"learning_rate": lambda: 0.1})
