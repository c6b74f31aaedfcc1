"""Pictures of colour images, in either order of axes, and of the weights for their colours."""

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import plots

pytestmark = pytest.mark.once

IMAGES = np.random.default_rng(0).uniform(-1, 1, (4, 6, 5, 3)).astype("float32")
LABELS = np.arange(4)


def drawn(figure):
    """The pixels of each image in a figure, as they are given to matplotlib."""
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


@pytest.mark.parametrize("images", [IMAGES, np.moveaxis(IMAGES, -1, 1)], ids=["channels last", "channels first"])
def test_grids_have_the_colours_on_one_scale(images):
    low, high = IMAGES.min(), IMAGES.max()
    for figure in (plots.show_images(images, LABELS), plots.predictions(images, LABELS, LABELS)):
        np.testing.assert_allclose(drawn(figure), (IMAGES - low) / (high - low), atol=1e-6)


def test_a_constant_picture_is_black():
    np.testing.assert_array_equal(drawn(plots.show_images(np.ones((1, 4, 4, 3)))), np.zeros((1, 4, 4, 3)))


@pytest.mark.parametrize(
    "image", [IMAGES[1], IMAGES[1:2], np.moveaxis(IMAGES[1], -1, 0), np.moveaxis(IMAGES[1:2], -1, 1)]
)
def test_view_classify_has_the_colours(image):
    (pixels,) = drawn(plots.view_classify(image, np.full(10, 0.1)))
    low, high = IMAGES[1].min(), IMAGES[1].max()
    np.testing.assert_allclose(pixels, (IMAGES[1] - low) / (high - low), atol=1e-6)


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(ValueError, match=r"with one of size 3 for colours; got shape \(4, 6, 5, 2\)"):
        plots.show_images(IMAGES[..., :2])
    with pytest.raises(ValueError, match=r"\(height, width, 3\) in colour; got shape \(6, 5, 2\)"):
        plots.view_classify(IMAGES[0, ..., :2], np.full(10, 0.1))


def weights_as_colours(kernels):
    limit = np.abs(kernels).max()
    return (kernels + limit) / (2 * limit)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_filters_of_the_first_convolution_are_in_colour(data_format):
    model = kerasnets.build("ConvNeuralNetwork", input_shape=(8, 8, 3), data_format=data_format)
    kernel = keras.ops.convert_to_numpy(model.get_layer("conv1").kernel)
    shown = drawn(plots.weights(model))
    np.testing.assert_allclose(shown, weights_as_colours(np.moveaxis(kernel, -1, 0)), atol=1e-6)
    assert {pixels.shape for pixels in drawn(plots.weights(model, "conv2"))} == {(3, 3)}


def test_units_of_the_first_linear_layer_are_in_colour():
    model = kerasnets.build("NeuralNetwork", input_shape=(6, 5, 3))
    kernel = keras.ops.convert_to_numpy(model.get_layer("linear_relu_stack_0").kernel)
    shown = drawn(plots.weights(model, n=7))
    expected = kernel.T[:7].reshape(7, 6, 5, 3)
    np.testing.assert_allclose(shown, weights_as_colours(expected), atol=1e-6)


def test_units_of_a_users_network_with_channels_first_are_in_colour():
    stack = [keras.Input((3, 6, 5)), keras.layers.Flatten(data_format="channels_first"), keras.layers.Dense(2)]
    model = keras.Sequential(stack)
    image = np.zeros((1, 3, 6, 5), "float32")
    image[0, 1, 4, 2] = 1.0  # green
    scores = keras.ops.convert_to_numpy(model(image) - model(0 * image))
    shown = np.array(drawn(plots.weights(model)))
    limit = np.abs(keras.ops.convert_to_numpy(model.layers[-1].kernel)).max()
    np.testing.assert_allclose((2 * shown[:, 4, 2, 1] - 1) * limit, scores[0], atol=1e-6)
