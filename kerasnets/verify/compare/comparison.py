"""The comparison itself: every check in turn, and the report."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasnets._internal.arrays import to_numpy
from kerasnets._internal.feature_order import Layout, layouts_of, positions_of
from kerasnets.verify.compare.diagnosis import Diagnosis, find_frozen
from kerasnets.verify.compare.figures import Side, make_figures
from kerasnets.verify.compare.finding import Figure, Finding, order_findings
from kerasnets.verify.compare.forced import LOCAL, ForcedRun, nearest
from kerasnets.verify.compare.fuse import fuse_attention
from kerasnets.verify.compare.initial import draw_again, find_distribution_causes, find_loading_causes, is_loaded
from kerasnets.verify.compare.keras_side import (
    KerasCall,
    copy_model,
    float_type,
    list_calls,
    remove_dropout,
)
from kerasnets.verify.compare.links import Link, assign, make_links, read_state
from kerasnets.verify.compare.losses import find_loss_causes
from kerasnets.verify.compare.match import Match, match_calls
from kerasnets.verify.compare.optimizers import compare_optimizers
from kerasnets.verify.compare.port import Port
from kerasnets.verify.compare.rates import compare_rates
from kerasnets.verify.compare.report import Report
from kerasnets.verify.compare.runs import (
    VARIANTS,
    TorchRun,
    Values,
    keras_loss,
    projection,
    quick_compilation,
    run_original,
    run_port,
)


class Ported:
    """A copy of the port in a float type, matched with the original.

    Args:
        port: what is compared.
        run: PyTorch's run.
        dtype: ``"float64"`` or ``"float32"``; made inside :func:`float_type`.
        plain: names of layers whose inputs have the same order in PyTorch, against what the graph says.
    """

    def __init__(self, port: Port, run: TorchRun, dtype: str, plain: Sequence[str] = ()):
        self.model = copy_model(port.model, dtype)
        self.calls, places = list_calls(self.model)
        #: Name of each output → where it is, in the order in which the module returns them.
        self.outputs = {target.output: places[target.place] for target in port.targets}
        fuse_attention(run.calls, self.calls)
        self.match: Match = match_calls(run.calls, self.calls)
        self.layouts, self.advice = self._read_layouts(plain)
        self.state = read_state(port.module)
        self.links: list[Link] = make_links(run.calls, self.calls, self.match, self.layouts, self.state)
        self.given = [to_numpy(link.variable).copy() for link in self.links]
        self.unfit = self.load()
        unfit = {id(link) for link, _ in self.unfit}
        kept = [(k, g) for k, g in zip(self.links, self.given, strict=True) if id(k) not in unfit]
        self.links, self.given = [k for k, _ in kept], [g for _, g in kept]

    def _read_layouts(self, plain: Sequence[str]) -> tuple[dict[int, Layout], str]:
        try:
            layouts, advice = layouts_of(self.model), ""
        except ValueError as error:  # what lies before the layer that it names is still known
            advice = str(error)
            layouts = {
                id(c.layer): positions_of(c.node.input_tensors[0])
                for c in self.calls
                if c.kind == "linear" and len(c.node.input_tensors[0].shape) == 2
            }
        for call in self.calls:
            if call.name in plain:
                layouts[id(call.layer)] = None
        return layouts, advice

    def load(self) -> list[tuple[Link, str]]:
        """Set PyTorch's weights and buffers; returns those that don't fit."""
        return assign(self.links, self.state)


def compare_port(port: Port) -> Report:
    """Make every check."""
    began = time.perf_counter()
    run64, run32 = run_original(port, "float64"), run_original(port, "float32")
    noise = {dtype: _run_others(port, dtype) for dtype in ("float64", "float32")}
    with float_type("float64"), quick_compilation():
        ported, forced = _force(port, run64)
        diagnosis = Diagnosis(
            run64.calls,
            ported.calls,
            ported.match,
            run64.makers,
            [place for place, _ in ported.outputs.values()],
            (port.names, list(ported.outputs)),
            _shorten(ported.advice),
        )
        findings = diagnosis.run(forced.locals)
        findings += [] if findings else _unfit(ported)
        loaded = is_loaded(ported.links, ported.given, ported.state)
        findings += _judge_given(port, ported, run64, loaded)
        trained = {name: p.requires_grad for name, p in port.module.named_parameters()}
        findings += find_frozen(ported.links, ported.calls, trained)
        for target, output, place in zip(port.targets, run64.outputs, ported.outputs.values(), strict=True):
            fitted, _ = nearest(output, forced.values[place])
            findings += [] if fitted is None else find_loss_causes(target, output, fitted)
        refused = any(f.check == "loss" and f.difference == float("inf") for f in findings)
        side64 = _measure(port, ported, run64, "float64", refused)
        state = {name: value.astype("float64") for name, value in ported.state.items()}
        steps, causes = compare_optimizers(port, ported.links, ported.model, state, run64.values["gradients"])
        findings += causes
        ported.load()
    with float_type("float32"), quick_compilation():
        copy32 = Ported(port, run32, "float32", [])
        side32 = _measure(port, copy32, run32, "float32", refused)
        rates, causes, curves = compare_rates(port)
        findings += causes
    figures = [*make_figures(run64, run32, ported, copy32, side64, side32, noise), *steps, *rates]
    findings += _find_unexplained(figures, findings, ported, run64)
    return Report(
        keras.config.backend(),
        tuple(order_findings(findings)),
        tuple(figures),
        tuple(_describe_matches(run64, ported)),
        tuple(_notes(ported, loaded)),
        curves,
        loaded,
        time.perf_counter() - began,
    )  # fmt: skip


def _describe_matches(run: TorchRun, ported: Ported) -> Iterator[tuple[str, str, str, str]]:
    for pair in ported.match.pairs:
        their = run.calls[pair.torch]
        yield their.name, ported.calls[pair.keras].name, their.kind, pair.by


def _run_others(port: Port, dtype: str) -> list[Values]:
    """PyTorch's other ways to compute the same."""
    convolves = any(p.ndim == 4 for p in port.module.parameters()) and any(x.ndim == 4 for x in port.x)
    wanted = VARIANTS if dtype == "float32" else VARIANTS[:2]
    return [run_original(port, dtype, v).values for v in wanted if convolves or not v.channels_last]


