"""Weights and optimizer states in and out, against ``torch.nn`` and ``torch.optim`` on the CPU."""

import collections
import contextlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from gradients import assert_close, precision
from torch import nn

import kerasnets
from kerasnets import layers, optimizers, originals, schedules
from kerasnets.state_dict import (
    load_optimizer_state_dict,
    load_state_dict,
    optimizer_state_dict,
    save_state_dict,
    scheduler_state_dict,
    state_dict,
)

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
        load_state_dict(model, {**state, "module.a.bias": state["a.bias"]})


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
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    for file, words in {
        "whole.pt": "no pickle of tensors alone",
        "broken.pt": "broken",
        "broken.safetensors": "no whole .safetensors file",
        "list.pth": "list, expected a dict",
        "weights.bin": "expected .pt, .pth or .safetensors",
    }.items():
        with pytest.raises(ValueError, match=words):
            load_state_dict(model, tmp_path / file)
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        load_state_dict(model, tmp_path / "absent.pt")
    with pytest.raises(TypeError, match="pass its state_dict"):
        load_state_dict(model, module)
    with pytest.raises(ValueError, match=r"\.h5"):
        save_state_dict(model, tmp_path / "weights.h5")


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
    with pytest.raises(TypeError, match=r"'memory' \(LSTM\) has weights with no known counterpart"):
        state_dict(keras.Sequential([keras.Input((3, 2)), L.LSTM(4, name="memory")]))
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


# --- Optimizer state --------------------------------------------------------------------------------------------------


class Small(nn.Module):
    """Registers its modules in another order than it calls them, as ConvNeuralNetwork does."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2 * 9, 3)
        self.norm = nn.LayerNorm(18)
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x[:, None]).flatten(1)))


def small_network():
    return keras.Sequential(
        [
            keras.Input((5, 5)),
            L.Reshape((5, 5, 1)),
            layers.Conv2D(2, 3, name="conv", data_format="channels_last"),
            layers.Flatten(data_format="channels_last"),
            L.LayerNormalization(name="norm", epsilon=1e-5),
            layers.Linear(3, name="fc"),
        ]
    )


NAMES = [name for name, _ in Small().named_parameters()]
RULES = {
    "SGD": ({"lr": 0.05}, {}),
    "SGD momentum": ({"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}, {}),
    "SGD dampening": ({"lr": 0.05, "momentum": 0.9, "dampening": 0.3}, {}),
    "SGD nesterov": ({"lr": 0.05, "momentum": 0.9, "nesterov": True}, {}),
    "Adam": ({"lr": 0.01}, {}),
    "Adam amsgrad": ({"lr": 0.01, "betas": (0.8, 0.95), "amsgrad": True}, {"beta_1": 0.8, "beta_2": 0.95}),
    "AdamW": ({"lr": 0.01, "weight_decay": 0.1}, {}),
    "RMSprop": ({"lr": 0.01}, {}),
    "RMSprop centered": ({"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "centered": True}, {"rho": 0.9}),
    "Adagrad": ({"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.2}, {}),
    "Adadelta": ({"lr": 1.0}, {}),
}


def pair(case):
    """PyTorch's class and settings, and ours."""
    settings, ours = RULES[case]
    renamed = {k: v for k, v in settings.items() if k not in ("lr", "betas", "alpha")}
    return (getattr(torch.optim, case.split()[0]), settings), (
        getattr(optimizers, case.split()[0]),
        {"learning_rate": settings["lr"], **renamed, **ours},
    )


def batches(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(6, 5, 5, generator=generator), torch.randint(0, 3, (6,), generator=generator))
        for _ in range(count)
    ]


def torch_steps(module, optimizer, data, scheduler=None, every=1):
    for number, (x, y) in enumerate(data, start=1):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
        if scheduler and number % every == 0:
            scheduler.step()


def keras_steps(model, data):
    for x, y in data:
        model.train_on_batch(x.numpy(), y.numpy())


def compiled(optimizer):
    model = small_network()
    model.compile(optimizer, loss=kerasnets.losses.CrossEntropyLoss())
    return model


def assert_same_weights(model, module):
    for name, tensor in module.state_dict().items():
        np.testing.assert_allclose(state_dict(model)[name], tensor.numpy(), rtol=2e-5, atol=5e-6, err_msg=name)


