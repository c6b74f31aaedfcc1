"""What the tests of weights share: data formats, outputs, comparison of states."""

import collections
import contextlib

import keras
import numpy as np
import pytest
import torch
from gradients import precision
from torch import nn

from kerasnets.verify import originals

DATA_FORMATS = ("channels_last", "channels_first")
FORMS = [(name, {}) for name in originals.ORIGINALS] + [
    ("FashionNetwork", {"output": "softmax", "dropout": 0.25}),
    ("FashionNetwork", {"output": "logits"}),
    ("Network2", {"form": "sequential"}),
    ("Network2", {"form": "named"}),
]


@contextlib.contextmanager
def float64():
    """The next layers are made in float64: Keras keeps the policy it began with, whatever ``floatx`` becomes."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        with precision("float64"):
            yield
    finally:
        keras.config.set_dtype_policy(before)


def skip_without_convolution(data_format):
    """TensorFlow has no channels-first convolution on the CPU."""
    shape = (1, 1, 3, 3) if data_format == "channels_first" else (1, 3, 3, 1)
    try:
        keras.ops.conv(keras.ops.ones(shape), keras.ops.ones((3, 3, 1, 1)), data_format=data_format)
    except Exception as error:
        if "NHWC" not in str(error):
            raise
        pytest.skip("this backend has no channels-first convolution on this device")


def randomised(module):
    """Every parameter and buffer different from its neighbours and from its initial value."""
    for tensor in module.state_dict().values():
        if not tensor.is_floating_point():
            tensor.fill_(7)
        elif tensor.ndim != 2 and tensor.ndim != 4:  # PyTorch's own start is random for kernels only
            nn.init.uniform_(tensor, 0.5, 1.5)
    return module.eval()


def outputs(model, images):
    return model.predict_on_batch(images)


def sample(name, dtype=torch.float32):
    side = 32 if name == "Net" else 28
    return torch.randn(5, side, side, dtype=dtype)


def assert_same_states(state, expected):
    """The same names, shapes and values; the counters of batches, which Keras doesn't keep, are zeros."""
    assert sorted(state) == sorted(expected)
    for name, value in expected.items():
        array = np.asarray(state[name])
        assert array.shape == tuple(value.shape), name
        if name.endswith("num_batches_tracked"):
            assert array.dtype == np.int64
            assert array == 0
        else:
            np.testing.assert_array_equal(array, value.numpy(), err_msg=name)


L = keras.layers


def named(**modules):
    return lambda: nn.Sequential(collections.OrderedDict(modules))


def small():
    """A Keras model of two layers, and its original."""
    model = keras.Sequential(
        [keras.Input((3,)), L.Dense(4, name="a"), L.BatchNormalization(name="n"), L.Dense(2, name="b")]
    )
    return model, randomised(named(a=nn.Linear(3, 4), n=nn.BatchNorm1d(4), b=nn.Linear(4, 2))())
