"""Weights and optimizer states in and out, against ``torch.nn`` and ``torch.optim`` on the CPU."""

import collections
import contextlib

import keras
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from gradients import assert_close, precision
from torch import nn

import kerasnets
from kerasnets import originals
from kerasnets.state_dict import load_state_dict, save_state_dict, state_dict

# What keras.ops.convert_to_numpy sets off for a PyTorch tensor with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

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


@contextlib.contextmanager
def image_data_format(value):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(value)
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


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
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            tensor.fill_(7)
        elif tensor.ndim != 2 and tensor.ndim != 4:  # PyTorch's own start is random for kernels only
            nn.init.uniform_(tensor, 0.5, 1.5)
    return module.eval()


def outputs(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


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


# --- The documents' networks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_every_network_computes_what_its_original_does_and_gives_the_weights_back(name, options, tmp_path):
    original = randomised(originals.build(name, **options))
    model = kerasnets.build(name, **options)
    images = sample(name)
    result = load_state_dict(model, original.state_dict())
    assert result == ([], [])
    with torch.no_grad():
        expected = original(images).numpy()
    np.testing.assert_allclose(outputs(model, images.numpy()), expected, rtol=1e-4, atol=1e-5)
    assert_same_states(state_dict(model), original.state_dict())

    for file in ("weights.pt", "weights.pth", "weights.safetensors"):
        save_state_dict(model, tmp_path / file)
        read = safetensors.torch.load_file if file.endswith("safetensors") else torch.load
        again = originals.build(name, **options)
        again.load_state_dict(read(tmp_path / file), strict=True)
        assert_same_states(again.state_dict(), original.state_dict())
        other = kerasnets.build(name, **options)
        load_state_dict(other, str(tmp_path / file))
        np.testing.assert_array_equal(outputs(other, images.numpy()), outputs(model, images.numpy()))


@pytest.mark.parametrize(
    ("name", "data_format"),
    [("Net", "channels_last"), ("Net", "channels_first"), ("ConvNeuralNetwork", "channels_first")],
)
def test_the_same_file_fits_both_data_formats(name, data_format):
    original = randomised(originals.build(name)).double()
    images = sample(name, torch.float64)
    with float64():
        model = kerasnets.build(name, data_format=data_format)
        load_state_dict(model, original.state_dict())
        assert_same_states(state_dict(model), original.state_dict())
        skip_without_convolution(data_format)
        assert_close(outputs(model, images.numpy()), original(images), "float64")


# --- Users' own models ------------------------------------------------------------------------------------------------

L = keras.layers


class Branches(nn.Module):
    """Two convolutions, flattened apart and joined."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 2, 3)
        self.out = nn.Linear(6 * 25 + 1, 5)

    def forward(self, x):
        return self.out(torch.cat([self.left(x).flatten(1), self.right(x).flatten(1), x.mean((1, 2, 3))[:, None]], 1))


def branches(data_format):
    axes = [1, 2, 3]
    images = keras.Input((3, 7, 7) if data_format == "channels_first" else (7, 7, 3))
    parts = [
        L.Flatten(data_format=data_format)(L.Conv2D(n, 3, data_format=data_format, name=name)(images))
        for n, name in ((4, "left"), (2, "right"))
    ]
    parts.append(keras.ops.expand_dims(keras.ops.mean(images, axis=axes), 1))
    return keras.Model(images, L.Dense(5, name="out")(L.Concatenate()(parts)))


class Residual(nn.Module):
    """An inner module, used as a part, and a sum."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.block = nn.Sequential(
            collections.OrderedDict(conv=nn.Conv2d(4, 4, 3, padding=1), norm=nn.BatchNorm2d(4, eps=1e-3), act=nn.ReLU())
        )
        self.norm = nn.LayerNorm((4, 7, 7), eps=1e-3)
        self.fc = nn.Linear(196, 5)

    def forward(self, x):
        x = self.stem(x)
        return self.fc(self.norm(x + self.block(x)).flatten(1))


def residual(data_format):
    axis = 1 if data_format == "channels_first" else -1
    shape = (4, 7, 7) if data_format == "channels_first" else (7, 7, 4)
    block = keras.Sequential(
        [
            keras.Input(shape),
            L.Conv2D(4, 3, padding="same", data_format=data_format, name="conv"),
            L.BatchNormalization(axis=axis, name="norm"),
            L.ReLU(),
        ],
        name="block",
    )
    images = keras.Input((3, 7, 7) if data_format == "channels_first" else (7, 7, 3))
    x = L.Conv2D(4, 3, padding="same", data_format=data_format, name="stem")(images)
    x = L.LayerNormalization(axis=[1, 2, 3], name="norm")(L.Add()([x, block(x)]))
    x = kerasnets.layers.Flatten(data_format=data_format)(x)
    return keras.Model(images, L.Dense(5, name="fc")(x))


