"""What is done between two fits: changed attributes, compile again, save and load, and the order of the methods."""

import keras
import numpy as np
from harness import case, exact
from keras import layers
from parts import (
    XLA,
    classification,
    classifier,
    functional,
    labels,
    mlp,
    numbers,
    regression,
    sequential,
    sgd,
    uniform,
)

import kerasnets

N = 20


def change(name, function, build=mlp, data=regression, kind=case, **options):
    """A case: everything, `function(model)`, everything again, and fit once more."""

    @kind(f"change/{name}", **options)
    def _(trial):
        model = trial.accelerate(build())
        trial.all(model, *data())
        function(model)
        trial.all(model, *data())
        trial.fit(model, *data(), epochs=1)


def setting(**values):
    """A function that sets attributes of the model's first layer."""

    def function(model):
        for name, value in values.items():
            setattr(model.layers[0], name, value)

    return function


def dropout():
    return sequential((4,), layers.Dropout(0.3, seed=2), layers.Dense(3), **XLA)


def norm(make=layers.BatchNormalization):
    return sequential((4,), make(), layers.Dense(3))


def convolution(kind=layers.Conv2D, **options):
    return sequential((6, 6, 2), kind(3, 3, **options), layers.ReLU(), layers.MaxPooling2D(2))


def images():
    return numbers(N, 6, 6, 2), numbers(N, 2, seed=1)


# Layers

change("layer is frozen", setting(trainable=False))
change("model is frozen", lambda model: setattr(model, "trainable", False))
change("layer was frozen and no longer is", setting(trainable=True), build=lambda: _frozen())
change("batch norm is frozen", setting(trainable=False), build=norm)
change(
    "batch norm of kerasnets is frozen",
    setting(trainable=False),
    build=lambda: norm(kerasnets.layers.BatchNormalization),
)
change("momentum of batch norm", setting(momentum=0.2), build=norm)
change(
    "momentum of kerasnets' batch norm", setting(momentum=0.2), build=lambda: norm(kerasnets.layers.BatchNormalization)
)
change("epsilon of batch norm", setting(epsilon=0.5), build=norm)
change(
    "epsilon of kerasnets' batch norm", setting(epsilon=0.5), build=lambda: norm(kerasnets.layers.BatchNormalization)
)
change("activation", setting(activation=keras.activations.relu))
change("activation of a convolution", setting(activation=keras.activations.tanh), build=convolution, data=images)
change("bias is left out", setting(use_bias=False, bias=None))
change("rate of dropout", setting(rate=0.8), build=dropout)
change("rate of dropout is 0", setting(rate=0.0), build=dropout)
change("seed generator of dropout", lambda model: model.layers[0].seed_generator.state.assign([0, 7]), build=dropout)
change(
    "strides of a pooling",
    lambda model: setattr(model.layers[2], "strides", (1, 1)),
    build=lambda: _open_pooling(),
    data=images,
)
change(
    "slope of a ReLU before pooling",
    lambda model: setattr(model.layers[1], "negative_slope", 0.5),
    build=convolution,
    data=images,
)
change(
    "threshold of a ReLU before pooling",
    lambda model: setattr(model.layers[1], "threshold", 0.5),
    build=convolution,
    data=images,
)
change(
    "slope of a leaky ReLU",
    lambda model: setattr(model.layers[0], "negative_slope", 0.9),
    build=lambda: sequential((4,), layers.LeakyReLU(0.1), layers.Dense(3)),
)
change(
    "slope of kerasnets' leaky ReLU",
    lambda model: setattr(model.layers[0], "negative_slope", 0.9),
    build=lambda: sequential((4,), kerasnets.layers.LeakyReLU(0.1), layers.Dense(3)),
)
change(
    "scale of a rescaling", setting(scale=3.0), build=lambda: sequential((4,), layers.Rescaling(0.5), layers.Dense(3))
)
change(
    "deviation of a noise",
    setting(stddev=2.0),
    build=lambda: sequential((4,), layers.GaussianNoise(0.1, seed=4), layers.Dense(3), **XLA),
)
change(
    "kernel regularizer",
    lambda model: setattr(model.layers[0], "kernel_regularizer", keras.regularizers.L2(0.3)),
    build=lambda: sequential((4,), layers.Dense(3, kernel_regularizer="l2")),
)
change(
    "strength of a regularizer",
    lambda model: setattr(model.layers[0].kernel_regularizer, "l2", np.float32(0.5)),
    build=lambda: sequential((4,), layers.Dense(3, kernel_regularizer="l2")),
)
change("kernel constraint", lambda model: setattr(model.layers[0].kernel, "constraint", keras.constraints.MaxNorm(0.2)))
change(
    "attribute of a constraint",
    lambda model: setattr(model.layers[0].kernel_constraint, "max_value", 0.1),
    build=lambda: sequential((4,), layers.Dense(3, kernel_constraint=keras.constraints.MaxNorm(1.0))),
)
change("activity regularizer", setting(activity_regularizer=keras.regularizers.L2(0.1)))
change("lora", lambda model: model.layers[0].enable_lora(2), build=lambda: sequential((4,), layers.Dense(3)))
change("weights", lambda model: model.set_weights([2 * w for w in model.get_weights()]))
change("one weight", lambda model: model.layers[0].kernel.assign(model.layers[0].kernel * 0.5))
change("optimizer's state", lambda model: [v.assign(v * 0) for v in model.optimizer.variables if "momentum" in v.path])
change(
    "method call of a layer",
    lambda model: setattr(model.layers[0], "call", _doubled(model.layers[0])),
    user_code=True,
    known=dict.fromkeys(("jax", "tensorflow"), "stock Keras goes on with the step that it traced before"),
)
change(
    "quantized",
    lambda model: model.quantize("int8"),
    build=lambda: sequential((4,), layers.Dense(3)),
    backends=("jax", "tensorflow"),
    raises=True,
)
change(
    "layer's precision",
    lambda model: setattr(model.layers[0], "dtype_policy", keras.DTypePolicy("mixed_bfloat16")),
    rtol=3e-2,
    atol=3e-2,
)
change(
    "a layer is added",
    lambda model: (model.add(layers.Dense(2, name="last", kernel_initializer="ones")), model.compile(sgd(), "mse")),
)
change(
    "a layer is taken away",
    lambda model: (
        model.pop(),
        model.add(layers.Dense(2, kernel_initializer="ones", name="new")),
        model.compile(sgd(), "mse"),
    ),
)


