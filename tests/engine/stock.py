"""A model through the fast path and through stock Keras, from the same weights on the same batches."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

import kerasnets
from kerasnets import losses

BACKEND = keras.config.backend()
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="only PyTorch's steps are traced by kerasnets")
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(24, 6)).astype("float32"), rng.integers(0, 3, 24)
IMAGES = rng.normal(size=(24, 8, 8, 3)).astype("float32")
WORDS = rng.integers(1, 9, size=(24, 5)).astype("int32")
WORDS[::2, 3:] = 0


def nll_of_probabilities():
    """A loss of kerasnets' for a softmax."""
    return losses.NLLLoss(from_probabilities=True)


def classifier(*hidden, x=X, optimizer="sgd", loss="sparse_categorical_crossentropy", trust=False, **compiled):
    """A compiled and accelerated classifier of three classes."""
    parts = [part() if isinstance(part, type) else part for part in hidden]
    head = [L.Flatten(), L.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=x.dtype), *parts, *head])
    model.compile(optimizer=optimizer, loss=loss, **{"metrics": ["accuracy"], **compiled})
    return kerasnets.accelerate(model, trust=trust)


def run(model, x=X, y=Y, callbacks=(), between=None, **options):
    """History, weights, metrics and predictions after two fits, with a change in between."""
    options = {"batch_size": 8, "epochs": 2, "verbose": 0, "shuffle": False, **options}
    fast = options["accelerate"]
    first = model.fit(x, y, callbacks=[make() for make in callbacks], **options).history
    if between is not None:
        between(model)
    second = model.fit(x, y, callbacks=[make() for make in callbacks], **options).history
    held_out = (x, y) if y is None or isinstance(x, np.ndarray | dict | list | tuple) else (x, None)
    metrics = model.evaluate(*held_out, verbose=0, return_dict=True, accelerate=fast)
    predictions = model.predict(x, verbose=0, accelerate=fast)
    return {"first": first, "second": second, "metrics": metrics}, [model.get_weights(), predictions]


def assert_as_stock(make, rtol=1e-4, **options):
    """Both ways from the same weights and the same random numbers, on the same batches; the same error, if any."""
    keras.utils.set_random_seed(1)
    try:
        stock = run(make(), accelerate=False, **options)
    except Exception as error:
        keras.utils.set_random_seed(1)
        with pytest.raises(type(error)):
            run(make(), accelerate=True, **options)
        return
    keras.utils.set_random_seed(1)
    fast = run(make(), accelerate=True, **options)
    for part, expected in stock[0].items():
        assert list(fast[0][part]) == list(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(fast[0][part][name], values, rtol=rtol, atol=1e-5, err_msg=f"{part} {name}")
    for actual, expected in zip(keras.tree.flatten(fast[1]), keras.tree.flatten(stock[1]), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=10 * rtol, atol=1e-5)


def branching(x):
    return x if float(keras.ops.sum(x)) > -1e9 else -x
