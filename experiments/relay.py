"""Train one epoch on torch, the next on JAX, the next on TensorFlow, each from the .keras file of the one before.

Optimizer state, schedule and batch order are carried over. In float64 the relay ends with the weights of an
uninterrupted run on its first backend within 1e-9; in float32 with its test loss and accuracy within the noise floor,
which is measured at the same time. Ends with exit code 1 otherwise. Backends that are not installed are left out. Takes
about three minutes on two idle cores; without the full data set the bundled sample is used.

Examples:
  python experiments/relay.py
  KERASNETS_DATA=path/to/data python experiments/relay.py --network Net
  python experiments/relay.py --dataset fashion_mnist_sample --dtype float64 --backends torch,jax,torch
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import backend as backends, cli
from kerasnets._internal import atomic
from kerasnets.training import recipes
from kerasnets.verify import relay

ALL_BACKENDS = ",".join(backends.BACKENDS)


def main(
    network: Annotated[str, typer.Option(help="The network to train.")] = "NeuralNetwork",
    order: Annotated[str, typer.Option("--backends", help="Keras backends, one per epoch.")] = ",".join(
        backends.BACKENDS
    ),
    dtype: Annotated[
        Literal["float64", "float32"] | None, typer.Option(help="Compute in this type only.  [default: both]")
    ] = None,
    dataset: cli.LocalDataset = None,
    seed: cli.Seed = 0,
    device: cli.Device = "auto",
    out: cli.Out = Path("out/relay"),
) -> None:
    """Run the relay in both types, print a table."""
    names, recipe = prepare(order, network, dataset)
    results = [
        relay.run(names, recipe, kind, out / kind, device, seed)
        for kind in ([dtype] if dtype else ["float64", "float32"])
    ]
    cli.print_table(
        f"{network} on {recipe.dataset}, {' → '.join(names)}",
        ("type", "quantity", "difference", "noise floor", "bound", ""),
        [row for result in results for row in format_figures(result)],
    )
    for result in results:
        accuracies = ", ".join(f"{stage.backend} {stage.test_accuracy:.2f} %" for stage in result.stages)
        print(f"{result.dtype}: {accuracies}; without a change of backend {result.whole.test_accuracy:.2f} %")
    atomic.write_json(
        out / "result.json",
        {
            "network": network,
            "dataset": recipe.dataset,
            "order": names,
            "versions": backends.versions(),
            "machine": backends.machine(),
            "seed": seed,
            "results": [result.to_dict() for result in results],
        },
    )
    cli.print_written(out, ["result.json"])
    raise typer.Exit(1 if any(result.broken for result in results) else 0)


def prepare(order: str, network: str, dataset: str | None) -> tuple[list[str], recipes.Recipe]:
    """The installed backends and the recipe; ends the program if there are fewer than two backends, or no data."""
    from kerasnets import data

    try:
        names = cli.choose_backends(order)
        if len(set(names)) < 2:
            raise ValueError(f"A relay needs at least two backends; of {order}, these are installed: {names}.")
        recipe = recipes.remove_dropout(recipes.find(network, dataset))
        if dataset is None:
            recipe = recipe.replace(dataset=data.find_local_or_sample(recipe.dataset))
        data.load_data(recipe.dataset)
    except (ValueError, data.DataNotFoundError) as error:
        cli.fail(error)
    return names, recipe


def format_figures(result: relay.Result) -> list[tuple[str, ...]]:
    """A row of the table for each quantity that was compared."""
    return [
        (
            result.dtype,
            quantity,
            f"{difference:.1e}",
            "–" if noise is None else f"{noise:.1e}",
            f"{bound:.1e}",
            "NO" if quantity in result.broken else "ok",
        )
        for quantity, (difference, noise, bound) in result.figures.items()
    ]


if __name__ == "__main__":
    cli.run(main, __doc__)
