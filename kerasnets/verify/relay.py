"""A training that changes its backend after each epoch, and continues from the ``.keras`` file of the last epoch.

Each epoch runs in a process of its own, because a process has one backend. The learning rate falls by ``StepLR`` after
each epoch, so that a schedule is carried over as well; dropout is 0.

The float32 noise floor is measured on the first backend: how far apart the test losses and accuracies of uninterrupted
runs are that start from weights moved by one rounding each. There are 3 such runs, and up to 64 more if a bound is
broken, for the reason given in :mod:`kerasnets.verify.parity`.
"""

import dataclasses
import math
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from kerasnets import backend as backends
from kerasnets._internal.atomic import replaced
from kerasnets.training import recipes
from kerasnets.verify.differences import relative_difference

# Keras is imported in the child processes only: this process has no backend.

#: Bound of the relative difference of the weights in float64.
EXACT = 1e-9
#: Uninterrupted runs from weights moved by one rounding each; further ones if a bound is broken; of those, at once.
NUDGED, MORE, AT_ONCE = 3, 64, 8


@dataclasses.dataclass(frozen=True)
class Stage:
    """Some epochs on one backend.

    Attributes:
        backend: name of the backend.
        recipe: what to train.
        dtype: ``"float32"`` or ``"float64"``.
        epochs: the first epoch, counted from 0, and the one after the last.
        target: the ``.keras`` file to write, if any.
        source: the ``.keras`` file to continue from; None to start from PyTorch's initial weights.
        device: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        seed: seed of initial weights and batch order.
        nudge: seed of the roundings by which the weights are moved first; 0 to leave them alone.
    """

    backend: str
    recipe: recipes.Recipe
    dtype: str
    epochs: tuple[int, int]
    target: Path | None = None
    source: Path | None = None
    device: str = "cpu"
    seed: int = 0
    nudge: int = 0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a stage.

    Attributes:
        backend: the backend that computed.
        train_loss: mean training loss, by epoch.
        test_loss: mean loss on the test images.
        test_accuracy: in percent.
        test_images: number of test images.
        weights: weights and running statistics by PyTorch's names.
        iterations: optimizer steps since the start of the training.
        learning_rate: the rate of the next step.
    """

    backend: str
    train_loss: list[float]
    test_loss: float
    test_accuracy: float
    test_images: int
    weights: Mapping[str, np.ndarray]
    iterations: int
    learning_rate: float

    def to_dict(self) -> dict[str, Any]:
        """All but the weights, in a form that JSON can hold."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "weights"]
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class Result:
    """A relay beside uninterrupted runs on its first backend.

    Attributes:
        dtype: the type.
        stages: the outcomes of the relay's stages.
        whole: the uninterrupted run.
        nudged: uninterrupted runs from weights moved by one rounding, in float32.
    """

    dtype: str
    stages: list[Outcome]
    whole: Outcome
    nudged: list[Outcome]

    @property
    def figures(self) -> dict[str, tuple[float, float | None, float]]:
        """What was compared → difference, noise floor (None if not measured), bound.

        In float64 these are the final weights; in float32 test loss (relative) and test accuracy (percentage points).
        """
        last = self.stages[-1]
        if self.dtype == "float64":
            return {"weights": (compare_weights(last.weights, self.whole.weights), None, EXACT)}
        found = {}
        # In addition to the noise floor: 4 roundings of the loss, or one image.
        for quantity, unit, least in (
            ("test_loss", self.whole.test_loss, 4.0 * float(np.finfo("float32").eps)),
            ("test_accuracy", 1.0, 100.0 / last.test_images),
        ):
            runs = [getattr(run, quantity) / unit for run in (self.whole, *self.nudged)]
            noise = max(runs) - min(runs)
            found[quantity.replace("_", " ")] = (abs(getattr(last, quantity) / unit - runs[0]), noise, noise + least)
        return found

    @property
    def broken(self) -> list[str]:
        """The quantities that break their bounds."""
        return [name for name, (difference, _, bound) in self.figures.items() if not difference <= bound]

    def to_dict(self) -> dict[str, Any]:
        """The result in a form that JSON can hold."""
        return {
            "dtype": self.dtype,
            "legs": [stage.to_dict() for stage in self.stages],
            "whole": self.whole.to_dict(),
            "nudged": [run.to_dict() for run in self.nudged],
            "figures": self.figures,
            "broken": self.broken,
        }


