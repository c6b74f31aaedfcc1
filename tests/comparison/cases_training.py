"""Optimizers, schedules, losses, metrics, weights of examples, and precisions."""

import keras
import numpy as np
from harness import ALL, case, exact
from keras import layers, losses, metrics, ops, optimizers
from keras.optimizers import schedules
from parts import (
    classification,
    classifier,
    functional,
    labels,
    mlp,
    numbers,
    one_hot,
    regression,
    sequential,
    sgd,
    uniform,
)

import kerasnets

N = 20

# Optimizers: in float64, where no rounding is near to the roots of Adam and its kin


#: Keras's own optimizers compute parts in float32 even so.
PARTLY = {"rtol": 1e-5, "atol": 1e-6}


#: Cases of optimizers in which stock Keras can't be what the fast path is held to.
DONATED_TWICE = {"jax": "stock Keras raises in the second fit: one buffer is donated twice"}
KNOWN = {
    "average of weights": DONATED_TWICE,
    "average of weights/every 4 steps": DONATED_TWICE,
    "accumulation/with an average": DONATED_TWICE,
    "kerasnets SGD/average of weights": DONATED_TWICE,
}


def optimizer(name, make, kind=exact, **options):
    partly = {} if name.startswith("kerasnets") else PARTLY

    @kind(f"optimizer/{name}", **{**partly, "known": KNOWN.get(name, {}), **options})
    def _(trial):
        model = trial.accelerate(mlp(optimizer=make(), loss=kerasnets.losses.MSELoss()))
        x, y = regression()
        trial.fit(model, x, y, epochs=3)
        trial.fit(model, x, y, epochs=1)
        trial.evaluate(model, x, y)


