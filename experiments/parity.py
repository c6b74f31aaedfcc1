"""Compare the networks on the active backend with their originals in PyTorch: same weights, same batches, no dropout.

For outputs, loss, gradients, weights and buffers, prints the difference between Keras and PyTorch and, beside it, the
noise floor: the difference between PyTorch and PyTorch with another memory format, another number of threads, or from
weights moved by one rounding.
A line shows the tensor that came closest to its bound; "free" is the result of both sides training on their own (loss
and accuracy on the test images). All figures are in result.json. Ends with exit code 1 if a bound is broken.

All seven networks take half an hour to an hour on two cores, two thirds of it for ConvNeuralNetwork; each other network
takes a few minutes; --steps 100 takes a quarter of the time. Without the full data set the bundled sample is used.

Examples:
  python experiments/parity.py --network FashionNetwork
  KERASNETS_DATA=path/to/data python experiments/parity.py --backend jax
  python experiments/parity.py --network Net --steps 100 --dtype float64 --optimizer SGD
  python experiments/parity.py --out out/parity --report docs/parity.md
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import backend as backends, cli
from kerasnets._internal import atomic
from kerasnets.training import recipes

NETWORKS = tuple(dict.fromkeys(recipe.network for recipe in recipes.RECIPES))


def main(
    network: Annotated[str | None, typer.Option(help="Compare this network only.  [default: all]")] = None,
    optimizer: Annotated[
        Literal["SGD", "Adam", "StepLR"] | None,
        typer.Option(help="Train with this only; StepLR: the tutorial's, with a falling rate.  [default: all]"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of running free; 938 are an epoch of the full data.")] = 938,
    dtype: Annotated[
        Literal["float64", "float32"] | None, typer.Option(help="Compute in this type only.  [default: both]")
    ] = None,
    dataset: cli.LocalDataset = None,
    seed: cli.Seed = 0,
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    out: cli.Out = Path("out/parity"),
    report: Annotated[
        Path | None,
        typer.Option(
            help="Compare nothing; write the figures of each result.json below --out into this page.", exists=True
        ),
    ] = None,
) -> None:
    """Compare, print a table and draw a picture for each network; or report earlier results."""
    # Before anything imports TensorFlow, which aborts the process if it comes first.
    import torchvision  # noqa: F401

    cli.start(backend, device)
    from kerasnets.verify import parity

    if report is not None:
        report_results(out, report)
        raise typer.Exit

    out.mkdir(parents=True, exist_ok=True)
    names = [network] if network else NETWORKS
    optimizers = [optimizer] if optimizer else parity.OPTIMIZERS
    dtypes = [dtype] if dtype else parity.DTYPES
    figures = []
    for name in names:
        figures += compare_network(name, dataset, optimizers, dtypes, steps, seed, out)
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
    cli.print_written(out, ["result.json", *(f"{name}.png" for name in names)])
    for figure in broken:
        print(f"Broken: {figure.network}, {figure.optimizer}, {figure.dtype}, {describe_place(figure)}")
    print(f"{len(broken)} of {len(figures)} figures break their bounds.")
    raise typer.Exit(1 if broken else 0)


def report_results(out: Path, page: Path) -> None:
    """Write the figures of each result.json below `out` into a page."""
    from kerasnets.verify import parity

    results = [json.loads(path.read_text()) for path in sorted(out.rglob("result.json"))]
    try:
        if not results:
            raise ValueError(f"There is no result.json below {str(out)!r}: run the comparison first.")
        parity.write_figures(page, results)
    except ValueError as error:
        cli.fail(error)


def describe_place(figure) -> str:
    """When and in which tensor a figure was measured."""
    return f"{figure.check}, step {figure.steps}: {figure.quantity} {figure.tensor}".rstrip()


def compare_network(network: str, dataset: str | None, optimizers, dtypes, steps: int, seed: int, out: Path) -> list:
    """Compare a network in each training and type, print its table, draw its picture; returns the figures."""
    from kerasnets import data, training
    from kerasnets.verify import parity

    try:
        recipe = recipes.find(network, dataset)
        if dataset is None:
            recipe = recipe.replace(dataset=data.find_local_or_sample(recipe.dataset))
        arrays = training.load_recipe_data(recipe)
    except (ValueError, data.DataNotFoundError) as error:
        cli.fail(error)
    found, curves = [], {}
    for optimizer in optimizers:
        comparison = parity.Comparison(parity.make_case(optimizer, recipe, steps, seed), arrays, steps)
        for dtype in dtypes:
            found += comparison.compare(dtype)
        curves |= comparison.curves
    cli.print_table(
        f"{network} on {recipe.dataset}, backend {backends.backend()} on {backends.device()}",
        ("training", "quantity", "difference", "noise floor", "bound", ""),
        [parity.format_figure(figure) for figure in parity.select_worst(found)],
    )
    parity.plot_curves(curves, title=cli.title_of(recipe)).savefig(out / f"{network}.png", dpi=100)
    return found


if __name__ == "__main__":
    cli.run(main, __doc__)
