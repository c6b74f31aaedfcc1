"""One batch through each side: outputs by layer, loss, gradients and buffers; and PyTorch's noise floor."""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import torch

from kerasnets import backend
from kerasnets._internal.arrays import to_numpy
from kerasnets.verify.compare.calls import Call
from kerasnets.verify.compare.inputs import to_tensor
from kerasnets.verify.compare.keras_side import KerasCall, run_calls
from kerasnets.verify.compare.port import Arrange, Port, Target
from kerasnets.verify.compare.torch_side import WithoutDropout, copy_module, record, remove_dropout
from kerasnets.verify.parity.original import threads

#: Quantity ("gradients") → tensor's name → array.
Values = dict[str, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of PyTorch's ways to compute the same; see :mod:`kerasnets.verify.parity`.

    Attributes:
        threads: number of threads.
        nudge: seed of the roundings by which the weights are moved; 0 to leave them alone.
        channels_last: whether weights and images are in that memory format.
    """

    threads: int = 1
    nudge: int = 0
    channels_last: bool = False


PLAIN = Variant()
VARIANTS = (Variant(threads=2), Variant(nudge=1), Variant(nudge=2), Variant(nudge=3), Variant(channels_last=True))


@dataclasses.dataclass
class TorchRun:
    """PyTorch's values, the calls of both runs, and the outputs in evaluation mode with the calls that made them."""

    calls: list[Call]
    training_calls: list[Call]
    outputs: list[np.ndarray]
    makers: list[int]
    values: Values


def projection(shape: Sequence[int]) -> np.ndarray:
    """Fixed factors of shape `shape` that turn outputs into a number, for a comparison without a loss."""
    return np.random.default_rng(0).normal(size=tuple(shape)) / np.prod(shape)


def run_once(module: torch.nn.Module, x: Sequence[np.ndarray], arrange: Arrange) -> dict[str, np.ndarray]:
    """The outputs of a copy of the module by name, in evaluation mode and float32."""
    with torch.no_grad():
        recorded = record(copy_module(module, "float32"), _to_tensors(x, torch.float32), arrange, training=False)
    return {name: tensor.numpy() for name, tensor in recorded.outputs.items()}


def _to_tensors(x: Sequence[np.ndarray], dtype: torch.dtype, channels_last: bool = False) -> list[torch.Tensor]:
    tensors = [to_tensor(array, dtype) for array in x]
    if channels_last:
        tensors = [t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors]
    return tensors


def run_original(port: Port, dtype: str, variant: Variant = PLAIN) -> TorchRun:
    """Run the original once in evaluation and once in training mode, without dropout, on a copy.

    Raises:
        TypeError: the module returns other outputs in training mode.
    """
    module = copy_module(port.module, dtype)
    if variant.nudge:
        _nudge(module, variant.nudge)
    if variant.channels_last:
        module.to(memory_format=torch.channels_last)
    x = _to_tensors(port.x, getattr(torch, dtype), variant.channels_last)
    with threads(variant.threads):
        evaluated = record(module, x, port.arrange, training=False)
        remove_dropout(module)
        with WithoutDropout():
            trained = record(module, x, port.arrange, training=True)
        if list(trained.outputs) != list(evaluated.outputs):
            raise TypeError(
                f"The module returns {len(trained.outputs)} tensors in training mode and {len(evaluated.outputs)} in "
                "evaluation mode; expected the same outputs. Leave out its auxiliary outputs."
            )
        loss = torch_loss(port, list(trained.outputs.values()))
        loss.backward()
    state = module.state_dict()
    values: Values = {
        "outputs": {f"{i}": call.value for i, call in enumerate(evaluated.calls) if call.value is not None},
        "training mode": {f"{i}": call.value for i, call in enumerate(trained.calls) if call.value is not None},
        "loss": {"loss": loss.detach().numpy()},
        "gradients": {n: p.grad.numpy().copy() for n, p in module.named_parameters() if p.grad is not None},
        "buffers": {n: to_numpy(v).copy() for n, v in state.items() if "running_" in n},
    }
    outputs = [tensor.detach().numpy() for tensor in evaluated.outputs.values()]
    for target, value, in_training in zip(port.targets, outputs, trained.outputs.values(), strict=True):
        values["outputs"][target.output] = value
        values["training mode"][target.output] = in_training.detach().numpy()
    return TorchRun(evaluated.calls, trained.calls, outputs, evaluated.makers, values)


def _nudge(module: torch.nn.Module, seed: int) -> None:
    """Move every weight up or down by one rounding, at random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(nudge(p, generator))


def nudge(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A tensor whose numbers are moved up or down by one rounding, at random."""
    up = torch.rand(tensor.shape, generator=generator) < 0.5
    return torch.nextafter(tensor, torch.where(up, torch.inf, -torch.inf).to(tensor.dtype))


def torch_loss(port: Port, outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of the outputs' losses; without losses, of a fixed combination of their numbers."""
    total: Any = 0.0
    for target, output in zip(port.targets, outputs, strict=True):
        if target.losses is not None:
            assert target.y is not None  # compare() checks it
            loss = copy.deepcopy(target.losses[0])
            if isinstance(loss, torch.nn.Module):
                loss = loss.to(output.dtype)
            value = loss(output, to_tensor(target.y, output.dtype))
            total = total + (value.mean() if value.ndim else value)
        elif not port.has_losses:
            total = total + (output * torch.from_numpy(projection(output.shape)).to(output.dtype)).sum()
    return total


def copy_loss(loss: Any) -> Any:
    """A Keras loss in Keras's current float type; a function stays as it is."""
    if not isinstance(loss, keras.losses.Loss):
        return loss
    try:
        return type(loss).from_config({k: v for k, v in loss.get_config().items() if k != "dtype"})
    except Exception:  # a loss of the user's own without a config
        return loss


def convert_targets(target: Target, dtype: str) -> Any:
    """An output's targets as a tensor of Keras's backend: floats in `dtype`, whole numbers as they are."""
    y = target.keras_y
    assert y is not None  # compare() checks it
    return keras.ops.convert_to_tensor(y, dtype=dtype if y.dtype.kind == "f" else None)


def reduce(value: Any) -> Any:
    """A loss as one number, as Keras reduces a function's values."""
    return keras.ops.sum(value) / int(np.prod(value.shape)) if len(value.shape) else value


def keras_loss(port: Port, factors: Sequence[np.ndarray], dtype: str) -> Callable[[Any], Any]:
    """A function of Keras's outputs: the sum of the losses, or the combination of :func:`torch_loss`.

    Args:
        port: what is compared.
        factors: :func:`projection` of each output, in Keras's layout; needed without losses.
        dtype: Keras's float type.
    """

    def value_of(outputs: Any) -> Any:
        outputs, total = keras.tree.flatten(outputs), 0.0
        for i, target in enumerate(port.targets):
            output = outputs[target.place]
            if (loss := losses[i]) is not None:
                total = total + target.weight * reduce(loss(convert_targets(target, dtype), output))
            elif not port.has_losses:
                total = total + keras.ops.sum(output * keras.ops.convert_to_tensor(factors[i], dtype=dtype))
        return total

    losses = [copy_loss(target.losses[1]) if target.losses else None for target in port.targets]
    return value_of


def run_port(
    model: keras.Model, calls: list[KerasCall], x: Sequence[np.ndarray], value_of: Callable, load: Callable[[], object]
) -> tuple[dict, dict, Any, list[np.ndarray], list[np.ndarray]]:
    """Run the port once in inference and once in training mode, without dropout.

    Args:
        model: a copy of the port.
        calls: its calls.
        x: the batch, one array for each input.
        value_of: the loss, a function of the outputs.
        load: sets PyTorch's weights.

    Returns:
        Values in inference and in training by place, the loss, the gradient of each trainable variable, and the
        non-trainable variables after the step.
    """
    tensors = [keras.ops.convert_to_tensor(array) for array in x]
    load()
    inference = run_calls(calls, tensors, training=False)
    training = run_calls(calls, tensors, training=True)
    buffers = [to_numpy(v).copy() for v in model.non_trainable_variables]
    load()
    loss, gradients = _differentiate(model, value_of, keras.tree.pack_sequence_as(model.input, tensors))
    load()
    return inference, training, to_numpy(loss), [dense(g) for g in gradients], buffers


def _differentiate(model: keras.Model, value_of: Callable, x: Any) -> tuple[Any, list[Any]]:
    """``backend.value_and_gradients`` in training mode; on JAX as one program, instead of a program per operation."""
    if keras.config.backend() != "jax":
        return backend.value_and_gradients(model, value_of, x, training=True)
    import jax

    def stateless(trainable, non_trainable):
        return value_of(model.stateless_call(trainable, non_trainable, x, training=True)[0])

    state = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
    return jax.jit(jax.value_and_grad(stateless))(*state)


@contextlib.contextmanager
def quick_compilation() -> Iterator[None]:
    """Inside, JAX compiles quickly and not for speed: each program runs once or twice."""
    if keras.config.backend() != "jax":
        yield
        return
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def dense(gradient: Any) -> np.ndarray:
    """A gradient as an array; TensorFlow gives an embedding's as slices of rows."""
    if hasattr(gradient, "dense_shape"):
        gradient = keras.ops.add(gradient, keras.ops.zeros((), gradient.dtype))
    return to_numpy(gradient)
