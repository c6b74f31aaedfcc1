"""Keras's side: a model's graph as a flat list of calls, copies of the model in a float type, and runs of it."""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from kerasnets import backend
from kerasnets._internal import keras_private
from kerasnets._internal.arrays import to_numpy
from kerasnets.verify.compare.calls import Call
from kerasnets.verify.compare.keras_settings import describe, describe_activation, inner
from kerasnets.verify.compare.port import graph_of, name_tensors

#: Layers whose activation becomes a call of its own, as it is in PyTorch.
_FUSED = (keras.layers.Dense, keras.layers.EinsumDense)


@contextlib.contextmanager
def float_type(dtype: str) -> Iterator[None]:
    """Inside, layers, losses and optimizers are made in this type."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    backend.set_dtype(dtype)
    try:
        yield
    finally:
        backend.set_dtype("float64" if floatx == "float64" else "float32")
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def copy_model(model: keras.Model, dtype: str) -> keras.Model:
    """A copy of a model, with its weights, whose layers compute in `dtype`; call it inside :func:`float_type`.

    Raises:
        TypeError: a layer can't be copied.
    """

    def copy_layer(layer: Any) -> Any:
        if not isinstance(layer, keras.Layer):
            return layer  # an operation, which has no state
        if isinstance(layer, keras.layers.Lambda):
            config = {"output_shape": layer._output_shape, "arguments": layer.arguments, "name": layer.name}
            return keras.layers.Lambda(layer.function, dtype=dtype, **config)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of lambdas, which are passed on as they are
                config = _set_dtype(layer.get_config(), dtype)
            for name in ("activation", "recurrent_activation"):
                if isinstance(config.get(name), dict):
                    config[name] = getattr(layer, name)
            return type(layer).from_config(config)
        except Exception as error:  # each layer has its own
            raise TypeError(
                f"The layer {layer.name!r} ({type(layer).__name__}) can't be copied, which a comparison in float64 and "
                f"float32 needs; expected a get_config that its constructor takes. ({error})"
            ) from error

    graph = graph_of(model)
    names = name_tensors(graph.input, [f"input_of_the_copy_{i}" for i in range(len(model.inputs))])
    inputs = [  # Keras wants the names of a dict's keys
        keras.Input(batch_shape=x.shape, dtype=dtype if "float" in x.dtype else x.dtype, name=name)
        for x, name in zip(model.inputs, names, strict=True)
    ]
    given = keras.tree.pack_sequence_as(graph.input, inputs)
    # Without its compiled losses and metrics, which Keras can't copy if they are a user's own functions.
    uncompiled = keras.Model(graph.input, graph.output)
    copied = keras.models.clone_model(
        uncompiled, input_tensors=given, clone_function=copy_layer, recursive=True, call_function=None
    )
    for theirs, own in zip(model.weights, copied.weights, strict=True):
        value = to_numpy(theirs)
        own.assign(value.astype(dtype) if value.dtype.kind == "f" else value)
        own.trainable = theirs.trainable
    for theirs, own in zip(keras_private.all_layers(graph), keras_private.all_layers(copied), strict=True):
        if not theirs.trainable and isinstance(own, keras.Layer):
            own.trainable = False
    return copied


def _set_dtype(config: Any, dtype: str) -> Any:
    """A layer's config with float32 replaced by `dtype`, in the layers inside it as well."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": dtype}}
        return {
            key: dtype if key == "dtype" and value == "float32" else _set_dtype(value, dtype)
            for key, value in config.items()
        }
    if isinstance(config, list):
        return [_set_dtype(value, dtype) for value in config]
    return config


@dataclasses.dataclass(eq=False)
class KerasCall(Call):
    """A call in Keras's graph.

    Attributes:
        node: Keras's node; None for a layer's activation.
        places: id of a symbolic input → where its value is: (position of the call, number of the output).
        layer: the layer, without ``TimeDistributed``; for an activation, the layer that has it.
    """

    node: Any = None
    places: dict[int, tuple[int, int]] = dataclasses.field(default_factory=dict)
    layer: Any = None


def list_calls(model: keras.Model) -> tuple[list[KerasCall], list[tuple[int, int]]]:
    """The calls of a Functional or Sequential model, those of nested models included, and where its outputs are."""
    calls: list[KerasCall] = []
    places = _follow(model, places_of_inputs(len(model.inputs)), "", calls)
    return calls, places


def places_of_inputs(count: int) -> list[tuple[int, int]]:
    """Where the values of a model's inputs are: before the calls."""
    return [(-1 - i, 0) for i in range(count)]


