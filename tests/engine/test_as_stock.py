"""Other people's models, data and callbacks: the fast path gives what stock Keras gives, or steps aside and says so."""

import threading
import warnings

import keras
import numpy as np
import pytest
import torch
from keras import layers as L  # noqa: N812

import kerasnets
from kerasnets import losses, optimizers
from kerasnets.engine import engine_of, fallback

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


@pytest.fixture
def no_fallback(every_reason_is_said_again):
    """A fallback to stock Keras fails the test."""


# What used to be slow, or not to run


NOISE = {
    "dropout": lambda: L.Dropout(0.3, seed=3),
    "dropout without a seed": lambda: L.Dropout(0.3),
    "noise": lambda: L.GaussianNoise(0.1, seed=3),
    "noise dropout": lambda: L.GaussianDropout(0.1, seed=3),
    "alpha dropout": lambda: L.AlphaDropout(0.1, seed=3),
}


@pytest.mark.parametrize("name", NOISE)
@pytest.mark.usefixtures("no_fallback")
def test_random_layers_draw_what_stock_keras_draws(name):
    assert_as_stock(lambda: classifier(NOISE[name]()))


@pytest.mark.parametrize("name", ["RandomFlip", "RandomRotation", "RandomTranslation", "RandomContrast"])
@pytest.mark.usefixtures("no_fallback")
def test_augmentation_draws_what_stock_keras_draws(name):
    if BACKEND != "torch" and name in ("RandomRotation", "RandomTranslation"):
        pytest.skip("Keras can't compile it")
    arguments = {"RandomFlip": (), "RandomTranslation": (0.1, 0.1)}.get(name, (0.2,))
    assert_as_stock(lambda: classifier(getattr(L, name)(*arguments, seed=3), x=IMAGES), x=IMAGES, rtol=1e-3)


def adapted():
    layer = L.Normalization()
    layer.adapt(X)
    return layer


STEPS = {
    "L1": lambda: classifier(L.Dense(4, kernel_regularizer="l1", activity_regularizer="l1")),
    "normalization": lambda: classifier(adapted()),
    "spectral normalization": lambda: classifier(L.SpectralNormalization(L.Dense(4))),
    "loss scale": lambda: classifier(optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))),
    "accumulation": lambda: classifier(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)),
    "our accumulation": lambda: classifier(optimizer=optimizers.SGD(0.1, gradient_accumulation_steps=2)),
    "average": lambda: classifier(optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=2)),
    "Nadam": lambda: classifier(optimizer="nadam"),
    "warm-up": lambda: classifier(
        optimizer=keras.optimizers.SGD(
            keras.optimizers.schedules.CosineDecay(0.01, 10, warmup_target=0.1, warmup_steps=3)
        )
    ),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.usefixtures("no_fallback")
def test_steps_that_branch_or_hold_tensors(name):
    if BACKEND == "jax" and name == "average":
        pytest.skip("stock Keras donates one buffer twice in the second fit, and fails")
    assert_as_stock(STEPS[name])


RECURRENT = {
    "LSTM": lambda: L.LSTM(3),
    "GRU": lambda: L.Bidirectional(L.GRU(3)),
    "dropout": lambda: L.SimpleRNN(3, dropout=0.2, seed=1),
}


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.usefixtures("no_fallback")
def test_recurrent_layers(name):
    assert_as_stock(lambda: classifier(L.Embedding(9, 4, mask_zero=True), RECURRENT[name](), x=WORDS), x=WORDS)


@pytest.mark.usefixtures("no_fallback")
def test_mixed_float16():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert_as_stock(lambda: classifier(L.Dense(4)), rtol=1e-2)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("labels", [Y, Y[:, None], np.eye(3)[Y]])
@pytest.mark.usefixtures("no_fallback")
def test_class_weights_with_labels_in_every_shape(labels):
    loss = "categorical_crossentropy" if labels.shape[-1] == 3 else "sparse_categorical_crossentropy"
    assert_as_stock(lambda: classifier(loss=loss), y=labels, class_weight={0: 3.0, 2: 0.5})


# Data


def two_inputs(**compiled):
    a, b = keras.Input((6,), name="a"), keras.Input((2,), name="b")
    joined = L.Concatenate()([a, b])
    outputs = {"b": L.Dense(2, name="second")(joined), "a": L.Dense(1, name="first")(joined)}
    model = keras.Model({"a": a, "b": b}, outputs)
    model.compile(optimizer="sgd", loss={"a": "mse", "b": "mae"}, metrics={"b": ["mse"]}, **compiled)
    return kerasnets.accelerate(model)


