"""Pictures of images: their texts and arrays."""

import itertools

import keras
import numpy as np
import pytest
import torch
from figures import NAMES, needs_chinese_font, titles
from matplotlib.figure import Figure

from kerasnets import plots


def test_show_images(images, labels):
    figure = plots.show_images(images, labels, class_names=NAMES, n=7, columns=4)
    assert titles(figure) == [NAMES[i] for i in labels[:7]]
    for ax, image in zip(figure.axes, images, strict=False):
        np.testing.assert_array_equal(ax.images[0].get_array(), image)
        assert ax.images[0].get_clim() == (images[:7].min(), images[:7].max())
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 4)
    assert titles(plots.show_images(images, labels, n=2)) == ["Label: 3", "Label: 1"]
    assert titles(plots.show_images(images, n=50)) == [""] * 12


@pytest.mark.parametrize("shape", [(12, 28, 28, 1), (12, 1, 28, 28)])
def test_channel_axes_and_tensors(images, labels, shape):
    figure = plots.show_images(keras.ops.convert_to_tensor(images.reshape(shape)), keras.ops.convert_to_tensor(labels))
    np.testing.assert_array_equal(figure.axes[9].images[0].get_array(), images[9])
    assert figure.axes[9].get_title() == f"Label: {labels[9]}"


def test_predictions_mark_the_wrong_ones_without_colour(images, labels):
    predicted = labels.copy()
    predicted[2] = 7
    figure = plots.predictions(images, labels, predicted)
    assert titles(figure)[:3] == ["Predicted: 3 (Label: 3)", "Predicted: 1 (Label: 1)", "✗ Predicted: 7 (Label: 4)"]
    weights = [ax.title.get_fontweight() for ax in figure.axes]
    assert [i for i, weight in enumerate(weights) if weight == "bold"] == [2]
    framed = [i for i, ax in enumerate(figure.axes) if ax.spines["left"].get_visible()]
    assert framed == [2]
    scores = np.eye(10)[predicted] - 5
    assert titles(plots.predictions(images, labels, keras.ops.convert_to_tensor(scores))) == titles(figure)


@pytest.mark.parametrize("lang", ["en", pytest.param("zh", marks=needs_chinese_font)])
def test_titles_of_neighbours_do_not_touch(images, lang):
    longest = np.zeros(12, dtype=int)
    figure = plots.predictions(images, longest, longest + 9, class_names=NAMES, lang=lang)
    figure.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in figure.axes[:5]]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    half = Figure(layout="constrained")
    plots.predictions(images, longest, longest + 9, ax=half.subplots(1, 2)[1], lang=lang)
    half.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in half.subfigs[0].axes[:5]]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_view_classify(images):
    logits = np.random.default_rng(1).normal(size=(1, 10)).astype("float32")
    figure = plots.view_classify(images[:1], keras.ops.softmax(logits), class_names=NAMES)
    left, right = figure.axes
    np.testing.assert_array_equal(left.images[0].get_array(), images[0])
    expected = torch.softmax(torch.from_numpy(logits), 1).numpy()[0]
    np.testing.assert_allclose([bar.get_width() for bar in right.patches], expected, rtol=1e-5)
    assert [label.get_text() for label in right.get_yticklabels()] == NAMES
    assert [text.get_text() for text in right.texts] == [f"{value:.2f}" for value in expected]
    assert right.yaxis_inverted()  # class 0 on top


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: plots.show_images(x.reshape(12, 784)), r"\(12, 784\)"),
        (lambda x, y: plots.show_images(x[:0]), r"\(0, 28, 28\)"),
        (lambda x, y: plots.show_images(x, n=0), "Invalid n: 0"),
        (lambda x, y: plots.show_images(x, y[:3]), "12 values in `labels`.*got 3"),
        (lambda x, y: plots.show_images(x, y, class_names=["a", "b"]), "class 9.*only 2 names"),
        (lambda x, y: plots.show_images(x, y / 2), "float64"),
        (lambda x, y: plots.show_images(x, -y), "from 0 in `labels`; got -9"),
        (lambda x, y: plots.predictions(x, y, y[1:]), "12 values in `predicted`.*got 11"),
        (lambda x, y: plots.view_classify(x, np.ones(1)), r"one image of shape.*\(12, 28, 28\)"),
        (lambda x, y: plots.view_classify(x[0], np.array([-0.5, 2.0])), "between 0 and 1; got values from -0.5 to 2"),
        (lambda x, y: plots.view_classify(x[0], np.array([np.nan, 0.5])), "between 0 and 1"),
        (lambda x, y: plots.view_classify(x[0], np.ones((2, 3))), r"\(2, 3\)"),
        (lambda x, y: plots.view_classify(x[0], np.ones(3) / 3, class_names=NAMES), "3 names.*got 10"),
        (lambda x, y: plots.confusion_matrix(y, y[:2]), "12 values in `predicted`.*got 2"),
        (lambda x, y: plots.confusion_matrix(y[:0], y[:0]), "at least one image"),
    ],
)
def test_bad_input_is_named(images, labels, call, message):
    with pytest.raises(ValueError, match=message):
        call(images, labels)
