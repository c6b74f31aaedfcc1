"""The command ``kerasnets``, also ``python -m kerasnets``; without arguments it prints its help.

A further command is a function with ``@app.command()``. The experiments have commands of their own.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

import kerasnets
from kerasnets import backend, cli, data, networks
from kerasnets.training import recipes

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"kerasnets {kerasnets.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """The classic PyTorch beginners' networks as Keras 3 models."""


@app.command("networks")
def show_networks() -> None:
    """List the networks, and the options that kerasnets.build takes for each."""
    cli.start(None, "auto")
    for name in networks.list_networks():
        print(f"{name}\n  {networks.summary_of(name)}\n  Options: {networks.options_of(name)}")


@app.command()
def train(
    network: Annotated[
        str,
        typer.Argument(
            help="Which network.", **(cli.choice("network", networks.list_networks()) | {"metavar": "NETWORK"})
        ),
    ],
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    precision: cli.Precision = "float32",
    out: Annotated[Path | None, cli.OutOption(show_default="out/NETWORK")] = None,
    dataset: cli.LocalDataset = None,
    epochs: cli.Epochs = None,
    batch_size: cli.BatchSize = None,
    seed: cli.Seed = 0,
    log_every: cli.LogEvery = None,
    lang: cli.Lang = "en",
    again: cli.Again = False,
) -> None:
    """Train a network as its tutorial does, test it, and draw pictures.

    A run that was stopped goes on when the same command is given again.
    """
    cli.start(backend, device, precision)
    out = out or Path("out") / network
    cli.check_again(out, again)
    recipe = recipes.find(network, dataset or data.find_local_or_sample(recipes.find(network).dataset))
    print(f"{network} on {recipe.dataset}, {cli.count(epochs or recipe.epochs, 'epoch')}, into {out}")
    cli.finish(cli.train(recipe, out, epochs, batch_size, seed, log_every=log_every), out, lang=lang)


@app.command()
def info() -> None:
    """Print versions, backends, devices, CUDA and data folders, and how to get what is missing."""
    missing = []
    print("Versions")
    for name, version in backend.versions().items():
        print(f"  {name:15} {version}")

    print("Backends")
    for name in backend.BACKENDS:
        if backend.is_installed(name):
            print(f"  {name:15} installed{', active' if name == backend.backend() else ''}")
        else:
            print(f"  {name:15} not installed")
            missing.append(f"The backend {name}: {backend.install_command(name)}")

    print("Devices")
    try:
        devices = backend.devices()
    except (ValueError, ModuleNotFoundError) as error:
        missing.append(str(error))
    else:
        print(f"  {backend.backend():15} {', '.join(devices)}")
        print(f"  {'CUDA':15} {backend.cuda()}")
        if all(device.startswith("cpu") for device in devices):
            missing.append(f"To compute on a GPU: {backend.gpu_advice()}")

    print("Data")
    for name, state in data.locations():
        print(f"  {name:20} {state}")

    if missing:
        print("What is missing, and what to do")
        for line in missing:
            print(f"  - {line}")


@app.command()
def clear_cache(
    downloads: Annotated[bool, typer.Option("--downloads", help="Remove the downloaded data sets as well.")] = False,
) -> None:
    """Remove the arrays that load_data keeps in the user's cache, and print their names."""
    removed = data.clear_cache(downloads)
    for path, size in removed:
        print(f"Removed {path} ({size / 1e6:.1f} MB)")
    print(f"{len(removed)} removed, {sum(size for _, size in removed) / 1e6:.1f} MB.")
    if not downloads:
        print("Downloaded data sets are kept; --downloads removes them as well.")


@app.command()
def compare(
    path: Annotated[Path, typer.Argument(help="A file that defines module, model and x; see docs/compare.md.")],
    out: Annotated[Path | None, typer.Option(help="Folder for report.json and report.png.", file_okay=False)] = None,
) -> None:
    """Compare a Keras port with its PyTorch original; the exit code is 0 if they are the same, otherwise 1 or 2."""
    from kerasnets.verify.compare.command import compare_file

    try:
        report = compare_file(path, out)
    except (OSError, TypeError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    print(report)
    if out is not None:
        print(f"Written: {out / 'report.json'}, {out / 'report.png'}")
    raise typer.Exit(0 if report.same else 1)


if __name__ == "__main__":
    sys.exit(app())
