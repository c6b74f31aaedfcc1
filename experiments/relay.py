"""Train an epoch on torch, the next on JAX, the next on TensorFlow, each from the .keras file that the last one left.

Optimizer state, schedule and batch order are carried over. In float64 the relay ends with the weights of an
uninterrupted run on its first backend within 1e-9, in float32 with its test loss and accuracy within the noise floor,
which is measured beside it. Ends with exit code 1 where it does not. Backends that are not installed are left
out. Takes about three minutes on two idle cores; without the full data set the bundled sample is used.

Examples:
  python experiments/relay.py
  KERASNETS_DATA=path/to/data python experiments/relay.py --network Net
  python experiments/relay.py --dataset fashion_mnist_sample --dtype float64 --backends torch,jax,torch
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import backend as backends, cli
from kerasnets._internal import atomic
from kerasnets.data.datasets import GREY_NAMES
from kerasnets.verify import relay


def main(
    network: Annotated[str, typer.Option(help="The network to train.")] = "NeuralNetwork",
    order: Annotated[str, typer.Option("--backends", help="Keras backends, one an epoch.")] = ",".join(
        backends.BACKENDS
    ),
    dtype: Annotated[
        Literal["float64", "float32"] | None, typer.Option(help="Compute in this type only.  [default: both]")
    ] = None,
    dataset: Annotated[
        Literal[*GREY_NAMES] | None,
        typer.Option(help="Data set.  [default: the document's if it is there, else the sample]"),
    ] = None,
    seed: cli.Seed = 0,
    device: cli.Device = "auto",
    out: cli.Out = Path("out/relay"),
) -> None:
    """Run the relay in both types, print a table."""
    from kerasnets import data

    names = runners(order.split(","))
    try:
        recipe = relay.recipe_of(network, dataset)
        data.load_data(recipe.dataset, download=dataset is not None)
    except ValueError as error:
        cli.fail(error)
    except data.DataNotFoundError as error:
        if dataset is not None:
            cli.fail(error)
        recipe = recipe.replace(dataset="fashion_mnist_sample")
        print("The full data are not on this machine: running on the sample of Fashion-MNIST.")
    results = [
        relay.run(names, recipe, kind, out / kind, device, seed)
        for kind in ([dtype] if dtype else ["float64", "float32"])
    ]
    cli.print_table(
        f"{network} on {recipe.dataset}, {' → '.join(names)}",
        ("type", "quantity", "difference", "noise floor", "bound", ""),
        [
            (
                result.dtype,
                quantity,
                f"{difference:.1e}",
                "–" if noise is None else f"{noise:.1e}",
                f"{bound:.1e}",
                "NO" if quantity in result.broken else "ok",
            )
            for result in results
            for quantity, (difference, noise, bound) in result.figures.items()
        ],
    )
    for result in results:
        accuracies = ", ".join(f"{leg.backend} {leg.test_accuracy:.2f} %" for leg in result.legs)
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
            "results": [
                {
                    "dtype": result.dtype,
                    "legs": [record(leg) for leg in result.legs],
                    "whole": record(result.whole),
                    "nudged": [record(run) for run in result.nudged],
                    "figures": result.figures,
                    "broken": result.broken,
                }
                for result in results
            ],
        },
    )
    cli.print_written(out, ["result.json"])
    raise typer.Exit(1 if any(result.broken for result in results) else 0)


def runners(order: list[str]) -> list[str]:
    """The backends of `order` that are installed; ends the program where fewer than two different ones are."""
    for name in order:
        if name not in backends.BACKENDS:
            cli.fail(ValueError(f"Unknown backend {name!r}; expected some of {', '.join(backends.BACKENDS)}."))
    there = [name for name in order if backends.is_installed(name)]
    missing = dict.fromkeys(name for name in order if name not in there)
    for name in missing:
        print(f"The backend {name} is not installed and is left out. {backends.install_command(name)}")
    if len(set(there)) < 2:
        cli.fail(ValueError(f"A relay needs two backends at least; installed of {', '.join(order)}: {there}."))
    return there


def record(outcome) -> dict:
    """An outcome for result.json: all but the weights."""
    kept = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    del kept["weights"]
    return kept


if __name__ == "__main__":
    cli.run(main, __doc__)
