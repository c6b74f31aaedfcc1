"""A case on the active backend against PyTorch: one step at a time, and running free."""

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np

from kerasnets import backend
from kerasnets.verify.differences import relative_difference
from kerasnets.verify.parity.case import Case, Values, list_batches
from kerasnets.verify.parity.figure import Figure, compute_bound, nearness
from kerasnets.verify.parity.original import (
    PLAIN,
    Original,
    Run,
    State,
    Variant,
    list_variants,
    train_original,
)
from kerasnets.verify.parity.ported import Ported

#: Steps after which PyTorch's state is loaded; 938 is an epoch of 60,000 images in batches of 64.
POINTS = (0, 10, 100, 938)
#: Further runs of PyTorch if a bound is broken.
MORE = 64
#: Steps of running free in float64.
FREE_STEPS = 100


class Comparison:
    """A case on the active backend against PyTorch.

    Args:
        case: what to train.
        arrays: ``((x, y), (x_test, y_test))``.
        steps: steps of running free in float32; also the last of :data:`POINTS` to use.

    Attributes:
        curves: title → whose → mean training loss so far, by step; filled by :meth:`compare`.
    """

    def __init__(self, case: Case, arrays, steps: int):
        self.case, self.arrays, self.steps = case, arrays, steps
        self.points = [point for point in POINTS if point <= steps]
        # In float32 for both types: the states on its way serve float64 as well.
        self.original = train_original(case, arrays, steps, points=self.points)
        self.curves: dict[str, dict[str, Sequence[float]]] = {}

    def compare(self, dtype: str) -> list[Figure]:
        """Make both checks in `dtype`, which becomes Keras's float type."""
        backend.set_dtype(dtype)
        ported = Ported(self.case)
        return [*self.compare_steps(ported, dtype), *self.compare_runs(ported, dtype)]

    def compare_steps(self, ported: Ported, dtype: str) -> list[Figure]:
        """Take one step from each of PyTorch's states; returns the figure nearest to its bound for each quantity."""
        (x, y), _ = self.arrays
        found = []
        for point in self.points:
            batch = list_batches(len(x), self.case, point + 1)[-1][-1]
            state, images, labels = self.original.states[point], x[batch].astype(dtype), y[batch]
            step = functools.partial(_step_original, self.case, dtype, state, images, labels)
            ported.load(state)
            sides = ported.values(images, labels), step(PLAIN)
            compare = functools.partial(
                self._compare_values, dtype, point, ported.find_biases_without_gradient(), *sides
            )
            found += self._compare_with_noise(dtype, step, compare)
        return found

    def compare_runs(self, ported: Ported, dtype: str) -> list[Figure]:
        """Train both sides on their own: returns weights in float64, test loss and accuracy in float32."""
        case = self.case
        steps = min(self.steps, FREE_STEPS) if dtype == "float64" else self.steps
        train = functools.partial(train_original, case, self.arrays, steps, dtype)
        original = self.original if dtype == "float32" else train(PLAIN)
        (x, y), (x_test, y_test) = self.arrays
        keras_run = ported.train(((x.astype(dtype), y), (x_test.astype(dtype), y_test)), steps)
        self.curves[f"{case.recipe.network}, {case.name}, {dtype}"] = {
            "PyTorch": original.losses,
            f"kerasnets on {keras.backend.backend()}": keras_run.losses,
        }
        if dtype == "float64":
            no_gradient = ported.find_biases_without_gradient()
            compare = functools.partial(self._compare_weights, steps, no_gradient, keras_run, original)
        else:
            compare = functools.partial(self._compare_scores, steps, keras_run, original)
        return self._compare_with_noise(dtype, train, compare)

    def _compare_with_noise(self, dtype: str, run: Callable, compare: Callable[[list], list[Figure]]) -> list[Figure]:
        """Compare beside PyTorch's other runs, and beside further ones while a bound is broken."""
        others = [run(variant) for variant in list_variants(self.case, dtype)]
        found = compare(others)
        for nudge in range(2, 2 + MORE):
            if not any(figure.broken for figure in found):
                break
            others.append(run(Variant("one rounding", nudge=nudge)))
            found = compare(others)
        return found

    def _compare_values(
        self, dtype: str, point: int, no_gradient, actual: Values, expected: Values, others: list[Values]
    ) -> list[Figure]:
        """For each quantity the tensor nearest to its bound, after one step."""
        found = []
        for quantity, tensors in expected.items():
            figures = []
            for name, tensor in tensors.items():
                scale = None
                if name in no_gradient and quantity == "gradients":
                    scale = float(np.abs(tensors[name.replace(".bias", ".weight")]).max())
                elif name in no_gradient and self.case.recipe.optimizer == "Adam":
                    continue
                noise = max(relative_difference(other[quantity][name], tensor, scale) for other in others)
                difference = relative_difference(actual[quantity][name], tensor, scale)
                figures.append(self._make_figure(dtype, "one step", point, quantity, name, difference, noise))
            if figures:
                found.append(max(figures, key=nearness))
        return found

    def _compare_weights(
        self, steps: int, no_gradient, keras_run: Run, original: Run, others: list[Run]
    ) -> list[Figure]:
        """The tensor nearest to its bound after running free in float64."""
        left_out = set()
        if self.case.recipe.optimizer == "Adam":
            left_out = {*no_gradient, *(f"{batch_norm}.running_mean" for batch_norm in no_gradient.values())}
        figures = []
        for name, tensor in original.weights.items():
            if name not in left_out:
                noise = max(relative_difference(other.weights[name], tensor) for other in others)
                difference = relative_difference(keras_run.weights[name], tensor)
                figures.append(self._make_figure("float64", "running free", steps, "weights", name, difference, noise))
        return [max(figures, key=nearness)]

    def _compare_scores(self, steps: int, keras_run: Run, original: Run, others: list[Run]) -> list[Figure]:
        """Test loss and accuracy in float32."""
        losses = [run.test_loss / original.test_loss for run in (original, *others)]
        accuracies = [run.test_accuracy for run in (original, *others)]
        loss = abs(keras_run.test_loss / original.test_loss - 1.0)
        accuracy = abs(keras_run.test_accuracy - original.test_accuracy)
        free = ("float32", "running free", steps)
        return [
            self._make_figure(*free, "test loss", "", loss, max(losses) - min(losses)),
            self._make_figure(*free, "test accuracy", "", accuracy, max(accuracies) - min(accuracies)),
        ]

    def _make_figure(
        self, dtype: str, check: str, steps: int, quantity: str, tensor: str, difference: float, noise: float
    ) -> Figure:
        recipe, test_images = self.case.recipe, len(self.arrays[1][1])
        bound = compute_bound(recipe.optimizer, dtype, check, quantity, noise, test_images)
        return Figure(recipe.network, self.case.name, dtype, check, steps, quantity, tensor, difference, noise, bound)


def _step_original(case: Case, dtype: str, state: State, x: np.ndarray, y: np.ndarray, variant: Variant) -> Values:
    """Take one step in PyTorch from `state`."""
    return Original(case, dtype, state, variant).values(x, y)
