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
        titles.append(figure.get_suptitle())
        save(figure, *arguments, **options)

    monkeypatch.setattr(plots.canvas.Picture, "savefig", keep)
    images, labels = np.zeros((20, 28, 28), "float32"), np.arange(20) % 10
    recipe = kerasnets.recipes.find("FashionNetwork", "fashion_mnist_sample").replace(epochs=1)
    result = kerasnets.train(recipe, arrays=((images, labels), (images, labels)), verbose=0)
    cli.finish(result, tmp_path)
    shown = "FashionNetwork, fashion_mnist_sample"
    assert titles == [f"Model predictions: {shown}", shown, shown]


@pytest.mark.parametrize("panels", [1, 2])
def test_the_legend_of_learning_curves_is_beside_them(panels):
    both = {"loss": [3.0, 2.0, 1.0], "val_loss": [4.0, 3.0, 2.0]}
    if panels == 2:
        both |= {"accuracy": [0.1, 0.2, 0.3], "val_accuracy": [0.0, 0.1, 0.2]}
    figure = plots.learning_curves({"one network": both, "another network": both}, validation="test")
    figure.draw_without_rendering()
    *_, last = figure.axes
    assert len(figure.axes) == panels
    legend, frame = last.get_legend(), figure.bbox
    assert [text.get_text() for text in legend.get_texts()] == [
        "one network, training",
        "one network, test",
        "another network, training",
        "another network, test",
    ]
    box = legend.get_window_extent()
    assert last.get_window_extent().x1 <= box.x0
    assert box.x1 <= frame.x1


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "leaky_relu", "softmax"])
def test_the_legend_of_an_activation_hides_no_curve(name):
    figure = plots.activation(name)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    box = ax.get_legend().get_window_extent()
    for line in ax.lines:
        assert not box.count_contains(ax.transData.transform(line.get_xydata())), line.get_label()


@pytest.mark.usefixtures("no_chinese_font")
def test_without_a_chinese_font_the_classes_are_english_too(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        plots, "confusion_matrix", lambda *a, draw=plots.confusion_matrix, **o: (shown.append(o), draw(*a, **o))[1]
    )
    images, labels = np.zeros((20, 28, 28), "float32"), np.arange(20) % 10
    recipe = kerasnets.recipes.find("FashionNetwork", "fashion_mnist_sample").replace(epochs=1)
    result = kerasnets.train(recipe, arrays=((images, labels), (images, labels)), verbose=0)
    with pytest.warns(UserWarning, match="labelled in English"):
        cli.save_pictures(result, tmp_path, "zh")
    assert shown[0]["class_names"] == kerasnets.data.class_names("fashion_mnist_sample")


def test_a_single_epoch_is_a_point():
    (line,) = plots.learning_curves({"a": [0.5]}).axes[0].lines
    assert line.get_marker() not in ("", "None", None)
    assert keras.ops.shape(line.get_xydata()) == (1, 2)
