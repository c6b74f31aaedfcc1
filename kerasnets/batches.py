"""The order of batches: the same for every backend."""

import numpy as np


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch number `epoch` (from 0) sees `n` examples: int ``(n,)``, the same on every backend."""
    return np.random.default_rng([seed, epoch]).permutation(n)
