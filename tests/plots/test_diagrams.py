"""The diagrams of "Working with neural networks": their circles, lines and words, in English and Chinese."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.text import Text

from kerasnets import optimizers, plots
from kerasnets.plots import canvas

pytestmark = pytest.mark.once

HAS_CHINESE_FONT = not canvas.find_undrawable("".join(canvas.WORDS["zh"].values()))
needs_chinese_font = pytest.mark.skipif(not HAS_CHINESE_FONT, reason="needs a font with Chinese characters")


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def units(ax):
    """The circles of units by column: their heights from the top, by horizontal place."""
    columns = {}
    for circle in ax.findobj(Circle):
        if circle.radius == 0.3:
            columns.setdefault(round(circle.center[0], 6), []).append(circle.center[1])
    return [sorted(columns[x], reverse=True) for x in sorted(columns)]


def every_diagram(lang, **options):
    return {
        "neuron": plots.neuron(lang=lang, **options),
        "layered_network": plots.layered_network((784, 256, 10), lang=lang, **options),
        "gradient_descent": plots.gradient_descent((0.5,), lang=lang, **options),
    }


@pytest.mark.parametrize("lang", ["en", pytest.param("zh", marks=needs_chinese_font)])
def test_diagrams_draw_without_a_missing_glyph_and_leave_nothing_behind(lang, tmp_path):
    from matplotlib import pyplot as plt

    for name, figure in every_diagram(lang).items():
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / f"{name}.png", dpi=100)  # a missing glyph would be a warning, so an error
        assert any(ord(c) > 0x4E00 for c in "".join(texts(figure))) == (lang == "zh"), name
    assert plt.get_fignums() == []


@pytest.mark.usefixtures("no_chinese_font")
def test_without_a_chinese_font_english_and_one_warning(monkeypatch):
    for draw in (plots.neuron, lambda lang: plots.layered_network((2, 1), lang=lang), plots.gradient_descent):
        monkeypatch.setattr(canvas, "_said", set())
        with pytest.warns(UserWarning, match="Chinese") as caught:
            figure = draw(lang="zh")
        assert len(caught) == 1
        assert all(ord(c) < 0x4E00 for c in "".join(texts(figure)))


def test_unknown_language():
    with pytest.raises(ValueError, match="'fr'; expected one of 'en', 'zh'"):
        plots.neuron(lang="fr")


def test_into_an_axes_of_ones_own():
    for name in ("neuron", "layered_network", "gradient_descent"):
        figure = Figure()
        ax = figure.add_subplot()
        assert every_diagram("en", ax=ax)[name] is figure
        assert ax.patches or ax.lines


def test_labels_do_not_overlap():
    for inputs in (1, 3, 8):
        figure = plots.neuron(inputs, activation="ReLU")
        figure.draw_without_rendering()
        (ax,) = figure.axes
        boxes = [text.get_window_extent() for text in (*ax.texts, ax.title)]
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[i + 1 :])


# The neuron


@pytest.mark.parametrize("inputs", [1, 3, 8])
def test_neuron(inputs):
    figure = plots.neuron(inputs, activation="tanh")
    (ax,) = figure.axes
    # An arrow from each input and from the constant 1, one from sum to activation, one out.
    assert len(ax.findobj(FancyArrowPatch)) == inputs + 3
    assert len(ax.findobj(Circle)) == inputs + 3
    found = texts(figure)
    for i in range(inputs):
        assert f"x{'₁₂₃₄₅₆₇₈'[i]}" in found
        assert f"w{'₁₂₃₄₅₆₇₈'[i]}" in found
    for symbol in ("1", "b", "Σ", "tanh", "y", "inputs", "weights", "activation", "output"):
        assert symbol in found
    assert "A neuron: y = tanh(Σᵢ wᵢ·xᵢ + b)" in found


@pytest.mark.parametrize("inputs", [0, 9, 2.5])
def test_neuron_with_a_number_of_inputs_that_can_not_be(inputs):
    with pytest.raises(ValueError, match=f"inputs: {inputs}"):
        plots.neuron(inputs)


# The network of layers


def test_layered_network_draws_every_unit_and_weight_of_a_small_one():
    figure = plots.layered_network((3, 4, 1))
    (ax,) = figure.axes
    assert [len(column) for column in units(ax)] == [3, 4, 1]
    (lines,) = ax.findobj(LineCollection)
    assert len(lines.get_segments()) == 3 * 4 + 4 * 1
    # Every line ends in the middle of two units of neighbouring layers.
    centers = {circle.center for circle in ax.findobj(Circle)}
    assert all(tuple(end) in centers for segment in lines.get_segments() for end in segment)
    assert {"input", "hidden 1", "output", "3", "4", "1"} <= set(texts(figure))


def test_layered_network_leaves_out_the_middle_of_a_large_layer():
    figure = plots.layered_network((784, 256, 128, 10), most=5)
    (ax,) = figure.axes
    for column in units(ax):
        assert len(column) == 5
        gaps = -np.diff(column)
        assert sorted(gaps) == pytest.approx([1, 1, 1, 3])
        np.testing.assert_allclose(column[0], -column[-1])
    dots = [circle for circle in ax.findobj(Circle) if circle.radius != 0.3]
    assert len(dots) == 3 * 4
    for dot in dots:
        assert all(np.hypot(*np.subtract(dot.center, (dot.center[0], y))) > 0.3 for y in units(ax)[0])
    assert {"784", "256", "128", "10", "hidden 2"} <= set(texts(figure))


def test_layered_network_with_names_of_ones_own():
    assert {"pixels", "clothes"} <= set(texts(plots.layered_network((4, 2), names=["pixels", "clothes"])))


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ((784,), {}, "two layers"),
        ((784, 0), {}, r"\(784, 0\)"),
        ((4, 2), {"names": ["one"]}, "1 names for 2 layers"),
        ((4, 2), {"most": 1}, "most: 1"),
    ],
)
def test_layered_network_with_wrong_arguments(sizes, options, message):
    with pytest.raises(ValueError, match=message):
        plots.layered_network(sizes, **options)


# The learning rate


def test_gradient_descent_takes_the_steps_of_sgd():
    import keras

    rates = (0.05, 0.6, 2.1)
    figure = plots.gradient_descent(rates, steps=4)
    assert [ax.get_title() for ax in figure.axes] == [
        "γ = 0.05: too small",
        "γ = 0.6: about right",
        "γ = 2.1: too large",
    ]
    for rate, ax in zip(rates, figure.axes, strict=True):
        theta = keras.Variable(-1.0)
        optimizer = optimizers.SGD(rate)
        steps = [-1.0]
        for _ in range(4):
            optimizer.apply([theta.value + 0.0], [theta])  # the gradient of θ²/2 is θ
            steps.append(float(keras.ops.convert_to_numpy(theta)))
        parabola, path, start = ax.lines
        np.testing.assert_allclose(path.get_xdata(), steps, rtol=1e-5)
        np.testing.assert_allclose(path.get_ydata(), np.square(steps) / 2, rtol=1e-5)
        np.testing.assert_allclose(parabola.get_ydata(), parabola.get_xdata() ** 2 / 2)
        assert (start.get_xdata(), start.get_ydata()) == (-1.0, 0.5)


@pytest.mark.parametrize(
    ("rates", "steps", "message"), [((), 8, "got none"), ((0.0,), 8, "0.0"), ((1,), 0, "steps: 0")]
)
def test_gradient_descent_with_wrong_arguments(rates, steps, message):
    with pytest.raises(ValueError, match=message):
        plots.gradient_descent(rates, steps=steps)
