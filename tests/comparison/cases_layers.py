"""Layers: each in a small regression, with a smaller last batch."""

import keras
import numpy as np
from harness import ALL, case, exact
from keras import layers, ops, regularizers
from parts import XLA, functional, labels, mlp, numbers, one_hot, regression, sequential, sgd, uniform

import kerasnets

N = 20


def layer(name, shape, *make, data=None, target=(2,), kind=case, head=2, compiled=None, **options):
    """A case of one or several layers, each a function that makes it."""

    @kind(f"layer/{name}", **options)
    def _(trial):
        x = data() if data else numbers(N, *shape)
        loss = kerasnets.losses.MSELoss() if kind is exact else "mse"  # Keras's is computed in float32 on torch
        model = sequential(shape, *[one() for one in make], head=head, loss=loss, **(compiled or {}))
        trial.all(trial.accelerate(model), x, numbers(N, *target, seed=1))


def backends(*names):
    return {"backends": names}


# Dense and convolutions

layer("dense", (4,), lambda: layers.Dense(5, activation="relu"))
layer("dense/no bias, 3 axes", (3, 4), lambda: layers.Dense(5, use_bias=False, activation="gelu"))
layer("linear of kerasnets/float64", (4,), lambda: kerasnets.layers.Linear(5, activation="relu"), kind=exact)
layer("dense/lora", (4,), lambda: layers.Dense(5, lora_rank=2))
layer("dense/activation layer", (4,), lambda: layers.Dense(5), lambda: layers.Activation("swish"))
layer("dense/callable activation of Keras", (4,), lambda: layers.Dense(5, activation=keras.activations.softsign))
layer("einsum dense", (3, 4), lambda: layers.EinsumDense("abc,cd->abd", output_shape=(3, 6), bias_axes="d"))
layer("linear of kerasnets", (4,), lambda: kerasnets.layers.Linear(5), lambda: kerasnets.layers.LeakyReLU())
layer("conv1d/strides", (9, 3), lambda: layers.Conv1D(4, 3, strides=2, activation="relu"))
layer("conv1d/causal, dilated", (9, 3), lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2))
layer("conv1d/same", (9, 3), lambda: layers.Conv1D(4, 4, padding="same"))
layer("conv1d/groups", (9, 4), lambda: layers.Conv1D(4, 3, groups=2))
layer("conv2d/valid", (7, 6, 3), lambda: layers.Conv2D(4, 3, activation="relu"))
layer("conv2d/same", (7, 6, 3), lambda: layers.Conv2D(4, (3, 5), padding="same"))
layer("conv2d/same, even kernel", (7, 6, 3), lambda: layers.Conv2D(4, (2, 4), padding="same"))
layer("conv2d/same, strides", (7, 6, 3), lambda: layers.Conv2D(4, 3, strides=2, padding="same"))
layer("conv2d/same, strides of one axis", (7, 6, 3), lambda: layers.Conv2D(4, 3, strides=(1, 2), padding="same"))
layer("conv2d/dilation", (9, 8, 3), lambda: layers.Conv2D(4, 3, dilation_rate=(2, 1)))
layer("conv2d/same, dilation, even kernel", (9, 8, 3), lambda: layers.Conv2D(4, 2, dilation_rate=3, padding="same"))
layer("conv2d/groups", (7, 6, 4), lambda: layers.Conv2D(6, 3, groups=2, use_bias=False))
layer(
    "conv2d of kerasnets/float64",
    (7, 6, 3),
    lambda: kerasnets.layers.Conv2D(4, 3, padding="same", activation="relu"),
    kind=exact,
)
layer(
    "conv2d/channels first",
    (3, 7, 6),
    lambda: layers.Conv2D(4, 3, data_format="channels_first", padding="same"),
    lambda: layers.MaxPooling2D(data_format="channels_first"),
    **backends("torch", "jax"),
)
layer("conv2d/lora", (7, 6, 3), lambda: layers.Conv2D(4, 3, lora_rank=2))
layer("conv2d of kerasnets", (7, 6, 3), lambda: kerasnets.layers.Conv2D(4, 3, padding="same"))
layer("conv3d", (4, 5, 4, 2), lambda: layers.Conv3D(3, 2, padding="same", activation="relu"))
layer("conv3d/strides", (5, 5, 4, 2), lambda: layers.Conv3D(3, 2, strides=(2, 1, 2)))
layer("conv1d transpose", (5, 3), lambda: layers.Conv1DTranspose(4, 3, strides=2, padding="same"))
layer("conv2d transpose", (4, 5, 3), lambda: layers.Conv2DTranspose(4, 3, strides=2, output_padding=1))
layer("conv3d transpose", (3, 3, 3, 2), lambda: layers.Conv3DTranspose(2, 2, strides=2))
layer("separable conv1d", (7, 3), lambda: layers.SeparableConv1D(4, 3, depth_multiplier=2))
layer("separable conv2d", (7, 6, 3), lambda: layers.SeparableConv2D(4, 3, depth_multiplier=2, padding="same"))
layer("depthwise conv1d", (7, 3), lambda: layers.DepthwiseConv1D(3, depth_multiplier=2))
layer(
    "depthwise conv2d", (7, 6, 3), lambda: layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, activation="relu")
)