for _name, _make in {
    "SGD": lambda: optimizers.SGD(0.1),
    "SGD/momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "SGD/nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "SGD/weight decay": lambda: optimizers.SGD(0.1, weight_decay=0.05),
    "Adam": lambda: optimizers.Adam(0.01),
    "Adam/amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True, beta_1=0.5),
    "AdamW": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "Nadam": lambda: optimizers.Nadam(0.01),
    "Adamax": lambda: optimizers.Adamax(0.01),
    "Adagrad": lambda: optimizers.Adagrad(0.1),
    "Adadelta": lambda: optimizers.Adadelta(1.0),
    "RMSprop": lambda: optimizers.RMSprop(0.01, centered=True, momentum=0.5),
    "Ftrl": lambda: optimizers.Ftrl(0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.01),
    "Lion": lambda: optimizers.Lion(0.01),
    "Lamb": lambda: optimizers.Lamb(0.01),
    "Adafactor": lambda: optimizers.Adafactor(0.01),
    "Muon": lambda: optimizers.Muon(0.01),
    "ScheduleFreeAdamW": lambda: optimizers.ScheduleFreeAdamW(0.01, warmup_steps=3),
    "clipnorm": lambda: optimizers.SGD(0.1, momentum=0.5, clipnorm=0.1),
    "clipvalue": lambda: optimizers.SGD(0.1, momentum=0.5, clipvalue=0.05),
    "global clipnorm": lambda: optimizers.Adam(0.01, global_clipnorm=0.1),
    "average of weights": lambda: optimizers.SGD(0.1, use_ema=True, ema_momentum=0.7),
    "average of weights/every 4 steps": lambda: optimizers.Adam(
        0.01, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=4
    ),
    "accumulation": lambda: optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
    "accumulation/over epochs, Adam": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=4),
    "accumulation/with an average": lambda: optimizers.SGD(
        0.1, gradient_accumulation_steps=2, use_ema=True, ema_overwrite_frequency=2
    ),
    "loss scale factor": lambda: optimizers.SGD(0.1, momentum=0.9, loss_scale_factor=64.0),
    "loss scale factor/clipped": lambda: optimizers.SGD(0.1, loss_scale_factor=64.0, clipnorm=0.1),
    "loss scaling": lambda: optimizers.LossScaleOptimizer(
        optimizers.SGD(0.1, momentum=0.9), initial_scale=8.0, dynamic_growth_steps=2
    ),
    "schedule/exponential": lambda: optimizers.SGD(
        schedules.ExponentialDecay(0.1, 2, 0.7, staircase=True), momentum=0.9
    ),
    "schedule/piecewise": lambda: optimizers.SGD(schedules.PiecewiseConstantDecay([2, 5], [0.1, 0.01, 0.05])),
    "schedule/cosine with warm-up": lambda: optimizers.Adam(
        schedules.CosineDecay(0.0, 8, warmup_target=0.02, warmup_steps=3)
    ),
    "schedule/cosine restarts": lambda: optimizers.SGD(schedules.CosineDecayRestarts(0.1, 3)),
    "schedule/polynomial, cycle": lambda: optimizers.SGD(schedules.PolynomialDecay(0.1, 3, cycle=True)),
    "schedule/inverse time, accumulation": lambda: optimizers.SGD(
        schedules.InverseTimeDecay(0.1, 1, 0.5), gradient_accumulation_steps=2
    ),
    "kerasnets SGD": lambda: kerasnets.optimizers.SGD(0.1),
    "kerasnets SGD/momentum": lambda: kerasnets.optimizers.SGD(0.1, momentum=0.9),
    "kerasnets SGD/dampening": lambda: kerasnets.optimizers.SGD(0.1, momentum=0.9, dampening=0.3, weight_decay=0.1),
    "kerasnets SGD/nesterov": lambda: kerasnets.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "kerasnets SGD/maximize": lambda: kerasnets.optimizers.SGD(0.01, maximize=True, weight_decay=0.1),
    "kerasnets SGD/groups": lambda: kerasnets.optimizers.SGD(
        0.1, momentum=0.5, weight_decay=0.1, param_groups=kerasnets.optimizers.no_weight_decay()
    ),
    "kerasnets SGD/clip": lambda: kerasnets.optimizers.SGD(0.1, momentum=0.5, clip_grad_norm=0.1),
    "kerasnets SGD/clip value": lambda: kerasnets.optimizers.SGD(0.1, clip_grad_value=0.05),
    "kerasnets SGD/average of weights": lambda: kerasnets.optimizers.SGD(
        0.1, momentum=0.9, use_ema=True, ema_overwrite_frequency=3
    ),
    "kerasnets SGD/accumulation": lambda: kerasnets.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
    "kerasnets Adam": lambda: kerasnets.optimizers.Adam(0.01, weight_decay=0.1),
    "kerasnets Adam/amsgrad": lambda: kerasnets.optimizers.Adam(0.01, amsgrad=True),
    "kerasnets AdamW": lambda: kerasnets.optimizers.AdamW(0.01),
    "kerasnets RMSprop": lambda: kerasnets.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "kerasnets Adagrad": lambda: kerasnets.optimizers.Adagrad(0.1, lr_decay=0.1),
    "kerasnets Adadelta": lambda: kerasnets.optimizers.Adadelta(1.0),
    "kerasnets schedule/step": lambda: kerasnets.optimizers.SGD(
        kerasnets.schedules.StepLR(0.1, step_size=2, gamma=0.5), momentum=0.9
    ),
    "kerasnets schedule/step, epochs": lambda: kerasnets.optimizers.Adam(
        kerasnets.schedules.StepLR(0.1, step_size=1, gamma=0.5, steps_per_epoch=3)
    ),
    "kerasnets schedule/one cycle": lambda: kerasnets.optimizers.SGD(
        kerasnets.schedules.OneCycleLR(0.1, total_steps=12), momentum=0.9
    ),
    "kerasnets schedule/one cycle, Adam": lambda: kerasnets.optimizers.Adam(
        kerasnets.schedules.OneCycleLR(0.01, total_steps=12)
    ),
    "kerasnets schedule/cosine": lambda: kerasnets.optimizers.SGD(kerasnets.schedules.CosineAnnealingLR(0.1, T_max=5)),
    "kerasnets schedule on Keras's SGD": lambda: optimizers.SGD(
        kerasnets.schedules.ExponentialLR(0.1, 0.8), momentum=0.9
    ),
}.items():
    optimizer(_name, _make)


for _name, _make in {
    "SGD": lambda: optimizers.SGD(0.1, momentum=0.9),
    "kerasnets SGD": lambda: kerasnets.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01),
    "kerasnets Adam": lambda: kerasnets.optimizers.Adam(0.001),
    "Adam": lambda: optimizers.Adam(0.001),
}.items():
    optimizer(f"{_name}/float32", _make, kind=case, rtol=1e-3, atol=1e-4)


@case("optimizer/string")
def _(trial):
    trial.all(trial.accelerate(mlp(optimizer="sgd")), *regression())


