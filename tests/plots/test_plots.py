"""All pictures: fonts, languages, axes; nothing left in pyplot."""

import shutil
import warnings

import matplotlib
import numpy as np
import pytest
from figures import all_texts, needs_chinese_font, titles
from matplotlib.figure import Figure

import kerasnets
from kerasnets import plots
from kerasnets.plots import canvas

pytestmark = pytest.mark.once


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
        "comparison": plots.comparison([{"epochs": 1}, {"epochs": 2}], [80.0, 81.0], lang=lang),
        "bars": plots.bars({"NeuralNetwork": {"eager": 2.0, "compiled": 1.6}}, lang=lang),
        "architecture": plots.architecture(model, lang=lang),
        "gradient_descent": plots.gradient_descent(lang=lang),
        "layered_network": plots.layered_network([784, 128, 64, 10], lang=lang),
        "neuron": plots.neuron(lang=lang),
        "weights": plots.weights(model, n=3, lang=lang),
    }


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


def test_many_pictures_make_no_warning(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = [plots.show_images(images, n=1) for _ in range(25)]  # pyplot warns at 21
    assert len(kept) == 25


def test_a_title_stands_above_the_picture_after_its_own(images, labels):
    model = kerasnets.build("NeuralNetwork")
    title = "Net, mnist"
    figures = {
        title: [
            plots.show_images(images, labels, title=title),
            plots.view_classify(images[0], np.full(10, 0.1), title=title),
            plots.confusion_matrix(labels, labels, title=title),
            plots.learning_curves({"loss": [2.0, 1.0]}, title=title),
            plots.bars({"a": {"b": 1.0}}, title=title),
            plots.comparison([{"epochs": 1}, {"epochs": 2}], [80.0, 81.0], title=title),
        ],
        f"Model predictions: {title}": [plots.predictions(images, labels, labels, title=title)],
        f"Weights of the first 3 of 512 units of linear_relu_stack_0: {title}": [
            plots.weights(model, n=3, title=title)
        ],
    }
    for expected, drawn in figures.items():
        for figure in drawn:
            assert figure.get_suptitle() == expected