def _frozen():
    model = mlp()
    model.layers[0].trainable = False
    model.compile(sgd(), "mse")
    return model


def _open_pooling():
    inputs = keras.Input((6, 6, 2))
    x = layers.MaxPooling2D(2)(layers.ReLU()(layers.Conv2D(3, 3)(inputs)))
    return functional(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def _doubled(layer):
    call = layer.call
    return lambda *args, **kwargs: 2 * call(*args, **kwargs)


# Optimizer and losses


#: Keras's own optimizers compute parts in float32 even in float64.
PARTLY = {"rtol": 1e-5, "atol": 1e-6}


def optimizing(name, values, make, **options):
    change(
        f"optimizer/{name}",
        lambda model: [setattr(model.optimizer, k, v) for k, v in values.items()],
        build=lambda: mlp(optimizer=make(), loss=kerasnets.losses.MSELoss()),
        kind=exact,
        **{**({} if name.startswith("kerasnets") else PARTLY), **options},
    )


optimizing("learning rate", {"learning_rate": 0.01}, sgd)
optimizing("learning rate of Adam", {"learning_rate": 0.1}, lambda: keras.optimizers.Adam(0.01))
optimizing("momentum", {"momentum": 0.1}, sgd)
optimizing("nesterov", {"nesterov": True}, sgd)
optimizing("betas", {"beta_1": 0.5, "beta_2": 0.8, "epsilon": 0.1}, lambda: keras.optimizers.Adam(0.01))
optimizing("rho", {"rho": 0.2}, lambda: keras.optimizers.RMSprop(0.01))
optimizing("clipnorm", {"clipnorm": 0.01}, sgd)
optimizing("clipvalue", {"clipvalue": 0.01}, sgd)
optimizing("global clipnorm", {"global_clipnorm": 0.01}, sgd)
optimizing("no more clipnorm", {"clipnorm": None}, lambda: keras.optimizers.SGD(0.1, clipnorm=0.01))
optimizing("weight decay", {"weight_decay": 0.5}, lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1))
optimizing("average's momentum", {"ema_momentum": 0.1}, lambda: keras.optimizers.SGD(0.1, use_ema=True))
optimizing(
    "average's frequency",
    {"ema_overwrite_frequency": 2},
    lambda: keras.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=5),
)
optimizing(
    "loss scale", {"loss_scale_factor": 4.0}, lambda: keras.optimizers.SGD(0.1, loss_scale_factor=2.0, clipnorm=0.05)
)
optimizing(
    "accumulation", {"gradient_accumulation_steps": 3}, lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
)
optimizing(
    "kerasnets SGD",
    {"momentum": 0.1, "weight_decay": 0.3},
    lambda: kerasnets.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1),
)
optimizing(
    "kerasnets SGD, dampening and nesterov", {"dampening": 0.5}, lambda: kerasnets.optimizers.SGD(0.1, momentum=0.9)
)
optimizing("kerasnets SGD, maximize", {"maximize": True}, lambda: kerasnets.optimizers.SGD(0.1))
optimizing("kerasnets SGD, clip", {"clip_grad_norm": 0.01}, lambda: kerasnets.optimizers.SGD(0.1))
optimizing("kerasnets Adam", {"beta_1": 0.5, "beta_2": 0.8, "epsilon": 0.1}, lambda: kerasnets.optimizers.Adam(0.01))
optimizing("kerasnets Adam, decay", {"weight_decay": 0.5}, lambda: kerasnets.optimizers.Adam(0.01))
optimizing("kerasnets RMSprop", {"rho": 0.2}, lambda: kerasnets.optimizers.RMSprop(0.01))


