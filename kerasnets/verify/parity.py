"""Compares a network with its PyTorch original: same weights, same batches, no dropout.

PyTorch disagrees with itself: in another memory format, or on another number of threads, it adds numbers up in another
order, and training makes the difference grow. What can be asked of another backend is therefore measured beside it, as
the noise floor: how far PyTorch is from PyTorch, from the same state and on the same batches,

- with two threads in place of one;
- in channels_last memory format in place of NCHW, where there is a convolution;
- from weights that are moved by one rounding each, at random up or down: the first two may well give the same bits, as
  for a small linear layer, and say nothing then about a backend that sums in a third order;
- in float64, with batch norm written out as a formula: PyTorch's kernel adds up one number after the other, and is a
  hundred roundings away from a more careful sum, whatever the threads and the format.

Differences are relative: the largest one in a tensor over the largest value in that tensor. A noise floor of less than
4 units of rounding is taken for 4. Two checks are made of a training:

- One step at a time: PyTorch's weights, buffers and optimizer state after 0, 10, 100 and 938 steps are loaded, and both
  sides take one step. Bounds: 1e-10 in float64, 10 times the noise floor in float32.
- Running free: both sides train on their own. Bounds: in float64, weights and buffers within 1e-10 after 100 steps; in
  float32, test loss and test accuracy within the noise floor, which is here the largest difference between any two of
  PyTorch's runs, and 4 units of rounding, or one image, more.

A few runs of PyTorch show little of how far it is from itself: a rounding can wake a sleeping unit, and one run in five
then ends elsewhere, a hundred thousand times further away than the others. Where a bound is broken, PyTorch therefore
runs up to 64 times more, each time from weights moved by other roundings. (Of runs that differ by chance alone, one in
7 is further from the first than that and 4 others are from each other, and one in 800 than that and 68 others are.)

Adam's weights in float64 may be 10 noise floors off where that is more than 1e-10: its first step from a gradient that
happens to be as small as ε has any length, so that roundings of 1e-13 in the gradients become 1e-9 in the weights.

A bias before a batch norm has no true gradient, since the mean is subtracted again. Its gradient is rounding noise, and
is bounded by the scale of its layer's other gradient. Adam turns that noise into steps of full length: these biases,
and the running means that they shift, are not compared under Adam.
"""

import contextlib
import copy
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

# PyTorch first: TensorFlow imported before torchvision (and its Triton) aborts the process.
import torch  # isort: skip
import torchvision  # noqa: F401  # isort: skip

import keras
import numpy as np

from kerasnets import backend, batches, data, layers, plots, schedules, training
from kerasnets.interop.optimizer_state import load_optimizer_state_dict
from kerasnets.interop.weights import entries, load_state_dict
from kerasnets.plots.canvas import Picture
from kerasnets.training import recipes
from kerasnets.verify import originals

OPTIMIZERS = ("SGD", "Adam", "StepLR")
DTYPES = ("float64", "float32")
#: Steps after which PyTorch's state is loaded; 938 is an epoch of 60,000 images in batches of 64.
POINTS = (0, 10, 100, 938)
#: Bound of relative differences in float64.
EXACT = 1e-10
#: Bound of one step in float32, in noise floors.
FACTOR = 10.0
#: Units of rounding that a noise floor is at least.
LEAST = 4.0
#: Further runs of PyTorch, where a bound is broken.
MORE = 64
#: Steps of running free in float64.
FREE_STEPS = 100

