"""The models of the zoo: in the manner of Keras's and PyTorch's examples, with random data of their usual shapes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers as L, ops  # noqa: N812

from kerasnets import layers, losses, optimizers


class Made(NamedTuple):
    """A compiled model, with inputs and targets for `n` examples."""

    model: keras.Model
    x: Any
    y: Any


#: Name → function of the number of examples, which makes the model and its data.
MODELS: dict[str, Callable[[int], Made]] = {}
#: Name → how many times the examples of the other models an epoch has, where these take too long or too short a time.
SHARES = {"conv3d": 0.25, "residual": 0.5, "residual_stock_norm": 0.5, "vision_transformer": 0.5, "tabular": 8.0}


def _add(make: Callable[[int], Made]) -> Callable[[int], Made]:
    MODELS[make.__name__] = make
    return make


def _random(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _classes(n: int, classes: int = 10) -> np.ndarray:
    return np.random.default_rng(1).integers(0, classes, n)


def _words(n: int, length: int = 80, words: int = 5000) -> np.ndarray:
    return np.random.default_rng(0).integers(1, words, (n, length)).astype("int32")


def _classifier(inputs: Any, outputs: Any, x: Any, n: int, classes: int = 10) -> Made:
    """A classifier with a head on `outputs`, trained with Adam."""
    logits = L.Dense(classes)(outputs)
    model = keras.Model(inputs, logits)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return Made(model, x, _classes(n, classes))


def _images(n: int, size: int = 32) -> tuple[Any, np.ndarray]:
    return keras.Input((size, size, 3)), _random((n, size, size, 3))


# Convolutions


@_add
def conv(n: int) -> Made:
    """Plain convolutions with pooling, as Keras's example for CIFAR-10."""
    inputs, x = _images(n)
    y = L.MaxPooling2D()(L.Conv2D(32, 3, activation="relu", padding="same")(inputs))
    y = L.MaxPooling2D()(L.Conv2D(64, 3, activation="relu", padding="same")(y))
    return _classifier(inputs, L.Dropout(0.5)(L.Flatten()(y)), x, n)


@_add
def strided(n: int) -> Made:
    """Strided convolutions in place of pooling."""
    inputs, x = _images(n)
    y = L.Conv2D(32, 3, strides=2, activation="relu", padding="same")(inputs)
    y = L.Conv2D(64, 3, strides=2, activation="relu", padding="same")(y)
    return _classifier(inputs, L.GlobalAveragePooling2D()(y), x, n)


@_add
def dilated(n: int) -> Made:
    """Dilated convolutions."""
    inputs, x = _images(n)
    y = L.Conv2D(16, 3, dilation_rate=2, activation="relu", padding="same")(inputs)
    y = L.Conv2D(16, 3, dilation_rate=4, activation="relu", padding="same")(y)
    return _classifier(inputs, L.GlobalAveragePooling2D()(y), x, n)


@_add
def grouped(n: int) -> Made:
    """Grouped convolutions, as in ResNeXt."""
    inputs, x = _images(n)
    y = L.Conv2D(32, 3, strides=2, activation="relu", padding="same")(inputs)
    y = L.Conv2D(64, 3, groups=8, activation="relu", padding="same")(y)
    return _classifier(inputs, L.GlobalAveragePooling2D()(y), x, n)


@_add
def depthwise(n: int) -> Made:
    """Depthwise-separable convolutions, as in MobileNet."""
    inputs, x = _images(n)
    y = L.Conv2D(16, 3, strides=2, activation="relu", padding="same")(inputs)
    for filters in (32, 64):
        y = L.ReLU()(L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(y)))
        y = L.ReLU()(L.BatchNormalization()(L.Conv2D(filters, 1)(y)))
    return _classifier(inputs, L.GlobalAveragePooling2D()(y), x, n)


