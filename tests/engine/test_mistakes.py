"""The classic mistakes are caught before the first step: in fit, in accelerated stock models and in predictor."""

import warnings

import keras
import numpy as np
import pytest
import torch
from small import small_network

import kerasnets
from kerasnets import layers, losses, models, optimizers
from kerasnets.engine.mistakes import LikelyMistakeWarning

X = np.random.default_rng(0).uniform(-1, 1, (20, 28, 28)).astype("float32")
RAW = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype("float32")
Y = np.arange(20) % 10


def ours(output=None, loss=None, begin=()):
    end = [] if output is None else [keras.layers.Activation(output)]
    return small_network(*end, more=begin, loss=loss or losses.CrossEntropyLoss(), metrics=None)


def stock(output=None, loss="sparse_categorical_crossentropy", begin=()):
    model = keras.Sequential([keras.Input((28, 28)), *begin, keras.layers.Flatten(), keras.layers.Dense(10, output)])
    model.compile(optimizer="sgd", loss=loss)
    return kerasnets.accelerate(model)


def use_often(model, x):
    model.fit(x, Y, verbose=0, epochs=2)
    model.fit(x, Y, verbose=0)
    model.evaluate(x, Y, verbose=0)
    model.predict(x, verbose=0)


def ours_of(said):
    return [warning for warning in said if warning.category is LikelyMistakeWarning]


@pytest.mark.parametrize("name", ["NeuralNetwork", "Net"])
def test_raw_pixels_are_a_warning_in_every_method(name):
    def make():
        model = kerasnets.build(name)
        model.compile(optimizer=optimizers.SGD(0.1), loss=losses.CrossEntropyLoss())
        return model

    raw = RAW if name == "NeuralNetwork" else np.pad(RAW, [(0, 0), (2, 2), (2, 2)])
    for call in (
        lambda: make().fit(raw, Y, verbose=0),
        lambda: make().fit(raw, Y, verbose=0, accelerate=False),
        lambda: make().fit(raw / 255, Y, validation_data=(raw, Y), verbose=0),
        lambda: make().evaluate(raw, Y, verbose=0),
        lambda: make().predict(raw, verbose=0),
        lambda: make().train_on_batch(raw, Y),
        lambda: kerasnets.predictor(make())(raw),
        lambda: kerasnets.predictor(make())(raw[0]),
    ):
        with pytest.warns(LikelyMistakeWarning, match=r"values from 0 to 25\d; expected about -1 to 1.*127\.5 - 1"):
            call()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_raw_pixels_are_a_warning_in_accelerated_models_once(dtype):
    model = stock("softmax")
    with pytest.warns(LikelyMistakeWarning, match="values from 0 to 255") as said:
        use_often(model, RAW.astype(dtype))
    assert len(ours_of(said)) == 1
    assert ours_of(said)[0].filename == __file__
    with pytest.warns(LikelyMistakeWarning, match="values from 0 to 255"):
        kerasnets.predictor(stock("softmax"))(RAW[0].astype(dtype))


@pytest.mark.parametrize("begin", [keras.layers.Rescaling(1 / 127.5, -1.0), keras.layers.BatchNormalization()])
def test_a_network_that_scales_takes_raw_pixels(begin):
    ours(begin=[begin]).fit(RAW, Y, verbose=0)
    stock("softmax", begin=[type(begin).from_config(begin.get_config())]).fit(RAW, Y, verbose=0)
    kerasnets.predictor(ours(begin=[type(begin).from_config(begin.get_config())]))(RAW[0])


def test_scaled_images_and_tables_of_numbers_pass():
    ours().fit(X, Y, verbose=0)
    ours().fit((X + 1) / 2, Y, verbose=0)
    table = models.Sequential([keras.Input((5,)), layers.Linear(10)])
    table.compile(optimizer=optimizers.SGD(1e-6), loss=losses.CrossEntropyLoss())
    table.fit(RAW[:, 0, :5], Y, verbose=0)


def test_predictor_refuses_uint8():
    predict = kerasnets.predictor(ours())
    for image in (RAW.astype("uint8"), RAW[0].astype("uint8"), RAW[0].astype("int64").tolist()):
        with pytest.raises(TypeError, match=r"type (uint8|int64); expected floats in \[-1, 1\]"):
            predict(image)


