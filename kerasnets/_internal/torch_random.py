"""PyTorch's random numbers on a CPU, drawn with NumPy: what follows ``torch.manual_seed(seed)``, on every backend.

PyTorch's generator is the Mersenne Twister MT19937, seeded like NumPy's ``RandomState``, so both give the same 32-bit
words. How PyTorch makes numbers of these words isn't documented; it is read from its sources
(``DistributionsHelper.h``, ``TransformationHelper.h``, ``TensorFactories.cpp``), and the tests compare with the
installed PyTorch.
"""

import contextlib
import contextvars
import copy
import math
import random
from collections.abc import Iterator

import numpy as np


class Generator:
    """The stream of numbers after ``torch.manual_seed(seed)``.

    Args:
        seed: a whole number; as in PyTorch, only its lowest 32 bits matter.
    """

    def __init__(self, seed: int):
        self._state = np.random.RandomState(seed & 0xFFFFFFFF)

    def words(self, n: int) -> np.ndarray:
        """The next `n` words: uint32 ``(n,)``."""
        return self._state.randint(0, 2**32, n, dtype=np.uint32)

    def skip(self, n: int) -> "Generator":
        """Leave out `n` words, and return the generator."""
        for begin in range(0, n, 2**20):
            self.words(min(2**20, n - begin))
        return self

    def copy(self) -> "Generator":
        """A generator at the same place of the same stream."""
        return copy.deepcopy(self)

    def integer64(self) -> int:
        """A number of 64 bits, the first word on top, as ``random_()`` of an int64 tensor draws it, with the sign."""
        high, low = self.words(2).tolist()
        return high << 32 | low

    def uniform(self, shape: tuple[int, ...], low: float, high: float, dtype: str = "float32") -> np.ndarray:
        """``torch.empty(shape, dtype=dtype).uniform_(low, high)``: the lowest bits of each number over their range.

        Args:
            shape: the shape, filled with the last axis running fastest.
            low: the lowest number, rounded to `dtype`.
            high: above the highest number, rounded to `dtype`.
            dtype: ``"float32"`` (24 of a word's bits) or ``"float64"`` (53 bits of two words).
        """
        n = math.prod(shape)
        if dtype == "float64":
            pairs = self.words(2 * n).astype(np.uint64).reshape(n, 2)
            share = ((pairs[:, 0] << np.uint64(32) | pairs[:, 1]) & np.uint64(2**53 - 1)) * 2.0**-53
        else:
            share = (self.words(n) & np.uint32(2**24 - 1)) * 2.0**-24
            low, high = float(np.float32(low)), float(np.float32(high))
        return (share * (high - low) + low).reshape(shape).astype(dtype)

    def normal(self, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
        """``torch.empty(shape, dtype=dtype).normal_()``, but for the last bits: Box–Muller on uniform numbers.

        Sixteen numbers are made of sixteen, eight as radii and eight as angles; a rest is made with the fifteen or
        fewer before it, which are replaced. PyTorch's vectors have another rounding of logarithm and sine. Tensors of
        fewer than 16 numbers are drawn one pair at a time, in float64. (PyTorch keeps the second of a last pair for
        later; it is lost here.)

        Args:
            shape: the shape, filled with the last axis running fastest.
            dtype: ``"float32"`` or ``"float64"``.
        """
        n = math.prod(shape)
        if n < 16:
            pairs = self.uniform((-(-n // 2), 2), 0.0, 1.0, "float64")
            radius = np.sqrt(-2 * np.log1p(-pairs[:, 1]))
            angle = 2 * np.pi * pairs[:, 0]
            drawn = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:n]
            return drawn.reshape(shape).astype(dtype)
        data = self.uniform((n,), 0.0, 1.0, dtype)
        whole = n - n % 16
        data[:whole] = _box_muller(data[:whole].reshape(-1, 2, 8)).ravel()
        if n % 16:
            data[n - 16 :] = _box_muller(self.uniform((1, 2, 8), 0.0, 1.0, dtype)).ravel()
        return data.reshape(shape)

    def permutation(self, n: int) -> np.ndarray:
        """``torch.randperm(n)``, int64 ``(n,)``: a Fisher–Yates shuffle from the front."""
        steps = (self.words(max(n - 1, 0)) % np.arange(n, 1, -1, dtype=np.uint32)).tolist()
        order = list(range(n))
        for i, step in enumerate(steps):
            order[i], order[i + step] = order[i + step], order[i]
        return np.array(order, dtype=np.int64)


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    """Numbers from N(0, 1) of uniform ones in [0, 1), both of shape ``(blocks, 2, 8)``."""
    radius = np.sqrt(-2 * np.log(1 - uniform[:, 0]))
    angle = (2 * np.pi * uniform[:, 1]).astype(uniform.dtype)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


_chosen: contextvars.ContextVar[Generator | None] = contextvars.ContextVar("kerasnets_generator", default=None)


@contextlib.contextmanager
def drawing_from(generator: Generator) -> Iterator[None]:
    """Inside, :func:`global_generator` is `generator`."""
    token = _chosen.set(generator)
    try:
        yield
    finally:
        _chosen.reset(token)


class _Seed(int):
    """Keras's record of the global seed, with the generator that it started."""

    generator: Generator


def global_generator() -> Generator:
    """The counterpart of PyTorch's global generator: ``keras.utils.set_random_seed`` starts it, in its thread.

    Without a seed it starts anywhere.
    """
    from kerasnets._internal import keras_private

    if (chosen := _chosen.get()) is not None:
        return chosen
    seed = keras_private.global_seed()
    if isinstance(seed, _Seed):
        return seed.generator
    if seed is not None:
        started = _Seed(seed)
        started.generator = Generator(seed)
        keras_private.replace_global_seed(started)
        return started.generator
    generator = keras_private.global_attribute(_UNSEEDED)
    if generator is None:
        generator = Generator(random.getrandbits(32))  # Keras's own layers take their seeds from there
        keras_private.set_global_attribute(_UNSEEDED, generator)
    return generator


_UNSEEDED = "kerasnets_generator"
