"""What a picture says to somebody who sees it without its program."""

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import cli, plots

pytestmark = pytest.mark.once

NAMES = list("abcdefghij")


def test_view_classify_marks_the_true_class_and_the_winner():
    probabilities = np.full(10, 0.05)
    probabilities[3] = 0.55
    left, right = plots.view_classify(np.zeros((28, 28)), probabilities, label=7, class_names=NAMES).axes
    assert left.get_title() == "Label: h"
    assert [i for i, text in enumerate(right.get_yticklabels()) if text.get_fontweight() == "bold"] == [7]
    colors = [bar.get_facecolor() for bar in right.patches]
    assert [i for i, color in enumerate(colors) if color != colors[0]] == [3]
    assert right.spines["bottom"].get_bounds() == (0, 1)
    for wrong in (-1, 10, 1.5, "a"):
        with pytest.raises(ValueError, match="Invalid label"):
            plots.view_classify(np.zeros((28, 28)), probabilities, label=wrong)


def test_only_convolutions_have_filters():
    def title(network, layer):
        return plots.weights(kerasnets.build(network), layer, n=3).get_suptitle()

    assert title("Net", "conv1") == "First 3 of 6 filters of conv1"
    assert title("FashionNetwork", "hidden1") == "Weights of the first 3 of 256 units of hidden1"


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_zero_is_a_point_and_a_kink_is_a_kink(name):
    value, slope, *others = plots.activation(name).axes[0].lines
    x = value.get_xdata()
    (zero,) = np.flatnonzero(x == 0)
    assert value.get_ydata()[zero] == 0
    # Drawn as a step from 0 on: the next point's slope holds all the way back to 0.
    assert slope.get_drawstyle() == "steps-pre"
    assert slope.get_ydata()[zero] < slope.get_ydata()[zero + 1] == 1
    assert len(others) == (name == "leaky_relu")
    if others:
        np.testing.assert_allclose(others[0].get_ydata()[0], -2.0)  # the true one is -0.1 there, next to nothing
        assert "0.2" in others[0].get_label()


def test_pictures_of_a_training_say_which_network_and_data(tmp_path, monkeypatch):
    titles = []
    save = plots.canvas.Picture.savefig

    def keep(figure, *arguments, **options):
        titles.append(figure.get_suptitle() or figure.axes[0].get_title())
        save(figure, *arguments, **options)

    monkeypatch.setattr(plots.canvas.Picture, "savefig", keep)
    images, labels = np.zeros((20, 28, 28), "float32"), np.arange(20) % 10
    recipe = kerasnets.recipes.find("FashionNetwork", "fashion_mnist_sample").replace(epochs=1)
    result = kerasnets.train(recipe, arrays=((images, labels), (images, labels)), verbose=0)
    cli.save_pictures(result, tmp_path)
    cli.save_learning_curves({"FashionNetwork": result.train_loss}, tmp_path, dataset="fashion_mnist_sample")
    assert titles == [
        "Model predictions: FashionNetwork, fashion_mnist_sample",
        "Normalized confusion matrix: FashionNetwork, fashion_mnist_sample",
        "fashion_mnist_sample",
    ]


def test_a_single_epoch_is_a_point():
    (line,) = plots.learning_curves({"a": [0.5]}).axes[0].lines
    assert line.get_marker() not in ("", "None", None)
    assert keras.ops.shape(line.get_xydata()) == (1, 2)
