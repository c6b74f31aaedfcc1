"""What the experiments' command lines share: options, start, and output.

An experiment's module docstring is its ``--help``; the parameters of its function are annotated with the options below.
"""

import json
import shlex
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from kerasnets import backend as backends
from kerasnets._internal.arguments import check_known, count
from kerasnets.data.datasets import GREY_NAMES, NAMES
from kerasnets.data.errors import DataNotFoundError


def choice(kind: str, names: Collection[str]) -> dict[str, Any]:
    """Typer's arguments for an option or argument that is one of `names`: a wrong one gets "Did you mean".

    Args:
        kind: what the names are of, such as ``"backend"``.
        names: the names, which --help lists.
    """

    def parse(value: str) -> str:
        try:
            check_known(kind, value, names)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        return value

    return {"parser": parse, "metavar": f"[{'|'.join(names)}]"}


Backend = Annotated[
    str | None,
    typer.Option(
        help="Keras backend.  [default: KERAS_BACKEND, otherwise torch]",
        show_default=False,
        **choice("backend", backends.BACKENDS),
    ),
]
Device = Annotated[
    str,
    typer.Option(help="Where to compute; auto uses a GPU if there is one.", **choice("device", backends.DEVICES)),
]
Precision = Annotated[
    str,
    typer.Option(help="Precision of matrix products and convolutions.", **choice("precision", backends.PRECISIONS)),
]


def OutOption(**options):  # noqa: N802 (it stands for a class of options)
    """The option --out; `options` are further ones of typer's."""
    return typer.Option(help="Folder for results, model and pictures.", file_okay=False, **options)


Out = Annotated[Path, OutOption()]
Dataset = Annotated[
    str,
    typer.Option(help="Data set; the sample comes with kerasnets, the others are full.", **choice("data set", NAMES)),
]
#: For steps that are written for images of 28×28.
GreyDataset = Annotated[
    str,
    typer.Option(
        help="Data set; the sample comes with kerasnets, the others are full.", **choice("data set", GREY_NAMES)
    ),
]
LocalDataset = Annotated[
    str | None,
    typer.Option(
        help="Data set.  [default: the tutorial's if it is on this machine, otherwise the sample]",
        **choice("data set", NAMES),
    ),
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs.  [default: the tutorial's]", show_default=False)]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Images per step.  [default: the tutorial's]", show_default=False)
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of initial weights, batch order and dropout.")]
Lang = Annotated[
    str, typer.Option(help="Language of the pictures and the classes in them.", **choice("language", ("en", "zh")))
]
Again = Annotated[bool, typer.Option("--again", help="Train again where a finished run is, and replace it.")]
LogEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Print the mean loss of this many batches instead of a progress bar.  [default: 100 if not a terminal]",
        show_default=False,
    ),
]


def run(main: Callable[..., None], description: str) -> None:
    """Run `main` as a command with `description` as its help."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    # \b keeps the line breaks of the examples.
    app.command(help=description.replace("Examples:\n", "\b\nExamples:\n"))(main)
    app()


def start(backend: str | None, device: str, precision: str = "float32") -> None:
    """Set backend, device and precision before Keras is imported; end the program if one is not available."""
    try:
        if backend is None:
            backends.check_backend(backends.backend())  # KERAS_BACKEND's
        else:
            backends.set_backend(backend)
        backends.set_device(device)
        backends.set_precision(precision)
    except (ValueError, ModuleNotFoundError, RuntimeError) as error:
        fail(error)


def set_random_seed(seed: int) -> None:
    """``keras.utils.set_random_seed``, without importing TensorFlow on another backend."""
    from kerasnets._internal import keras_private

    keras_private.set_random_seed(seed)


def fail(error: Exception | str) -> NoReturn:
    """End the program with the error's message and exit code 1."""
    text = error.for_commands if isinstance(error, DataNotFoundError) else str(error)
    typer.echo(f"Error: {text}", err=True)
    raise typer.Exit(1)


