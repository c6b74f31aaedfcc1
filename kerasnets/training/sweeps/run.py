"""Runs a sweep: makes its cells, trains them with several workers, and gathers the results."""

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasnets import backend as backends
from kerasnets._internal.arguments import check_integer, check_path
from kerasnets.training import recipes
from kerasnets.training.recipes import Recipe
from kerasnets.training.sweeps import processes, space as spaces, storage as storages
from kerasnets.training.sweeps.report import Sweep, show_progress
from kerasnets.training.sweeps.storage import FrozenTrial, TrialState, optuna

#: Seconds between looks at the study, by a worker that has nothing to do and by the progress bar.
_LOOK = 1.0
#: How often a trial whose process dies is started again by its worker.
_DEATHS = 3


def sweep(
    recipe: Recipe | str | os.PathLike,
    space: spaces.Grid | Sequence[spaces.Grid],
    *,
    out: str | os.PathLike,
    trials: int | None = None,
    workers: int = 1,
    storage: str | None = None,
    name: str = "sweep",
    seed: int = 0,
    held_out: int = 0,
    sampler: Any = None,
    pruner: Any = None,
    arrays: Any = None,
    heartbeat: int = 10,
    grace: int | None = None,
    progress: bool = True,
) -> Sweep:
    """Train a recipe many times, with other settings each time, on Optuna.

    Each trial is a process of its own, with its own backend. What is killed goes on: start the same sweep again. A
    further worker is the same call in another process or, with a database server, on another host.

    Args:
        recipe: what to train, or a JSON file that has a recipe.
        space: a dict from names to lists of values: the grid of all their combinations; or a list of such dicts, whose
            grids are joined. A name is an attribute of the recipe, an option (``"options.dropout"``,
            ``"optimizer_options.momentum"``), ``"learning_rate"``, ``"schedule"`` (None or ``"StepLR(10, 0.1)"``),
            ``"seed"``, or ``"backend"``. In a search a name may have a distribution of ``optuna.distributions``.
        out: folder for the runs and, unless `storage` is given, for the database.
        trials: number of trials of a search; None for the whole grid.
        workers: how many trials run at once, here.
        storage: URL of the database; default: SQLite, the file ``sweep.db`` in `out`.
        name: the study's name in the database.
        seed: seed of the trainings if ``"seed"`` isn't in `space`, and of the search.
        held_out: compare the trials on this many training images, the last ones, which are then not trained on. With 0
            they are compared on the test images, as in the tutorials; the best one's accuracy is then too good by a
            little.
        sampler: Optuna's sampler of a search; default: TPE.
        pruner: Optuna's pruner of a search; default: the median pruner.
        arrays: ``((x, y), (x_test, y_test))`` to use instead of the recipe's data set.
        heartbeat: seconds between a trial's signs of life.
        grace: seconds without one after which another worker takes a trial over; default: three heartbeats.
        progress: show a progress bar if on a terminal.

    Returns:
        The results, once no cell is left: this waits for what other workers have taken.

    Raises:
        ValueError: a name or value is wrong, the storage holds another sweep by this name, or is SQLite on a network
            file system.
        TypeError: an argument has the wrong type.
        ModuleNotFoundError: a backend or the database's driver is not installed.
        RuntimeError: the storage can't be reached, or every trial failed.
    """
    base = recipes.load(recipe) if isinstance(recipe, str | os.PathLike) else recipe
    if not isinstance(base, Recipe):
        raise TypeError(f"The recipe is a {type(base).__name__}; expected one as kerasnets.recipes.find() gives.")
    folder = check_path("out", out)
    for argument, value, low in (
        ("workers", workers, 1), ("seed", seed, 0), ("held_out", held_out, 0), ("heartbeat", heartbeat, 1),
        ("grace", 3 * heartbeat if grace is None else grace, heartbeat + 1),
    ):  # fmt: skip
        check_integer(argument, value, low=low)
    backends.check_backend(backends.backend())
    plan = Plan(base, space, trials, seed, held_out)
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{(folder / 'sweep.db').absolute()}" if storage is None else storage
    with storages.quiet():
        grace = grace or 3 * heartbeat
        options = choose_sampler(trials, sampler, pruner)
        cells = storages.Cells(storages.open_storage(url, heartbeat, grace), name, *options)
        study = cells.create(plan.to_dict(), plan.trials)
        Workers(plan, cells, folder, arrays, grace, sampler is None).run(workers, study, progress)
        result = Sweep.from_study(study, plan.names, folder)
    result.save()
    return result


