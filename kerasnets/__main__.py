"""``python -m kerasnets info`` shows what is installed and usable, and what to do about the rest.

``python -m kerasnets clear-cache`` removes the arrays that `load_data` keeps in the user's cache.
"""

import sys
from typing import Annotated

import typer

from kerasnets import backend, data

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """The classic PyTorch beginners' networks as Keras 3 models."""


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


if __name__ == "__main__":
    sys.exit(app())
