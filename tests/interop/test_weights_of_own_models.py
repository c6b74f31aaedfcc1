"""Models of users' own: weights in and out, against ``torch.nn`` on the CPU."""

import collections

import keras
import pytest
import torch
from gradients import assert_close, image_data_format
from torch import nn
from weights_compared import DATA_FORMATS, L, assert_same_states, named, outputs, randomised, skip_without_convolution

import kerasnets
from kerasnets.interop.weights import load_state_dict, state_dict


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


@pytest.mark.parametrize(
    ("build", "original", "shape", "order"),
    [
        (
            lambda: [L.Conv1D(4, 3, groups=2, name="conv"), L.Flatten(), L.Dense(3, name="fc")],
            lambda: {"conv": nn.Conv1d(6, 4, 3, groups=2), "flat": nn.Flatten(), "fc": nn.Linear(20, 3)},
            (7, 6),
            (0, 2, 1),
        ),
        (
            lambda: [L.Conv3D(4, 2, name="conv"), L.BatchNormalization(name="bn"), L.Flatten(), L.Dense(3, name="fc")],
            lambda: {
                "conv": nn.Conv3d(2, 4, 2),
                "bn": nn.BatchNorm3d(4, eps=1e-3),
                "flat": nn.Flatten(),
                "fc": nn.Linear(32, 3),
            },
            (3, 3, 3, 2),
            (0, 4, 1, 2, 3),
        ),
        (
            lambda: [L.Flatten(), L.Dense(3, name="fc")],
            lambda: {"flat": nn.Flatten(), "fc": nn.Linear(20, 3)},
            (4, 5),
            (0, 1, 2),
        ),
        (
            lambda: [
                L.Reshape((4, 5, 1)),
                L.Conv2D(3, 2, name="conv"),
                L.Permute((3, 1, 2)),
                L.Reshape((36,)),
                L.Dense(3, name="fc"),
            ],
            lambda: {
                "up": nn.Unflatten(1, (1, 4)),
                "conv": nn.Conv2d(1, 3, 2),
                "flat": nn.Flatten(),
                "fc": nn.Linear(36, 3),
            },
            (4, 5),
            (0, 1, 2),
        ),
    ],
    ids=["sequence", "volume", "matrix", "permuted back"],
)
def test_models_of_other_things(build, original, shape, order):
    module = randomised(named(**original())())
    model = keras.Sequential([keras.Input(shape), *build()])
    load_state_dict(model, module.state_dict())
    assert_same_states(state_dict(model), module.state_dict())
    x = torch.randn(4, *shape)
    assert_close(outputs(model, x.numpy()), module(x.permute(order)), "float32")


def test_tokens():
    """An embedding's features have one order on both sides, flattened or not."""
    module = named(
        embed=nn.Embedding(9, 4), norm=nn.LayerNorm((5, 4), eps=1e-3), flat=nn.Flatten(), fc=nn.Linear(20, 3)
    )()
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            L.Embedding(9, 4, name="embed"),
            L.LayerNormalization(axis=[1, 2], name="norm"),
            L.Flatten(),
            L.Dense(3, name="fc"),
        ]
    )
    load_state_dict(model, randomised(module).state_dict())
    tokens = torch.randint(0, 9, (6, 5))
    assert_close(outputs(model, tokens.numpy().astype("int32")), module(tokens), "float32")
