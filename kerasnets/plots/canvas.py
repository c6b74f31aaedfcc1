"""What all pictures share: the figure, the labels and a font for them, and the checks of arguments."""

import contextlib
import functools
import io
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager, rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from kerasnets._internal.arguments import check_known
from kerasnets._internal.arrays import to_numpy
from kerasnets._internal.atomic import replaced

WORDS = {
    "en": {
        "accuracy": "Accuracy",
        "class_probability": "Class probability",
        "confusion_matrix": "Confusion matrix",
        "derivative": "derivative",
        "epoch": "Epoch",
        "epoch_seconds": "Seconds per epoch",
        "all_filters": "The {total} filters of {name}",
        "all_unit_weights": "Weights of the {total} units of {name}",
        "filters": "First {n} of {total} filters of {name}",
        "unit_weights": "Weights of the first {n} of {total} units of {name}",
        "function": "{} activation function",
        "label": "Label: {}",
        "loss": "Loss",
        "none": "none",
        "normalized_confusion_matrix": "Normalized confusion matrix",
        "parameters": "{:,} parameters",
        "predicted": "Predicted: {} (Label: {})",
        "predicted_label": "Predicted label",
        "predictions": "Model predictions",
        "setting_backend": "backend",
        "setting_batch_size": "batch size",
        "setting_epochs": "epochs",
        "setting_learning_rate": "learning rate",
        "setting_optimizer": "optimizer",
        "setting_schedule": "schedule",
        "setting_seed": "seed",
        "shared": "shared",
        "slope": "with slope {} below 0",
        "test": "test",
        "test_accuracy_percent": "Test accuracy in %",
        "training": "training",
        "true_label": "True label",
        "validation": "validation",
    },
    "zh": {
        "accuracy": "准确率",
        "class_probability": "类别概率",
        "confusion_matrix": "混淆矩阵",
        "derivative": "导数",
        "epoch": "训练周期",
        "epoch_seconds": "每个训练周期的秒数",
        "all_filters": "{name} 层的全部 {total} 个滤波器",
        "all_unit_weights": "{name} 层全部 {total} 个单元的权重",
        "filters": "{name} 层的前 {n} 个滤波器（共 {total} 个）",
        "unit_weights": "{name} 层前 {n} 个单元的权重（共 {total} 个）",
        "function": "{} 激活函数",
        "label": "标签：{}",
        "loss": "损失",
        "none": "无",
        "normalized_confusion_matrix": "归一化混淆矩阵",
        "parameters": "{:,} 个参数",
        "predicted": "预测：{}（标签：{}）",
        "predicted_label": "预测标签",
        "predictions": "模型预测结果",
        "setting_backend": "后端",
        "setting_batch_size": "批次大小",
        "setting_epochs": "训练周期数",
        "setting_learning_rate": "学习率",
        "setting_optimizer": "优化器",
        "setting_schedule": "学习率调度器",
        "setting_seed": "随机种子",
        "shared": "共享",
        "slope": "0 以下斜率为 {} 时",
        "test": "测试",
        "test_accuracy_percent": "测试准确率（%）",
        "training": "训练",
        "true_label": "真实标签",
        "validation": "验证",
    },
}

#: What the names of their files have in them.
_CHINESE_FILES = re.compile("cjk|sourcehan|notosanssc|wqy|msyh|simhei|simsun|pingfang|hiragino|heiti|songti")
#: Fonts with simplified Chinese, by matplotlib's names, on Linux, Windows and macOS; the first one found is used.
CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "Noto Sans CJK JP",  # the only face of the collection that matplotlib lists before 3.11; same characters
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "SimHei",
    "SimSun",
    "PingFang SC",
    "PingFang HK",
    "Hiragino Sans GB",
    "Heiti TC",
    "STHeiti",
    "Arial Unicode MS",
    "Droid Sans Fallback",
    "Noto Serif CJK SC",
)


#: With more classes a picture shows nothing and takes gigabytes.
MOST_CLASSES = 10_000