def choose_backends(names: str, say: Callable[[str], object] = print) -> list[str]:
    """The installed ones of some backends.

    Args:
        names: names with commas between them.
        say: called with a line of text for each backend that is not installed, on how to install it.

    Raises:
        ValueError: a name is unknown.
    """
    order = names.split(",")
    for name in order:
        check_known("backend", name, backends.BACKENDS)
    for name in dict.fromkeys(name for name in order if not backends.is_installed(name)):
        say(f"The backend {name} is not installed and is left out. {backends.install_command(name)}")
    return [name for name in order if backends.is_installed(name)]


def choose_verbose() -> str | int:
    """Keras's ``verbose`` for many trainings in a row: progress bars on a terminal, otherwise nothing."""
    from kerasnets import training

    return "auto" if training.shows_progress_bars() else 0


def check_again(out: Path, again: bool) -> None:
    """End the program if a finished run is in `out`, unless it is to be replaced."""
    file = out / "result.json"
    if again or not file.is_file() or has_backup(out):
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        epochs = len(found["train_loss"])
        what = (
            f"{found['network']} on {found['dataset']}, {count(epochs, 'epoch')}, test accuracy "
            f"{found['test_accuracy']:.2f} %"
        )
    except (ValueError, KeyError, TypeError, OSError):
        what = "its result.json can't be read"
    fail(f"{out} has a finished run: {what}. Add --again to train again and replace it, or choose another --out.")


def has_backup(out: Path) -> bool:
    """Whether a run in `out` was stopped after at least one epoch, so that the same command resumes it."""
    return any((out / "backup").glob("epoch-*.backup"))


def command_line() -> str:
    """The command that was given, to be given again."""
    program, *arguments = sys.argv
    if Path(program).name == "__main__.py":
        start = ["python", "-m", Path(program).parent.name]
    else:
        start = ["python", program] if program.endswith(".py") else [Path(program).name]
    chosen = backends.backend()
    is_from_environment = chosen != backends.DEFAULT_BACKEND and not any("--backend" in word for word in arguments)
    return (f"KERAS_BACKEND={chosen} " if is_from_environment else "") + shlex.join([*start, *arguments])


def train(recipe, out: Path | None, epochs: int | None, batch_size: int | None, seed: int, **options):
    """Run a recipe with the changes of the command line, and print the test accuracy.

    Args:
        recipe: the recipe.
        out: folder for result and model, and for the learning curves of training and test; None to write none.
        epochs: number of epochs; None for the recipe's.
        batch_size: images per step; None for the recipe's.
        seed: the seed.
        options: further ones of :func:`kerasnets.train`.

    Returns:
        The ``training.Result``.
    """
    from kerasnets import data, training

    given = {"epochs": epochs, "batch_size": batch_size}
    changed = recipe.replace(**{name: value for name, value in given.items() if value is not None})
    try:
        result = training.train(changed, seed=seed, out=out, **{"test_each_epoch": out is not None, **options})
    except (data.DataNotFoundError, data.DamagedDataError) as error:
        fail(error)
    except KeyboardInterrupt:
        resumes = out is not None and has_backup(out)
        kept = "Stopped. The finished epochs are kept; this goes on" if resumes else "Stopped. This starts again"
        typer.echo(f"\n{kept}: {command_line()}", err=True)
        raise typer.Exit(130) from None
    print(f"Test Accuracy: {result.test_accuracy:.2f}%")
    return result


def make_training_command(
    networks: Collection[str], folder: str, *, default: str | None = None, dataset: str | None = None
) -> Callable[..., None]:
    """Make the command that trains a network as its tutorial does.

    Args:
        networks: the networks to choose from.
        folder: without --out, the run is in the folder of the network's name below this one.
        default: the network without --network; None makes the network an argument instead, which must be given.
        dataset: the data set without --dataset; None for the tutorial's, or the sample if that is not on this machine.
    """
    names = choice("network", networks)
    if default is None:
        network_type: Any = Annotated[str, typer.Argument(help="Which network.", **names | {"metavar": "NETWORK"})]
    else:
        network_type = Annotated[str, typer.Option(help="Which network.", **names)]
    dataset_type: Any = LocalDataset if dataset is None else Dataset

    def train_network(
        network: network_type = default or ...,
        backend: Backend = None,
        device: Device = "auto",
        precision: Precision = "float32",
        out: Annotated[Path | None, OutOption(show_default=f"{folder}/NETWORK")] = None,
        dataset: dataset_type = dataset,
        epochs: Epochs = None,
        batch_size: BatchSize = None,
        seed: Seed = 0,
        log_every: LogEvery = None,
        lang: Lang = "en",
        again: Again = False,
    ) -> None:
        """Train a network as its tutorial does, test it, and draw pictures.

        A run that was stopped goes on when the same command is given again.
        """
        from kerasnets import data
        from kerasnets.training import recipes

        start(backend, device, precision)
        out = out or Path(folder) / network
        check_again(out, again)
        recipe = recipes.find(network, dataset or data.find_local_or_sample(recipes.find(network).dataset))
        print(f"{network} on {recipe.dataset}, {count(epochs or recipe.epochs, 'epoch')}, into {out}")
        finish(train(recipe, out, epochs, batch_size, seed, log_every=log_every), out, lang=lang)

    return train_network