@pytest.mark.parametrize("case", RULES)
def test_training_goes_from_pytorch_to_here_and_back(case, tmp_path):
    (torch_class, settings), (keras_class, ours) = pair(case)
    module = Small()
    optimizer = torch_class(module.parameters(), **settings)
    torch_steps(module, optimizer, batches(3, seed=1))
    for group in optimizer.param_groups:
        group["lr"] *= 0.5  # as a scheduler does
    model = compiled(keras_class(**ours))
    load_state_dict(model, module.state_dict())
    load_optimizer_state_dict(model, optimizer.state_dict(), NAMES)
    assert_same_weights(model, module)
    for step in batches(3, seed=2):
        torch_steps(module, optimizer, [step])
        keras_steps(model, [step])
        assert_same_weights(model, module)

    module = Small()
    optimizer = torch_class(module.parameters(), **{**settings, "lr": 0.3})
    module.load_state_dict({k: torch.from_numpy(v) for k, v in state_dict(model).items()})
    torch.save(optimizer_state_dict(model, NAMES), tmp_path / "optimizer.pt")
    optimizer.load_state_dict(torch.load(tmp_path / "optimizer.pt"))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(settings["lr"] / 2)
    for step in batches(3, seed=3):
        torch_steps(module, optimizer, [step])
        keras_steps(model, [step])
        assert_same_weights(model, module)


@pytest.mark.parametrize("case", ["SGD momentum", "Adam", "Adagrad"])
def test_before_the_first_step_there_is_nothing_to_move(case):
    (torch_class, settings), (keras_class, ours) = pair(case)
    model, module = compiled(keras_class(**ours)), Small()
    optimizer = torch_class(module.parameters(), **settings)
    keras_steps(model, batches(2, seed=5))  # traces that loading has to wipe out
    load_state_dict(model, module.state_dict())
    load_optimizer_state_dict(model, optimizer.state_dict(), NAMES)
    fresh = compiled(keras_class(**ours))
    load_state_dict(fresh, module.state_dict())
    optimizer.load_state_dict(optimizer_state_dict(fresh, NAMES))
    step = batches(1, seed=2)
    torch_steps(module, optimizer, step)
    for each in (model, fresh):
        keras_steps(each, step)
        assert_same_weights(each, module)


SCHEDULES = {
    "StepLR": (
        lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=2, gamma=0.1),
        lambda: schedules.StepLR(0.05, step_size=2, gamma=0.1, steps_per_epoch=2),
        2,
    ),
    "CosineAnnealingLR": (
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=5),
        lambda: schedules.CosineAnnealingLR(0.05, T_max=5, steps_per_epoch=2),
        2,
    ),
    "OneCycleLR": (
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.05, total_steps=12),
        lambda: schedules.OneCycleLR(0.05, total_steps=12),
        1,
    ),
}


@pytest.mark.parametrize(
    ("case", "rule"), [("StepLR", "SGD"), ("CosineAnnealingLR", "Adam"), ("OneCycleLR", "SGD"), ("OneCycleLR", "Adam")]
)
def test_the_scheduler_goes_along_both_ways(case, rule):
    torch_schedule, keras_schedule, every = SCHEDULES[case]
    options = {"momentum": 0.9} if rule == "SGD" else {}

    def start():
        module = Small()
        optimizer = getattr(torch.optim, rule)(module.parameters(), lr=0.05, **options)
        return module, optimizer, torch_schedule(optimizer)

    module, optimizer, scheduler = start()
    torch_steps(module, optimizer, batches(4, seed=1), scheduler, every)
    model = compiled(getattr(optimizers, rule)(keras_schedule(), **options))
    load_state_dict(model, module.state_dict())
    load_optimizer_state_dict(model, optimizer.state_dict(), NAMES, scheduler=scheduler.state_dict())
    middle = batches(2, seed=2)
    torch_steps(module, optimizer, middle, scheduler, every)
    keras_steps(model, middle)
    assert_same_weights(model, module)

    module, optimizer, scheduler = start()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in state_dict(model).items()})
    scheduler.load_state_dict({**scheduler.state_dict(), **scheduler_state_dict(model)})
    optimizer.load_state_dict(optimizer_state_dict(model, NAMES))
    last = batches(4, seed=3)
    torch_steps(module, optimizer, last, scheduler, every)
    keras_steps(model, last)
    assert_same_weights(model, module)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(
        float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)), rel=1e-5
    )


