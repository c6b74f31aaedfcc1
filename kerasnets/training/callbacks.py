"""Keras callbacks: repeatable dropout for resumed runs, the tutorials' printed lines, and epoch times."""

import time

import keras
import numpy as np

from kerasnets import backend
from kerasnets._internal.arguments import check_integer

__all__ = ["EpochLog", "EpochSeeds", "StepLog"]


def __dir__() -> list[str]:
    return __all__


class EpochSeeds(keras.callbacks.Callback):
    """Sets the state of every dropout layer from (seed, epoch) at the start of an epoch.

    Keras doesn't save the state of its generators, so a resumed run would drop other units than an uninterrupted one.
    On the torch backend, PyTorch's global generator is seeded as well, because Keras's dropout draws from it there.

    Args:
        seed: seed of the run.

    Examples:
        >>> model = kerasnets.models.Sequential([keras.Input((2,)), kerasnets.layers.Linear(1)])
        >>> model.compile(kerasnets.optimizers.SGD(0.1), kerasnets.losses.MSELoss())
        >>> seeds = kerasnets.callbacks.EpochSeeds(42)
        >>> history = model.fit(np.eye(2), np.ones((2, 1)), verbose=0, callbacks=[seeds])
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


class _LossSum(keras.callbacks.Callback):
    """Adds up the losses of an epoch's batches, as the tutorials do; Keras logs their mean per example."""

    _last_share = _next_share = 1.0

    def expect_examples(self, samples: int, batch_size: int) -> None:
        """Say how many examples the next training has, and how many per batch: ``kerasnets.fit`` calls this."""
        self._next_share = (samples % batch_size or batch_size) / batch_size

    def on_train_begin(self, logs=None):
        self._last_share, self._next_share = self._next_share, 1.0

    def on_epoch_begin(self, epoch, logs=None):
        self.sum = 0.0

    def on_train_batch_end(self, batch, logs=None):
        step, mean = batch + 1, float(logs["loss"])
        if step == self.params["steps"] and self._last_share < 1.0:
            # The fast fit stops before a smaller last batch, so that the sum is that of all batches before.
            self.sum += (mean * (step - 1 + self._last_share) - self.sum) / self._last_share
        else:
            self.sum = mean * step


class StepLog(_LossSum):
    """Prints lines as the tutorials do: ``Epoch [1/5], Step [100/938], Loss: 1.1812``, the mean of the last batches.

    Args:
        every: number of batches per line.

    Examples:
        >>> model = kerasnets.models.Sequential([keras.Input((2,)), kerasnets.layers.Linear(1)])
        >>> model.compile(kerasnets.optimizers.SGD(0.1), kerasnets.losses.MSELoss())
        >>> log = kerasnets.callbacks.StepLog(every=2)
        >>> history = model.fit(np.zeros((4, 2)), np.zeros((4, 1)), batch_size=1, verbose=0, callbacks=[log])
        Epoch [1/1], Step [2/4], Loss: ...
        Epoch [1/1], Step [4/4], Loss: ...
    """

    def __init__(self, every: int = 100):
        super().__init__()
        self.every = check_integer("every", every)

    @property
    def looks_every(self) -> int:
        """How many steps may run at once, which the fast fit asks for."""
        return self.every

    def on_epoch_begin(self, epoch, logs=None):  # noqa: D102
        super().on_epoch_begin(epoch)
        self._epoch, self._before = epoch, 0.0

    def on_train_batch_end(self, batch, logs=None):  # noqa: D102
        super().on_train_batch_end(batch, logs)
        step = batch + 1
        if step % self.every == 0:
            epochs, steps = self.params["epochs"], self.params["steps"]
            mean = (self.sum - self._before) / self.every
            print(f"Epoch [{self._epoch + 1}/{epochs}], Step [{step}/{steps}], Loss: {mean:.4f}", flush=True)
            self._before = self.sum


class LossLine(_LossSum):
    """Prints a line per epoch as "Working with neural networks" does: ``Training loss: 0.4978``, the batches' mean."""

    @property
    def looks_every(self) -> int:
        """0: only where the steps stop anyway."""
        return 0

    def on_epoch_end(self, epoch, logs=None):
        print(f"Training loss: {self.sum / self.params['steps']:.4f}", flush=True)


class EpochLog(keras.callbacks.Callback):
    """Keeps the logs of each epoch and its wall-clock seconds without validation in ``epochs``, a list of dicts.

    Examples:
        >>> model = kerasnets.models.Sequential([keras.Input((2,)), kerasnets.layers.Linear(1)])
        >>> model.compile(kerasnets.optimizers.SGD(0.1), kerasnets.losses.MSELoss())
        >>> log = kerasnets.callbacks.EpochLog()
        >>> history = model.fit(np.eye(2), np.ones((2, 1)), epochs=2, verbose=0, callbacks=[log])
        >>> [sorted(logs) for logs in log.epochs]
        [['loss', 'seconds'], ['loss', 'seconds']]
    """

    def __init__(self):
        super().__init__()
        self.epochs: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch, logs=None):  # noqa: D102
        self._began, self._validation = time.perf_counter(), 0.0

    def on_test_begin(self, logs=None):  # noqa: D102
        self._validation_began = time.perf_counter()

    def on_test_end(self, logs=None):  # noqa: D102
        self._validation += time.perf_counter() - self._validation_began

    def on_epoch_end(self, epoch, logs=None):  # noqa: D102
        seconds = time.perf_counter() - self._began - self._validation
        self.epochs.append({**{name: float(value) for name, value in logs.items()}, "seconds": seconds})
