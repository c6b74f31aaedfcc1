"""Train the documents' networks on full data, several seeds each, and hold the results to native PyTorch's.

Adds a line per training to docs/results.json (what is there is not trained again), then writes docs/results.md and the
table of both READMEs from it. Ends with exit code 1 where a mean is further from native PyTorch's than chance allows.

Examples:
  KERASNETS_DATA=path/to/data python experiments/reproduce.py
  python experiments/reproduce.py --backend jax --network ConvNeuralNetwork
  python experiments/reproduce.py --no-train
"""

import dataclasses
import json
import math
import statistics
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import backend as backends
from kerasnets import cli
from kerasnets._internal import atomic
from kerasnets.training import recipes

ROOT = Path(__file__).parent.parent
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: a recipe, how many seeds, and native PyTorch's results by seed from 0 on."""

    network: str
    dataset: str
    seeds: int
    native_accuracy: tuple[float, ...]
    native_loss: tuple[float, ...]

    @property
    def recipe(self) -> recipes.Recipe:
        """The recipe of the row."""
        return recipes.find(self.network, self.dataset)


#: Native: the documents' own programs in PyTorch 2.15, measured on 2 CPU cores; accuracy in percent on the test images,
#: and the training loss of the last epoch.
ROWS = (
    Row("NeuralNetwork", "mnist", 5, (97.05, 97.49, 97.56, 97.54, 97.37), (0.069, 0.068, 0.068, 0.066, 0.068)),
    Row("NeuralNetwork", "fashion_mnist", 5, (87.67, 86.85, 87.72, 86.67, 86.89), (0.294, 0.291, 0.296, 0.294, 0.292)),
    Row("NeuralNetwork_v1", "fashion_mnist", 5, (87.15, 87.74, 87.50), (0.294, 0.297, 0.295)),
    Row("ConvNeuralNetwork", "fashion_mnist", 3, (91.85, 91.90, 92.11), (0.189, 0.188, 0.191)),
    Row("FashionNetwork", "fashion_mnist", 5, (87.43, 87.26, 87.50), (0.262, 0.262, 0.268)),
)


def main(
    network: Annotated[
        Literal["NeuralNetwork", "NeuralNetwork_v1", "ConvNeuralNetwork", "FashionNetwork"] | None,
        typer.Option(help="Train this network only.  [default: all]"),
    ] = None,
    train: Annotated[bool, typer.Option(help="Train what is missing, or only write the tables.")] = True,
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    out: cli.Out = ROOT / "docs",
) -> None:
    """Train what is missing, write the tables, check the bounds."""
    cli.start(backend, device)
    results = out / "results.json"
    if train:
        out.mkdir(parents=True, exist_ok=True)
        for row in ROWS:
            if network in (None, row.network):
                train_row(row, results)
    runs = read(results)
    table, broken = render(runs)
    write_tables(table, broken, runs, out)
    for line in broken:
        typer.echo(f"Out of bounds: {line}", err=True)
    raise typer.Exit(1 if broken else 0)


def read(results: Path) -> list[dict]:
    """The runs that the file has; none where there is no file."""
    return json.loads(results.read_text()) if results.exists() else []


def train_row(row: Row, results: Path) -> None:
    """Train the row's recipe with every seed that `results` doesn't have on the active backend and device."""
    from kerasnets import data, training

    try:
        arrays = data.load_data(row.dataset)
    except (data.DataNotFoundError, data.DamagedDataError) as error:
        cli.fail(error)
    here = (backends.backend(), backends.device())
    for seed in range(row.seeds):
        runs = read(results)
        if any(is_of(run, row, *here) and run["seed"] == seed for run in runs):
            continue
        result = training.train(row.recipe, seed=seed, arrays=arrays, verbose=0)
        print(f"{row.network}, {row.dataset}, {result.backend}, seed {seed}: {result.test_accuracy:.2f} %", flush=True)
        kept = result.to_dict()
        del kept["recipe"], kept["epoch_seconds"]  # how fast it is, is the benchmark's to say
        runs.append({**kept, "date": date.today().isoformat(), "machine": backends.machine()})
        atomic.write_json(results, runs)


