"""Runs a sweep: the call, its checks, and its result."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kerasnets import backend as backends
from kerasnets._internal.arguments import check_integer, check_path
from kerasnets.training import recipes
from kerasnets.training.recipes import Recipe
from kerasnets.training.sweeps.space import Grid

if TYPE_CHECKING:
    from kerasnets.training.sweeps.plan import Plan
    from kerasnets.training.sweeps.report import Sweep


def sweep(
    recipe: Recipe | str | os.PathLike, space: Grid | Sequence[Grid], *, out: str | os.PathLike,
    trials: int | None = None, workers: int = 1, storage: str | None = None, name: str = "sweep", seed: int = 0,
    held_out: int = 0, sampler: Any = None, pruner: Any = None, arrays: Any = None, heartbeat: int = 10,
    grace: int | None = None, progress: bool = True,
) -> "Sweep":  # fmt: skip
    """Train a recipe many times, with other settings each time, on Optuna.

    What is killed goes on: start the same sweep again. A further worker is the same call in another process or, with a
    database server, on another host. docs/tuning.md has examples.

    Args:
        recipe: what to train, or a JSON file that has a recipe.
        space: a dict from names to lists of values, the grid of all their combinations; or a list of dicts, whose grids
            are joined. A name is an attribute of the recipe, an option (``"options.dropout"``), ``"learning_rate"``,
            ``"schedule"`` (None or ``"StepLR(10, 0.1)"``), ``"seed"``, or ``"backend"``. In a search a name may have a
            distribution of ``optuna.distributions``.
        out: folder for the runs and, unless `storage` is given, for the database.
        trials: number of trials of a search; None for the whole grid.
        workers: how many trials run at once, here.
        storage: URL of the database; default: SQLite, the file ``sweep.db`` in `out`.
        name: the study's name in the database.
        seed: seed of the trainings, unless ``"seed"`` is in `space`, and of the search.
        held_out: compare on this many training images, the last ones, which are then not trained on; 0 for the test
            images, as in the tutorials.
        sampler: Optuna's sampler of a search; default: TPE.
        pruner: Optuna's pruner of a search; default: the median pruner.
        arrays: ``((x, y), (x_test, y_test))`` to use instead of the recipe's data set.
        heartbeat: seconds between a trial's signs of life.
        grace: seconds without one after which another worker takes a trial over; default: three heartbeats.
        progress: show a progress bar if on a terminal.

    Returns:
        The results, once no cell is left: this waits for what other workers have taken.

    Raises:
        ValueError: a name or value is wrong, or the storage holds another sweep or is SQLite on a network file system.
        ModuleNotFoundError: a backend or the database's driver is not installed.
        RuntimeError: the storage can't be reached, or no trial was trained to its end.

    Examples:
        >>> recipe = kerasnets.recipes.find("NeuralNetwork", "fashion_mnist_sample")
        >>> result = kerasnets.sweep(recipe, {"learning_rate": [0.1, 0.01]}, out="out/sweep")  # doctest: +SKIP
    """
    grace = 3 * check_integer("heartbeat", heartbeat) if grace is None else grace
    for argument, value, low in (("workers", workers, 1), ("grace", grace, heartbeat + 1), ("held_out", held_out, 0)):
        check_integer(argument, value, low=low)
    folder, base = check_path("out", out), recipes.check_recipe(recipe)
    plan = _make_plan(base, space, trials, seed, held_out)
    from kerasnets.training.sweeps import plan as plans, report, storage as storages, workers as crew

    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{(folder / 'sweep.db').absolute()}" if storage is None else storage
    with storages.quiet():
        options = plans.choose_sampler(trials, sampler, pruner)
        cells = storages.Cells(storages.open_storage(url, heartbeat, grace), name, *options)
        with crew.Workers(plan, cells, folder, arrays, grace, reseed=sampler is None) as team:
            if not cells.exist():
                team.check()
            study = cells.create(plan.to_dict(), plan.trials)
            team.run(workers, study, progress)
        result = report.Sweep.from_study(study, plan.names, folder)
    result.save()
    return result


def _make_plan(recipe: Recipe, space: Any, trials: int | None, seed: int, held_out: int) -> "Plan":
    backends.check_backend(backends.backend())
    _check_optuna()
    from kerasnets.training.sweeps.plan import Plan

    return Plan(recipe, space, trials, seed, held_out)


def _check_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Sweeps need Optuna. Install it with, in a clone of kerasnets: pip install -e '.[sweep]' (elsewhere: pip "
            "install optuna).",
            name="optuna",
        ) from error
