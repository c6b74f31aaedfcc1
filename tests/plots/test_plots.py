"""What the pictures draw: their texts, image arrays, bars and lines; the fonts; nothing left in pyplot."""

import itertools
import shutil
import warnings

import keras
import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.text import Text

import kerasnets
from kerasnets import plots
from kerasnets.plots import canvas

NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
HAS_CHINESE_FONT = not canvas.find_undrawable("".join(canvas.WORDS["zh"].values()))
needs_chinese_font = pytest.mark.skipif(not HAS_CHINESE_FONT, reason="needs a font with Chinese characters")


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (12, 28, 28)).astype("float32")


@pytest.fixture
def labels():
    return np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def all_texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def every_picture(lang, images, labels):
    model = kerasnets.build("NeuralNetwork")
    scores = np.eye(10)[labels]
    return {
        "show_images": plots.show_images(images, labels, lang=lang),
        "predictions": plots.predictions(images, labels, labels[::-1], lang=lang),
        "view_classify": plots.view_classify(images[0], scores[0], lang=lang),
        "confusion_matrix": plots.confusion_matrix(labels, scores, lang=lang),
        "learning_curves": plots.learning_curves({"loss": [-2.0, -1.0], "val_loss": [2.0, 1.5]}, lang=lang),
        "activation": plots.activation("tanh", lang=lang),
        "bars": plots.bars({"NeuralNetwork": {"eager": 2.0, "compiled": 1.6}}, lang=lang),
        "architecture": plots.architecture(model, lang=lang),
        "gradient_descent": plots.gradient_descent(lang=lang),
        "layered_network": plots.layered_network([784, 128, 64, 10], lang=lang),
        "neuron": plots.neuron(lang=lang),
        "weights": plots.weights(model, n=3, lang=lang),
    }


# All pictures


def test_every_public_function_is_here(images, labels):
    assert set(every_picture("en", images, labels)) == set(plots.__all__)


@pytest.mark.parametrize("lang", ["en", pytest.param("zh", marks=needs_chinese_font)])
def test_pictures_draw_without_a_missing_glyph_and_leave_nothing_behind(lang, images, labels, tmp_path):
    from matplotlib import pyplot as plt

    backend, settings = matplotlib.get_backend(), dict(matplotlib.rcParams)
    for name, figure in every_picture(lang, images, labels).items():
        assert isinstance(figure, Figure)
        # A missing glyph would be a warning, and warnings are errors here.
        figure.savefig(tmp_path / f"{name}.png", dpi=100)
        assert any(ord(c) > 0x4E00 for c in "".join(all_texts(figure))) == (lang == "zh"), name
    assert plt.get_fignums() == []
    assert matplotlib.get_backend() == backend
    assert dict(matplotlib.rcParams) == settings


def test_a_notebook_shows_the_figure(images):
    assert plots.show_images(images, n=1)._repr_png_().startswith(b"\x89PNG")


@pytest.mark.usefixtures("no_chinese_font")
def test_without_a_chinese_font_english_and_one_warning(labels):
    with pytest.warns(UserWarning, match="Chinese.*apt-get install fonts-noto-cjk") as caught:
        figure = plots.confusion_matrix(labels, labels, lang="zh")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    plots.learning_curves({"a": [2.0, 1.0]}, lang="zh")  # said once
    assert titles(figure)[0] == "Normalized confusion matrix"


@pytest.mark.usefixtures("no_chinese_font")
def test_a_font_is_found_that_matplotlibs_cache_does_not_list(tmp_path, monkeypatch):
    """As after ``apt-get install fonts-noto-cjk``: the file is there, matplotlib's list of fonts is from before."""
    latin = canvas.font_manager.findfont("DejaVu Sans")
    new, other, broken = (tmp_path / name for name in ("NotoSansCJK-Regular.ttc", "Other.ttf", "wqy-broken.ttf"))
    for file in (new, other):
        shutil.copy(latin, file)
    broken.write_bytes(b"no font")
    monkeypatch.setattr(canvas.font_manager, "findSystemFonts", lambda: [str(new), str(other), str(broken)])
    with pytest.warns(UserWarning, match="Chinese"):  # this one hasn't got them
        canvas.words("zh")
    listed = [font.fname for font in canvas.font_manager.fontManager.ttflist]
    assert str(new) in listed
    assert str(other) not in listed


def test_class_names_in_chinese():
    for name in kerasnets.data.NAMES:
        chinese = kerasnets.data.class_names(name, "zh")
        assert len(set(chinese)) == len(kerasnets.data.class_names(name)) == 10
    assert kerasnets.data.class_names("fashion_mnist_sample", "zh")[9] == "短靴"
    with pytest.raises(ValueError, match="Unknown language 'cn'"):
        kerasnets.data.class_names("mnist", "cn")


