"""Train a network on pictures of clothes: document 002, sections 6 to 7.2.2, and document 003.

Examples:
  KERASNETS_DATA=path/to/data python experiments/fashion_mnist.py
  python experiments/fashion_mnist.py --network ConvNeuralNetwork --backend jax
  python experiments/fashion_mnist.py --network NeuralNetwork_v1 --epochs 1 --log-every 50
  python experiments/fashion_mnist.py --dataset fashion_mnist_sample
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import console, recipes


def main(
    network: Annotated[
        Literal["NeuralNetwork", "NeuralNetwork_v1", "ConvNeuralNetwork", "FashionNetwork"],
        typer.Option(help="Which network."),
    ] = "NeuralNetwork",
    backend: console.Backend = None,
    device: console.Device = "auto",
    out: Annotated[Path | None, console.OutOption(show_default="out/fashion_mnist/NETWORK")] = None,
    dataset: console.Dataset = "fashion_mnist",
    epochs: console.Epochs = None,
    batch_size: console.BatchSize = None,
    seed: console.Seed = 0,
    log_every: console.LogEvery = None,
) -> None:
    """Train, print what the document prints, draw pictures."""
    console.start(backend, device)
    out = out or Path("out/fashion_mnist") / network
    result = console.train(recipes.find(network, dataset), out, epochs, batch_size, seed, log_every=log_every)
    console.finish(result, out)


if __name__ == "__main__":
    console.run(main, __doc__)
