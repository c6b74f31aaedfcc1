"""What the tests of pictures share."""

import numpy as np
import pytest

from kerasnets.plots import canvas


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (12, 28, 28)).astype("float32")


@pytest.fixture
def labels():
    return np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])


@pytest.fixture
def no_chinese_font(monkeypatch):
    """A machine without a Chinese font, of which nothing has been said yet."""
    fonts = [font for font in canvas.font_manager.fontManager.ttflist if font.name.startswith("DejaVu")]
    monkeypatch.setattr(canvas.font_manager.fontManager, "ttflist", fonts)
    monkeypatch.setattr(canvas, "_said", set())
    monkeypatch.setattr(canvas.font_manager, "findSystemFonts", lambda: [])
    canvas.add_new_fonts.cache_clear()
    yield
    canvas.add_new_fonts.cache_clear()
