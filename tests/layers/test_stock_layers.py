"""Keras's own classes that docs/rules.md calls the same as PyTorch's, against ``torch.nn``."""

import keras
import numpy as np
import pytest
import torch
from gradients import assert_close
from torch import nn

from kerasnets.verify.rules_table import RULES

L = keras.layers
MAPS = np.random.default_rng(0).normal(scale=2.0, size=(2, 3, 9, 7)).astype("float32")
#: With the ends of the pieces of which some activations are made.
VECTORS = np.concatenate([MAPS.reshape(2, -1), np.array([[0, -3, 3, 6, 20, -20]] * 2, "float32")], axis=1)
TARGETS = VECTORS[:, ::-1].copy()

#: PyTorch's class → ours, PyTorch's.
OF_VECTORS = {
    "GELU": (L.Activation("gelu"), nn.GELU()),
    "SiLU": (L.Activation("silu"), nn.SiLU()),
    "Hardswish": (L.Activation("hard_silu"), nn.Hardswish()),
    "Hardsigmoid": (L.Activation("hard_sigmoid"), nn.Hardsigmoid()),
    "ReLU": (L.ReLU(), nn.ReLU()),
    "ReLU6": (L.ReLU(max_value=6), nn.ReLU6()),
    "Sigmoid": (L.Activation("sigmoid"), nn.Sigmoid()),
    "Tanh": (L.Activation("tanh"), nn.Tanh()),
    "Softmax": (L.Softmax(), nn.Softmax(-1)),
    "Identity": (L.Identity(), nn.Identity()),
}


def pooled(x):
    return L.MaxPooling2D(3, strides=2)(L.ZeroPadding2D(1)(L.ReLU()(x)))


OF_MAPS = {
    "MaxPool2d": (pooled, nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1))),
    "AdaptiveAvgPool2d": (L.AdaptiveAveragePooling2D(1), nn.AdaptiveAvgPool2d(1)),
    "AdaptiveAvgPool2d of size 1": (L.GlobalAveragePooling2D(keepdims=True), nn.AdaptiveAvgPool2d(1)),
    "AdaptiveAvgPool2d that divides": (L.AdaptiveAveragePooling2D((3, 7)), nn.AdaptiveAvgPool2d((3, 7))),
    "AdaptiveAvgPool2d that overlaps": (L.AdaptiveAveragePooling2D((4, 3)), nn.AdaptiveAvgPool2d((4, 3))),
    "AdaptiveAvgPool2d that enlarges": (L.AdaptiveAveragePooling2D((10, 8)), nn.AdaptiveAvgPool2d((10, 8))),
}
OF_TARGETS = {
    "MSELoss": (keras.losses.MeanSquaredError(), nn.MSELoss()),
    "L1Loss": (keras.losses.MeanAbsoluteError(), nn.L1Loss()),
    "HuberLoss": (keras.losses.Huber(0.7), nn.HuberLoss(delta=0.7)),
}


@pytest.mark.parametrize("name", OF_VECTORS)
def test_of_vectors(name):
    ours, theirs = OF_VECTORS[name]
    assert_close(ours(VECTORS), theirs(torch.tensor(VECTORS)), "float32")


@pytest.mark.parametrize("name", OF_MAPS)
def test_of_feature_maps(name, request):
    if name.endswith("that divides") and keras.config.backend() == "jax":
        request.applymarker(pytest.mark.xfail(reason="Keras 3.15 on JAX: a last bin of NaN", strict=True))
    ours, theirs = OF_MAPS[name]
    assert_close(ours(np.moveaxis(MAPS, 1, -1)), theirs(torch.tensor(MAPS)).movedim(1, -1), "float32")


@pytest.mark.parametrize("name", OF_TARGETS)
def test_losses(name):
    ours, theirs = OF_TARGETS[name]
    assert_close(ours(TARGETS, VECTORS), theirs(torch.tensor(VECTORS), torch.tensor(TARGETS)), "float32")


def test_dropout_keeps_or_scales():
    """The masks are others, the rule is PyTorch's: 0, or 1 / (1 − rate) times as large; off in inference."""
    x = np.ones((64, 64), "float32")
    ours, theirs = L.Dropout(0.2, seed=0), nn.Dropout(0.2)
    values = [np.unique(keras.ops.convert_to_numpy(ours(x, training=True))), np.unique(theirs(torch.tensor(x)))]
    np.testing.assert_allclose(*values, rtol=1e-6)
    assert_close(ours(x, training=False), theirs.eval()(torch.tensor(x)), "float32")


def test_every_such_row_is_held_to_pytorch():
    same = {name for name, _, _, difference in RULES["nn"] if "the same" in difference}
    assert same <= {"Dropout", *OF_VECTORS, *OF_MAPS, *OF_TARGETS}
