"""What both sides are read as: calls with a kind and settings in one vocabulary, and the values they gave."""

import dataclasses
from typing import Any

import numpy as np

#: Kinds of calls that have weights, and so are matched with each other first.
WEIGHTED = (
    "linear",
    "convolution",
    "transposed convolution",
    "batch norm",
    "layer norm",
    "group norm",
    "rms norm",
    "embedding",
    "lstm",
    "gru",
    "rnn",
    "attention",
    "prelu",
    "parameter",
)
#: Kinds that multiply with a kernel: what the others follow.
KERNELS = ("linear", "convolution", "transposed convolution", "embedding", "lstm", "gru", "rnn", "attention")
#: Kinds that only move elements; two sides with other axes need other ones.
MOVES = ("flatten", "reshape", "transpose", "pad", "crop", "identity", "cast", "take", "split")


@dataclasses.dataclass(eq=False)
class Call:
    """One call of a layer, module or function.

    Attributes:
        name: path of the layer or module, or the function's name.
        kind: what it computes, in a vocabulary that both sides share.
        settings: name → value, in PyTorch's meaning; both sides use the same names for a kind.
        target: the layer, module or function.
        sources: positions of the calls whose outputs it takes; −1, −2 … are the model's inputs.
        value: output in PyTorch's or Keras's layout, ``(batch, …)``; None before a run.
        inputs: the first input, as `value`.
        parameters: PyTorch's names of parameters that a function took directly.
        shapes: shapes of its weights, sorted, to match calls by.
    """

    name: str
    kind: str
    settings: dict[str, Any]
    target: Any
    sources: tuple[int, ...] = ()
    value: np.ndarray | None = None
    inputs: np.ndarray | None = None
    parameters: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def weighted(self) -> bool:
        """Whether the call has weights to move."""
        return self.kind in WEIGHTED


def ancestors(calls: list[Call], index: int, stop: set[int]) -> list[int]:
    """The calls between `index` and the nearest ones in `stop`, in order; neither end is included.

    Args:
        calls: a side's calls.
        index: the call to go back from; ``len(calls) - 1`` and its own position count as the end.
        stop: positions not to go beyond.
    """
    waiting, found = list(calls[index].sources), set()
    while waiting:
        current = waiting.pop()
        if current < 0 or current in stop or current in found:
            continue
        found.add(current)
        waiting.extend(calls[current].sources)
    return sorted(found)


def sources_of(calls: list[Call], index: int, stop: set[int]) -> set[int]:
    """The nearest positions in `stop` (or −1, −2 …, the inputs) that the call at `index` depends on."""
    waiting, seen, found = list(calls[index].sources), set(), set()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current < 0 or current in stop:
            found.add(current)
        else:
            waiting.extend(calls[current].sources)
    return found


def describe_pool(kind: str, kernel, strides, padding) -> tuple[str, dict[str, Any]]:
    """Kind and settings of a pooling of ``"max"`` or ``"average"``, padded by numbers."""
    borders = tuple((p, p) for p in padding)
    return f"{kind} pool", {"pool size": tuple(kernel), "strides": tuple(strides), "padding": borders}


def describe_adaptive_pool(kind: str, wanted: Any, size: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
    """Kind and settings of an adaptive pooling to the size `wanted`: of a common pooling where the size divides.

    Args:
        kind: ``"max"`` or ``"average"``.
        wanted: height and width (…) of the output, or one number; None keeps the input's.
        size: height and width (…) of the input.
    """
    wanted = (wanted,) * len(size) if isinstance(wanted, int) else wanted
    wanted = tuple(n or whole for n, whole in zip(wanted, size, strict=True))
    if all(n == 1 for n in wanted):
        return f"global {kind} pool", {}
    if all(whole % n == 0 for n, whole in zip(wanted, size, strict=True)):
        kernel = tuple(whole // n for n, whole in zip(wanted, size, strict=True))
        return describe_pool(kind, kernel, kernel, (0,) * len(size))
    return f"adaptive {kind} pool", {"output size": wanted}
