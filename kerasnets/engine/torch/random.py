"""Random numbers from Keras's seed generators, inside a traced step.

Keras's torch backend draws from a ``torch.Generator`` that it seeds at each call with a number from the layer's
``SeedGenerator``. A trace would freeze that number. Here drawing is one operation that takes the number as a tensor, so
that a replayed step draws what stock Keras draws. :class:`SeedsAsTensors` records it in the tracing
thread only.
"""

import itertools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from kerasnets._internal import keras_private


def _generator(seed: torch.Tensor) -> torch.Generator:
    return torch.Generator(device=seed.device).manual_seed(int(seed) & 0xFFFFFFFF)


@torch.library.custom_op("kerasnets::normal", mutates_args=())
def normal(seed: torch.Tensor, mean: float, std: float, size: list[int], dtype: torch.dtype) -> torch.Tensor:
    """``torch.normal`` from a generator seeded with the int scalar `seed`."""
    return torch.normal(mean, std, size=size, generator=_generator(seed), dtype=dtype, device=seed.device)


@normal.register_fake
def _(seed, mean, std, size, dtype):
    return seed.new_empty(size, dtype=dtype)


@torch.library.custom_op("kerasnets::rand", mutates_args=())
def rand(seed: torch.Tensor, size: list[int], dtype: torch.dtype) -> torch.Tensor:
    """``torch.rand`` from a generator seeded with the int scalar `seed`."""
    return torch.rand(size, generator=_generator(seed), dtype=dtype, device=seed.device)


@rand.register_fake
def _(seed, size, dtype):
    return seed.new_empty(size, dtype=dtype)


@torch.library.custom_op("kerasnets::randint", mutates_args=())
def randint(seed: torch.Tensor, low: int, high: int, size: list[int], dtype: torch.dtype) -> torch.Tensor:
    """``torch.randint`` from a generator seeded with the int scalar `seed`."""
    return torch.randint(low, high, size, generator=_generator(seed), dtype=dtype, device=seed.device)


@randint.register_fake
def _(seed, low, high, size, dtype):
    return seed.new_empty(size, dtype=dtype)


@torch.library.custom_op("kerasnets::bernoulli", mutates_args=())
def bernoulli(seed: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """``torch.bernoulli`` from a generator seeded with the int scalar `seed`."""
    return torch.bernoulli(probabilities, generator=_generator(seed))


@bernoulli.register_fake
def _(seed, probabilities):
    return torch.empty_like(probabilities)


def _recorded_normal(seed, mean, std, *, size, dtype=None, **_):
    return normal(seed, float(mean), float(std), list(size), dtype or torch.get_default_dtype())


def _recorded_rand(seed, *size, dtype=None, **options):
    size = options.get("size", size[0] if len(size) == 1 and not isinstance(size[0], int) else size)
    return rand(seed, list(size), dtype or torch.get_default_dtype())


def _recorded_randint(seed, *, low, high, size, dtype=None, **_):
    return randint(seed, int(low), int(high), list(size), dtype or torch.int64)


_RECORDED: dict[Any, Callable] = {
    torch.normal: _recorded_normal,
    torch.rand: _recorded_rand,
    torch.randint: _recorded_randint,
    torch.bernoulli: lambda seed, probabilities, **_: bernoulli(seed, probabilities),
}

_SEEDING = keras_private.torch_seeding_code()


def _caller():
    """The code that called PyTorch, below the tracer's own modes."""
    frame: Any = sys._getframe(2)
    while frame.f_code.co_name == "__torch_function__":
        frame = frame.f_back
    return frame.f_code


class SeedsAsTensors(TorchFunctionMode):
    """While a step is traced: a generator's seed stays a tensor, under a number that stands for it."""

    def __init__(self):
        super().__init__()
        self._seeds: dict[int, torch.Tensor] = {}
        self._numbers = itertools.count(0x5EED0000)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Record what draws from such a generator; let everything else pass."""
        kwargs = kwargs or {}
        if func is torch.Tensor.__int__ and _caller() is _SEEDING:
            number = next(self._numbers)
            self._seeds[number] = args[0]
            return number
        generator = kwargs.get("generator")
        seed = None if generator is None else self._seeds.get(generator.initial_seed())
        if seed is None:
            return func(*args, **kwargs)
        if func not in _RECORDED:
            raise NotImplementedError(f"{func.__name__} from a seeded generator can't be traced")
        return _RECORDED[func](seed, *args, **kwargs)
