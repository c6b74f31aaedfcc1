"""Data that comes batch by batch: whatever is collected into blocks, results and callbacks are stock Keras's."""

import contextlib
import warnings

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import backend, losses
from kerasnets.engine import stream

N, SIZE = 203, 8
#: Where batches are collected into blocks.
COLLECTS = keras.config.backend() == "tensorflow" or (keras.config.backend() == "jax" and backend.device() == "cpu")
random = np.random.default_rng(0)
X = random.normal(size=(N, 6)).astype("float32")
Y = random.integers(0, 3, N).astype("int32")


def pairs(x=X, y=Y, size=SIZE):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


class Batches(keras.utils.PyDataset):
    """A data set that records what is taken from it, and when an epoch begins."""

    def __init__(self, batches, length=None):
        super().__init__()
        self.batches, self.length, self.seen = batches, len(batches) if length is None else length, []

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        self.seen.append(index)
        return self.batches[index]

    def on_epoch_end(self):
        self.seen.append("end")


class Infinite(Batches):
    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        return super().__getitem__(index % self.length)


def forever(batches):
    while True:
        yield from batches


def dataset(batches, repeat=1):
    tf = (
        pytest.importorskip("tensorflow") if keras.config.backend() == "tensorflow" else pytest.skip("needs TensorFlow")
    )
    x, y = (np.concatenate(each) for each in zip(*batches, strict=True))
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(SIZE).repeat(repeat)


def unknown_length(batches):
    """Keras learns only by its end how long it is."""
    return dataset(batches).filter(lambda x, y: True) if keras.config.backend() == "tensorflow" else generator(batches)


def generator(batches):
    if keras.config.backend() == "tensorflow":
        pytest.skip("stock Keras reads ahead, and begins again without what it has read")
    yield from batches


FORMS = {
    "generator": lambda: generator(pairs()),
    "endless generator": lambda: generator(forever(pairs())),
    "PyDataset": lambda: Batches(pairs()),
    "endless PyDataset": lambda: Infinite(pairs()),
    "tf.data": lambda: dataset(pairs()),
    "endless tf.data": lambda: dataset(pairs(), repeat=None),
}


def classifier(**compiled):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(3)])
    model.compile(
        **{"optimizer": "adam", "loss": losses.CrossEntropyLoss(), "metrics": ["accuracy"], "jit_compile": "auto"}
        | compiled
    )
    return kerasnets.accelerate(model)


class Numbers(keras.callbacks.Callback):
    """Records the calls with their numbers, and the names of the logs."""

    def __init__(self, look_at_batches):
        super().__init__()
        self.calls = []
        if look_at_batches:
            self.on_train_batch_begin = lambda batch, logs=None: self.calls.append(("begin", batch))
            self.on_train_batch_end = lambda batch, logs=None: self.calls.append(("end", batch, *logs))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("epoch", epoch, self.params["steps"]))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("epoch end", epoch, *logs))

    def on_test_end(self, logs=None):
        self.calls.append(("test", *logs))


def both(make_data, look=False, optimizer="adam", **options):
    """Results of stock and fast fit on the same data; they must agree."""
    found = []
    for fast in (False, True):
        model, numbers, data = classifier(optimizer=optimizer), Numbers(look), make_data()
        validation = options.get("validation_data")
        given = options | ({"validation_data": validation()} if callable(validation) else {})
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            history = model.fit(
                data, epochs=3, shuffle=False, verbose=0, callbacks=[numbers], accelerate=fast, **given
            ).history
        ran_out = sum("ran out of data" in str(each.message) for each in said)
        seen = getattr(data, "seen", None)
        found.append((history, model.get_weights(), numbers.calls, ran_out, seen))
    stock, fast = found
    assert list(stock[0]) == list(fast[0])
    for name in stock[0]:
        np.testing.assert_allclose(fast[0][name], stock[0][name], rtol=2e-5, err_msg=name)
    for expected, actual in zip(stock[1], fast[1], strict=True):
        np.testing.assert_allclose(actual, expected, atol=2e-5)
    assert fast[2:4] == stock[2:4]
    return stock, fast


@pytest.fixture
def joined(monkeypatch):
    """Counts the batches that ran in blocks."""
    counts = []
    stock = stream.Stream._join

    def join(self, batches, most):
        counts.append(len(batches))
        return stock(self, batches, most)

    monkeypatch.setattr(stream.Stream, "_join", join)
    return counts


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps", [None, 26, 10, 7])
@pytest.mark.parametrize("look", [False, True])
def test_as_stock(form, steps, look, joined):
    if steps is None and "endless" in form:
        pytest.skip("stock Keras wouldn't end")
    stock, fast = both(FORMS[form], look, steps_per_epoch=steps)
    if COLLECTS and not look:
        assert sum(joined) > 0
    if form.endswith("PyDataset") and keras.config.backend() == "jax":  # elsewhere Keras reads ahead
        assert fast[4] == stock[4]
    if look:
        assert not joined