# Pooling, and ReLU before pooling

layer("max pooling 2d/overlapping", (7, 6, 3), lambda: layers.Conv2D(4, 2), lambda: layers.MaxPooling2D(3, strides=1))
layer("max pooling 2d/same", (7, 7, 3), lambda: layers.Conv2D(4, 2), lambda: layers.MaxPooling2D(3, padding="same"))
layer("max pooling 2d/not square", (7, 6, 3), lambda: layers.MaxPooling2D((2, 3)), lambda: layers.Dense(3))
layer("relu, then max pooling", (8, 8, 2), lambda: layers.Conv2D(3, 3), layers.ReLU, layers.MaxPooling2D)
layer(
    "relu with a slope, then max pooling",
    (8, 8, 2),
    lambda: layers.Conv2D(3, 3),
    lambda: layers.ReLU(negative_slope=0.2),
    layers.MaxPooling2D,
)
layer(
    "relu6, then max pooling",
    (8, 8, 2),
    lambda: layers.Conv2D(3, 3),
    lambda: layers.ReLU(max_value=0.5),
    layers.MaxPooling2D,
)
layer(
    "relu, then average pooling",
    (8, 8, 2),
    lambda: layers.Conv2D(3, 3),
    layers.ReLU,
    lambda: layers.AveragePooling2D(2),
)
layer("max pooling of equal values", (8, 8, 2), layers.MaxPooling2D, data=lambda: np.zeros((N, 8, 8, 2), "float32"))
layer(
    "average pooling 1d", (8, 2), lambda: layers.Dense(3), lambda: layers.AveragePooling1D(3, strides=2, padding="same")
)
layer("max pooling 1d", (8, 2), lambda: layers.Dense(3), lambda: layers.MaxPooling1D(2))
layer("average pooling 2d/same", (7, 6, 2), lambda: layers.Dense(3), lambda: layers.AveragePooling2D(3, padding="same"))
layer(
    "pooling 3d",
    (4, 4, 4, 2),
    lambda: layers.MaxPooling3D(2),
    lambda: layers.Dense(2),
    lambda: layers.AveragePooling3D(2),
)
layer("global pooling", (4, 5, 2), lambda: layers.Dense(3), lambda: layers.GlobalAveragePooling2D(keepdims=True))
layer("global max pooling", (4, 5, 2), lambda: layers.Dense(3), lambda: layers.GlobalMaxPooling2D())
layer("adaptive pooling", (6, 6, 2), lambda: layers.Dense(3), lambda: layers.AdaptiveAveragePooling2D(2))


@case("layer/relu read twice, then max pooling")
def _(trial):
    inputs = keras.Input((8, 8, 2))
    x = layers.ReLU()(layers.Conv2D(3, 3)(inputs))
    pooled, rest = layers.MaxPooling2D()(x), layers.GlobalAveragePooling2D()(x)
    model = functional(inputs, layers.Dense(2)(layers.Concatenate()([layers.Flatten()(pooled), rest])))
    trial.all(trial.accelerate(model), numbers(N, 8, 8, 2), numbers(N, 2, seed=1))


@case("layer/relu that is an output, then max pooling")
def _(trial):
    inputs = keras.Input((8, 8, 2))
    x = layers.ReLU()(layers.Conv2D(1, 3)(inputs))
    model = functional(inputs, [x, layers.Dense(2)(layers.Flatten()(layers.MaxPooling2D()(x)))])
    y = [numbers(N, 6, 6, 1, seed=2), numbers(N, 2, seed=1)]
    trial.all(trial.accelerate(model), numbers(N, 8, 8, 2), y)


