"""The command ``kerasnets``, also ``python -m kerasnets``; without arguments it prints its help.

A further command is a function with ``@app.command()``. The experiments have commands of their own.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

import kerasnets
from kerasnets import backend, cli, data, networks

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


app.command("train")(cli.make_training_command(networks.list_networks(), "out"))


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