@exact("change/optimizer/a schedule's attribute", **PARTLY)
def _(trial):
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    model = trial.accelerate(mlp(optimizer=keras.optimizers.SGD(rate), loss=kerasnets.losses.MSELoss()))
    trial.fit(model, *regression())
    rate.decay_rate = 0.9
    rate.initial_learning_rate = 0.2
    trial.fit(model, *regression())


@exact("change/optimizer/another schedule", **PARTLY)
def _(trial):
    model = mlp(
        optimizer=keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
        loss=kerasnets.losses.MSELoss(),
    )
    model = trial.accelerate(model)
    trial.fit(model, *regression())
    model.optimizer.learning_rate = keras.optimizers.schedules.PolynomialDecay(0.2, 30)
    trial.fit(model, *regression())


@exact("change/optimizer/another object without compile", **PARTLY)
def _(trial):
    model = trial.accelerate(mlp(loss=kerasnets.losses.MSELoss()))
    trial.fit(model, *regression())
    model.optimizer = keras.optimizers.SGD(0.01, momentum=0.2)
    model.optimizer.build(model.trainable_variables)
    trial.fit(model, *regression())


def losing(name, values, make, outputs=3, activation=None, **options):
    change(
        f"loss/{name}",
        lambda model: [setattr(model.loss, k, v) for k, v in values.items()],
        build=lambda: mlp(4, outputs, activation, loss=make()),
        data=classification,
        **options,
    )


losing("smoothing of kerasnets' cross-entropy", {"label_smoothing": 0.5}, kerasnets.losses.CrossEntropyLoss)
losing("weights of kerasnets' cross-entropy", {"weight": [0.1, 1.0, 5.0]}, kerasnets.losses.CrossEntropyLoss)
losing("ignored label of kerasnets' cross-entropy", {"ignore_index": 1}, kerasnets.losses.CrossEntropyLoss)
losing("reduction of kerasnets' cross-entropy", {"reduction": "sum"}, kerasnets.losses.CrossEntropyLoss)


