"""Which layer is which module: by name where names agree, else by order, shape and graph."""

import dataclasses
import re
from collections.abc import Sequence

from kerasnets.verify.compare.calls import KERNELS, WEIGHTED, Call, sources_of


@dataclasses.dataclass(frozen=True)
class Pair:
    """A module and the layer that stands for it, as positions in the two lists of calls.

    Attributes:
        torch: position of PyTorch's call.
        keras: position of Keras's call.
        by: why they were matched: ``"name"``, ``"order and shape"`` or ``"graph"``.
    """

    torch: int
    keras: int
    by: str


@dataclasses.dataclass(frozen=True)
class Match:
    """All pairs of calls with weights, in PyTorch's order, and what has no counterpart."""

    pairs: tuple[Pair, ...]
    torch_only: tuple[int, ...]
    keras_only: tuple[int, ...]


def match_calls(theirs: Sequence[Call], ours: Sequence[Call]) -> Match:
    """Match the calls that have weights.

    Kernels (convolutions, matrices, recurrent layers) are matched first, then normalizations and the like: by name,
    then by shape where they take the outputs of matched calls, then as the longest common sequence of kinds and shapes.

    Args:
        theirs: PyTorch's calls.
        ours: Keras's calls.
    """
    pairs = _match_names(theirs, ours)
    for kinds in (KERNELS, tuple(kind for kind in WEIGHTED if kind not in KERNELS)):
        stops = KERNELS if kinds is KERNELS else WEIGHTED
        for least in (1.0, 0.01):
            _follow_graph(theirs, ours, kinds, stops, least, pairs)
        left, right = _left(theirs, pairs, 0, kinds), _left(ours, pairs, 1, kinds)
        for i, j in _align([theirs[i] for i in left], [ours[j] for j in right]):
            pairs[left[i]] = (right[j], "order and shape")
        for i in _left(theirs, pairs, 0, kinds):
            fitting = [j for j in _left(ours, pairs, 1, kinds) if _likeness(theirs[i], ours[j]) >= 4.0]
            if fitting:
                pairs[i] = (fitting[0], "order and shape")
    _match_shared(theirs, ours, pairs)
    every = WEIGHTED
    found = tuple(Pair(i, j, by) for i, (j, by) in sorted(pairs.items()))
    return Match(found, tuple(_left(theirs, pairs, 0, every)), tuple(_left(ours, pairs, 1, every)))


def _left(calls: Sequence[Call], pairs: dict[int, tuple[int, str]], side: int, kinds: Sequence[str]) -> list[int]:
    """The calls of these kinds that have no counterpart yet, each layer once."""
    taken = set(pairs) if side == 0 else {j for j, _ in pairs.values()}
    targets = {id(calls[i].target) for i in taken if not calls[i].parameters}
    found = []
    for i, call in enumerate(calls):
        if (
            call.kind in kinds
            and i not in taken
            and (id(call.target) not in targets or call.parameters or _split(call))
        ):
            targets.add(id(call.target))
            found.append(i)
    return found


def _split(call: Call) -> bool:
    """Whether the call is one of several layers in a recurrent module, which share the module."""
    return "layer" in call.settings


def _match_names(theirs: Sequence[Call], ours: Sequence[Call]) -> dict[int, tuple[int, str]]:
    pairs: dict[int, tuple[int, str]] = {}
    every = {i: _plain(theirs[i].name) for i in _left(theirs, {}, 0, WEIGHTED)}
    for j in _left(ours, {}, 1, WEIGHTED):
        same = [i for i, name in every.items() if name == _plain(ours[j].name) and i not in pairs]
        if same and (theirs[same[0]].kind == ours[j].kind or _may_differ(theirs[same[0]], ours[j])):
            pairs[same[0]] = (j, "name")
    return pairs


