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
#: The labels of this experiment's own pictures.
WORDS = {
    "en": {
        "bars": ("nearest mean image", "NeuralNetwork, training", "NeuralNetwork, test"),
        "datasets": "Accuracy by data set",
        "normalization": "By scale of the pixels",
        "of_all": "{}, {:.1f} % of all",
        "percent": "accuracy in %",
        "percent_of_class": "test accuracy by class, in %",
        "scales": ("as stored, 0 … 255", "ToTensor, 0 … 1", "and Normalize, −1 … 1", "mean 0, deviation 1"),
    },
    "zh": {
        "bars": ("最近的平均图像", "NeuralNetwork，训练", "NeuralNetwork，测试"),
        "datasets": "各数据集上的准确率",
        "normalization": "像素的不同取值范围",
        "of_all": "{}，总体 {:.1f} %",
        "percent": "准确率（%）",
        "percent_of_class": "各类别的测试准确率（%）",
        "scales": ("原始值，0 … 255", "ToTensor，0 … 1", "再经 Normalize，−1 … 1", "均值 0，标准差 1"),
    },
}


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
    lang: cli.Lang = "en",
    again: cli.Again = False,
) -> None:
    """Train, print what the tutorial prints, draw pictures."""
    cli.start(backend, device, precision)
    train = partial(cli.train, epochs=epochs, batch_size=batch_size, seed=seed, log_every=log_every)
    if show == "training":
        out = out or Path("out/fashion_mnist") / network
        cli.check_again(out, again)
        train_one(train, network, dataset, lang, out)
        return
    out = out or Path("out/fashion_mnist")
    if show in ("networks", "all"):
        cli.check_again(out / NETWORKS[-1], again)  # the last one: a stopped run goes on
    out.mkdir(parents=True, exist_ok=True)
    if show == "all":
        train_one(train, network, dataset, lang, out / network)
    if show in ("datasets", "all"):
        compare_datasets(train, dataset, lang, out)
    if show in ("normalization", "all"):
        compare_normalizations(train, dataset, lang, out)
    if show in ("networks", "all"):
        compare_networks(train, dataset, lang, out)


def train_one(train, network: str, dataset: str, lang: str, out: Path) -> None:
    """Section 6: structure, training, test, predictions."""
    recipe = recipes.find(network, dataset)
    kerasnets.build(network, **recipe.network_options).summary()
    result = train(recipe, out)
    cli.finish(result, out, lang=lang)


def compare_datasets(train, dataset: str, lang: str, out: Path) -> None:
    """Section 7.1: the same network and training on each data set, and how far apart the classes are there."""
    from kerasnets import data, plots

    words = WORDS[plots.canvas.choose_language(lang)]
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
        accuracies = (nearest, result.train_accuracy[-1], result.test_accuracy)
        rows.append((name, *(f"{p:.2f} %" for p in accuracies)))
        shown[name] = dict(zip(words["bars"], accuracies, strict=True))
        sentences.append(describe_hardest_class(result))
    columns = ("data set", "nearest mean image", "training", "test")
    cli.print_table("Accuracy by data set", columns, rows)
    print("\n".join(sentences))
    title = f"{words['datasets']}: NeuralNetwork"
    figure = plots.bars(shown, marked=words["bars"][1:], xlabel=words["percent"], title=title, lang=lang)
    figure.savefig(out / "datasets.png", dpi=100)
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


def compare_normalizations(train, dataset: str, lang: str, out: Path) -> None:
    """Section 7.1: the same network and training on pixels at four scales."""
    from kerasnets import data, plots
    from kerasnets.engine.mistakes import LikelyMistakeWarning

    words = WORDS[plots.canvas.choose_language(lang)]
    for name in list_datasets(dataset):
        rows, curves = [], {}
        x, y, x_test, y_test = load(data.load_arrays, name)
        mean, deviation = x.mean(), x.std()
        scales = ((0.0, 1.0), (0.0, 255.0), (127.5, 127.5), (mean, deviation))
        for title, (zero, one) in zip(WORDS["en"]["scales"], scales, strict=True):
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
        losses = dict(zip(words["scales"], curves.values(), strict=True))
        title, file = f"{words['normalization']}: NeuralNetwork, {name}", f"normalization_{name}.png"
        cli.print_written(out, cli.save_learning_curves(losses, out, lang, title, file, log=True))


def compare_networks(train, dataset: str, lang: str, out: Path) -> None:
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
    draw_networks(results, dataset, lang, out / "networks.png")
    cli.print_written(out, ["networks.png"])


def draw_networks(results: dict, dataset: str, lang: str, path: Path) -> None:
    """Draw the networks' losses, and their test accuracy by class."""
    from kerasnets import data, plots

    lang = plots.canvas.choose_language(lang)
    words, text = WORDS[lang], plots.canvas.text
    names = data.class_names(dataset, lang)
    figure = plots.canvas.Picture(figsize=(15, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    losses = {network: r.losses for network, r in results.items()}
    plots.learning_curves(losses, validation=plots.canvas.words(lang)["test"], lang=lang, ax=left)
    training = [line for line in left.lines if line.get_linestyle() == "-"]
    for (network, r), line in zip(results.items(), training, strict=True):
        # Open markers don't hide each other.
        look = {"color": line.get_color(), "marker": line.get_marker(), "markerfacecolor": "none", "markeredgewidth": 2}
        label = words["of_all"].format(network, r.test_accuracy)
        right.plot(100 * r.recalls, range(len(names)), linestyle="none", markersize=8, label=label, **look)
    right.set_yticks(range(len(names)), names, **text())
    right.invert_yaxis()
    right.set_xlim(-2, 102)
    right.set_xlabel(words["percent_of_class"], **text())
    right.grid(alpha=0.4)
    plots.canvas.add_legend(right)
    plots.canvas.add_title(figure, dataset)
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
