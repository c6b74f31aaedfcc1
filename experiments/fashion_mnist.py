"""Train networks on pictures of clothes and compare them: document 002, sections 6 to 7.2.2.

Without --show one network is trained, as in the document; FashionNetwork is document 003's. The other steps, in the
document's order:

- training: the network's structure, its training, predictions and confusion matrix (6, 7.2.1, 7.2.2)

- datasets: why the same network does better on digits than on clothes (7.1)

- normalization: what the scale of the pixels does to a training (7.1)

- networks: NeuralNetwork, NeuralNetwork_v1 and ConvNeuralNetwork in one table and one picture (7.2)

Examples:
  KERASNETS_DATA=path/to/data python experiments/fashion_mnist.py
  python experiments/fashion_mnist.py --network ConvNeuralNetwork --backend jax
  python experiments/fashion_mnist.py --network NeuralNetwork_v1 --epochs 1 --log-every 50
  python experiments/fashion_mnist.py --dataset fashion_mnist_sample
  python experiments/fashion_mnist.py --show networks --dataset fashion_mnist_sample --epochs 2
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

import kerasnets
from kerasnets import cli
from kerasnets.training import recipes

IN_THE_DOCUMENT = ("NeuralNetwork", "NeuralNetwork_v1", "ConvNeuralNetwork")


def main(
    network: Annotated[
        Literal["NeuralNetwork", "NeuralNetwork_v1", "ConvNeuralNetwork", "FashionNetwork"],
        typer.Option(help="Which network to train."),
    ] = "NeuralNetwork",
    show: Annotated[
        Literal["training", "datasets", "normalization", "networks", "all"], typer.Option(help="Which step.")
    ] = "training",
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    precision: cli.Precision = "float32",
    out: Annotated[
        Path | None, cli.OutOption(show_default="out/fashion_mnist/NETWORK, of other steps out/fashion_mnist")
    ] = None,
    dataset: cli.Dataset = "fashion_mnist",
    epochs: cli.Epochs = None,
    batch_size: cli.BatchSize = None,
    seed: cli.Seed = 0,
    log_every: cli.LogEvery = None,
) -> None:
    """Train, print what the document prints, draw pictures."""
    cli.start(backend, device, precision)
    train = partial(cli.train, epochs=epochs, batch_size=batch_size, seed=seed, log_every=log_every)
    if show == "training":
        train_one(train, network, dataset, out or Path("out/fashion_mnist") / network)
        return
    out = out or Path("out/fashion_mnist")
    out.mkdir(parents=True, exist_ok=True)
    if show == "all":
        train_one(train, network, dataset, out / network)
    if show in ("datasets", "all"):
        compare_datasets(train, dataset)
    if show in ("normalization", "all"):
        compare_normalizations(train, dataset)
    if show in ("networks", "all"):
        compare_networks(train, dataset, out)


def train_one(train, network: str, dataset: str, out: Path) -> None:
    """Section 6: structure, training, test, predictions."""
    kerasnets.build(network).summary()
    result = train(recipes.find(network, dataset), out)
    cli.finish(result, out)


def compare_datasets(train, dataset: str) -> None:
    """Section 7.1: the same network and training on each data set, beside how far apart its classes are."""
    from kerasnets import data, training

    rows, sentences = [], []
    for name in data_sets(dataset):
        print(f"\nNeuralNetwork on {name}")
        result = train(recipes.find("NeuralNetwork", name), None, verbose=quiet())
        (x, y), (x_test, y_test) = training.load_recipe_data(result.recipe)
        # As simple as a classifier can be: the class whose mean image is nearest.
        means = np.stack([x[y == c].mean(axis=0) for c in range(10)])
        distances = np.stack([((x_test - mean) ** 2).sum(axis=(1, 2)) for mean in means], axis=1)
        nearest = 100 * np.mean(distances.argmin(axis=1) == y_test)
        rows.append((name, *(f"{p:.2f} %" for p in (nearest, result.train_accuracy[-1], result.test_accuracy))))

        predicted = result.model.predict(x_test, batch_size=500, verbose=0).argmax(axis=1)
        found = recalls(y_test, predicted)
        hardest = found.argmin()
        wrong = predicted[(y_test == hardest) & (predicted != hardest)]
        names = data.class_names(name)
        sentences.append(f"Hardest in {name}: {names[hardest]}, of which {100 * found[hardest]:.1f} % are recognised")
        if len(wrong):
            sentences[-1] += f"; the others are mostly taken for {names[np.bincount(wrong).argmax()]}"
    columns = ("data set", "nearest mean image", "training", "test")
    cli.print_table("Accuracy by data set", columns, rows)
    print("\n".join(sentences))


def compare_normalizations(train, dataset: str) -> None:
    """Section 7.1: the same network and training on pixels of four scales."""
    from kerasnets import data

    for name in data_sets(dataset):
        rows = []
        try:
            x, y, x_test, y_test = data.load_arrays(name)
        except (data.DataNotFoundError, data.DamagedDataError) as error:
            cli.fail(error)
        mean, deviation = x.mean(), x.std()
        scales = {
            "as stored, 0 … 255": (0.0, 1.0),
            "ToTensor, 0 … 1": (0.0, 255.0),
            "and Normalize, −1 … 1": (127.5, 127.5),
            "mean 0, deviation 1": (mean, deviation),
        }
        for title, (zero, one) in scales.items():
            images, test_images = (((array - zero) / one).astype("float32") for array in (x, x_test))
            print(f"\nNeuralNetwork on {name}, pixels {title}")
            arrays = (images, y), (test_images, y_test)
            result = train(recipes.find("NeuralNetwork", name), None, verbose=quiet(), arrays=arrays)
            losses = [f"{loss:.4g}" for loss in (result.train_loss[0], result.train_loss[-1])]
            scale = f"{images.mean():z.2f} ± {images.std():.2f}"
            rows.append((title, scale, *losses, f"{result.test_accuracy:.2f} %"))
        columns = ("pixels", "mean ± deviation", "first loss", "last loss", "test")
        cli.print_table(f"{name}, by scale of the pixels", columns, rows)


def compare_networks(train, dataset: str, out: Path) -> None:
    """Section 7.2: the three networks in one table and one picture."""
    from matplotlib.figure import Figure

    from kerasnets import data, plots, training

    results, shares = {}, {}
    for network in IN_THE_DOCUMENT:
        print(f"\n{network} on {dataset}")
        result = results[network] = train(recipes.find(network, dataset), out / network)
        _, (x_test, y_test) = training.load_recipe_data(result.recipe)
        shares[network] = recalls(y_test, result.model.predict(x_test, batch_size=500, verbose=0).argmax(axis=1))
    cli.print_table(
        f"{dataset}, {result.recipe.epochs} epochs, backend {result.backend} on {result.device}",
        ("network", "parameters", "test", "document", "last loss", "s/epoch"),
        [
            (
                network,
                f"{r.model.count_params():,}",
                f"{r.test_accuracy:.2f} %",
                f"{r.recipe.document_accuracy:.2f} %" if r.recipe.document_accuracy else "–",
                f"{r.train_loss[-1]:.4f}",
                f"{np.median(r.epoch_seconds):.2f}",
            )
            for network, r in results.items()
        ],
    )
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    plots.learning_curves({network: r.train_loss for network, r in results.items()}, ax=left)
    left.set_title("Training loss")
    for (network, r), line in zip(results.items(), left.lines, strict=True):
        label = f"{network}, {r.test_accuracy:.1f} % of all"
        # Open marks, so that none hides another.
        look = {"color": line.get_color(), "marker": line.get_marker(), "markerfacecolor": "none", "markeredgewidth": 2}
        right.plot(100 * shares[network], range(10), linestyle="none", markersize=8, label=label, **look)
    right.set_yticks(range(10), data.class_names(dataset))
    right.invert_yaxis()
    right.set(title="Test accuracy by class", xlabel="%", xlim=(-2, 102))
    right.grid(alpha=0.4)
    right.legend()
    figure.savefig(out / "networks.png", dpi=100)
    cli.print_written(out, ["networks.png"])


def data_sets(dataset: str) -> list[str]:
    """The data sets to compare: digits and `dataset`; of the sample there is no counterpart with digits."""
    if dataset in ("mnist", "fashion_mnist_sample"):
        print(f"To compare with another data set: --dataset fashion_mnist; here {dataset} alone.")
        return [dataset]
    return ["mnist", dataset]


def recalls(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The share (10,) of each class's images that were recognised."""
    return np.array([np.mean(predicted[labels == c] == c) for c in range(10)])


def quiet() -> str | int:
    """Keras's ``verbose`` where many trainings follow each other: bars on a terminal, else nothing."""
    from kerasnets import training

    return "auto" if training.shows_progress_bars() else 0


if __name__ == "__main__":
    cli.run(main, __doc__)
