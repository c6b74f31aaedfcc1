"""Train networks on images of clothes and compare them.

From "How to create a neural network with PyTorch", sections 6 to 7.2.2.

Without --show one network is trained, as in the tutorial; FashionNetwork is from "Working with
neural networks". The other steps, in the tutorial's order:

- training: the network's structure, its training, predictions and confusion matrix (6, 7.2.1, 7.2.2)

- datasets: why the same network does better on digits than on clothes (7.1)

- normalization: how the scale of the pixels affects a training (7.1)

- networks: NeuralNetwork, NeuralNetwork_v1 and ConvNeuralNetwork in one table and one picture (7.2)

Examples:
  KERASNETS_DATA=path/to/data python experiments/fashion_mnist.py
  python experiments/fashion_mnist.py --network ConvNeuralNetwork --backend jax
  python experiments/fashion_mnist.py --network NeuralNetwork_v1 --epochs 1 --log-every 50
  python experiments/fashion_mnist.py --dataset fashion_mnist_sample
  python experiments/fashion_mnist.py --show networks --dataset fashion_mnist_sample --epochs 2
"""

import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

import kerasnets
from kerasnets import cli
from kerasnets._internal.arguments import count
from kerasnets.training import recipes

NETWORKS = ("NeuralNetwork", "NeuralNetwork_v1", "ConvNeuralNetwork")


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
        Path | None, cli.OutOption(show_default="out/fashion_mnist/NETWORK; for other steps out/fashion_mnist")
    ] = None,
    dataset: cli.Dataset = "fashion_mnist",
    epochs: cli.Epochs = None,
    batch_size: cli.BatchSize = None,
    seed: cli.Seed = 0,
    log_every: cli.LogEvery = None,
    again: cli.Again = False,
) -> None:
    """Train, print what the tutorial prints, draw pictures."""
    cli.start(backend, device, precision)
    train = partial(cli.train, epochs=epochs, batch_size=batch_size, seed=seed, log_every=log_every)
    if show == "training":
        out = out or Path("out/fashion_mnist") / network
        cli.check_again(out, again)
        train_one(train, network, dataset, out)
        return
    out = out or Path("out/fashion_mnist")
    if show in ("networks", "all"):
        cli.check_again(out / NETWORKS[-1], again)  # the last one: a stopped run goes on
    out.mkdir(parents=True, exist_ok=True)
    if show == "all":
        train_one(train, network, dataset, out / network)
    if show in ("datasets", "all"):
        compare_datasets(train, dataset, out)
    if show in ("normalization", "all"):
        compare_normalizations(train, dataset, out)
    if show in ("networks", "all"):
        compare_networks(train, dataset, out)


def train_one(train, network: str, dataset: str, out: Path) -> None:
    """Section 6: structure, training, test, predictions."""
    recipe = recipes.find(network, dataset)
    kerasnets.build(network, **recipe.network_options).summary()
    result = train(recipe, out)
    cli.finish(result, out)


def compare_datasets(train, dataset: str, out: Path) -> None:
    """Section 7.1: the same network and training on each data set, and how far apart the classes are there."""
    from kerasnets import data, plots

    rows, sentences, shown = [], [], {}
    for name in list_datasets(dataset):
        print(f"\nNeuralNetwork on {name}")
        arrays = load(data.load_data, name)
        (x, y), (x_test, y_test) = arrays
        result = train(recipes.find("NeuralNetwork", name), None, verbose=cli.choose_verbose(), arrays=arrays)
        # The simplest classifier: the class whose mean image is nearest.
        means = [x[y == c].mean(axis=0) for c in range(len(data.class_names(name)))]
        distances = np.stack([((x_test - mean) ** 2).reshape(len(x_test), -1).sum(axis=1) for mean in means], axis=1)
        nearest = 100 * np.mean(distances.argmin(axis=1) == y_test)
        rows.append((name, *(f"{p:.2f} %" for p in (nearest, result.train_accuracy[-1], result.test_accuracy))))
        names = ("nearest mean image", "NeuralNetwork, training", "NeuralNetwork, test")
        shown[name] = dict(zip(names, (nearest, result.train_accuracy[-1], result.test_accuracy), strict=True))
        sentences.append(describe_hardest_class(result))
    columns = ("data set", "nearest mean image", "training", "test")
    cli.print_table("Accuracy by data set", columns, rows)
    print("\n".join(sentences))
    plots.bars(shown, marked=["NeuralNetwork, test"], xlabel="accuracy in %").savefig(out / "datasets.png", dpi=100)
    cli.print_written(out, ["datasets.png"])


