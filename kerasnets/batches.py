"""One random order of the batches for every backend."""

import keras
import numpy as np


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch number `epoch` (from 0) sees `n` images: int ``(n,)``, the same on every backend."""
    return np.random.default_rng([seed, epoch]).permutation(n)


class Batches(keras.utils.PyDataset):
    """Arrays in batches, shuffled anew each epoch by a NumPy generator seeded with (seed, epoch).

    Give it to ``model.fit`` as ``x`` with ``shuffle=False`` (Keras would shuffle the batches once more) and with its
    :attr:`callback`, which tells it the number of the epoch.

    Args:
        x: images ``(n, …)``.
        y: labels ``(n, …)``.
        batch_size: images a batch; the last batch may be smaller.
        seed: seed of the order.
    """

    def __init__(self, x, y, batch_size: int = 64, seed: int = 0):
        super().__init__()
        self.x, self.y, self.batch_size, self.seed = x, y, batch_size, seed
        self._order = epoch_order(len(x), seed, 0)
        self.callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: self.set_epoch(epoch))

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for epoch number `epoch`, counted from 0."""
        self._order = epoch_order(len(self.x), self.seed, epoch)

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, index: int):
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.x[rows], self.y[rows]
