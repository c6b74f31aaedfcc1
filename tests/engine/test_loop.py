"""What surrounds the fast step: callbacks, printed lines, seeds, errors, and what goes through stock Keras."""

import keras
import numpy as np
import pytest
import torch
from small import small_network

import kerasnets
from kerasnets import backend, engine, layers, losses, models, optimizers
from kerasnets.engine import fallback
from kerasnets.training.callbacks import StepLog

pytestmark = pytest.mark.usefixtures("every_reason_is_said_again")


@pytest.fixture(scope="module")
def arrays():
    (x, y), _ = kerasnets.load_data("fashion_mnist_sample")
    return x[:100], y[:100]


def small(kind=models.Sequential, rate=0.05, more=(), **compiled):
    """A compiled network of few weights, always the same ones."""
    keras.utils.set_random_seed(7)
    return small_network(more=more, kind=kind, **{"optimizer": optimizers.SGD(rate, momentum=0.9), **compiled})


def fit(model, arrays, **options):
    x, y = arrays
    return model.fit(x, y, **{"batch_size": 20, "epochs": 4, "shuffle": False, "verbose": 0, **options})


def both_ways(arrays, make, **options):
    """History and weights of stock and of fast fit, each with callbacks of its own from `make(model, way)`."""
    results = []
    for way in ("stock", "fast"):
        model = small()
        callbacks = make(model, way)
        history = fit(model, arrays, callbacks=callbacks, accelerate=way == "fast", **options)
        results.append((model, callbacks, history))
    stock, fast = results
    assert list(fast[2].history) == list(stock[2].history)
    for name, expected in stock[2].history.items():
        np.testing.assert_allclose(fast[2].history[name], expected, rtol=1e-3, atol=1e-4, err_msg=name)
    assert fast[2].epoch == stock[2].epoch
    for expected, actual in zip(stock[0].get_weights(), fast[0].get_weights(), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)
    return stock, fast


# Callbacks