@pytest.mark.parametrize("form", ["arrays", "loader"])
@pytest.mark.usefixtures("no_fallback")
def test_dicts_whose_keys_are_not_sorted(form):
    inputs, targets = {"b": X[:, :2], "a": X}, {"b": X[:, 2:4], "a": X[:, :1]}
    if form == "arrays":
        assert_as_stock(two_inputs, x=inputs, y=targets)
        return
    rows = [({k: v[i] for k, v in inputs.items()}, {k: v[i] for k, v in targets.items()}) for i in range(len(X))]
    loader = torch.utils.data.DataLoader(rows, batch_size=8)
    if BACKEND == "tensorflow":
        pytest.skip("stock Keras's from_generator sorts dicts of a loader otherwise")
    assert_as_stock(two_inputs, x=loader, y=None, batch_size=None)


def branching(x):
    return x if float(keras.ops.sum(x)) > -1e9 else -x


@on_torch
@pytest.mark.parametrize("name", [*STEPS, "noise", "a Python if"])
@pytest.mark.filterwarnings("ignore::kerasnets.engine.fallback.StockFitWarning")
def test_a_loader_with_every_step(name):
    others = {
        "noise": lambda: classifier(L.GaussianNoise(0.1, seed=3)),
        "a Python if": lambda: classifier(L.Lambda(branching), trust=True),
    }
    loader = torch.utils.data.DataLoader([*zip(X, Y, strict=True)], batch_size=8)
    assert_as_stock(STEPS.get(name) or others[name], x=loader, y=None, batch_size=None)


@on_torch
@pytest.mark.parametrize("change", ["bfloat16", "requires_grad", "double"])
def test_tensors_of_every_kind_in_a_loader(change):
    x = torch.from_numpy(X)
    x = {"bfloat16": x.bfloat16(), "requires_grad": x.clone().requires_grad_(), "double": x.double()}[change]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.from_numpy(Y)), batch_size=8)
    assert_as_stock(classifier, x=loader, y=None, batch_size=None)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x) // 8

    def __getitem__(self, index):
        return self.x[8 * index : 8 * index + 8], self.y[8 * index : 8 * index + 8]


@pytest.mark.parametrize("form", ["loader", "PyDataset", "validation"])
@pytest.mark.parametrize("loss", [nll_of_probabilities, lambda: "sparse_categorical_crossentropy"])
def test_a_label_out_of_range_is_named_or_nan(form, loss):
    wrong = Y.copy()
    wrong[10] = 7
    model = classifier(loss=loss())
    ours = not isinstance(model.loss, str)
    try:
        if form == "validation":
            name, history = "val_loss", model.fit(X, Y, validation_data=[X, wrong], verbose=0).history
        else:
            pairs = [*zip(X, wrong, strict=True)]
            data = Batches(X, wrong) if form == "PyDataset" else torch.utils.data.DataLoader(pairs, batch_size=8)
            name, history = "loss", model.fit(data, shuffle=False, verbose=0).history
    except ValueError as error:
        assert "target 7" in str(error)  # noqa: PT017 (an error or NaN, as the backend has it)
    except Exception:
        # TensorFlow's own error of its own loss.
        assert BACKEND == "tensorflow"
        assert not ours
    else:
        assert np.isnan(history[name]).all() or not ours


@on_torch
def test_shapes_that_alternate_keep_their_programs():
    """A program is made once for a shape, and only a bounded number of them is kept."""
    inputs = keras.Input((None, 6))
    model = keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling1D()(inputs)))
    model.compile(optimizer="sgd", loss=losses.CrossEntropyLoss())
    kerasnets.accelerate(model)
    programs = engine_of(model)._programs
    programs.bound = 3
    made = []
    original = programs.get

    def get(kind, key, held, trace, at_once=False):
        return original(kind, key, held, lambda: made.append(key) or trace(), at_once)

    programs.get = get
    by_length = [(np.ones((8, length, 6), "float32"), Y[:8]) for length in (2, 3, 4, 5)]
    for _ in range(3):
        for x, y in by_length[:2]:
            programs._price.clear()
            model.fit(x, y, batch_size=8, verbose=0)
    assert len(made) == len(set(made)) == 2
    for x, y in by_length:
        programs._price.clear()
        model.fit(x, y, batch_size=8, verbose=0)
    assert len(programs._kept) == 3


# What a model may override


class OwnTestStep(keras.Model):
    def test_step(self, *data):
        result = super().test_step(*data)
        if BACKEND == "jax":
            return {**result[0], "own": result[0]["loss"] * 0 + 7.0}, result[1]
        return {**result, "own": result["loss"] * 0 + 7.0}


class OwnMetrics(keras.Model):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {**super().compute_metrics(x, y, y_pred, sample_weight), "own": keras.ops.sum(y_pred) * 0 + 3.0}