class Picture(Figure):
    """A Figure that a notebook shows even if pyplot was never imported, and that is saved atomically."""

    def savefig(self, fname, **options):
        """``Figure.savefig``, as an atomic file write."""
        if not isinstance(fname, str | os.PathLike):
            super().savefig(fname, **options)
            return
        path = Path(fname)
        if not path.suffix:
            path = path.with_suffix(f".{options.get('format') or rcParams['savefig.format']}")
        with replaced(path) as unfinished:
            super().savefig(unfinished, **options)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def panels(ax: Axes | None, rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, list]:
    """The figure to return, and `rows` × `columns` Axes to draw on, row by row.

    Args:
        ax: the caller's Axes, used as it is for one panel and replaced by several panels; None for a new figure.
        rows: number of rows of panels.
        columns: number of columns of panels.
        size: width and height of a new figure in inches.
        options: further ones of ``Figure.subplots``.
    """
    if ax is None:
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)  # inches
        parent: Figure | SubFigure = Picture(figsize=size, layout=layout)
    elif not isinstance(ax, Axes):
        raise TypeError(f"ax={ax!r}: expected an Axes of matplotlib, as plt.subplots() gives, or None.")
    elif rows * columns == 1:
        return ax.figure.figure, [ax]
    else:
        place = ax.get_subplotspec()
        if place is None:
            raise ValueError(
                "This picture has several panels, which need an Axes that is part of a grid: make `ax` with "
                "plt.subplots() or Figure.add_subplot(), not with add_axes()."
            )
        figure = ax.figure
        ax.remove()
        parent = figure.add_subfigure(place)
    return parent.figure, list(parent.subplots(rows, columns, squeeze=False, **options).flat)


@functools.cache
def add_new_fonts() -> None:
    """Add the Chinese fonts that were installed after matplotlib wrote its list of fonts, which it never renews."""
    known = {font.fname for font in font_manager.fontManager.ttflist}
    for file in font_manager.findSystemFonts():
        if file not in known and _CHINESE_FILES.search(Path(file).name.lower()):
            with contextlib.suppress(OSError, RuntimeError):  # not a font after all
                font_manager.fontManager.addfont(file)


def families() -> list[str]:
    """The font families for a text: the user's, then a Chinese one for missing characters, then matplotlib's own."""
    found = {font.name for font in font_manager.fontManager.ttflist}
    chinese = [name for name in CHINESE_FONTS if name in found][:1]
    return [*matplotlib.rcParams["font.family"], *chinese, "DejaVu Sans"]


def find_undrawable(text: str) -> set[str]:
    """The characters of `text` that are in none of the :func:`families`."""
    missing = _in_no_font(text)
    if missing:
        add_new_fonts()
        missing = _in_no_font(text)
    return missing


def _in_no_font(text: str) -> set[str]:
    fonts = [
        font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=[family])))
        for family in families()
    ]
    return {c for c in set(text) if c != "\n" and not any(font.get_char_index(ord(c)) for font in fonts)}


def choose_language(lang: str, stacklevel: int = 2) -> str:
    """`lang`; English, with a warning, if no font has Chinese characters."""
    check_known("language", lang, WORDS)
    if find_undrawable("".join(WORDS[lang].values())):
        _warn_once(
            "No font with Chinese characters was found, so the pictures are labelled in English. Install one, on "
            "Debian and Ubuntu with: apt-get install fonts-noto-cjk",
            stacklevel + 1,
        )
        return "en"
    return lang


def words(lang: str) -> dict[str, str]:
    """The labels of the pictures in the language that :func:`choose_language` gives."""
    return WORDS[choose_language(lang, stacklevel=4)]


_said: set[str] = set()


def _warn_once(message: str, stacklevel: int) -> None:
    """Warn, unless this was said before: a program may draw many pictures."""
    if message not in _said:
        _said.add(message)
        warnings.warn(message, stacklevel=stacklevel)


def text(**style: Any) -> dict[str, Any]:
    """Keyword arguments for matplotlib's texts: the fonts, and no mathematics, so that ``$`` is a dollar sign."""
    return {"fontfamily": families(), "parse_math": False, **style}


def add_title(figure: Figure | SubFigure, title: str | None) -> None:
    """Put `title` above a picture, after the title of all its panels if it has one; None leaves it as it is."""
    if title is not None:
        whole = f"{figure.get_suptitle()}: {title}".removeprefix(": ")
        figure.suptitle(*replace_undrawable([whole]), **text(fontsize=11))