@case(
    "layer/relu and pooling in a nested model, called twice",
    known={"tensorflow": "TensorFlow's graph differs from its own eager result in stock Keras's evaluate and fit"},
)
def _(trial):
    inner = keras.Sequential(
        [keras.Input((8, 8, 2)), layers.ReLU(), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(3)]
    )
    a, b = keras.Input((8, 8, 2)), keras.Input((8, 8, 2))
    model = functional(
        [a, b], layers.Dense(2)(layers.Add()([inner(a), inner(b)])), optimizer=keras.optimizers.SGD(0.01)
    )
    trial.all(trial.accelerate(model), [numbers(N, 8, 8, 2), numbers(N, 8, 8, 2, seed=3)], numbers(N, 2, seed=1))


# Normalisations

BATCH_NORMS = {
    "": {},
    "momentum": {"momentum": 0.5, "epsilon": 1e-2},
    "no center": {"center": False},
    "no scale": {"scale": False},
    "plain": {"center": False, "scale": False},
    "l2 of gamma": {"gamma_regularizer": "l2", "beta_constraint": "non_neg"},
    "axis 1": {"axis": 1},
}
for _name, _given in BATCH_NORMS.items():
    layer(f"batch norm/{_name}", (4, 5, 3), lambda given=_given: layers.BatchNormalization(**given))
    if "axis" not in _given:
        layer(
            f"batch norm of kerasnets/{_name}",
            (4, 5, 3),
            lambda given=_given: kerasnets.layers.BatchNormalization(**given),
        )
layer("batch norm/vectors", (4,), lambda: layers.Dense(5), layers.BatchNormalization, layers.ReLU)
layer("batch norm/sequences", (6, 4), lambda: layers.Conv1D(5, 2), layers.BatchNormalization)
layer("batch norm of kerasnets/vectors", (4,), lambda: layers.Dense(5), kerasnets.layers.BatchNormalization)
layer("batch norm of kerasnets/float64", (4, 5, 3), kerasnets.layers.BatchNormalization, kind=exact)
layer(
    "batch norm/float64",  # whose moments Keras computes in float32 on torch
    (4, 5, 3),
    layers.BatchNormalization,
    kind=exact,
    rtol=1e-6,
    atol=1e-6,
)
layer("layer norm", (4, 5), lambda: layers.Dense(5), lambda: layers.LayerNormalization(axis=(1, 2)))
layer("rms norm", (4, 5), lambda: layers.Dense(5), layers.RMSNormalization)
layer("group norm", (4, 5, 6), lambda: layers.Dense(6), lambda: layers.GroupNormalization(3))
layer("unit norm", (4, 5), lambda: layers.Dense(5), layers.UnitNormalization)
layer("spectral norm", (4,), lambda: layers.SpectralNormalization(layers.Dense(5), power_iterations=2))
layer("rescaling", (4,), lambda: layers.Rescaling(0.5, 1.0), lambda: layers.Dense(3))


@case("layer/batch norm/frozen")
def _(trial):
    model = sequential((4, 5, 3), layers.Conv2D(3, 2), layers.BatchNormalization(trainable=False), layers.ReLU())
    trial.all(trial.accelerate(model), numbers(N, 4, 5, 3), numbers(N, 2, seed=1))


@case("layer/batch norm of kerasnets/frozen")
def _(trial):
    norm = kerasnets.layers.BatchNormalization()
    norm.trainable = False
    model = sequential((4, 5, 3), layers.Conv2D(3, 2), norm, layers.ReLU())
    trial.all(trial.accelerate(model), numbers(N, 4, 5, 3), numbers(N, 2, seed=1))


@case("layer/batch norm/shared by two inputs")
def _(trial):
    norm, a, b = layers.BatchNormalization(), keras.Input((4,)), keras.Input((4,))
    model = functional([a, b], layers.Dense(2)(layers.Concatenate()([norm(a), norm(b)])))
    trial.all(trial.accelerate(model), [numbers(N, 4), 3 + numbers(N, 4, seed=2)], numbers(N, 2, seed=1))


@case("layer/batch norm/masked")
def _(trial):
    model = sequential((6, 3), layers.Masking(), layers.BatchNormalization(), layers.Dense(2))
    x = numbers(N, 6, 3)
    x[::2, 3:] = 0
    trial.all(trial.accelerate(model), x, numbers(N, 2, seed=1))


