"""The user's own Python: layers, steps, losses and metrics of a model."""

import keras
import numpy as np
from harness import Recorder, case
from keras import layers, ops
from parts import XLA, classification, functional, labels, mlp, numbers, regression, sequential, sgd, uniform

import kerasnets

N = 20


def user(name, make, data=regression, **options):
    """A case of a layer of the user's between input and head."""

    @case(f"user/{name}", **{"user_code": "traceable" not in options, **options})
    def _(trial):
        trial.all(
            trial.accelerate(sequential((4,), make(), layers.Dense(3), **(XLA if "oise" in name else {}))),
            *data(),
            validation_split=0.3,
        )


class Scale(layers.Layer):
    """A weight that is multiplied by."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, x):
        return x * self.scale


class Noise(layers.Layer):
    """Normal noise from a seed generator of its own."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(5)

    def call(self, x, training=None):
        return x + keras.random.normal(ops.shape(x), seed=self.seeds) if training else x


class UnseededNoise(layers.Layer):
    """The same noise in every step, by an integer seed."""

    def call(self, x, training=None):
        return x + keras.random.normal(ops.shape(x), seed=3) if training else x


class NumpyNoise(layers.Layer):
    """Noise of NumPy's, another one in every step where the layer's Python is run."""

    def __init__(self):
        super().__init__()
        self.random = np.random.default_rng(4)

    def call(self, x, training=None):
        return x * float(self.random.normal()) if training else x


class Counter(layers.Layer):
    """Counts its calls in Python, and computes with the count."""

    calls = 0

    def call(self, x):
        self.calls += 1
        return x * (1.0 + 0.1 * (self.calls % 3))


class VariableCounter(layers.Layer):
    """Counts its calls in training in a variable, and computes with the count."""

    def build(self, shape):
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False, name="steps")

    def call(self, x, training=None):
        if training:
            self.steps.assign_add(1.0)
        return x / (1.0 + self.steps)


class If(layers.Layer):
    """A Python ``if`` on the numbers."""

    def call(self, x):
        return x if float(ops.convert_to_numpy(ops.sum(x))) > 0 else -x


class Cond(layers.Layer):
    """The same by ``keras.ops.cond``."""

    def call(self, x):
        return ops.cond(ops.sum(x) > 0, lambda: x, lambda: -x)


class Losses(layers.Layer):
    """Adds two losses."""

    def call(self, x, training=None):
        self.add_loss(0.1 * ops.mean(ops.square(x)))
        if training:
            self.add_loss(ops.mean(ops.abs(x)))
        return x


class Size(layers.Layer):
    """Computes with the batch's size, as Python sees it."""

    def call(self, x):
        return x * (x.shape[0] or 1)


class TensorSize(layers.Layer):
    """Computes with the batch's size by keras.ops."""

    def call(self, x):
        return x / ops.cast(ops.shape(x)[0], x.dtype)


class State(layers.Layer):
    """A running mean that is read in training, too."""

    def build(self, shape):
        self.mean = self.add_weight(shape=shape[1:], initializer="zeros", trainable=False, name="mean")

    def call(self, x, training=None):
        y = x - self.mean
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * ops.mean(x, axis=0))
        return y


class Kept(layers.Layer):
    """Keeps what it saw last in Python."""

    last = None

    def call(self, x):
        self.last = x
        return x


for _kind in (Scale, Noise, VariableCounter, Losses, TensorSize, State):
    user(f"layer {_kind.__name__}", _kind, traceable=True)