def _follow(model: keras.Model, inputs: list[tuple[int, int]], prefix: str, calls: list[KerasCall]) -> list:
    known = {id(tensor): place for tensor, place in zip(model.inputs, inputs, strict=True)}
    for node in keras_private.list_calls(model):
        operation = node.operation
        if operation is None or node.is_input or any(id(t) not in known for t in node.input_tensors):
            continue
        given = [known[id(t)] for t in node.input_tensors]
        name = prefix + (getattr(operation, "torch_name", None) or operation.name)
        if isinstance(operation, keras.Model) and keras_private.list_calls(operation):
            results = _follow(operation, given, f"{name}.", calls)
        else:
            results = _add(node, name, given, calls)
        known.update((id(t), place) for t, place in zip(node.outputs, results, strict=True))
    return [known[id(t)] for t in model.outputs]


def _add(node: Any, name: str, given: list[tuple[int, int]], calls: list[KerasCall]) -> list[tuple[int, int]]:
    """Add a node's call, and the layer's activation as another one; returns where the outputs are."""
    operation = node.operation
    kind, settings = describe(operation, node.input_tensors[0].shape, node.arguments.kwargs)
    numbers = [a for a in node.arguments.args if isinstance(a, int | float)]
    if kind in ("multiply", "divide") and len(numbers) == 1:
        kind, settings = "scale", {"factor": float(numbers[0]) if kind == "multiply" else 1.0 / numbers[0]}
    layer = inner(operation)
    weights = [v for v in getattr(layer, "weights", []) if "seed" not in v.path]
    shapes = tuple(sorted(tuple(sorted(v.shape)) for v in weights if v.trainable or kind != "batch norm"))
    places = {id(t): place for t, place in zip(node.input_tensors, given, strict=True)}
    sources = tuple(dict.fromkeys(place[0] for place in given))
    call = KerasCall(name, kind, settings, operation, sources, shapes=shapes, node=node, places=places, layer=layer)
    calls.append(call)
    if is_fused(layer):
        kind, settings = describe_activation(layer.activation)
        call = KerasCall(f"{name}'s activation", kind, settings, layer.activation, (len(calls) - 1,), layer=layer)
        calls.append(call)
    return [(len(calls) - 1, i) for i in range(len(node.outputs))]


def is_fused(layer: Any) -> bool:
    """Whether the layer applies an activation that is a module of its own in PyTorch."""
    activation = getattr(layer, "activation", None)
    has_kernel = isinstance(layer, _FUSED) or hasattr(layer, "kernel_size")
    return has_kernel and activation is not None and activation is not keras.activations.linear


@contextlib.contextmanager
def _without_activation(layer: Any) -> Iterator[None]:
    """Inside, the layer returns what its activation takes."""
    if not is_fused(layer):
        yield
        return
    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        yield
    finally:
        layer.activation = activation


def run_call(call: KerasCall, values: dict[tuple[int, int], Any], training: bool) -> list[Any]:
    """The outputs of one call.

    Args:
        call: the call.
        values: where → tensor.
        training: the mode; a dropout that is always on is left out.
    """
    if call.node is None:
        return [call.target(values[call.sources[0], 0])]
    given = {key: values[place] for key, place in call.places.items()}
    args, kwargs = call.node.arguments.fill_in(given)
    if call.kind == "dropout":
        return [args[0]]
    if "training" in getattr(call.target, "_call_context_args", {}):
        kwargs = {"training": training, **{k: v for k, v in kwargs.items() if k != "training" or v is not None}}
    with _without_activation(call.layer):
        return keras.tree.flatten(call.target(*args, **kwargs))


def run_calls(
    calls: list[KerasCall],
    x: Sequence[Any],
    training: bool = False,
    replace: Callable[[int, KerasCall, list[Any], dict[tuple[int, int], Any]], list[Any]] | None = None,
) -> dict[tuple[int, int], np.ndarray]:
    """Run all calls on a batch, without dropout.

    Args:
        calls: of :func:`list_calls`.
        x: a batch in the model's layout, one tensor for each input.
        training: the mode.
        replace: called with each call's position, the call, its outputs and the values so far; what it returns is
            used instead of the outputs.

    Returns:
        Where → value, as arrays.
    """
    values: dict[tuple[int, int], Any] = dict(zip(places_of_inputs(len(x)), x, strict=True))
    for index, call in enumerate(calls):
        outputs = run_call(call, values, training)
        if replace is not None:
            outputs = replace(index, call, outputs, values)
        values.update(((index, i), output) for i, output in enumerate(outputs))
    return {place: to_numpy(value) for place, value in values.items()}


def remove_dropout(calls: list[KerasCall]) -> None:
    """Set every dropout's rate to 0, so that a step in training mode can be compared."""
    for call in calls:
        layer = call.layer
        if call.kind == "dropout":
            layer.rate = 0.0
        elif call.kind == "attention":
            layer._dropout = layer._dropout_layer.rate = 0.0
        elif call.kind in ("lstm", "gru", "rnn"):
            for part in (layer, getattr(layer, "forward_layer", None), getattr(layer, "backward_layer", None)):
                cell = getattr(part, "cell", None)
                if cell is not None:
                    cell.dropout = cell.recurrent_dropout = 0.0
