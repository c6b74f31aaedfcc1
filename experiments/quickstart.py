"""Train NeuralNetwork and ConvNeuralNetwork on the bundled Fashion-MNIST sample: the first thing to run.

Needs neither network access nor a data set.

Examples:
  python experiments/quickstart.py
  python experiments/quickstart.py --backend jax --out out/quickstart-jax
  python experiments/quickstart.py --epochs 10 --seed 1
"""

from pathlib import Path
from typing import Annotated

import typer

from kerasnets import cli
from kerasnets._internal.arguments import count
from kerasnets.training import recipes

QuickEpochs = Annotated[int, typer.Option(min=1, help="Epochs.")]


def main(
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    precision: cli.Precision = "float32",
    out: cli.Out = Path("out/quickstart"),
    dataset: cli.Dataset = "fashion_mnist_sample",
    epochs: QuickEpochs = 3,
    batch_size: cli.BatchSize = None,
    seed: cli.Seed = 0,
    log_every: cli.LogEvery = None,
    lang: cli.Lang = "en",
    again: cli.Again = False,
) -> None:
    """Train both networks, print a table, draw pictures."""
    cli.start(backend, device, precision)
    cli.check_again(out / "ConvNeuralNetwork", again)  # the last one: a stopped run goes on
    results = {}
    for network in ("NeuralNetwork", "ConvNeuralNetwork"):
        print(f"{network} on {dataset}")
        recipe = recipes.find(network, dataset)
        results[network] = cli.train(recipe, out / network, epochs, batch_size, seed, log_every=log_every)

    last = results["ConvNeuralNetwork"]
    pictures = cli.save_pictures(last, out, lang)
    losses = {name: result.losses for name, result in results.items()}
    pictures += cli.save_learning_curves(losses, out, lang, dataset)
    cli.print_table(
        f"{dataset}, {count(last.recipe.epochs, 'epoch')}, backend {last.backend} on {last.device}",
        ("network", "test accuracy", "seconds of training"),
        [(name, f"{r.test_accuracy:.2f} %", f"{sum(r.epoch_seconds):.1f}") for name, r in results.items()],
    )
    cli.print_written(out, pictures)


if __name__ == "__main__":
    cli.run(main, __doc__)