user("layer UnseededNoise", UnseededNoise, traceable=True)
user("layer Cond", Cond, traceable=True)
user("layer NumpyNoise", NumpyNoise)
user("layer Counter", Counter)
user("layer Size", Size)
user("layer If", If, backends=("torch",))
user("lambda", lambda: layers.Lambda(lambda x: ops.tanh(2 * x)), traceable=True)
user("activation", lambda: layers.Dense(4, activation=lambda x: ops.sin(x)), traceable=True)
user(
    "initializer",
    lambda: layers.Dense(4, kernel_initializer=lambda shape, dtype=None: ops.ones(shape, dtype) * 0.3),
    traceable=True,
)
user("regularizer", lambda: layers.Dense(4, kernel_regularizer=lambda w: 0.1 * ops.sum(ops.square(w))), traceable=True)
user("constraint", lambda: layers.Dense(4, kernel_constraint=lambda w: ops.clip(w, -0.3, 0.3)), traceable=True)
user(
    "subclass of Dense",
    lambda: type("Doubled", (layers.Dense,), {"call": lambda self, x, training=None: 2 * layers.Dense.call(self, x)})(
        4
    ),
    traceable=True,
)
user(
    "subclass of kerasnets' batch norm",
    lambda: type(
        "Own",
        (kerasnets.layers.BatchNormalization,),
        {
            "call": lambda self, x, training=None, mask=None: (
                1 + kerasnets.layers.BatchNormalization.call(self, x, training=training)
            )
        },
    )(),
    traceable=True,
)
user("subclass of ReLU", lambda: type("Own", (layers.ReLU,), {"call": lambda self, x: x + 1})(), traceable=True)


@case("user/method of one layer object replaced", user_code=True)
def _(trial):
    model = sequential((4,), layers.Dense(3))
    call = model.layers[0].call
    model.layers[0].call = lambda x, training=None: 2 * call(x)
    trial.all(trial.accelerate(model), *regression())


@case("user/captured number that changes", user_code=True, backends=("torch",))
def _(trial):
    factor = [1.0]
    model = trial.accelerate(sequential((4,), layers.Lambda(lambda x: factor[0] * x), layers.Dense(3)))
    trial.all(model, *regression())
    factor[0] = 3.0
    trial.all(model, *regression())


@case("user/what a layer keeps", user_code=True, backends=("torch",))
def _(trial):
    kept = Kept()
    model = trial.accelerate(sequential((4,), kept, layers.Dense(3)))
    trial.fit(model, *regression())
    trial.note("kept", np.asarray(kept.last.detach()))


@case("user/variable of a custom layer that isn't tracked", user_code=True)
def _(trial):
    class Hidden(layers.Layer):
        def __init__(self):
            super().__init__()
            self.box = [None]

        def call(self, x):
            return x + hidden

    hidden = keras.Variable(np.zeros(4, "float32"), trainable=False, name="hidden")
    model = trial.accelerate(sequential((4,), Hidden(), layers.Dense(3)))
    trial.predict(model, numbers(N, 4))
    hidden.assign(np.ones(4, "float32"))
    trial.predict(model, numbers(N, 4))
    trial.fit(model, *regression())


@case("user/layer in a nested model", traceable=True)
def _(trial):
    inner = keras.Sequential([keras.Input((4,)), Scale(), Losses()])
    trial.all(trial.accelerate(sequential((4,), inner, layers.Dense(3))), *regression())


@case("user/cell of a recurrent layer", traceable=True)
def _(trial):
    class Cell(layers.Layer):
        def __init__(self):
            super().__init__()
            self.state_size = 3

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1] + 3, 3), name="kernel")

        def call(self, x, states):
            y = ops.tanh(ops.matmul(ops.concatenate([x, states[0]], axis=-1), self.kernel))
            return y, [y]

    trial.all(trial.accelerate(sequential((5, 2), layers.RNN(Cell()))), numbers(N, 5, 2), numbers(N, 2))


@case("user/module of torch", backends=("torch",), user_code=True)
def _(trial):
    import torch

    model = sequential((4,), layers.TorchModuleWrapper(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh())))
    trial.all(trial.accelerate(model), *regression())


@case("user/module of torch with batch norm and dropout of rate 0", backends=("torch",), user_code=True)
def _(trial):
    import torch

    model = sequential(
        (4,), layers.TorchModuleWrapper(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)))
    )
    trial.all(trial.accelerate(model), *regression())


# Methods of a model


def small(kind, outputs=2, **compiled):
    inputs = keras.Input((4,))
    x = layers.Dense(5, activation="tanh")(inputs)
    return functional(inputs, layers.Dense(outputs)(x), kind, **compiled)


class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, y_pred, sample_weight) + 0.1 * ops.mean(ops.square(y_pred)) * ops.mean(x**2)


