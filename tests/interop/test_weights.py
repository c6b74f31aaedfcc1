"""Weights in and out, against ``torch.nn`` on the CPU."""

import collections
import contextlib
import functools
import io
import os
import pickle
import subprocess
import sys
import tarfile
import traceback
import warnings
import zipfile

import keras
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from gradients import assert_close, image_data_format, precision
from torch import nn

import kerasnets
from kerasnets import training
from kerasnets._internal.arrays import cast
from kerasnets.interop.layer_weights import Entry
from kerasnets.interop.weights import load_state_dict, save_state_dict, state_dict
from kerasnets.training import recipes
from kerasnets.verify import originals, parity

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


# --- The tutorials' networks ------------------------------------------------------------------------------------------


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


def assert_same_predictions(ours, theirs, labels):
    """The same class for every image; the message has the scores of those that differ, to tell a tie from an error."""
    different = np.flatnonzero(ours.argmax(axis=1) != theirs.argmax(axis=1))
    scores = [f"image {i}: kerasnets {np.sort(ours[i])[-2:]}, PyTorch {np.sort(theirs[i])[-2:]}" for i in different[:9]]
    assert not scores, "\n".join([f"{len(different)} predictions differ; the two highest scores of each:", *scores])
    assert (ours.argmax(axis=1) == labels).mean() > 0.5, "too little was learned for the comparison to say something"


def predictions(original, images):
    """The original's scores in evaluation mode."""
    original.eval()
    with torch.no_grad():
        return np.concatenate([original(torch.from_numpy(images[i : i + 500])).numpy() for i in range(0, 10000, 500)])


@pytest.mark.full_data
@pytest.mark.parametrize("name", originals.ORIGINALS)
def test_trained_weights_give_the_same_predictions_of_all_test_images_both_ways(name, tmp_path):
    recipe = recipes.find(name)
    (x, y), (x_test, y_test) = training.load_recipe_data(recipe)
    assert len(x_test) == 10000

    # From a plain PyTorch training: 300 steps of the tutorial's, with dropout.
    original = originals.build(name)
    loss_of = parity.build_criterion(recipe)
    optimizer = {
        "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
        "Adam": lambda parameters: torch.optim.Adam(parameters, lr=3e-3),
    }[recipe.optimizer](original.parameters())
    first = torch.utils.data.TensorDataset(torch.from_numpy(x[:19200, None]), torch.from_numpy(y[:19200]))
    for images, labels in torch.utils.data.DataLoader(first, batch_size=64, shuffle=True):
        optimizer.zero_grad()
        loss_of(original(images), labels).backward()
        optimizer.step()
    torch.save(original.state_dict(), tmp_path / "pytorch.pt")
    model = kerasnets.build(name)
    load_state_dict(model, tmp_path / "pytorch.pt")
    scores = model.predict(x_test, batch_size=500, verbose=0)
    assert_same_predictions(scores, predictions(original, x_test), y_test)

    # From a training here, on whatever backend is active.
    model = training.compile_recipe(recipe)
    model.fit(x[:19200], y[:19200], batch_size=64, epochs=1, verbose=0)
    save_state_dict(model, tmp_path / "kerasnets.pt")
    original = originals.build(name)
    original.load_state_dict(torch.load(tmp_path / "kerasnets.pt"), strict=True)
    scores = model.predict(x_test, batch_size=500, verbose=0)
    assert_same_predictions(scores, predictions(original, x_test), y_test)


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


# --- Files, prefixes, types, errors -----------------------------------------------------------------------------------


def small():
    """A Keras model of two layers, and its original."""
    model = keras.Sequential(
        [keras.Input((3,)), L.Dense(4, name="a"), L.BatchNormalization(name="n"), L.Dense(2, name="b")]
    )
    return model, randomised(named(a=nn.Linear(3, 4), n=nn.BatchNorm1d(4), b=nn.Linear(4, 2))())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off(prefix):
    model, module = small()
    assert load_state_dict(model, {prefix + k: v for k, v in module.state_dict().items()}) == ([], [])
    assert_same_states(state_dict(model), module.state_dict())