def test_parameter_groups_both_ways():
    decayed = [name for name in NAMES if name in ("conv.weight", "fc.weight")]
    groups = [decayed, [name for name in NAMES if name not in decayed]]
    model = compiled(
        optimizers.AdamW(
            0.01,
            weight_decay=0.1,
            param_groups=[{"params": r"(bias|gamma|beta)$", "weight_decay": 0.0, "learning_rate": 0.02}],
        )
    )
    keras_steps(model, batches(2, seed=1))
    module = Small()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in state_dict(model).items()})
    parameters = dict(module.named_parameters())
    optimizer = torch.optim.AdamW([{"params": [(n, parameters[n]) for n in group]} for group in groups])
    with pytest.raises(ValueError, match="Give a list of names a group"):
        optimizer_state_dict(model, NAMES)
    optimizer.load_state_dict(optimizer_state_dict(model, groups))
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [
        (pytest.approx(0.01), pytest.approx(0.1)),
        (pytest.approx(0.02), 0.0),
    ]
    torch_steps(module, optimizer, batches(2, seed=2))
    for group in optimizer.param_groups:
        group["lr"] *= 0.1
    load_state_dict(model, module.state_dict())
    load_optimizer_state_dict(model, optimizer.state_dict())  # it knows the names itself
    torch_steps(module, optimizer, batches(2, seed=3))
    keras_steps(model, batches(2, seed=3))
    assert_same_weights(model, module)
    optimizer.param_groups[0]["lr"] *= 0.1
    with pytest.raises(ValueError, match="ratio of param_groups"):
        load_optimizer_state_dict(model, optimizer.state_dict())


def test_frozen_layers_have_no_state():
    model = small_network()
    model.get_layer("conv").trainable = False
    model.compile(optimizers.SGD(0.05, momentum=0.9), loss=kerasnets.losses.CrossEntropyLoss())
    keras_steps(model, batches(2, seed=1))
    state = optimizer_state_dict(model, NAMES)
    assert sorted(NAMES[i] for i in state["state"]) == ["fc.bias", "fc.weight", "norm.bias", "norm.weight"]
    assert state["param_groups"][0]["params"] == list(range(len(NAMES)))
    load_optimizer_state_dict(model, state, NAMES)


def test_optimizer_states_that_do_not_fit_change_nothing():
    module = Small()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    torch_steps(module, optimizer, batches(2, seed=1))
    state = optimizer.state_dict()
    model = compiled(optimizers.SGD(0.3, momentum=0.8))
    keras_steps(model, batches(1, seed=1))
    before = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    order = sorted(NAMES)
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        load_optimizer_state_dict(model, state, order)
    message = str(error.value)
    assert "momentum is 0.9 in PyTorch and 0.8 here" in message
    assert "weight_decay is 0.1 in PyTorch and 0.0 here" in message
    assert "momentum_buffer of conv.bias has shape (3, 18), expected (2,)" in message
    with pytest.raises(ValueError, match=r"missing \['fc\.bias'\], unexpected \['fc\.biass'\]"):
        load_optimizer_state_dict(model, state, [n.replace("fc.bias", "fc.biass") for n in NAMES])
    shorter = {**state, "param_groups": [{**state["param_groups"][0], "params": [0, 1, 2, 3, 4]}]}
    with pytest.raises(ValueError, match=r"groups of \[5\] parameters, the model \(by `names`\) of \[6\]"):
        load_optimizer_state_dict(model, shorter, NAMES)
    with pytest.raises(ValueError, match="'state' and 'param_groups'"):
        load_optimizer_state_dict(model, module.state_dict(), NAMES)
    scheduled = compiled(optimizers.SGD(schedules.StepLR(0.7, 1), momentum=0.9, weight_decay=0.1))
    with pytest.raises(ValueError, match="the schedule here has"):
        load_optimizer_state_dict(scheduled, state, NAMES)
    adam = compiled(optimizers.Adam(0.05, weight_decay=0.1))
    with pytest.raises(ValueError, match=r"has the state \['momentum_buffer'\], expected \['exp_avg', 'exp_avg_sq'\]"):
        load_optimizer_state_dict(adam, state, NAMES)
    for variable, value in zip(model.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


def test_only_optimizers_with_pytorchs_rule_have_its_state():
    model = small_network()
    with pytest.raises(ValueError, match="not compiled"):
        optimizer_state_dict(model)
    model.compile(keras.optimizers.SGD(0.1), loss=kerasnets.losses.CrossEntropyLoss())
    with pytest.raises(TypeError, match="expected one of kerasnets"):
        optimizer_state_dict(model)
    with pytest.raises(ValueError, match="no schedule"):
        scheduler_state_dict(compiled(optimizers.SGD(0.1)))
