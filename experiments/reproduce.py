"""Train the tutorials' networks on the full data sets, with several seeds each, and compare with native PyTorch.

Adds each run to docs/results.json (seeds that are already there are not trained again), then writes docs/results.md and
a shorter table in both READMEs. Ends with exit code 1 if a mean differs from native PyTorch's by more than chance.

Examples:
  KERASNETS_DATA=path/to/data python experiments/reproduce.py
  python experiments/reproduce.py --backend jax --network ConvNeuralNetwork
  python experiments/reproduce.py --no-train
"""

import json
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import backend as backends, cli
from kerasnets._internal import atomic
from kerasnets.verify import reproduction

ROOT = Path(__file__).parent.parent
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")


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
        for row in reproduction.ROWS:
            if network in (None, row.network):
                train_row(row, results)
    runs = read_runs(results)
    broken = reproduction.find_broken(runs)
    write_page(reproduction.make_table(runs), broken, runs, out)
    write_readmes(reproduction.make_table(runs, short=True))
    for line in broken:
        typer.echo(f"Out of bounds: {line}", err=True)
    raise typer.Exit(1 if broken else 0)


def read_runs(results: Path) -> list[dict]:
    """The runs in a file; none if there is no file."""
    return json.loads(results.read_text()) if results.exists() else []


def train_row(row: reproduction.Row, results: Path) -> None:
    """Train a row's recipe with each seed that `results` doesn't have for the active backend and device.

    A row whose data set is not there is left out, with a message that says so.
    """
    from kerasnets import data, training

    try:
        arrays = data.load_data(row.dataset)
    except data.DataNotFoundError as error:
        typer.echo(f"{row.network}, {row.dataset}: left out. {error.for_commands}", err=True)
        return
    except data.DamagedDataError as error:
        cli.fail(error)
    for seed in range(row.seeds):
        runs = read_runs(results)
        if any(run["seed"] == seed for run in row.select(runs, backends.backend(), backends.device())):
            continue
        result = training.train(row.recipe, seed=seed, arrays=arrays, verbose=0)
        print(f"{row.network}, {row.dataset}, {result.backend}, seed {seed}: {result.test_accuracy:.2f} %", flush=True)
        kept = result.to_dict()
        del kept["recipe"], kept["epoch_seconds"]  # speed is measured by the benchmark
        runs.append({**kept, "date": date.today().isoformat(), "machine": backends.machine()})
        atomic.write_json(results, runs)


def write_readmes(table: list[str]) -> None:
    """Write the table between the marks of each README."""
    for readme in READMES:
        atomic.replace_marked(readme, "results", table)


def write_page(table: list[str], broken: list[str], runs: list[dict], out: Path) -> None:
    """Write results.md into `out`."""
    machines = sorted({f"{run['machine']}, device {run['device']}" for run in runs})
    versions = {name: version for run in runs for name, version in run["versions"].items()}
    page = [
        "# The tutorials' results, reproduced",
        "",
        "Written by `nox -s reproduce` (`experiments/reproduce.py`) from `results.json`, which has every run.",
        "Test accuracy in percent, as mean ± standard deviation (number of seeds), and the mean training loss of",
        "the last epoch. The seeds are 0, 1, 2, …; the tutorials' numbers are from one run each. Native PyTorch",
        "is the tutorial's own program, in PyTorch 2.15, on 2 CPU cores. No tutorial trains on CIFAR-10.",
        "ConvNeuralNetwork had three runs on each side at first. Those on torch were within 0.05 points of each other,",
        "so that the bound was broken (0.33 points, standard error 0.08); then two seeds and three native runs were",
        "added.",
        "",
        *table,
        "",
        "Bounds: each mean within 3 standard errors of the difference from native PyTorch's and within 1 point, and",
        "FashionNetwork's last training loss within 0.01 of 0.264. "
        + (f"Out of bounds: {'; '.join(broken)}." if broken else "All measured rows are within bounds."),
        "",
        f"Machine: {'; '.join(machines)}. "
        f"Versions: {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}.",
        "",
    ]
    atomic.write_bytes(out / "results.md", "\n".join(page).encode())


if __name__ == "__main__":
    cli.run(main, __doc__)
