"""A backup of a training after each epoch, from which a killed run resumes.

Keras's ``BackupAndRestore`` writes weights and epoch number to two files, one after the other: a run killed in between
resumes with the weights of one epoch and the number of another. Here each epoch is one file, written atomically, with a
digest inside.
"""

import hashlib
import inspect
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import keras
import numpy as np

from kerasnets._internal.atomic import replaced
from kerasnets.training.callbacks import EpochLog

_FORMAT = 1
_WEIGHTS, _RECORD, _ARRAYS = "model.weights.h5", "run.json", "callbacks.npz"
_UNFINISHED, _LOCK = "unfinished.weights.h5", ".kerasnets.lock"


class Backup(keras.callbacks.Callback):
    """Keeps the last two finished epochs of a training: weights, optimizer state, logs, and the state of callbacks.

    A context manager, to be entered before ``fit``: it locks the folder against other processes, and removes its files
    when the training is done. Pass it to ``fit`` as the last callback.

    Args:
        folder: where to keep them. Other files in it are left alone.
        settings: what the run depends on, in a form that JSON can hold; a run with other settings is not resumed.
        log: the run's log, which :meth:`restore` fills.
        callbacks: the callbacks whose state is kept: attributes that changed since the start of the training and are
            numbers, text, arrays, or lists and dicts of these. Attributes named like an argument are not kept: they
            are settings (EarlyStopping changes the sign of its ``min_delta``).

    Examples:
        >>> import tempfile
        >>> model = kerasnets.models.Sequential([keras.Input((2,)), kerasnets.layers.Linear(1)])
        >>> model.compile(kerasnets.optimizers.SGD(0.1), kerasnets.losses.MSELoss())
        >>> log = kerasnets.callbacks.EpochLog()
        >>> with kerasnets.training.backup.Backup(tempfile.mkdtemp(), {"seed": 0}, log) as backup:
        ...     history = model.fit(np.eye(2), np.ones((2, 1)), verbose=0, callbacks=[log, backup])
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        settings: Mapping[str, Any],
        log: EpochLog,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ):
        super().__init__()
        self.folder = Path(folder)
        self.settings = json.loads(json.dumps(settings))
        self.log = log
        self.callbacks = list(callbacks)
        self._at_begin: list[dict] = []
        self._restored: list[dict] = []
        self._lock = filelock.FileLock(self.folder / _LOCK)

    def __enter__(self):
        """Lock the folder.

        Raises:
            ValueError: the folder can't be written to.
            RuntimeError: another process has locked it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RuntimeError(
                f"Another process is training in {str(self.folder.parent)!r}. Wait for it, or choose another folder."
            ) from None
        except OSError as error:
            raise ValueError(
                f"The folder {str(self.folder.parent)!r} can't be written to: {error.strerror or error}."
            ) from error
        return self

    def __exit__(self, kind, error, traceback):
        """Unlock the folder, and remove the backups if the training finished."""
        for left_over in (self.folder / _UNFINISHED, *self.folder.glob(".unfinished-*.backup")):
            left_over.unlink(missing_ok=True)
        if kind is None:
            for path in self._saved():
                path.unlink()
        (self.folder / _LOCK).unlink(missing_ok=True)
        self._lock.release()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    # Writing

    def on_train_begin(self, logs=None):  # noqa: D102
        self._at_begin = [_state(callback) for callback in self.callbacks]
        for callback, state in zip(self.callbacks, self._restored, strict=False):
            vars(callback).update(state)

    def on_epoch_end(self, epoch, logs=None):  # noqa: D102
        if self.model.stop_training:
            return  # a run resumed from here would not stop; it has to repeat this epoch
        unfinished = self.folder / _UNFINISHED
        self.model.save_weights(unfinished, overwrite=True)
        weights = unfinished.read_bytes()
        plain, arrays = self._pack_changes()
        record = {
            "format": _FORMAT,
            "settings": self.settings,
            "epochs": self.log.epochs,
            "callbacks": plain,
            "sha256": _sha256(weights, arrays),
        }
        with replaced(self.folder / f"epoch-{epoch + 1:05d}.backup") as path, zipfile.ZipFile(path, "w") as archive:
            archive.writestr(_RECORD, json.dumps(record))
            archive.writestr(_ARRAYS, arrays)
            archive.writestr(_WEIGHTS, weights)
        unfinished.unlink()
        for old in self._saved()[:-2]:
            old.unlink()

    def _pack_changes(self) -> tuple[list, bytes]:
        """The class and the changed attributes of each callback, and those that are arrays as an ``.npz`` file."""
        plain: list[list] = []
        arrays: dict[str, Any] = {}
        for index, (callback, before) in enumerate(zip(self.callbacks, self._at_begin, strict=True)):
            state = {
                name: v for name, v in _state(callback).items() if name not in before or _has_changed(v, before[name])
            }
            for name in [name for name, value in state.items() if _is_arrays(value)]:
                arrays |= {f"{index}.{name}.{i}": array for i, array in enumerate(state.pop(name))}
            plain.append([type(callback).__name__, state])
        file = io.BytesIO()
        np.savez(file, **arrays)
        return plain, file.getvalue()

    # Reading

    def restore(self, model: keras.Model) -> int:
        """Load the last finished epoch of a run with the same settings into the compiled `model`.

        A damaged file is renamed, and the epoch before it is loaded. The backups of a run with other settings are
        moved to another folder. Both print a line.

        Returns:
            The number of finished epochs, 0 if there is nothing to resume.
        """
        for path in reversed(self._saved()):
            try:
                record, arrays, weights = _read(path)
                if record["settings"] == self.settings:
                    self._load(model, weights)
            except Exception as error:  # damage can raise anything: BadZipFile, KeyError, OSError, struct.error …
                aside = path.with_name(path.name + ".damaged")
                path.replace(aside)
                print(f"The backup {path} is damaged ({type(error).__name__}: {error}); it is now {aside}.")
                continue
            if record["settings"] != self.settings:
                self._move_aside(record["settings"])
                return 0
            self.log.epochs = record["epochs"]
            self._restore_callbacks(record["callbacks"], arrays)
            return len(record["epochs"])
        return 0

    def _load(self, model: keras.Model, weights: bytes) -> None:
        unfinished = self.folder / _UNFINISHED
        unfinished.write_bytes(weights)
        model.optimizer.build(model.trainable_variables)
        model.load_weights(unfinished)
        unfinished.unlink()

    def _restore_callbacks(self, plain: list, arrays: dict[str, np.ndarray]) -> None:
        names = [type(callback).__name__ for callback in self.callbacks]
        if names != [name for name, _ in plain]:
            before = ", ".join(name for name, _ in plain) or "none"
            print(f"The callbacks differ from before ({before}): their state is not restored.")
            return
        self._restored = [dict(state) for _, state in plain]
        for key in arrays:
            index, name, _ = key.split(".")
            self._restored[int(index)].setdefault(name, []).append(arrays[key])

    def _move_aside(self, settings: Mapping[str, Any]) -> None:
        number = 1
        while (aside := self.folder.with_name(f"{self.folder.name}-{number}")).exists():
            number += 1
        aside.mkdir()
        for path in self._saved():
            path.replace(aside / path.name)
        names = sorted(n for n in {*settings, *self.settings} if settings.get(n) != self.settings.get(n))
        differences = (
            f"other {name}"
            if name in ("images", "labels", "batch order")
            else f"{name} {settings.get(name)!r}, not {self.settings.get(name)!r}"
            for name in names
        )
        print(f"The backup in {self.folder} is of another run ({'; '.join(differences)}); it is now in {aside}.")

    def _saved(self) -> list[Path]:
        """The files of the finished epochs, oldest first."""
        return sorted(self.folder.glob("epoch-[0-9][0-9][0-9][0-9][0-9].backup"))


