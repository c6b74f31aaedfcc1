"""What differs between two layers: activations, pooling, dropout, sums, and the order of elements."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from kerasnets.verify.compare.calls import MOVES, Call
from kerasnets.verify.compare.rules import compare_settings, mend_setting, name_cause

_FAMILIES = (
    {
        *("relu", "relu6", "clipped relu", "leaky relu", "elu", "gelu", "silu", "sigmoid", "tanh", "selu", "mish"),
        *("softplus", "softsign", "hard silu", "hard sigmoid", "log sigmoid", "tanh shrink", "linear activation"),
    },
    {"softmax", "log softmax"},
    {"max pool", "average pool"},
    {"global average pool", "global max pool", "mean", "take"},
    {"add", "multiply", "subtract", "concatenate", "divide"},
    {"dropout"},
)
_CLASSES = {
    "relu": "keras.layers.ReLU()",
    "leaky relu": "kerasnets.layers.LeakyReLU()",
    "max pool": "keras.layers.MaxPooling2D",
    "average pool": "keras.layers.AveragePooling2D",
    "global average pool": "keras.layers.GlobalAveragePooling2D()",
    "global max pool": "keras.layers.GlobalMaxPooling2D()",
    "softmax": "keras.layers.Softmax()",
    "log softmax": 'keras.layers.Activation("log_softmax")',
    "add": "keras.layers.Add()",
    "multiply": "keras.layers.Multiply()",
    "subtract": "keras.layers.Subtract()",
    "concatenate": "keras.layers.Concatenate()",
    "dropout": "keras.layers.Dropout",
}


class Cause(NamedTuple):
    """A cause between two layers: its place among the calls, what it is, and the line that mends it."""

    where: Call | None
    torch: Call | None
    text: str
    mend: str
    kind: str


def _class_of(call: Call) -> str:
    if call.kind == "dropout":
        return f"keras.layers.Dropout({call.settings['rate']:g})"
    if call.kind == "gelu":
        return "keras.activations.gelu"
    return _CLASSES.get(call.kind, f"keras.activations.{call.kind.replace(' ', '_')}")


def diagnose_segment(
    theirs: Sequence[Call], ours: Sequence[Call], measured: bool, same_axis: Callable[[Call, Call], bool]
) -> list[Cause]:
    """The causes among the calls between two layers.

    Args:
        theirs: PyTorch's calls, in order.
        ours: Keras's calls, in order.
        measured: whether the values after them differ.
        same_axis: whether two softmaxes or the like are over the same axis, which the layouts number differently.
    """
    left = [c for c in theirs if c.kind not in MOVES]
    right = [c for c in ours if c.kind not in MOVES]
    kinds = [c.kind for c in left], [c.kind for c in right]
    if measured and kinds[0] != kinds[1] and sorted(kinds[0]) == sorted(kinds[1]):
        i = next(k for k, pair in enumerate(zip(*kinds, strict=True)) if pair[0] != pair[1])
        text = f"the order is {', '.join(kinds[1][i:])}; PyTorch's is {', '.join(kinds[0][i:])}"
        return [Cause(right[i], left[i], text, "call them in PyTorch's order", right[i].kind)]
    found = []
    for their, own in _align(left, right):
        if their is not None and own is not None:
            found += _compare(their, own, measured, same_axis)
        elif their is not None and _matters(their, measured):
            text = f"PyTorch has a {their.kind} ({their.name}) here, the port has none"
            found.append(Cause(None, their, text, f"add {_class_of(their)}", their.kind))
        elif own is not None and _matters(own, measured):
            text = f"the port has a {own.kind} here, PyTorch has none"
            found.append(Cause(own, None, text, "remove it", own.kind))
    return found


def _matters(call: Call, measured: bool) -> bool:
    """Whether a call that only one side has is a difference: a dropout shows in training only."""
    return bool(call.settings["rate"]) if call.kind == "dropout" else measured


def _compare(their: Call, own: Call, measured: bool, same_axis: Callable[[Call, Call], bool]) -> list[Cause]:
    if their.kind != own.kind:
        if not measured and not {their.kind, own.kind} <= _FAMILIES[0]:
            return []  # an activation may differ beyond the values of this batch
        what = next(
            (n for n, f in zip(("activation", "", "pooling", "pooling", "sum"), _FAMILIES, strict=False)
             if their.kind in f and n), "function"
        )  # fmt: skip
        what = "function" if what == "sum" else what
        return [
            Cause(
                own, their, f"the {what} is {own.kind}, PyTorch's is {their.kind}", f"use {_class_of(their)}", own.kind
            )
        ]
    theirs, ours = dict(their.settings), dict(own.settings)
    if "axis" in theirs:
        if measured and not same_axis(their, own):
            text = f"{own.kind} is over axis {ours.get('axis')}, PyTorch's over axis {theirs['axis']} of its layout"
            return [Cause(own, their, text, "give the axis of the same features", own.kind)]
        theirs.pop("axis")
    return [
        Cause(own, their, name_cause(own.kind, name, theirs.get(name), ours.get(name)),
              mend_setting(own.kind, name, theirs), own.kind)
        for name in compare_settings(theirs, ours, measured)
    ]  # fmt: skip


def _score(their: Call, own: Call) -> int:
    if their.kind == own.kind:
        return 3
    return 1 if any({their.kind, own.kind} <= family for family in _FAMILIES) else 0


def _align(theirs: list[Call], ours: list[Call]) -> list[tuple[Call | None, Call | None]]:
    """Both lists side by side, with gaps."""
    best = [[0] * (len(ours) + 1) for _ in range(len(theirs) + 1)]
    for i in reversed(range(len(theirs))):
        for j in reversed(range(len(ours))):
            score = _score(theirs[i], ours[j])
            both = score + best[i + 1][j + 1] if score else 0
            best[i][j] = max(both, best[i + 1][j], best[i][j + 1])
    found: list[tuple[Call | None, Call | None]] = []
    i = j = 0
    while i < len(theirs) and j < len(ours):
        score = _score(theirs[i], ours[j])
        if score and best[i][j] == score + best[i + 1][j + 1]:
            found.append((theirs[i], ours[j]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            found.append((theirs[i], None))
            i += 1
        else:
            found.append((None, ours[j]))
            j += 1
    return found + [(c, None) for c in theirs[i:]] + [(None, c) for c in ours[j:]]