def _force(port: Port, run: TorchRun) -> tuple[Ported, ForcedRun]:
    """The forced run; a second time if a vector's features turn out to have PyTorch's order already."""
    ported = Ported(port, run, "float64")
    forced = _run_forced(port, run, ported)
    plain = [
        ported.calls[local.keras].name
        for local in forced.locals
        if local.torch >= 0
        and isinstance(ported.layouts.get(id(ported.calls[local.keras].layer)), np.ndarray)
        and local.before is not None
        and local.before <= LOCAL
        and local.own is not None
        and not local.own <= LOCAL
    ]
    if plain:
        again = Ported(port, run, "float64", plain)
        second = _run_forced(port, run, again)
        worst = [max((x.own or 0.0 for x in f.locals), default=0.0) for f in (forced, second)]
        if worst[1] < worst[0]:
            return again, second
    return ported, forced


def _run_forced(port: Port, run: TorchRun, ported: Ported) -> ForcedRun:
    remove_dropout(ported.calls)
    forced = ForcedRun(run.calls, ported.calls, ported.match, ported.layouts)
    forced.run(_as_inputs(port.keras_x, "float64"), run.outputs, list(ported.outputs.values()))
    return forced


def _as_inputs(x: Sequence[np.ndarray], dtype: str) -> list[np.ndarray]:
    return [array.astype(dtype) if array.dtype.kind == "f" else array for array in x]


def _shorten(advice: str) -> str:
    """The remedy in an error message of ``feature_order``."""
    return advice[advice.index("Reshape to that order") :] if "Reshape to that order" in advice else ""


def _unfit(ported: Ported) -> list[Finding]:
    return [
        Finding("structure", ported.calls[link.call].name, text, "", link.names[0], None, link.call)
        for link, text in ported.unfit
    ]


def _judge_given(port: Port, ported: Ported, run: TorchRun, loaded: bool) -> list[Finding]:
    """The weights that the model came with."""
    if loaded:
        return find_loading_causes(ported.links, ported.given, ported.state, ported.calls)
    theirs = {p.keras: run.calls[p.torch] for p in ported.match.pairs}
    states: list[Mapping[str, np.ndarray]] = [ported.state, draw_again(port.module)]
    return find_distribution_causes(ported.links, ported.given, states, theirs, ported.calls)