@case("layer/batch norm/called with training=False in the graph")
def _(trial):
    inputs = keras.Input((4,))
    model = functional(inputs, layers.Dense(2)(layers.BatchNormalization()(inputs, training=False)))
    trial.all(trial.accelerate(model), *regression())


@case("layer/normalization, adapted")
def _(trial):
    norm = layers.Normalization()
    norm.adapt(3 + 2 * numbers(40, 4))
    trial.all(trial.accelerate(sequential((4,), norm, layers.Dense(3))), *regression())


@case("layer/normalization, adapted again between two fits")
def _(trial):
    norm = layers.Normalization()
    norm.adapt(3 + 2 * numbers(40, 4))
    model = trial.accelerate(sequential((4,), norm, layers.Dense(3)))
    trial.all(model, *regression())
    norm.adapt(-1 + 5 * numbers(40, 4))
    trial.all(model, *regression())


# Random layers

RANDOM = {
    "dropout": lambda seed: layers.Dropout(0.4, seed=seed),
    "dropout with noise shape": lambda seed: layers.Dropout(0.4, noise_shape=(None, 1, 1, 3), seed=seed),
    "spatial dropout": lambda seed: layers.SpatialDropout2D(0.4, seed=seed),
    "gaussian noise": lambda seed: layers.GaussianNoise(0.5, seed=seed),
    "gaussian dropout": lambda seed: layers.GaussianDropout(0.3, seed=seed),
    "alpha dropout": lambda seed: layers.AlphaDropout(0.3, seed=seed),
    "random flip": lambda seed: layers.RandomFlip(seed=seed),
    "random rotation": lambda seed: layers.RandomRotation(0.2, seed=seed),
    "random zoom": lambda seed: layers.RandomZoom(0.3, seed=seed),
    "random translation": lambda seed: layers.RandomTranslation(0.2, 0.3, seed=seed),
    "random contrast": lambda seed: layers.RandomContrast(0.4, value_range=(0, 1), seed=seed),
    "random brightness": lambda seed: layers.RandomBrightness(0.4, value_range=(0, 1), seed=seed),
    "random shear": lambda seed: layers.RandomShear(0.2, 0.2, seed=seed),
    "random erasing": lambda seed: layers.RandomErasing(value_range=(0, 1), seed=seed),
    "random invert": lambda seed: layers.RandomInvert(value_range=(0, 1), seed=seed),
    "random grayscale": lambda seed: layers.RandomGrayscale(factor=0.5, seed=seed),
}
#: What XLA can't do on TensorFlow, so that the fast path leaves it out, too.
NOT_XLA = ("random rotation", "random zoom", "random translation", "random shear")

for _name, _make in RANDOM.items():
    layer(
        f"random/{_name}",
        (6, 5, 3),
        lambda make=_make: make(7),
        data=lambda: uniform(N, 6, 5, 3),
        compiled={} if _name in NOT_XLA else XLA,
    )
for _name in ("dropout", "gaussian noise", "random flip"):
    layer(
        f"random/{_name}, Keras's seed",
        (6, 5, 3),
        lambda make=RANDOM[_name]: make(None),
        data=lambda: uniform(N, 6, 5, 3),
        compiled=XLA,
    )
layer("random/dropout of rate 0", (4,), lambda: layers.Dropout(0.0, seed=3), lambda: layers.Dense(3))
layer(
    "random/two dropouts",
    (4,),
    lambda: layers.Dropout(0.3, seed=3),
    lambda: layers.Dense(5),
    lambda: layers.Dropout(0.5, seed=4),
    compiled=XLA,
)
layer(
    "random/dropout in a recurrent layer",
    (5, 3),
    lambda: layers.LSTM(4, dropout=0.3, recurrent_dropout=0.2, seed=5),
    compiled=XLA,
)


layer("random/random crop", (6, 5, 3), lambda: layers.RandomCrop(4, 3, seed=7), lambda: layers.GlobalAveragePooling2D())


@case("layer/random/dropout, as Keras chooses XLA")
def _(trial):
    trial.all(trial.accelerate(sequential((4,), layers.Dropout(0.5, seed=11))), *regression())


@case("layer/random/dropout, fit thrice with evaluate between")
def _(trial):
    model = trial.accelerate(sequential((4,), layers.Dense(6), layers.Dropout(0.5, seed=11), **XLA))
    for _ in range(3):
        trial.all(model, *regression(), epochs=1)


