"""Networks of colour images, held to the PyTorch originals: weights both ways, seeds, a training step, wrong images."""

import keras
import numpy as np
import pytest
import torch
from gradients import image_data_format

import kerasnets
from kerasnets import losses, optimizers
from kerasnets.engine.mistakes import LikelyMistakeWarning
from kerasnets.verify import originals

NAMES = kerasnets.list_networks()
#: Small and not square, so that no two axes can be mistaken for each other.
SHAPE = (16, 24, 3)
CASES = [(name, {}) for name in NAMES] + [
    (name, {"data_format": data_format})
    for name in ("ConvNeuralNetwork", "Net")
    for data_format in ("channels_last", "channels_first")
]


def images(n=6, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, *SHAPE)).astype("float32")


def as_pytorchs(x):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def randomised_original(name):
    """In evaluation mode, with statistics and scales that are not those of the beginning."""
    original = originals.build(name, input_shape=SHAPE)
    for key, tensor in original.state_dict().items():
        if "norm" in key and tensor.is_floating_point():
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return original.eval()


@pytest.mark.parametrize("configured", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_weights_of_the_original_give_its_outputs_and_come_back(name, options, configured, tmp_path):
    original = randomised_original(name)
    x = images()
    with image_data_format(configured):
        model = kerasnets.build(name, input_shape=SHAPE, **options)
        assert model.input_shape == (None, *SHAPE)
        torch.save(original.state_dict(), tmp_path / "original.pt")
        assert kerasnets.load_state_dict(model, tmp_path / "original.pt") == ([], [])
        kerasnets.save_state_dict(model, tmp_path / "ours.pt")
    again = originals.build(name, input_shape=SHAPE)
    again.load_state_dict(torch.load(tmp_path / "ours.pt"), strict=True)
    for key, tensor in original.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], tensor, rtol=0, atol=0)
    with torch.no_grad():
        expected = original(as_pytorchs(x)).numpy()
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("configured", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_same_seed_gives_pytorchs_initial_weights(name, options, configured):
    for seed in range(3):
        torch.manual_seed(seed)
        original = originals.build(name, input_shape=SHAPE)
        with image_data_format(configured):
            ours = kerasnets.state_dict(kerasnets.build(name, seed=seed, input_shape=SHAPE, **options))
        for key, tensor in original.state_dict().items():
            np.testing.assert_array_equal(ours[key], tensor.numpy(), err_msg=key)


@pytest.mark.parametrize(
    ("name", "options"), [("NeuralNetwork", {}), ("Net", {}), ("Net", {"data_format": "channels_first"})]
)
def test_training_steps_are_pytorchs(name, options):
    x, y = images(12), np.arange(12) % 10
    torch.manual_seed(4)
    original = originals.build(name, input_shape=SHAPE)
    optimizer = torch.optim.SGD(original.parameters(), lr=0.05, momentum=0.9)
    for batch in (slice(0, 6), slice(6, 12)):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(original(as_pytorchs(x[batch])), torch.from_numpy(y[batch])).backward()
        optimizer.step()
    model = kerasnets.build(name, seed=4, input_shape=SHAPE, **options)
    model.compile(optimizer=optimizers.SGD(0.05, momentum=0.9), loss=losses.CrossEntropyLoss())
    model.fit(x, y, batch_size=6, shuffle=False, verbose=0)
    ours = kerasnets.state_dict(model)
    for key, tensor in original.state_dict().items():
        np.testing.assert_allclose(ours[key], tensor.numpy(), rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_saved_network_gives_the_same_weights_in_pytorchs_order(data_format, tmp_path):
    model = kerasnets.build("ConvNeuralNetwork", input_shape=SHAPE, filters=(4,), hidden=(5,), data_format=data_format)
    model.save(tmp_path / "model.keras")
    loaded = kerasnets.load_model(tmp_path / "model.keras")
    for key, value in kerasnets.state_dict(model).items():
        np.testing.assert_array_equal(kerasnets.state_dict(loaded)[key], value)
    np.testing.assert_array_equal(loaded.predict(images(), verbose=0), model.predict(images(), verbose=0))


@pytest.mark.parametrize("name", ["NeuralNetwork", "ConvNeuralNetwork", "Net"])
def test_predictor_takes_one_image_and_a_batch(name):
    model = kerasnets.build(name, input_shape=SHAPE)
    x = images(3)
    predict, expected = kerasnets.predictor(model), model.predict(x, verbose=0)
    np.testing.assert_allclose(predict(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(predict(x[1]), expected[1], rtol=1e-4, atol=1e-5)


def test_raw_pixels_are_a_warning():
    raw = np.random.default_rng(0).integers(0, 256, (4, *SHAPE)).astype("float32")
    for options in ({}, {"data_format": "channels_first"}):
        model = kerasnets.build("Net", input_shape=SHAPE, **options)
        with pytest.warns(LikelyMistakeWarning, match="expected about -1 to 1"):
            model.predict(raw, verbose=0)


# Wrong images


COLOUR, GREY = images(), images()[..., 0]


@pytest.mark.parametrize("name", ["NeuralNetwork", "NeuralNetwork_v1", "ConvNeuralNetwork", "Net"])
@pytest.mark.parametrize(
    ("shape", "wrong", "message"),
    [
        (SHAPE[:2], COLOUR, r"\(6, 16, 24, 3\); expected \(n, 16, 24\)\. .* colour .* needs input_shape=\(16, 24, 3\)"),
        (SHAPE, GREY, r"\(6, 16, 24\); expected \(n, 16, 24, 3\)\. .* grey .* needs input_shape=\(16, 24\)"),
        (SHAPE, np.moveaxis(COLOUR, -1, 1), r"\(6, 3, 16, 24\); expected \(n, 16, 24, 3\)\. .*np.moveaxis\(x, 1, -1\)"),
        (
            SHAPE[:2],
            np.moveaxis(COLOUR, -1, 1),
            r"\(6, 3, 16, 24\); expected \(n, 16, 24\)\. .*np.moveaxis\(x, 1, -1\)",
        ),
        (SHAPE, COLOUR[0], r"\(16, 24, 3\); expected \(n, 16, 24, 3\)\. .*x\[None\]"),
    ],
)
def test_the_wrong_kind_of_image_is_named_before_the_first_step(name, shape, wrong, message):
    model = kerasnets.build(name, input_shape=shape)
    model.compile(optimizer=optimizers.SGD(0.1), loss=losses.CrossEntropyLoss())
    before, labels = model.get_weights(), np.zeros(len(wrong), "int64")
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            call(wrong, labels, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.predict(wrong, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_predictor_names_the_wrong_kind_of_image():
    for shape, wrong in ((SHAPE[:2], COLOUR), (SHAPE, GREY)):
        with pytest.raises(ValueError, match=r"The image has shape .*; expected \(16, 24"):
            kerasnets.predictor(kerasnets.build("Net", input_shape=shape))(wrong)


@pytest.mark.parametrize("build", [kerasnets.build, originals.build])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((32,), r"input_shape=\(32,\): expected \(height, width\), or \(height, width, channels\)"),
        ((1, 32, 32, 3), r"expected \(height, width\), or \(height, width, channels\)"),
        ((3, 32, 32), r"input_shape=\(3, 32, 32\): expected the channels last.*: \(32, 32, 3\)"),
        ((1, 28, 28), r"none for grey images: \(28, 28\)"),
        ((32, 32, 0), r"input_shape=\(32, 32, 0\): expected positive whole numbers"),
    ],
)
def test_wrong_shapes_of_images(build, shape, message):
    for name in NAMES:
        with pytest.raises(ValueError, match=message):
            build(name, input_shape=shape)


@pytest.mark.once
@pytest.mark.parametrize("name", NAMES)
def test_originals_refuse_other_orders_and_sizes(name):
    original = originals.build(name, input_shape=SHAPE, classes=4).eval()
    with torch.no_grad():
        assert original(as_pytorchs(COLOUR)).shape == (6, 4)
    for wrong in (COLOUR, GREY, np.moveaxis(COLOUR, -1, 1)[..., ::-1].swapaxes(2, 3)):
        with pytest.raises(ValueError, match=r"expected \(batch, 3, 16, 24\)"):
            original(torch.from_numpy(np.ascontiguousarray(wrong)))


def test_numbers_of_channels_other_than_three():
    torch.manual_seed(2)
    original = originals.build("NeuralNetwork", input_shape=(6, 5, 4))
    model = kerasnets.build("NeuralNetwork", seed=2, input_shape=(6, 5, 4))
    x = np.random.default_rng(0).uniform(-1, 1, (3, 6, 5, 4)).astype("float32")
    expected = original(as_pytorchs(x)).detach().numpy()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(x)), expected, rtol=1e-4, atol=1e-5)
