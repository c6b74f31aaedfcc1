"""Runs a recipe: build, compile, fit, evaluate, record; and resumes one that was killed."""

import contextlib
import dataclasses
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasnets import backend, data, losses, networks, optimizers
from kerasnets._internal.arguments import check_integer, check_path
from kerasnets._internal.atomic import replaced, write_json
from kerasnets.models import check_callbacks
from kerasnets.training.backup import Backup, digest
from kerasnets.training.callbacks import EpochLog, EpochSeeds, StepLog
from kerasnets.training.recipes import Recipe

#: The parts of a recipe that a resumed run must share; it may well have more epochs.
_MATTERS = (
    "network", "options", "dataset", "pad", "loss", "loss_options", "optimizer", "optimizer_options", "batch_size",
)  # fmt: skip


@dataclasses.dataclass
class Result:
    """What a training came to.

    Attributes:
        model: the trained model.
        recipe: the recipe as it was run.
        backend: the Keras backend.
        device: the device that held the weights.
        versions: package name → version.
        seed: the seed.
        train_loss: mean training loss, by epoch.
        train_accuracy: training accuracy in percent, by epoch.
        test_loss: mean loss on the test images.
        test_accuracy: accuracy on the test images, in percent.
        epoch_seconds: wall-clock seconds, by epoch.
    """

    model: keras.Model
    recipe: Recipe
    backend: str
    device: str
    versions: dict[str, str]
    seed: int
    train_loss: list[float]
    train_accuracy: list[float]
    test_loss: float
    test_accuracy: float
    epoch_seconds: list[float]

    def to_dict(self) -> dict[str, Any]:
        """All but the model, as JSON can hold it; network and data set stand at the top level."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "model"}
        fields["recipe"] = self.recipe.to_dict()
        return {"network": self.recipe.network, "dataset": self.recipe.dataset, **fields}

    def save(self, folder: str | os.PathLike) -> None:
        """Write ``result.json`` and ``model.keras`` into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replaced(folder / "model.keras") as unfinished:
            self.model.save(unfinished)
        write_json(folder / "result.json", self.to_dict())


def percent(share: float) -> float:
    """A share as percent, without the digits that float32 adds."""
    return round(100.0 * share, 4)


def shows_progress_bars() -> bool:
    """Whether standard output is a terminal or a notebook, where Keras's progress bars can move."""
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def compile_recipe(recipe: Recipe) -> keras.Model:
    """The recipe's network with PyTorch's initial weights, compiled with the recipe's loss and optimizer."""
    model = networks.build(recipe.network, **recipe.options)
    model.compile(
        optimizer=getattr(optimizers, recipe.optimizer)(**recipe.optimizer_options),
        loss=getattr(losses, recipe.loss)(**recipe.loss_options),
        metrics=["accuracy"],
    )
    return model


def load_recipe_data(recipe: Recipe, arrays=None):
    """The recipe's data, padded as it says: ``((x, y), (x_test, y_test))``.

    Args:
        recipe: the recipe.
        arrays: the same structure, used in place of the recipe's data set.
    """
    (x, y), (x_test, y_test) = data.load_data(recipe.dataset) if arrays is None else arrays
    if recipe.pad:
        around = [(0, 0), (recipe.pad, recipe.pad), (recipe.pad, recipe.pad)]
        x, x_test = (np.pad(images, around, constant_values=-1.0) for images in (x, x_test))
    return (x, y), (x_test, y_test)