def _measure(port: Port, ported: Ported, run: TorchRun, dtype: str, refused: bool) -> Side:
    """Run the port freely, in both modes; without its loss, if that refused the outputs."""
    remove_dropout(ported.calls)
    shapes = [ported.model.outputs[target.place].shape for target in port.targets]
    blanks = [np.zeros([len(port.keras_x[0]), *(n or 1 for n in shape[1:])]) for shape in shapes]
    factors = [nearest(projection(o.shape), blank)[0] for o, blank in zip(run.outputs, blanks, strict=True)]
    fitting = all(factor is not None for factor in factors)
    if not port.has_losses and not fitting:
        return Side({}, {}, None, {}, {})
    value_of = keras_loss(port, [np.zeros(1) if factor is None else factor for factor in factors], dtype)
    try:
        inference, training, loss, gradients, buffers = run_port(
            ported.model, ported.calls, _as_inputs(port.keras_x, dtype), value_of, ported.load
        )
    except Exception:
        same_sizes = all(o.size == blank.size for o, blank in zip(run.outputs, blanks, strict=True))
        if not refused and same_sizes:
            raise
        return Side({}, {}, None, {}, {})  # the outputs have another shape, which is a finding of its own
    by_variable = {id(v): g for v, g in zip(ported.model.trainable_variables, gradients, strict=True)}
    changed = {id(v): b for v, b in zip(ported.model.non_trainable_variables, buffers, strict=True)}
    return Side(inference, training, loss, by_variable, changed)


def _find_unexplained(
    figures: Sequence[Figure], findings: Sequence[Finding], ported: Ported, run: TorchRun
) -> list[Finding]:
    """Differences that no finding explains: the place without a cause."""
    seen = {finding.check for finding in findings}
    found: list[Finding] = []
    stages = (("outputs", ()), ("training mode", ("outputs",)), ("loss", ("outputs", "training mode")))
    if {"structure", "outputs"} & seen:
        return []
    for check, after in (
        *stages,
        ("gradients", ("outputs", "training mode", "loss")),
        ("buffers", ("outputs", "training mode")),
    ):
        wrong = [f for f in figures if f.check == check and f.differs]
        if not wrong or check in seen or any(c in seen for c in after):
            continue
        figure = wrong[-1] if check == "gradients" else wrong[0]
        found.append(_explain(check, figure, ported, run))
        seen.add(check)
    return found


def _explain(check: str, figure: Figure, ported: Ported, run: TorchRun) -> Finding:
    by_name = {run.calls[p.torch].name: p.keras for p in ported.match.pairs}
    owners = {name: link.call for link in ported.links for name in link.names}
    by_name |= {name: max(place, 0) for name, (place, _) in ported.outputs.items()}
    place = by_name.get(figure.name, owners.get(figure.name, len(ported.calls) - 1))
    call: KerasCall = ported.calls[place]
    stopped = [c.name for c in ported.calls if c.kind == "stop_gradient"]
    if check == "gradients" and stopped and not any(c.kind == "identity" and c.name == "detach" for c in run.calls):
        text = f"the gradient stops at {stopped[0]}, PyTorch's goes on"
        return Finding(check, stopped[0], text, "remove stop_gradient", figure.name, figure.float64, place)
    frozen = getattr(call.node, "arguments", None)
    kwargs: dict[str, Any] = frozen.kwargs if frozen is not None else {}
    is_frozen = kwargs.get("training") is False or not getattr(call.layer, "trainable", True)
    if check in ("training mode", "buffers") and call.kind == "batch norm" and is_frozen:
        text = "it uses its running values in training (training=False or trainable=False), PyTorch the batch's"
        return Finding(check, call.name, text, "call it without training=False", figure.name, figure.float64, place)
    texts = {
        "outputs": "the outputs differ from PyTorch's",
        "training mode": "the outputs in training mode differ from PyTorch's, those in inference mode don't",
        "loss": "the loss differs from PyTorch's",
        "gradients": f"the gradient of {figure.name} differs from PyTorch's, the outputs and the loss don't",
        "buffers": f"{figure.name} after a step differs from PyTorch's",
    }
    where = "loss" if check == "loss" else call.name
    return Finding(check, where, texts[check], "", figure.name, figure.float64, place, known=False)


def _notes(ported: Ported, loaded: bool) -> list[str]:
    found = []
    flat = [
        ported.calls[p.keras].name
        for p in ported.match.pairs
        if isinstance(ported.layouts.get(id(ported.calls[p.keras].layer)), np.ndarray)
        and ported.calls[p.keras].kind == "linear"
    ]
    if flat:
        found.append(
            f"flatten order: {', '.join(flat)} takes features as (height, width, channels), PyTorch's as (channels, "
            "height, width); the rows of the kernel were reordered, as kerasnets.load_state_dict does."
        )
    for link in ported.links:
        if link.is_sum:
            found.append(
                f"{ported.calls[link.call].name} has one bias where PyTorch trains two, {' and '.join(link.names)}: "
                "their sum makes two steps where Keras's makes one."
            )
    if loaded:
        found.append("the model came with the module's weights: initial weights were not compared.")
    return found
