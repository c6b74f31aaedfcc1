"""What both sides train: network, data, optimizer, schedule, and the batches in their order."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasnets import batches
from kerasnets._internal.arguments import check_known
from kerasnets.training import recipes

OPTIMIZERS = ("SGD", "Adam", "StepLR")
DTYPES = ("float64", "float32")

#: Quantity ("gradients") → tensor's name → array.
Values = dict[str, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Case:
    """A training to run on both sides.

    Attributes:
        name: one of :data:`OPTIMIZERS`.
        recipe: network without dropout, loss, optimizer, batch size and data set.
        drops: arguments of ``StepLR`` other than the learning rate; None if the rate is constant.
        seed: seed of initial weights and batch order.
    """

    name: str
    recipe: recipes.Recipe
    drops: Mapping[str, Any] | None = None
    seed: int = 0


def make_case(name: str, recipe: recipes.Recipe, steps: int, seed: int = 0) -> Case:
    """Make the training called `name` for a recipe's network.

    Args:
        name: ``"SGD"`` or ``"Adam"``, with the recipe's options if that is its optimizer, otherwise with learning rate
            0.01 and momentum 0.9 (SGD) or PyTorch's defaults (Adam); or ``"StepLR"``, the recipe's optimizer with a
            learning rate that drops by a tenth every 50 steps (in shorter runs: half-way).
        recipe: a recipe of the network.
        steps: length of the run.
        seed: seed of initial weights and batch order.

    Raises:
        ValueError: `name` is unknown, or there are no steps.
    """
    check_known("optimizer", name, OPTIMIZERS)
    if steps < 1:
        raise ValueError(f"steps={steps}: expected at least 1.")
    recipe = recipes.remove_dropout(recipe)
    if name == "StepLR":
        return Case(name, recipe, {"step_size": 2, "gamma": 0.9, "steps_per_epoch": max(1, min(steps, 100) // 4)}, seed)
    if name != recipe.optimizer:
        options = {"learning_rate": 0.01, "momentum": 0.9} if name == "SGD" else {"learning_rate": 1e-3}
        recipe = recipe.replace(optimizer=name, optimizer_options=options)
    return Case(name, recipe, None, seed)


def list_batches(n: int, case: Case, steps: int) -> list[list[np.ndarray]]:
    """The indices of the images in each of the first `steps` batches, by epoch, for a data set of `n` images."""
    found: list[list[np.ndarray]] = []
    size = case.recipe.batch_size
    while steps > 0:
        order = batches.epoch_order(n, case.seed, len(found))
        found.append([order[i : i + size] for i in range(0, n, size)][:steps])
        steps -= len(found[-1])
    return found
