"""Train a network with many settings and compare what they reach: a grid, or a search with pruning.

Without --grid and --search the settings are those of "How to create a neural network with PyTorch", section 7.2.3:
learning rates 0.1, 0.01 and 0.001, batch sizes 32, 64 and 128, SGD and Adam at 0.01, and StepLR or none, each varied by
itself, from SGD without momentum at 0.01. Sweeps need Optuna: pip install '.[sweep]'.

A sweep that was stopped or killed goes on when the same command is given again. The same command in a second terminal
adds a worker; with --storage, the URL of a database server, also on another host. best.json in --out has the best
recipe, which kerasnets.train takes.

Examples:
  python experiments/sweep.py --dataset fashion_mnist_sample
  python experiments/sweep.py --grid learning_rate=0.1,0.01 --grid batch_size=32,64 --seeds 3 --workers 2
  python experiments/sweep.py --grid backend=torch,jax --grid optimizer=SGD,Adam --grid options.dropout=0,0.4
                              --network ConvNeuralNetwork
  python experiments/sweep.py --search learning_rate=1e-4:1:log --search batch_size=32:256 --trials 30 --held-out 5000
  python experiments/sweep.py --storage postgresql+psycopg://user@host/sweeps
"""

import ast
from pathlib import Path
from typing import Annotated, Any

import typer

import kerasnets
from kerasnets import backend as backends, cli, networks
from kerasnets.training import recipes

#: The tutorial's settings, each varied alone; its optimizers have no momentum.
TUTORIAL = [
    {"learning_rate": [0.1, 0.01, 0.001]},
    {"batch_size": [32, 64, 128]},
    {"optimizer": ["SGD", "Adam"]},
    {"schedule": [None, "StepLR(step_size=10, gamma=0.1)"]},
]
PLAIN_SGD = {"optimizer": "SGD", "optimizer_options": {"learning_rate": 0.01}}


def main(
    network: Annotated[
        str, typer.Option(help="Which network.", **cli.choice("network", networks.list_networks()))
    ] = "NeuralNetwork",
    grid: Annotated[
        list[str] | None,
        typer.Option(help="A name and its values: NAME=VALUE,VALUE. Several make a grid.", metavar="NAME=VALUES"),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(help="A name and its range: NAME=LOW:HIGH or NAME=LOW:HIGH:log.", metavar="NAME=RANGE"),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of a search.  [default: the whole grid]", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds for each setting of a grid, from --seed on.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Trials at once on this machine.")] = 1,
    held_out: Annotated[
        int, typer.Option(min=0, help="Training images to compare on; 0 for the test images, as in the tutorial.")
    ] = 0,
    storage: Annotated[
        str | None, typer.Option(help="URL of a database.  [default: SQLite in --out]", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the sweep in the database.")] = "sweep",
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    out: Annotated[Path | None, cli.OutOption(show_default="out/sweep/NETWORK")] = None,
    dataset: cli.LocalDataset = None,
    epochs: cli.Epochs = None,
    batch_size: cli.BatchSize = None,
    seed: cli.Seed = 0,
    lang: cli.Lang = "en",
) -> None:
    """Run a sweep, print a table, draw pictures."""
    out = out or Path("out/sweep") / network
    try:
        # Not cli.start, which imports Keras: only the trials' processes do.
        (backends.check_backend if backend is None else backends.set_backend)(backend or backends.backend())
        backends.set_device(device)
        space = make_space(grid or [], search or [], range(seed, seed + seeds))
        recipe = make_recipe(network, dataset, epochs, batch_size, is_tutorial=not grid and not search)
        result = kerasnets.sweep(
            recipe, space, out=out, trials=trials, workers=workers, storage=storage, name=name, seed=seed,
            held_out=held_out,
        )  # fmt: skip
    except (ValueError, TypeError, RuntimeError, ModuleNotFoundError) as error:
        cli.fail(error)
    except KeyboardInterrupt:
        typer.echo(f"\nStopped. The finished trials and epochs are kept; this goes on: {cli.command_line()}", err=True)
        raise typer.Exit(130) from None
    columns, rows = result.table()
    cli.print_table(f"{network} on {recipe.dataset}, {len(rows)} trials", columns, rows)
    print(f"Best: {result}")
    cli.print_written(out, ["sweep.json", "best.json", *result.draw(lang)])


def make_recipe(network: str, dataset: str | None, epochs: int | None, batch_size: int | None, is_tutorial: bool):
    """The network's recipe with the changes of the command line; for the tutorial's settings, with its plain SGD."""
    from kerasnets import data

    recipe = recipes.find(network, dataset or data.find_local_or_sample(recipes.find(network).dataset))
    given = {"epochs": epochs, "batch_size": batch_size, **(PLAIN_SGD if is_tutorial else {})}
    return recipe.replace(**{name: value for name, value in given.items() if value is not None})


def make_space(grid: list[str], search: list[str], seeds: range) -> list[dict[str, Any]]:
    """The space that the options describe, or the tutorial's."""
    if not grid and not search:
        space: list[dict[str, Any]] = [dict(each) for each in TUTORIAL]
    else:
        space = [{**dict(map(parse_values, grid)), **dict(map(parse_range, search))}]
    if len(seeds) > 1:
        space = [{**each, "seed": list(seeds)} for each in space]
    return space


def parse_values(text: str) -> tuple[str, list[Any]]:
    """``"optimizer=SGD,Adam"`` as ``("optimizer", ["SGD", "Adam"])``; lists and calls may have commas."""
    name, equals, values = text.partition("=")
    try:
        if not equals:
            raise SyntaxError
        call = ast.parse(f"f({values})", mode="eval").body
        assert isinstance(call, ast.Call)
        return name, [parse_value(value) for value in call.args]
    except (SyntaxError, ValueError):
        raise ValueError(f"--grid {text}: expected NAME=VALUE,VALUE, such as learning_rate=0.1,0.01.") from None


def parse_value(node: ast.expr) -> Any:
    """A name such as SGD, a call such as StepLR(10), or what Python reads as a value."""
    if isinstance(node, ast.Name | ast.Call):
        return ast.unparse(node)
    return ast.literal_eval(node)


def parse_range(text: str) -> tuple[str, Any]:
    """``"learning_rate=1e-4:1:log"`` as the name and Optuna's distribution; of whole numbers if both ends are."""
    from optuna.distributions import FloatDistribution, IntDistribution

    name, _, bounds = text.partition("=")
    try:
        low, high, *scale = bounds.split(":")
        log = {(): False, ("log",): True}[tuple(scale)]
        try:
            return name, IntDistribution(int(low), int(high), log=log)
        except ValueError:
            return name, FloatDistribution(float(low), float(high), log=log)
    except (KeyError, ValueError):
        raise ValueError(
            f"--search {text}: expected NAME=LOW:HIGH or NAME=LOW:HIGH:log, such as learning_rate=1e-4:1:log."
        ) from None


if __name__ == "__main__":
    cli.run(main, __doc__)
