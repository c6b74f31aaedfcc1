"""Runs a recipe: build, compile, fit, test, record; and resumes a run that was killed."""

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

from kerasnets import backend, data, losses, models, networks, optimizers
from kerasnets._internal import keras_private
from kerasnets._internal.arguments import check_integer, check_known, check_path, count
from kerasnets._internal.arrays import to_numpy
from kerasnets._internal.atomic import replaced, write_json
from kerasnets.training import recipes
from kerasnets.training.backup import Backup, digest
from kerasnets.training.callbacks import EpochLog, EpochSeeds, StepLog
from kerasnets.training.recipes import Recipe

#: The parts of a recipe that a resumed run must share; it may have more epochs.
_SHARED = (
    "network", "options", "dataset", "pad", "loss", "loss_options", "optimizer", "optimizer_options", "batch_size",
)  # fmt: skip
_TEST_BATCH = 500
#: The attributes of a result that are not in its ``result.json``.
_NOT_IN_FILE = ("model", "test_images", "test_labels", "predicted")


@dataclasses.dataclass(repr=False)
class Result:
    """The result of a training run.

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
        epoch_seconds: wall-clock seconds of training, by epoch.
        test_images: the test images as the network takes them, with the recipe's padding.
        test_labels: their classes (n,).
        predicted: the predicted classes (n,).
        test_losses: mean loss on the test images, by epoch; empty if they were tested at the end only.

    Examples:
        >>> import dataclasses
        >>> (x, y), (x_test, y_test) = kerasnets.load_data("fashion_mnist_sample")
        >>> arrays = (x[:256], y[:256]), (x_test[:64], y_test[:64])
        >>> recipe = dataclasses.replace(kerasnets.recipes.find("NeuralNetwork", "fashion_mnist"), epochs=1)
        >>> result = kerasnets.train(recipe, arrays=arrays, log_every=4)
        Epoch [1/1], Step [4/4], Loss: 2...
        >>> result.backend, result.seed
        ('torch', 0)
    """

    model: models.Model | models.Sequential
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
    test_images: np.ndarray
    test_labels: np.ndarray
    predicted: np.ndarray
    test_losses: list[float] = dataclasses.field(default_factory=list)

    def __repr__(self):
        seconds = float(np.median(self.epoch_seconds))
        return (
            f"Result({self.recipe.name} on {self.recipe.dataset}, {count(len(self.train_loss), 'epoch')}, seed "
            f"{self.seed}, {self.backend} on {self.device}: test accuracy {self.test_accuracy:.2f} %, test loss "
            f"{self.test_loss:.4f}, {seconds:.2f} s per epoch)"
        )

    @property
    def losses(self) -> dict[str, list[float]]:
        """The training loss by epoch, and the test loss if known, for :func:`kerasnets.plots.learning_curves`."""
        return {"loss": self.train_loss} | ({"val_loss": self.test_losses} if self.test_losses else {})

    @property
    def recalls(self) -> np.ndarray:
        """The share (classes,) of each class's test images that were recognised."""
        classes = range(self.model.output_shape[-1])
        return np.array([np.mean(self.predicted[self.test_labels == c] == c) for c in classes])

    def to_dict(self) -> dict[str, Any]:
        """The contents of ``result.json``: all but model and arrays, with network and data set at the top level."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in _NOT_IN_FILE]
        fields = {name: getattr(self, name) for name in names}
        fields["recipe"] = self.recipe.to_dict()
        return {"network": self.recipe.network, "dataset": self.recipe.dataset, **fields}

    def save(self, folder: str | os.PathLike) -> None:
        """Write ``result.json`` and ``model.keras`` into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replaced(folder / "model.keras") as unfinished, keras_private.tensorflow_left_out():
            self.model.save(unfinished)
        write_json(folder / "result.json", self.to_dict())


def percent(share: float) -> float:
    """A share in percent, without the digits that float32 adds.

    Examples:
        >>> float(kerasnets.training.percent(0.8912))
        89.12
    """
    return round(100.0 * share, 4)


