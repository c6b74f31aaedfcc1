"""What a sweep trains, as Optuna's trials."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kerasnets import backend as backends
from kerasnets._internal.arguments import check_integer
from kerasnets.training.recipes import Recipe
from kerasnets.training.sweeps import space as spaces


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
        base = spaces.base_settings(recipe, check_integer("seed", seed, low=0), backends.backend(), grids)
        self.names = list(base)
        if self.is_search:
            check_integer("trials", trials)
            if len(grids) > 1:
                raise ValueError(f"A search has one space; got a list of {len(grids)}.")
            cells: list[dict] = [{}] * int(trials or 0)
            self._values = {name: list(values) for name, values in grids[0].items() if isinstance(values, list)}
        else:
            if ranges := [name for grid in grids for name, values in grid.items() if not isinstance(values, list)]:
                raise ValueError(f"{ranges[0]} is a range, which only a search can try: give trials=, their number.")
            cells = spaces.list_cells(grids, base)
            self._values = {name: [] for name in self.names}
            for cell in cells:
                for name, value in cell.items():
                    if value not in self._values[name]:
                        self._values[name].append(value)
        self._cells = cells
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
        distribution: Any
        for name, distribution in self.distributions.items():
            if isinstance(distribution, optuna.distributions.CategoricalDistribution):
                found = trial.suggest_categorical(name, distribution.choices)
            else:
                number = trial.suggest_int if isinstance(distribution.low, int) else trial.suggest_float
                found = number(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
            labels = {spaces.label(value): value for value in self._values.get(name, ())}
            chosen[name] = labels.get(found, found)
        return chosen

    def list_checks(self) -> dict[str, list[dict[str, Any]]]:
        """Backend → the cells that differ in what can be wrong; for a search, those of each value alone."""
        if self.is_search:
            cells: list[dict] = [{name: value} for name, values in self._values.items() for value in values] or [{}]
        else:
            cells = self._cells
        checks: dict[str, list] = {}
        for cell in cells:
            built = {name: value for name, value in cell.items() if name not in ("seed", "batch_size", "epochs")}
            found = checks.setdefault(built.pop("backend", backends.backend()), [])
            if built not in found:
                found.append(built)
        return checks

    def to_dict(self) -> dict[str, Any]:
        """What a study must share with the one in the storage, in a form that JSON can hold."""
        return {
            "recipe": self.recipe.to_dict(),
            "space": {name: repr(distribution) for name, distribution in self.distributions.items()},
            "trials": len(self.trials),
            "seed": self.seed,
            "held_out": self.held_out,
        }