@pytest.mark.usefixtures("no_chinese_font")
def test_a_name_that_no_font_has_is_replaced(labels, images):
    with pytest.warns(UserWarning, match="鞋") as caught:
        figure = plots.show_images(images, labels, class_names=["鞋 $1 $2"] * 10)
    assert len(caught) == 1
    assert titles(figure)[0] == "? $1 $2"
    figure.draw_without_rendering()


@needs_chinese_font
def test_chinese_names_in_an_english_picture(images, labels):
    figure = plots.show_images(images, labels, class_names=["鞋"] * 10)
    figure.draw_without_rendering()
    assert set(titles(figure)) == {"鞋"}


def test_unknown_language(labels):
    with pytest.raises(ValueError, match="'fr'; expected one of 'en', 'zh'"):
        plots.confusion_matrix(labels, labels, lang="fr")


def test_one_panel_is_drawn_on_the_given_axes(labels):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plots.confusion_matrix(labels, labels, ax=right) is figure
    assert right.get_title() == "Normalized confusion matrix"
    assert not left.images


def test_several_panels_take_the_place_of_the_given_axes(images, labels):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plots.predictions(images, labels, labels, ax=right) is figure
    assert left in figure.axes
    assert right not in figure.axes
    (part,) = figure.subfigs
    assert len(part.axes) == 10
    assert all(ax.get_window_extent().x0 > left.get_window_extent().x1 for ax in part.axes)
    with pytest.raises(ValueError, match="add_axes"):
        plots.show_images(images, ax=figure.add_axes((0, 0, 1, 1)))


# Images


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


# Results


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


# Activations


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("sigmoid", torch.sigmoid),
        ("tanh", torch.tanh),
        ("relu", torch.relu),
        ("leaky_relu", torch.nn.functional.leaky_relu),
        ("softmax", lambda x: torch.softmax(x, 0)),
    ],
)
@pytest.mark.parametrize("points", [100, 101])  # 101: with x = 0, the kink
def test_activation_against_autograd(name, original, points):
    ax = plots.activation(name, points=points).axes[0]
    x = torch.linspace(-10, 10, points, device="cpu")
    value, slope, *_ = ax.lines
    np.testing.assert_allclose(value.get_xdata(), x, atol=1e-5)
    x = torch.tensor(value.get_xdata(), device="cpu")
    np.testing.assert_allclose(value.get_ydata(), original(x), rtol=1e-4, atol=1e-6)
    jacobian = torch.autograd.functional.jacobian(original, x)
    np.testing.assert_allclose(slope.get_ydata(), jacobian.diagonal(), rtol=1e-4, atol=1e-6)
    assert value.get_linestyle() != slope.get_linestyle()
    assert any(line.get_visible() for line in ax.get_xgridlines())


@pytest.mark.parametrize(
    ("function", "original"),
    [(keras.activations.softplus, torch.nn.functional.softplus), (keras.ops.softmax, lambda x: torch.softmax(x, 0))],
)
def test_activation_of_any_function(function, original):
    value, slope = plots.activation(function, points=20).axes[0].lines
    x = torch.tensor(value.get_xdata(), device="cpu")
    np.testing.assert_allclose(value.get_ydata(), original(x), rtol=1e-4, atol=1e-5)
    jacobian = torch.autograd.functional.jacobian(original, x)
    np.testing.assert_allclose(slope.get_ydata(), jacobian.diagonal(), atol=1e-3)


def test_activation_errors():
    with pytest.raises(ValueError, match="'swish'; expected one of 'sigmoid'"):
        plots.activation("swish")
    with pytest.raises(ValueError, match="Invalid points: 1"):
        plots.activation("relu", points=1)
    with pytest.raises(ValueError, match=r"keep the shape \(201,\); it gave \(\)"):
        plots.activation(keras.ops.sum)


# Networks


def branching_model():
    image = keras.Input((8, 8, 1), name="image")
    shared = keras.layers.Dense(4, name="shared")
    first = shared(image)
    left, right = keras.layers.ReLU(name="left")(first), keras.layers.Conv2D(4, 1, name="right")(first)
    total = keras.layers.Add(name="total")([left, right, first])
    narrow = keras.layers.Dense(1, name="narrow")(total)
    return keras.Model(image, shared(narrow), name="branching")


