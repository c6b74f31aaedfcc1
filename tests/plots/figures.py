"""What the tests of pictures share: the fonts, a figure's texts."""

import pytest
from matplotlib.text import Text

from kerasnets.plots import canvas

NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
HAS_CHINESE_FONT = not canvas.find_undrawable("".join(canvas.WORDS["zh"].values()))
needs_chinese_font = pytest.mark.skipif(not HAS_CHINESE_FONT, reason="needs a font with Chinese characters")


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def all_texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]