class OwnMetrics(keras.Model):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        results = super().compute_metrics(x, y, y_pred, sample_weight)
        return {**results, "more": ops.mean(y_pred)}


class OwnResult(keras.Model):
    def get_metrics_result(self):
        return {f"my_{name}": value for name, value in super().get_metrics_result().items()}


class OwnMetricsList(keras.Model):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.size = keras.metrics.Mean(name="size")

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.size.update_state(ops.mean(ops.abs(y_pred)))
        return super().compute_metrics(x, y, y_pred, sample_weight)

    @property
    def metrics(self):
        return [*super().metrics, self.size]


class OwnTestStep(keras.Model):
    def test_step(self, *args, **kwargs):
        return super().test_step(*args, **kwargs)


class OwnPredictStep(keras.Model):
    def predict_step(self, *args, **kwargs):
        found = super().predict_step(*args, **kwargs)
        return (found[0] * 2, found[1]) if isinstance(found, tuple) else found * 2


class OwnTrainStep(keras.Model):
    def train_step(self, *args, **kwargs):
        return super().train_step(*args, **kwargs)


class OwnCall(keras.Model):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class OwnFit(keras.Model):
    def fit(self, *args, **kwargs):
        history = super().fit(*args, **kwargs)
        history.history["mine"] = [1.0]
        return history


class OwnTrainFunction(keras.Model):
    made = 0

    def make_train_function(self, force=False):
        self.made += 1
        return super().make_train_function(force)


class OwnReset(keras.Model):
    resets = 0

    def reset_metrics(self):
        self.resets += 1
        super().reset_metrics()


class OwnLosses(keras.Model):
    @property
    def losses(self):
        return [*super().losses, 0.1 * ops.sum(ops.square(self.layers[1].kernel))]


class Nothing(keras.Model):
    """A subclass that changes nothing."""


for _kind in (
    OwnLoss,
    OwnMetrics,
    OwnResult,
    OwnMetricsList,
    OwnTestStep,
    OwnPredictStep,
    OwnTrainStep,
    OwnCall,
    OwnFit,
    OwnTrainFunction,
    OwnReset,
    OwnLosses,
    Nothing,
):

    @case(f"model/{_kind.__name__}", traceable=True)
    def _(trial, kind=_kind):
        model = trial.accelerate(small(kind, metrics=["mae"]))
        trial.fit(model, *regression(), validation_split=0.3, callbacks=[Recorder()], sample_weight=uniform(N))
        trial.evaluate(model, *regression())
        trial.predict(model, numbers(N, 4))
        trial.note("counts", [getattr(model, "resets", 0)])


@case("model/own train step of the backend", user_code=True, backends=("torch",))
def _(trial):
    import torch

    class Own(keras.Model):
        def train_step(self, data):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
            self.zero_grad()
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
            loss.backward()
            with torch.no_grad():
                self.optimizer.apply([-v.value.grad for v in self.trainable_weights], self.trainable_weights)
            return {"own": loss}

    model = trial.accelerate(small(Own))
    trial.fit(model, *regression(), callbacks=[Recorder()])
    trial.predict(model, numbers(N, 4))


@case("model/own train step of the backend, in tensorflow", user_code=True, backends=("tensorflow",))
def _(trial):
    import tensorflow as tf

    class Own(keras.Model):
        def train_step(self, data):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
            self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
            return {"own": loss}

    trial.fit(trial.accelerate(small(Own)), *regression(), callbacks=[Recorder()])


@case("model/step of one model object replaced", user_code=True, backends=("torch", "tensorflow"))
def _(trial):
    model = small(keras.Model)
    step = model.train_step
    model.train_step = lambda *args, **kwargs: {**step(*args, **kwargs), "mine": 1.0}
    trial.fit(trial.accelerate(model), *regression())


@case("model/compute_loss of one model object replaced", user_code=True)
def _(trial):
    model = small(keras.Model)
    model.compute_loss = lambda x=None, y=None, y_pred=None, sample_weight=None, training=True: ops.mean(
        ops.abs(y - y_pred) ** 3
    )
    trial.all(trial.accelerate(model), *regression())