def digest(array: np.ndarray) -> str:
    """A digest of values, shape and type of an array.

    Examples:
        >>> digest = kerasnets.training.backup.digest
        >>> digest(np.zeros(2)) == digest(np.zeros(2)), digest(np.zeros(2)) == digest(np.zeros(3))
        (True, False)
    """
    sha = hashlib.blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=16)
    contents: Any = np.ascontiguousarray(array)  # NumPy's stubs know it as a buffer from Python 3.12 on
    sha.update(contents)
    return sha.hexdigest()


def _sha256(*contents: bytes) -> str:
    return hashlib.sha256(b"".join(contents)).hexdigest()


def _read(path: Path) -> tuple[dict, dict[str, np.ndarray], bytes]:
    """The record, the callbacks' arrays, and the contents of the weights file.

    Raises:
        Exception: of any kind, if the file is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        record, arrays, weights = json.loads(archive.read(_RECORD)), archive.read(_ARRAYS), archive.read(_WEIGHTS)
    if record["format"] != _FORMAT or record["sha256"] != _sha256(weights, arrays):
        raise ValueError("its contents don't match its digest")
    with np.load(io.BytesIO(arrays)) as file:
        return record, dict(file), weights


def _is_arrays(value) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, np.ndarray) for each in value)


def _has_changed(value, before) -> bool:
    if _is_arrays(value) and _is_arrays(before):
        return len(value) != len(before) or any(map(lambda a, b: not np.array_equal(a, b), value, before))
    return _is_arrays(value) or _is_arrays(before) or value != before


def _state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """A copy of those attributes of a callback that a file can hold."""
    state = {}
    left_out = {"params", "_model", *inspect.signature(type(callback).__init__).parameters}
    for name, value in vars(callback).items():
        if name in left_out:
            continue
        if _is_arrays(value):
            state[name] = [array.copy() for array in value]
            continue
        try:
            state[name] = json.loads(json.dumps(value, default=lambda number: number.item()))
        except (AttributeError, TypeError, ValueError, RecursionError):
            continue
    return state
