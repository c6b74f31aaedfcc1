"""The programs with Keras: a network of kerasnets through stock ``fit``, or through kerasnets' own."""

import os
import time
from collections.abc import Callable
from typing import Any

import keras

import kerasnets
from kerasnets import backend, losses, optimizers
from kerasnets.verify.benchmark.parent import Job


class _Turns(keras.callbacks.Callback):
    """Calls `epoch_done` at the end of each epoch, which comes back when it is this program's turn."""

    def __init__(self, epoch_done: Callable[..., None]):
        super().__init__()
        self.epoch_done = epoch_done

    def on_epoch_end(self, epoch, logs=None):
        """Make the loss a number, which waits for the device, and hand over."""
        self.epoch_done(loss=float(logs["loss"]))


class Fit:
    """``model.fit`` on the active backend."""

    def __init__(self, job: Job):
        self.job = job
        # The same switch turns off fit's fast path and predict's.
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
        """What else is to be known of the program."""
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
        """The most GPU memory held so far, in MiB; None: no GPU is used, or the framework doesn't say."""
        if self.device != "gpu":
            return None
        held = backend.peak_gpu_memory()
        return None if held is None else held / 2**20

    def one_image(self) -> Callable[[], object]:
        """``kerasnets.predictor``, or stock ``model.predict``."""
        if self.job.program == "kerasnets":
            predict, image = kerasnets.predictor(self.model), self.x[0]
            return lambda: predict(image)
        images = self.x[:1]
        return lambda: self.model.predict(images, verbose=0)
