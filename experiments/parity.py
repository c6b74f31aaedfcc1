"""Compare the networks on the active backend with their originals in PyTorch: same weights, same batches, no dropout.

Shows for outputs, loss, gradients, weights and buffers how far Keras is from PyTorch, and beside it the noise floor:
how far PyTorch is from itself in another memory format, on another number of threads, or from weights moved by one
rounding.
A line shows the step and the tensor that came closest to the bound; "free" is what both sides came to on their own
(loss and accuracy of the test images). All figures are in result.json. Ends with exit code 1 where a bound is broken.

All seven networks take from half an hour to an hour on two cores, of which ConvNeuralNetwork takes two thirds; any
other network takes some minutes; --steps 100 takes a quarter of that. Without the full data set the bundled sample is
used.

Examples:
  python experiments/parity.py --network FashionNetwork
  KERASNETS_DATA=path/to/data python experiments/parity.py --backend jax
  python experiments/parity.py --network Net --steps 100 --dtype float64 --optimizer SGD
  python experiments/parity.py --out out/parity --report docs/parity.md
"""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import backend as backends
from kerasnets import cli
from kerasnets._internal import atomic
from kerasnets.training import recipes

NETWORKS = tuple(dict.fromkeys(recipe.network for recipe in recipes.RECIPES))


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
    seed: cli.Seed = 0,
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    out: cli.Out = Path("out/parity"),
    report: Annotated[
        Path | None,
        typer.Option(help="Compare nothing: write this page from the result.json of each folder below --out."),
    ] = None,
) -> None:
    """Compare, print a table and draw a picture for each network; or write the page of what was measured."""
    # Before anything imports TensorFlow, which aborts the process when it comes first.
    import torchvision  # noqa: F401

    cli.start(backend, device)
    from kerasnets import data, training
    from kerasnets.verify import parity

    if report is not None:
        results = [json.loads(path.read_text()) for path in sorted(out.rglob("result.json"))]
        if not results:
            cli.fail(ValueError(f"There is no result.json below {str(out)!r}: run the comparison first."))
        atomic.write_bytes(report, ("\n".join(page(results)) + "\n").encode())
        raise typer.Exit

    out.mkdir(parents=True, exist_ok=True)
    figures, pictures = [], []
    for name in [network] if network else NETWORKS:
        try:
            recipe = recipes.find(name, dataset)
            recipe, arrays = (recipe, training.load_recipe_data(recipe)) if dataset else parity.arrays_of(recipe)
        except (ValueError, data.DataNotFoundError) as error:
            cli.fail(error)
        if not dataset and recipe.dataset == "fashion_mnist_sample":
            print(f"The full data of {name} is not on this machine: comparing on the sample of Fashion-MNIST.")
        found, curves = [], {}
        for which in [optimizer] if optimizer else parity.OPTIMIZERS:
            comparison = parity.Comparison(parity.case(which, recipe, steps, seed), arrays, steps)
            for kind in [dtype] if dtype else parity.DTYPES:
                found += comparison.figures(kind)
            curves |= comparison.curves
        cli.print_table(
            f"{name} on {recipe.dataset}, backend {backends.backend()} on {backends.device()}",
            ("training", "quantity", "difference", "noise floor", "bound", ""),
            [line(figure) for figure in parity.worst(found)],
        )
        parity.picture(curves).savefig(out / f"{name}.png", dpi=100)
        figures += found
        pictures.append(f"{name}.png")
    broken = [figure for figure in figures if figure.broken]
    atomic.write_json(
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
    cli.print_written(out, ["result.json", *pictures])
    for figure in broken:
        where = f"{figure.check}, step {figure.steps}: {figure.quantity} {figure.tensor}".rstrip()
        print(f"Broken: {figure.network}, {figure.optimizer}, {figure.dtype}, {where}")
    print(f"{len(broken)} of {len(figures)} figures break their bounds.")
    raise typer.Exit(1 if broken else 0)


def line(figure) -> tuple[str, ...]:
    """The row of a figure in the table."""
    quantity = figure.quantity
    if figure.check == "running free":
        quantity = f"free: {quantity.removeprefix('test ')}"
    numbers = (f"{number:.1e}" for number in (figure.difference, figure.noise, figure.bound))
    return f"{figure.optimizer}, {figure.dtype}", quantity, *numbers, "NO" if figure.broken else "ok"


def page(results: list[dict]) -> list[str]:
    """The lines of docs/parity.md: a table for each check and type, of the figures nearest to their bounds."""
    from kerasnets.verify import parity

    figures = {name: [] for name in backends.BACKENDS}
    for result in results:
        figures[result["backend"]] += [parity.Figure(**figure) for figure in result["figures"]]
    every = [figure for found in figures.values() for figure in found]
    broken = sum(figure.broken for figure in every)
    lines = [
        "# The same numbers as PyTorch, measured",
        "",
        "Written by `python experiments/parity.py --report docs/parity.md` from what `experiments/parity.py` found on",
        "each backend. What is compared, how the noise floor is measured, and why these are the bounds: see the first",
        "lines of [kerasnets/parity.py](../kerasnets/parity.py).",
        "",
        "In each cell: the difference between kerasnets and PyTorch, and in brackets the noise floor, that between",
        "PyTorch and PyTorch; relative to the tensor's largest value, of an accuracy in percentage points. It is what",
        "came nearest to its bound, of all outputs, losses, gradients, weights and buffers compared.",
        "",
        f"{len(every)} figures, of which {broken or 'none'} {'breaks its' if broken == 1 else 'break their'} bound.",
    ]
    adam = "; Adam's weights: 10 noise floors where that is more"
    bounds = {
        ("one step", "float64"): f"bound {parity.EXACT:.0e}{adam}",
        ("running free", "float64"): f"{parity.FREE_STEPS} steps, bound {parity.EXACT:.0e}{adam}",
        ("one step", "float32"): f"bound {parity.FACTOR:.0f} noise floors, of {parity.LEAST:.0f} roundings at least",
        ("running free", "float32"): "bound the noise floor and 4 roundings or one test image",
    }
    for (check, dtype), bound in bounds.items():
        lines += ["", f"## {check.capitalize()}, {dtype}: {bound}", ""]
        lines += ["| network, training | torch | JAX | TensorFlow |", "|---|---|---|---|"]
        for network, optimizer in itertools.product(NETWORKS, parity.OPTIMIZERS):
            of_row = (network, optimizer, dtype, check)
            found = [[figure for figure in of_backend if row(figure) == of_row] for of_backend in figures.values()]
            if any(found):
                cells = [cell(max(f, key=parity.nearness)) if f else "not measured" for f in found]
                lines.append("| " + " | ".join([f"{network}, {optimizer}", *cells]) + " |")
    machines = sorted({f"{result['machine']}, device {result['device']}" for result in results})
    versions = {name: version for result in results for name, version in result["versions"].items()}
    return [
        *lines,
        "",
        f"Machine: {'; '.join(machines)}. Seed {', '.join(sorted({str(result['seed']) for result in results}))}, "
        f"{', '.join(sorted({str(result['steps']) for result in results}))} steps. "
        f"Versions: {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}.",
    ]


def row(figure) -> tuple[str, ...]:
    """The row that a figure stands in, and the table."""
    return figure.network, figure.optimizer, figure.dtype, figure.check


def cell(figure) -> str:
    """A figure in a table of the page."""
    digits = ".2f" if figure.quantity == "test accuracy" else ".0e"
    text = f"{figure.quantity.removeprefix('test ')} {figure.difference:{digits}} ({figure.noise:{digits}})"
    return f"{text}, **broken**" if figure.broken else text


if __name__ == "__main__":
    cli.run(main, __doc__)