def _probabilities_at_a_distance():
    """Of a Rescaling's values nobody knows whether they are probabilities, so NLLLoss takes them either way."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax"), layers.Rescaling(1.0)])
    model.compile(sgd(), kerasnets.losses.NLLLoss())
    return model


change(
    "loss/kerasnets' nll from probabilities",
    lambda model: setattr(model.loss, "from_probabilities", True),
    build=_probabilities_at_a_distance,
    data=classification,
)
losing(
    "reduction of Keras's", {"reduction": "sum"}, lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
)
losing(
    "ignored class of Keras's",
    {"_fn_kwargs": {"from_logits": True, "ignore_class": 1}, "ignore_class": 1},
    lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)


@case("change/loss/weights of the losses in place")
def _(trial):
    inputs = keras.Input((4,))
    weights = [1.0, 2.0]
    model = functional(
        inputs, [layers.Dense(2)(inputs), layers.Dense(2)(inputs)], loss=["mse", "mae"], loss_weights=weights
    )
    model = trial.accelerate(model)
    y = [numbers(N, 2, seed=1), numbers(N, 2, seed=2)]
    trial.fit(model, numbers(N, 4), y, batch_size=5)
    weights[0] = 10.0
    trial.fit(model, numbers(N, 4), y, batch_size=5)


@case("change/loss/another one without compile")
def _(trial):
    model = trial.accelerate(mlp())
    trial.fit(model, *regression())
    model.loss = "mae"
    trial.fit(model, *regression())


@case("change/metric/threshold")
def _(trial):
    accuracy = keras.metrics.BinaryAccuracy(threshold=0.5)
    model = trial.accelerate(mlp(4, 1, "sigmoid", loss="binary_crossentropy", metrics=[accuracy]))
    data = numbers(N, 4), labels(N, 1, classes=2)
    trial.all(model, *data)
    accuracy._fn_kwargs["threshold"] = 0.9
    trial.all(model, *data)


@case("change/global/image data format and epsilon")
def _(trial):
    model = trial.accelerate(mlp(4, 3, "softmax", loss="categorical_crossentropy"))
    x, y = numbers(N, 4), np.eye(3, dtype="float32")[labels(N)]
    trial.fit(model, x, y)
    keras.config.set_epsilon(0.2)
    try:
        trial.fit(model, x, y)
    finally:
        keras.config.set_epsilon(1e-7)


# Compile again


def again(name, given, build=mlp, **options):
    change(
        f"compile/{name}",
        lambda model: model.compile(**{"optimizer": sgd(), "loss": "mse", **given()}),
        build=build,
        **options,
    )


again("the same", dict)
again("another loss", lambda: {"loss": "mae"})
again("another optimizer", lambda: {"optimizer": keras.optimizers.Adam(0.001)}, rtol=1e-3, atol=1e-4)
again("more metrics", lambda: {"metrics": ["mae", "mse"]})
again("fewer metrics", dict, build=lambda: mlp(metrics=["mae"]))
again("weighted metrics", lambda: {"weighted_metrics": ["mae"]})
again("run eagerly", lambda: {"run_eagerly": True})
again("jit_compile off", lambda: {"jit_compile": False})
again("jit_compile on", lambda: {"jit_compile": True}, backends=("jax", "tensorflow"))
again("steps per execution", lambda: {"steps_per_execution": 2}, backends=("jax", "tensorflow"))
again("frozen, then compiled", dict, build=lambda: _frozen())


@case("change/compile/the same optimizer object")
def _(trial):
    made = sgd()
    model = trial.accelerate(mlp(optimizer=made))
    trial.fit(model, *regression())
    model.compile(made, "mae")
    trial.fit(model, *regression())


@case("change/compile/two models with one optimizer")
def _(trial):
    made = sgd()
    shared = layers.Dense(3)
    first = trial.accelerate(sequential((4,), shared, layers.Dense(2), head=0, optimizer=made))
    second = trial.accelerate(keras.Sequential([keras.Input((4,)), shared]))
    trial.fit(first, *regression())
    second.compile("sgd", "mse")
    trial.fit(second, numbers(N, 4), numbers(N, 3))
    trial.fit(first, *regression())


@case("change/run_eagerly set on the model")
def _(trial):
    model = trial.accelerate(mlp())
    trial.fit(model, *regression())
    model.run_eagerly = True
    trial.all(model, *regression())


@case("change/frozen without compile, counted by the optimizer")
def _(trial):
    model = trial.accelerate(mlp(optimizer=keras.optimizers.Adam(0.001)))
    trial.fit(model, *regression())
    model.layers[0].trainable = False
    trial.fit(model, *regression())
    model.layers[0].trainable = True
    trial.fit(model, *regression())


# The order of the methods


@case("order/predict, evaluate, fit")
def _(trial):
    model = trial.accelerate(classifier())
    x, y = classification()
    for _ in range(2):
        trial.predict(model, x)
        trial.evaluate(model, x, y)
        trial.fit(model, x, y)


@case("order/fit with other batch sizes")
def _(trial):
    model = trial.accelerate(classifier())
    for size in (4, 7, 4, 20, 1):
        trial.all(model, *classification(), batch_size=size, epochs=1)


@case("order/train_on_batch and test_on_batch between")
def _(trial):
    model = trial.accelerate(classifier())
    x, y = classification()
    trial.fit(model, x, y)
    trial.note("train", [model.train_on_batch(x[:5], y[:5], return_dict=True) for _ in range(2)])
    trial.note("test", model.test_on_batch(x, y))
    trial.note("predict", model.predict_on_batch(x))
    trial.fit(model, x, y)
    trial.note("call", model(x))


@case("order/stock and fast in turns")
def _(trial):
    model = trial.accelerate(
        sequential((4,), layers.BatchNormalization(), layers.Dense(3), layers.Dropout(0.3, seed=2), **XLA)
    )
    x, y = regression()
    for accelerate in (None, False, None, False):
        trial.fit(model, x, y, accelerate=accelerate)
        trial.evaluate(model, x, y, accelerate=accelerate)
        trial.predict(model, x, accelerate=accelerate)


@case("order/accelerated after a stock fit, and twice")
def _(trial):
    model = classifier()
    model.fit(*classification(), shuffle=False, verbose=0)
    trial.all(trial.accelerate(trial.accelerate(model)), *classification())


@case("order/two models that share layers")
def _(trial):
    shared = layers.Dense(5, activation="tanh")
    first = trial.accelerate(sequential((4,), shared, layers.Dense(2), head=0))
    second = trial.accelerate(sequential((4,), shared, layers.Dense(3), head=2))
    for _ in range(2):
        trial.fit(first, *regression())
        trial.fit(second, *regression())
    trial.predict(first, numbers(N, 4))


@case("order/an inner model trained on its own in between")
def _(trial):
    inner = sequential((4,), layers.Dense(5), layers.BatchNormalization(), head=3)
    outer = sequential((4,), inner, layers.Dense(2), head=0)
    inner, outer = trial.accelerate(inner), trial.accelerate(outer)
    for _ in range(2):
        trial.fit(outer, *regression())
        trial.fit(inner, numbers(N, 4), numbers(N, 3))
    trial.evaluate(outer, *regression())


@case("order/saved and loaded between")
def _(trial):
    model = trial.accelerate(
        sequential((4,), layers.Dense(5), layers.BatchNormalization(), layers.Dropout(0.2, seed=3), **XLA)
    )
    trial.fit(model, *regression())
    model.save(trial.folder / "model.keras")
    model.save_weights(trial.folder / "one.weights.h5")
    trial.fit(model, *regression())
    model.load_weights(trial.folder / "one.weights.h5")
    trial.fit(model, *regression())
    loaded = trial.accelerate(keras.models.load_model(trial.folder / "model.keras"))
    trial.state(loaded, "loaded")
    trial.fit(loaded, *regression())


@case("order/cloned")
def _(trial):
    model = trial.accelerate(mlp())
    trial.fit(model, *regression())
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    clone.compile(sgd(), "mse")
    trial.fit(trial.accelerate(clone), *regression())
    trial.fit(model, *regression())


@case("order/pickled and copied")
def _(trial):
    import copy
    import pickle

    model = trial.accelerate(mlp())
    trial.fit(model, *regression())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        trial.state(other, "other")
        trial.note("evaluate", other.evaluate(*regression(), verbose=0))
        trial.note("fit", other.fit(*regression(), verbose=0, shuffle=False).history)
    trial.fit(model, *regression())


@case("order/predict twice with noise at inference")
def _(trial):
    inputs = keras.Input((4,))
    model = trial.accelerate(
        functional(inputs, layers.Dense(2)(layers.GaussianNoise(0.5, seed=4)(inputs, training=True)))
    )
    trial.predict(model, numbers(N, 4))
    trial.predict(model, numbers(N, 4))
    trial.evaluate(model, *regression())
    trial.evaluate(model, *regression())


@case("order/evaluate leaves the metrics that fit had")
def _(trial):
    model = trial.accelerate(classifier())
    x, y = classification()
    trial.fit(model, x, y)
    trial.note("after fit", model.get_metrics_result())
    trial.evaluate(model, x[:9], y[:9])
    trial.note("after evaluate", model.get_metrics_result())
    trial.note("names", model.metrics_names)


@case("order/history object and attributes")
def _(trial):
    model = trial.accelerate(classifier())
    history = model.fit(*classification(), batch_size=8, epochs=3, verbose=0, shuffle=False, validation_split=0.25)
    trial.note("params", dict(history.params))
    trial.note("same", history is model.history)
    trial.note("model", history.model is model)
    trial.note("attributes", [model.stop_training, bool(model.optimizer.built), int(model.optimizer.iterations.value)])


@case("order/predictor")
def _(trial):
    model = trial.accelerate(
        sequential(
            (4,), layers.Dense(5, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.4, seed=3), **XLA
        )
    )
    for _ in range(2):
        trial.fit(model, *regression())
        x = numbers(N, 4)
        found = kerasnets.predictor(model)(x) if trial.fast else model.predict(x, verbose=0)
        trial.note("predictor", found)
        trial.note("one", kerasnets.predictor(model)(x[3]) if trial.fast else found[3])
        if trial.fast:
            model.layers[0].kernel.assign(model.layers[0].kernel * 1.0)


@case("order/predictor, made again after a change")
def _(trial):
    model = trial.accelerate(sequential((4,), layers.Dense(5, activation="relu"), layers.Dense(3)))
    x = numbers(N, 4)
    for act in (
        lambda: None,
        lambda: model.fit(*regression(), verbose=0, shuffle=False),
        lambda: setattr(model.layers[0], "activation", keras.activations.tanh),
    ):
        act()
        trial.note(
            "predictor",
            kerasnets.predictor(model)(x)
            if trial.fast
            else model(x).numpy()
            if trial.backend == "tensorflow"
            else keras.ops.convert_to_numpy(model(x)),
        )


@case("order/weights of examples now and then")
def _(trial):
    model = trial.accelerate(classifier(weighted_metrics=["accuracy"]))
    x, y = classification()
    for weights in (None, uniform(N), None, np.zeros(N)):
        trial.fit(model, x, y, sample_weight=weights)
        trial.evaluate(model, x, y, sample_weight=weights)


@case("order/compiled with jit_compile off")
def _(trial):
    trial.all(trial.accelerate(mlp(jit_compile=False)), *regression())


@case("order/compiled with run_eagerly")
def _(trial):
    trial.all(trial.accelerate(mlp(run_eagerly=True)), *regression())


for _steps in (2, 3, 7):

    @case(f"order/steps per execution of {_steps}", backends=("jax", "tensorflow"))
    def _(trial, steps=_steps):
        from harness import Recorder

        model = trial.accelerate(mlp(steps_per_execution=steps, metrics=["mae"]))
        trial.fit(model, *regression(), batch_size=4, callbacks=[Recorder()], validation_split=0.3)
        trial.evaluate(model, *regression(), batch_size=4, callbacks=[Recorder()])
        trial.predict(model, numbers(N, 4), batch_size=4, callbacks=[Recorder()])


@case("order/auto scaled loss")
def _(trial):
    trial.all(trial.accelerate(mlp(auto_scale_loss=False)), *regression())