LOG = losses.NLLLoss()
PROBABILITIES = losses.NLLLoss(from_probabilities=True)
FROM_LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize("make", [ours, stock])
@pytest.mark.parametrize(
    ("output", "loss", "message"),
    [
        (None, LOG, "NLLLoss takes log-probabilities, but the network returns logits.*log_softmax"),
        ("softmax", LOG, r"returns probabilities\. Use kerasnets.losses.NLLLoss\(from_probabilities=True\)"),
        ("relu", LOG, "returns the values of relu"),
        (None, PROBABILITIES, "takes probabilities, but the network returns logits"),
        ("log_softmax", PROBABILITIES, r"returns log-probabilities\. Use kerasnets.losses.NLLLoss\(\)"),
    ],
)
def test_our_losses_on_other_outputs_are_errors(make, output, loss, message):
    model = make(output, loss)
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            call(X, Y, verbose=0)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.SparseCategoricalCrossentropy(),
        [keras.losses.SparseCategoricalCrossentropy()],
    ],
)
@pytest.mark.parametrize(("output", "returned"), [(None, "logits"), ("log_softmax", "log-probabilities")])
def test_kerass_losses_of_probabilities_on_logits(loss, output, returned):
    message = f"(?i)sparse.*takes probabilities, but the network returns {returned}"
    with pytest.raises(ValueError, match=message):
        ours(output, loss).fit(X, Y, verbose=0)
    with pytest.warns(LikelyMistakeWarning, match=message):  # stock Keras trains it
        stock(output, loss).fit(X, Y, verbose=0)


@pytest.mark.filterwarnings("ignore:.*received `from_logits=True`")  # TensorFlow's backend says it as well
@pytest.mark.parametrize("make", [ours, stock])
@pytest.mark.parametrize(
    ("loss", "message"),
    [(losses.CrossEntropyLoss(), "CrossEntropyLoss takes logits.*ends with softmax"), (FROM_LOGITS, "from_logits")],
)
def test_softmax_before_a_loss_of_logits_is_a_warning(make, loss, message):
    model = make("softmax", loss)
    with pytest.warns(LikelyMistakeWarning, match=message) as said:
        use_often(model, X)
    assert len(ours_of(said)) == 1


@pytest.mark.parametrize("make", [ours, stock])
@pytest.mark.parametrize(
    ("output", "loss"),
    [
        (None, losses.CrossEntropyLoss()),
        ("relu", losses.CrossEntropyLoss()),
        ("log_softmax", losses.CrossEntropyLoss()),  # the same value, as log_softmax twice is log_softmax
        ("log_softmax", LOG),
        ("softmax", PROBABILITIES),
        ("sigmoid", PROBABILITIES),
        ("softmax", "sparse_categorical_crossentropy"),
        (None, FROM_LOGITS),
    ],
)
def test_losses_that_fit_pass(make, output, loss):
    make(output, loss).fit(X, Y, verbose=0)


def test_the_last_function_is_found_behind_others():
    inputs = keras.Input((28, 28))
    inner = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10), keras.layers.Softmax()])
    x = keras.layers.Flatten()(inputs)
    for outputs in (
        inner(x),
        keras.layers.Reshape((10,))(inner(x)),
        keras.ops.softmax(keras.layers.Dense(10)(x)),
    ):
        model = models.Model(inputs, outputs)
        model.compile(optimizer=optimizers.SGD(0.1), loss=LOG)
        with pytest.raises(ValueError, match="returns probabilities"):
            model.fit(X, Y, verbose=0)
    unbuilt = models.Sequential([layers.Flatten(), layers.Linear(10)])
    unbuilt.compile(optimizer=optimizers.SGD(0.1), loss=LOG)
    with pytest.raises(ValueError, match="returns logits"):
        unbuilt.train_on_batch(X, Y)


class Halves(keras.layers.Dense):
    def call(self, x):
        return keras.ops.log_softmax(super().call(x))


def test_a_layer_of_the_users_may_return_anything():
    model = models.Sequential([keras.Input((28, 28)), layers.Flatten(), Halves(10)])
    model.compile(optimizer=optimizers.SGD(0.1), loss=LOG)
    model.fit(X, Y, verbose=0, accelerate=False)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (torch.nn.CrossEntropyLoss(), r"torch.nn.CrossEntropyLoss; .* kerasnets.losses.CrossEntropyLoss\(\)"),
        (torch.nn.functional.nll_loss, r"torch.nn.functional.nll_loss; .* kerasnets.losses.NLLLoss\(\)"),
        (torch.nn.SoftMarginLoss(), "torch.nn.SoftMarginLoss; expected a Keras loss, here one of kerasnets.losses"),
    ],
)
def test_pytorchs_losses(loss, message):
    with pytest.raises(TypeError, match=message):
        ours().compile(optimizer=optimizers.SGD(0.1), loss=loss)
    model = stock()
    model.compile("sgd", loss)
    with pytest.raises(TypeError, match=message):
        model.fit(X, Y, verbose=0)


