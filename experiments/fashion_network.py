"""Train FashionNetwork with NLLLoss and Adam, with or without dropout: document 003.

Examples:
  KERASNETS_DATA=path/to/data python experiments/fashion_network.py
  python experiments/fashion_network.py --dropout 0.25 --backend jax
  python experiments/fashion_network.py --dataset fashion_mnist_sample --epochs 2
"""

from pathlib import Path
from typing import Annotated

import typer

from kerasnets import console, recipes


def main(
    dropout: Annotated[float, typer.Option(min=0.0, max=0.99, help="Share of hidden features dropped.")] = 0.0,
    backend: console.Backend = None,
    device: console.Device = "auto",
    out: console.Out = Path("out/fashion_network"),
    dataset: console.Dataset = "fashion_mnist",
    epochs: console.Epochs = None,
    batch_size: console.BatchSize = None,
    seed: console.Seed = 0,
    log_every: console.LogEvery = None,
) -> None:
    """Train, print the document's line after each epoch, draw pictures."""
    console.start(backend, device)
    import keras

    from kerasnets import training

    line = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(f"Training loss: {logs['loss']:.4f}"))
    recipe = recipes.find("FashionNetwork", dataset, {"dropout": dropout} if dropout else {})
    verbose = "auto" if training.shows_progress_bars() else 0
    result = console.train(
        recipe, out, epochs, batch_size, seed, log_every=log_every, verbose=verbose, callbacks=[line]
    )
    console.finish(result, out)


if __name__ == "__main__":
    console.run(main, __doc__)
