"""Pictures of results: confusion matrix, learning curves, bars."""

import keras
import numpy as np
import pytest
from figures import NAMES, all_texts, needs_chinese_font, titles
from hypothesis import given, strategies as st
from matplotlib.colors import to_rgb

from kerasnets import plots

pytestmark = pytest.mark.once


def luminance(color):
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_confusion_matrix(pairs):
    true, predicted = np.array(pairs).T
    ax = plots.confusion_matrix(true, predicted, class_names=NAMES[:5]).axes[0]
    counts = np.array([[pairs.count((t, p)) for p in range(5)] for t in range(5)])
    shown = ax.images[0].get_array()
    for t in range(5):
        expected = counts[t] / max(counts[t].sum(), 1)
        np.testing.assert_allclose(shown[t], expected)
    cells = {(round(text.get_position()[1]), round(text.get_position()[0])): text for text in ax.texts}
    for (t, p), text in cells.items():
        assert text.get_text() == (f"{counts[t, p] / counts[t].sum():.2f}" if counts[t].sum() else "–")
        ground = luminance(ax.images[0].cmap(ax.images[0].norm(shown[t, p]))[:3])
        low, high = sorted([ground, luminance(text.get_color())])
        assert (high + 0.05) / (low + 0.05) >= 4.5
    assert len(cells) == 25


def test_confusion_matrix_of_counts_and_its_words():
    ax = plots.confusion_matrix([0, 0, 1], [0, 1, 1], normalize=False).axes[0]
    assert [text.get_text() for text in ax.texts] == ["1", "1", "0", "1"]
    assert ax.get_title() == "Confusion matrix"
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("True label", "Predicted label")
    # Scores say how many classes there are, even if the last ones never occur.
    assert plots.confusion_matrix([0, 1], np.eye(6)[:2]).axes[0].images[0].get_array().shape == (6, 6)


@needs_chinese_font
def test_confusion_matrix_has_the_documents_chinese_labels(labels):
    ax = plots.confusion_matrix(labels, labels, lang="zh").axes[0]
    assert (ax.get_title(), ax.get_ylabel(), ax.get_xlabel()) == ("归一化混淆矩阵", "真实标签", "预测标签")


def test_learning_curves_of_histories():
    history = keras.callbacks.History()
    history.history = {"loss": [3, 2, 1], "accuracy": [0.1, 0.2, 0.3], "val_loss": [4, 3, 2], "val_accuracy": [0, 0, 1]}
    figure = plots.learning_curves({"SGD": history, "Adam": history.history})
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("Loss", "Accuracy")
    assert loss.get_xlabel() == "Epoch"
    drawn = {line.get_label(): line for line in loss.lines}
    assert list(drawn) == ["SGD, training", "SGD, validation", "Adam, training", "Adam, validation"]
    np.testing.assert_array_equal(drawn["Adam, validation"].get_xydata(), [(1, 4), (2, 3), (3, 2)])
    # Names differ by their markers, training and validation by the line, so that grey will do.
    assert drawn["SGD, training"].get_marker() != drawn["Adam, training"].get_marker()
    assert [line.get_linestyle() for line in loss.lines] == ["-", "--", "-", "--"]
    (_, last) = plots.learning_curves(history).axes
    assert [text.get_text() for text in last.get_legend().get_texts()] == ["training", "validation"]


def test_learning_curves_of_lists():
    figure = plots.learning_curves({"lr 0.01": [2.0, 1.5], "lr 10": [2.0, np.nan, np.inf]}, xlabel="Step", ylabel="MSE")
    (ax,) = figure.axes
    assert [line.get_label() for line in ax.lines] == ["lr 0.01", "lr 10"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Step", "MSE")
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("histories", "error", "message"),
    [
        ([1.0, 2.0], TypeError, "got list"),
        ({}, ValueError, "at least one"),
        ({"a": []}, ValueError, "'a'"),
        ({"a": {"loss": ["x"]}}, ValueError, "'a' 'loss'"),
        ({"a": np.ones((2, 2))}, ValueError, r"\(2, 2\)"),
    ],
)
def test_learning_curves_of_something_else(histories, error, message):
    with pytest.raises(error, match=message):
        plots.learning_curves(histories)