def test_pytorchs_optimizers():
    adam = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(TypeError, match=r"torch.optim.Adam; .* kerasnets.optimizers.Adam\(…\)"):
        ours().compile(optimizer=adam, loss=losses.CrossEntropyLoss())
    with pytest.raises(ValueError, match="optimizer"):  # Keras's own
        stock().compile(adam, "mse")


@pytest.mark.parametrize("make", [ours, lambda: stock("softmax")])
def test_lists_instead_of_arrays(make):
    for call in (make().fit, make().evaluate):
        with pytest.raises(ValueError, match=r"images are a list of 20; expected an array: np\.asarray\(images\)"):
            call(X.tolist(), Y, verbose=0)
        with pytest.raises(ValueError, match="images are a list of 20"):
            call(list(X), Y, verbose=0)
        with pytest.raises(TypeError, match="labels are a list; expected an array"):
            call(X, Y.tolist(), verbose=0)
    with pytest.raises(TypeError, match="labels are a list"):
        make().fit(X, Y, validation_data=(X, Y.tolist()), verbose=0)


class OfTwoTargets(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, list(y), [y_pred, y_pred], sample_weight, training)


def test_what_a_compute_loss_takes_is_left_alone():
    inputs = keras.Input((4,))
    model = kerasnets.accelerate(OfTwoTargets(inputs, keras.layers.Dense(1)(inputs)))
    model.compile("sgd", loss=["mse", "mae"])
    x = np.ones((8, 4), "float32")
    with pytest.warns(UserWarning, match="its own compute_loss"):
        assert model.fit(x, (x[:, :1], x[:, :1]), verbose=0).history["loss"][0] > 0


def test_no_images_at_all_is_left_to_keras():
    inputs = keras.Input((4,))
    model = kerasnets.accelerate(keras.Model(inputs, keras.layers.Dense(1)(inputs)))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="not optional"):
        model.fit([None], np.ones((4, 1)), verbose=0)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="only TensorFlow has ragged tensors")
def test_ragged_tensors():
    import tensorflow as tf

    x = tf.ragged.constant([[1.0], [2.0, 3.0]])
    model = kerasnets.accelerate(keras.Sequential([keras.Input((None,)), keras.layers.ReLU()]))
    model.compile("sgd", loss=lambda y, outputs: 0.0)
    with warnings.catch_warnings(action="ignore"):  # no trainable weights, and a loss of the user's
        assert model.fit(x, x, verbose=0).history["loss"] == [0.0]


class Original(torch.nn.Module):
    pass


@pytest.mark.parametrize("module", [torch.nn.Linear(2, 2), Original()])
def test_a_pytorch_module_instead_of_a_model(module):
    message = r"PyTorch's (torch\.nn\.Linear|Original \(a torch.nn.Module\)); expected a Keras model.*load_state_dict"
    for call in (
        kerasnets.accelerate,
        kerasnets.predictor,
        kerasnets.state_dict,
        lambda module: kerasnets.load_state_dict(module, {}),
        lambda module: kerasnets.save_state_dict(module, "weights.pt"),
    ):
        with pytest.raises(TypeError, match=message):
            call(module)
    for model in (ours(), stock("softmax")):
        with pytest.raises(TypeError, match="x is PyTorch's"):
            model.fit(module, Y, verbose=0)
        with pytest.raises(TypeError, match=r"TensorDataset; expected an array or a data set, such as .*DataLoader"):
            model.fit(torch.utils.data.TensorDataset(torch.zeros(2)), verbose=0)


def test_keras_layers_are_not_taken_for_pytorchs():
    """On the torch backend they derive from torch.nn.Module."""
    kerasnets.state_dict(kerasnets.accelerate(stock("softmax")))
    with pytest.raises(TypeError, match="accelerate got a Dense"):
        kerasnets.accelerate(keras.layers.Dense(2))
