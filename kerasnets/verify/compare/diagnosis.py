"""From the differences at each layer to their causes."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kerasnets.verify.compare.calls import Call, ancestors, sources_of
from kerasnets.verify.compare.finding import Finding
from kerasnets.verify.compare.forced import LOCAL, Local, chain_of
from kerasnets.verify.compare.keras_side import KerasCall
from kerasnets.verify.compare.match import Match
from kerasnets.verify.compare.rules import compare_pair
from kerasnets.verify.compare.segments import Cause, diagnose_segment

#: Settings that show elsewhere than in the outputs of a run in inference mode.
_ELSEWHERE = {
    "momentum": "buffers",
    "running variance": "buffers",
    "dropout": "training mode",
    "padding_idx": "gradients",
}
_LAYER_OF = {
    "batch norm": "kerasnets.layers.BatchNormalization",
    "linear": "kerasnets.layers.Linear",
    "convolution": "kerasnets.layers.Conv2D",
    "layer norm": "kerasnets.layers.LayerNormalization",
    "group norm": "kerasnets.layers.GroupNormalization",
    "transposed convolution": "kerasnets.layers.Conv2DTranspose",
    "embedding": "kerasnets.layers.Embedding",
    "lstm": "kerasnets.layers.LSTM",
    "gru": "kerasnets.layers.GRU",
    "attention": "kerasnets.layers.MultiHeadAttention",
    "prelu": "kerasnets.layers.PReLU",
}


class Diagnosis:
    """Names the causes of the differences of one run.

    Args:
        theirs: PyTorch's calls.
        ours: Keras's calls.
        match: the pairs.
        makers: PyTorch's calls that made the outputs.
        places: Keras's, in the same order.
        names: of the inputs and of the outputs.
        advice: what :mod:`kerasnets._internal.feature_order` says of a reshape that PyTorch orders differently.
    """

    def __init__(
        self,
        theirs: Sequence[Call],
        ours: Sequence[KerasCall],
        match: Match,
        makers: Sequence[int],
        places: Sequence[int],
        names: tuple[Sequence[str], Sequence[str]],
        advice: str = "",
    ):
        self.theirs, self.ours, self.match, self.advice = list(theirs), list(ours), match, advice
        self.inputs = names[0]
        self.ends = (
            [*self.theirs, *(Call(name, "output", {}, None, (i,)) for name, i in zip(names[1], makers, strict=True))],
            [*self.ours, *(Call(name, "output", {}, None, (i,)) for name, i in zip(names[1], places, strict=True))],
        )
        self.stops = tuple({i for i, c in enumerate(side) if c.weighted} for side in (theirs, ours))
        self.findings: list[Finding] = []
        self._blamed: set[int] = set()  # ids of calls that have a finding
        self._broken: set[int] = set()  # Keras's calls whose outputs PyTorch's could not replace

    def run(self, locals_: Sequence[Local]) -> list[Finding]:
        """The findings for all differences."""
        self._find_unmatched()
        for local in locals_:
            before = len(self.findings)
            i, j = local.torch, local.keras
            if local.torch < 0:
                i, j = len(self.theirs) - 1 - i, len(self.ours) - 1 - j
            if local.swapped >= 0:
                self._name_swapped(local, j)
                continue
            head = j if local.torch < 0 else chain_of(self.ours, j)[0]
            sources = sources_of(self.ends[1], head, self.stops[1])
            theirs = sources_of(self.ends[0], i, self.stops[0])
            alone = theirs & set(self.match.torch_only) or sources & set(self.match.keras_only)
            tainted = bool(sources & self._broken or alone)
            self._judge_segment(local, i, head, tainted)
            if local.torch >= 0:
                self._judge_layer(local, tainted, len(self.findings) > before)
        return self.findings

    def _find_unmatched(self) -> None:
        for i in self.match.torch_only:
            call = self.theirs[i]
            if call.kind == "parameter" and not call.parameters:
                continue
            after = self._place_after(i)
            where = self.ours[after].name if after >= 0 else "input"
            text = f"PyTorch has a {call.kind} after it ({call.name}) that the port lacks"
            mend = f"add {_LAYER_OF.get(call.kind, 'the layer')}"
            self.findings.append(Finding("structure", where, text, mend, call.name, None, after))
            self._blamed.add(id(call))
        for j in self.match.keras_only:
            call = self.ours[j]
            text = f"the port has a {call.kind} here that PyTorch lacks"
            self.findings.append(Finding("structure", call.name, text, "remove it", "", None, j))
            self._blamed.add(id(call))

    def _place_after(self, i: int) -> int:
        """Keras's call that is matched with the nearest call before PyTorch's `i`."""
        known = {p.torch: p.keras for p in self.match.pairs}
        return max((known[k] for k in sources_of(self.theirs, i, set(known)) if k in known), default=-1)

    def _name_swapped(self, local: Local, j: int) -> None:
        text = f"the outputs are in another order: these are the values of the module's output {local.swapped + 1}"
        mend = "return the outputs in the module's order"
        self.findings.append(Finding("outputs", self._name_of(j), text, mend, "", local.before, j))

    # --- Between layers

    def _judge_segment(self, local: Local, i: int, j: int, tainted: bool) -> None:
        between = [ancestors(self.ends[side], end, self.stops[side]) for side, end in ((0, i), (1, j))]
        theirs, ours = [self.theirs[k] for k in between[0]], [self.ours[k] for k in between[1]]
        measured = local.before is not None and not local.before <= LOCAL and not tainted
        blamed = any(id(call) in self._blamed for call in (*theirs, *ours))
        axis = self._same_axis
        plain = [self._with_padding(k) for k in between[1] if not self.ours[k].weighted]
        causes = diagnose_segment([c for c in theirs if not c.weighted], plain, measured, axis)
        if measured and not causes and not blamed:
            causes = self._compare_sums(theirs, between) or [self._name_order(local, ours)]
        for cause in causes:
            key = [c for c in (cause.where, cause.torch) if c is not None]
            originals = {self.ours[k].name: self.ours[k] for k in between[1]}
            ids = {id(originals.get(c.name, c)) for c in key}
            if ids & self._blamed or (blamed and len(key) < 2):
                continue  # what one call does to several layers is one finding
            self._blamed |= ids
            where = cause.where.name if cause.where is not None else self._name_of(j)
            text = cause.text if cause.where is not None else f"before it, {cause.text}"
            check = "training mode" if cause.kind == "dropout" and "inference" not in cause.text else "outputs"
            torch_name = cause.torch.name if cause.torch is not None else ""
            known = cause.kind != "unknown"
            difference = local.before if measured else None
            self.findings.append(Finding(check, where, text, cause.mend, torch_name, difference, j, known))

    def _name_of(self, j: int) -> str:
        return self.ends[1][j].name

    def _with_padding(self, j: int) -> Call:
        """A pooling call with the padding layer before it counted as its own."""
        call = self.ours[j]
        if "padding" not in call.settings or not (padding := chain_padding(self.ours, j)):
            return call
        return Call(call.name, call.kind, {**call.settings, "padding": padding}, call.target, call.sources)

    def _same_axis(self, their: Call, own: Call) -> bool:
        if their.value is None or their.settings["axis"] is None:
            return True
        rank = their.value.ndim
        axis, other = their.settings["axis"] % rank, own.settings["axis"]
        other = other % rank if isinstance(other, int) else other
        return other in ((axis,) if rank < 4 else (axis, rank - 1 if axis == 1 else axis - 1))

    def _compare_sums(self, theirs: list[Call], between: list[list[int]]) -> list[Cause]:
        """Sums and the like that take the outputs of other layers than PyTorch's."""
        known = {p.torch: p.keras for p in self.match.pairs}
        kinds = ("add", "multiply", "subtract", "concatenate", "matmul", "divide")
        left = [k for k in between[0] if self.theirs[k].kind in kinds]
        right = [k for k in between[1] if self.ours[k].kind in kinds]
        for i, j in zip(left, right, strict=False):
            wanted = [known.get(k, k if k < 0 else None) for s in self.theirs[i].sources for k in self._ends(0, s)]
            given = [k for s in self.ours[j].sources for k in self._ends(1, s)]
            if set(wanted) != set(given):
                names = [", ".join(self._names(k)) for k in (given, wanted)]
                text = f"{self.ours[j].kind} takes {names[0]}; PyTorch's takes what corresponds to {names[1]}"
                return [Cause(self.ours[j], self.theirs[i], text, "take the same", "sum")]
            if wanted != given and self.ours[j].kind in ("concatenate", "subtract", "divide"):
                text = f"{self.ours[j].kind} takes its inputs in another order than PyTorch's"
                return [Cause(self.ours[j], self.theirs[i], text, "give them in PyTorch's order", "sum")]
        return []

    def _ends(self, side: int, source: int) -> list[int]:
        if source < 0 or source in self.stops[side]:
            return [source]
        return sorted(sources_of(self.ends[side], source, self.stops[side]))

    def _names(self, places: Sequence[int | None]) -> list[str]:
        known = sorted({k for k in places if k is not None})
        return [self.ours[k].name if k >= 0 else self._name_input(k) for k in known]

    def _name_input(self, k: int) -> str:
        return f"the input {self.inputs[-1 - k]}" if len(self.inputs) > 1 else "the input"

    def _name_order(self, local: Local, ours: list[KerasCall]) -> Cause:
        moves = [c for c in ours if c.kind in ("flatten", "reshape", "transpose")]
        where = moves[0] if moves else None
        if local.moved:
            what = f" ({', '.join(c.name for c in moves)})" if moves else ""
            mend = self.advice or (
                "PyTorch's order is (channels, height, width): Reshape to it, then Permute((2, 3, 1))"
            )
            return Cause(
                where,
                None,
                f"reshape or flatten order: the elements are in another order than PyTorch's{what}",
                mend,
                "order",
            )
        if local.shapes:
            text = f"the shape is {local.shapes[1]}, PyTorch's {local.shapes[0]} does not fit it"
            return Cause(where, None, text, "", "unknown")
        pads = [c for c in ours if c.kind in ("pad", "crop", "take")]
        if pads:
            return Cause(pads[0], None, f"{pads[0].kind} gives other elements than PyTorch's", "", "unknown")
        return Cause(None, None, "the values differ from PyTorch's", "", "unknown")

    # --- Layers

    def _judge_layer(self, local: Local, tainted: bool, has_cause: bool) -> None:
        their, own = self.theirs[local.torch], self.ours[local.keras]
        shapes_differ = local.own == float("inf")
        if shapes_differ or local.own is None:
            self._broken.add(local.keras)
        measured = local.own is not None and not local.own <= LOCAL
        if their.kind != own.kind and "parameter" not in (their.kind, own.kind):
            text = f"it is a {own.kind}, PyTorch's is a {their.kind}"
            self._add(local, text, f"use {_LAYER_OF.get(their.kind, 'the same layer')}", "outputs")
            return
        blamed = id(own.target) in self._blamed
        padding = chain_padding(self.ours, local.keras)
        causes = compare_pair(their, own, padding, measured or (local.own is None and not tainted and not has_cause))
        if not blamed:
            for name, text, mend in causes:
                self._add(local, text, mend, _ELSEWHERE.get(name, "outputs"))
        if measured and not causes and not blamed and (name := self._find_mask(local.keras)):
            mend = "leave out mask_zero=True and Masking"
            self._add(local, f"it skips the steps that {name} masks, PyTorch computes every step", mend, "outputs")
        elif measured and not causes and not blamed:
            what = f": its shape is {local.shapes[1]}, PyTorch's {local.shapes[0]}" if local.shapes else ""
            self._add(local, f"its output differs from PyTorch's for the same input{what}", "", "outputs", known=False)
        self._blamed.add(id(own.target))

    def _find_mask(self, j: int) -> str:
        """The name of the layer that gives the call a mask; empty if there is none."""
        if not getattr(self.ours[j].target, "supports_masking", False) or self.ours[j].kind == "linear":
            return ""
        todo = list(self.ours[j].sources)
        while todo:
            if (k := todo.pop()) < 0:
                continue
            target = self.ours[k].target
            if getattr(target, "mask_zero", False) or isinstance(target, keras.layers.Masking):
                return self.ours[k].name
            todo += self.ours[k].sources if getattr(target, "supports_masking", False) else ()
        return ""

    def _add(self, local: Local, text: str, mend: str, check: str, known: bool = True) -> None:
        their, own = self.theirs[local.torch], self.ours[local.keras]
        difference = local.own if check == "outputs" else None
        self.findings.append(Finding(check, own.name, text, mend, their.name, difference, local.keras, known))