def _may_differ(theirs: Call, ours: Call) -> bool:
    """Whether layers of two kinds with the same name can be the same layer, ported as another kind."""
    return (theirs.kind in KERNELS) == (ours.kind in KERNELS) and "parameter" not in (theirs.kind, ours.kind)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _align(theirs: list[Call], ours: list[Call]) -> list[tuple[int, int]]:
    """The best common subsequence of two lists of calls."""
    best = [[0.0] * (len(ours) + 1) for _ in range(len(theirs) + 1)]
    for i in reversed(range(len(theirs))):
        for j in reversed(range(len(ours))):
            taken = _likeness(theirs[i], ours[j])
            both = taken + best[i + 1][j + 1] if taken else 0.0
            best[i][j] = max(both, best[i + 1][j], best[i][j + 1])
    found, i, j = [], 0, 0
    while i < len(theirs) and j < len(ours):
        taken = _likeness(theirs[i], ours[j])
        if taken and best[i][j] == taken + best[i + 1][j + 1]:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def _likeness(theirs: Call, ours: Call) -> float:
    """How well two calls fit: 0 if they can't be the same layer."""
    if theirs.kind != ours.kind:
        return 0.0
    score = 1.0 + 3.0 * (_fits(theirs, ours))
    words, others = (set(re.findall(r"[a-z]+", c.name.lower())) for c in (theirs, ours))
    return score + len(words & others) / (1 + len(words | others))


def _fits(theirs: Call, ours: Call) -> float:
    """1 if the shapes of the weights agree, part of it where some do."""
    if theirs.shapes == ours.shapes:
        return 1.0
    common = [shape for shape in theirs.shapes if shape in ours.shapes]
    return 0.5 * len(common) / max(len(theirs.shapes), len(ours.shapes), 1)


def _follow_graph(
    theirs: Sequence[Call],
    ours: Sequence[Call],
    kinds: Sequence[str],
    stops: Sequence[str],
    least: float,
    pairs: dict[int, tuple[int, str]],
) -> None:
    """Match calls of the same kind and shapes that take the outputs of matched calls.

    Args:
        theirs: PyTorch's calls.
        ours: Keras's calls.
        kinds: kinds to match.
        stops: kinds whose outputs count.
        least: how many of the calls whose outputs they take must be matched, as a part of all.
        pairs: what is matched; gets more.
    """
    ends = ({i for i, c in enumerate(side) if c.kind in stops} for side in (theirs, ours))
    left_ends, right_ends = ends
    sources = {j: sources_of(list(ours), j, right_ends) for j in range(len(ours))}
    for i in _left(theirs, pairs, 0, kinds):
        known = {k: j for k, (j, _) in pairs.items()}
        wanted = {known.get(k) if k >= 0 else k for k in sources_of(list(theirs), i, left_ends)}
        scored = [
            (len(wanted & sources[j]) / len(wanted | sources[j]), _likeness(theirs[i], ours[j]), -j)
            for j in _left(ours, pairs, 1, kinds)
            if _likeness(theirs[i], ours[j]) >= 4.0
        ]
        if scored and max(scored)[0] >= least:
            pairs[i] = (-max(scored)[2], "graph")


def _match_shared(theirs: Sequence[Call], ours: Sequence[Call], pairs: dict[int, tuple[int, str]]) -> None:
    """Match the calls of modules that run several times: by the inputs they depend on, else in their order."""
    for i, (j, by) in list(pairs.items()):
        if theirs[i].parameters or _split(theirs[i]):
            continue
        left = [k for k, c in enumerate(theirs) if (c.target is theirs[i].target and k not in pairs) or k == i]
        right = [k for k, c in enumerate(ours) if c.target is ours[j].target]
        if min(len(left), len(right)) < 2:
            continue
        known, own = ([sorted(sources_of(list(side), k, set())) for k in numbers]
                      for side, numbers in ((theirs, left), (ours, right)))  # fmt: skip
        if sorted(known) == sorted(own) and all(own.count(inputs) == 1 for inputs in own):
            right = [right[own.index(inputs)] for inputs in known]
        else:
            left, right = [i, *(k for k in left if k != i)], [j, *(k for k in right if k != j)]
        pairs.update((k, (m, by)) for k, m in zip(left, right, strict=False))
