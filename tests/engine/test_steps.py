"""The fast ``fit``, ``evaluate`` and ``predict`` against stock Keras's: the same numbers from the same batches."""

import itertools

import keras
import numpy as np
import pytest
import torch
from gradients import precision
from keras import ops
from small import small_network

import kerasnets
from kerasnets import batches, layers, losses, models, optimizers, schedules

SEED = 3


pytestmark = pytest.mark.usefixtures("every_reason_is_said_again")


@pytest.fixture(scope="module")
def arrays():
    (x, y), _ = kerasnets.load_data("fashion_mnist_sample")
    return x[:72], y[:72]


def small(*end, **compiled):
    """A compiled network of few weights with a hidden layer, and further layers at its `end`."""
    return small_network(*end, more=[layers.Linear(6), keras.layers.ReLU()], **{"metrics": None, **compiled})


def twins(make):
    """Two models with the same weights."""
    stock, fast = make(), make()
    fast.set_weights(stock.get_weights())
    return stock, fast


def assert_same(actual, expected, bound=1e-9):
    """The same names in the same order, and the same numbers."""
    assert list(actual) == list(expected)
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=bound, atol=bound, err_msg=name)


def assert_same_state(fast, stock, bound=1e-9):
    variables = zip(stock.variables + stock.optimizer.variables, fast.variables + fast.optimizer.variables, strict=True)
    for expected, actual in variables:
        np.testing.assert_allclose(
            ops.convert_to_numpy(actual), ops.convert_to_numpy(expected), rtol=bound, atol=bound, err_msg=actual.path
        )


def fit_both(make, x, y, *, batch_size=32, epochs=2, bound=1e-9, state=True, **more):
    """Stock fit of batches by (seed, epoch), and fast fit of the arrays; returns the models."""
    stock, fast = twins(make)
    options = {"batch_size": batch_size, "epochs": epochs, "seed": SEED, "verbose": 0, **more}
    expected = stock.fit(x, y, accelerate=False, **options)
    actual = fast.fit(x, y, **options)
    assert_same(actual.history, expected.history, bound)
    assert actual.epoch == expected.epoch
    if state:
        assert_same_state(fast, stock, bound)
    return stock, fast


def fit_both_in_order(make, x, y, *, bound=1e-9, **options):
    """Both fits of the same arrays, unshuffled, with the same options; returns the models."""
    stock, fast = twins(make)
    options = {"batch_size": 32, "epochs": 2, "shuffle": False, "verbose": 0, **options}
    expected = stock.fit(x, y, accelerate=False, **options)
    assert_same(fast.fit(x, y, **options).history, expected.history, bound)
    assert_same_state(fast, stock, bound)
    return stock, fast