@_add
def conv1d(n: int) -> Made:
    """Convolutions over time, as Keras's example for time series."""
    inputs, x = keras.Input((128, 4)), _random((n, 128, 4))
    y = L.ReLU()(L.BatchNormalization()(L.Conv1D(32, 3, padding="same")(inputs)))
    y = L.ReLU()(L.BatchNormalization()(L.Conv1D(32, 3, padding="same")(y)))
    return _classifier(inputs, L.GlobalAveragePooling1D()(y), x, n)


@_add
def conv3d(n: int) -> Made:
    """Convolutions over volumes, as Keras's example for CT scans, smaller."""
    inputs, x = keras.Input((16, 16, 16, 1)), _random((n, 16, 16, 16, 1))
    y = L.MaxPooling3D()(L.Conv3D(8, 3, activation="relu")(inputs))
    return _classifier(inputs, L.GlobalAveragePooling3D()(L.Conv3D(16, 3, activation="relu")(y)), x, n)


def _residual(n: int, norm: Callable[[], Any]) -> Made:
    """Two bias-free residual blocks, the second strided."""
    inputs, x = _images(n)
    y = L.ReLU()(norm()(L.Conv2D(16, 3, padding="same", use_bias=False)(inputs)))
    for filters, stride in ((16, 1), (32, 2)):
        z = L.ReLU()(norm()(L.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(y)))
        z = norm()(L.Conv2D(filters, 3, padding="same", use_bias=False)(z))
        if stride > 1:
            y = norm()(L.Conv2D(filters, 1, strides=stride, use_bias=False)(y))
        y = L.ReLU()(L.Add()([y, z]))
    return _classifier(inputs, L.GlobalAveragePooling2D()(y), x, n)


@_add
def residual(n: int) -> Made:
    """Residual blocks with PyTorch's batch norm."""
    return _residual(n, layers.BatchNormalization)


@_add
def residual_stock_norm(n: int) -> Made:
    """Residual blocks with Keras's batch norm."""
    return _residual(n, L.BatchNormalization)


@_add
def autoencoder(n: int) -> Made:
    """A convolutional autoencoder for images of 28×28, as Keras's example."""
    inputs, x = keras.Input((28, 28, 1)), np.abs(_random((n, 28, 28, 1))).clip(0, 1)
    y = L.MaxPooling2D(padding="same")(L.Conv2D(32, 3, activation="relu", padding="same")(inputs))
    y = L.MaxPooling2D(padding="same")(L.Conv2D(32, 3, activation="relu", padding="same")(y))
    y = L.Conv2DTranspose(32, 3, strides=2, activation="relu", padding="same")(y)
    y = L.Conv2DTranspose(32, 3, strides=2, activation="relu", padding="same")(y)
    model = keras.Model(inputs, L.Conv2D(1, 3, activation="sigmoid", padding="same")(y))
    model.compile("adam", "binary_crossentropy")
    return Made(model, x, x)


@_add
def augmented(n: int) -> Made:
    """Augmentation layers inside the model."""
    inputs, x = _images(n)
    y = L.RandomTranslation(0.1, 0.1)(L.RandomFlip("horizontal")(inputs))
    y = L.MaxPooling2D()(L.Conv2D(16, 3, activation="relu")(y))
    return _classifier(inputs, L.Flatten()(y), x, n)


# Sequences


@_add
def lstm(n: int) -> Made:
    """An LSTM over word vectors."""
    inputs, x = keras.Input((40,), dtype="int32"), _words(n, 40)
    return _classifier(inputs, L.LSTM(32)(L.Embedding(5000, 32)(inputs)), x, n, 2)


@_add
def gru(n: int) -> Made:
    """A GRU over a series of measurements."""
    inputs, x = keras.Input((40, 8)), _random((n, 40, 8))
    return _classifier(inputs, L.GRU(32)(inputs), x, n)


