"""--lang: which experiments have it, and the words and class names of the pictures that are the experiments' own."""

import inspect
import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.text import Text
from processes import ROOT

from kerasnets import data
from kerasnets.plots import canvas

pytestmark = pytest.mark.once

SAMPLE = "fashion_mnist_sample"
DRAWING = ("activations", "build_network", "digits", "fashion_mnist", "fashion_network", "graph", "mnist", "nn_basics",
           "quickstart", "sweep")  # fmt: skip
HAS_CHINESE_FONT = not canvas.find_undrawable("".join(canvas.WORDS["zh"].values()))
needs_chinese_font = pytest.mark.skipif(not HAS_CHINESE_FONT, reason="needs a font with Chinese characters")


def load(script):
    return SimpleNamespace(**runpy.run_path(str(ROOT / "experiments" / f"{script}.py")))


@pytest.mark.parametrize("script", DRAWING)
def test_every_walkthrough_and_training_has_the_option(script):
    assert inspect.signature(load(script).main).parameters["lang"].default == "en"


@pytest.fixture
def drawn(monkeypatch):
    """The texts of the pictures that are saved."""
    texts = []
    monkeypatch.setattr(
        canvas.Picture,
        "savefig",
        lambda figure, *_, **__: texts.extend(
            text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()
        ),
    )
    return texts


def result():
    labels = np.arange(10)
    losses = {"loss": [2.0, 1.0], "val_loss": [2.0, 1.5]}
    return SimpleNamespace(
        recalls=np.ones(10), test_labels=labels, predicted=labels, losses=losses, test_accuracy=100.0
    )


def classify(lang, tmp_path):
    options = {"label": 3, "class_names": data.class_names(SAMPLE, lang), "lang": lang}
    model = lambda image: np.full((1, 10), 0.1)  # noqa: E731
    model.name = "Network2"
    load("digits").save_classification(tmp_path, SAMPLE, np.zeros((1, 28, 28)), options, "after.png", model, True)


PICTURES = {
    "networks": lambda lang, out: load("fashion_mnist").draw_networks({"Net": result()}, SAMPLE, lang, out / "a.png"),
    "class_weights": lambda lang, out: load("fashion_network").draw_confusion_matrices(
        [result(), result()], SAMPLE, lang, out / "a.png"
    ),
    "after": classify,
}


@pytest.mark.parametrize("lang", ["en", pytest.param("zh", marks=needs_chinese_font)])
@pytest.mark.parametrize("name", PICTURES)
def test_words_and_classes_are_of_the_language(name, lang, drawn, tmp_path):
    PICTURES[name](lang, tmp_path)
    assert set(data.class_names(SAMPLE, lang)) <= set(drawn)
    assert not set(data.class_names(SAMPLE, "zh" if lang == "en" else "en")) & set(drawn)
    assert any(ord(c) > 0x4E00 for c in "".join(drawn)) == (lang == "zh")
    assert any(SAMPLE in text for text in drawn)