#: Quantity ("gradients") → tensor's name → array.
Values = dict[str, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Case:
    """A training that both sides do.

    Attributes:
        name: one of :data:`OPTIMIZERS`.
        recipe: network without dropout, loss, optimizer, batch size and data set.
        drops: arguments of ``StepLR`` beside the learning rate; None: a constant rate.
        seed: seed of initial weights and batch order.
    """

    name: str
    recipe: recipes.Recipe
    drops: Mapping[str, Any] | None = None
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Figure:
    """One comparison.

    Attributes:
        network, optimizer, dtype: what was trained.
        check: ``"one step"`` or ``"running free"``.
        steps: steps done before the comparison.
        quantity: what was compared: outputs, loss, gradients, weights, buffers, test loss or test accuracy.
        tensor: the tensor that came closest to its bound, by PyTorch's name.
        difference: between Keras and PyTorch: relative, or in percentage points for the test accuracy.
        noise: the noise floor, in the same unit.
        bound: what the difference must not exceed.
    """

    network: str
    optimizer: str
    dtype: str
    check: str
    steps: int
    quantity: str
    tensor: str
    difference: float
    noise: float
    bound: float

    @property
    def share(self) -> float:
        """The difference over its bound."""
        return self.difference / self.bound

    @property
    def broken(self) -> bool:
        """Whether the bound is broken; a difference that is no number breaks it."""
        return not self.difference <= self.bound


def case(name: str, recipe: recipes.Recipe, steps: int, seed: int = 0) -> Case:
    """The training called `name` of a recipe's network.

    Args:
        name: ``"SGD"`` or ``"Adam"``, with the recipe's options where that is its optimizer, else learning rate 0.01
            and momentum 0.9, or PyTorch's defaults; or ``"StepLR"``: the recipe's optimizer, with a drop of its rate by
            a tenth every 50 steps (in shorter runs: half-way).
        recipe: a recipe of the network.
        steps: length of the run.
        seed: seed of initial weights and batch order.

    Raises:
        ValueError: there is no such training, or no step.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"Unknown optimizer {name!r}; expected one of {', '.join(map(repr, OPTIMIZERS))}.")
    if steps < 1:
        raise ValueError(f"steps={steps}: expected at least 1.")
    if recipe.network in ("ConvNeuralNetwork", "FashionNetwork"):
        recipe = recipe.replace(options={**recipe.options, "dropout": 0.0})
    if name == "StepLR":
        return Case(name, recipe, {"step_size": 2, "gamma": 0.9, "steps_per_epoch": max(1, min(steps, 100) // 4)}, seed)
    if name != recipe.optimizer:
        options = {"learning_rate": 0.01, "momentum": 0.9} if name == "SGD" else {"learning_rate": 1e-3}
        recipe = recipe.replace(optimizer=name, optimizer_options=options)
    return Case(name, recipe, None, seed)


def arrays_of(recipe: recipes.Recipe):
    """The recipe's data set, or the sample of Fashion-MNIST where that is not on this machine.

    Returns:
        The recipe, moved to the sample if need be; and ``((x, y), (x_test, y_test))``, padded as it says.
    """
    try:
        found = data.load_data(recipe.dataset, download=False)
    except data.DataNotFoundError:
        recipe = recipe.replace(dataset="fashion_mnist_sample")
        found = data.load_data(recipe.dataset)
    return recipe, training.load_recipe_data(recipe, found)


# --- PyTorch's side ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way of PyTorch to compute the same."""

    name: str
    threads: int = 1
    memory_format: torch.memory_format = torch.contiguous_format
    nudge: int = 0  # seed of the roundings; 0: none
    composed: bool = False


PLAIN = Variant("NCHW, 1 thread")
_OTHERS = (
    Variant("2 threads", threads=2),
    Variant("channels_last", memory_format=torch.channels_last),
    Variant("one rounding", nudge=1),
    Variant("batch norm's formula", composed=True),
)


@dataclasses.dataclass(frozen=True)
class State:
    """PyTorch's three state_dicts after so many steps."""

    steps: int
    model: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, Any] | None = None
    scheduler: Mapping[str, Any] | None = None