def is_of(run: dict, row: Row, backend: str, device: str = "cpu") -> bool:
    """Whether a run belongs to a row, backend and device."""
    return (run["network"], run["dataset"], run["backend"], run["device"]) == (
        row.network,
        row.dataset,
        backend,
        device,
    )


def mean_and_sd(values) -> str:
    """``97.40 ± 0.21 (5)``: mean, standard deviation and number of the values."""
    sd = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{sd} ({len(values)})"


def render(runs: list[dict]) -> tuple[list[str], list[str]]:
    """The table's lines, of runs on a CPU, and a line for each mean that is out of bounds.

    A mean must lie within 3 standard errors of the difference √(s²/n + s₀²/n₀), and within 1 point, of native
    PyTorch's; FashionNetwork's training loss in the last epoch within 0.01 of 0.264.
    """
    lines = [
        "| network, data, epochs | the document | native PyTorch | kerasnets on torch | on JAX | on TensorFlow |",
        "|---|---|---|---|---|---|",
    ]
    broken = []
    for row in ROWS:
        native, cells = row.native_accuracy, []
        for backend in backends.BACKENDS:
            of_row = [run for run in runs if is_of(run, row, backend)]
            if not of_row:
                cells.append("not measured")
                continue
            accuracy = [run["test_accuracy"] for run in of_row]
            loss = statistics.mean(run["train_loss"][-1] for run in of_row)
            cells.append(f"{mean_and_sd(accuracy)}, loss {loss:.3f}")
            name = f"{row.network}, {row.dataset}, {backend}"
            if len(accuracy) > 1:
                error = math.sqrt(
                    statistics.variance(accuracy) / len(accuracy) + statistics.variance(native) / len(native)
                )
                apart = abs(statistics.mean(accuracy) - statistics.mean(native))
                if apart > min(3 * error, 1.0):
                    broken.append(f"{name}: {apart:.2f} points apart, standard error {error:.2f}")
            if row.network == "FashionNetwork" and abs(loss - 0.264) > 0.01:
                broken.append(f"{name}: training loss {loss:.4f}")
        recipe = row.recipe
        document = f"{recipe.document_accuracy:.2f}" if recipe.document_accuracy else "–"
        if recipe.document_train_loss:
            document = f"loss {recipe.document_train_loss:.4f}"
        first = f"{row.network}, {row.dataset}, {recipe.epochs}"
        first_native = f"{mean_and_sd(native)}, loss {statistics.mean(row.native_loss):.3f}"
        lines.append("| " + " | ".join((first, document, first_native, *cells)) + " |")
    return lines, broken


def write_tables(table: list[str], broken: list[str], runs: list[dict], out: Path) -> None:
    """Write results.md into `out`, and the table between the two marks of each README."""
    machines = sorted({f"{run['machine']}, device {run['device']}" for run in runs})
    versions = {name: version for run in runs for name, version in run["versions"].items()}
    page = [
        "# The documents' results, reproduced",
        "",
        "Written by `nox -s reproduce` (`experiments/reproduce.py`) from `results.json`, which has every run.",
        "Test accuracy in percent, mean ± standard deviation (number of seeds), and the mean training loss of",
        "the last epoch. The seeds are 0, 1, 2, …; the documents' numbers are of one run each. Native PyTorch",
        "is the document's own program, in PyTorch 2.15, on 2 CPU cores.",
        "",
        *table,
        "",
        "Held to native PyTorch: each mean within 3 standard errors of the difference and within 1 point, and",
        "FashionNetwork's last training loss within 0.01 of 0.264. "
        + (f"Out of bounds: {'; '.join(broken)}." if broken else "All rows hold."),
        "",
        f"Machine: {'; '.join(machines)}. "
        f"Versions: {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}.",
        "",
    ]
    atomic.write_bytes(out / "results.md", "\n".join(page).encode())
    for readme in READMES:
        atomic.replace_marked(readme, "results", table)


if __name__ == "__main__":
    cli.run(main, __doc__)