class Recorder(keras.callbacks.Callback):
    """Writes down every call."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __getattribute__(self, name):
        if name.startswith("on_") and name not in ("on_batch_begin", "on_batch_end"):
            return lambda *args, logs=None: self.calls.append(
                (name, *[sorted(a) if isinstance(a, dict) else a for a in args], sorted(logs or ()))
            )
        return super().__getattribute__(name)


def test_every_callback_is_called_as_by_stock_keras(arrays):
    x, y = arrays
    (_, (expected,), _), (_, (actual,), _) = both_ways(
        arrays, lambda model, way: [Recorder()], epochs=2, validation_data=(x[:30], y[:30]), validation_freq=2
    )
    assert actual.calls == expected.calls
    batches = [call[1] for call in actual.calls if call[0] == "on_train_batch_end"]
    assert batches == [0, 1, 2, 3, 4] * 2


def test_epoch_callbacks(arrays, tmp_path):
    """Keras's own; the learning rate is too large at the end, so that training stops early."""
    x, y = arrays

    def make(model, way):
        def schedule(epoch, rate):
            return rate if epoch < 2 else 30.0

        folder = tmp_path / way
        folder.mkdir()
        return [
            keras.callbacks.LearningRateScheduler(schedule),
            keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True),
            keras.callbacks.ModelCheckpoint(str(folder / "epoch-{epoch}.weights.h5"), save_weights_only=True),
            keras.callbacks.ModelCheckpoint(str(folder / "best.keras"), monitor="val_loss", save_best_only=True),
            keras.callbacks.ModelCheckpoint(
                str(folder / "batch-{epoch}-{batch}.weights.h5"), save_weights_only=True, save_freq=3
            ),
            keras.callbacks.CSVLogger(str(folder / "log.csv")),
            keras.callbacks.BackupAndRestore(str(folder / "backup"), delete_checkpoint=False),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: (folder / f"lambda-{epoch}").touch()),
        ]

    stock, fast = both_ways(arrays, make, epochs=9, validation_data=(x[:30], y[:30]))
    assert len(fast[2].epoch) == 3  # the two good epochs, and one with a rate that only harms
    names = [sorted(path.name for path in (tmp_path / way).iterdir()) for way in ("stock", "fast")]
    assert names[1] == names[0]
    assert "batch-1-3.weights.h5" in names[1]
    lines = [(tmp_path / way / "log.csv").read_text().splitlines()[0] for way in ("stock", "fast")]
    assert lines[1] == lines[0]
    best = keras.models.load_model(tmp_path / "fast" / "best.keras")
    for a, b in zip(best.get_weights(), fast[0].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert stock[2].epoch == fast[2].epoch


def test_resumed_by_keras_backup(arrays, tmp_path):
    """A run that is stopped in its third epoch goes on from there."""

    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 12:
                raise KeyboardInterrupt

    whole = small()
    expected = fit(whole, arrays, shuffle=True, seed=5).history["loss"]
    options = {"shuffle": True, "seed": 5}
    with pytest.raises(KeyboardInterrupt):
        fit(small(), arrays, callbacks=[keras.callbacks.BackupAndRestore(str(tmp_path)), Kill()], **options)
    resumed = small()
    history = fit(resumed, arrays, callbacks=[keras.callbacks.BackupAndRestore(str(tmp_path))], **options)
    assert history.epoch == [2, 3]
    np.testing.assert_allclose(history.history["loss"], expected[2:], rtol=1e-5)


def test_callbacks_that_change_the_training_by_the_batch(arrays):
    class Rate(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.05 / (2 + batch)
            if int(self.model.optimizer.iterations) == 13:
                self.model.stop_training = True

    _, fast = both_ways(arrays, lambda model, way: [Rate()])
    assert int(fast[0].optimizer.iterations) == 13
    assert fast[2].epoch == [0, 1, 2]
    assert fast[0].stop_training


def test_a_subclass_of_a_known_callback_gets_its_batches(arrays, tmp_path):
    class Counting(keras.callbacks.ModelCheckpoint):
        seen = 0

        def on_train_batch_end(self, batch, logs=None):
            self.seen += 1
            super().on_train_batch_end(batch, logs)

    callback = Counting(str(tmp_path / "a.weights.h5"), save_weights_only=True)
    fit(small(), arrays, callbacks=[callback], epochs=1)
    assert callback.seen == 5


def test_tensorboard(arrays, tmp_path):
    pytest.importorskip("tensorboard")
    pytest.importorskip("tensorflow", reason="Keras's TensorBoard writes through TensorFlow")
    fit(small(), arrays, callbacks=[keras.callbacks.TensorBoard(str(tmp_path), update_freq=2)], epochs=2)
    assert [path.stat().st_size for path in tmp_path.glob("train/*")]


def test_initial_epoch_and_logs_by_the_step(arrays, capsys):
    (_, _, expected), (_, _, actual) = both_ways(arrays, lambda model, way: [StepLog(2)], initial_epoch=2, epochs=4)
    assert actual.epoch == expected.epoch == [2, 3]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch [")]
    assert lines[:4] == lines[4:]
    assert lines[0].startswith("Epoch [3/4], Step [2/5], Loss: ")


def test_progress_bar(arrays, capsys):
    """The last line of every epoch is stock Keras's but for the time."""
    printed = []
    for accelerate in (False, True):
        fit(small(), arrays, epochs=2, verbose=1, accelerate=accelerate, validation_split=0.2)
        last = [line.split("\r")[-1].split("\x08")[-1] for line in capsys.readouterr().out.splitlines()]
        printed.append([(line.split(" ")[0], line.split(" - ")[1:]) for line in last if "/4" in line])
    assert [counted for counted, _ in printed[1]] == [counted for counted, _ in printed[0]]
    names = [[[part.split(":")[0] for part in parts] for _, parts in lines] for lines in printed]
    assert names[1] == names[0]


# Seeds


def test_seeds(arrays):
    """One seed, one history; dropout differs from step to step, and so does the order."""

    def losses_of(global_seed, **options):
        model = small(more=[keras.layers.Dropout(0.5)])
        keras.utils.set_random_seed(global_seed)
        return fit(model, arrays, shuffle=True, epochs=2, **options).history["loss"]

    losses_of(1)  # the first dropout of a process draws another seed on JAX, in stock Keras as well
    first = losses_of(1)
    assert losses_of(1) == first
    assert losses_of(2) != first
    assert losses_of(1, seed=4) != first
    assert losses_of(1, seed=4) == losses_of(1, seed=4)


def test_dropout_drops_other_units_at_every_step():
    """Without learning, the losses of equal batches differ by what is dropped."""
    x, y = np.ones((60, 28, 28), "float32"), np.zeros(60, "int64")
    model = small(rate=0.0, more=[keras.layers.Dropout(0.5)])
    steps = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(logs["loss"]))
    history = fit(model, (x, y), epochs=2, callbacks=[callback]).history["loss"]
    assert len(set(steps)) == 6
    assert history[0] != history[1]
    assert len(set(fit(small(rate=0.0), (x, y), epochs=3).history["loss"])) == 1


# What stock Keras has to do


class OwnStep(models.Model):
    def train_step(self, *args):
        return super().train_step(*args)


class Dataset(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rows = slice(20 * index, 20 * index + 20)
        return self.x[rows], self.y[rows]


def generator(x, y):
    while True:
        yield from (Dataset(x, y)[i] for i in range(5))


class Halved(keras.layers.Layer):
    """A layer of the user's own."""

    def call(self, x):
        return x * 0.5


def halved(x):
    return x * 0.5


def test_what_runs_through_stock_keras_is_said_once(arrays):
    x, y = arrays
    inputs = keras.Input((28, 28))
    own = OwnStep(inputs, layers.Linear(10)(layers.Flatten()(inputs)))
    own.compile(optimizer="sgd", loss=losses.CrossEntropyLoss())
    cases = {
        "OwnStep has its own train_step": lambda: own.fit(x, y, verbose=0),
        "run_eagerly is on": lambda: fit(small(run_eagerly=True), arrays, epochs=1),
        "the layer Halved is not one of Keras's": lambda: fit(small(more=[Halved()]), arrays, epochs=1),
        "the layer 'act' calls a function that is not Keras's": lambda: fit(
            small(more=[keras.layers.Activation(halved, name="act")]), arrays, epochs=1
        ),
        "calls a function that is not": lambda: fit(small(metrics=[lambda a, b: keras.ops.sum(b)]), arrays, epochs=1),
    }
    if keras.config.backend() != "torch":
        cases["steps_per_execution=2"] = lambda: fit(small(steps_per_execution=2), arrays, epochs=1)
    if keras.config.backend() == "torch":
        rate = kerasnets.accelerate(small(rate=lambda: 0.01), trust=True)
        cases["the learning rate is a Python function"] = lambda: fit(rate, arrays)
    for reason, call in cases.items():
        with pytest.warns(fallback.StockFitWarning, match=reason) as said:
            call()
        (said,) = (each for each in said if each.category is fallback.StockFitWarning)
        assert said.filename == __file__
    trusted = kerasnets.accelerate(small(more=[Halved()]), trust=True)
    assert np.isfinite(fit(trusted, arrays).history["loss"]).all()


def test_every_form_of_data_without_a_warning(arrays):
    x, y = arrays
    for data in (Dataset(x, y), generator(x, y)):
        small().fit(data, steps_per_epoch=5, verbose=0, shuffle=False)
    small().fit(x, y, validation_data=generator(x, y), validation_steps=2, verbose=0)
    small().evaluate(x, y, steps=2, verbose=0)
    small().fit(x, y, steps_per_epoch=2, shuffle="batch", verbose=0)


def test_what_cant_be_traced_goes_through_stock_keras(arrays):
    class Untraceable(keras.layers.Layer):
        def call(self, x):
            return x if float(keras.ops.sum(x)) > -1e9 else -x

    if keras.config.backend() != "torch":
        pytest.skip("stock Keras can't trace it either")
    model = kerasnets.accelerate(small(more=[Untraceable()]), trust=True)
    with pytest.warns(fallback.StockFitWarning, match="can't be traced"):
        assert np.isfinite(fit(model, arrays).history["loss"]).all()
    fit(model, arrays)


@pytest.mark.parametrize("way", ["argument", "variable"])
def test_switched_off(way, arrays, monkeypatch):
    monkeypatch.setattr(engine, "engine_of", None)
    options = {"accelerate": False} if way == "argument" else {}
    if way == "variable":
        monkeypatch.setenv("KERASNETS_ACCELERATE", "0")
    model = small(run_eagerly=True)
    fit(model, arrays, epochs=1, **options)
    model.evaluate(*arrays, verbose=0, **options)
    model.predict(arrays[0], verbose=0, **options)
    stock = kerasnets.accelerate(small(keras.Sequential))
    fit(stock, arrays, epochs=1, **options)
    stock.predict(arrays[0], verbose=0, **options)


# Data


def loader(x, y, **options):
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    return torch.utils.data.DataLoader(pairs, batch_size=32, **options)


def test_a_data_loader_keeps_the_fast_step(arrays):
    x, y = arrays
    model = small()
    held_out = loader(x[:40], y[:40])
    actual = model.fit(loader(x, y), epochs=2, shuffle=False, verbose=0, validation_data=held_out).history
    other = small()
    expected = other.fit(
        x, y, batch_size=32, epochs=2, shuffle=False, verbose=0, validation_data=(x[:40], y[:40]), accelerate=False
    )
    assert list(actual) == list(expected.history)
    for name, values in expected.history.items():
        np.testing.assert_allclose(actual[name], values, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(model.evaluate(loader(x, y), verbose=0), other.evaluate(x, y, verbose=0), rtol=1e-4)
    np.testing.assert_allclose(
        model.predict(loader(x, y), verbose=0), other.predict(x, verbose=0), rtol=1e-3, atol=1e-4
    )


def test_a_wrong_label_in_a_data_loader_is_never_silent(arrays):
    x, y = arrays
    wrong = y.copy()
    wrong[40] = 10
    model = small()
    try:
        history = model.fit(loader(x, wrong), shuffle=False, verbose=0).history
    except ValueError as error:
        assert "target 10" in str(error)  # noqa: PT017 (an error or NaN, as the backend has it)
    else:
        assert np.isnan(history["loss"]).all()


def test_an_error_in_the_middle_leaves_the_model_usable(arrays):
    x, y = arrays
    model = small()

    class Broken(torch.utils.data.Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, index):
            if index == 50:
                raise OSError("the disk is gone")
            return x[index], y[index]

    with pytest.raises(Exception, match="the disk is gone"):  # TensorFlow wraps it
        model.fit(torch.utils.data.DataLoader(Broken(), batch_size=16), shuffle=False, verbose=0)
    # TensorFlow's pipeline looks at the data twice before it begins, and its last step may have begun. On JAX the next
    # batch is sent to a GPU before the step.
    steps = {"tensorflow": (3, 4), "jax": (3,) if backend.device() == "cpu" else (2, 3), "torch": (3,)}
    assert int(model.optimizer.iterations) in steps[keras.config.backend()]
    assert np.isfinite(fit(model, arrays).history["loss"]).all()
    stop = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: 1 / (batch - 2))
    with pytest.raises(ZeroDivisionError):
        fit(model, arrays, callbacks=[stop])
    assert np.isfinite(fit(model, arrays).history["loss"]).all()


def test_arrays_as_they_come(arrays):
    """Read-only, reversed, in other types, and on the device already."""
    x, y = arrays
    expected = fit(small(), arrays).history["loss"]
    frozen = x.copy()
    frozen.flags.writeable = False
    backwards = x[::-1].copy()[::-1]
    for images, labels in (
        (frozen, y),
        (backwards, y.astype("uint8")),
        (x.astype("float64"), y.astype("int32")),
        (keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)),
    ):
        np.testing.assert_allclose(fit(small(), (images, labels)).history["loss"], expected, rtol=1e-6)


def test_errors_are_stock_keras_errors(arrays):
    x, y = arrays
    model = kerasnets.accelerate(small(keras.Sequential))
    for arguments in (
        {"x": x[:, :5], "y": y},
        {"x": x, "y": y[:-1]},
        {"x": loader(x, y), "y": y, "shuffle": False},
        {"x": loader(x, y), "validation_split": 0.5, "shuffle": False},
        {"x": x, "y": y, "validation_split": 1.0},
        {"x": x, "y": y, "class_weight": {0: 1.0}, "sample_weight": np.ones(100)},
    ):
        errors = []
        for accelerate in (False, True):
            with pytest.raises(Exception) as error:  # noqa: PT011
                model.fit(**arguments, verbose=0, accelerate=accelerate)
            errors.append((error.type, str(error.value).splitlines()[0]))
        assert errors[1] == errors[0]
    fresh = kerasnets.accelerate(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match="You must call `compile\\(\\)`"):
        fresh.fit(np.zeros((4, 3)), np.zeros((4, 2)))


# kerasnets.accelerate


def test_an_accelerated_model_is_what_it_was(arrays, tmp_path):
    model = small(keras.Sequential)
    assert kerasnets.accelerate(model) is model
    fit(model, arrays)
    model.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    assert type(loaded) is keras.Sequential
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for other in (loaded, copy):
        np.testing.assert_allclose(
            other.predict(arrays[0], verbose=0), model.predict(arrays[0], verbose=0), rtol=1e-4, atol=1e-5
        )
    built_later = kerasnets.accelerate(keras.Sequential([layers.Flatten(), layers.Linear(10)]))
    built_later.compile(optimizer=optimizers.SGD(), loss=losses.CrossEntropyLoss())
    assert np.isfinite(fit(built_later, arrays).history["loss"]).all()


def test_accelerate_refuses_a_subclassed_model():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(TypeError, match="got a Subclassed; expected a Functional or Sequential"):
        kerasnets.accelerate(Subclassed())


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="only there stock Keras takes 'auto' for False")
@pytest.mark.parametrize(("given", "through_xla"), [({}, True), ({"jit_compile": False}, False)])
def test_xla_unless_jit_compile_is_off_on_tensorflow(arrays, monkeypatch, given, through_xla):
    from kerasnets.engine import tensorflow_memory

    monkeypatch.setattr(tensorflow_memory, "_programs", {})
    fit(small(**given), arrays, epochs=1)
    assert [program is not None for program in tensorflow_memory._programs.values()] == [True] * through_xla