class Original:
    """The original with its optimizer and scheduler, in some state."""

    def __init__(self, case: Case, dtype: str, state: State, variant: Variant = PLAIN):
        recipe = case.recipe
        self.case, self.variant, self.steps, self.dtype = case, variant, state.steps, dtype
        self.model = originals.build(recipe.network, **recipe.options)
        self.model.to(dtype=getattr(torch, dtype), memory_format=variant.memory_format)
        self.model.load_state_dict(state.model)
        if variant.nudge:
            self._nudge()
        if variant.composed:
            for module in _batch_norms(self.model):
                module.forward = functools.partial(_batch_norm, module)
        options = {{"learning_rate": "lr"}.get(key, key): value for key, value in recipe.optimizer_options.items()}
        self.optimizer = getattr(torch.optim, recipe.optimizer)(self.model.parameters(), **options)
        self.scheduler = None
        if case.drops:
            drops = {key: value for key, value in case.drops.items() if key != "steps_per_epoch"}
            self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, **drops)
        if state.optimizer is not None:
            # A copy: PyTorch's optimizer goes on in the tensors that it is given.
            self.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
            if self.scheduler:
                self.scheduler.load_state_dict(state.scheduler)

    def _nudge(self) -> None:
        generator = torch.Generator().manual_seed(self.variant.nudge)
        with torch.no_grad():
            for parameter in self.model.parameters():
                up = torch.rand(parameter.shape, generator=generator) < 0.5
                towards = torch.where(up, torch.inf, -torch.inf).to(parameter.dtype)
                parameter.copy_(torch.nextafter(parameter, towards))

    def images(self, x: np.ndarray) -> torch.Tensor:
        """A batch as the documents' loaders give it, ``(batch, 1, height, width)``."""
        images = torch.from_numpy(x).to(getattr(torch, self.dtype)).unsqueeze(1)
        return images.contiguous(memory_format=self.variant.memory_format)

    def step(self, x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """One training step on a batch; returns the outputs before it, and the loss."""
        self.model.train()
        self.optimizer.zero_grad()
        outputs = self.model(self.images(x))
        loss = criterion(self.case.recipe)(outputs, torch.from_numpy(y))
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        if self.scheduler and self.steps % self.case.drops["steps_per_epoch"] == 0:
            self.scheduler.step()
        return outputs.detach(), loss.detach()

    def state(self) -> State:
        """A copy of the state."""
        parts = [part.state_dict() if part else None for part in (self.model, self.optimizer, self.scheduler)]
        return State(self.steps, *copy.deepcopy(parts))

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Outputs in evaluation mode."""
        self.model.eval()
        with torch.no_grad():
            return np.concatenate([self.model(self.images(x[i : i + 500])).numpy() for i in range(0, len(x), 500)])

    def values(self, x: np.ndarray, y: np.ndarray) -> Values:
        """Take one step on a batch; returns everything that it touched."""
        with _threads(self.variant.threads):
            evaluated = self.outputs(x)
            outputs, loss = self.step(x, y)
        return {
            "outputs": {"in training": outputs.numpy(), "in evaluation": evaluated},
            "loss": {"loss": loss.numpy()},
            "gradients": {name: p.grad.numpy() for name, p in self.model.named_parameters()},
            "weights": {name: p.detach().numpy() for name, p in self.model.named_parameters()},
            "buffers": _running(self.model.state_dict()),
        }


def criterion(recipe: recipes.Recipe) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The recipe's loss in PyTorch, of outputs and labels."""
    options = dict(recipe.loss_options)
    from_probabilities = options.pop("from_probabilities", False)
    loss = getattr(torch.nn, recipe.loss)(**options)
    return (lambda outputs, y: loss(torch.log(outputs), y)) if from_probabilities else loss


def _batch_norms(model: torch.nn.Module) -> list[torch.nn.Module]:
    return [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]


def _batch_norm(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The formula of ``torch.nn.BatchNorm2d``, operation by operation."""
    mean, variance = module.running_mean, module.running_var
    if module.training:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        variance, mean = torch.var_mean(x, axes, correction=0)
        count = x.numel() // x.shape[1]
        with torch.no_grad():
            module.running_mean.lerp_(mean, module.momentum)
            module.running_var.lerp_(variance * (count / (count - 1)), module.momentum)
    mean, variance, weight, bias = (
        value.reshape(1, -1, *[1] * (x.ndim - 2)) for value in (mean, variance, module.weight, module.bias)
    )
    return (x - mean) / torch.sqrt(variance + module.eps) * weight + bias


def _running(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in state.items() if ".running_" in name}


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of running free.

    Attributes:
        losses: mean training loss of the epoch so far, after each step.
        weights: weights and running statistics at the end, by PyTorch's names.
        test_loss: mean loss on the test images.
        test_accuracy: in percent.
        states: PyTorch's states on the way, by steps.
    """

    losses: Sequence[float]
    weights: Mapping[str, np.ndarray]
    test_loss: float
    test_accuracy: float
    states: Mapping[int, State] = dataclasses.field(default_factory=dict)


def epochs(n: int, case: Case, steps: int) -> list[list[np.ndarray]]:
    """Which images each of the first `steps` batches holds, by epoch, for `n` images in all."""
    found, size = [], case.recipe.batch_size
    while steps > 0:
        order = batches.epoch_order(n, case.seed, len(found))
        found.append([order[i : i + size] for i in range(0, n, size)][:steps])
        steps -= len(found[-1])
    return found


def start(case: Case) -> State:
    """PyTorch's own initial weights."""
    torch.manual_seed(case.seed)
    return State(0, originals.build(case.recipe.network, **case.recipe.options).state_dict())


def run_original(
    case: Case, arrays, steps: int, dtype: str = "float32", variant: Variant = PLAIN, points: Sequence[int] = ()
) -> Run:
    """Train the original for so many steps.

    Args:
        case: what to train.
        arrays: ``((x, y), (x_test, y_test))``.
        steps: number of steps.
        dtype: ``"float32"`` or ``"float64"``.
        variant: how PyTorch computes.
        points: after how many steps to keep the state.
    """
    (x, y), test = arrays
    with _threads(variant.threads):
        original = Original(case, dtype, start(case), variant)
        states, losses = {}, []
        for epoch in epochs(len(x), case, steps):
            total, seen = 0.0, 0
            for batch in epoch:
                if original.steps in points:
                    states[original.steps] = original.state()
                _, loss = original.step(x[batch], y[batch])
                total, seen = total + float(loss) * len(batch), seen + len(batch)
                losses.append(total / seen)
        if original.steps in points:
            states[original.steps] = original.state()
        outputs = original.outputs(test[0])
    kept = {name: np.asarray(value) for name, value in original.model.state_dict().items()}
    kept = {name: value for name, value in kept.items() if value.dtype.kind == "f"}
    return Run(losses, kept, *tested(case, outputs, test[1]), states)


def tested(case: Case, outputs: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean loss (in float64) and accuracy in percent of outputs for the labels `y`."""
    loss = criterion(case.recipe)(torch.from_numpy(outputs).double(), torch.from_numpy(y))
    return float(loss), 100.0 * float((outputs.argmax(axis=1) == y).mean())


def variants(case: Case, dtype: str) -> list[Variant]:
    """PyTorch's other ways to compute the case, as far as they can make a difference."""
    original = originals.build(case.recipe.network, **case.recipe.options)
    convolves = any(parameter.ndim == 4 for parameter in original.parameters())
    normalises = bool(_batch_norms(original)) and dtype == "float64"
    return [
        variant
        for variant in _OTHERS
        if (convolves or variant.memory_format == torch.contiguous_format) and (normalises or not variant.composed)
    ]


# --- Keras's side -----------------------------------------------------------------------------------------------------


class _Recorder(keras.optimizers.Optimizer):
    """Keeps the gradients, and leaves the weights alone: exact gradients on every backend, from its own step."""

    def __init__(self):
        super().__init__(learning_rate=0.0, name="recorder")  # TensorFlow takes no name with "_" before

    def build(self, variables):
        super().build(variables)
        self.gradients = self.add_optimizer_variables(variables, "gradient")

    def update_step(self, gradient, variable, learning_rate):
        self.assign(self.gradients[self._get_variable_index(variable)], gradient)


class Ported:
    """The Keras network, compiled as the case says, in Keras's current float type."""

    def __init__(self, case: Case):
        self.case = case
        recipe = case.recipe
        if case.drops:
            rate = schedules.StepLR(recipe.optimizer_options["learning_rate"], **case.drops)
            recipe = recipe.replace(optimizer_options={**recipe.optimizer_options, "learning_rate": rate})
        self.model = training.compile_recipe(recipe)
        self._probe = training.compile_recipe(recipe)
        self._probe.compile(optimizer=_Recorder(), loss=self._probe.loss)

    def load(self, state: State) -> None:
        """Take over PyTorch's weights, buffers, optimizer state and schedule."""
        load_state_dict(self.model, state.model)
        load_state_dict(self._probe, state.model)
        names = [name for name in state.model if name.endswith((".weight", ".bias"))]
        kept = state.optimizer
        if kept is None:
            kept = Original(self.case, keras.config.floatx(), state).optimizer.state_dict()
        load_optimizer_state_dict(self.model, kept, names, state.scheduler, iterations=state.steps)

    def weights(self) -> dict[str, np.ndarray]:
        """Weights and running statistics, in PyTorch's names, shapes and orders."""
        return {
            entry.name: entry.to_torch(_numpy(entry.variable))
            for entry in entries(self.model)
            if entry.variable is not None
        }

    def values(self, x: np.ndarray, y: np.ndarray) -> Values:
        """Take one step on a batch; returns everything that it touched."""
        step = {"batch_size": len(x), "shuffle": False, "verbose": 0}
        evaluated = self.model.predict(x, verbose=0)
        self._probe.fit(x, y, **step)
        slots = zip(self._probe.trainable_variables, self._probe.optimizer.gradients, strict=True)
        slot_of = {id(variable): slot for variable, slot in slots}
        gradients = {
            entry.name: entry.to_torch(_numpy(slot_of[id(entry.variable)]))
            for entry in entries(self._probe)
            if id(entry.variable) in slot_of
        }
        # Not the logged loss, which is float32 on the torch backend.
        outputs = self._probe(x, training=True)
        loss = self.model.loss(y, outputs)
        self.model.fit(x, y, **step)
        weights = self.weights()
        return {
            "outputs": {"in training": _numpy(outputs), "in evaluation": _numpy(evaluated)},
            "loss": {"loss": _numpy(loss)},
            "gradients": gradients,
            "weights": {name: weights[name] for name in gradients},
            "buffers": _running(weights),
        }

    def run(self, arrays, steps: int) -> Run:
        """Train for so many steps with ``fit``, from PyTorch's initial weights."""
        (x, y), test = arrays
        self.load(start(self.case))
        losses: list[float] = []
        log = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(float(logs["loss"])))
        for epoch in epochs(len(x), self.case, steps):
            order = np.concatenate(epoch)
            self.model.fit(x[order], y[order], self.case.recipe.batch_size, shuffle=False, verbose=0, callbacks=[log])
        outputs = self.model.predict(test[0], batch_size=500, verbose=0)
        return Run(losses, self.weights(), *tested(self.case, _numpy(outputs), test[1]))

    def without_gradient(self) -> dict[str, str]:
        """Biases that feed a batch norm → the batch norm's name, both by PyTorch's names."""
        found = {}
        for layer, following in itertools.pairwise(self.model.layers):
            if isinstance(following, layers.BatchNormalization):
                found[f"{layer.torch_name}.bias"] = following.torch_name
        return found


def _numpy(value) -> np.ndarray:
    return keras.ops.convert_to_numpy(value)


# --- The comparison ---------------------------------------------------------------------------------------------------


def relative(actual: np.ndarray, expected: np.ndarray, scale: float | None = None) -> float:
    """The largest difference of two tensors over `scale`, by default the largest value of `expected`."""
    if actual.shape != expected.shape:
        raise ValueError(f"Tensors of the shapes {actual.shape} and {expected.shape} can't be compared.")
    scale = float(np.abs(expected).max()) if scale is None else scale
    return float(np.abs(actual.astype("float64") - expected).max()) / (scale or 1.0)


class Comparison:
    """A case on the active backend against PyTorch.

    Args:
        case: what to train.
        arrays: ``((x, y), (x_test, y_test))``.
        steps: steps of running free in float32, and the last point of :data:`POINTS` that is used.
    """

    def __init__(self, case: Case, arrays, steps: int):
        self.case, self.arrays, self.steps = case, arrays, steps
        self.points = [point for point in POINTS if point <= steps]
        # In float32 for both types: the states that it passes are as good in float64.
        self.original = run_original(case, arrays, steps, points=self.points)
        #: Title → whose → mean training loss so far, by step.
        self.curves: dict[str, dict[str, Sequence[float]]] = {}

    def figures(self, dtype: str) -> list[Figure]:
        """Both checks in `dtype`, which becomes Keras's float type."""
        backend.set_dtype(dtype)
        ported = Ported(self.case)
        return [*self.one_step(ported, dtype), *self.running_free(ported, dtype)]

    def _figure(self, dtype: str, check: str, steps: int, quantity: str, tensor: str, difference, noise) -> Figure:
        recipe, least = self.case.recipe, LEAST * float(np.finfo(dtype).eps)
        if quantity == "test accuracy":
            least = 100.0 / len(self.arrays[1][1])  # an image
        bound = noise + least if (dtype, check) == ("float32", "running free") else FACTOR * max(noise, least)
        if dtype == "float64":
            bound = max(EXACT, bound) if recipe.optimizer == "Adam" and quantity == "weights" else EXACT
        return Figure(recipe.network, self.case.name, dtype, check, steps, quantity, tensor, difference, noise, bound)

    def one_step(self, ported: Ported, dtype: str) -> list[Figure]:
        """One step from each of PyTorch's states; the tensor nearest to its bound of each quantity."""
        (x, y), _ = self.arrays
        found = []
        for point in self.points:
            batch = epochs(len(x), self.case, point + 1)[-1][-1]
            state, images, labels = self.original.states[point], x[batch].astype(dtype), y[batch]
            run = functools.partial(_one_step, self.case, dtype, state, images, labels)
            ported.load(state)
            sides = ported.values(images, labels), run(PLAIN)
            compare = functools.partial(self._stepped, dtype, point, ported.without_gradient(), *sides)
            found += self._beside_noise(dtype, run, compare)
        return found

    def running_free(self, ported: Ported, dtype: str) -> list[Figure]:
        """Both sides on their own: all weights in float64, test loss and accuracy in float32."""
        case = self.case
        steps = min(self.steps, FREE_STEPS) if dtype == "float64" else self.steps
        run = functools.partial(run_original, case, self.arrays, steps, dtype)
        original = self.original if dtype == "float32" else run(PLAIN)
        (x, y), (x_test, y_test) = self.arrays
        keras_run = ported.run(((x.astype(dtype), y), (x_test.astype(dtype), y_test)), steps)
        self.curves[f"{case.recipe.network}, {case.name}, {dtype}"] = {
            "PyTorch": original.losses,
            f"kerasnets on {keras.backend.backend()}": keras_run.losses,
        }
        if dtype == "float64":
            compare = functools.partial(self._trained, steps, ported.without_gradient(), keras_run, original)
        else:
            compare = functools.partial(self._tested, steps, keras_run, original)
        return self._beside_noise(dtype, run, compare)

    def _beside_noise(self, dtype: str, run: Callable, compare: Callable[[list], list[Figure]]) -> list[Figure]:
        """Figures that `compare` makes of PyTorch's other runs, with further ones as long as a bound is broken."""
        others = [run(variant) for variant in variants(self.case, dtype)]
        found = compare(others)
        for nudge in range(2, 2 + MORE):
            if not any(figure.broken for figure in found):
                break
            others.append(run(Variant("one rounding", nudge=nudge)))
            found = compare(others)
        return found

    def _stepped(
        self, dtype: str, point: int, no_gradient, actual: Values, expected: Values, others: list[Values]
    ) -> list[Figure]:
        """Of each quantity the tensor nearest to its bound, after one step."""
        found = []
        for quantity, tensors in expected.items():
            figures = []
            for name, tensor in tensors.items():
                scale = None
                if name in no_gradient and quantity == "gradients":
                    scale = float(np.abs(tensors[name.replace(".bias", ".weight")]).max())
                elif name in no_gradient and self.case.recipe.optimizer == "Adam":
                    continue
                noise = max(relative(other[quantity][name], tensor, scale) for other in others)
                difference = relative(actual[quantity][name], tensor, scale)
                figures.append(self._figure(dtype, "one step", point, quantity, name, difference, noise))
            if figures:
                found.append(max(figures, key=nearness))
        return found

    def _trained(self, steps: int, no_gradient, keras_run: Run, original: Run, others: list[Run]) -> list[Figure]:
        """The tensor nearest to its bound after running free in float64."""
        left_out = set()
        if self.case.recipe.optimizer == "Adam":
            left_out = {*no_gradient, *(f"{batch_norm}.running_mean" for batch_norm in no_gradient.values())}
        figures = []
        for name, tensor in original.weights.items():
            if name not in left_out:
                noise = max(relative(other.weights[name], tensor) for other in others)
                difference = relative(keras_run.weights[name], tensor)
                figures.append(self._figure("float64", "running free", steps, "weights", name, difference, noise))
        return [max(figures, key=nearness)]

    def _tested(self, steps: int, keras_run: Run, original: Run, others: list[Run]) -> list[Figure]:
        """Test loss and accuracy in float32."""
        losses = [run.test_loss / original.test_loss for run in (original, *others)]
        accuracies = [run.test_accuracy for run in (original, *others)]
        loss = abs(keras_run.test_loss / original.test_loss - 1.0)
        accuracy = abs(keras_run.test_accuracy - original.test_accuracy)
        free = ("float32", "running free", steps)
        return [
            self._figure(*free, "test loss", "", loss, max(losses) - min(losses)),
            self._figure(*free, "test accuracy", "", accuracy, max(accuracies) - min(accuracies)),
        ]


def _one_step(case: Case, dtype: str, state: State, x: np.ndarray, y: np.ndarray, variant: Variant) -> Values:
    """What PyTorch makes of one step from `state`."""
    return Original(case, dtype, state, variant).values(x, y)


def nearness(figure: Figure) -> float:
    """The share of the bound, infinite for a difference that is no number: a key to sort by."""
    return figure.share if figure.difference == figure.difference else float("inf")


def worst(figures: Sequence[Figure]) -> list[Figure]:
    """Of each network, optimizer, type, check and quantity the figure that is nearest to its bound."""
    found: dict[tuple, Figure] = {}
    for figure in figures:
        key = (figure.network, figure.optimizer, figure.dtype, figure.check, figure.quantity)
        found[key] = max(found.get(key, figure), figure, key=nearness)
    return list(found.values())


def picture(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Picture:
    """Both sides' loss curves, a panel for each of :attr:`Comparison.curves`, two in a row."""
    columns = min(len(curves), 2)
    rows = -(-len(curves) // columns)
    figure = Picture(figsize=(5.5 * columns, 3.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for (title, losses), axes in zip(curves.items(), panels, strict=False):
        plots.learning_curves(losses, xlabel="step", ylabel="mean training loss so far", ax=axes)
        # A thin line on a broad pale one: they lie on each other, and both are to be seen.
        for line, style in zip(axes.lines, ({"linewidth": 7.0, "alpha": 0.4}, {"linewidth": 1.5}), strict=True):
            line.set(marker="", **style)
        axes.legend()
        axes.set_title(title)
    for axes in panels:  # those left over
        axes.set_axis_off()
    return figure
