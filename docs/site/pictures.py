"""Draw the pictures of docs/fast-fit.md and docs/parity.md: how steps reach the device, and PyTorch's noise floor.

The second trains NeuralNetwork on the sample: once in kerasnets on the backend of KERAS_BACKEND, and in PyTorch as it
is and from weights that are moved by one rounding each. It takes about a minute.

Example:
  KERAS_BACKEND=jax python docs/site/pictures.py
"""

from collections.abc import Iterator
from pathlib import Path

import torch  # before the backend: see kerasnets.verify.compare
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import kerasnets  # isort: skip
import numpy as np

DOCS = Path(__file__).resolve().parents[1]
STEPS, BATCH, RUNS = 94, 64, 5
BLUE, ORANGE, GREY = "#0072b2", "#e69f00", "#bbbbbb"


def draw_fast_fit() -> Figure:
    """The host's and the device's work over a few steps, in stock Keras's fit and in the fast one."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    stock = [(2.0 * step, 1.2) for step in range(6)], [(2.0 * step + 1.2, 0.8) for step in range(6)]
    fast = [(0.0, 1.2)], [(1.2 + 0.8 * step, 0.76) for step in range(6)]
    titles = ("Stock Keras: Python prepares and starts every step", "The fast fit: one call runs a block of steps")
    for panel, title, (host, device) in zip(panels, titles, (stock, fast), strict=True):
        panel.broken_barh(host, (0.6, 0.8), facecolors=ORANGE)
        panel.broken_barh(device, (-0.4, 0.8), facecolors=BLUE)
        for number, (start, width) in enumerate(device, 1):
            panel.text(start + width / 2, 0, number, ha="center", va="center", color="white")
        panel.set(title=title, yticks=[1, 0], yticklabels=["host", "device"], xticks=[], ylim=(-0.6, 1.6))
        panel.spines[["top", "right", "bottom"]].set_visible(False)
    panels[1].set_xlabel("time →")
    texts = {ORANGE: "Python, and the batch's way to the device", BLUE: "a step"}
    handles = [Patch(color=color, label=text) for color, text in texts.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def train_original(module: torch.nn.Module, batches: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[np.ndarray]:
    """Train in PyTorch; yields all weights as one vector after each step."""
    optimizer = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9)
    for x, y in batches:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        optimizer.step()
        yield torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()


def train_ours(start: dict[str, torch.Tensor], batches: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[np.ndarray]:
    """Train in kerasnets from PyTorch's weights; yields all weights as one vector after each step."""
    model = kerasnets.build("NeuralNetwork")
    kerasnets.load_state_dict(model, start)
    model.compile(kerasnets.optimizers.SGD(0.01, momentum=0.9), kerasnets.losses.CrossEntropyLoss())
    for x, y in batches:
        model.train_on_batch(x, y)
        yield np.concatenate([array.ravel() for array in kerasnets.state_dict(model).values()])


def move_weights(module: torch.nn.Module, seed: int) -> None:
    """Move each weight by one rounding, up or down at random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            signs = torch.randint(0, 2, weight.shape, generator=generator) * 2.0 - 1
            weight.copy_(torch.nextafter(weight, signs * torch.inf))


def draw_noise_floor() -> Figure:
    """How far runs are from PyTorch's after each step: PyTorch's own from moved weights, and kerasnets'."""
    (x, y), _ = kerasnets.load_data("fashion_mnist_sample")
    order = kerasnets.batches.epoch_order(len(x), seed=42, epoch=0)
    batches = [(x[rows], y[rows].astype("int64")) for rows in np.split(order, range(BATCH, len(x), BATCH))][:STEPS]
    torch.manual_seed(42)
    original = kerasnets.originals.NeuralNetwork()
    start = {name: tensor.clone() for name, tensor in original.state_dict().items()}

    def distances(run: Iterator[np.ndarray]) -> np.ndarray:
        return np.array([abs(ours - theirs).max() / abs(theirs).max() for ours, theirs in zip(run, path, strict=True)])

    path = [weights.copy() for weights in train_original(original, batches)]
    moved = []
    for seed in range(RUNS):
        original.load_state_dict(start)
        move_weights(original, seed)
        moved.append(distances(train_original(original, batches)))
    ours = distances(train_ours(start, batches))

    figure = Figure(figsize=(8, 3.8), layout="constrained")
    panel = figure.subplots()
    steps = np.arange(1, len(batches) + 1)
    label = f"PyTorch from PyTorch: {RUNS} runs from weights moved by one rounding"
    panel.fill_between(steps, np.min(moved, axis=0), np.max(moved, axis=0), color=GREY, label=label)
    name = {"torch": "torch", "jax": "JAX", "tensorflow": "TensorFlow"}[kerasnets.backend.backend()]
    panel.plot(steps, ours, color=BLUE, label=f"kerasnets on {name} from PyTorch")
    panel.set(yscale="log", xlabel="step", ylabel="largest difference of a weight,\nrelative to the largest weight")
    panel.set_title("NeuralNetwork on fashion_mnist_sample, float32, SGD with momentum")
    panel.legend(frameon=False)
    return figure


if __name__ == "__main__":
    draw_fast_fit().savefig(DOCS / "fast-fit.png", dpi=110)
    draw_noise_floor().savefig(DOCS / "noise-floor.png", dpi=110)