def train(
    recipe: Recipe,
    *,
    seed: int = 0,
    out: str | os.PathLike | None = None,
    arrays=None,
    log_every: int | None = None,
    verbose: int | str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Run a recipe: build, compile, fit, evaluate.

    The batches' order is seeded by (`seed`, epoch), so that every backend sees the same batches.

    Args:
        recipe: what to train, from :mod:`kerasnets.recipes`.
        seed: seed of initial weights, batch order and dropout; 0 or more.
        out: folder for ``result.json`` and ``model.keras``. A run that was killed goes on from its last finished epoch
            when it is started again with the same settings, data, backend and folder; only files that kerasnets wrote
            are ever removed from it. The state of `callbacks` is kept as well where it is numbers, text or arrays.
        arrays: ``((x, y), (x_test, y_test))`` to use in place of the recipe's data set.
        log_every: print a document's line (mean loss of so many batches), no progress bar; default: 100,
            or all batches of an epoch if there are fewer, where standard output is no terminal
            and no notebook.
        verbose: Keras's ``verbose`` of ``fit`` where no lines are printed; 0 is silent.
        callbacks: further Keras callbacks.

    Returns:
        The :class:`Result`, with the model.

    Raises:
        ValueError: an argument or the recipe has a value that can't be; `out` can't be written to, or its run has done
            more epochs already. The message names it.
        RuntimeError: another process is training in `out`.
        TypeError: an argument is of another type; with `out`, an option of the recipe is nothing that can be saved.
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"The recipe is a {type(recipe).__name__}; expected one as kerasnets.recipes.find() gives.")
    check_integer("seed", seed, low=0)
    out = None if out is None else check_path("out", out)
    check_callbacks(callbacks)
    (x, y), (x_test, y_test) = load_recipe_data(recipe, arrays)

    keras.utils.set_random_seed(seed)
    model = compile_recipe(recipe)
    model.check(x, y, training=(recipe.batch_size, 0.0))
    model.check(x_test, y_test)

    log = EpochLog()
    ours = [EpochSeeds(seed), log]
    if log_every is None and verbose == "auto" and not shows_progress_bars():
        log_every = min(100, math.ceil(len(x) / recipe.batch_size))
    if log_every is not None:
        ours.append(StepLog(log_every))
        verbose = 0
    with contextlib.ExitStack() as stack:
        done = 0
        if out is not None:
            backup = stack.enter_context(Backup(Path(out) / "backup", _settings(recipe, seed, x, y), log, callbacks))
            done = _resume(backup, model, recipe, out)
            callbacks = [*callbacks, backup]
        if done < recipe.epochs:
            model.fit(
                x, y, batch_size=recipe.batch_size, seed=seed, initial_epoch=done, epochs=recipe.epochs,
                verbose=verbose, callbacks=[*ours, *callbacks],
            )  # fmt: skip
        result = _evaluated(model, recipe, seed, log, x_test, y_test)
        if out is not None:
            result.save(out)
    return result


def _settings(recipe: Recipe, seed: int, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """What a run depends on, as JSON can hold it."""
    plain = recipe.to_dict()
    return {
        **{name: plain[name] for name in _MATTERS},
        "seed": seed,
        "images": digest(x),
        "labels": digest(y),
        "backend": backend.backend(),
        "dtype": keras.config.dtype_policy().name,
    }


def _resume(backup: Backup, model: keras.Model, recipe: Recipe, out: str | os.PathLike) -> int:
    done = backup.restore(model)
    if done > recipe.epochs:
        raise ValueError(
            f"epochs={recipe.epochs}: the run in {str(out)!r} has done {done} epochs. Ask for as many or more, or "
            "choose another folder."
        )
    if done:
        print(f"Resuming the run in {out} after epoch {done} of {recipe.epochs}.")
    return done


def _evaluated(model: keras.Model, recipe: Recipe, seed: int, log: EpochLog, x_test, y_test) -> Result:
    test = model.evaluate(x_test, y_test, batch_size=500, verbose=0, return_dict=True)

    return Result(
        model=model,
        recipe=recipe,
        backend=backend.backend(),
        device=backend.device(),
        versions=backend.versions(),
        seed=seed,
        train_loss=[epoch["loss"] for epoch in log.epochs],
        train_accuracy=[percent(epoch["accuracy"]) for epoch in log.epochs],
        test_loss=test["loss"],
        test_accuracy=percent(test["accuracy"]),
        epoch_seconds=[epoch["seconds"] for epoch in log.epochs],
    )
