"""The results of a sweep: a table, the best recipe as a file, and pictures."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kerasnets._internal.arguments import count
from kerasnets._internal.atomic import replaced, write_json
from kerasnets.training.recipes import Recipe
from kerasnets.training.sweeps import storage as storages


@dataclasses.dataclass(repr=False)
class Sweep:
    """The results of a sweep.

    Attributes:
        names: what was varied.
        rows: a dict for each cell, in the order of the grid: its ``"settings"``; its ``"state"``, which is
            ``"complete"``, ``"pruned"`` or ``"failed"``; ``"test_accuracy"`` in percent, None if it failed; what is in
            :data:`~kerasnets.training.sweeps.processes.KEPT`; ``"recipe"`` as it was trained; ``"error"`` if it failed.
        folder: where it is kept.
        study: Optuna's study with the trials that count, for Optuna's own functions.
    """

    names: list[str]
    rows: list[dict[str, Any]]
    folder: Path
    study: optuna.Study

    @classmethod
    def from_study(cls, study: optuna.Study, names: Sequence[str], folder: Path) -> "Sweep":
        """Gather the results from a study of which no cell is left.

        Raises:
            RuntimeError: no training got to its end.
        """
        found = study.get_trials(deepcopy=False)
        trials = {**storages.failed(found), **storages.settle(found)}
        trials = {cell: trial for cell, trial in sorted(trials.items()) if trial.state.is_finished()}
        rows = [_make_row(cell, trial) for cell, trial in trials.items()]
        if not any(row["state"] == "complete" for row in rows):
            why = next(
                (f"; the first error: {row['error']}" for row in rows if "error" in row), ", but all were pruned"
            )
            raise RuntimeError(f"None of the {count(len(rows), 'trial')} was trained to the end{why}")
        own = optuna.create_study(direction="maximize")
        own.add_trials(trials.values())
        return cls(list(names), rows, folder, own)

    @property
    def best(self) -> dict[str, Any]:
        """The row with the highest accuracy; of several, the first."""
        return max((row for row in self.rows if row["state"] == "complete"), key=lambda row: row["test_accuracy"])

    @property
    def recipe(self) -> Recipe:
        """The best row's recipe."""
        return Recipe.from_dict(self.best["recipe"])

    def __repr__(self):
        settings = ", ".join(f"{name}={value!r}" for name, value in self.best["settings"].items())
        trials = count(len(self.rows), "trial")
        return f"Sweep({trials}, best test accuracy {self.best['test_accuracy']:.2f} %: {settings})"

    def save(self) -> None:
        """Write ``sweep.json``, with every row, and ``best.json``, which :func:`kerasnets.train` takes."""
        write_json(self.folder / "sweep.json", {"names": self.names, "rows": self.rows})
        write_json(self.folder / "best.json", self.best)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """The titles of the columns, and the rows as text, the best first."""
        order = sorted(self.rows, key=lambda row: -1.0 if row["test_accuracy"] is None else row["test_accuracy"])[::-1]
        columns = [*self.names, "test accuracy", "last training loss", "seconds per epoch"]
        return columns, [[*(str(row["settings"].get(name)) for name in self.names), *_format(row)] for row in order]

    def draw(self, lang: str = "en") -> list[str]:
        """Draw the pictures; returns their file names, relative to the folder.

        These are the comparison of the settings, and Optuna's plots of their importance and of the trials as parallel
        coordinates, in English, where at least two settings or two accuracies differ.
        """
        import matplotlib
        from matplotlib import pyplot

        from kerasnets import plots

        finished = [row for row in self.rows if row["state"] == "complete"]
        settings, accuracies = [row["settings"] for row in finished], [row["test_accuracy"] for row in finished]
        shared = [{row["recipe"][key] for row in finished} for key in ("network", "dataset")]
        title = ", ".join(min(values) for values in shared if len(values) == 1) or None
        figure = plots.comparison(settings, accuracies, title=title, lang=lang)
        figure.savefig(self.folder / "comparison.png", dpi=100)
        names = ["comparison.png"]
        varied = [name for name in self.names if len({str(setting.get(name)) for setting in settings}) > 1]
        if not varied or len(set(accuracies)) < 2:
            return names
        for name, draw, options in (
            (
                "importance.png",
                "plot_param_importances",
                {"evaluator": optuna.importance.PedAnovaImportanceEvaluator()},
            ),
            ("parallel_coordinates.png", "plot_parallel_coordinate", {"target_name": "test accuracy"}),
        ):
            # One of them changes the style of all that follows.
            with matplotlib.rc_context(), storages.quiet():
                figure = getattr(optuna.visualization.matplotlib, draw)(self.study, params=varied, **options).figure
                figure.set_size_inches(max(6.4, 2.2 * len(varied)), 4.8)
                for panel in figure.axes:
                    if panel.get_label() == "<colorbar>":  # the names of the last axis would reach into it
                        left, bottom, width, height = panel.get_position().bounds
                        panel.set_position((left + 0.3, bottom, width, height))
                with replaced(self.folder / name) as unfinished:
                    figure.savefig(unfinished, dpi=100, bbox_inches="tight")
                pyplot.close(figure)
            names.append(name)
        return names


def _make_row(cell: int, trial: FrozenTrial) -> dict[str, Any]:
    state = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}.get(trial.state, "failed")
    row = {"cell": cell, "settings": dict(trial.params), "state": state, "test_accuracy": trial.value}
    if state == "failed":
        return {**row, "error": trial.user_attrs["error"]}
    return {**row, **trial.user_attrs.get("result", {})}


def _format(row: dict[str, Any]) -> tuple[str, str, str]:
    if row["state"] == "failed":
        return "failed", "–", "–"
    accuracy = f"{row['test_accuracy']:.2f} %" if row["test_accuracy"] is not None else "–"
    if row["state"] == "pruned":
        return f"{accuracy}, pruned", "–", "–"
    seconds = sorted(row["epoch_seconds"])[len(row["epoch_seconds"]) // 2]
    return accuracy, f"{row['train_loss'][-1]:.4f}", f"{seconds:.2f}"


def show_progress(study: optuna.Study, total: int, is_running: Callable[[], bool], wanted: bool, look: float) -> None:
    """Show how many trials are done, until the sweep has ended: a bar on a terminal, lines elsewhere.

    Args:
        study: the study.
        total: number of cells.
        is_running: whether the sweep is still running.
        wanted: whether to show anything.
        look: seconds between looks.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = -1
    with Progress(*columns, console=console, disable=not (wanted and console.is_terminal)) as bar:
        task = bar.add_task("trials", total=total)
        while True:
            running = is_running()
            found = study.get_trials(deepcopy=False)
            live = [trial for trial in storages.settle(found).values() if trial.state.is_finished()]
            done = len(live) + len(storages.failed(found).keys() - {trial.user_attrs["cell"] for trial in live})
            best = max((trial.value for trial in live if trial.state == TrialState.COMPLETE), default=None)
            text = "trials" if best is None else f"trials, best {best:.2f} %"
            bar.update(task, completed=done, description=text)
            if wanted and not console.is_terminal and done != shown:
                print(f"{done} of {total} {text}", flush=True)
            shown = done
            if not running:
                return
            time.sleep(look)