@case("layer/random/dropout called with training=True")
def _(trial):
    inputs = keras.Input((4,))
    model = functional(inputs, layers.Dense(2)(layers.Dropout(0.5, seed=3)(inputs, training=True)), **XLA)
    trial.all(trial.accelerate(model), *regression())
    trial.predict(model, numbers(N, 4))
    trial.predict(model, numbers(N, 4))


@case("layer/random/one seed in Keras's and in a second dropout of equal seed")
def _(trial):
    model = sequential((4,), layers.Dropout(0.5, seed=3), layers.Dense(4), layers.Dropout(0.5, seed=3), **XLA)
    trial.all(trial.accelerate(model), *regression(), validation_split=0.3)


# Sequences


def tokens(n=N, length=6, words=9):
    """Word indices with zeros at the end, as padding."""
    x = labels(n, length, classes=words - 1, seed=4) + 1
    for row, cut in enumerate(labels(n, classes=length - 1, seed=5)):
        x[row, length - cut :] = 0
    return x.astype("int32")


RECURRENT = {
    "lstm": lambda: layers.LSTM(4),
    "lstm/sequences": lambda: layers.LSTM(4, return_sequences=True),
    "lstm/unrolled": lambda: layers.LSTM(4, unroll=True),
    "lstm/backwards": lambda: layers.LSTM(4, go_backwards=True),
    "gru": lambda: layers.GRU(4),
    "gru/not reset after": lambda: layers.GRU(4, reset_after=False),
    "simple rnn": lambda: layers.SimpleRNN(4),
    "bidirectional": lambda: layers.Bidirectional(layers.LSTM(3)),
    "bidirectional/sum": lambda: layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum"),
    "stacked cells": lambda: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)]),
    "time distributed": lambda: layers.TimeDistributed(layers.Dense(3)),
    "global pooling with a mask": lambda: layers.GlobalAveragePooling1D(),
    "self-attention": lambda: layers.Dense(4),
}
for _name, _make in RECURRENT.items():
    if _name != "self-attention":
        layer(f"sequence/{_name}", (5, 3), _make)
    layer(f"sequence/{_name}, embedded words", (6,), lambda: layers.Embedding(9, 3, mask_zero=True), _make, data=tokens)


@case("layer/sequence/words without a mask")
def _(trial):
    model = sequential((6,), layers.Embedding(9, 3), layers.Conv1D(4, 2, activation="relu"))
    trial.all(trial.accelerate(model), tokens(), numbers(N, 2, seed=1))


@case("layer/sequence/loss with a mask")
def _(trial):
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(9, 3, mask_zero=True),
            layers.LSTM(4, return_sequences=True),
            layers.Dense(9, activation="softmax"),
        ]
    )
    model.compile(
        sgd(), "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["sparse_categorical_accuracy"]
    )
    trial.all(trial.accelerate(model), tokens(), np.roll(tokens(), -1, 1))


@case("layer/sequence/loss with a mask and weights of every step")
def _(trial):
    model = keras.Sequential(
        [keras.Input((6, 3)), layers.Masking(), layers.SimpleRNN(4, return_sequences=True), layers.Dense(1)]
    )
    model.compile(sgd(), "mse", metrics=["mae"], weighted_metrics=["mae"])
    x = numbers(N, 6, 3)
    x[::3, 2:] = 0
    trial.all(trial.accelerate(model), x, numbers(N, 6, 1, seed=2), sample_weight=uniform(N, 6))


@case("layer/sequence/stateful", backends=("jax", "tensorflow"))
def _(trial):
    model = keras.Sequential([keras.Input(batch_shape=(5, 4, 3)), layers.LSTM(4, stateful=True), layers.Dense(2)])
    model.compile(sgd(), "mse")
    model = trial.accelerate(model)
    x, y = numbers(N, 4, 3), numbers(N, 2, seed=1)
    trial.fit(model, x, y, batch_size=5)
    trial.evaluate(model, x, y, batch_size=5)
    trial.predict(model, x, batch_size=5)
    model.layers[0].reset_states()
    trial.predict(model, x, batch_size=5)
    trial.fit(model, x, y, batch_size=5)


@case("layer/sequence/stateful, reset by a callback", backends=("jax", "tensorflow"))
def _(trial):
    model = keras.Sequential([keras.Input(batch_shape=(5, 4, 3)), layers.GRU(4, stateful=True), layers.Dense(2)])
    model.compile(sgd(), "mse")
    model = trial.accelerate(model)
    reset = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: model.layers[0].reset_states())
    trial.fit(model, numbers(N, 4, 3), numbers(N, 2, seed=1), batch_size=5, epochs=3, callbacks=[reset])


