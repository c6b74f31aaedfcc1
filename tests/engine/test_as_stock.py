"""Other people's layers and data: the fast path gives what stock Keras gives, or steps aside and says so."""

import keras
import numpy as np
import pytest
import torch
from keras import layers as L  # noqa: N812
from stock import BACKEND, IMAGES, WORDS, X, Y, assert_as_stock, branching, classifier, nll_of_probabilities, on_torch

import kerasnets
from kerasnets import losses, optimizers
from kerasnets.engine import engine_of

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