def compare_weights(actual: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """The largest relative difference in any tensor."""
    return max(relative_difference(actual[name], tensor) for name, tensor in expected.items())


def run(
    order: Sequence[str], recipe: recipes.Recipe, dtype: str, folder: Path, device: str = "cpu", seed: int = 0
) -> Result:
    """Run a relay, with one epoch on each backend, and the uninterrupted runs to compare it with.

    Args:
        order: the backends, all of them installed; a name may appear twice.
        recipe: what to train.
        dtype: ``"float32"`` or ``"float64"``.
        folder: where to write ``relay-1.keras`` and so on.
        device: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        seed: seed of initial weights and batch order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    common: dict[str, Any] = {"recipe": recipe, "dtype": dtype, "device": device, "seed": seed}
    stages, source = [], None
    for number, name in enumerate(order):
        target = folder / f"relay-{number + 1}.keras"
        stages.append(run_in_child(Stage(name, epochs=(number, number + 1), source=source, target=target, **common))[0])
        source = target
    uninterrupted = Stage(order[0], epochs=(0, len(order)), **common)
    nudges = range(1, NUDGED + 1) if dtype == "float32" else ()
    whole, *nudged = run_in_child(uninterrupted, *(dataclasses.replace(uninterrupted, nudge=nudge) for nudge in nudges))
    result = Result(dtype, stages, whole, nudged)
    while result.broken and dtype == "float32" and len(result.nudged) < NUDGED + MORE:
        more = range(len(result.nudged) + 1, len(result.nudged) + 1 + AT_ONCE)
        result.nudged.extend(run_in_child(*(dataclasses.replace(uninterrupted, nudge=nudge) for nudge in more)))
    return result


def run_in_child(*stages: Stage) -> list[Outcome]:
    """Run stages of one backend in one fresh process.

    Raises:
        concurrent.futures.process.BrokenProcessPool: the process died.
        Exception: whatever a stage raises.
    """
    fresh = multiprocessing.get_context("spawn")
    where = stages[0].backend, stages[0].device
    with ProcessPoolExecutor(1, mp_context=fresh, initializer=_begin, initargs=where) as pool:
        return list(pool.map(run_stage, stages))


def _begin(backend: str, device: str) -> None:
    backends.set_backend(backend)
    backends.set_device(device)


def run_stage(stage: Stage) -> Outcome:
    """Train for a stage's epochs, in a process whose backend is the stage's."""
    import keras

    from kerasnets import training
    from kerasnets.interop.weights import state_dict

    backends.set_dtype(stage.dtype)
    (x, y), (x_test, y_test) = training.load_recipe_data(stage.recipe)
    model = _load_or_build(stage, steps_per_epoch=math.ceil(len(x) / stage.recipe.batch_size))
    if stage.nudge:
        _move_by_one_rounding(model, stage.nudge)
    first, end = stage.epochs
    history = model.fit(
        x.astype(stage.dtype), y, batch_size=stage.recipe.batch_size, seed=stage.seed, initial_epoch=first, epochs=end,
        verbose=0,
    )  # fmt: skip
    test = model.evaluate(x_test.astype(stage.dtype), y_test, batch_size=500, verbose=0, return_dict=True)
    if stage.target is not None:
        with replaced(stage.target) as unfinished:
            model.save(unfinished)
    return Outcome(
        backend=backends.backend(),
        train_loss=history.history["loss"],
        test_loss=test["loss"],
        test_accuracy=training.percent(test["accuracy"]),
        test_images=len(y_test),
        weights={name: array for name, array in state_dict(model).items() if array.dtype.kind == "f"},
        iterations=int(keras.ops.convert_to_numpy(model.optimizer.iterations)),
        learning_rate=float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)),
    )


def _load_or_build(stage: Stage, steps_per_epoch: int):
    """The model of the stage before, or a fresh one whose learning rate is halved after each epoch."""
    import keras

    from kerasnets import models, schedules, training

    if stage.source is not None:
        return models.load_model(stage.source)
    keras.utils.set_random_seed(stage.seed)
    options = dict(stage.recipe.optimizer_options)
    options["learning_rate"] = schedules.StepLR(options["learning_rate"], 1, 0.5, steps_per_epoch=steps_per_epoch)
    return training.compile_recipe(stage.recipe.replace(optimizer_options=options))


def _move_by_one_rounding(model, seed: int) -> None:
    """Move each weight to the number above or below it, at random."""
    import keras

    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        value = keras.ops.convert_to_numpy(variable)
        towards = np.where(generator.random(value.shape) < 0.5, -np.inf, np.inf).astype(value.dtype)
        variable.assign(np.nextafter(value, towards))