def chain_padding(ours: Sequence[KerasCall], j: int) -> tuple | None:
    """A layer's padding with that of the padding and cropping layers around it; None if there are none."""
    amounts = ours[j].settings.get("padding")
    chain = chain_of(ours, j)
    if amounts is None or len(chain) == 1:
        return None
    for k in chain:
        extra: Any = getattr(ours[k].target, "padding" if ours[k].kind == "pad" else "cropping", None)
        if k == j or extra is None or isinstance(extra, str):
            continue
        pairs = [extra] if isinstance(extra[0], int) else extra
        amounts = tuple((a + c, b + d) for (a, b), (c, d) in zip(amounts, pairs, strict=True))
    return amounts


def find_frozen(links: Sequence[Any], ours: Sequence[KerasCall], trained: Mapping[str, bool]) -> list[Finding]:
    """Variables that only one side trains.

    Args:
        links: variables and parameters.
        ours: Keras's calls.
        trained: PyTorch's parameters and whether they require a gradient.
    """
    found = []
    for link in links:
        if link.is_buffer or link.names[0] not in trained:
            continue
        theirs, own = trained[link.names[0]], bool(link.variable.trainable)
        if theirs != own:
            call = ours[link.call]
            text = (
                f"{link.variable.name} is frozen (trainable=False), PyTorch trains it"
                if theirs
                else f"{link.variable.name} is trained, PyTorch's is frozen (requires_grad=False)"
            )
            mend = f"layer.trainable = {theirs}"
            found.append(Finding("gradients", call.name, text, mend, link.names[0], None, link.call))
    return found