def describe_hardest_class(result) -> str:
    """The class that is recognised least, and the class that it is mostly taken for."""
    from kerasnets import data

    name = result.recipe.dataset
    names, shares = data.class_names(name), result.recalls
    hardest = shares.argmin()
    sentence = f"Hardest in {name}: {names[hardest]}, of which {100 * shares[hardest]:.1f} % are recognised"
    wrong = result.predicted[(result.test_labels == hardest) & (result.predicted != hardest)]
    if len(wrong):
        sentence += f"; the others are mostly taken for {names[np.bincount(wrong).argmax()]}"
    return sentence


def compare_normalizations(train, dataset: str, out: Path) -> None:
    """Section 7.1: the same network and training on pixels at four scales."""
    from kerasnets import data, plots
    from kerasnets.engine.mistakes import LikelyMistakeWarning

    for name in list_datasets(dataset):
        rows, curves = [], {}
        x, y, x_test, y_test = load(data.load_arrays, name)
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
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LikelyMistakeWarning)  # of raw pixels, which are the lesson
                result = train(recipes.find("NeuralNetwork", name), None, verbose=cli.choose_verbose(), arrays=arrays)
            curves[title] = result.train_loss
            losses = [f"{loss:.4g}" for loss in (result.train_loss[0], result.train_loss[-1])]
            scale = f"{images.mean():z.2f} ± {images.std():.2f}"
            rows.append((title, scale, *losses, f"{result.test_accuracy:.2f} %"))
        columns = ("pixels", "mean ± deviation", "first loss", "last loss", "test")
        cli.print_table(f"{name}, by scale of the pixels", columns, rows)
        figure = plots.learning_curves(curves, ylabel="training loss")
        figure.axes[0].set(title=f"NeuralNetwork, {name}, by scale of the pixels", yscale="log")
        figure.savefig(out / f"normalization_{name}.png", dpi=100)
        cli.print_written(out, [f"normalization_{name}.png"])


def compare_networks(train, dataset: str, out: Path) -> None:
    """Section 7.2: the three networks in one table and one picture."""
    results = {}
    for network in NETWORKS:
        print(f"\n{network} on {dataset}")
        result = results[network] = train(recipes.find(network, dataset), out / network)
    cli.print_table(
        f"{dataset}, {count(result.recipe.epochs, 'epoch')}, backend {result.backend} on {result.device}",
        ("network", "parameters", "test", "tutorial", "last loss", "s/epoch"),
        [
            (
                network,
                f"{r.model.count_params():,}",
                f"{r.test_accuracy:.2f} %",
                cli.format_tutorial_accuracy(r.recipe),
                f"{r.train_loss[-1]:.4f}",
                f"{np.median(r.epoch_seconds):.2f}",
            )
            for network, r in results.items()
        ],
    )
    draw_networks(results, dataset, out / "networks.png")
    cli.print_written(out, ["networks.png"])


def draw_networks(results: dict, dataset: str, path: Path) -> None:
    """Draw the networks' training losses, and their test accuracy by class."""
    from kerasnets import data, plots

    names = data.class_names(dataset)
    figure = plots.canvas.Picture(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    plots.learning_curves({network: r.train_loss for network, r in results.items()}, ax=left)
    left.set_title("Training loss")
    for (network, r), line in zip(results.items(), left.lines, strict=True):
        label = f"{network}, {r.test_accuracy:.1f} % of all"
        # Open markers don't hide each other.
        look = {"color": line.get_color(), "marker": line.get_marker(), "markerfacecolor": "none", "markeredgewidth": 2}
        right.plot(100 * r.recalls, range(len(names)), linestyle="none", markersize=8, label=label, **look)
    right.set_yticks(range(len(names)), names)
    right.invert_yaxis()
    right.set(title="Test accuracy by class", xlabel="%", xlim=(-2, 102))
    right.grid(alpha=0.4)
    right.legend()
    figure.savefig(path, dpi=100)


def list_datasets(dataset: str) -> list[str]:
    """The data sets to compare: digits and `dataset`; only one of them if it is the digits or the sample."""
    if dataset in ("mnist", "fashion_mnist_sample"):
        print(f"To compare with another data set: --dataset fashion_mnist; here {dataset} alone.")
        return [dataset]
    return ["mnist", dataset]


def load(function, dataset: str):
    """The data set as `function` loads it; ends the program if it is missing or damaged."""
    from kerasnets import data

    try:
        return function(dataset)
    except (data.DataNotFoundError, data.DamagedDataError) as error:
        cli.fail(error)


if __name__ == "__main__":
    cli.run(main, __doc__)
