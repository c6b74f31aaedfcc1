"""The order of batches: that of PyTorch's ``DataLoader(shuffle=True)``, the same on every backend."""

import functools

import numpy as np

from kerasnets._internal.arguments import check_integer
from kerasnets._internal.torch_random import Generator, global_generator

__all__ = ["epoch_order", "next_order"]


def __dir__() -> list[str]:
    return __all__


#: The words that an iteration over a DataLoader draws: 64 bits for its workers' seed, 64 for its sampler's.
_WORDS_PER_EPOCH = 4


def epoch_order(n: int, seed: int, epoch: int, drawn: int = 0) -> np.ndarray:
    """The order in which epoch number `epoch` sees `n` examples, a function of the arguments alone.

    It is PyTorch's after ``torch.manual_seed(seed)``, if the global generator then draws the network's initial weights,
    and nothing else but the seeds of the loader's epochs. Source: ``torch.utils.data``'s ``_BaseDataLoaderIter`` and
    ``RandomSampler``.

    Args:
        n: the number of examples.
        seed: the seed, 0 or more.
        epoch: the number of the epoch, from 0.
        drawn: how many 32-bit words were drawn since the seed: one for each weight and bias of ``Linear`` and
            ``Conv2D``, in float64 two.

    Returns:
        int64 ``(n,)``.

    Examples:
        >>> order = kerasnets.batches.epoch_order(4, seed=42, epoch=0)
        >>> sorted(order.tolist())
        [0, 1, 2, 3]
    """
    n, seed, epoch = check_integer("n", n, 0), check_integer("seed", seed, 0), check_integer("epoch", epoch, 0)
    before = _state_after(seed, check_integer("drawn", drawn, 0))
    return _next_order(n, before.copy().skip(epoch * _WORDS_PER_EPOCH))


def next_order(n: int) -> np.ndarray:
    """The order of the next epoch after what ``keras.utils.set_random_seed`` started: int64 ``(n,)``.

    Examples:
        >>> import torch
        >>> keras.utils.set_random_seed(0)
        >>> order = kerasnets.batches.next_order(4).tolist()
        >>> _ = torch.manual_seed(0)
        >>> order == [int(i) for i in torch.utils.data.DataLoader(torch.arange(4), shuffle=True)]
        True
    """
    return _next_order(n, global_generator())


def _next_order(n: int, generator: Generator) -> np.ndarray:
    generator.integer64()  # the seed of the workers, which need none here
    return Generator(generator.integer64()).permutation(n)


@functools.lru_cache(maxsize=4)
def _state_after(seed: int, drawn: int) -> Generator:
    return Generator(seed).skip(drawn)
