"""Keras callbacks: dropout that a resumed run repeats, the documents' printed lines, times, and a backup by epoch."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasnets import backend
from kerasnets.files import write_json


class EpochSeeds(keras.callbacks.Callback):
    """Sets the state of every dropout layer from (seed, epoch) when an epoch begins.

    Keras saves no generator's state in its files, so that a resumed run would drop other units than an uninterrupted
    one. On torch PyTorch's global generator is seeded, from which Keras's dropout draws there.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):  # noqa: D102
        generators = [layer.seed_generator for layer in self.model.layers if hasattr(layer, "seed_generator")]
        for index, generator in enumerate(generators):
            # 31 bits: Keras keeps the state as int32 on torch, as uint32 elsewhere.
            state = np.random.SeedSequence([self.seed, epoch, index]).generate_state(1)[0] >> 1
            generator.state.assign(np.array([state, 0], dtype=generator.state.dtype))
        if generators:
            backend.seed_global_generator(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))


class StepLog(keras.callbacks.Callback):
    """Prints the documents' lines: ``Epoch [1/5], Step [100/938], Loss: 1.1812``, the mean of the last batches.

    Args:
        every: batches between two lines.
    """

    def __init__(self, every: int = 100):
        super().__init__()
        if every < 1:
            raise ValueError(f"every={every}: expected at least 1.")
        self.every = every

    def on_epoch_begin(self, epoch, logs=None):  # noqa: D102
        self._epoch, self._total = epoch, 0.0

    def on_train_batch_end(self, batch, logs=None):  # noqa: D102
        step = batch + 1
        if step % self.every == 0:
            # Keras logs the mean since the epoch's start; its batches are all of one size but the last.
            total = float(logs["loss"]) * step
            epochs, steps = self.params["epochs"], self.params["steps"]
            mean = (total - self._total) / self.every
            print(f"Epoch [{self._epoch + 1}/{epochs}], Step [{step}/{steps}], Loss: {mean:.4f}", flush=True)
            self._total = total


class EpochLog(keras.callbacks.Callback):
    """Keeps each epoch's logs and its wall-clock seconds in :attr:`epochs`, a list of dicts."""

    def __init__(self):
        super().__init__()
        self.epochs: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch, logs=None):  # noqa: D102
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):  # noqa: D102
        seconds = time.perf_counter() - self._began
        self.epochs.append({**{name: float(value) for name, value in logs.items()}, "seconds": seconds})


class Backup(keras.callbacks.Callback):
    """Keeps weights, optimizer state and logs of the last finished epoch in a folder, for a run that gets killed.

    Keras's BackupAndRestore writes weights and epoch number as two files, one after the other: killed in between, it
    resumes with the weights of one epoch and the number of another. Here the number is in the weights' file name, and
    the file gets its name when it is complete.

    Args:
        folder: where to keep them; it holds nothing else.
        settings: what the run depends on, as JSON can hold it; a backup of a run with other settings is not resumed.
        log: the run's log, filled again on :meth:`restore`; give it to ``fit`` before the backup.
    """

    def __init__(self, folder: str | os.PathLike, settings: dict[str, Any], log: EpochLog):
        super().__init__()
        self.folder = Path(folder)
        self.settings = json.loads(json.dumps(settings))
        self.log = log

    def restore(self, model: keras.Model) -> int:
        """Load the last finished epoch of a run with the same settings into the compiled `model`.

        Returns:
            The number of finished epochs: 0 where there is nothing to resume.
        """
        saved = sorted(self.folder.glob("epoch-*.weights.h5"))
        try:
            record = json.loads((self.folder / "run.json").read_text())
        except (OSError, ValueError):
            record = None
        if not saved or not record or record["settings"] != self.settings:
            self.remove()
            return 0
        done = int(saved[-1].name.split(".")[0].removeprefix("epoch-"))
        model.optimizer.build(model.trainable_variables)
        model.load_weights(saved[-1])
        self.log.epochs = record["epochs"][:done]
        return done

    def on_epoch_end(self, epoch, logs=None):  # noqa: D102
        self.folder.mkdir(parents=True, exist_ok=True)
        # The logs first: where they run ahead of the weights, the number in the weights' name says how many count.
        write_json(self.folder / "run.json", {"settings": self.settings, "epochs": self.log.epochs})
        new = self.folder / f"epoch-{epoch + 1:05d}.weights.h5"
        unfinished = self.folder / "unfinished.weights.h5"
        self.model.save_weights(unfinished, overwrite=True)
        unfinished.replace(new)
        for old in self.folder.glob("epoch-*.weights.h5"):
            if old != new:
                old.unlink()

    def remove(self) -> None:
        """Delete the folder, when the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
