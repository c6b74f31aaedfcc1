"""What the experiments' command lines share: options, the start, and tables.

An experiment's module docstring is its ``--help``; its function's parameters are annotated with the options below.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from kerasnets import backend as backends
from kerasnets.data.datasets import GREY_NAMES

Backend = Annotated[
    Literal[*backends.BACKENDS] | None,
    typer.Option(help="Keras backend.  [default: KERAS_BACKEND, else torch]", show_default=False),
]
Device = Annotated[Literal[*backends.DEVICES], typer.Option(help="Where to compute; auto takes a GPU if there is one.")]

Precision = Annotated[
    Literal[*backends.PRECISIONS], typer.Option(help="What products and convolutions are computed in.")
]


def OutOption(**options):  # noqa: N802 (it stands for a class of options)
    """The option --out; `options` are typer's."""
    return typer.Option(help="Folder for results, model and pictures.", file_okay=False, **options)


Out = Annotated[Path, OutOption()]
Dataset = Annotated[
    Literal[*GREY_NAMES], typer.Option(help="Data set; the sample ships with kerasnets, the others are full.")
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs.  [default: the document's]", show_default=False)]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Images a step.  [default: the document's]", show_default=False)
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of initial weights, batch order and dropout.")]
LogEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Print the mean loss of so many batches in place of a progress bar.  [default: 100 if not a terminal]",
        show_default=False,
    ),
]


def run(main: Callable[..., None], description: str) -> None:
    """Run `main` as a command with `description` as its help."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    # \b keeps the lines of the examples as they are written.
    app.command(help=description.replace("Examples:\n", "\b\nExamples:\n"))(main)
    app()


def start(backend: str | None, device: str, precision: str = "float32") -> None:
    """Choose backend, device and precision before Keras is imported; end the program if they can't be had."""
    try:
        if backend is not None:
            backends.set_backend(backend)
        backends.set_device(device)
        backends.set_precision(precision)
    except (ModuleNotFoundError, RuntimeError) as error:
        fail(error)


def fail(error: Exception) -> NoReturn:
    """End the program with the error's message alone, as exit code 1."""
    typer.echo(f"Error: {error}", err=True)
    raise typer.Exit(1)


def train(recipe, out: Path, epochs: int | None, batch_size: int | None, seed: int, **options):
    """Run a recipe with the command line's changes, print the test accuracy, and give the ``training.Result``."""
    from kerasnets import data, training

    given = {"epochs": epochs, "batch_size": batch_size}
    changed = recipe.replace(**{name: value for name, value in given.items() if value is not None})
    try:
        result = training.train(changed, seed=seed, out=out, **options)
    except (data.DataNotFoundError, data.DamagedDataError) as error:
        fail(error)
    print(f"Test Accuracy: {result.test_accuracy:.2f}%")
    return result


def finish(result, out: Path) -> None:
    """Draw a training's pictures, and print its result beside the document's number."""
    pictures = [*save_pictures(result, out), *save_learning_curves({result.recipe.name: result.train_loss}, out)]
    recipe, document = result.recipe, "–"
    if recipe.document_accuracy is not None:
        document = f"{recipe.document_accuracy:.2f} %"
    print_table(
        f"{recipe.dataset}, {recipe.epochs} epochs, backend {result.backend} on {result.device}",
        ("network", "test accuracy", "the document's", "last training loss", "seconds an epoch"),
        [
            (
                recipe.name,
                f"{result.test_accuracy:.2f} %",
                document,
                f"{result.train_loss[-1]:.4f}",
                f"{sorted(result.epoch_seconds)[len(result.epoch_seconds) // 2]:.2f}",
            )
        ],
    )
    print_written(out, ["result.json", "model.keras", *pictures])


def save_pictures(result, out: Path) -> list[str]:
    """Draw predictions and confusion matrix of the test images into `out`; returns the files' names."""
    from kerasnets import data, plots, training

    _, (x_test, y_test) = training.load_recipe_data(result.recipe)
    predicted = result.model.predict(x_test, batch_size=500, verbose=0).argmax(axis=1)
    names = data.class_names(result.recipe.dataset)
    figures = {
        "predictions.png": plots.predictions(x_test, y_test, predicted, class_names=names),
        "confusion_matrix.png": plots.confusion_matrix(y_test, predicted, class_names=names),
    }
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=100)
    return list(figures)


def save_learning_curves(curves: dict[str, list[float]], out: Path) -> list[str]:
    """Draw the training losses by epoch, a curve a network, into `out`; returns the file's name."""
    from kerasnets import plots

    plots.learning_curves(curves).savefig(out / "learning_curves.png", dpi=100)
    return ["learning_curves.png"]


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; the first column is text, the others are aligned right. Colours only on a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)


def print_written(folder: Path, names: Iterable[str]) -> None:
    """Say which files an experiment has left."""
    print("Written: " + ", ".join(str(folder / name) for name in names))