layer("sequence/conv lstm 1d", (4, 5, 2), lambda: layers.ConvLSTM1D(3, 2))
layer("sequence/conv lstm 2d", (3, 4, 4, 2), lambda: layers.ConvLSTM2D(2, 2, return_sequences=True))


@case("layer/sequence/lengths that vary from fit to fit")
def _(trial):
    model = keras.Sequential([keras.Input((None, 3)), layers.GRU(4), layers.Dense(2)])
    model.compile(sgd(), "mse")
    model = trial.accelerate(model)
    for length in (5, 3, 5):
        trial.all(model, numbers(N, length, 3), numbers(N, 2, seed=1))


@case("layer/sequence/initial state from an encoder")
def _(trial):
    source, target = keras.Input((5, 3)), keras.Input((4, 2))
    _, h, c = layers.LSTM(4, return_state=True)(source)
    decoded = layers.LSTM(4, return_sequences=True)(target, initial_state=[h, c])
    model = functional([source, target], layers.TimeDistributed(layers.Dense(1))(decoded))
    trial.all(trial.accelerate(model), [numbers(N, 5, 3), numbers(N, 4, 2, seed=2)], numbers(N, 4, 1, seed=1))


# Attention


@case("layer/attention/multi-head")
def _(trial):
    inputs = keras.Input((5, 4))
    x = layers.MultiHeadAttention(2, 3)(inputs, inputs)
    trial.all(
        trial.accelerate(functional(inputs, layers.Dense(2)(layers.Flatten()(x)))),
        numbers(N, 5, 4),
        numbers(N, 2, seed=1),
    )


@case("layer/attention/multi-head, causal, with scores as output")
def _(trial):
    inputs = keras.Input((5, 4))
    x, scores = layers.MultiHeadAttention(2, 3)(inputs, inputs, use_causal_mask=True, return_attention_scores=True)
    model = functional(inputs, [layers.Dense(2)(x), scores], loss=["mse", None])
    trial.all(trial.accelerate(model), numbers(N, 5, 4), [numbers(N, 5, 2, seed=1), None], evaluate={})


@case("layer/attention/multi-head with dropout and masked words")
def _(trial):
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(inputs)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 3, dropout=0.2, seed=5)(x, x))
    model = functional(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)), **XLA)
    trial.all(trial.accelerate(model), tokens(), numbers(N, 2, seed=1))


for _name, _make in {
    "attention": lambda: layers.Attention(use_scale=True),
    "additive attention": lambda: layers.AdditiveAttention(),
    "attention with dropout": lambda: layers.Attention(dropout=0.3, seed=6),
    "grouped-query attention": lambda: layers.GroupQueryAttention(4, 4, 2),
}.items():

    @case(f"layer/attention/{_name}")
    def _(trial, make=_make):
        query, value = keras.Input((5, 4)), keras.Input((6, 4))
        one = make()
        x = one(query, value) if "Group" in type(one).__name__ else one([query, value])
        model = functional([query, value], layers.Dense(2)(layers.GlobalAveragePooling1D()(x)), **XLA)
        trial.all(trial.accelerate(model), [numbers(N, 5, 4), numbers(N, 6, 4, seed=2)], numbers(N, 2, seed=1))


# Merging, shapes, activations

for _name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):

    @case(f"layer/merge/{_name}")
    def _(trial, name=_name):
        a, b = keras.Input((4,)), keras.Input((4,))
        merged = getattr(layers, name)()([layers.Dense(3)(a), layers.Dense(3)(b)])
        trial.all(
            trial.accelerate(functional([a, b], layers.Dense(2)(merged))),
            [numbers(N, 4), numbers(N, 4, seed=2)],
            numbers(N, 2, seed=1),
        )


@case("layer/merge/Dot")
def _(trial):
    a, b = keras.Input((4,)), keras.Input((4,))
    dot = layers.Dot(axes=1, normalize=True)([layers.Dense(3)(a), layers.Dense(3)(b)])
    trial.all(trial.accelerate(functional([a, b], dot)), [numbers(N, 4), numbers(N, 4, seed=2)], numbers(N, 1, seed=1))


