"""Run a tutorial's PyTorch program and kerasnets from the same seed, and compare what they print.

The program in plain PyTorch runs after torch.manual_seed(SEED), kerasnets after keras.utils.set_random_seed(SEED) on
each installed backend, each in a process of its own, PyTorch's on the CPU. Initial weights and batches are the same,
bit for bit, so that the lines are the same until rounding shows in the fourth digit; with --dtype float64 it doesn't.
Dropout is off unless --dropout is given: its masks are each backend's own. Writes result.json and losses.png to --out.
One epoch of NeuralNetwork on 60,000 images takes about a minute on two cores.

Examples:
  python experiments/same_seed.py
  python experiments/same_seed.py --network FashionNetwork --seed 7 --dtype float64
  KERASNETS_DATA=path/to/data python experiments/same_seed.py --dataset mnist --epochs 2 --backends jax,tensorflow
"""

import math
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import backend as backends, cli
from kerasnets._internal import atomic
from kerasnets.training import recipes
from kerasnets.verify import same_seed

LINES = 9


def main(
    network: Annotated[str, typer.Option(help="The network to train.")] = "NeuralNetwork",
    seed: cli.Seed = 42,
    order: Annotated[str, typer.Option("--backends", help="Keras backends.")] = ",".join(backends.BACKENDS),
    device: cli.Device = "cpu",
    dataset: cli.LocalDataset = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs.")] = 1,
    log_every: Annotated[
        int | None,
        typer.Option(min=1, help="Batches per line.  [default: 100, fewer on small data sets]", show_default=False),
    ] = None,
    dtype: Annotated[Literal["float32", "float64"], typer.Option(help="Type to compute in.")] = "float32",
    dropout: Annotated[bool, typer.Option(help="Keep the network's dropout.")] = False,
    out: cli.Out = Path("out/same_seed"),
) -> None:
    """Run every program, print the lines side by side, draw the losses."""
    from kerasnets import data

    try:
        names = cli.choose_backends(order)
        recipe = recipes.find(network)
        recipe = recipes.find(network, dataset or data.find_local_or_sample(recipe.dataset)).replace(epochs=epochs)
        steps = math.ceil(len(data.load_arrays(recipe.dataset, download=False)[0]) / recipe.batch_size)
        every = log_every or max(1, min(100, steps // LINES))
        settings = same_seed.Settings(recipe if dropout else recipes.remove_dropout(recipe), seed, every, dtype)
        lines = {}
        for name in (same_seed.TUTORIAL, *names):
            print(f"{name} …", flush=True)
            lines[name] = same_seed.run(name, settings, device)
    except (data.DataNotFoundError, data.DamagedDataError, ValueError) as error:
        cli.fail(error)
    show(lines, settings)
    out.mkdir(parents=True, exist_ok=True)
    draw(lines, settings, out / "losses.png")
    record = {"recipe": settings.recipe.to_dict(), "seed": seed, "dtype": dtype, "versions": backends.versions()}
    atomic.write_json(out / "result.json", {**record, "lines": lines})
    cli.print_written(out, ["result.json", "losses.png"])


def show(lines: dict[str, list[str]], settings: same_seed.Settings) -> None:
    """Print the lines side by side, and mark the first that differs."""
    differs = same_seed.first_difference(lines)
    labels = [", ".join(re.findall(r"\[(.*?)\]", line)) for line in lines[same_seed.TUTORIAL]]
    losses = zip(*([line.rpartition(" ")[2] for line in printed] for printed in lines.values()), strict=True)
    recipe = settings.recipe
    cli.print_table(
        f"The printed losses: {recipe.network}, {recipe.dataset}, seed {settings.seed}, {settings.dtype}",
        ("Epoch, Step", *lines, ""),
        [
            (label, *row, "← differs" if index == differs else "")
            for index, (label, row) in enumerate(zip(labels, losses, strict=True))
        ],
    )
    if differs is None:
        print(f"All {len(labels)} lines are the same.")
    else:
        expected = same_seed.read_losses(lines[same_seed.TUTORIAL])
        largest = max(
            abs(ours - theirs)
            for printed in lines.values()
            for ours, theirs in zip(same_seed.read_losses(printed), expected, strict=True)
        )
        print(f"The first {differs} of {len(labels)} lines are the same; the largest difference is {largest:.4f}.")


def draw(lines: dict[str, list[str]], settings: same_seed.Settings, path: Path) -> None:
    """Draw the losses of all programs over each other, PyTorch's as a broad line below the others."""
    from kerasnets import plots

    figure = plots.canvas.Picture(figsize=(8.6, 4), layout="constrained")
    axes = figure.subplots()
    for index, (name, printed) in enumerate(lines.items()):
        losses = same_seed.read_losses(printed)
        steps = [settings.log_every * (number + 1) for number in range(len(losses))]
        look = {"linewidth": 9, "color": "0.8"} if index == 0 else {"linewidth": 1.5, "linestyle": (4 * index, (4, 8))}
        axes.plot(steps, losses, label="the tutorial in PyTorch" if index == 0 else f"kerasnets on {name}", **look)
    axes.set(xlabel="steps", ylabel=f"loss, mean of {settings.log_every} steps")
    axes.set_title(f"{settings.recipe.network} on {settings.recipe.dataset}, seed {settings.seed}")
    axes.grid(alpha=0.4)
    plots.canvas.add_legend(axes, handlelength=4)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    cli.run(main, __doc__)
