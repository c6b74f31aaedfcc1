"""Pictures of networks, their weights and activations."""

import itertools

import keras
import numpy as np
import pytest
import torch
from figures import all_texts, needs_chinese_font
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import kerasnets
from kerasnets import plots

pytestmark = pytest.mark.once

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
