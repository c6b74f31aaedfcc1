"""Train a network on handwritten digits.

NeuralNetwork is from "How to create a neural network with PyTorch", section 6, Net from "Neural Network", Network and
Network2 from "Building neural networks with PyTorch".

Examples:
  KERASNETS_DATA=path/to/data python experiments/mnist.py
  python experiments/mnist.py --network Network2 --backend jax
  python experiments/mnist.py --network Net --epochs 1 --log-every 50
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import cli
from kerasnets.training import recipes


def main(
    network: Annotated[
        Literal["NeuralNetwork", "Network", "Network2", "Net"], typer.Option(help="Which network.")
    ] = "NeuralNetwork",
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    precision: cli.Precision = "float32",
    out: Annotated[Path | None, cli.OutOption(show_default="out/mnist/NETWORK")] = None,
    dataset: cli.Dataset = "mnist",
    epochs: cli.Epochs = None,
    batch_size: cli.BatchSize = None,
    seed: cli.Seed = 0,
    log_every: cli.LogEvery = None,
    lang: cli.Lang = "en",
    again: cli.Again = False,
) -> None:
    """Train, print what the tutorial prints, draw pictures."""
    cli.start(backend, device, precision)
    out = out or Path("out/mnist") / network
    cli.check_again(out, again)
    result = cli.train(recipes.find(network, dataset), out, epochs, batch_size, seed, log_every=log_every)
    cli.finish(result, out, lang=lang)


if __name__ == "__main__":
    cli.run(main, __doc__)
