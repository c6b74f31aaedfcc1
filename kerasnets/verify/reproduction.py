"""The tutorials' results, trained again on the full data sets and compared with native PyTorch's."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Any

from kerasnets import backend as backends
from kerasnets.training import recipes
from kerasnets.verify.markdown import format_table


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        network: the network's name.
        dataset: the data set's name.
        seeds: number of seeds to train with, from 0 on.
        native_accuracy: native PyTorch's test accuracy in percent, by seed; empty if it was not measured.
        native_loss: native PyTorch's training loss of the last epoch, by seed; empty if it was not measured.
    """

    network: str
    dataset: str
    seeds: int
    native_accuracy: tuple[float, ...] = ()
    native_loss: tuple[float, ...] = ()

    @property
    def recipe(self) -> recipes.Recipe:
        """The row's recipe."""
        return recipes.find(self.network, self.dataset)

    def select(self, runs: Sequence[dict[str, Any]], backend: str, device: str = "cpu") -> list[dict[str, Any]]:
        """The runs of this row on a backend and device."""
        key = (self.network, self.dataset, backend, device)
        return [run for run in runs if (run["network"], run["dataset"], run["backend"], run["device"]) == key]


#: Native results are those of the tutorials' own programs in PyTorch 2.15, measured on 2 CPU cores.
ROWS = (
    Row("NeuralNetwork", "mnist", 5, (97.05, 97.49, 97.56, 97.54, 97.37), (0.069, 0.068, 0.068, 0.066, 0.068)),
    Row("NeuralNetwork", "fashion_mnist", 5, (87.67, 86.85, 87.72, 86.67, 86.89), (0.294, 0.291, 0.296, 0.294, 0.292)),
    Row("NeuralNetwork_v1", "fashion_mnist", 5, (87.15, 87.74, 87.50), (0.294, 0.297, 0.295)),
    Row(
        "ConvNeuralNetwork",
        "fashion_mnist",
        5,
        (91.85, 91.90, 92.11, 91.60, 91.79, 91.34),
        (0.189, 0.188, 0.191, 0.189, 0.187, 0.189),
    ),
    Row("FashionNetwork", "fashion_mnist", 5, (87.43, 87.26, 87.50), (0.262, 0.262, 0.268)),
    Row("ConvNeuralNetwork", "cifar10", 3),
)


def make_table(runs: list[dict[str, Any]], short: bool = False) -> list[str]:
    """The table in Markdown, of the runs on a CPU.

    Args:
        runs: dicts like ``training.Result.to_dict()``.
        short: accuracies only, without training losses, numbers of seeds and rows that were not measured.
    """
    head = ("network, data, epochs", "tutorial", "native PyTorch", "kerasnets on torch", "on JAX", "on TensorFlow")
    rows = [row for row in ROWS if row.native_accuracy or not short]
    return format_table(head, [_make_cells(row, runs, short) for row in rows])


def _make_cells(row: Row, runs: list[dict[str, Any]], short: bool) -> list[str]:
    recipe = row.recipe
    tutorial = f"{recipe.document_accuracy:.2f}" if recipe.document_accuracy else "–"
    if recipe.document_train_loss:
        tutorial = "–" if short else f"loss {recipe.document_train_loss:.4f}"
    cells = [
        f"{row.network}, {row.dataset}, {recipe.epochs}",
        tutorial,
        _format_results(row.native_accuracy, row.native_loss, short),
    ]
    for backend in backends.BACKENDS:
        found = row.select(runs, backend)
        accuracies, losses = [run["test_accuracy"] for run in found], [run["train_loss"][-1] for run in found]
        cells.append(_format_results(accuracies, losses, short))
    return cells


def _format_results(accuracies: Sequence[float], losses: Sequence[float], short: bool) -> str:
    if not accuracies:
        return "not measured"
    if short:
        return format_mean(accuracies).rsplit(" ", 1)[0]
    return f"{format_mean(accuracies)}, loss {statistics.mean(losses):.3f}"


def format_mean(values: Sequence[float]) -> str:
    """``97.40 ± 0.21 (5)``: mean, standard deviation and number of values."""
    sd = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{sd} ({len(values)})"


def find_broken(runs: list[dict[str, Any]]) -> list[str]:
    """Describe each mean that is out of bounds.

    A mean must be within 3 standard errors of the difference √(s²/n + s₀²/n₀), and within 1 point, of native PyTorch's.
    FashionNetwork's training loss in the last epoch must be within 0.01 of 0.264. A row without native results has no
    bounds.
    """
    broken = []
    for row in ROWS:
        for backend in backends.BACKENDS:
            found = row.select(runs, backend)
            name = f"{row.network}, {row.dataset}, {backend}"
            accuracies, native = [run["test_accuracy"] for run in found], row.native_accuracy
            if len(accuracies) > 1 and len(native) > 1:
                error = math.sqrt(
                    statistics.variance(accuracies) / len(accuracies) + statistics.variance(native) / len(native)
                )
                apart = abs(statistics.mean(accuracies) - statistics.mean(native))
                if apart > min(3 * error, 1.0):
                    broken.append(f"{name}: {apart:.2f} points apart, standard error {error:.2f}")
            loss = statistics.mean(run["train_loss"][-1] for run in found) if found else 0.264
            if row.network == "FashionNetwork" and abs(loss - 0.264) > 0.01:
                broken.append(f"{name}: training loss {loss:.4f}")
    return broken
