"""A second view of a model whose layers compute by faster functions; the model itself stays as it is.

A view shares every variable and every attribute with the model, so that Keras's own ``train_step`` can run on it. Only
the way from a layer to its ``call`` differs. Other threads that use the model never see the faster functions.
"""

from collections.abc import Callable

import keras

from kerasnets._internal import keras_private


def view(model: keras.Model, call_of: Callable[[keras.Layer], Callable | None]) -> keras.Model:
    """A view of a model in which layers are replaced; nested Functional and Sequential models included.

    Args:
        model: a Functional or Sequential model.
        call_of: returns the function to use instead of a layer's ``call``, or None to keep the layer's own.

    Returns:
        The view. It holds the attributes that the model has now: make a new one for each trace.
    """
    if isinstance(model, keras.Sequential):
        graph = keras_private.graph_of(model)
        # Without one its inputs are nested, and Keras calls the layers one by one.
        return _copy(model) if graph is None else _copy(model, _functional=view(graph, call_of))
    replaced = {}
    for layer in keras_private.operations_of(model):
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

        return keras_private.run_graph(model, inputs, chosen, call_fn)

    return _copy(model, _run_through_graph=run)


def _runs_a_graph(model) -> bool:
    """Whether `model` is a Functional or a built Sequential model, of a class that keeps Keras's own ``call``."""
    if isinstance(model, keras.Sequential):
        return model.built and type(model).call is keras.Sequential.call
    return isinstance(model, keras_private.Functional) and type(model).call is keras_private.Functional.call


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
    for layer in keras_private.operations_of(model):
        plain = type(layer) is keras.layers.ReLU and layer.max_value is None
        if not plain or layer.negative_slope or layer.threshold or layer.activity_regularizer:
            continue
        after = keras_private.readers_of(layer)
        if len(after) != 1 or len(keras_private.calls_of(layer)) != 1:
            continue
        (pool,) = after
        is_output = keras_private.outputs_made_by(model, layer)
        known = type(pool) is keras.layers.MaxPooling2D and pool in keras_private.operations_of(model)
        if known and len(keras_private.calls_of(pool)) == 1 and not is_output and not pool.activity_regularizer:
            found[layer] = pool
    return found
