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
from kerasnets.verify.compare.inputs import Port, to_tensor
from kerasnets.verify.compare.keras_side import KerasCall, run_calls
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
    """PyTorch's values, and the calls of the run in evaluation mode."""

    calls: list[Call]
    training_calls: list[Call]
    output: np.ndarray
    last: int
    values: Values


def projection(shape: Sequence[int]) -> np.ndarray:
    """Fixed factors of shape `shape` that turn outputs into a number, for a comparison without a loss."""
    return np.random.default_rng(0).normal(size=tuple(shape)) / np.prod(shape)


def run_original(port: Port, dtype: str, variant: Variant = PLAIN) -> TorchRun:
    """Run the original once in evaluation and once in training mode, without dropout, on a copy."""
    module = copy_module(port.module, dtype)
    if variant.nudge:
        _nudge(module, variant.nudge)
    x = to_tensor(port.x, getattr(torch, dtype))
    if variant.channels_last:
        module.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    with threads(variant.threads):
        evaluated = record(module, x, training=False)
        remove_dropout(module)
        with WithoutDropout():
            trained = record(module, x, training=True)
        loss = torch_loss(port, trained.output)
        loss.backward()
    state = module.state_dict()
    values: Values = {
        "outputs": {f"{i}": call.value for i, call in enumerate(evaluated.calls) if call.value is not None},
        "training mode": {f"{i}": call.value for i, call in enumerate(trained.calls) if call.value is not None},
        "loss": {"loss": loss.detach().numpy()},
        "gradients": {n: p.grad.numpy().copy() for n, p in module.named_parameters() if p.grad is not None},
        "buffers": {n: to_numpy(v).copy() for n, v in state.items() if "running_" in n},
    }
    output = evaluated.output.detach().numpy()
    values["outputs"]["output"] = output
    values["training mode"]["output"] = trained.output.detach().numpy()
    return TorchRun(evaluated.calls, trained.calls, output, evaluated.last, values)


def _nudge(module: torch.nn.Module, seed: int) -> None:
    """Move every weight up or down by one rounding, at random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            up = torch.rand(p.shape, generator=generator) < 0.5
            p.copy_(torch.nextafter(p, torch.where(up, torch.inf, -torch.inf).to(p.dtype)))


def torch_loss(port: Port, output: torch.Tensor) -> torch.Tensor:
    """The loss of an output; without a loss, a fixed combination of its numbers."""
    if port.losses is None:
        return (output * torch.from_numpy(projection(output.shape)).to(output.dtype)).sum()
    assert port.y is not None  # compare() checks it
    loss = copy.deepcopy(port.losses[0])
    if isinstance(loss, torch.nn.Module):
        loss = loss.to(output.dtype)
    value = loss(output, to_tensor(port.y, output.dtype))
    return value.mean() if value.ndim else value


def copy_loss(loss: Any) -> Any:
    """A Keras loss in Keras's current float type; a function stays as it is."""
    if not isinstance(loss, keras.losses.Loss):
        return loss
    try:
        return type(loss).from_config({k: v for k, v in loss.get_config().items() if k != "dtype"})
    except Exception:  # a loss of the user's own without a config
        return loss


def reduce(value: Any) -> Any:
    """A loss as one number, as Keras reduces a function's values."""
    return keras.ops.sum(value) / int(np.prod(value.shape)) if len(value.shape) else value


def keras_loss(port: Port, factors: np.ndarray, dtype: str) -> Callable[[Any], Any]:
    """A function of Keras's output: the loss, or the combination of :func:`torch_loss`.

    Args:
        port: what is compared.
        factors: :func:`projection` in Keras's layout.
        dtype: Keras's float type.
    """
    if port.losses is None:
        return lambda output: keras.ops.sum(output * keras.ops.convert_to_tensor(factors, dtype=dtype))
    loss, y = copy_loss(port.losses[1]), port.keras_y
    target = keras.ops.convert_to_tensor(y, dtype=dtype if y is not None and y.dtype.kind == "f" else None)
    return lambda output: reduce(loss(target, output))


def run_port(
    model: keras.Model, calls: list[KerasCall], x: np.ndarray, value_of: Callable, load: Callable[[], object]
) -> tuple[dict, dict, Any, list[np.ndarray], list[np.ndarray]]:
    """Run the port once in inference and once in training mode, without dropout.

    Args:
        model: a copy of the port.
        calls: its calls.
        x: the batch.
        value_of: the loss, a function of the output.
        load: sets PyTorch's weights.

    Returns:
        Values in inference and in training by place, the loss, the gradient of each trainable variable, and the
        non-trainable variables after the step.
    """
    tensor = keras.ops.convert_to_tensor(x)
    load()
    inference = run_calls(calls, tensor, training=False)
    training = run_calls(calls, tensor, training=True)
    buffers = [to_numpy(v).copy() for v in model.non_trainable_variables]
    load()
    loss, gradients = _differentiate(model, value_of, tensor)
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
