"""What is left of a model after it was trained and dropped: nothing that this package keeps."""

import gc
import weakref

import keras
import numpy as np
import pytest

from kerasnets import layers, losses, models, optimizers

only_tensorflow = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="what TensorFlow keeps for good")


def arrays():
    return np.random.default_rng(0).normal(size=(20, 4)).astype("float32"), np.arange(20) % 3


def network(*between, width=6, optimizer=None, **options):
    model = models.Sequential([keras.Input((4,)), layers.Linear(width), *between, layers.Linear(3)])
    model.compile(optimizer or optimizers.SGD(0.1), losses.CrossEntropyLoss(), **options)
    return model


def train(model, batch_size=8, **options):
    """The weights after a short training."""
    model.fit(*arrays(), batch_size=batch_size, epochs=2, shuffle=False, verbose=0, **options)
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def use(model):
    """Train, test and predict; the predictions."""
    train(model)
    model.evaluate(*arrays(), batch_size=8, verbose=0)
    return model.predict(arrays()[0], batch_size=8, verbose=0)


def test_a_dropped_model_goes_with_its_engine_and_programs():
    model = network(keras.layers.ReLU())
    use(model)
    kept = [weakref.ref(each) for each in (model, model._kerasnets_engine, model.layers[0].kernel, model.optimizer)]
    del model
    gc.collect()
    assert [each() for each in kept] == [None] * len(kept)


@only_tensorflow
@pytest.mark.parametrize("options", [{}, {"jit_compile": False}], ids=["by XLA", "without it"])
def test_graphs_and_gradients_of_a_dropped_model_go(options):
    from tensorflow.python.framework import func_graph, ops

    def left_behind():
        use(network(layers.BatchNormalization(), **options))
        gc.collect()
        graphs = sum(issubclass(type(each), func_graph.FuncGraph) for each in gc.get_objects())
        return graphs, len(ops.gradient_registry.list())

    first = left_behind()
    assert left_behind() == first


@only_tensorflow
def test_models_of_one_graph_share_a_program(monkeypatch):
    from kerasnets.engine import tensorflow_memory

    monkeypatch.setattr(tensorflow_memory, "_programs", {})
    one, other = (network(keras.layers.ReLU()) for _ in range(2))
    other.set_weights(one.get_weights())
    expected = use(one)
    assert None not in tensorflow_memory._programs.values()
    compiled = dict(tensorflow_memory._programs)
    np.testing.assert_array_equal(use(other), expected)
    assert tensorflow_memory._programs == compiled
    assert len(compiled) == 3
    for mine, its in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(mine, its)


@only_tensorflow
def test_a_shared_program_takes_other_batch_sizes_when_its_first_model_is_gone(monkeypatch):
    from kerasnets.engine import tensorflow_memory

    monkeypatch.setattr(tensorflow_memory, "_programs", {})
    train(network(), batch_size=8)
    gc.collect()
    model, stock = network(), network()
    stock.set_weights(model.get_weights())
    expected = train(stock, batch_size=6, accelerate=False)
    np.testing.assert_allclose(train(model, batch_size=6), expected, rtol=1e-4, atol=1e-6)
    assert len(tensorflow_memory._programs) == 1


@only_tensorflow
@pytest.mark.parametrize(
    "change",
    [
        lambda: network(keras.layers.LeakyReLU(0.2)),
        lambda: network(keras.layers.LeakyReLU(0.1), width=7),
        lambda: network(keras.layers.LeakyReLU(0.1), optimizer=optimizers.SGD(0.1, momentum=0.9)),
        lambda: network(keras.layers.LeakyReLU(0.1), layers.Linear(6, trainable=False)),
    ],
    ids=["slope", "width", "momentum", "frozen"],
)
def test_models_of_other_graphs_do_not(change, monkeypatch):
    from kerasnets.engine import tensorflow_memory

    monkeypatch.setattr(tensorflow_memory, "_programs", {})
    train(network(keras.layers.LeakyReLU(0.1)))
    model, stock = change(), change()
    stock.set_weights(model.get_weights())
    np.testing.assert_allclose(train(model), train(stock, accelerate=False), rtol=1e-4, atol=1e-6)
    assert len(tensorflow_memory._programs) == 2


@only_tensorflow
def test_xla_compiles_so_many_graphs(monkeypatch):
    from kerasnets.engine import tensorflow_memory

    monkeypatch.setattr(tensorflow_memory, "_programs", {})
    monkeypatch.setattr(tensorflow_memory, "LIMIT", 1)
    train(network())
    model, stock = network(keras.layers.ReLU()), network(keras.layers.ReLU())
    stock.set_weights(model.get_weights())
    np.testing.assert_allclose(train(model), train(stock, accelerate=False), rtol=1e-4, atol=1e-6)
    assert len(tensorflow_memory._programs) == 1
