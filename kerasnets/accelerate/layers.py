"""Other functions in place of layers' own, for as long as a step is traced."""

import contextlib
from collections.abc import Callable, Iterator

import keras


@contextlib.contextmanager
def in_place_of_layers(
    model: keras.Model, call_of: Callable[[keras.Layer], Callable | None], pools: dict[keras.Layer, keras.Layer]
) -> Iterator[None]:
    """Inside, the layers of `model` compute by other functions.

    Args:
        model: a Functional or Sequential model.
        call_of: gives the function that stands for a layer's ``call``; None: the layer's own.
        pools: ReLU → the max-pooling that may go before it, of :func:`pools_before_relu`.
    """
    calls = {layer: call for layer in model._flatten_layers() if (call := call_of(layer)) is not None}
    for relu, pool in pools.items():
        calls[pool] = _pool_then_relu(calls.get(pool, pool.call))
        calls[relu] = lambda x: x
    kept = {}
    try:
        for layer, call in calls.items():
            kept[layer] = layer.__dict__.get("call")
            layer.__dict__["call"] = call
        yield
    finally:
        for layer, call in kept.items():
            if call is None:
                del layer.__dict__["call"]
            else:
                layer.__dict__["call"] = call


def _pool_then_relu(pool: Callable) -> Callable:
    return lambda x: keras.ops.relu(pool(x))


def pools_before_relu(model: keras.Model) -> dict[keras.Layer, keras.Layer]:
    """The ReLU layers whose only reader is a max-pooling: ReLU → pooling.

    The largest of the positive parts is the positive part of the largest: pooling first gives the same numbers and the
    same gradients, and ReLU then has a quarter of the work.
    """
    found = {}
    for layer in model.layers:
        after = [node.operation for node in layer._outbound_nodes]
        plain = type(layer) is keras.layers.ReLU and layer.max_value is None
        if not plain or layer.negative_slope or layer.threshold or layer.activity_regularizer:
            continue
        if len(after) != 1 or len(layer._inbound_nodes) != 1:
            continue
        (pool,) = after
        is_output = any(layer is history.operation for history in (t._keras_history for t in model.outputs))
        if type(pool) is keras.layers.MaxPooling2D and len(pool._inbound_nodes) == 1 and not is_output:
            found[layer] = pool
    return found
