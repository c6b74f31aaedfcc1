"""PyTorch's side: the original in one of several ways to compute the same."""

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from kerasnets.training import recipes
from kerasnets.verify import originals
from kerasnets.verify.parity.case import Case, Values, list_batches


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of PyTorch's ways to compute the same.

    Attributes:
        name: what to call it.
        threads: number of threads.
        memory_format: of weights and images.
        nudge: seed of the roundings by which the initial weights are moved; 0 to leave them alone.
        composed: whether batch norm is computed by its formula instead of PyTorch's kernel.
    """

    name: str
    threads: int = 1
    memory_format: torch.memory_format = torch.contiguous_format
    nudge: int = 0
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
    """PyTorch's three state_dicts after a number of steps."""

    steps: int
    model: Mapping[str, torch.Tensor]
    optimizer: dict[str, Any] | None = None
    scheduler: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """The result of training without intervention.

    Attributes:
        losses: mean training loss of the epoch so far, after each step.
        weights: final weights and running statistics, by PyTorch's names.
        test_loss: mean loss on the test images.
        test_accuracy: in percent.
        states: PyTorch's intermediate states, by steps.
    """

    losses: Sequence[float]
    weights: Mapping[str, np.ndarray]
    test_loss: float
    test_accuracy: float
    states: Mapping[int, State] = dataclasses.field(default_factory=dict)


class Original:
    """The original with its optimizer and scheduler, in a given state."""

    def __init__(self, case: Case, dtype: str, state: State, variant: Variant = PLAIN):
        recipe = case.recipe
        self.case, self.variant, self.steps, self.dtype = case, variant, state.steps, dtype
        self.model = originals.build(recipe.network, **recipe.network_options)
        self.model.to(getattr(torch, dtype)).to(memory_format=variant.memory_format)
        self.model.load_state_dict(state.model)
        if variant.nudge:
            self._nudge()
        if variant.composed:
            for module in _batch_norms(self.model):
                module.forward = functools.partial(_batch_norm, module)
        self.optimizer = build_optimizer(recipe, self.model)
        self.scheduler = None
        if case.drops:
            drops = {key: value for key, value in case.drops.items() if key != "steps_per_epoch"}
            self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, **drops)
        if state.optimizer is not None:
            # A copy: PyTorch's optimizer keeps the tensors that it is given, and changes them.
            self.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
            if self.scheduler:
                assert state.scheduler is not None  # saved together with the optimizer's
                self.scheduler.load_state_dict(state.scheduler)

    def _nudge(self) -> None:
        generator = torch.Generator().manual_seed(self.variant.nudge)
        with torch.no_grad():
            for parameter in self.model.parameters():
                up = torch.rand(parameter.shape, generator=generator) < 0.5
                towards = torch.where(up, torch.inf, -torch.inf).to(parameter.dtype)
                parameter.copy_(torch.nextafter(parameter, towards))

    def images(self, x: np.ndarray) -> torch.Tensor:
        """A batch as the tutorials' loaders yield it, ``(batch, channels, height, width)``."""
        images = torch.from_numpy(x).to(getattr(torch, self.dtype))
        images = images.unsqueeze(1) if images.ndim == 3 else images.movedim(-1, 1)
        return images.contiguous(memory_format=self.variant.memory_format)

    def step(self, x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a training step on a batch; returns the outputs before the step, and the loss."""
        self.model.train()
        self.optimizer.zero_grad()
        outputs = self.model(self.images(x))
        loss = build_criterion(self.case.recipe)(outputs, torch.from_numpy(y))
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        if self.scheduler and self.case.drops and self.steps % self.case.drops["steps_per_epoch"] == 0:
            self.scheduler.step()
        return outputs.detach(), loss.detach()

    def state(self) -> State:
        """A copy of the state."""
        scheduler = self.scheduler.state_dict() if self.scheduler else None
        return State(self.steps, *copy.deepcopy((self.model.state_dict(), self.optimizer.state_dict(), scheduler)))

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Outputs in evaluation mode."""
        self.model.eval()
        with torch.no_grad():
            return np.concatenate([self.model(self.images(x[i : i + 500])).numpy() for i in range(0, len(x), 500)])

    def values(self, x: np.ndarray, y: np.ndarray) -> Values:
        """Take a step on a batch; returns everything it computed or changed."""
        with threads(self.variant.threads):
            evaluated = self.outputs(x)
            outputs, loss = self.step(x, y)
        parameters: dict[str, Any] = dict(self.model.named_parameters())
        return {
            "outputs": {"in training": outputs.numpy(), "in evaluation": evaluated},
            "loss": {"loss": loss.numpy()},
            "gradients": {name: p.grad.numpy() for name, p in parameters.items()},
            "weights": {name: p.detach().numpy() for name, p in parameters.items()},
            "buffers": select_running(self.model.state_dict()),
        }


def build_criterion(recipe: recipes.Recipe) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The recipe's loss in PyTorch, a function of outputs and labels."""
    options = dict(recipe.loss_options)
    from_probabilities = options.pop("from_probabilities", False)
    loss = getattr(torch.nn, recipe.loss)(**options)
    return (lambda outputs, y: loss(torch.log(outputs), y)) if from_probabilities else loss


def build_optimizer(recipe: recipes.Recipe, model: torch.nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer in PyTorch."""
    options = {{"learning_rate": "lr"}.get(key, key): value for key, value in recipe.optimizer_options.items()}
    return getattr(torch.optim, recipe.optimizer)(model.parameters(), **options)


def _batch_norms(model: torch.nn.Module) -> list[torch.nn.Module]:
    return [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]


def _batch_norm(module: Any, x: torch.Tensor) -> torch.Tensor:
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


def select_running(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The running statistics in a ``state_dict``."""
    return {name: np.asarray(value) for name, value in state.items() if ".running_" in name}


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside, PyTorch uses this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def draw_initial_state(case: Case) -> State:
    """PyTorch's own initial weights."""
    torch.manual_seed(case.seed)
    return State(0, originals.build(case.recipe.network, **case.recipe.network_options).state_dict())


def train_original(
    case: Case, arrays, steps: int, dtype: str = "float32", variant: Variant = PLAIN, points: Sequence[int] = ()
) -> Run:
    """Train the original.

    Args:
        case: what to train.
        arrays: ``((x, y), (x_test, y_test))``.
        steps: number of steps.
        dtype: ``"float32"`` or ``"float64"``.
        variant: how PyTorch computes.
        points: numbers of steps after which to keep the state.
    """
    (x, y), test = arrays
    with threads(variant.threads):
        original = Original(case, dtype, draw_initial_state(case), variant)
        states, losses = {}, []
        for epoch in list_batches(len(x), case, steps):
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
    return Run(losses, kept, *score_outputs(case, outputs, test[1]), states)


def score_outputs(case: Case, outputs: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean loss (in float64) and accuracy in percent of outputs for the labels `y`."""
    loss = build_criterion(case.recipe)(torch.from_numpy(outputs).double(), torch.from_numpy(y))
    return float(loss), 100.0 * float((outputs.argmax(axis=1) == y).mean())


def list_variants(case: Case, dtype: str) -> list[Variant]:
    """PyTorch's other ways to compute the case, leaving out those that can't make a difference."""
    original = originals.build(case.recipe.network, **case.recipe.network_options)
    convolves = any(parameter.ndim == 4 for parameter in original.parameters())
    normalises = bool(_batch_norms(original)) and dtype == "float64"
    return [
        variant
        for variant in _OTHERS
        if (convolves or variant.memory_format == torch.contiguous_format) and (normalises or not variant.composed)
    ]
