"""Attention that a module writes with linear layers and functions, as the one call that it is in Keras."""

import dataclasses
from collections.abc import Sequence

from kerasnets.verify.compare.calls import Call


def fuse_attention(theirs: list[Call], ours: Sequence[Call]) -> None:
    """Replace linear layers around a softmax by a call of attention, if Keras has attention and PyTorch hasn't.

    The call takes the place of the output projection, with what it is made of as `parameters`: the names of the layers
    for queries, keys and values (or of the one for all three), and of the projection.
    """
    if not any(c.kind == "attention" for c in ours) or any(c.kind == "attention" for c in theirs):
        return
    for index, call in enumerate(theirs):
        if call.kind != "linear":
            continue
        inner, makers = _reach_linear(theirs, index)
        scores = [theirs[i] for i in inner if theirs[i].kind in ("softmax", "dot-product attention")]
        if not scores or len(makers) not in (1, 3) or not all(theirs[i].kind == "linear" for i in makers):
            continue
        first = theirs[makers[0]]
        size = call.target.in_features
        if sum(theirs[i].settings["units"] for i in makers) != 3 * size:
            continue
        settings = {
            "heads": _count_heads(scores[0]),
            "size of a head": size // max(_count_heads(scores[0]), 1),
            "bias": first.settings["bias"],
            "dropout": max((theirs[i].settings["rate"] for i in inner if theirs[i].kind == "dropout"), default=0.0),
        }
        theirs[index] = dataclasses.replace(
            call,
            kind="attention",
            settings=settings,
            sources=first.sources,
            inputs=first.inputs,
            parameters=tuple(theirs[i].name for i in (*makers, index)),
        )
        for i in (*makers, *inner):
            theirs[i].kind = "identity"


def _reach_linear(calls: Sequence[Call], index: int) -> tuple[list[int], list[int]]:
    """The functions before a call, back to the nearest calls with weights; and those calls."""
    waiting, inner, makers = list(calls[index].sources), set(), set()
    while waiting:
        current = waiting.pop()
        if current < 0:
            return [], []  # it takes the input itself
        if calls[current].weighted:
            makers.add(current)
        elif current not in inner:
            inner.add(current)
            waiting.extend(calls[current].sources)
    return sorted(inner), sorted(makers)


def _count_heads(call: Call) -> int:
    """The number of heads, from scores or values of shape ``(batch, heads, …)``."""
    value = call.value
    return int(value.shape[1]) if value is not None and value.ndim == 4 else 1