layer("shapes", (4, 6), lambda: layers.Permute((2, 1)), lambda: layers.Reshape((2, 3, 4)), lambda: layers.Dense(2))
layer(
    "padding and cropping",
    (4, 5, 2),
    lambda: layers.ZeroPadding2D(2),
    lambda: layers.Cropping2D(1),
    lambda: layers.Conv2D(2, 2),
)
layer("upsampling", (3, 4, 2), lambda: layers.UpSampling2D(2, interpolation="bilinear"), lambda: layers.Conv2D(2, 2))
layer("resizing", (5, 4, 2), lambda: layers.Resizing(3, 3), lambda: layers.Dense(2))
layer("center crop", (5, 4, 2), lambda: layers.CenterCrop(3, 3), lambda: layers.Dense(2))
layer("repeat vector", (4,), lambda: layers.RepeatVector(3), lambda: layers.Dense(2))
layer("prelu", (4,), lambda: layers.Dense(5), layers.PReLU)
layer("prelu, shared axes", (4, 3, 2), lambda: layers.Conv2D(3, 2), lambda: layers.PReLU(shared_axes=[1, 2]))
layer(
    "leaky relu and elu",
    (4,),
    lambda: layers.Dense(5),
    lambda: layers.LeakyReLU(0.2),
    lambda: layers.Dense(4),
    layers.ELU,
)
layer("softmax layer", (4, 3), lambda: layers.Dense(5), lambda: layers.Softmax(axis=1))
layer("identity", (4,), layers.Identity, lambda: layers.Dense(2))
layer("flatten of kerasnets", (4, 3, 2), lambda: layers.Conv2D(3, 2), kerasnets.layers.Flatten)
layer(
    "discretization",
    (4,),
    lambda: layers.Discretization(bin_boundaries=[-0.5, 0.0, 0.5], output_mode="one_hot"),
    lambda: layers.Flatten(),
)
layer(
    "category encoding",
    (),
    lambda: layers.CategoryEncoding(5, output_mode="one_hot"),
    data=lambda: labels(N, classes=5),
)
for _name in (
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "leaky_relu",
    "log_softmax",
    "mish",
    "relu6",
    "selu",
    "softplus",
    "tanh",
    "celu",
    "sparsemax",
):
    layer(f"activation/{_name}", (4,), lambda name=_name: layers.Dense(6, activation=name), lambda: layers.Dense(3))

# Regularizers and constraints


@case("layer/activity regularizer")
def _(trial):
    model = sequential(
        (4,), layers.Dense(5, activation="relu", activity_regularizer="l2"), layers.ActivityRegularization(l1=0.1)
    )
    trial.all(trial.accelerate(model), *regression())


@case("layer/activity regularizer of a shared layer and of a relu before pooling")
def _(trial):
    inputs = keras.Input((8, 8, 2))
    x = layers.ReLU(activity_regularizer="l1")(
        layers.Conv2D(3, 3, activity_regularizer=regularizers.L1L2(0.01, 0.02))(inputs)
    )
    model = functional(inputs, layers.Dense(2)(layers.Flatten()(layers.MaxPooling2D()(x))))
    trial.all(trial.accelerate(model), numbers(N, 8, 8, 2), numbers(N, 2, seed=1))


for _name, _made in {
    "l1": lambda: regularizers.L1(0.01),
    "l2": lambda: regularizers.L2(0.02),
    "l1 and l2": lambda: regularizers.L1L2(0.01, 0.02),
    "orthogonal": lambda: regularizers.OrthogonalRegularizer(0.03),
}.items():

    @case(f"layer/kernel regularizer/{_name}")
    def _(trial, made=_made):
        model = sequential((4,), layers.Dense(5, kernel_regularizer=made(), bias_regularizer="l2"), metrics=["mae"])
        trial.all(trial.accelerate(model), *regression(), validation_split=0.25)


@case("layer/kernel regularizer/with frozen layer and weights")
def _(trial):
    model = sequential(
        (4,), layers.Dense(5, kernel_regularizer="l2", trainable=False), layers.Dense(3, kernel_regularizer="l1")
    )
    trial.all(trial.accelerate(model), *regression(), sample_weight=uniform(N))


for _name in ("max_norm", "min_max_norm", "non_neg", "unit_norm"):

    @case(f"layer/constraint/{_name}")
    def _(trial, name=_name):
        made = keras.constraints.get(name) if name != "max_norm" else keras.constraints.MaxNorm(0.5)
        model = sequential((4,), layers.Dense(5, kernel_constraint=made, bias_constraint="non_neg"))
        trial.all(trial.accelerate(model), *regression())


# Graphs