@pytest.mark.parametrize("form", FORMS)
def test_validation_and_evaluate_as_stock(form):
    steps = 5 if "endless" in form else None
    warnings.filterwarnings("ignore", message="Your input ran out of data")
    both(lambda: Batches(pairs()), validation_data=FORMS[form], validation_steps=steps)
    model = classifier()
    found = [model.evaluate(FORMS[form](), steps=steps, verbose=0, accelerate=fast) for fast in (False, True)]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_validation_arrays(joined):
    both(lambda: Batches(pairs()), validation_data=(X[:50], Y[:50]))
    assert bool(joined) == COLLECTS


@pytest.mark.parametrize("count", [1, 3, 15, 16, 17, 20, 33])
@pytest.mark.parametrize("steps", [None, 16, 20])
def test_data_that_ends_too_soon(count, steps):
    # Not Adam: on TensorFlow stock Keras counts the step that finds no data.
    both(lambda: unknown_length(pairs()[:1] * count), optimizer="sgd", steps_per_epoch=steps)


def test_lengths_that_change(joined):
    """Batches of several widths: whichever are joined, all are trained on, in their order."""

    def ragged():
        widths = [5, 7, 7, 5, 5, 9, 9, 5, 5, 5, 7, 7]
        draw = np.random.default_rng(1)
        return [
            (draw.normal(size=(4, w, 3)).astype("float32"), draw.normal(size=(4, 1)).astype("float32")) for w in widths
        ]

    def text_model():
        keras.utils.set_random_seed(1)
        pooled = [keras.layers.Conv1D(4, 3), keras.layers.GlobalMaxPooling1D(), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((None, 3)), *pooled])
        model.compile(optimizer="sgd", loss="mse")
        return kerasnets.accelerate(model)

    losses_of = [
        text_model().fit(Batches(ragged()), epochs=3, verbose=0, shuffle=False, accelerate=fast).history["loss"]
        for fast in (False, True)
    ]
    np.testing.assert_allclose(losses_of[1], losses_of[0], rtol=1e-5)


def test_large_batches_arent_collected(joined, monkeypatch):
    monkeypatch.setattr(stream, "_MOST_BYTES", 2 * X[:SIZE].nbytes)
    both(lambda: Batches(pairs()))
    assert not joined or max(joined) == 1


@pytest.mark.parametrize("data", ["dict", "weights", "double"])
def test_structures(data):
    def batches():
        for x, y in pairs()[:12]:
            if data == "dict":
                yield {"b": x[:, 3:], "a": x[:, :3]}, y
            elif data == "weights":
                yield x, y, np.linspace(0, 1, len(x))
            else:
                yield x.astype("float64"), y

    def model():
        keras.utils.set_random_seed(3)
        if data != "dict":
            return classifier()
        a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
        two = keras.Model({"a": a, "b": b}, keras.layers.Dense(3)(keras.layers.Concatenate()([a, 2 * b])))
        two.compile("sgd", losses.CrossEntropyLoss())
        return kerasnets.accelerate(two)

    warnings.filterwarnings("ignore", message="Your input ran out of data")
    found = [
        model().fit(batches(), verbose=0, shuffle=False, accelerate=fast).history["loss"] for fast in (False, True)
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_an_error_in_a_generator_keeps_the_weights():
    """Those after the steps before it, as in stock Keras."""

    def failing():
        yield from pairs()[:20]
        raise RuntimeError("no more")

    weights = []
    for fast in (False, True):
        model = classifier(optimizer="sgd")
        with contextlib.suppress(Exception):
            model.fit(failing(), verbose=0, shuffle=False, accelerate=fast)
        weights.append([np.array(each) for each in model.get_weights()])
        model.fit(X, Y, verbose=0)  # it can go on
    if keras.config.backend() != "tensorflow":  # where batches are read ahead
        for expected, actual in zip(*weights, strict=True):
            np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_a_label_out_of_range_is_named(joined):
    wrong = Y.copy()
    wrong[100] = 7
    model = classifier()
    if keras.config.backend() == "jax" and not COLLECTS:  # where Keras's own step runs, the loss tells
        assert np.isnan(model.fit(Batches(pairs(y=wrong)), verbose=0, shuffle=False).history["loss"])
        return
    with pytest.raises(ValueError, match="7"):
        model.fit(Batches(pairs(y=wrong)), verbose=0, shuffle=False)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_the_progress_bar_moves(capsys):
    classifier().fit(Batches(pairs() * 10), verbose=1, shuffle=False)
    assert "260/260" in capsys.readouterr().out
