"""Train a network on handwritten digits: document 002, section 6, and the networks of documents 001 and 004.

Examples:
  KERASNETS_DATA=path/to/data python experiments/mnist.py
  python experiments/mnist.py --network Network2 --backend jax
  python experiments/mnist.py --network Net --epochs 1 --log-every 50
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import console, recipes


def main(
    network: Annotated[
        Literal["NeuralNetwork", "Network", "Network2", "Net"], typer.Option(help="Which network.")
    ] = "NeuralNetwork",
    backend: console.Backend = None,
    device: console.Device = "auto",
    precision: console.Precision = "float32",
    out: Annotated[Path | None, console.OutOption(show_default="out/mnist/NETWORK")] = None,
    dataset: console.Dataset = "mnist",
    epochs: console.Epochs = None,
    batch_size: console.BatchSize = None,
    seed: console.Seed = 0,
    log_every: console.LogEvery = None,
) -> None:
    """Train, print what the document prints, draw pictures."""
    console.start(backend, device, precision)
    out = out or Path("out/mnist") / network
    result = console.train(recipes.find(network, dataset), out, epochs, batch_size, seed, log_every=log_every)
    console.finish(result, out)


if __name__ == "__main__":
    console.run(main, __doc__)