@_add
def bidirectional(n: int) -> Made:
    """A bidirectional LSTM, as Keras's example for IMDB, shorter."""
    inputs, x = keras.Input((40,), dtype="int32"), _words(n, 40)
    return _classifier(inputs, L.Bidirectional(L.LSTM(16))(L.Embedding(5000, 32)(inputs)), x, n, 2)


@_add
def attention(n: int) -> Made:
    """Embedding and a block of attention, as Keras's example of text classification with a transformer."""
    inputs, x = keras.Input((80,), dtype="int32"), _words(n)
    y = L.Embedding(5000, 32)(inputs)
    y = L.LayerNormalization()(y + L.Dropout(0.1)(L.MultiHeadAttention(2, 16)(y, y)))
    y = L.LayerNormalization()(y + L.Dense(32)(L.Dense(32, activation="relu")(y)))
    return _classifier(inputs, L.GlobalAveragePooling1D()(y), x, n, 2)


@_add
def vision_transformer(n: int) -> Made:
    """A small vision transformer: patches of 8×8, two blocks."""
    inputs, x = _images(n)
    y = L.Reshape((16, 48))(L.Conv2D(48, 8, strides=8)(inputs))
    for _ in range(2):
        z = L.LayerNormalization(epsilon=1e-6)(y)
        y = y + L.MultiHeadAttention(4, 12)(z, z)
        z = L.LayerNormalization(epsilon=1e-6)(y)
        y = y + L.Dense(48)(L.Dense(96, activation="gelu")(z))
    return _classifier(inputs, L.GlobalAveragePooling1D()(y), x, n)


# Other shapes of a model


@_add
def two_inputs(n: int) -> Made:
    """An image and a row of numbers in, a class and a number out."""
    image, row = keras.Input((16, 16, 1), name="image"), keras.Input((8,), name="row")
    y = L.Concatenate()([L.Flatten()(L.Conv2D(8, 3, activation="relu")(image)), L.Dense(16, activation="relu")(row)])
    model = keras.Model([image, row], {"kind": L.Dense(10, name="kind")(y), "size": L.Dense(1, name="size")(y)})
    kind = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", {"kind": kind, "size": "mse"})
    x = {"image": _random((n, 16, 16, 1)), "row": _random((n, 8))}
    return Made(model, x, {"kind": _classes(n), "size": _random((n, 1))})


@_add
def tabular(n: int) -> Made:
    """Regression on rows of 13 numbers."""
    model = keras.Sequential([keras.Input((13,)), L.Dense(64, "relu"), L.Dense(64, "relu"), L.Dense(1)])
    model.compile(keras.optimizers.RMSprop(1e-3), "mse", metrics=["mae"])
    return Made(model, _random((n, 13)), _random((n, 1)))


@_add
def siamese(n: int) -> Made:
    """Two images through shared layers, and the distance between them."""
    tower = keras.Sequential([keras.Input((28, 28)), L.Flatten(), L.Dense(128, "relu"), L.Dense(32)])
    left, right = keras.Input((28, 28)), keras.Input((28, 28))
    distance = ops.sum(ops.square(tower(left) - tower(right)), axis=1, keepdims=True)
    model = keras.Model([left, right], L.Dense(1, activation="sigmoid")(distance))
    model.compile("adam", "binary_crossentropy")
    pair = _random((2, n, 28, 28))
    return Made(model, [pair[0], pair[1]], _classes(n, 2))


@_add
def bfloat16(n: int) -> Made:
    """A fully connected network in mixed bfloat16, with the optimizer of PyTorch's rule."""
    policy = "mixed_bfloat16"
    inputs, x = keras.Input((28, 28)), _random((n, 28, 28))
    y = L.Dense(256, activation="relu", dtype=policy)(L.Flatten(dtype=policy)(inputs))
    model = keras.Model(inputs, L.Dense(10, dtype="float32")(y))
    model.compile(optimizers.SGD(0.01, momentum=0.9), losses.CrossEntropyLoss(), metrics=["accuracy"])
    return Made(model, x, _classes(n))
