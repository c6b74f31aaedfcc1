"""The memory that training leaves behind, fast and stock Keras side by side, into docs/memory.json and docs/memory.png.

Each curve comes from a process of its own: ``python tests/soak/soak_memory.py same fast``.
"""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from matplotlib import pyplot

from kerasnets import layers, losses, models, optimizers

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

#: What is repeated: (title, times, and after how many of them the process is warm). XLA's compiled programs are counted
#: (kerasnets.engine.tensorflow_memory.LIMIT), and JAX's caches are full, before half of them have run.
SERIES = {
    "same": ("new models of one architecture", 200, 100),
    "other": ("new models, each of another width", 200, 100),
    "fits": ("fits of one model", 1000, 500),
}

#: Megabytes per repetition that are noise: an allocator takes memory in pieces, here 5 MB over the second half.
NOISE = {"same": 0.05, "other": 0.05, "fits": 0.01}


def train(series: str, accelerate: bool) -> list[tuple[int, float]]:
    """(Number of models or fits, resident megabytes), twenty times."""
    _, times, _ = SERIES[series]
    x = np.random.default_rng(0).normal(size=(128, 28, 28)).astype("float32")
    y = np.arange(128) % 10
    curve, model = [], None
    for number in range(1, times + 1):
        if model is None or series != "fits":
            width = 32 + (number if series == "other" else 0)
            shape = keras.Input((28, 28))
            hidden = [layers.Flatten(), layers.Linear(width), keras.layers.ReLU()]
            model = models.Sequential([shape, *hidden, layers.Linear(10)])
            model.compile(optimizers.SGD(0.1), losses.CrossEntropyLoss())
        model.fit(x, y, verbose=0, accelerate=accelerate)
        if number % (times // 20) == 0:
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            curve.append((number, round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)))
    return curve


def run(series: str, kind: str) -> list:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, series, kind]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def growth(curve, after: int) -> float:
    """Megabytes per repetition once the process is warm, by least squares."""
    return float(np.polyfit(*np.array([point for point in curve if point[0] >= after]).T, 1)[0])


def draw(found: dict) -> None:
    figure, panels = pyplot.subplots(len(found), len(SERIES), figsize=(11, 2.7 * len(found)), squeeze=False)
    for row, (backend, curves) in zip(panels, found.items(), strict=True):
        for panel, (series, (title, times, after)) in zip(row, SERIES.items(), strict=True):
            for kind, name, color in (("stock", "stock Keras", "0.55"), ("fast", "kerasnets", "tab:blue")):
                curve = curves[series][kind]
                label = f"{name}: {growth(curve, after):+.3f}"
                panel.plot(*np.array(curve).T, color=color, marker=".", label=label)
            megabytes = [point[1] for curve in curves[series].values() for point in curve]
            low, high = min(megabytes), max(megabytes)
            span = max(high - low, 40)  # a flat curve should look flat
            panel.set(ylim=(low - 0.1 * span, high + 0.7 * span), xlim=(0, times))
            panel.axvspan(0, after, color="0.95")
            panel.set_title(f"{backend}: {title}", fontsize=10)
            panel.legend(fontsize=8, frameon=False, loc="upper left", title="MB each, right half", title_fontsize=8)
        row[0].set_ylabel("resident memory, MB")
    figure.tight_layout()
    figure.savefig(DOCS / "memory.png", dpi=110)
    pyplot.close(figure)


@pytest.mark.parametrize("series", SERIES)
def test_training_leaves_no_more_than_in_stock_keras(series):
    curves = {kind: run(series, kind) for kind in ("stock", "fast")}
    path = DOCS / "memory.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    found.setdefault(keras.config.backend(), {})[series] = curves
    path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    complete = {backend: curves for backend, curves in sorted(found.items()) if len(curves) == len(SERIES)}
    if complete:
        draw(complete)
    after = SERIES[series][2]
    stock, fast = (growth(curves[kind], after) for kind in ("stock", "fast"))
    print(f"{keras.config.backend()}, {series}: fast {fast:+.3f} MB each, stock {stock:+.3f} MB")
    assert fast <= max(stock, 0.0) + NOISE[series]


if __name__ == "__main__":
    print(json.dumps(train(sys.argv[1], accelerate=sys.argv[2] == "fast")))