NETWORKS = {
    "NeuralNetwork": ({"hidden": (32, 16)}, losses.CrossEntropyLoss, lambda: optimizers.SGD(0.05, momentum=0.9)),
    "ConvNeuralNetwork": (
        {"filters": (4, 6), "hidden": (16,), "dropout": 0.0},
        losses.CrossEntropyLoss,
        lambda: optimizers.SGD(0.01, momentum=0.9, weight_decay=1e-3),
    ),
    "FashionNetwork": ({"hidden": (16, 8)}, losses.NLLLoss, lambda: optimizers.Adam(0.003)),
    "Net": ({}, losses.CrossEntropyLoss, lambda: optimizers.SGD(0.05)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_in_both_precisions(name, arrays):
    """In float64 to 1e-9; in float32 within ten times stock Keras's rounding error, or 64 units in the last place."""
    options, loss, optimizer = NETWORKS[name]
    x, y = arrays
    # Shuffled once: in float64 the initial weights take more of the stream that would then order the batches.
    order = batches.epoch_order(len(x), SEED, 0)
    x, y = x[order], y[order]
    if name == "Net":
        x = np.pad(x, ((0, 0), (2, 2), (2, 2)))
    initial = [v + 0.0 for v in kerasnets.build(name, **options).get_weights()]

    def make():
        model = kerasnets.build(name, **options)
        model.set_weights(initial)
        model.compile(optimizer=optimizer(), loss=loss(), metrics=["accuracy"])
        return model

    with precision("float64"):
        exact, _ = fit_both(make, x, y, shuffle=False)
        exact = exact.get_weights()
    if name == "ConvNeuralNetwork" and keras.config.backend() == "torch":
        # PyTorch's batch norm adds up channels-last maps number by number: stock Keras rounds a hundred times less.
        # How far PyTorch is from itself is measured by kerasnets.verify.parity.
        return
    with precision("float32"):
        stock, fast = fit_both(make, x, y, shuffle=False, bound=1e-3, state=False)
    noise = max(np.abs(a - b).max() for a, b in zip(stock.get_weights(), exact, strict=True))
    difference = max(np.abs(a - b).max() for a, b in zip(stock.get_weights(), fast.get_weights(), strict=True))
    assert difference <= max(10 * noise, 64 * np.finfo("float32").eps)
    assert noise < 1e-2


OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(0.05),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "dampening": lambda: optimizers.SGD(0.05, momentum=0.9, dampening=0.5),
    "nesterov": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "maximize": lambda: optimizers.SGD(0.001, momentum=0.5, maximize=True, weight_decay=0.01),
    "groups": lambda: optimizers.SGD(
        0.05, momentum=0.9, weight_decay=0.1, param_groups=[{"params": "bias", "learning_rate": 0.01}]
    ),
    "clip": lambda: optimizers.SGD(0.05, momentum=0.9, clip_grad_norm=0.1),
    "keras clip": lambda: optimizers.SGD(0.05, global_clipnorm=0.1),
    "Adam": lambda: optimizers.Adam(0.01, weight_decay=0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True, beta_1=0.8, maximize=True),
    "AdamW": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "no decay": lambda: optimizers.AdamW(0.01, weight_decay=0.1, param_groups=optimizers.no_weight_decay()),
    "RMSprop": lambda: optimizers.RMSprop(0.001, momentum=0.5, centered=True),
    "Adagrad": lambda: optimizers.Adagrad(0.01, lr_decay=0.1),
    "Adadelta": lambda: optimizers.Adadelta(1.0),
    "ema": lambda: optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5),
    "StepLR": lambda: optimizers.SGD(schedules.StepLR(0.1, step_size=2, gamma=0.3), momentum=0.9),
    "OneCycleLR": lambda: optimizers.SGD(schedules.OneCycleLR(0.1, total_steps=12), momentum=0.9),
    "OneCycleLR, Adam": lambda: optimizers.Adam(schedules.OneCycleLR(0.01, total_steps=12)),
    "Keras's Adam": lambda: keras.optimizers.Adam(0.01, weight_decay=0.01),
    "Keras's SGD": lambda: keras.optimizers.SGD(
        keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.1, 0.01]), momentum=0.9
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, arrays):
    x, y = arrays
    with precision("float64"):
        # Keras's own optimizers have numbers in float32.
        bound = 1e-6 if "Keras" in name else 1e-9
        stock, _ = fit_both(lambda: small(optimizer=OPTIMIZERS[name]()), x[:40], y[:40], batch_size=16, bound=bound)
    assert int(stock.optimizer.iterations) == 6


LOSSES = {
    "weight": lambda: losses.CrossEntropyLoss(weight=np.linspace(0.5, 2, 10)),
    "smoothing, ignored": lambda: losses.CrossEntropyLoss(label_smoothing=0.1, ignore_index=2, weight=np.arange(1, 11)),
    "sum": lambda: losses.CrossEntropyLoss(reduction="sum"),
    "Keras's": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "name": lambda: "sparse_categorical_crossentropy",
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, arrays):
    x, y = arrays
    with precision("float64"):
        rate = 0.001 if name == "sum" else 0.05
        end = [keras.layers.Softmax] if name == "name" else []

        def make():
            return small(*(each() for each in end), loss=LOSSES[name](), optimizer=optimizers.SGD(rate))

        fit_both(make, x[:40], y[:40], batch_size=16)


def test_losses_of_probabilities_and_of_targets_in_other_shapes(arrays):
    x, y = arrays

    def make(loss):
        model = models.Sequential([keras.Input((28, 28)), layers.Flatten(), layers.Linear(10), keras.layers.Softmax()])
        model.compile(optimizer=optimizers.SGD(0.05), loss=loss)
        return model

    with precision("float64"):
        fit_both(lambda: make(losses.NLLLoss(from_probabilities=True, weight=np.linspace(0.5, 2, 10))), x, y)
        fit_both(lambda: make(losses.MSELoss()), x, np.eye(10)[y])
        fit_both(lambda: small(), x, y[:, None])
        fit_both(lambda: small(loss=losses.CrossEntropyLoss(label_smoothing=0.1)), x, np.eye(10)[y])


class Margin(keras.metrics.Metric):
    """Mean of the largest output: a metric of the user's own."""

    def __init__(self, name="margin"):
        super().__init__(name=name)
        self.total = self.add_variable((), "zeros", name="total")
        self.batches = self.add_variable((), "zeros", name="batches")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(ops.sum(ops.cast(ops.max(y_pred, axis=-1), self.total.dtype)))
        self.batches.assign_add(ops.cast(ops.shape(y_pred)[0], self.batches.dtype))

    def result(self):
        return self.total / self.batches


