"""One step as a flat list of operations on the variables' own values.

PyTorch's tracer ``make_fx`` runs the step once on fake tensors and records it; the list that comes out is repeated
without layers and without autograd. On a GPU it is captured as a CUDA graph.
"""

import threading
from collections.abc import Callable
from typing import Any

import keras
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from kerasnets._internal import keras_private
from kerasnets.engine.torch.cuda_graph import captured, on_gpu_only
from kerasnets.engine.torch.random import SeedsAsTensors

#: Operations that return their input itself, which only autograd needs.
_SAME = (torch.ops.aten.alias.default, torch.ops.aten.detach.default)

#: make_fx patches torch.nn.Module while it runs: one trace at a time.
_LOCK = threading.RLock()


class UntraceableError(Exception):
    """The step can't be recorded; the message is the reason."""


def trace(step: Callable, examples: list[torch.Tensor], variables: list[keras.Variable]) -> Callable:
    """Record a step.

    Args:
        step: function of tensors like `examples`, which may read and assign the variables.
        examples: tensors that stand for the arguments; they are not changed.
        variables: every variable that the step reads or assigns.

    Returns:
        A function of tensors like `examples`. It changes the variables in place and returns what `step` returns.

    Raises:
        UntraceableError: the step looks at a value, or assigns a variable that isn't listed.
    """
    with _LOCK:
        before = keras_private.global_generator()
        if before is not None:
            variables = [*variables, before.state]
        try:
            return _recorded(step, examples, variables)
        except RuntimeError as error:  # what PyTorch raises where a value is needed
            lines = str(error).strip().splitlines() or [""]
            raise UntraceableError(f"{type(error).__name__}: {lines[0][:200]}") from error
        finally:
            after = keras_private.global_generator()
            if before is None and after is not None:
                # The step drew unseeded noise, for which Keras made its global generator inside the trace: of a fake
                # tensor, which would stay there.
                keras_private.forget_global_generator()


def draws_unseeded(error: UntraceableError) -> bool:
    """Whether a trace failed only because Keras's global generator did not exist yet; it does afterwards."""
    if isinstance(error, _UnseededError):
        keras_private.global_seed_generator()
        return True
    return False


class _UnseededError(UntraceableError):
    """The global generator was made inside the trace."""


def _recorded(step, examples, variables):
    unlisted: list = []

    def run(*tensors):
        given, state = tensors[: len(examples)], tensors[len(examples) :]
        mapping = list(zip(variables, state, strict=True))
        with keras.StatelessScope(mapping, collect_losses=True, initialize_variables=False) as scope:
            outputs = step(*given)
            changed = [(old, scope.get_current_value(v)) for v, old in mapping]
            unlisted.extend(scope.state_mapping.keys() - {id(v) for v in variables})
        with torch.no_grad():
            for old, new in changed:
                if new is not old:
                    old.copy_(new)
        return outputs

    values = [v.value for v in variables]
    numbers = torch.get_rng_state()
    try:
        with SeedsAsTensors():
            module = make_fx(run, tracing_mode="fake", _allow_non_fake_inputs=True)(*examples, *values)
    finally:
        torch.set_rng_state(numbers)
    if unlisted:
        if id(getattr(keras_private.global_generator(), "state", None)) in unlisted:
            raise _UnseededError("it draws from Keras's global generator")
        raise UntraceableError("it assigns a variable that the model doesn't track")
    graph = module.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in _SAME:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    _add_gradients_to_velocities(graph)
    _convert_constants(module)
    graph.eliminate_dead_code()
    graph.lint()
    module.recompile()
    forward = module.forward
    reads_seeds = any(str(node.target).startswith("kerasnets.") for node in graph.nodes)
    replay = None
    if values and not reads_seeds and on_gpu_only(graph):  # a seed is read on the host, which a graph can't do
        replay = captured(forward, examples, values)
    return replay or (lambda *given: forward(*given, *values))


def _convert_constants(module: torch.fx.GraphModule) -> None:
    """Convert constants to their type and device once, not in every step.

    What comes of it is still copied in every step, since the step may change it.
    """
    aten, graph = torch.ops.aten, module.graph
    node: Any
    for node in list(graph.nodes):
        if node.target not in (aten._to_copy.default, aten.lift_fresh_copy.default):
            continue
        constant = _constant(module, node.args[0])
        if constant is None:
            continue
        name = f"_converted_constant{len(list(module.buffers()))}"
        module.register_buffer(name, node.target(constant, **node.kwargs), persistent=False)
        with graph.inserting_before(node):
            converted = graph.call_function(aten.clone.default, (graph.get_attr(name),))
        converted.meta = dict(node.meta)
        node.replace_all_uses_with(converted)
        graph.erase_node(node)


def _constant(module: torch.fx.GraphModule, node: Any) -> torch.Tensor | None:
    """The value of `node` if it is the same in every step."""
    if node.op == "get_attr":
        return getattr(module, node.target)
    if node.op != "call_function" or len(node.users) > 1:  # another user may change it
        return None
    if node.target is torch.ops.aten.clone.default and node.args[0].op == "get_attr":
        return getattr(module, node.args[0].target)
    is_factory = not node.all_input_nodes and torch.Tag.nondeterministic_seeded not in node.target.tags
    return node.target(*node.args, **node.kwargs) if is_factory else None


def _add_gradients_to_velocities(graph: torch.fx.Graph) -> None:
    """Let the product that gives a weight's gradient add it to the momentum's velocity, v ← μ·v + xᵀ·g, at once.

    Small networks spend a third of a step in the memory traffic of their update; this saves a write and a read of the
    gradients. ``_fused_sgd_`` without momentum then takes the step with the velocity as its gradient.
    """
    aten = torch.ops.aten
    for node in list(graph.nodes):
        if node.target is not aten._fused_sgd_.tensor_lr:
            continue
        options = node.kwargs
        if not options["momentum"] or any(
            options[name] for name in ("weight_decay", "dampening", "nesterov", "maximize")
        ):
            continue
        merged: list[tuple] = []
        others: list[tuple] = []
        for entry in zip(*node.args, strict=True):
            gradient = entry[1]
            is_product = gradient.target is aten.mm.default and len(gradient.users) == 1
            (merged if is_product else others).append(entry)
        for _, product, velocity in merged:
            with graph.inserting_before(product):
                graph.call_function(aten.addmm_.default, (velocity, *product.args), {"beta": options["momentum"]})
        with graph.inserting_before(node):
            if merged:
                values, _, velocities = map(list, zip(*merged, strict=True))
                graph.call_function(node.target, (values, velocities, []), {**options, "momentum": 0.0})
            if others:
                graph.call_function(node.target, tuple(map(list, zip(*others, strict=True))), options)
        graph.erase_node(node)