@case("model/own call that takes no training", traceable=True)
def _(trial):
    class Own(keras.Model):
        def call(self, inputs):
            return super().call(inputs) + 1.0

    trial.all(trial.accelerate(small(Own)), *regression())


@case("model/subclassed, not functional", user_code=True)
def _(trial):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = layers.Dense(3), layers.Dense(2)

        def call(self, x):
            return self.last(ops.tanh(self.first(x)))

    model = Own()
    model.compile(sgd(), "mse")
    try:
        model = trial.accelerate(model)
    except TypeError:
        trial.note("refused", True)
    else:
        trial.note("refused", True)
    trial.all(model, *regression())


@case("model/metric of a layer", traceable=True, backends=("torch", "tensorflow"))
def _(trial):
    class Watched(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seen = keras.metrics.Mean(name="seen")

        def call(self, x):
            self.seen.update_state(ops.mean(x))
            return x

    trial.all(trial.accelerate(sequential((4,), layers.Dense(3), Watched())), *regression(), validation_split=0.3)


# kerasnets' models


def checked(**compiled):
    model = kerasnets.models.Sequential(
        [
            keras.Input((4,)),
            kerasnets.layers.Linear(5),
            kerasnets.layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.0),
            kerasnets.layers.Linear(3),
        ]
    )
    model.compile(
        **{
            "optimizer": kerasnets.optimizers.SGD(0.05, momentum=0.9),
            "loss": kerasnets.losses.CrossEntropyLoss(),
            "metrics": ["accuracy"],
            **compiled,
        }
    )
    return model


@case("kerasnets model/sequential")
def _(trial):
    trial.all(trial.accelerate(checked()), *classification(), validation_split=0.2, callbacks=[Recorder()])


@case("kerasnets model/functional, saved and loaded")
def _(trial):
    inputs = keras.Input((4,))
    model = kerasnets.models.Model(
        inputs, kerasnets.layers.Linear(3)(layers.ReLU()(kerasnets.layers.Linear(5)(inputs)))
    )
    model.compile(kerasnets.optimizers.Adam(0.001), kerasnets.losses.CrossEntropyLoss(), metrics=["accuracy"])
    trial.fit(model, *classification())
    model.save(trial.folder / "model.keras")
    trial.all(kerasnets.load_model(trial.folder / "model.keras"), *classification())


@case("kerasnets model/labels out of range", raises=True)
def _(trial):
    trial.fit(checked(), numbers(N, 4), labels(N, classes=9))


@case("kerasnets model/last batch of one", raises=True)
def _(trial):
    trial.fit(checked(), *classification(), batch_size=19)


@case("kerasnets model/class weights and weights of examples")
def _(trial):
    x, y = classification()
    trial.fit(checked(), x, y, class_weight={0: 0.2, 1: 1.0, 2: 3.0})
    trial.fit(checked(), x, y, sample_weight=uniform(N))


@case("kerasnets model/a layer of the user's", user_code=True)
def _(trial):
    model = kerasnets.models.Sequential([keras.Input((4,)), Counter(), layers.Dense(3)])
    model.compile(sgd(), kerasnets.losses.CrossEntropyLoss())
    trial.fit(model, *classification())


for _name in ("NeuralNetwork", "FashionNetwork", "Network", "Network2"):

    @case(f"kerasnets model/{_name}", rtol=1e-3, atol=1e-4)
    def _(trial, name=_name):
        model = kerasnets.build(name, **({"hidden": (6, 5)} if name == "NeuralNetwork" else {}))
        loss = {"NeuralNetwork": kerasnets.losses.CrossEntropyLoss(), "FashionNetwork": kerasnets.losses.NLLLoss()}.get(
            name, "sparse_categorical_crossentropy"
        )
        model.compile(kerasnets.optimizers.SGD(0.01, momentum=0.9), loss, metrics=["accuracy"])
        trial.all(model, uniform(N, 28, 28), labels(N, classes=10))


@case("user/mlp in a list of one output", traceable=False)
def _(trial):
    model = mlp()
    model = keras.Model(model.inputs, [model.outputs[0]])
    model.compile(sgd(), ["mse"])
    trial.all(trial.accelerate(model), *regression())
