"""A second view of a model whose layers compute by faster functions; the model itself stays as it is.

A view shares every variable and every attribute with the model, so that Keras's own ``train_step`` can run on it. Only
the way from a layer to its ``call`` differs. Other threads that use the model never see the faster functions.
"""

from collections.abc import Callable

import keras


def view(model: keras.Model, call_of: Callable[[keras.Layer], Callable | None]) -> keras.Model:
    """A view of a model in which layers are replaced; nested Functional and Sequential models included.

    Args:
        model: a Functional or Sequential model.
        call_of: returns the function to use instead of a layer's ``call``, or None to keep the layer's own.

    Returns:
        The view. It holds the attributes that the model has now: make a new one for each trace.
    """
    if isinstance(model, keras.Sequential):
        if model._functional is None:  # inputs that are nested: Keras calls the layers one by one
            return _copy(model)
        return _copy(model, _functional=view(model._functional, call_of))
    replaced = {}
    for layer in model._operations:
        if _runs_a_graph(layer):
            replaced[layer] = view(layer, call_of)
        elif isinstance(layer, keras.Layer) and (call := call_of(layer)) is not None:
            replaced[layer] = _copy(layer, call=call)
    for relu, pool in pools_before_relu(model).items():
        after = replaced[pool].call if pool in replaced else pool.call
        replaced[pool] = _copy(pool, call=_pool_then_relu(after))
        replaced[relu] = _copy(relu, call=lambda x: x)

    def run(inputs, operation_fn=lambda operation: operation, call_fn=None):
        def chosen(operation):
            return operation_fn(replaced.get(operation, operation))

        return model._run_through_graph(inputs, operation_fn=chosen, call_fn=call_fn)

    return _copy(model, _run_through_graph=run)


def _runs_a_graph(model) -> bool:
    """Whether `model` is a Functional or a built Sequential model, of a class that keeps Keras's own ``call``."""
    if isinstance(model, keras.Sequential):
        return model.built and type(model).call is keras.Sequential.call
    return isinstance(model, _FUNCTIONAL) and type(model).call is _FUNCTIONAL.call


_FUNCTIONAL = type(keras.Model(_input := keras.Input((1,)), _input))


def _copy(original: keras.Layer, **attributes) -> keras.Layer:
    copy = object.__new__(type(original))
    copy.__dict__.update(original.__dict__)
    copy.__dict__.update(attributes)
    return copy


def _pool_then_relu(pool: Callable) -> Callable:
    return lambda x: keras.ops.relu(pool(x))


def pools_before_relu(model: keras.Model) -> dict[keras.Layer, keras.Layer]:
    """The ReLU layers of a Functional model whose output goes to one max-pooling only: ReLU → pooling.

    The positive part of the largest value is the largest of the positive parts: pooling first gives the same numbers
    and gradients, and leaves ReLU a quarter of the work.
    """
    found = {}
    for layer in model._operations:
        plain = type(layer) is keras.layers.ReLU and layer.max_value is None
        if not plain or layer.negative_slope or layer.threshold or layer.activity_regularizer:
            continue
        after = [node.operation for node in layer._outbound_nodes]
        if len(after) != 1 or len(layer._inbound_nodes) != 1:
            continue
        (pool,) = after
        is_output = any(layer is history.operation for history in (t._keras_history for t in model.outputs))
        known = type(pool) is keras.layers.MaxPooling2D and pool in model._operations
        if known and len(pool._inbound_nodes) == 1 and not is_output and not pool.activity_regularizer:
            found[layer] = pool
    return found