# Bars


def test_bars():
    groups = {"NeuralNetwork": {"eager": 2.0, "ours": 0.5}, "ConvNeuralNetwork": {"eager": 30.0}}
    figure = plots.bars(groups, marked=["ours"], xlabel="s")
    assert titles(figure) == list(groups)
    for ax, values in zip(figure.axes, groups.values(), strict=True):
        assert [bar.get_width() for bar in ax.patches] == list(values.values())
        assert [label.get_text() for label in ax.get_yticklabels()] == list(values)
        assert ax.yaxis_inverted()  # the first name at the top
        assert ax.get_xlabel() == "s"
    grey, colored = (to_rgb(bar.get_facecolor()) for bar in figure.axes[0].patches)
    assert len(set(grey)) == 1
    assert len(set(colored)) > 1
    assert {"2.00", "0.500", "30.0"} <= set(all_texts(figure))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "at least one group"),
        ({"empty": {}}, "'empty': {}"),
        ({"a": {"b": -1.0}}, "'b' in 'a'; got -1.0"),
        ({"a": {"b": float("nan")}}, "got nan"),
    ],
)
def test_bars_errors(groups, message):
    with pytest.raises(ValueError, match=message):
        plots.bars(groups)


SETTINGS = [
    {"rate": rate, "optimizer": optimizer, "seed": seed}
    for rate, optimizer in ((0.1, "SGD"), (0.01, "SGD"), (0.01, "Adam"))
    for seed in (0, 1)
]


def test_comparison_has_the_means_over_seeds_of_what_differs_in_one_setting():
    accuracies = [80.0, 82.0, 70.0, 74.0, 90.0, 91.0]
    figure = plots.comparison(SETTINGS, accuracies)
    rates, optimizers = figure.axes
    assert [text.get_text() for text in rates.get_xticklabels()] == ["0.01", "0.1"]  # numbers in their order
    assert [text.get_text() for text in optimizers.get_xticklabels()] == ["SGD", "Adam"]
    (with_sgd,) = rates.containers  # Adam has one rate only
    np.testing.assert_allclose(with_sgd.lines[0].get_xydata(), [[0, 72.0], [1, 81.0]])
    (at_one_rate,) = optimizers.containers
    np.testing.assert_allclose(at_one_rate.lines[0].get_xydata(), [[0, 72.0], [1, 90.5]])
    (bars,) = at_one_rate.lines[2]
    np.testing.assert_allclose([segment[:, 1] for segment in bars.get_segments()], [[70, 74], [90, 91]])
    assert figure.get_axes()[0].get_legend() is None


def test_comparison_of_a_grid_names_its_lines_and_a_search_has_points():
    grid = [{"rate": rate, "optimizer": name} for rate in (0.1, 0.2) for name in ("SGD", "Adam")]
    rates, _ = plots.comparison(grid, [1.0, 2.0, 3.0, 4.0]).axes
    assert [text.get_text() for text in rates.get_legend().get_texts()] == ["optimizer=SGD", "optimizer=Adam"]
    found = [{"learning_rate": 10.0 ** -(number / 5)} for number in range(12)]
    (panel,) = plots.comparison(found, list(range(12))).axes
    assert panel.get_xscale() == "log"
    assert panel.lines[0].get_xdata().tolist() == [setting["learning_rate"] for setting in found]
    assert panel.get_xlabel() == "learning rate"
    with pytest.raises(ValueError, match="as many settings as accuracies, and at least one; got 1 and 0"):
        plots.comparison([{}], [])


@needs_chinese_font
def test_comparison_in_chinese():
    texts = all_texts(plots.comparison([{"batch_size": 1}, {"batch_size": 2}], [1.0, 2.0], lang="zh"))
    assert {"批次大小", "测试准确率（%）"} <= set(texts)
