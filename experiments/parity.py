"""Compare the networks on the active backend with their originals in PyTorch: same weights, same batches, no dropout.

Shows for outputs, loss, gradients, weights and buffers how far Keras is from PyTorch, and beside it the noise floor:
how far PyTorch is from itself in another memory format, on another number of threads, or from weights moved by one
rounding.
A line shows the step and the tensor that came closest to the bound; "free" is what both sides came to on their own. All
figures are in result.json. Ends with exit code 1 where a bound is broken.

All seven networks take about 20 minutes on two idle cores, of which ConvNeuralNetwork takes two thirds; any other
network takes about a minute; --steps 100 takes a quarter of that. Without the full data set the bundled sample is used.

Examples:
  python experiments/parity.py --network FashionNetwork
  KERASNETS_DATA=path/to/data python experiments/parity.py --backend jax
  python experiments/parity.py --network Net --steps 100 --dtype float64 --optimizer SGD
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import backend as backends
from kerasnets import console, files, recipes


def main(
    network: Annotated[str | None, typer.Option(help="Compare this network only.  [default: all]")] = None,
    optimizer: Annotated[
        Literal["SGD", "Adam", "StepLR"] | None,
        typer.Option(help="Train with this one only; StepLR: the document's, with drops of its rate.  [default: all]"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of running free; 938 are an epoch of the full data.")] = 938,
    dtype: Annotated[
        Literal["float64", "float32"] | None, typer.Option(help="Compute in this type only.  [default: both]")
    ] = None,
    dataset: Annotated[
        Literal["mnist", "fashion_mnist", "kmnist", "fashion_mnist_sample"] | None,
        typer.Option(help="Data set.  [default: the document's if it is there, else the sample]"),
    ] = None,
    seed: console.Seed = 0,
    backend: console.Backend = None,
    device: console.Device = "auto",
    out: console.Out = Path("out/parity"),
) -> None:
    """Compare, print a table and draw a picture for each network."""
    # Before anything imports TensorFlow, which aborts the process when it comes first.
    import torchvision  # noqa: F401

    console.start(backend, device)
    from kerasnets import data, parity, training

    out.mkdir(parents=True, exist_ok=True)
    figures, pictures = [], []
    for name in [network] if network else dict.fromkeys(recipe.network for recipe in recipes.RECIPES):
        try:
            recipe = recipes.find(name, dataset)
            recipe, arrays = (recipe, training.prepared(recipe)) if dataset else parity.arrays_of(recipe)
        except (ValueError, data.DataNotFoundError) as error:
            console.fail(error)
        if not dataset and recipe.dataset == "fashion_mnist_sample":
            print(f"The full data of {name} is not on this machine: comparing on the sample of Fashion-MNIST.")
        found, curves = [], {}
        for which in [optimizer] if optimizer else parity.OPTIMIZERS:
            comparison = parity.Comparison(parity.case(which, recipe, steps, seed), arrays, steps)
            for kind in [dtype] if dtype else parity.DTYPES:
                found += comparison.figures(kind)
            curves |= comparison.curves
        console.print_table(
            f"{name} on {recipe.dataset}, backend {backends.backend()} on {backends.device()}",
            ("training", "quantity", "difference", "noise floor", "bound", ""),
            [line(figure) for figure in parity.worst(found)],
        )
        parity.picture(curves).savefig(out / f"{name}.png", dpi=100)
        figures += found
        pictures.append(f"{name}.png")
    broken = [figure for figure in figures if figure.broken]
    files.write_json(
        out / "result.json",
        {
            "backend": backends.backend(),
            "device": backends.device(),
            "versions": backends.versions(),
            "machine": backends.machine(),
            "seed": seed,
            "steps": steps,
            "broken": len(broken),
            "figures": [dataclasses.asdict(figure) for figure in figures],
        },
    )
    console.print_written(out, ["result.json", *pictures])
    for figure in broken:
        where = f"{figure.check}, step {figure.steps}: {figure.quantity} {figure.tensor}".rstrip()
        print(f"Broken: {figure.network}, {figure.optimizer}, {figure.dtype}, {where}")
    print(f"{len(broken)} of {len(figures)} figures break their bounds.")
    raise typer.Exit(1 if broken else 0)


def line(figure) -> tuple[str, ...]:
    """The row of a figure in the table."""
    quantity = f"free: {figure.quantity}" if figure.check == "running free" else figure.quantity
    numbers = (f"{number:.1e}" for number in (figure.difference, figure.noise, figure.bound))
    return f"{figure.optimizer}, {figure.dtype}", quantity, *numbers, "NO" if figure.broken else "ok"


if __name__ == "__main__":
    console.run(main, __doc__)