def choose_sampler(trials: int | None, sampler: Any, pruner: Any) -> tuple[Any, Any]:
    """Sampler and pruner of a search; a grid has nothing to sample, and nothing of it is left out."""
    if trials is None:
        return optuna.samplers.RandomSampler(), optuna.pruners.NopPruner()
    return sampler or optuna.samplers.TPESampler(), pruner or optuna.pruners.MedianPruner()


class Plan:
    """What a sweep trains: its recipe, its names with their values, and a waiting trial for each cell.

    Args:
        recipe: the recipe.
        space: as :func:`sweep` takes it.
        trials: number of trials of a search; None for the whole grid.
        seed: seed of the trainings and of the search.
        held_out: number of training images to compare on.
    """

    def __init__(self, recipe: Recipe, space: Any, trials: int | None, seed: int, held_out: int):
        self.recipe, self.seed, self.held_out = recipe, seed, held_out
        self.is_search = trials is not None
        grids = spaces.list_grids(space)
        base = spaces.base_settings(recipe, seed, backends.backend(), grids)
        self.names = list(base)
        if self.is_search:
            check_integer("trials", trials)
            if len(grids) > 1:
                raise ValueError(f"A search has one space; got a list of {len(grids)}.")
            cells: list[dict] = [{}] * int(trials or 0)
            self._values = {name: list(values) for name, values in grids[0].items() if isinstance(values, list)}
        else:
            cells = spaces.list_cells(grids, base)
            self._values = {name: [] for name in self.names}
            for cell in cells:
                for name, value in cell.items():
                    if value not in self._values[name]:
                        self._values[name].append(value)
        choices = {name: [spaces.label(value) for value in values] for name, values in self._values.items()}
        self.distributions = {
            name: optuna.distributions.CategoricalDistribution(choices[name]) if name in choices else grids[0][name]
            for name in self.names
        }
        self.trials = [self._queue(number, cell) for number, cell in enumerate(cells)]

    def _queue(self, number: int, cell: Mapping[str, Any]) -> FrozenTrial:
        return optuna.create_trial(
            state=TrialState.WAITING,
            params={name: spaces.label(value) for name, value in cell.items()},
            distributions={name: self.distributions[name] for name in cell},
            user_attrs={"cell": number},
        )

    def choose(self, trial: optuna.Trial) -> dict[str, Any]:
        """The settings of a trial; in a search, those that the sampler chooses."""
        chosen = {}
        for name, distribution in self.distributions.items():
            if isinstance(distribution, optuna.distributions.CategoricalDistribution):
                found = trial.suggest_categorical(name, distribution.choices)
            else:
                number = trial.suggest_int if isinstance(distribution.low, int) else trial.suggest_float
                found = number(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
            labels = {spaces.label(value): value for value in self._values.get(name, ())}
            chosen[name] = labels.get(found, found)
        return chosen

    def to_dict(self) -> dict[str, Any]:
        """What a study must share with the one in the storage, in a form that JSON can hold."""
        return {
            "recipe": self.recipe.to_dict(),
            "space": {name: repr(distribution) for name, distribution in self.distributions.items()},
            "trials": len(self.trials),
            "seed": self.seed,
            "held_out": self.held_out,
        }


class _SurplusError(Exception):
    """A trial that isn't needed: its cell has another, or all cells were taken in the meantime."""


class Workers:
    """Trains the cells of a plan, several at once.

    Args:
        plan: what to train.
        cells: the cells in their storage.
        folder: where the runs are kept.
        arrays: the data of every trial, or None.
        grace: seconds without a sign of life after which a trial is lost.
        reseed: whether the sampler is ours, and is seeded by trial: then a search with one worker is repeatable.
    """

    def __init__(self, plan: Plan, cells: storages.Cells, folder: Path, arrays: Any, grace: float, reseed: bool):
        self.plan, self.cells, self.folder, self.arrays, self.grace, self.reseed = (
            plan, cells, folder, arrays, grace, reseed
        )  # fmt: skip
        self._recipe = plan.recipe.to_dict()
        self._servers: dict[str, processes.Server] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None

    def run(self, number: int, study: optuna.Study, progress: bool) -> None:
        """Train until no cell is left, with `number` workers.

        Raises:
            Exception: whatever ended a worker, such as a storage that is gone.
        """
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(number)]
        try:
            for thread in threads:
                thread.start()
            show_progress(study, len(self.plan.trials), lambda: any(t.is_alive() for t in threads), progress, _LOOK)
        finally:
            self._stop.set()
            for server in self._servers.values():
                server.close()
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            study = self.cells.load()
            while not self._stop.is_set():
                found = study.get_trials(deepcopy=False)
                done = {cell for cell, trial in storages.settle(found).items() if trial.state.is_finished()}
                if len(done | storages.failed(found).keys()) >= len(self.plan.trials):
                    return
                if any(trial.state == TrialState.WAITING for trial in found):
                    self._take(study)
                else:
                    self.cells.repair(study, self.plan.trials, self.grace)
                    self._stop.wait(_LOOK)
        except BaseException as error:
            self._error = error
            self._stop.set()

    def _take(self, study: optuna.Study) -> None:
        """Take a waiting trial and train it."""
        try:
            # An error is kept with its trial, and the sweep goes on.
            study.optimize(self._train, n_trials=1, catch=(Exception,))
        except ValueError as error:
            # The trial was taken over, because its signs of life were late.
            if "Cannot tell a FAIL trial" not in str(error):
                raise

    def _train(self, trial: optuna.Trial) -> float:
        """The objective: train a trial's cell in a process of its own; returns its accuracy."""
        cell = trial.user_attrs.get("cell")
        found = storages.settle(trial.study.get_trials(deepcopy=False))
        if cell is None or found[cell].number != trial.number:
            raise _SurplusError
        if self.plan.is_search and self.reseed:
            trial.study.sampler = optuna.samplers.TPESampler(seed=1000 * self.plan.seed + cell)
        settings = self.plan.choose(trial)
        job = processes.Job(
            self._recipe, settings, settings.get("seed", self.plan.seed), self.folder / "runs" / f"{cell:04d}",
            self.plan.held_out,
        )  # fmt: skip
        try:
            result = self._run(job, settings.get("backend", backends.backend()), trial)
        except optuna.TrialPruned:
            processes.remove_backups(job.folder)
            raise
        except processes.TrainingError as error:
            trial.set_user_attr("error", str(error))
            raise
        trial.set_user_attr("result", result)
        return result["test_accuracy"]

    def _run(self, job: processes.Job, backend: str, trial: optuna.Trial) -> dict[str, Any]:
        def after_epoch(epoch: int, accuracy: float) -> None:
            if self.plan.is_search:
                trial.report(accuracy, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

        for _ in range(_DEATHS):
            try:
                return processes.follow(self._server(backend).start(job), after_epoch)
            except processes.ProcessDiedError as error:
                if self._stop.is_set():
                    storages.requeue(trial.study, trial.number)
                    raise _SurplusError from error
        raise processes.TrainingError(f"The process died {_DEATHS} times: it was killed, or out of memory.")

    def _server(self, backend: str) -> processes.Server:
        with self._lock:
            server = self._servers.get(backend)
            if (server is None or not server.is_alive()) and not self._stop.is_set():
                server = self._servers[backend] = processes.Server(backend, self.arrays)
            if server is None:
                raise processes.ProcessDiedError("The sweep was stopped.")
            return server