def add_legend(panel: Axes, handles: Iterable[Artist] | None = None, **options: Any) -> None:
    """Add a legend beside a panel, where it hides no curve, if the figure's layout makes room for it there.

    On a figure without a layout engine, which the caller made, it is where matplotlib finds the most space.

    Args:
        panel: the Axes.
        handles: what to list; default: all that has a label in `panel`.
        options: further ones of ``Axes.legend``.
    """
    beside = panel.figure.figure.get_layout_engine() is not None
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {"loc": "best"}
    listed = panel.get_legend_handles_labels()[0] if handles is None else list(handles)
    legend = panel.legend(handles=listed, prop={"family": families()}, **place, **options)
    for label in legend.get_texts():
        label.set_parse_math(False)


def replace_undrawable(names: Sequence[Any]) -> list[str]:
    """`names` as strings, with ``?``, and one warning, for characters that no font has."""
    names = [str(name) for name in names]
    if missing := find_undrawable("".join(names)):
        warnings.warn(f"No font has {''.join(sorted(missing))!r}: drawn as '?'.", stacklevel=3)
        table = str.maketrans(dict.fromkeys(missing, "?"))
        names = [name.translate(table) for name in names]
    return names


def as_images(images: Any) -> np.ndarray:
    """Convert images to float32 (n, height, width), or (n, height, width, 3) if they are in colour.

    Args:
        images: of these shapes, or with a channel axis of size 1. Channels may be the second axis, as in PyTorch.
    """
    array = to_numpy(images)
    shape = array.shape
    if array.ndim == 4 and 1 in (shape[1], shape[3]):
        array = array.reshape(shape[0], *(shape[1:3] if shape[3] == 1 else shape[2:]))
    elif array.ndim == 4 and shape[1] == 3 != shape[3]:
        array = np.moveaxis(array, 1, -1)
    if array.ndim not in (3, 4) or array.shape[3:] not in ((), (3,)) or 0 in array.shape:
        raise ValueError(
            "Expected images of shape (n, height, width), with a channel axis of size 1, or with one of size 3 for "
            f"colours; got shape {shape}."
        )
    return array.astype("float32")


def as_image(image: Any) -> np.ndarray:
    """Convert one image as :func:`as_images` does, from its shape or one with further axes of size 1."""
    array = to_numpy(image)
    squeezed = array.squeeze()
    if squeezed.ndim != 2 and not (squeezed.ndim == 3 and 3 in (squeezed.shape[0], squeezed.shape[2])):
        raise ValueError(
            f"Expected one image of shape (height, width), or (height, width, 3) in colour; got shape {array.shape}."
        )
    return as_images(squeezed[None])[0]


def draw_image(ax: Axes, image: np.ndarray, low: float, high: float) -> None:
    """Draw an image (height, width), black at `low` and white at `high`, or (height, width, 3) in colour."""
    if image.ndim == 3:
        image = (image - low) / (high - low or 1.0)
    ax.imshow(image, cmap="gray", vmin=low, vmax=high)


def as_classes(values: Any, what: str, length: int | None = None) -> np.ndarray:
    """Convert class ids, or scores (n, classes) by their largest, to int64 (n,).

    Args:
        values: ids (n,) or scores (n, classes).
        what: name of the argument, for error messages.
        length: the length of the other arguments.
    """
    array = to_numpy(values)
    shape = array.shape
    if array.ndim == 2 and shape[1] > 1:
        array = array.argmax(axis=1)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"Expected `{what}` to be integer class ids of shape (n,), or scores of shape (n, classes); got "
            f"{array.dtype} of shape {shape}."
        )
    if length is not None and len(array) != length:
        raise ValueError(f"Expected {length} values in `{what}`, as many as in the other arguments; got {len(array)}.")
    if array.size and array.min() < 0:
        raise ValueError(f"Expected class ids from 0 in `{what}`; got {array.min()}.")
    if array.size and array.max() >= MOST_CLASSES:
        raise ValueError(f"Expected class ids below {MOST_CLASSES:,} in `{what}`; got {array.max()}.")
    return array.astype("int64")


def names_of(class_names: Sequence[str] | None, classes: int) -> list[str]:
    """The names of the classes 0 to `classes` - 1: the given ones, or their numbers."""
    if class_names is None:
        return [str(i) for i in range(classes)]
    if len(class_names) < classes:
        raise ValueError(
            f"Expected a name for each class: there is a class {classes - 1}, but `class_names` has only "
            f"{len(class_names)} names."
        )
    return replace_undrawable(class_names)