def test_a_layer_may_be_called_module_and_a_part_may_be_compiled():
    model = keras.Sequential([keras.Input((3,)), L.Dense(4, name="module"), L.Dense(2, name="b")])
    state = named(module=nn.Linear(3, 4), b=nn.Linear(4, 2))().state_dict()
    load_state_dict(model, state)
    assert_same_states(state_dict(model), state)
    wrapped = {f"module.{k}".replace("b.", "b._orig_mod."): v + 1 for k, v in state.items()}
    load_state_dict(model, wrapped)
    assert_same_states(state_dict(model), {k: v + 1 for k, v in state.items()})


def test_wrapped_twice_is_reported():
    model, module = small()
    state = module.state_dict()
    with pytest.raises(ValueError, match=r"unexpected: module\.a\.bias$"):
        load_state_dict(model, {**state, "module.a.bias": state["a.bias"].clone()})


class Tied(nn.Module):
    """One module under two names; PyTorch's state has both."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def test_a_module_under_two_names(tmp_path):
    module = Tied()
    layer, x = keras.layers.Dense(3, name="first"), keras.Input((3,))
    model = keras.Model(x, layer(keras.ops.relu(layer(x))))
    data = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    for source in (module.state_dict(), tmp_path / "weights.pt"):
        layer.kernel.assign(np.zeros((3, 3)))
        assert load_state_dict(model, source) == ([], [])
        assert_close(model(data), module(torch.tensor(data)), "float32")
    untied = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"unexpected: second\.weight"):
        load_state_dict(model, untied)


def test_a_separable_convolution_is_two_convolutions():
    original = nn.Sequential()
    original.layer = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, bias=False), nn.Conv2d(6, 4, 1))
    layer = keras.layers.SeparableConv2D(4, 3, depth_multiplier=2, name="layer", data_format="channels_last")
    model = keras.Sequential([keras.Input((5, 6, 3)), layer])
    load_state_dict(model, original.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype("float32")
    expected = original(torch.tensor(x)).movedim(1, -1)
    assert_close(model(x.transpose(0, 2, 3, 1)), expected, "float32")
    assert_same_states(state_dict(model), original.state_dict())


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_checkpoint_is_understood(key, tmp_path):
    model, module = small()
    torch.save({"epoch": 3, key: module.state_dict(), "optimizer": {"state": {}}}, tmp_path / "checkpoint.pt")
    load_state_dict(model, tmp_path / "checkpoint.pt")
    assert_same_states(state_dict(model), module.state_dict())
    with pytest.raises(ValueError, match="parts 'net'"):
        load_state_dict(model, {"epoch": 3, "net": module.state_dict()})


def test_everything_that_does_not_fit_is_listed_and_nothing_is_loaded():
    model, module = small()
    before = state_dict(model)
    state = {**module.state_dict(), "c.weight": torch.ones(1), "a.weight": torch.ones(3, 4), "n.bias": "text"}
    del state["b.bias"], state["n.running_var"]
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        load_state_dict(model, state)
    message = str(error.value)
    for line in (
        "mis-shaped: a.weight has shape (3, 4), expected (4, 3); n.bias is of type str, expected numbers of shape (4,)",
        "missing: n.running_var; b.bias",
        "unexpected: c.weight",
    ):
        assert line in message
    for name, array in state_dict(model).items():
        np.testing.assert_array_equal(array, before[name])
    # PyTorch, too, takes no other shapes where strict is False.
    with pytest.raises(ValueError, match=r"a\.weight has shape"):
        load_state_dict(model, state, strict=False)


def test_not_strict_loads_what_is_there_and_returns_the_rest_as_torch_does():
    model, module = small()
    state = {**module.state_dict(), "c.weight": torch.ones(1)}
    del state["b.bias"]
    expected = small()[1].load_state_dict(state, strict=False)
    result = load_state_dict(model, state, strict=False)
    assert result.missing_keys == expected.missing_keys == ["b.bias"]
    assert result.unexpected_keys == expected.unexpected_keys == ["c.weight"]
    np.testing.assert_array_equal(state_dict(model)["a.weight"], state["a.weight"].numpy())


def test_the_counter_of_batches_may_be_absent():
    model, module = small()
    state = module.state_dict()
    del state["n.num_batches_tracked"]
    assert load_state_dict(model, state) == ([], [])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("file", ["weights.pt", "weights.safetensors", None])
def test_other_types_are_cast_to_the_models(dtype, file, tmp_path):
    model, module = small()
    module.to(dtype)
    source = module.state_dict()
    if file:
        torch.save(source, tmp_path / file) if file.endswith("pt") else safetensors.torch.save_file(
            source, tmp_path / file
        )
        source = tmp_path / file
    load_state_dict(model, source)
    assert_same_states(state_dict(model), module.float().state_dict())
    assert {str(v.dtype) for v in model.weights} == {"float32"}


def test_a_bfloat16_model(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    model, module = small()
    keras.config.set_dtype_policy(before)
    load_state_dict(model, module.to(torch.bfloat16).state_dict())
    for file, read in (("w.pt", torch.load), ("w.safetensors", safetensors.torch.load_file)):
        save_state_dict(model, tmp_path / file)
        for name, tensor in read(tmp_path / file).items():
            if not name.endswith("tracked"):
                assert tensor.dtype == torch.bfloat16
                assert torch.equal(tensor, module.state_dict()[name])


def test_arrays_are_copies():
    model, _ = small()
    first = state_dict(model)
    first["a.weight"][:] = 100
    assert state_dict(model)["a.weight"].max() < 100


def test_bad_files_are_refused_in_words(tmp_path):
    model, module = small()
    torch.save(module, tmp_path / "whole.pt")
    torch.save({"model_state_dict": module.state_dict(), "loss": np.float64(0.3)}, tmp_path / "checkpoint.pt")
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    safetensors.torch.save_file(module.state_dict(), tmp_path / "weights.safetensors")
    whole = (tmp_path / "weights.pt").read_bytes()
    for kept in (0, 100, len(whole) - 1):
        (tmp_path / f"first {kept}.pt").write_bytes(whole[:kept])
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "page.pt").write_text("<html>404</html>")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "tensors.pt").write_bytes((tmp_path / "weights.safetensors").read_bytes())
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    for file, words in {
        "whole.pt": "whole.pt' contains more than tensors.*Sequential",
        "checkpoint.pt": "checkpoint.pt' contains more than tensors.*numpy.*",
        "broken.pt": "broken",
        "page.pt": r"page\.pt' is not a complete PyTorch file \(UnpicklingError: Unsupported operand 60\)",
        "text.pt": r"text\.pt' is not a complete PyTorch file",
        "tensors.pt": r"tensors\.pt' is not a complete PyTorch file",
        **{f"first {kept}.pt": f"first {kept}.pt' is not a complete PyTorch" for kept in (0, 100, len(whole) - 1)},
        "broken.safetensors": "not a complete .safetensors file",
        "list.pth": "list, expected a dict",
        "weights.bin": "expected .pt, .pth or .safetensors",
    }.items():
        with pytest.raises(ValueError, match=words):
            load_state_dict(model, tmp_path / file)
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        load_state_dict(model, tmp_path / "absent.pt")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(FileNotFoundError, match=r"folder\.pt' is a folder"):
        load_state_dict(model, tmp_path / "folder.pt")
    with pytest.raises(TypeError, match="pass its state_dict"):
        load_state_dict(model, module)
    with pytest.raises(ValueError, match=r"\.h5"):
        save_state_dict(model, tmp_path / "weights.h5")
    for name in ("weights.pt", "weights.safetensors"):
        with pytest.raises(FileNotFoundError, match=r"no folder .*absent"):
            save_state_dict(model, tmp_path / "absent" / name)


class Attack:
    """Pickled, it is a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write_refused(path, form, attack):
    """Write a file that PyTorch doesn't load with ``weights_only=True``."""
    if form == "tar":
        with tarfile.open(path, "w:") as archive:
            for name in ("sys_info", "pickle", "tensors", "storages"):
                content = pickle.dumps({}, 2)
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    elif form == "TorchScript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), path)
    elif form == "other zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("word/document.xml", "<x/>")
    else:
        content = {
            "module": nn.Linear(2, 2),
            "os.system": {"weights": torch.ones(1), "more": Attack(os.system, f"touch {attack}")},
            "old os.system": Attack(os.system, f"touch {attack}"),
            "eval": Attack(eval, f"open({str(attack)!r}, 'w')"),
            "NumPy": {"loss": np.float64(1.0)},
            "partial": {"function": functools.partial(print, 1)},
        }[form]
        torch.save(content, path, _use_new_zipfile_serialization=not form.startswith("old"))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("module", "refers to torch.nn.modules.linear.Linear, and loading that could run code"),
        ("os.system", "refers to posix.system, and loading"),
        ("old os.system", "refers to posix.system, and loading"),
        ("eval", "refers to eval, and loading"),
        ("NumPy", r"refers to numpy\.\S+\.scalar, and loading"),
        ("partial", "refers to functools.partial, and loading"),
        ("tar", "legacy .tar format"),
        ("TorchScript", "is a TorchScript archive"),
        ("other zip", "not a complete PyTorch file"),
    ],
)
def test_refused_files_come_without_the_advice_to_load_them_nevertheless(form, words, tmp_path):
    path, attack = tmp_path / "w.pt", tmp_path / "attack"
    write_refused(path, form, attack)
    with pytest.raises(ValueError, match=words.replace("posix", os.name)) as caught:
        load_state_dict(small()[0], path)
    assert str(path) in str(caught.value)
    assert form == "other zip" or "torch.save(model.state_dict(), path)" in str(caught.value)
    assert "weights_only" not in "".join(traceback.format_exception(caught.value))
    assert not attack.exists()