def shows_progress_bars() -> bool:
    """Whether standard output is a terminal or a notebook, where Keras's progress bars can move.

    Examples:
        >>> verbose = 1 if kerasnets.training.shows_progress_bars() else 2
    """
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def compile_recipe(recipe: Recipe) -> models.Model | models.Sequential:
    """The recipe's network with PyTorch's initial weights, compiled with the recipe's loss and optimizer.

    Examples:
        >>> recipe = kerasnets.recipes.find("NeuralNetwork", "mnist")
        >>> model = kerasnets.training.compile_recipe(recipe)
        >>> type(model.optimizer).__name__
        'SGD'
    """
    for kind, name, module in (("loss", recipe.loss, losses), ("optimizer", recipe.optimizer, optimizers)):
        check_known(kind, name, [known for known in module.__all__ if known[0].isupper() and known != "Optimizer"])
    model = networks.build(recipe.network, **recipe.network_options)
    model.compile(
        optimizer=getattr(optimizers, recipe.optimizer)(**recipe.optimizer_options),
        loss=getattr(losses, recipe.loss)(**recipe.loss_options),
        metrics=["accuracy"],
    )
    return model


def load_recipe_data(recipe: Recipe, arrays=None):
    """Load a recipe's data set and pad its images.

    Args:
        recipe: the recipe.
        arrays: ``((x, y), (x_test, y_test))`` to use instead of the recipe's data set.

    Returns:
        ``((x, y), (x_test, y_test))``.

    Examples:
        >>> recipe = kerasnets.recipes.find("Net", "mnist")
        >>> arrays = (np.zeros((8, 28, 28)), np.zeros(8, int)), (np.zeros((2, 28, 28)), np.zeros(2, int))
        >>> (x, y), (x_test, y_test) = kerasnets.training.load_recipe_data(recipe, arrays)
        >>> x.shape
        (8, 32, 32)
    """
    dtype = "float64" if keras.config.floatx() == "float64" else "float32"
    (x, y), (x_test, y_test) = data.load_data(recipe.dataset, dtype=dtype) if arrays is None else arrays
    if recipe.pad:
        around = [(0, 0), (recipe.pad, recipe.pad), (recipe.pad, recipe.pad), (0, 0)]
        x, x_test = (np.pad(images, around[: images.ndim], constant_values=-1.0) for images in (x, x_test))
    return (x, y), (x_test, y_test)


def train(
    recipe: Recipe | str | os.PathLike,
    *,
    seed: int = 0,
    out: str | os.PathLike | None = None,
    arrays=None,
    log_every: int | None = None,
    verbose: int | str = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    test_each_epoch: bool = False,
) -> Result:
    """Run a recipe: build, compile, fit, test.

    Initial weights and batches are those of PyTorch's program after ``torch.manual_seed(seed)``, on every backend:
    without dropout, whose masks are each backend's own, the printed losses are the same but for rounding.

    Args:
        recipe: what to train, from :mod:`kerasnets.training.recipes`; or a file with it, such as ``best.json``.
        seed: seed of initial weights, batch order and dropout; 0 or more.
        out: folder for ``result.json`` and ``model.keras``. A run that was killed resumes after its last finished epoch
            when it is started again with the same settings, data, backend and folder; only files that kerasnets wrote
            are ever removed. The state of `callbacks` is kept as well, if it is numbers, text or arrays.
        arrays: ``((x, y), (x_test, y_test))`` to use instead of the recipe's data set.
        log_every: print a line like the tutorials' with the mean loss of this many batches, instead of a progress bar;
            default: 100, or the batches of an epoch if fewer, unless output goes to a terminal or notebook.
        verbose: Keras's ``verbose`` of ``fit`` if no lines are printed; 0 is silent.
        callbacks: further Keras callbacks.
        test_each_epoch: also test after each epoch, for a learning curve. The training is the same.

    Raises:
        ValueError: an argument or the recipe has an invalid value, `out` can't be written to, or its run has already
            done more epochs. The message names it.
        RuntimeError: another process is training in `out`.
        TypeError: an argument has the wrong type; with `out`, an option of the recipe can't be saved.

    Examples:
        >>> import dataclasses
        >>> (x, y), (x_test, y_test) = kerasnets.load_data("fashion_mnist_sample")
        >>> arrays = (x[:256], y[:256]), (x_test[:64], y_test[:64])
        >>> recipe = dataclasses.replace(kerasnets.recipes.find("NeuralNetwork", "fashion_mnist"), epochs=1)
        >>> result = kerasnets.train(recipe, seed=42, arrays=arrays)
        Epoch [1/1], Step [4/4], Loss: 2...
        >>> len(result.train_loss)
        1
    """
    recipe = _check_arguments(recipe, seed, callbacks)
    out = None if out is None else check_path("out", out)
    (x, y), (x_test, y_test) = load_recipe_data(recipe, arrays)

    keras_private.set_random_seed(seed)
    model = compile_recipe(recipe)
    model.check(x, y, training=(recipe.batch_size, 0.0))
    model.check(x_test, y_test)

    log, step_log = EpochLog(), _make_step_log(log_every, verbose, math.ceil(len(x) / recipe.batch_size))
    with contextlib.ExitStack() as stack:
        backups, done = [], 0
        if out is not None:
            backup = stack.enter_context(Backup(Path(out) / "backup", _settings(recipe, seed, x, y), log, callbacks))
            backups, done = [backup], _resume(backup, model, recipe, out)
        if done < recipe.epochs:
            model.fit(
                x, y, batch_size=recipe.batch_size, seed=seed, initial_epoch=done, epochs=recipe.epochs,
                verbose=0 if step_log else verbose, validation_data=(x_test, y_test) if test_each_epoch else None,
                validation_batch_size=_TEST_BATCH, callbacks=[EpochSeeds(seed), log, *step_log, *callbacks, *backups],
            )  # fmt: skip
        result = _test(model, recipe, seed, log, x_test, y_test)
        if out is not None:
            result.save(out)
    return result


