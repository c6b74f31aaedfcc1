"""A training that changes its backend after each epoch, and goes on from the ``.keras`` file that the last one left.

Each leg runs in a process of its own, since a process has one backend. The learning rate falls by ``StepLR`` after each
epoch, so that a schedule is carried over, too; dropout is 0.

The noise floor in float32 is measured on the first backend: how far test losses and accuracies of uninterrupted runs
are apart that begin with weights moved by one rounding each; of 3 such runs, and of up to 64 more where a bound is
broken, for the reason that :mod:`kerasnets.parity` gives.
"""

import dataclasses
import math
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from kerasnets import backend as backends
from kerasnets._internal.atomic import replaced
from kerasnets.training import recipes

# Keras is imported in the legs only: this process has no backend.

#: Bound of the relative difference of the weights in float64.
EXACT = 1e-9
#: Uninterrupted runs from weights moved by one rounding each, how many more where a bound is broken, how many at once.
NUDGED, MORE, AT_ONCE = 3, 64, 8


@dataclasses.dataclass(frozen=True)
class Leg:
    """Some epochs on one backend.

    Attributes:
        backend: name of the backend.
        recipe: what to train.
        dtype: ``"float32"`` or ``"float64"``.
        epochs: first epoch, from 0, and the one after the last.
        target: the ``.keras`` file to leave; None: none.
        source: the ``.keras`` file to go on from; None: PyTorch's rules draw initial weights.
        device: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        seed: seed of initial weights and batch order.
        nudge: not 0: move each weight by one rounding first, up or down as a generator with this seed says.
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
    """What a leg came to.

    Attributes:
        backend: the backend that computed.
        train_loss: mean training loss, by epoch.
        test_loss: mean loss on the test images.
        test_accuracy: in percent.
        test_images: how many test images there are.
        weights: weights and running statistics by PyTorch's names.
        iterations: optimizer steps done since the start of the training.
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


@dataclasses.dataclass(frozen=True)
class Result:
    """A relay beside uninterrupted runs on its first backend.

    Attributes:
        dtype: the type.
        legs: the relay's outcomes.
        whole: the uninterrupted run.
        nudged: uninterrupted runs from weights moved by one rounding, in float32.
    """

    dtype: str
    legs: list[Outcome]
    whole: Outcome
    nudged: list[Outcome]

    @property
    def figures(self) -> dict[str, tuple[float, float | None, float]]:
        """What was compared → difference, noise floor (None: not measured), bound.

        In float64 the weights at the end; in float32 test loss (relative) and test accuracy (percentage points).
        """
        last = self.legs[-1]
        if self.dtype == "float64":
            return {"weights": (relative(last.weights, self.whole.weights), None, EXACT)}
        found = {}
        # Beside the noise floor: 4 roundings of the loss, or one image.
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
        """What breaks its bound."""
        return [name for name, (difference, _, bound) in self.figures.items() if not difference <= bound]


def relative(actual: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """The largest difference in any tensor over that tensor's largest value."""
    return max(
        float(np.abs(actual[name] - tensor).max() / (np.abs(tensor).max() or 1.0)) for name, tensor in expected.items()
    )


def recipe_of(network: str, dataset: str | None = None) -> recipes.Recipe:
    """The recipe that a relay runs: the network's own, without dropout.

    Args:
        network: the network's name.
        dataset: the data set's name; default: the first the documents train it on.
    """
    recipe = recipes.find(network, dataset)
    if network in ("ConvNeuralNetwork", "FashionNetwork"):
        recipe = recipe.replace(options={**recipe.options, "dropout": 0.0})
    return recipe


def run(
    order: Sequence[str], recipe: recipes.Recipe, dtype: str, folder: Path, device: str = "cpu", seed: int = 0
) -> Result:
    """Run a relay, an epoch on each backend, and what it is compared with.

    Args:
        order: the backends, all of them installed; a name may come twice.
        recipe: what to train.
        dtype: ``"float32"`` or ``"float64"``.
        folder: where the legs leave ``relay-1.keras`` and so on.
        device: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        seed: seed of initial weights and batch order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    common = {"recipe": recipe, "dtype": dtype, "device": device, "seed": seed}
    legs, source = [], None
    for number, name in enumerate(order):
        target = folder / f"relay-{number + 1}.keras"
        legs.append(in_child(Leg(name, epochs=(number, number + 1), source=source, target=target, **common))[0])
        source = target
    uninterrupted = Leg(order[0], epochs=(0, len(order)), **common)
    nudges = range(1, NUDGED + 1) if dtype == "float32" else ()
    whole, *nudged = in_child(uninterrupted, *(dataclasses.replace(uninterrupted, nudge=nudge) for nudge in nudges))
    result = Result(dtype, legs, whole, nudged)
    while result.broken and dtype == "float32" and len(result.nudged) < NUDGED + MORE:
        more = range(len(result.nudged) + 1, len(result.nudged) + 1 + AT_ONCE)
        result.nudged.extend(in_child(*(dataclasses.replace(uninterrupted, nudge=nudge) for nudge in more)))
    return result


def in_child(*legs: Leg) -> list[Outcome]:
    """Run legs of one backend in one fresh process.

    Raises:
        concurrent.futures.process.BrokenProcessPool: the process died.
        Exception: what a leg raises.
    """
    fresh = multiprocessing.get_context("spawn")
    begin = {"initializer": _begin, "initargs": (legs[0].backend, legs[0].device)}
    with ProcessPoolExecutor(1, mp_context=fresh, **begin) as pool:
        return list(pool.map(run_leg, legs))


def _begin(backend: str, device: str) -> None:
    backends.set_backend(backend)
    backends.set_device(device)


def run_leg(leg: Leg) -> Outcome:
    """Train for the epochs of `leg`, in a process whose backend is the leg's."""
    import keras

    from kerasnets import models, schedules, training
    from kerasnets.interop.weights import state_dict

    backends.set_dtype(leg.dtype)
    (x, y), (x_test, y_test) = training.load_recipe_data(leg.recipe)
    if leg.source is None:
        keras.utils.set_random_seed(leg.seed)
        options = dict(leg.recipe.optimizer_options)
        steps = math.ceil(len(x) / leg.recipe.batch_size)
        options["learning_rate"] = schedules.StepLR(options["learning_rate"], 1, 0.5, steps_per_epoch=steps)
        model = training.compile_recipe(leg.recipe.replace(optimizer_options=options))
    else:
        model = models.load_model(leg.source)
    if leg.nudge:
        generator = np.random.default_rng(leg.nudge)
        for variable in model.trainable_variables:
            value = keras.ops.convert_to_numpy(variable)
            towards = np.where(generator.random(value.shape) < 0.5, -np.inf, np.inf).astype(value.dtype)
            variable.assign(np.nextafter(value, towards))
    first, end = leg.epochs
    history = model.fit(
        x.astype(leg.dtype), y, batch_size=leg.recipe.batch_size, seed=leg.seed, initial_epoch=first, epochs=end,
        verbose=0,
    )  # fmt: skip
    test = model.evaluate(x_test.astype(leg.dtype), y_test, batch_size=500, verbose=0, return_dict=True)
    if leg.target is not None:
        with replaced(leg.target) as unfinished:
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