class OwnResult(keras.Model):
    def get_metrics_result(self):
        return {name: value * 2 for name, value in super().get_metrics_result().items()}


class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, y_pred, sample_weight, training=training) * 2


@pytest.mark.parametrize("cls", [OwnTestStep, OwnMetrics, OwnResult, OwnLoss])
@pytest.mark.filterwarnings("ignore::kerasnets.engine.fallback.StockFitWarning")
def test_methods_of_the_models_own(cls):
    def make():
        inputs = keras.Input((6,))
        model = cls(inputs, L.Dense(3, activation="softmax")(inputs))
        model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return kerasnets.accelerate(model)

    assert_as_stock(make, validation_data=(X[:10], Y[:10]))


@pytest.mark.usefixtures("no_fallback")
def test_masks_reach_loss_and_metrics():
    def make():
        inputs = keras.Input((5,), dtype="int32")
        hidden = L.Embedding(9, 4, mask_zero=True)(inputs)
        model = keras.Model(inputs, L.Dense(3, activation="softmax")(hidden))
        weighted = [keras.metrics.SparseCategoricalAccuracy(name="weighted")]
        options = {"metrics": ["accuracy"], "weighted_metrics": weighted}
        model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", **options)
        return kerasnets.accelerate(model)

    weights = rng.uniform(0.5, 2, WORDS.shape).astype("float32")
    assert_as_stock(make, x=WORDS, y=WORDS % 3)
    assert_as_stock(make, x=WORDS, y=WORDS % 3, sample_weight=weights)


# Python's state


class Counting(L.Layer):
    """Counts its calls in Python, and multiplies by the count."""

    calls = 0

    def call(self, x):
        self.calls += 1
        return x * (1.0 + 0.1 * self.calls)


def noisy(x):
    return x + float(np.random.default_rng().integers(1, 2))


@pytest.mark.parametrize("layer", [Counting, lambda: L.Lambda(noisy), lambda: L.Activation(branching)])
@pytest.mark.filterwarnings("ignore::kerasnets.engine.fallback.StockFitWarning")
def test_python_code_of_the_users_own_runs_as_in_stock_keras(layer):
    if BACKEND != "torch" and layer is not Counting:
        pytest.skip("stock Keras can't trace it")
    assert_as_stock(lambda: classifier(layer()))


