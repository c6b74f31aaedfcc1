"""Small data and small models that the cases share; the same numbers at every call."""

import keras
import numpy as np
from keras import layers, ops

import kerasnets


def numbers(*shape, seed=0, dtype=None):
    """Standard normal numbers in Keras's float type."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype or keras.config.floatx())


def uniform(*shape, seed=0, low=0.0, high=1.0):
    """Uniform numbers in Keras's float type."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(keras.config.floatx())


def labels(*shape, classes=3, seed=1, dtype="int64"):
    """Class indices."""
    return np.random.default_rng(seed).integers(0, classes, shape).astype(dtype)


def one_hot(*shape, classes=3, seed=1):
    """Class indices as vectors."""
    return np.eye(classes, dtype=keras.config.floatx())[labels(*shape, classes=classes, seed=seed)]


def regression(n=20, features=4, targets=2):
    """Inputs and targets of a regression."""
    return numbers(n, features), numbers(n, targets, seed=1)


def classification(n=20, features=4, classes=3):
    """Inputs and class indices."""
    return numbers(n, features), labels(n, classes=classes)


#: For ``compile``, where numbers are drawn: on TensorFlow XLA draws other ones, and stock Keras leaves it out on a CPU.
XLA = {"jit_compile": True} if keras.config.backend() == "tensorflow" else {}


def sgd():
    """An optimizer that doesn't let rounding grow."""
    return keras.optimizers.SGD(0.05, momentum=0.9)


def sequential(shape, *given, head=2, **compiled):
    """Input, the given layers, and a small linear head; compiled for a regression."""
    model = keras.Sequential([keras.Input(shape), *given, layers.Flatten(), *([linear(head)] if head else [])])
    model.compile(**{"optimizer": sgd(), "loss": "mse", **compiled})
    return model


def linear(*args, **options):
    """A dense layer; in float64 kerasnets', since Keras's is computed in float32 on torch."""
    kind = kerasnets.layers.Linear if keras.config.floatx() == "float64" else layers.Dense
    return kind(*args, **options)


def mlp(features=4, outputs=2, activation=None, hidden=5, **compiled):
    """A hidden layer and an output layer."""
    hidden = linear(hidden, activation="tanh")
    model = keras.Sequential([keras.Input((features,)), hidden, linear(outputs, activation=activation)])
    model.compile(**{"optimizer": sgd(), "loss": "mse", **compiled})
    return model


def classifier(features=4, classes=3, activation="softmax", **compiled):
    """:func:`mlp` with class probabilities, sparse labels and the accuracy."""
    return mlp(
        features,
        classes,
        activation,
        **{"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **compiled},
    )


def functional(inputs, outputs, kind=keras.Model, **compiled):
    """A compiled Functional model."""
    model = kind(inputs, outputs)
    model.compile(**{"optimizer": sgd(), "loss": "mse", **compiled})
    return model


def tensor(array):
    """`array` as the backend's tensor."""
    return ops.convert_to_tensor(array)