def mean_output(y_true, y_pred):
    return ops.sum(y_pred, axis=-1) / 10.0


def test_weights_of_samples_validation_and_metrics(arrays):
    x, y = arrays
    weight = np.linspace(0, 2, len(y))
    held_out = (x[:20], y[:20], weight[:20])

    def make():
        metrics = ["accuracy", Margin(), mean_output]
        if keras.config.backend() != "tensorflow":  # whose in_top_k takes no float64
            metrics.append(keras.metrics.SparseTopKCategoricalAccuracy(3, name="top3"))
        return kerasnets.accelerate(small(metrics=metrics, weighted_metrics=["accuracy"]), trust=True)

    with precision("float64"):
        bound = 1e-6  # metrics are in float32
        fit_both_in_order(make, x, y, sample_weight=weight, validation_data=held_out, bound=bound)
        fit_both_in_order(small, x, y, class_weight={0: 3.0, 4: 0.5}, validation_split=0.3)
        fit_both_in_order(
            make, x, y, sample_weight=weight, validation_split=0.25, validation_batch_size=7, validation_freq=2,
            epochs=3, bound=bound,
        )  # fmt: skip
        # A weighted loss depends on the batches.
        weighted = losses.CrossEntropyLoss(weight=np.linspace(0.1, 3, 10))
        both = []
        for model, accelerate in zip(twins(lambda: small(loss=weighted)), (False, True), strict=True):
            history = model.fit(
                x, y, batch_size=16, seed=SEED, epochs=2, verbose=0, accelerate=accelerate,
                validation_data=(x, y), validation_batch_size=32,
            )  # fmt: skip
            both.append(history.history)
        assert_same(both[1], both[0])


