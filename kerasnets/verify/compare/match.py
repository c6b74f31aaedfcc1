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

    Kernels (convolutions, matrices, recurrent layers) are matched first: by name, then as the longest common sequence of
    kinds and shapes, then by shape alone, for branches that the two sides run in another order. Normalizations are
    matched with the one that follows the matched kernel.

    Args:
        theirs: PyTorch's calls.
        ours: Keras's calls.
    """
    pairs = _match_names(theirs, ours)
    for kinds in (KERNELS, tuple(kind for kind in WEIGHTED if kind not in KERNELS)):
        left = _left(theirs, pairs, 0, kinds)
        right = _left(ours, pairs, 1, kinds)
        if kinds is not KERNELS:
            _match_followers(theirs, ours, left, right, pairs)
            left, right = _left(theirs, pairs, 0, kinds), _left(ours, pairs, 1, kinds)
        for i, j in _align([theirs[i] for i in left], [ours[j] for j in right]):
            pairs[left[i]] = (right[j], "order and shape")
        for exact in (True, False):
            for i in _left(theirs, pairs, 0, kinds):
                for j in _left(ours, pairs, 1, kinds):
                    same = theirs[i].shapes == ours[j].shapes if exact else len(pairs) == 0
                    if theirs[i].kind == ours[j].kind and same:
                        pairs[i] = (j, "order and shape")
                        break
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
        if call.kind in kinds and i not in taken and (id(call.target) not in targets or call.parameters or _split(call)):
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
    words, others = (set(re.findall(r"[a-z]+|\d+", c.name.lower())) for c in (theirs, ours))
    return score + len(words & others) / (1 + len(words | others))


def _fits(theirs: Call, ours: Call) -> float:
    """1 if the shapes of the weights agree, part of it where some do."""
    if theirs.shapes == ours.shapes:
        return 1.0
    common = [shape for shape in theirs.shapes if shape in ours.shapes]
    return 0.5 * len(common) / max(len(theirs.shapes), len(ours.shapes), 1)


def _match_followers(
    theirs: Sequence[Call], ours: Sequence[Call], left: list[int], right: list[int], pairs: dict[int, tuple[int, str]]
) -> None:
    """Match normalizations and the like that take the outputs of matched layers."""
    stops = {i for i, c in enumerate(theirs) if c.weighted}, {j for j, c in enumerate(ours) if c.weighted}
    changed = True
    while changed:
        changed = False
        known = {i: j for i, (j, _) in pairs.items()}
        for i in [i for i in left if i not in pairs]:
            wanted = {known.get(k, k) if k >= 0 else -1 for k in sources_of(list(theirs), i, stops[0])}
            taken = {j for j, _ in pairs.values()}
            fitting = [
                j
                for j in right
                if j not in taken
                and theirs[i].kind == ours[j].kind
                and sources_of(list(ours), j, stops[1]) == wanted
                and all(k < 0 or k in known for k in sources_of(list(theirs), i, stops[0]))
            ]
            if fitting:
                pairs[i] = (max(fitting, key=lambda j: (_likeness(theirs[i], ours[j]), -j)), "graph")
                changed = True


def _match_shared(theirs: Sequence[Call], ours: Sequence[Call], pairs: dict[int, tuple[int, str]]) -> None:
    """Match the further calls of modules that run several times, in their order."""
    for i, (j, by) in list(pairs.items()):
        if theirs[i].parameters or _split(theirs[i]):
            continue
        again = [k for k, c in enumerate(theirs) if c.target is theirs[i].target and k != i and k not in pairs]
        others = [k for k, c in enumerate(ours) if c.target is ours[j].target and k != j]
        pairs.update((k, (m, by)) for k, m in zip(again, others, strict=False))