ODD = {
    "big-endian": lambda x: x.astype(">f4"),
    "big-endian float16": lambda x: x.astype(">f2"),
    "big-endian integers": lambda x: x.astype(">i8"),
    "longdouble": lambda x: x.astype("longdouble"),
    "too large a longdouble": lambda x: np.full_like(x, np.finfo("longdouble").max, "longdouble"),
    "too large": lambda x: np.full_like(x, -1e300, "float64"),
    "uint64": lambda x: np.full_like(x, 2**64 - 1, "uint64"),
    "bool": lambda x: x > 0,
    "negative strides": lambda x: x[::-1],
    "read-only": lambda x: np.broadcast_to(np.float32(0.5), x.shape),
    "Fortran's order": np.asfortranarray,
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["a.weight", "b.bias"])
def test_arrays_that_some_backend_does_not_take(name, odd):
    model, module = small()
    array = ODD[odd](module.state_dict()[name].numpy())
    load_state_dict(model, {**module.state_dict(), name: array})
    with np.errstate(over="ignore"):
        plain = array.astype("float64") if array.dtype.char == "g" else array.astype(array.dtype.newbyteorder("="))
    # PyTorch copies what is too large as inf, and says nothing.
    expected = torch.empty(array.shape).copy_(torch.from_numpy(plain.copy()))
    np.testing.assert_array_equal(state_dict(model)[name], expected.numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_numbers_are_rounded_as_pytorch_rounds_them(dtype):
    array = np.array([1 + 2**-11 + 2**-40, 1 + 2**-8 + 2**-40, 65519.999, 1e300, -np.inf, np.nan, 5e-324])
    expected = torch.empty(len(array), dtype=getattr(torch, dtype)).copy_(torch.from_numpy(array))
    np.testing.assert_array_equal(cast(array, dtype).astype("float64"), expected.double().numpy())


def test_a_conversion_that_fails_leaves_all_weights(monkeypatch):
    model, module = small()
    before, convert, calls = state_dict(model), Entry.convert, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise MemoryError
        return convert(*arguments)

    monkeypatch.setattr(Entry, "convert", full)
    with pytest.raises(MemoryError):
        load_state_dict(model, module.state_dict())
    for name, array in state_dict(model).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros(2, "datetime64[s]"), r"of type ndarray datetime64\[s\], expected numbers"),
        (np.full(2, None), "of type ndarray object, expected numbers"),
        (torch.zeros(2, dtype=torch.complex64), "Tensor torch.complex64, expected numbers"),
        (torch.zeros(2).to(torch.float8_e4m3fn), "can't be read: .*Float8"),
        (torch.empty(2, device="meta"), "can't be read"),
        (torch.zeros(2).to_sparse(), "can't be read"),
        ([[1], [1, 2]], "can't be read"),
        ("zero", "of type str, expected numbers"),
    ],
    ids=["datetime", "object", "complex", "float8", "meta", "sparse", "ragged", "string"],
)
def test_entries_that_are_no_arrays_of_numbers_are_named(value, words):
    model, module = small()
    before = state_dict(model)
    with pytest.raises(ValueError, match=f"b.bias.* {words}"):
        load_state_dict(model, {**module.state_dict(), "b.bias": value})
    for name, array in state_dict(model).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_names_that_are_no_strings():
    model, module = small()
    with pytest.raises(TypeError, match="names of weights, received 1"):
        load_state_dict(model, {**module.state_dict(), 1: torch.zeros(2)})


