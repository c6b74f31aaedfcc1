"""Where PyTorch's order of features goes on its way through a model, against ``torch.nn`` on the CPU."""

import types

import keras
import numpy as np
import pytest
import torch
from gradients import assert_close, image_data_format
from torch import nn

from kerasnets.interop.weights import load_state_dict, state_dict

L = keras.layers
K = keras.ops


def sequences(*layers):
    """A model of (10 steps, 3 channels) whose features end in a layer called fc."""
    return keras.Sequential([keras.Input((10, 3)), *layers, L.Flatten(), L.Dense(2, name="fc")])


def joined(shape, layer, axis=-1):
    x = keras.Input(shape)
    parts = [layer(4, name="a")(x), layer(5, name="b")(x)]
    return keras.Model(x, L.Dense(2, name="fc")(L.Flatten()(L.Concatenate(axis=axis)(parts))))


def functional(shape, function):
    x = keras.Input(shape)
    return keras.Model(x, function(x))


def conv1d(filters, **options):
    return L.Conv1D(filters, 3, padding="same", **options)


def tokens_of_patches(x):
    """The beginning of a vision transformer."""
    x = L.Reshape((9, 4))(L.Conv2D(4, 3, name="a")(x))
    x = x + L.Dense(4, name="mlp")(L.LayerNormalization(epsilon=1e-5, name="ln")(x))
    return L.Dense(2, name="fc")(L.Flatten()(x))


def shared_tower(x):
    """One convolution for feature maps and their mirror images."""
    maps, tower = L.Conv2D(4, 2, name="a")(x), L.Conv2D(3, 2, name="b")
    parts = [tower(maps), tower(K.flip(maps, axis=2)), tower(K.roll(maps, 1, axis=1))]
    return L.Dense(2, name="fc")(L.Flatten()(L.Add()(parts)))


def shared_tower_original(m, x):
    maps = m.a(x)
    return m.fc(sum(m.b(y) for y in (maps, maps.flip(3), maps.roll(1, 2))).flatten(1))


def channel_shuffle(x):
    """ShuffleNet's, in three groups."""
    maps = L.Conv2D(6, 2, name="a")(x)
    maps = L.Reshape((4, 3, 6))(L.Permute((1, 2, 4, 3))(L.Reshape((4, 3, 3, 2))(maps)))
    return L.Dense(2, name="fc")(L.Flatten()(L.Conv2D(6, 2, groups=2, name="b")(maps) + maps[:, 1:, 1:]))


def channel_shuffle_original(m, x):
    maps = m.a(x)
    maps = maps.view(-1, 3, 2, 4, 3).transpose(1, 2).reshape(-1, 6, 4, 3)
    return m.fc((m.b(maps) + maps[..., 1:, 1:]).flatten(1))