def finish(result, out: Path, others: Iterable[str] = (), lang: str = "en") -> None:
    """Draw the pictures of a training, and print its result next to the tutorial's.

    Args:
        result: the ``training.Result``.
        out: the folder.
        others: the names of files that are there already, to be listed with the pictures.
        lang: language of the pictures.
    """
    recipe = result.recipe
    pictures = [*save_pictures(result, out, lang), *save_learning_curves(result.losses, out, lang, title_of(recipe))]
    print_table(
        f"{recipe.dataset}, {count(recipe.epochs, 'epoch')}, backend {result.backend} on {result.device}",
        ("network", "test accuracy", "tutorial", "last training loss", "seconds per epoch"),
        [
            (
                recipe.name,
                f"{result.test_accuracy:.2f} %",
                format_tutorial_accuracy(recipe),
                f"{result.train_loss[-1]:.4f}",
                f"{sorted(result.epoch_seconds)[len(result.epoch_seconds) // 2]:.2f}",
            )
        ],
    )
    print_written(out, ["result.json", "model.keras", *others, *pictures])


def format_tutorial_accuracy(recipe) -> str:
    """The tutorial's test accuracy, or a dash if the tutorial has none."""
    return "–" if recipe.document_accuracy is None else f"{recipe.document_accuracy:.2f} %"


def save_pictures(result, out: Path, lang: str = "en") -> list[str]:
    """Draw predictions and confusion matrix of the test images into `out`; returns the names of the files."""
    from kerasnets import data, plots

    lang = plots.canvas.choose_language(lang)
    names = data.class_names(result.recipe.dataset, lang)
    options: dict[str, Any] = {"class_names": names, "title": title_of(result.recipe), "lang": lang}
    labels, predicted = result.test_labels, result.predicted
    figures = {
        "predictions.png": plots.predictions(result.test_images, labels, predicted, **options),
        "confusion_matrix.png": plots.confusion_matrix(labels, predicted, **options),
    }
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=100)
    return list(figures)


def title_of(recipe) -> str:
    """The network and the data set of a recipe, for a picture's title."""
    return f"{recipe.name}, {recipe.dataset}"


def save_learning_curves(
    losses: dict, out: Path, lang: str, title: str, file: str = "learning_curves.png", log: bool = False
) -> list[str]:
    """Draw losses by epoch into a file; returns its name.

    Args:
        losses: as :func:`plots.learning_curves` takes them, such as ``Result.losses``.
        out: the folder.
        lang: language of the labels.
        title: the network and the data set.
        file: the name of the file.
        log: whether the losses have a logarithmic axis.
    """
    from kerasnets import plots

    figure = plots.learning_curves(losses, validation=plots.canvas.words(lang)["test"], title=title, lang=lang)
    if log:
        figure.axes[0].set_yscale("log")
    figure.savefig(out / file, dpi=100)
    return [file]


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with its first column aligned left and the others right; in colours if on a terminal.

    It is as wide as its cells; on a narrower terminal they wrap.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    console = Console()
    # Elsewhere rich takes 80 columns for the width.
    (console if console.is_terminal else Console(width=1000)).print(table)


def print_written(folder: Path, names: Iterable[str]) -> None:
    """Print the names of the files that an experiment wrote."""
    print("Written: " + ", ".join(str(folder / name) for name in names))