@exact("optimizer/learning rate is a Python function", **PARTLY, user_code=True)
def _(trial):
    rates = iter([0.1, 0.01, 0.2, 0.05] * 50)
    trial.fit(
        trial.accelerate(mlp(optimizer=optimizers.SGD(lambda: next(rates)), loss=kerasnets.losses.MSELoss())),
        *regression(),
    )


@exact("optimizer/schedule of the user's", **PARTLY, traceable=True)
def _(trial):
    class Rate(schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 / (1.0 + ops.cast(step, "float32"))

    trial.fit(
        trial.accelerate(mlp(optimizer=optimizers.SGD(Rate(), momentum=0.5), loss=kerasnets.losses.MSELoss())),
        *regression(),
    )


@exact("optimizer/of the user's", **PARTLY, traceable=True)
def _(trial):
    class Signs(optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(ops.sign(gradient) * 0.1, variable, learning_rate)

    trial.fit(trial.accelerate(mlp(optimizer=Signs(0.1), loss=kerasnets.losses.MSELoss())), *regression())


@exact("optimizer/several", **PARTLY)
def _(trial):
    parts = {"sequential/linear/.*": optimizers.SGD(0.1, momentum=0.5)}
    made = optimizers.MultiOptimizer(optimizers.OptimizerMap(optimizers.Adam(0.01), parts))
    trial.all(trial.accelerate(mlp(optimizer=made, loss=kerasnets.losses.MSELoss())), *regression())


@exact("optimizer/excluded from weight decay", **PARTLY)
def _(trial):
    made = optimizers.AdamW(0.01, weight_decay=0.5)
    made.exclude_from_weight_decay(var_names=["bias"])
    trial.fit(trial.accelerate(mlp(optimizer=made, loss=kerasnets.losses.MSELoss())), *regression())


@exact("optimizer/embedding, sparse gradients", **PARTLY)
def _(trial):
    for made in (optimizers.Adam(0.01), optimizers.SGD(0.1, momentum=0.9), kerasnets.optimizers.Adam(0.01)):
        model = sequential((4,), layers.Embedding(9, 3), optimizer=made, loss=kerasnets.losses.MSELoss())
        trial.fit(trial.accelerate(model), labels(N, 4, classes=9), numbers(N, 2))


# Losses


def loss(name, make, x=None, y=None, outputs=3, activation=None, **options):
    fit = options.pop("fit", {})

    @case(f"loss/{name}", **options)
    def _(trial):
        model = trial.accelerate(mlp(4, outputs, activation, loss=make()))
        trial.all(model, numbers(N, 4), one_hot(N) if y is None else y(), **fit)


WEIGHTS = {"sample_weight": np.linspace(0, 2, N).astype("float32")}

for _name, _make in {
    "mse": lambda: "mse",
    "mae": lambda: "mae",
    "huber": lambda: losses.Huber(0.3),
    "log cosh": lambda: "log_cosh",
    "msle": lambda: "msle",
    "mape": lambda: losses.MeanAbsolutePercentageError(),
    "cosine": lambda: losses.CosineSimilarity(axis=-1),
    "hinge": lambda: "hinge",
    "squared hinge": lambda: "squared_hinge",
    "categorical hinge": lambda: "categorical_hinge",
    "binary, logits": lambda: losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
    "binary focal": lambda: losses.BinaryFocalCrossentropy(from_logits=True, apply_class_balancing=True),
    "categorical, logits": lambda: losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    "categorical focal, logits": lambda: losses.CategoricalFocalCrossentropy(from_logits=True),
    "function of keras.losses": lambda: losses.mean_squared_error,
    "sum": lambda: losses.MeanSquaredError(reduction="sum"),
    "mean with sample weight": lambda: losses.MeanSquaredError(reduction="mean_with_sample_weight"),
}.items():
    if _name != "mape":
        loss(_name, _make)
    if _name in ("mse", "sum", "mean with sample weight", "categorical, logits", "function of keras.losses"):
        loss(f"{_name}, weighted", _make, fit=WEIGHTS)
for _name, _make in {
    "categorical": lambda: "categorical_crossentropy",
    "kl": lambda: "kl_divergence",
    "poisson": lambda: "poisson",
    "dice": lambda: losses.Dice(),
    "tversky": lambda: losses.Tversky(alpha=0.3),
    "generalized": lambda: losses.CategoricalGeneralizedCrossEntropy(),
    "binary": lambda: "binary_crossentropy",
}.items():
    loss(_name, _make, activation="softmax", **({"y": lambda: labels(N)} if _name == "generalized" else {}))
loss("circle", lambda: losses.Circle(), y=lambda: labels(N), activation="softmax", rtol=1e-3, atol=1e-4)
loss("reduction none", lambda: losses.MeanSquaredError(reduction=None), raises=True)

SPARSE = {
    "sparse": lambda: "sparse_categorical_crossentropy",
    "sparse, logits": lambda: losses.SparseCategoricalCrossentropy(from_logits=True),
    "sparse, sum": lambda: losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
    "kerasnets cross-entropy": lambda: kerasnets.losses.CrossEntropyLoss(),
    "kerasnets cross-entropy, smoothed": lambda: kerasnets.losses.CrossEntropyLoss(label_smoothing=0.2),
    "kerasnets cross-entropy, weights": lambda: kerasnets.losses.CrossEntropyLoss(weight=[0.2, 1.0, 3.0]),
    "kerasnets cross-entropy, smoothed with weights": lambda: kerasnets.losses.CrossEntropyLoss(
        [0.2, 1.0, 3.0], label_smoothing=0.1
    ),
    "kerasnets cross-entropy, sum": lambda: kerasnets.losses.CrossEntropyLoss(reduction="sum"),
    "kerasnets nll": lambda: kerasnets.losses.NLLLoss(from_probabilities=True),
    "kerasnets nll, weights, ignored": lambda: kerasnets.losses.NLLLoss(
        [0.2, 1.0, 3.0], ignore_index=1, from_probabilities=True
    ),
}
for _name, _make in SPARSE.items():
    _activation = None if "logits" in _name or "entropy" in _name or "sum" in _name else "softmax"
    for _form, _y in {
        "": lambda: labels(N),
        ", labels (n, 1)": lambda: labels(N, 1),
        ", uint8": lambda: labels(N, dtype="uint8"),
        ", float labels": lambda: labels(N, dtype="float32"),
    }.items():
        if not _form or _name in ("sparse", "kerasnets cross-entropy", "kerasnets nll, weights, ignored"):
            loss(_name + _form, _make, y=_y, activation=_activation)
loss(
    "sparse, ignored class",
    lambda: losses.SparseCategoricalCrossentropy(ignore_class=1),
    y=lambda: labels(N),
    activation="softmax",
)
loss(
    "sparse, weighted",
    lambda: "sparse_categorical_crossentropy",
    y=lambda: labels(N),
    activation="softmax",
    fit=WEIGHTS,
)
loss(
    "kerasnets cross-entropy, weighted",
    lambda: kerasnets.losses.CrossEntropyLoss(weight=[0.2, 1.0, 3.0]),
    y=lambda: labels(N),
    fit=WEIGHTS,
)


def _ignored():
    y = labels(N)
    y[:9] = -100  # a whole batch, and one more
    return y


loss("kerasnets cross-entropy, a batch all ignored", lambda: kerasnets.losses.CrossEntropyLoss(), y=_ignored)
loss(
    "kerasnets cross-entropy, label out of range",
    lambda: kerasnets.losses.CrossEntropyLoss(),
    y=lambda: labels(N, classes=5),
    known=dict.fromkeys(ALL, "the fast path raises an error that names the label"),
)
loss("kerasnets cross-entropy, probabilities", lambda: kerasnets.losses.CrossEntropyLoss(label_smoothing=0.1))
loss("kerasnets mse", lambda: kerasnets.losses.MSELoss(reduction="sum"), outputs=3)
loss("class instead of object", lambda: losses.MeanSquaredError, raises=True)


@case("loss/of the user's, a function", traceable=True)
def _(trial):
    def cubes(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)

    trial.all(trial.accelerate(mlp(loss=cubes)), *regression(), sample_weight=uniform(N))


@case("loss/of the user's, a class", traceable=True)
def _(trial):
    class Cubes(losses.Loss):
        def call(self, y_true, y_pred):
            return ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)

    trial.all(trial.accelerate(mlp(optimizer=keras.optimizers.SGD(0.001), loss=Cubes(reduction="sum"))), *regression())


@case("loss/of the user's, with a Python if on its value", user_code=True, backends=("torch",))
def _(trial):
    def odd(y_true, y_pred):
        value = ops.mean(ops.square(y_true - y_pred))
        return value if float(value) > 1.0 else 2 * value

    trial.all(trial.accelerate(mlp(loss=odd)), *regression())


@case("loss/none at all, by add_loss of a layer", traceable=True)
def _(trial):
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(ops.mean(ops.square(x)))
            return x

    trial.all(trial.accelerate(mlp_with(Penalty(), loss=None)), numbers(N, 4))


@case("loss/activity regularizer alone")
def _(trial):
    trial.all(trial.accelerate(mlp_with(layers.ActivityRegularization(l2=0.1), loss=None)), numbers(N, 4))


def mlp_with(layer, **compiled):
    return sequential((4,), layers.Dense(3), layer, **compiled)


# Several outputs


#: Batches of one size: stock Keras on TensorFlow doesn't know the last one's, and an output's loss counts it in full.
EVEN = {"batch_size": 5, "evaluate": {"batch_size": 5}}


def two_outputs(names=("b", "a"), form=list, kind=keras.Model, **compiled):
    inputs = keras.Input((4,))
    x = layers.Dense(5, activation="tanh")(inputs)
    outputs = [layers.Dense(2, name=names[0])(x), layers.Dense(3, activation="softmax", name=names[1])(x)]
    return functional(inputs, outputs if form is list else dict(zip(names, outputs, strict=True)), kind, **compiled)


TWO = {
    "lists": {"loss": ["mse", "categorical_crossentropy"]},
    "lists, weights of losses": {"loss": ["mse", "categorical_crossentropy"], "loss_weights": [0.3, 2.0]},
    "lists, metrics": {"loss": ["mse", "categorical_crossentropy"], "metrics": [["mae"], ["accuracy", "mse"]]},
    "lists, metrics of one": {"loss": ["mse", "categorical_crossentropy"], "metrics": [None, "accuracy"]},
    "one loss for both": {"loss": "mse", "metrics": ["mae", "mae"]},
    "by name": {"loss": {"a": "categorical_crossentropy", "b": "mse"}, "loss_weights": {"a": 0.3, "b": 2.0}},
    "by name, metrics": {
        "loss": {"a": "categorical_crossentropy", "b": "mse"},
        "metrics": {"a": "accuracy", "b": ["mae", "mse"]},
    },
    "by name, weighted metrics": {"loss": {"b": "mse", "a": "mse"}, "weighted_metrics": {"a": ["mae"], "b": ["mse"]}},
}
for _name, _given in TWO.items():

    @case(f"outputs/{_name}")
    def _(trial, given=_given):
        model = trial.accelerate(two_outputs(**given))
        trial.all(model, numbers(N, 4), [numbers(N, 2, seed=1), one_hot(N)], validation_split=0.25, **EVEN)


for _order in ("ab", "ba"):
    for _names in ("ab", "ba"):

        @case(f"outputs/dict {_names}, targets {_order}")
        def _(trial, order=_order, names=_names):
            given = (
                {"b": "mse", "a": "categorical_crossentropy"}
                if names == "ba"
                else {"a": "mse", "b": "categorical_crossentropy"}
            )
            y = {names[0]: numbers(N, 2, seed=1), names[1]: one_hot(N)}
            model = two_outputs(names, dict, loss={k: given[k] for k in order}, metrics={order[0]: ["mae"]})
            trial.all(trial.accelerate(model), numbers(N, 4), {k: y[k] for k in order}, **EVEN)


@case("outputs/list of outputs, targets as a dict")
def _(trial):
    model = two_outputs(loss={"b": "mse", "a": "categorical_crossentropy"})
    trial.all(trial.accelerate(model), numbers(N, 4), {"a": one_hot(N), "b": numbers(N, 2, seed=1)}, **EVEN)


@case("outputs/weights of examples, one an output")
def _(trial):
    model = two_outputs(
        loss=["mse", "categorical_crossentropy"], weighted_metrics=[["mae"], ["accuracy"]], metrics=[["mae"], []]
    )
    weights = [uniform(N, seed=3), uniform(N, seed=4)]
    trial.all(
        trial.accelerate(model), numbers(N, 4), [numbers(N, 2, seed=1), one_hot(N)], sample_weight=weights, **EVEN
    )


@case("outputs/weights of examples, by name")
def _(trial):
    model = two_outputs(
        form=dict, loss={"b": "mse", "a": "categorical_crossentropy"}, weighted_metrics={"a": ["accuracy"]}
    )
    weights = {"a": uniform(N, seed=3), "b": uniform(N, seed=4)}
    trial.all(
        trial.accelerate(model),
        numbers(N, 4),
        {"b": numbers(N, 2, seed=1), "a": one_hot(N)},
        sample_weight=weights,
        **EVEN,
    )


@case("outputs/one weight for two outputs")
def _(trial):
    model = two_outputs(loss=["mse", "categorical_crossentropy"], weighted_metrics=[["mae"], ["accuracy"]])
    trial.all(
        trial.accelerate(model),
        numbers(N, 4),
        [numbers(N, 2, seed=1), one_hot(N)],
        sample_weight=uniform(N, seed=3),
        **EVEN,
    )


@case("outputs/no loss for one")
def _(trial):
    model = two_outputs(form=dict, loss={"b": "mse"})
    trial.all(trial.accelerate(model), numbers(N, 4), {"b": numbers(N, 2, seed=1)}, **EVEN)


@case("outputs/no loss for one, metrics on it")
def _(trial):
    model = two_outputs(form=dict, loss={"b": "mse"}, metrics={"a": ["mae"]})
    trial.all(trial.accelerate(model), numbers(N, 4), {"b": numbers(N, 2, seed=1), "a": one_hot(N)}, **EVEN)


@case("outputs/targets for one too few", raises=True)
def _(trial):
    trial.fit(trial.accelerate(two_outputs(loss=["mse", "mse"])), numbers(N, 4), [numbers(N, 2)])


@case("outputs/last batch smaller")
def _(trial):
    trial.all(trial.accelerate(two_outputs(loss=["mse", "mse"])), numbers(N, 4), [numbers(N, 2, seed=1), one_hot(N)])


# Metrics

METRICS = {
    "accuracy": ("sparse", lambda: ["accuracy"]),
    "several accuracies": (
        "sparse",
        lambda: ["acc", metrics.SparseTopKCategoricalAccuracy(2, name="top"), "sparse_categorical_crossentropy"],
    ),
    "categorical": (
        "one-hot",
        lambda: [
            "accuracy",
            metrics.TopKCategoricalAccuracy(2),
            metrics.CategoricalCrossentropy(),
            metrics.F1Score(average="macro"),
        ],
    ),
    "F1 of classes": ("one-hot", lambda: [metrics.F1Score(threshold=0.4), metrics.FBetaScore(beta=2.0)]),
    "auc": ("binary", lambda: [metrics.AUC(num_thresholds=20), metrics.AUC(curve="PR", name="pr")]),
    "precision and recall": (
        "binary",
        lambda: [
            metrics.Precision(),
            metrics.Recall(thresholds=[0.3, 0.6]),
            metrics.TruePositives(),
            metrics.FalseNegatives(),
        ],
    ),
    "at sensitivity": ("binary", lambda: [metrics.SpecificityAtSensitivity(0.5), metrics.PrecisionAtRecall(0.5)]),
    "binary": (
        "binary",
        lambda: ["accuracy", metrics.BinaryAccuracy(threshold=0.3), metrics.BinaryCrossentropy(), metrics.BinaryIoU()],
    ),
    "mean iou": ("sparse", lambda: [metrics.MeanIoU(3, sparse_y_pred=False)]),
    "regression": (
        "regression",
        lambda: [
            "mae",
            "mse",
            metrics.RootMeanSquaredError(),
            metrics.CosineSimilarity(),
            metrics.MeanAbsolutePercentageError(),
        ],
    ),
    "r2": ("regression", lambda: [metrics.R2Score(), metrics.R2Score(class_aggregation=None, name="each")]),
    "correlation": ("regression", lambda: [metrics.PearsonCorrelation(), metrics.ConcordanceCorrelation()]),
    "same twice": ("regression", lambda: ["mae", "mae", metrics.MeanAbsoluteError()]),
    "loss function as metric": ("regression", lambda: [losses.mean_squared_error, losses.MeanAbsoluteError()]),
}
TARGETS = {
    "sparse": ("sparse_categorical_crossentropy", 3, "softmax", lambda: labels(N)),
    "one-hot": ("categorical_crossentropy", 3, "softmax", lambda: one_hot(N)),
    "binary": ("binary_crossentropy", 1, "sigmoid", lambda: labels(N, 1, classes=2)),
    "regression": ("mse", 2, None, lambda: numbers(N, 2, seed=1)),
}
for _name, (_task, _make) in METRICS.items():
    for _kind in ("metrics", "weighted_metrics"):
        if _name == "loss function as metric" and _kind == "weighted_metrics":
            continue  # which not every backend can

        @case(f"metric/{_name}, {_kind}", rtol=1e-3, atol=1e-4)
        def _(trial, task=_task, make=_make, kind=_kind):
            made, outputs, activation, y = TARGETS[task]
            model = trial.accelerate(mlp(4, outputs, activation, loss=made, **{kind: make()}))
            weights = {"sample_weight": uniform(N, seed=8)} if kind == "weighted_metrics" else {}
            trial.all(model, numbers(N, 4), y(), validation_data=(numbers(7, 4, seed=9), y()[:7]), **weights)


@case("metric/of the user's, a function", traceable=True)
def _(trial):
    def largest(y_true, y_pred):
        return ops.max(ops.abs(y_true - y_pred), axis=-1)

    trial.all(trial.accelerate(mlp(metrics=[largest])), *regression(), validation_split=0.3)


@case("metric/of the user's, a class", traceable=True)
def _(trial):
    class Largest(metrics.Metric):
        def __init__(self, **options):
            super().__init__(**options)
            self.value = self.add_variable((), "zeros", name="value")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.value.assign(ops.maximum(self.value + 0.0, ops.max(ops.abs(y_true - y_pred))))

        def result(self):
            return self.value + 0.0

        def reset_state(self):
            self.value.assign(0.0)

    trial.all(trial.accelerate(mlp(metrics=[Largest(name="largest")])), *regression(), validation_split=0.3)


@case("metric/of the user's, result is a dict", traceable=True)
def _(trial):
    class Two(metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(ops.abs(y_true - y_pred))

        def result(self):
            return {"z": super().result(), "a": 2 * super().result()}

    trial.all(trial.accelerate(mlp(metrics=[Two(name="two")])), *regression())


@case("metric/of the user's, counting in NumPy", user_code=True, backends=("torch",))
def _(trial):
    class Counting(metrics.Metric):
        seen = 0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.seen += len(y_true)

        def result(self):
            return float(self.seen)

        def reset_state(self):
            self.seen = 0

    trial.all(trial.accelerate(mlp(metrics=[Counting(name="counting")])), *regression(), validation_split=0.3)


# Weights of examples and classes


@case("weights/one a sample")
def _(trial):
    trial.all(trial.accelerate(classifier(weighted_metrics=["accuracy"])), *classification(), sample_weight=uniform(N))


@case("weights/zero")
def _(trial):
    trial.all(trial.accelerate(classifier(weighted_metrics=["accuracy"])), *classification(), sample_weight=np.zeros(N))


@case("weights/integers and (n, 1)")
def _(trial):
    for weights in (np.arange(N), uniform(N, 1), (np.arange(N) % 2).astype(bool)):
        trial.fit(trial.accelerate(classifier()), *classification(), sample_weight=weights)


@case("weights/with validation weights")
def _(trial):
    x, y = classification()
    held_out = (x[:6] + 1, y[:6], uniform(6))
    trial.fit(
        trial.accelerate(classifier(weighted_metrics=["accuracy"])),
        x,
        y,
        sample_weight=uniform(N),
        validation_data=held_out,
    )


@case("weights/split off with the validation")
def _(trial):
    model = trial.accelerate(classifier(weighted_metrics=["accuracy"]))
    trial.fit(model, *classification(), sample_weight=uniform(N), validation_split=0.3)


@case("weights/kerasnets loss and model")
def _(trial):
    model = kerasnets.models.Sequential([keras.Input((4,)), kerasnets.layers.Linear(3)])
    model.compile(
        kerasnets.optimizers.SGD(0.1),
        kerasnets.losses.CrossEntropyLoss(),
        metrics=["accuracy"],
        weighted_metrics=["accuracy"],
    )
    trial.all(trial.accelerate(model), *classification(), sample_weight=uniform(N))


CLASS_WEIGHTS = {0: 0.5, 1: 2.0, 2: 0.0}
for _name, _y in {
    "vector": lambda: labels(N),
    "column": lambda: labels(N, 1),
    "int32": lambda: labels(N, dtype="int32"),
    "uint8": lambda: labels(N, dtype="uint8"),
    "floats": lambda: labels(N, dtype="float32"),
}.items():

    @case(f"class weights/{_name}")
    def _(trial, y=_y):
        model = trial.accelerate(classifier(weighted_metrics=["accuracy"]))
        trial.fit(model, numbers(N, 4), y(), class_weight=CLASS_WEIGHTS, validation_split=0.3)


@case("class weights/one-hot")
def _(trial):
    model = trial.accelerate(mlp(4, 3, "softmax", loss="categorical_crossentropy", weighted_metrics=["accuracy"]))
    trial.fit(model, numbers(N, 4), one_hot(N), class_weight=CLASS_WEIGHTS)


@case("class weights/some classes left out")
def _(trial):
    trial.fit(trial.accelerate(classifier()), *classification(), class_weight={1: 3.0})


@case("class weights/beside weights", raises=True)
def _(trial):
    trial.fit(trial.accelerate(classifier()), *classification(), class_weight=CLASS_WEIGHTS, sample_weight=uniform(N))


@case("class weights/two outputs", raises=True)
def _(trial):
    model = trial.accelerate(two_outputs(loss=["mse", "mse"]))
    trial.fit(model, numbers(N, 4), [numbers(N, 2), one_hot(N)], class_weight=CLASS_WEIGHTS)


@case("class weights/tensor labels")
def _(trial):
    trial.fit(
        trial.accelerate(classifier()),
        ops.convert_to_tensor(numbers(N, 4)),
        ops.convert_to_tensor(labels(N)),
        class_weight=CLASS_WEIGHTS,
    )


@case("class weights/whole labels that an array of weights has no place for")
def _(trial):
    y = labels(N)
    y[3] = 7
    model = trial.accelerate(mlp(4, 9, "softmax", loss="sparse_categorical_crossentropy"))
    trial.fit(model, numbers(N, 4), y, class_weight={0: 0.5, 1: 2.0, 2: 1.0, 7: 4.0})


# Precisions


@exact("precision/float64, a classifier")
def _(trial):
    model = mlp(4, 3, loss=kerasnets.losses.CrossEntropyLoss())
    trial.all(trial.accelerate(model), *classification())


@exact("precision/float64 data and network of kerasnets")
def _(trial):
    model = kerasnets.build("NeuralNetwork", hidden=(6, 5))
    model.compile(kerasnets.optimizers.SGD(0.05, momentum=0.9), kerasnets.losses.CrossEntropyLoss())
    trial.all(trial.accelerate(model), numbers(N, 28, 28), labels(N, classes=10))


@case("precision/float64 layers under float32 policy", backends=("torch", "tensorflow"))
def _(trial):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(5, dtype="float64"), layers.Dense(2)])
    model.compile(sgd(), "mse")
    trial.all(trial.accelerate(model), *regression())