def test_models_that_cannot_be_mapped_are_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(2)

        def call(self, x):
            return self.dense(x)

    own = Own()
    own(np.zeros((1, 3), "float32"))
    with pytest.raises(TypeError, match="neither Functional nor Sequential"):
        state_dict(own)
    with pytest.raises(ValueError, match="build it first"):
        state_dict(keras.Sequential([L.Dense(2)]))
    with pytest.raises(TypeError, match=r"'memory' is Keras's LSTM.* use kerasnets\.layers\.LSTM"):
        state_dict(keras.Sequential([keras.Input((3, 2)), L.LSTM(4, name="memory")]))
    with pytest.raises(ValueError, match="one slope, or one per channel"):
        state_dict(keras.Sequential([keras.Input((3, 2)), L.PReLU()]))
    with pytest.raises(ValueError, match="groups that PyTorch makes of others"):
        state_dict(keras.Sequential([keras.Input((2, 2, 4)), L.Flatten(), L.GroupNormalization(2)]))
    with pytest.raises(TypeError, match="list"):
        state_dict([])
    maps, vector = keras.Input((2, 2, 3)), keras.Input((12,))
    shared = L.Dense(2, name="shared")
    with pytest.raises(ValueError, match="'shared' is used for inputs whose features PyTorch orders in two ways"):
        state_dict(keras.Model([maps, vector], [shared(L.Flatten()(maps)), shared(vector)]))


SAFETENSORS_ONLY = """
import sys
import kerasnets, keras
model = kerasnets.build("Network2")
kerasnets.save_state_dict(model, sys.argv[1])
kerasnets.load_state_dict(model, sys.argv[1])
assert callable(kerasnets.state_dict), kerasnets.state_dict
assert "torch" not in sys.modules or keras.config.backend() == "torch"
kerasnets.save_state_dict(model, sys.argv[2])
kerasnets.load_state_dict(model, sys.argv[2])
if keras.config.backend() != "torch":
    assert not {"torchvision", "triton"} & set(sys.modules), "would abort beside TensorFlow"
"""


def test_safetensors_needs_no_torch_and_pt_needs_torch_alone(tmp_path):
    command = [sys.executable, "-c", SAFETENSORS_ONLY, str(tmp_path / "w.safetensors"), str(tmp_path / "w.pt")]
    subprocess.run(command, check=True, timeout=300)
