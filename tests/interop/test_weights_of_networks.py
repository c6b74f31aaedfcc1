"""The tutorials' networks: weights in and out, against ``torch.nn`` on the CPU."""

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from gradients import assert_close
from weights_compared import FORMS, assert_same_states, float64, outputs, randomised, sample, skip_without_convolution

import kerasnets
from kerasnets import training
from kerasnets.interop.weights import load_state_dict, save_state_dict, state_dict
from kerasnets.training import recipes
from kerasnets.verify import originals, parity


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