for _policy in ("mixed_bfloat16", "bfloat16", "mixed_float16"):

    @case(
        f"precision/{_policy}",
        rtol=5e-2,
        atol=5e-2,
        backends=("torch", "tensorflow") if "16" in _policy and "b" not in _policy else ALL,
    )
    def _(trial, policy=_policy):
        keras.config.set_dtype_policy(policy)
        model = keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                layers.Conv2D(3, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.Flatten(),
                layers.Dense(3, dtype="float32"),
            ]
        )
        model.compile(
            keras.optimizers.SGD(0.02),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        model = trial.accelerate(model)
        trial.fit(model, numbers(N, 6, 6, 2), labels(N), epochs=1)
        trial.predict(model, numbers(N, 6, 6, 2))


@case("precision/mixed_float16, the scale grows and falls", rtol=5e-2, atol=5e-2, backends=("torch", "tensorflow"))
def _(trial):
    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(5), layers.Dense(2, dtype="float32")])
    model.compile(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0**17, dynamic_growth_steps=2),
        "mse",
    )
    model = trial.accelerate(model)
    x, y = regression()
    trial.fit(model, 3 * x, 3 * y, epochs=3)


@case("precision/floatx float16 data into float32")
def _(trial):
    trial.all(trial.accelerate(mlp()), numbers(N, 4, dtype="float16"), numbers(N, 2, seed=1, dtype="float16"))


@case("precision/integers into a rescaling")
def _(trial):
    model = sequential((4, 4, 1), layers.Rescaling(1 / 255), layers.Conv2D(2, 2))
    trial.all(trial.accelerate(model), labels(N, 4, 4, 1, classes=256, dtype="uint8"), numbers(N, 2))
