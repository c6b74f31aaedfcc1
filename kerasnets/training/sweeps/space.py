"""What a sweep varies: its names, its cells, and the recipe that a cell trains."""

import ast
import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from kerasnets._internal.arguments import check_integer, check_known
from kerasnets.backend import check_backend
from kerasnets.training.recipes import Recipe

#: Attributes of a recipe that hold options, which vary one by one as ``"options.dropout"``.
_OPTIONS = ("optimizer_options", "loss_options", "options")
#: What a recipe has no attribute for. A schedule is written as its call without learning rate: ``"StepLR(10, 0.1)"``.
_BESIDES = ("learning_rate", "schedule", "seed", "backend")
#: Attributes that don't change a training.
_FIXED = ("name", "document", "document_accuracy", "document_train_loss")
NAMES = (*_BESIDES, *(field.name for field in dataclasses.fields(Recipe) if field.name not in _FIXED))
_RATE = "optimizer_options.learning_rate"

#: ParameterGrid's form, as in scikit-learn: names → values, or several of these.
Grid = Mapping[str, Sequence[Any]]


def check_name(name: Any) -> str:
    """The short form of a name that may vary.

    Raises:
        ValueError: there is no such name; the message has the nearest one.
    """
    first, dot, rest = name.partition(".") if isinstance(name, str) else (name, "", "")
    if dot and rest:
        check_known("options of a recipe", first, _OPTIONS)
        return "learning_rate" if name == _RATE else name
    check_known("name in a sweep", name, NAMES)
    return name


def list_grids(space: Grid | Sequence[Grid]) -> list[dict[str, list]]:
    """The grids with the short forms of their names.

    Raises:
        TypeError: `space` is neither a dict nor a list of dicts.
        ValueError: a name is unknown, or has no values.
    """
    grids = [space] if isinstance(space, Mapping) else space
    if not isinstance(grids, Sequence) or not grids or not all(isinstance(grid, Mapping) and grid for grid in grids):
        raise TypeError(f"space={space!r}: expected a dict from names to lists of values, or a list of such dicts.")
    return [{check_name(name): _check_values(name, values) for name, values in grid.items()} for grid in grids]


def _check_values(name: str, values: Any) -> Any:
    if hasattr(values, "to_internal_repr"):  # a distribution of Optuna's
        return values
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise ValueError(f"{name}={values!r}: expected a list of values, or a distribution of optuna.distributions.")
    for value in values:
        _check_value(name, value)
    return list(values)


def _check_value(name: str, value: Any) -> None:
    if name == "seed":
        check_integer("seed", value, low=0)
    elif name == "backend":
        check_backend(value)
    elif name == "schedule" and value is not None:
        parse_schedule(value)
    try:
        json.dumps(value)
    except TypeError:
        raise TypeError(f"{name}={value!r}: expected names, numbers, or lists and dicts of these.") from None


def list_cells(grids: Sequence[Mapping[str, list]], base: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every cell once, with a value for each name of any grid; `base` has those of the names that a grid leaves out."""
    cells = []
    for grid in grids:
        for values in itertools.product(*grid.values()):
            cell = {**base, **dict(zip(grid, values, strict=True))}
            if cell not in cells:
                cells.append(cell)
    return cells


def base_settings(recipe: Recipe, seed: int, backend: str, grids: Sequence[Mapping]) -> dict[str, Any]:
    """The recipe's own values of all names in `grids`."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(itertools.chain(*grids)):
        if name in ("seed", "backend", "schedule"):
            found[name] = {"seed": seed, "backend": backend, "schedule": None}[name]
            continue
        first, _, rest = (_RATE if name == "learning_rate" else name).partition(".")
        value = recipe.to_dict()[first]
        found[name] = value.get(rest) if rest else value
    return found


def label(value: Any) -> Any:
    """A value as one that Optuna keeps: itself if it is a name or number, otherwise its JSON."""
    return value if value is None or isinstance(value, str | bool | int | float) else json.dumps(value)


def apply(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with a cell's values; :func:`add_schedule` adds its schedule."""
    for name, value in settings.items():
        first, _, rest = (_RATE if name == "learning_rate" else name).partition(".")
        if rest:
            if value is not None:  # the recipe has no such option, and the cell neither
                recipe = recipe.replace(**{first: {**getattr(recipe, first), rest: value}})
        elif name not in _BESIDES:
            recipe = recipe.replace(**{name: value})
    return recipe


def add_schedule(recipe: Recipe, schedule: str | None, images: int) -> Recipe:
    """The recipe with a schedule from its learning rate. Imports Keras if there is one.

    Args:
        recipe: a recipe whose learning rate is a number.
        schedule: as :func:`parse_schedule` takes it, or None.
        images: number of training images, from which the schedule knows the steps of an epoch.
    """
    if schedule is None:
        return recipe
    from kerasnets import schedules

    name, positional, keywords = parse_schedule(schedule)
    options = dict(recipe.optimizer_options)
    steps = math.ceil(images / recipe.batch_size)
    rate = getattr(schedules, name)(options["learning_rate"], *positional, **{"steps_per_epoch": steps, **keywords})
    return recipe.replace(optimizer_options={**options, "learning_rate": rate})


def parse_schedule(text: Any) -> tuple[str, list, dict[str, Any]]:
    """Name, arguments and keyword arguments of a call such as ``"StepLR(10, gamma=0.1)"``.

    Raises:
        ValueError: it is something else, or its name is not a schedule of kerasnets.
    """
    try:
        call = ast.parse(text, mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        found = (
            call.func.id,
            [ast.literal_eval(value) for value in call.args],
            {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords},
        )
    except (AssertionError, SyntaxError, TypeError, ValueError):
        raise ValueError(
            f"schedule={text!r}: expected None, or the call of a schedule without its learning rate, such as "
            "'StepLR(step_size=10, gamma=0.1)'."
        ) from None
    check_known("schedule", found[0], SCHEDULES)
    return found


#: Those that the optimizer's learning rate and numbers define.
SCHEDULES = (
    "StepLR", "MultiStepLR", "ExponentialLR", "LinearLR", "ConstantLR", "PolynomialLR", "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
)  # fmt: skip
