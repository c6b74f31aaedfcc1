"""The workers of a sweep: threads that take trials, each of which is trained in a process of its own."""

import threading
from pathlib import Path
from typing import Any

import filelock
import optuna
from optuna.trial import TrialState

from kerasnets import backend as backends
from kerasnets.training.sweeps import processes, storage as storages
from kerasnets.training.sweeps.plan import Plan
from kerasnets.training.sweeps.report import show_progress

#: Seconds between looks at the study, by a worker that has nothing to do and by the progress bar.
_LOOK = 1.0
#: How often a trial whose process dies is started again by its worker.
_DEATHS = 3


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
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        """End the trials that still run, and their servers."""
        self._stop.set()
        with self._lock:
            for server in self._servers.values():
                server.close()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """Build the networks, losses and optimizers of the grid, without training.

        Raises:
            ValueError: one of them can't be built.
        """
        for backend, settings in self.plan.list_checks().items():
            job = processes.Job(self._recipe, {}, 0, self.folder, checks=settings)
            try:
                processes.follow(self._server(backend).start(job))
            except processes.TrainingError as error:
                raise ValueError(f"This can't be trained: {error}") from None

    def run(self, number: int, study: optuna.Study, progress: bool) -> None:
        """Train until no cell is left, with `number` workers.

        Raises:
            Exception: whatever ended a worker, such as a storage that is gone.
        """
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(number)]
        for thread in self._threads:
            thread.start()
        show_progress(study, len(self.plan.trials), lambda: any(t.is_alive() for t in self._threads), progress, _LOOK)
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
        # SQLite locks no rows, and would give one trial to two workers who ask at once.
        taking = filelock.FileLock(self.folder / "sweep.lock", thread_local=False)

        def train(trial: optuna.Trial) -> float:
            taking.release()  # the trial is taken
            return self._train(trial)

        try:
            with taking:
                # An error is kept with its trial, and the sweep goes on.
                study.optimize(train, n_trials=1, catch=(Exception,))
        except ValueError as error:
            # Another worker has ended the trial: it was taken over, because its signs of life were late, or both work
            # on one SQLite file from folders of their own.
            if "Cannot tell a" not in str(error):
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
            if "Another process is training in" in str(error):
                raise _SurplusError from error
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
