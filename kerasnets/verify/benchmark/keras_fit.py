"""The programs with Keras: a kerasnets network in stock ``fit``, or in kerasnets' own."""

import os
import time
from collections.abc import Callable
from typing import Any

import keras

import kerasnets
from kerasnets import backend, losses, optimizers
from kerasnets.verify.benchmark.parent import Job


class _Turns(keras.callbacks.Callback):
    """Calls `epoch_done` at the end of each epoch; it returns at this program's next turn."""

    def __init__(self, epoch_done: Callable[..., None]):
        super().__init__()
        self.epoch_done = epoch_done

    def on_epoch_end(self, epoch, logs=None):
        """Convert the loss to a number, which waits for the device, and give up the turn."""
        self.epoch_done(loss=float(logs["loss"]))


class KerasFit:
    """``model.fit`` on the active backend."""

    def __init__(self, job: Job):
        self.job = job
        # This switch turns off the fast path of both fit and predict.
        os.environ["KERASNETS_ACCELERATE"] = "0" if job.program == "stock" else "1"
        if job.program == "kerasnets" and job.precision != "float32":
            backend.set_precision(job.precision)
        begin = time.perf_counter()
        (x, y), _ = kerasnets.load_data(job.dataset, download=False)
        self.reading = time.perf_counter() - begin
        self.x, self.y = x[: job.images], y[: job.images]
        self.model = kerasnets.build(job.network)
        self.model.compile(optimizer=optimizers.SGD(0.01, momentum=0.9), loss=losses.CrossEntropyLoss(), metrics=[])
        self.device = backend.device()

    def facts(self) -> dict[str, Any]:
        """Further entries of the program's row."""
        return {}

    def _fit(self, n: int, **options: Any) -> None:
        self.model.fit(self.x[:n], self.y[:n], batch_size=self.job.batch_size, shuffle=True, verbose=0, **options)

    def first_step(self) -> None:
        """Train on the first batch alone."""
        self._fit(self.job.batch_size, epochs=1)

    def train(self, epochs: int, epoch_done: Callable[..., None]) -> None:
        """Train in one call of ``fit``, with a call after each epoch."""
        self._fit(len(self.x), epochs=epochs, callbacks=[_Turns(epoch_done)])

    def gpu_memory(self) -> float | None:
        """Peak GPU memory so far, in MiB; None without a GPU, or if the framework doesn't tell."""
        if self.device != "gpu":
            return None
        held = backend.peak_gpu_memory()
        return None if held is None else held / 2**20

    def predictor(self) -> Callable[[], object]:
        """Predicts one image with ``kerasnets.predictor``, or with stock ``model.predict``."""
        if self.job.program == "kerasnets":
            predict, image = kerasnets.predictor(self.model), self.x[0]
            return lambda: predict(image)
        images = self.x[:1]
        return lambda: self.model.predict(images, verbose=0)