# Model, the original's modules, its forward, and the shape of an input here.
CASES = {
    "sequences joined": (
        lambda: joined((10, 3), conv1d),
        lambda: {"a": nn.Conv1d(3, 4, 3, padding=1), "b": nn.Conv1d(3, 5, 3, padding=1), "fc": nn.Linear(90, 2)},
        lambda m, x: m.fc(torch.cat([m.a(x), m.b(x)], 1).flatten(1)),
        (10, 3),
    ),
    "sequences enlarged": (
        lambda: sequences(conv1d(4, name="a"), L.UpSampling1D(2)),
        lambda: {"a": nn.Conv1d(3, 4, 3, padding=1), "fc": nn.Linear(80, 2)},
        lambda m, x: m.fc(nn.functional.interpolate(m.a(x), scale_factor=2).flatten(1)),
        (10, 3),
    ),
    "sequences cropped": (
        lambda: sequences(conv1d(4, name="a"), L.Cropping1D(2)),
        lambda: {"a": nn.Conv1d(3, 4, 3, padding=1), "fc": nn.Linear(24, 2)},
        lambda m, x: m.fc(m.a(x)[..., 2:-2].flatten(1)),
        (10, 3),
    ),
    "layer normalisation over steps and channels": (
        lambda: sequences(conv1d(10, name="a"), L.LayerNormalization(axis=[1, 2], epsilon=1e-5, name="ln")),
        lambda: {"a": nn.Conv1d(3, 10, 3, padding=1), "ln": nn.LayerNorm((10, 10)), "fc": nn.Linear(100, 2)},
        lambda m, x: m.fc(m.ln(m.a(x)).flatten(1)),
        (10, 3),
    ),
    "maps cut out": (
        lambda: functional((5, 5, 3), lambda x: L.Dense(2, name="fc")(L.Flatten()(L.Conv2D(4, 3, name="a")(x)[:, :2]))),
        lambda: {"a": nn.Conv2d(3, 4, 3), "fc": nn.Linear(24, 2)},
        lambda m, x: m.fc(m.a(x)[:, :, :2].flatten(1)),
        (5, 5, 3),
    ),
    "maps transposed by an operation": (
        lambda: functional(
            (6, 6, 3),
            lambda x: L.Dense(2, name="fc")(
                K.reshape(K.transpose(L.Conv2D(4, 3, name="a")(x), (0, 3, 1, 2)), (-1, 64)),
            ),
        ),
        lambda: {"a": nn.Conv2d(3, 4, 3), "fc": nn.Linear(64, 2)},
        lambda m, x: m.fc(m.a(x).flatten(1)),
        (6, 6, 3),
    ),
    "features to maps": (
        lambda: keras.Sequential(
            [
                keras.Input((7,)),
                L.Dense(18, name="fc"),
                L.Reshape((2, 3, 3)),
                L.Permute((2, 3, 1)),
                L.Conv2D(4, 2, name="a"),
                L.GlobalMaxPooling2D(),
            ]
        ),
        lambda: {"fc": nn.Linear(7, 18), "a": nn.Conv2d(2, 4, 2)},
        lambda m, x: m.a(m.fc(x).view(-1, 2, 3, 3)).amax((2, 3)),
        (7,),
    ),
    "patches as tokens": (
        lambda: functional((5, 5, 3), tokens_of_patches),
        lambda: {
            "a": nn.Conv2d(3, 4, 3),
            "ln": nn.LayerNorm(4),
            "mlp": nn.Linear(4, 4),
            "fc": nn.Linear(36, 2),
        },
        lambda m, x: m.fc(((t := m.a(x).flatten(2).mT) + m.mlp(m.ln(t))).flatten(1)),
        (5, 5, 3),
    ),
    "maps flipped before a shared tower": (
        lambda: functional((5, 4, 3), shared_tower),
        lambda: {"a": nn.Conv2d(3, 4, 2), "b": nn.Conv2d(4, 3, 2), "fc": nn.Linear(18, 2)},
        shared_tower_original,
        (5, 4, 3),
    ),
    "channels shuffled": (
        lambda: functional((5, 4, 3), channel_shuffle),
        lambda: {"a": nn.Conv2d(3, 6, 2), "b": nn.Conv2d(6, 6, 2, groups=2), "fc": nn.Linear(36, 2)},
        channel_shuffle_original,
        (5, 4, 3),
    ),
    "flattened maps reversed": (
        lambda: functional(
            (5, 5, 3),
            lambda x: L.Dense(2, name="fc")(K.flip(L.Flatten()(L.Conv2D(4, 3, name="a")(x)), axis=1)),
        ),
        lambda: {"a": nn.Conv2d(3, 4, 3), "fc": nn.Linear(36, 2)},
        lambda m, x: m.fc(m.a(x).flatten(1).flip(1)),
        (5, 5, 3),
    ),
    "sequences reversed": (
        lambda: functional(
            (10, 3), lambda x: L.Dense(2, name="fc")(L.Flatten()(K.flip(L.Dense(4, name="a")(x), axis=1)))
        ),
        lambda: {"a": nn.Linear(3, 4), "fc": nn.Linear(40, 2)},
        lambda m, x: m.fc(m.a(x.mT).flip(1).flatten(1)),
        (10, 3),
    ),
    "tokens as maps": (
        lambda: keras.Sequential(
            [
                keras.Input((9, 5)),
                L.Dense(4, name="fc"),
                L.Reshape((3, 3, 4)),
                L.Conv2D(2, 2, name="a"),
                L.Flatten(),
                L.Dense(3, name="out"),
            ]
        ),
        lambda: {"fc": nn.Linear(5, 4), "a": nn.Conv2d(4, 2, 2), "out": nn.Linear(8, 3)},
        lambda m, x: m.out(m.a(m.fc(x.mT).mT.unflatten(2, (3, 3))).flatten(1)),
        (9, 5),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_outputs_and_the_weights_back(case):
    build, modules, forward, shape = CASES[case]
    generator = torch.Generator().manual_seed(0)
    modules = modules()
    for module in modules.values():
        for parameter in module.parameters():
            nn.init.normal_(parameter, generator=generator)
    state = {f"{name}.{key}": tensor for name, m in modules.items() for key, tensor in m.state_dict().items()}
    model = build()
    load_state_dict(model, state)
    for name, array in state_dict(model).items():
        np.testing.assert_array_equal(array, state[name].numpy(), err_msg=name)
    x = torch.randn(4, *shape, generator=generator)
    with torch.no_grad():
        expected = forward(types.SimpleNamespace(**modules), x.movedim(-1, 1))
    assert_close(model.predict_on_batch(x.numpy()), expected, "float32")


def test_channels_first_maps_joined_under_the_other_format():
    model = joined((3, 5, 5), lambda n, name: L.Conv2D(n, 3, data_format="channels_first", name=name), axis=1)
    kernel = np.arange(162.0).reshape(2, 81)
    shapes = {name: array.shape for name, array in state_dict(model).items()}
    load_state_dict(model, {**{name: np.zeros(shape) for name, shape in shapes.items()}, "fc.weight": kernel})
    # Keras's Flatten, told nothing, keeps channels-first maps as they are, and so does PyTorch's.
    np.testing.assert_array_equal(K.convert_to_numpy(model.get_layer("fc").kernel), kernel.T)


#: Shape of the input, layers, and the format of the maps behind them.
READERS = {
    "first to last": ((3, 6, 5), "channels_last", lambda: [L.ReLU(), L.Permute((2, 3, 1))]),
    "last to first": ((6, 5, 3), "channels_first", lambda: [L.Permute((3, 1, 2)), L.ReLU()]),
    "last": ((6, 5, 3), "channels_last", lambda: [L.ReLU()]),
    "first": ((3, 6, 5), "channels_first", lambda: [L.ReLU()]),
}


@pytest.mark.parametrize("configured", ["channels_last", "channels_first"])
@pytest.mark.parametrize("reader", READERS)
def test_an_input_has_the_format_of_the_layer_that_reads_it(reader, configured):
    shape, data_format, layers = READERS[reader]
    linear, images = nn.Linear(90, 2), torch.randn(4, 3, 6, 5)
    with image_data_format(configured):
        model = keras.Sequential(
            [keras.Input(shape), *layers(), L.Flatten(data_format=data_format), L.Dense(2, name="fc")]
        )
        load_state_dict(model, {f"fc.{name}": tensor for name, tensor in linear.state_dict().items()})
    given = images if shape[0] == 3 else images.movedim(1, -1)
    expected = linear(images.relu().flatten(1))
    assert_close(model.predict_on_batch(given.numpy()), expected, "float32")


def space_to_depth(x):
    """Channels in the order row, column, channel; PyTorch's PixelUnshuffle has channel, row, column."""
    maps = L.Reshape((2, 2, 2, 2, 2))(L.Conv2D(2, 2)(x))
    return L.Conv2D(3, 2, name="conv")(L.Reshape((2, 2, 8))(L.Permute((1, 3, 2, 4, 5))(maps)))


def turned_features(x):
    return L.Conv2D(4, 2, name="conv")(L.Permute((3, 2, 1))(L.Reshape((2, 3, 3))(L.Dense(18)(x))))


def gated(x):
    features = L.Flatten()(L.Conv2D(2, 2, name="a")(x))
    return L.Dense(2)(L.Multiply(name="gate")([features, L.Dense(8, activation="sigmoid")(features)]))


def two_reshapes(x):
    """Two orders of a matrix: neither the one that an embedding has, nor feature maps'."""
    parts = L.Reshape((2, 2, 2))(x), L.Permute((2, 1, 3))(L.Reshape((2, 2, 2))(x))
    return L.Dense(2)(L.Flatten()(L.Add(name="sum")(parts)))


@pytest.mark.parametrize(
    ("shape", "function", "words"),
    [
        ((7,), lambda x: L.Conv2D(4, 2, name="conv")(L.Reshape((3, 3, 2))(L.Dense(18)(x))), r"'conv'.*\(3, 3, 2\)"),
        ((5, 5, 3), space_to_depth, r"'conv'.*\(2, 2, 8\)"),
        ((7,), turned_features, r"'conv'.*\(3, 3, 2\)"),
        ((7,), lambda x: L.MaxPooling1D(2, name="pool")(L.Reshape((9, 2))(L.Dense(18)(x))), r"'pool'.*\(9, 2\)"),
        ((3, 3, 3), gated, "'gate' combines features that PyTorch orders in different ways"),
        ((8,), two_reshapes, "'sum' combines features that PyTorch orders in different ways"),
        ((3, 3, 3), lambda x: L.Dense(2)(L.Flatten()(L.Conv2D(2, 2)(x))[:, :3]), "takes some of the features"),
        (
            (3, 3, 3),
            lambda x: L.Dense(2)(K.split(L.Flatten()(L.Conv2D(2, 2)(x)), 2, 1)[0]),
            "takes some of the features",
        ),
        ((4, 4, 3), lambda x: L.Dense(2, name="rows")(L.Reshape((3, 6))(L.Conv2D(2, 2)(x))), r"'rows'.*\(3, 6\)"),
    ],
    ids=[
        "features to maps",
        "space to depth",
        "features turned",
        "features to sequences",
        "gate",
        "two reshapes",
        "slice",
        "split",
        "rows of maps",
    ],
)
def test_what_has_no_one_order_in_pytorch_is_refused(shape, function, words):
    with pytest.raises(ValueError, match=words):
        state_dict(functional(shape, function))


def test_sums_along_flattened_features_are_the_same_in_any_order():
    def similarity(x):
        features = L.Flatten()(L.Conv2D(2, 2, name="a")(x))
        return L.Dense(1, name="fc")(L.Dot(axes=1)([features, features]))

    assert state_dict(functional((3, 3, 3), similarity))["fc.weight"].shape == (1, 1)