def _check_arguments(recipe: Any, seed: int, callbacks: Sequence[keras.callbacks.Callback]) -> Recipe:
    """The recipe, once the arguments are right; loaded if it is a file."""
    recipe = recipes.check_recipe(recipe)
    check_integer("seed", seed, low=0)
    models.check_callbacks(callbacks)
    return recipe


def _make_step_log(log_every: int | None, verbose: int | str, steps: int) -> list[StepLog]:
    """The callback that prints the tutorials' lines; none if a progress bar or nothing is to be shown."""
    if log_every is None and verbose == "auto" and not shows_progress_bars():
        log_every = min(100, steps)
    return [] if log_every is None else [StepLog(log_every)]


def _settings(recipe: Recipe, seed: int, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """What a run depends on, in a form that JSON can hold."""
    plain = recipe.to_dict()
    return {
        **{name: plain[name] for name in _SHARED},
        "seed": seed,
        "images": digest(x),
        "labels": digest(y),
        "batch order": "PyTorch's",  # before 0.2 another one
        "backend": backend.backend(),
        "dtype": keras.config.dtype_policy().name,
    }


def _resume(backup: Backup, model: keras.Model, recipe: Recipe, out: str | os.PathLike) -> int:
    done = backup.restore(model)
    if done > recipe.epochs:
        raise ValueError(
            f"epochs={recipe.epochs}: the run in {str(out)!r} has done {count(done, 'epoch')}. Ask for as many or "
            "more, or choose another folder."
        )
    if done:
        print(f"Resuming the run in {out} after epoch {done} of {recipe.epochs}.")
    return done


def _test(model: keras.Model, recipe: Recipe, seed: int, log: EpochLog, x: np.ndarray, y: np.ndarray) -> Result:
    """Predict the test images once, and make the result of the run."""
    labels, size = np.reshape(y, len(y)), _TEST_BATCH
    outputs = model.predict(x, batch_size=size, verbose=0)
    predicted = outputs.argmax(axis=1)
    # The mean over batches, as evaluate computes it: a loss with class weights differs between batches.
    losses = [float(to_numpy(model.loss(y[i : i + size], outputs[i : i + size]))) for i in range(0, len(x), size)]
    # NaN for an epoch before the run was resumed with this test.
    test_losses = [epoch.get("val_loss", math.nan) for epoch in log.epochs]
    return Result(
        model=model,
        recipe=recipe,
        backend=backend.backend(),
        device=backend.device(),
        versions=backend.versions(),
        seed=seed,
        train_loss=[epoch["loss"] for epoch in log.epochs],
        train_accuracy=[percent(epoch["accuracy"]) for epoch in log.epochs],
        test_loss=float(np.average(losses, weights=[len(y[i : i + size]) for i in range(0, len(x), size)])),
        test_accuracy=percent(float(np.mean(predicted == labels))),
        epoch_seconds=[epoch["seconds"] for epoch in log.epochs],
        test_images=x,
        test_labels=labels,
        predicted=predicted,
        test_losses=test_losses if any("val_loss" in epoch for epoch in log.epochs) else [],
    )
