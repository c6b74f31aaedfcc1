"""The order of batches: the same for every backend."""

import numpy as np

from kerasnets._internal.arguments import check_integer


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch number `epoch` (from 0) sees `n` examples: int ``(n,)``, the same on every backend."""
    n, seed, epoch = check_integer("n", n, 0), check_integer("seed", seed, 0), check_integer("epoch", epoch, 0)
    return np.random.default_rng([seed, epoch]).permutation(n)