def stack(*layers):
    """A builder of Sequential models over images, from functions of the data format (or plain layers)."""

    def build(data_format, channels=3):
        shape = (channels, 7, 7) if data_format == "channels_first" else (7, 7, channels)
        made = [
            layer(data_format) if callable(layer) and not isinstance(layer, keras.Layer) else layer for layer in layers
        ]
        return keras.Sequential([keras.Input(shape), *made])

    return build


def conv(filters, name, **options):
    return lambda data_format: L.Conv2D(filters, 3, data_format=data_format, name=name, **options)


def dense(name="fc"):
    return lambda _: L.Dense(5, name=name)


def named(**modules):
    return lambda: nn.Sequential(collections.OrderedDict(modules))


# No feature map is as wide as it has channels: Keras on TensorFlow then adds a channels-first bias to the wrong axis.
IMAGE_MODELS = {
    "flatten": (
        stack(conv(4, "conv"), lambda f: L.Flatten(data_format=f), dense()),
        named(conv=nn.Conv2d(3, 4, 3), flat=nn.Flatten(), fc=nn.Linear(100, 5)),
    ),
    "reshape": (
        stack(conv(4, "conv"), lambda _: L.Reshape((-1,)), dense()),
        named(conv=nn.Conv2d(3, 4, 3), flat=nn.Flatten(), fc=nn.Linear(100, 5)),
    ),
    "image flattened at once": (
        stack(lambda f: L.Flatten(data_format=f), dense()),
        named(flat=nn.Flatten(), fc=nn.Linear(147, 5)),
    ),
    "layers between": (
        stack(
            conv(4, "conv"),
            lambda f: kerasnets.layers.Flatten(data_format=f),
            lambda _: L.BatchNormalization(name="bn"),
            lambda _: L.ReLU(),
            lambda _: L.Dropout(0.5),
            lambda _: L.LayerNormalization(name="ln"),
            dense(),
            lambda _: L.BatchNormalization(name="last"),
        ),
        named(
            conv=nn.Conv2d(3, 4, 3),
            flat=nn.Flatten(),
            bn=nn.BatchNorm1d(100, eps=1e-3),
            act=nn.ReLU(),
            drop=nn.Dropout(0.5),
            ln=nn.LayerNorm(100, eps=1e-3),
            fc=nn.Linear(100, 5),
            last=nn.BatchNorm1d(5, eps=1e-3),
        ),
    ),
    "global pooling": (
        stack(conv(4, "conv"), lambda f: L.GlobalAveragePooling2D(data_format=f), dense()),
        named(conv=nn.Conv2d(3, 4, 3), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(4, 5)),
    ),
    "pooled to one pixel": (
        stack(
            conv(4, "conv"),
            lambda f: L.MaxPooling2D(4, data_format=f),
            lambda f: L.GlobalMaxPooling2D(data_format=f),
            dense(),
        ),
        named(conv=nn.Conv2d(3, 4, 3), pool=nn.MaxPool2d(4), flat=nn.Flatten(), fc=nn.Linear(4, 5)),
    ),
    "no biases": (
        stack(
            conv(4, "conv", use_bias=False),
            lambda f: L.Flatten(data_format=f),
            lambda _: L.Dense(100, use_bias=False, name="fc"),
            lambda _: L.Dense(5, name="last"),
        ),
        named(
            conv=nn.Conv2d(3, 4, 3, bias=False),
            flat=nn.Flatten(),
            fc=nn.Linear(100, 100, bias=False),
            last=nn.Linear(100, 5),
        ),
    ),
    "depthwise": (
        stack(
            lambda f: L.DepthwiseConv2D(3, depth_multiplier=2, data_format=f, name="conv"),
            lambda f: L.Flatten(data_format=f),
            dense(),
        ),
        named(conv=nn.Conv2d(3, 6, 3, groups=3), flat=nn.Flatten(), fc=nn.Linear(150, 5)),
    ),
    "branches": (branches, Branches),
    "residual": (residual, Residual),
}


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("case", IMAGE_MODELS)
def test_models_of_images(case, data_format):
    build, build_original = IMAGE_MODELS[case]
    original = randomised(build_original())
    images = torch.randn(4, 3, 7, 7)
    x = images.numpy() if data_format == "channels_first" else images.permute(0, 2, 3, 1).numpy()
    with image_data_format(data_format):
        model = build(data_format)
        load_state_dict(model, original.state_dict())
        assert_same_states(state_dict(model), original.state_dict())
        skip_without_convolution(data_format)
        assert_close(outputs(model, x), original(images), "float32")