@case("graph/operations of keras.ops")
def _(trial):
    inputs = keras.Input((4,))
    x = layers.Dense(5)(inputs)
    x = ops.concatenate([ops.tanh(x), ops.square(x) * 0.1, x[:, :2]], axis=-1)
    x = ops.where(x > 0, x, 0.1 * x) + ops.mean(x, axis=-1, keepdims=True)
    trial.all(trial.accelerate(functional(inputs, layers.Dense(2)(x))), *regression())


@case("graph/shared layer")
def _(trial):
    a, b, shared = keras.Input((4,)), keras.Input((4,)), layers.Dense(3, activation="tanh", kernel_regularizer="l2")
    model = functional([a, b], layers.Dense(2)(layers.Subtract()([shared(a), shared(b)])))
    trial.all(trial.accelerate(model), [numbers(N, 4), numbers(N, 4, seed=2)], numbers(N, 2, seed=1))


@case("graph/nested models")
def _(trial):
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5), layers.BatchNormalization(), layers.Dropout(0.2, seed=1)]
    )
    middle_in = keras.Input((4,))
    middle = keras.Model(middle_in, layers.Dense(3)(inner(middle_in)))
    trial.all(trial.accelerate(sequential((4,), middle, layers.ReLU(), **XLA)), *regression())


@case("graph/nested model, frozen")
def _(trial):
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(5), layers.BatchNormalization()])
    inner.trainable = False
    trial.all(trial.accelerate(sequential((4,), inner, layers.Dense(3))), *regression())


@case("graph/sequential that is built by fit")
def _(trial):
    model = keras.Sequential([layers.Dense(5, activation="relu"), layers.Dense(2)])
    model.compile(sgd(), "mse")
    try:
        model = trial.accelerate(model)
    except (TypeError, ValueError) as error:
        trial.note("error", str(error))
    trial.all(model, *regression())


@case("graph/model of one input that is an output, too")
def _(trial):
    inputs = keras.Input((4,))
    model = functional(inputs, [inputs, layers.Dense(2)(inputs)], loss=[None, "mse"])
    trial.all(trial.accelerate(model), numbers(N, 4), [None, numbers(N, 2, seed=1)])


@case("graph/no trainable weights")
def _(trial):
    model = sequential((4,), layers.Dense(2, trainable=False), head=0)
    trial.all(trial.accelerate(model), *regression())


@case("graph/layer that isn't used by the loss")
def _(trial):
    inputs = keras.Input((4,))
    x = layers.Dense(3)(inputs)
    model = functional(inputs, [layers.Dense(2)(x), layers.Dense(5)(x)], loss=["mse", None])
    trial.all(trial.accelerate(model), numbers(N, 4), [numbers(N, 2, seed=1), None])


@case("graph/large reshaping by the batch size")
def _(trial):
    inputs = keras.Input((4, 3))
    x = ops.reshape(layers.Dense(3)(inputs), (-1, 3))
    x = ops.reshape(layers.Dense(2)(x), (-1, 8))
    trial.all(trial.accelerate(functional(inputs, layers.Dense(2)(x))), numbers(N, 4, 3), numbers(N, 2, seed=1))


@case("graph/mean over the batch")
def _(trial):
    inputs = keras.Input((4,))
    x = layers.Dense(3)(inputs)
    model = functional(inputs, layers.Dense(2)(x - ops.mean(x, axis=0, keepdims=True)))
    trial.all(trial.accelerate(model), *regression())


@case("graph/one-hot labels, softmax and class probabilities")
def _(trial):
    trial.all(
        trial.accelerate(mlp(4, 3, "softmax", loss="categorical_crossentropy", metrics=["accuracy"])),
        numbers(N, 4),
        one_hot(N),
    )


for _data_format, _size in (("channels_last", (8, 8)), ("channels_first", (8, 8))):

    @case(
        f"graph/network of kerasnets, {_data_format}",
        rtol=2e-3,
        atol=1e-3,
        backends=("torch", "jax") if "first" in _data_format else ALL,
    )
    def _(trial, data_format=_data_format):
        model = kerasnets.build(
            "ConvNeuralNetwork", filters=(2, 3, 4), hidden=(5, 4), dropout=0.0, data_format=data_format
        )
        model.compile(
            kerasnets.optimizers.SGD(0.05, momentum=0.9), kerasnets.losses.CrossEntropyLoss(), metrics=["accuracy"]
        )
        trial.all(trial.accelerate(model), numbers(N, 28, 28), labels(N, classes=10))