def test_architecture_of_a_branching_model_with_a_shared_layer():
    model = branching_model()
    ax = plots.architecture(model).axes[0]
    assert ax.get_title() == f"branching: {model.count_params()} parameters"
    texts = [text.get_text() for text in ax.texts if text.get_text()]
    assert [text for text in texts if text.endswith("parameters")] == [
        f"{n} parameters" for n in (4 + 4, 4 * 4 + 4, 4 + 1)
    ]
    assert texts.count("shared") == 3  # two calls of it, and the note of the second
    assert texts.count("(None, 8, 8, 4)") == 5
    boxes = {}
    for patch, name in zip(
        (p for p in ax.patches if isinstance(p, FancyBboxPatch)), (t for t in ax.texts[::4]), strict=True
    ):
        boxes.setdefault(name.get_text(), []).append(patch)
    row = {name: [box.get_y() for box in found] for name, found in boxes.items()}
    assert row["image"] < row["shared"][:1] < row["left"] == row["right"] < row["total"] < row["narrow"]
    assert row["shared"][1] > row["narrow"][0]
    left, right = boxes["left"][0], boxes["right"][0]
    assert left.get_x() + left.get_width() < right.get_x()
    assert sum(isinstance(patch, FancyArrowPatch) for patch in ax.patches) == 8


@pytest.mark.parametrize("lang", ["en", pytest.param("zh", marks=needs_chinese_font)])
def test_architecture_stays_readable(lang):
    figure = plots.architecture(kerasnets.build("ConvNeuralNetwork"), lang=lang)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    boxes = [p.get_window_extent() for p in ax.patches if isinstance(p, FancyBboxPatch)]
    assert len(boxes) >= 22
    texts = [[text.get_window_extent() for text in ax.texts[i : i + 4]] for i in range(0, len(ax.texts), 4)]
    for box, row in zip(boxes, texts, strict=True):
        row = [text for text in row if text.width]
        assert all(box.x0 < t.x0 and t.x1 < box.x1 and box.y0 <= t.y0 and t.y1 <= box.y1 for t in row)
        air = 2.5 * row[0].width / len(ax.texts[4 * boxes.index(box)].get_text())  # two or three characters
        assert all(a.x1 + air < b.x0 for a, b in itertools.pairwise(row))
    assert all(upper.y0 > lower.y1 for upper, lower in itertools.pairwise(boxes))
    assert min(text.get_fontsize() for text in ax.texts) >= 9


def test_architecture_shrinks_to_the_given_axes():
    figure = Figure(figsize=(4, 4))
    ax = figure.subplots()
    plots.architecture(kerasnets.build("ConvNeuralNetwork"), ax=ax)
    figure.draw_without_rendering()
    frame = ax.get_window_extent()
    assert all(frame.x0 <= text.get_window_extent().x0 and text.get_window_extent().x1 <= frame.x1 for text in ax.texts)


def test_architecture_needs_a_graph():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    for model in (Own(), keras.Sequential([keras.layers.Dense(3)])):
        with pytest.raises(ValueError, match="built Functional or Sequential model"):
            plots.architecture(model)
    sequential = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="only")])
    assert "only" in all_texts(plots.architecture(sequential))


def test_weights_of_a_dense_layer():
    model = kerasnets.build("NeuralNetwork")
    figure = plots.weights(model, n=5, columns=3)
    kernel = next(w for w in model.get_weights() if w.ndim == 2)
    *cells, bar = figure.axes
    assert len(cells) == 5
    for unit, ax in enumerate(cells):
        np.testing.assert_array_equal(ax.images[0].get_array(), kernel[:, unit].reshape(28, 28))
        low, high = ax.images[0].get_clim()
        assert high == -low == np.abs(kernel[:, :5]).max()  # grey is zero
    assert isinstance(bar, Axes)
    assert "5 of 512" in figure.get_suptitle()


def test_weights_of_a_convolution():
    model = branching_model()
    figure = plots.weights(model, "right")
    kernel = model.get_layer("right").get_weights()[0]
    assert len(figure.axes) == 4 + 1
    for i, ax in enumerate(figure.axes[:4]):
        np.testing.assert_array_equal(ax.images[0].get_array(), kernel[:, :, 0, i])


def test_weights_errors():
    model = branching_model()
    with pytest.raises(ValueError, match=r"No layer 'left'.*'shared', 'right', 'narrow'"):
        plots.weights(model, "left")
    with pytest.raises(ValueError, match="Invalid n: 0"):
        plots.weights(model, n=0)
    flat = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="only")])
    with pytest.raises(ValueError, match="3 inputs of layer 'only'"):
        plots.weights(flat)


def test_many_pictures_make_no_warning(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = [plots.show_images(images, n=1) for _ in range(25)]  # pyplot warns at 21
    assert len(kept) == 25


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