class Scaled(keras.layers.Layer):
    """A layer of the user's own, with a trainable and a counting weight."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=False):
        if training:
            self.calls.assign(self.calls + 1.0)
        return x * ops.tanh(self.scale)


def stock_model():
    """Keras's own layers, optimizer and loss, a layer of the user's, a frozen layer and regularizers."""
    regularizer = keras.regularizers.L2(0.01)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(3, 5, strides=2, activation="relu", kernel_regularizer=regularizer),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(activity_regularizer=regularizer),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(4, 3, padding="same", use_bias=False, trainable=False),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(3, strides=2),
            keras.layers.Flatten(),
            Scaled(),
            keras.layers.Dropout(0.0),
            keras.layers.Dense(12, activation="relu", kernel_constraint=keras.constraints.MaxNorm(0.5)),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return kerasnets.accelerate(model, trust=True)


def test_stock_keras_models(arrays):
    x, y = arrays
    x = x[..., None]
    with precision("float64"):
        stock, fast = fit_both_in_order(stock_model, x, y, bound=1e-5)
        assert "fit" in vars(fast)
        expected = stock.evaluate(x, y, verbose=0, return_dict=True, accelerate=False)
        assert_same(fast.evaluate(x, y, verbose=0, return_dict=True), expected, 1e-5)
        expected = stock.predict(x, verbose=0, accelerate=False)
        np.testing.assert_allclose(fast.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert float(fast.layers[8].calls) == 6


def test_two_inputs_two_outputs(arrays):
    x, y = arrays
    # One batch of each: stock Keras on TensorFlow counts a smaller last one as much in classes_loss and total_loss.
    x, y = x[:40, ::4, ::4], y[:40]

    def make():
        left, right = keras.Input((7, 7), name="left"), keras.Input((7, 7), name="right")
        shared = keras.layers.Dense(5, activation="tanh")
        both = [shared(keras.layers.Flatten()(part)) for part in (left, right)]
        joined = keras.layers.Concatenate()(both)
        classes = keras.layers.Dense(10, name="classes")(joined)
        total = keras.layers.Dense(1, name="total")(keras.layers.Add()(both))
        model = models.Model({"left": left, "right": right}, {"classes": classes, "total": total})
        model.compile(
            optimizer=optimizers.SGD(0.05),
            loss={"classes": losses.CrossEntropyLoss(), "total": losses.MSELoss()},
            loss_weights={"classes": 1.0, "total": 0.1},
            metrics={"classes": ["accuracy"]},
        )
        return model

    data = {"left": x, "right": x[::-1]}
    targets = {"classes": y, "total": x.sum(axis=(1, 2))[:, None]}
    with precision("float64"):
        stock, fast = fit_both_in_order(make, data, targets, bound=1e-6, validation_split=0.2)
        actual = fast.predict(data, batch_size=50, verbose=0)
        for name, outputs in fast.predict(data, batch_size=50, verbose=0, accelerate=False).items():
            np.testing.assert_allclose(actual[name], outputs, rtol=1e-4, atol=1e-6)  # Keras's Dense is float32 inside
        expected = stock.evaluate(data, targets, batch_size=40, verbose=0, accelerate=False)
        np.testing.assert_allclose(fast.evaluate(data, targets, batch_size=40, verbose=0), expected, rtol=1e-6)


def test_batch_norm_that_is_frozen(arrays):
    def make():
        model = models.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(4, 3),
                layers.BatchNormalization(name="norm"),
                layers.Flatten(),
                layers.Linear(10),
            ]
        )
        model.get_layer("norm").set_weights(np.linspace(0.5, 2, 16).reshape(4, 4))
        model.get_layer("norm").trainable = False
        model.compile(optimizer=optimizers.SGD(0.01), loss=losses.CrossEntropyLoss())
        return model

    x, y = arrays
    stock, _ = fit_both(make, x[..., None], y, bound=1e-4)
    np.testing.assert_allclose(stock.get_layer("norm").get_weights(), np.linspace(0.5, 2, 16).reshape(4, 4), rtol=1e-6)


def batch_norm_in_pytorch(x, y, dtype, memory_format):
    """γ, β and running values after a step of gradient descent on the mean squared error."""
    layer = torch.nn.BatchNorm2d(x.shape[-1], momentum=1.0, device="cpu", dtype=dtype)
    images, targets = (
        torch.from_numpy(values).movedim(-1, 1).to(dtype).contiguous(memory_format=memory_format) for values in (x, y)
    )
    optimizer = torch.optim.SGD(layer.parameters(), 1.0)
    torch.nn.functional.mse_loss(layer(images), targets).backward()
    optimizer.step()
    return [v.detach().double().numpy() for v in (layer.weight, layer.bias, layer.running_mean, layer.running_var)]


@pytest.mark.parametrize("convolution", [True, False])
def test_batch_norm_of_many_values_far_from_zero(convolution):
    """50,000 values a channel: as near to the truth as PyTorch is, whose sums are rougher in channels_last."""
    rng = np.random.default_rng(0)
    x = rng.normal(loc=(1, 10, 100), size=(64, 28, 28, 3)).astype("float32")
    y = rng.normal(size=x.shape).astype("float32")
    model = models.Sequential([keras.Input(x.shape[1:]), layers.BatchNormalization(momentum=1.0, name="norm")])
    if convolution:  # the identity; with one, the fast fit doesn't go through XLA on TensorFlow
        model = models.Sequential([keras.Input(x.shape[1:]), layers.Conv2D(3, 1, name="conv"), *model.layers])
        model.get_layer("conv").set_weights([np.eye(3)[None, None], np.zeros(3)])
    model.compile(optimizer=optimizers.SGD(1.0), loss=keras.losses.MeanSquaredError())
    model.fit(x, y, batch_size=64, shuffle=False, verbose=0)
    truth = batch_norm_in_pytorch(x, y, torch.float64, torch.contiguous_format)
    rough = batch_norm_in_pytorch(x, y, torch.float32, torch.channels_last)
    for name, actual, expected, other in zip(
        ("gamma", "beta", "mean", "variance"), model.get_layer("norm").get_weights(), truth, rough, strict=True
    ):
        bound = 2 * np.abs(other - expected).max()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=bound, err_msg=name)


def test_fit_after_fit_and_what_is_changed_between(arrays):
    """After more epochs, a new learning rate, other weights, a new compile, and a frozen layer."""
    x, y = arrays
    with precision("float64"):
        stock, fast = fit_both_in_order(lambda: kerasnets.accelerate(small(), trust=True), x, y, epochs=1)
        begin = [w * 0.5 for w in stock.get_weights()]

        def rate(model):
            model.optimizer.learning_rate = 0.5

        def weights(model):
            model.set_weights(begin)

        def compiled_anew(model):
            model.compile(optimizer=optimizers.Adam(0.01), loss=losses.MSELoss(), metrics=[Margin()])

        def frozen(model):
            model.layers[1].trainable = False
            model.compile(optimizer=optimizers.SGD(0.05), loss=losses.CrossEntropyLoss(), metrics=[])

        def the_other_frozen(model):
            model.layers[1].trainable, model.layers[3].trainable = True, False
            model.compile(optimizer=optimizers.SGD(0.05), loss=losses.CrossEntropyLoss(label_smoothing=0.5))

        for change in (lambda model: None, rate, weights, compiled_anew, frozen, the_other_frozen):
            histories = []
            for model, accelerate in ((stock, False), (fast, True)):
                change(model)
                targets = np.eye(10)[y] if change is compiled_anew else y
                history = model.fit(x, targets, batch_size=32, shuffle=False, verbose=0, accelerate=accelerate)
                histories.append(history.history)
            assert_same(histories[1], histories[0], 1e-6 if change is compiled_anew else 1e-9)
            assert_same_state(fast, stock)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="elsewhere nothing is recorded only when it pays")
def test_the_numbers_do_not_depend_on_the_clock(arrays, monkeypatch):
    """A smaller last batch runs recorded from the start, however long a recording takes."""
    from kerasnets.engine.torch import programs

    def weights(clock):
        monkeypatch.setattr(programs.time, "perf_counter", clock)
        keras.utils.set_random_seed(1)
        model = small(optimizer=optimizers.Adam(0.01))
        model.fit(*(array[:40] for array in arrays), batch_size=16, epochs=4, seed=1, verbose=0)
        return np.concatenate([weight.ravel() for weight in model.get_weights()])

    np.testing.assert_array_equal(weights(itertools.count(0, 1000).__next__), weights(lambda: 0.0))


@pytest.mark.gpu
def test_a_captured_step_is_stock_keras_step():
    """The whole step as a CUDA graph, or compiled for the GPU, with momentum, batch norm and a smaller last batch."""
    (x, y), _ = kerasnets.load_data("fashion_mnist_sample")

    def make(name, **options):
        model = kerasnets.build(name, **options)
        model.compile(optimizer=optimizers.SGD(0.05, momentum=0.9), loss=losses.CrossEntropyLoss())
        return model

    with precision("float64"):
        fit_both(lambda: make("NeuralNetwork"), x[:200], y[:200], batch_size=64, bound=1e-8)
        fit_both(lambda: make("ConvNeuralNetwork", dropout=0.0), x[:200], y[:200], batch_size=64, bound=1e-7)


@pytest.mark.gpu
@pytest.mark.skipif(keras.config.backend() != "torch", reason="CUDA graphs are PyTorch's")
@pytest.mark.parametrize("step", ["plain", "unseeded dropout", "metrics", "spectral normalization"])
def test_which_steps_are_captured(step, monkeypatch):
    from kerasnets.engine.torch import recording

    found = []
    capture = recording.captured
    monkeypatch.setattr(recording, "captured", lambda *given: found.append(capture(*given)) or found[-1])
    extra = {
        "unseeded dropout": [keras.layers.Dropout(0.5)],
        "spectral normalization": [keras.layers.SpectralNormalization(keras.layers.Dense(8))],
    }
    model = keras.Sequential([keras.Input((6,)), *extra.get(step, []), layers.Linear(3)])
    model.compile(
        optimizers.SGD(0.1, momentum=0.9), losses.CrossEntropyLoss(), metrics=["accuracy"] if step == "metrics" else []
    )
    kerasnets.accelerate(model)
    x, y = np.random.default_rng(0).normal(size=(32, 6)).astype("float32"), np.arange(32) % 3
    model.fit(x, y, batch_size=8, verbose=0)
    assert found
    assert None not in found


@pytest.mark.gpu
@pytest.mark.skipif(keras.config.backend() != "torch", reason="CUDA graphs are PyTorch's")
def test_an_operation_that_cant_be_captured_runs_without_a_graph():
    """A failed capture leaves the variables, the random numbers and later captures as they were."""
    from kerasnets.engine.torch.cuda_graph import captured

    value, example = torch.ones(3, device="cuda"), torch.ones(4, device="cuda")
    state = torch.cuda.get_rng_state()

    def counts(batch, value):  # how many there are is read on the host
        value.add_(len(torch.nonzero(batch)) * torch.rand(3, device="cuda"))
        return value * 2

    assert captured(counts, [example], [value]) is None
    assert torch.equal(value, torch.ones_like(value))
    assert torch.equal(torch.cuda.get_rng_state(), state)
    expected = torch.rand(3, device="cuda")
    torch.cuda.set_rng_state(state)
    replay = captured(lambda batch, value: value.mul_(2).sum() + torch.rand(3, device="cuda"), [example], [value])
    assert torch.equal(value, torch.ones_like(value))
    np.testing.assert_allclose(replay(example).cpu(), 6 + expected.cpu(), rtol=1e-6)
    assert torch.equal(value, torch.full_like(value, 2))