def change_by_epoch(change):
    """A callback that changes the model when its second epoch begins."""

    class Change(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                change(self.model)

    return Change


def set_rate(model):
    model.layers[0].rate = 0.7


def set_activation(model):
    model.layers[1].activation = keras.activations.tanh


def set_regularizer(model):
    model.layers[1].kernel._regularizer = keras.regularizers.L2(0.5)


def set_loss_weight(model):
    model.loss.weight = [1.0, 5.0, 0.1]


def set_optimizer(model):
    model.optimizer.clipnorm = 0.01


def freeze(model):
    model.layers[1].trainable = False


CHANGES = [set_rate, set_activation, set_regularizer, set_loss_weight, set_optimizer, freeze]


def changeable():
    return classifier(L.Dropout(0.2, seed=5), L.Dense(4, activation="relu"), loss=nll_of_probabilities())


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("no_fallback")
def test_attributes_changed_between_fits(change):
    if change is freeze and BACKEND == "tensorflow":
        pytest.skip("stock Keras keeps the step that it traced, and asks for a new compile")
    assert_as_stock(changeable, between=change)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("no_fallback")
def test_attributes_changed_by_a_callback(change):
    if change is freeze and BACKEND != "torch":
        pytest.skip("stock Keras asks for a new compile")
    assert_as_stock(changeable, callbacks=[change_by_epoch(change)])


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.usefixtures("no_fallback")
def test_batch_norm_frozen_or_thawed_without_a_new_compile(affine):
    def make():
        model = classifier(L.Dense(5), L.BatchNormalization(center=affine, scale=affine))
        model.layers[1].trainable = affine
        return model

    def toggle(model):
        model.layers[1].trainable = not affine

    assert_as_stock(make, between=toggle)


# Random numbers in predictions


class Always(L.Dropout):
    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


@pytest.mark.filterwarnings("ignore::kerasnets.engine.fallback.StockFitWarning")
@pytest.mark.parametrize("trust", [False, True])
def test_dropout_in_predictions_differs_by_batch_and_by_call(trust):
    model = classifier(Always(0.5), trust=trust)
    x = np.ones((24, 6), "float32")
    first, second = (model.predict(x, batch_size=8, verbose=0) for _ in range(2))
    assert np.abs(first[:8] - first[8:16]).max() > 1e-3
    assert np.abs(first - second).max() > 1e-3
    predict = kerasnets.predictor(model)
    assert np.abs(predict(x) - predict(x)).max() > 1e-3


# Traces leave nothing behind


class Unseeded(L.Layer):
    def call(self, x):
        return x + keras.random.normal((6,))


class Unfollowable(L.Layer):
    def call(self, x):
        keras.random.normal((6,))
        return branching(x)


@on_torch
@pytest.mark.parametrize("layer", [Unseeded, Unfollowable])
@pytest.mark.filterwarnings("ignore::kerasnets.engine.fallback.StockFitWarning")
def test_unseeded_noise_leaves_no_fake_tensor_behind(layer):
    def noise_after():
        keras.src.backend.common.global_state.set_global_attribute("global_seed_generator", None)
        keras.utils.set_random_seed(1)
        model = classifier(layer(), trust=True)
        before = torch.get_rng_state()
        history = model.fit(X, Y, batch_size=8, epochs=2, verbose=0, shuffle=False).history["loss"]
        assert keras.ops.convert_to_numpy(keras.random.normal((2,))).shape == (2,)
        return history, before

    (first, _), (second, _) = noise_after(), noise_after()
    assert len(set(first)) == 2
    assert first == second


@on_torch
def test_a_trace_is_invisible_to_other_threads():
    """While a step is traced, another thread sees the layers' own calls and gets the model's outputs."""
    loss = losses.NLLLoss(from_probabilities=True)
    model = classifier(L.Dense(4, activation="relu"), L.BatchNormalization(), loss=loss)
    expected = keras.ops.convert_to_numpy(model(X))
    model.optimizer.learning_rate = 0.0
    model.layers[1].momentum = 1.0
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            changed = [layer.name for layer in model.layers if "call" in vars(layer)]
            seen.append((changed, np.abs(keras.ops.convert_to_numpy(model(X)) - expected).max()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for size in (5, 6, 7, 8):
            engine_of(model)._programs._price.clear()
            model.fit(X, Y, batch_size=size, verbose=0, shuffle=False)
    finally:
        stop.set()
        thread.join()
    assert seen
    assert not any(changed for changed, _ in seen)
    assert max(off for _, off in seen) < 1e-5


@on_torch
def test_a_bug_of_ours_is_not_taken_for_a_step_that_cant_be_traced(monkeypatch):
    from kerasnets.engine.torch import step

    monkeypatch.setattr(step, "call_of", lambda layer: {}["no such layer"])
    with pytest.raises(KeyError, match="no such layer"):
        classifier().fit(X, Y, verbose=0)


# Backends' own ways


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute")
def test_a_strategy_in_use_goes_through_stock_keras():
    import tensorflow as tf

    model = classifier(optimizer=optimizers.SGD(0.1))
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    fallback._said.clear()
    with strategy.scope(), pytest.warns(fallback.StockFitWarning, match=r"tf\.distribute"):
        model.fit(X, Y, verbose=0)


@pytest.mark.usefixtures("no_fallback")
def test_an_optional_input():
    def make():
        a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b", optional=True)
        model = keras.Model({"a": a, "b": b}, L.Dense(3, activation="softmax")(OptionalSum()([a, b])))
        model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
        return kerasnets.accelerate(model, trust=True)

    assert_as_stock(make, x={"a": X, "b": None})


class OptionalSum(L.Layer):
    def call(self, inputs):
        return inputs[0] if inputs[1] is None else inputs[0] + inputs[1]

    def compute_output_shape(self, shapes):
        return shapes[0]


# Seeds


@pytest.mark.parametrize("form", ["loader", "generator"])
def test_a_seed_for_data_with_its_own_order_is_refused(form):
    data = torch.utils.data.DataLoader([*zip(X, Y, strict=True)]) if form == "loader" else iter(())
    with pytest.raises(ValueError, match="seed=3 sets the order of arrays"):
        classifier().fit(data, seed=3, shuffle=False, verbose=0)


@pytest.mark.parametrize("options", [{}, {"steps_per_epoch": 3}, {"class_weight": {0: 2.0}}])
def test_a_seed_gives_the_same_order_with_stock_steps(options):
    def losses_of(accelerate):
        keras.utils.set_random_seed(1)
        model = classifier(Counting if accelerate is None else L.Dense(4))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fallback.StockFitWarning)
            return model.fit(X, Y, batch_size=8, epochs=3, seed=5, verbose=0, accelerate=accelerate, **options)

    np.testing.assert_allclose(losses_of(True).history["loss"], losses_of(False).history["loss"], rtol=1e-5)
    assert np.isfinite(losses_of(None).history["loss"]).all()
