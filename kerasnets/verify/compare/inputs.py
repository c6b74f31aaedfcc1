"""Checks of the arguments, and each side's batch in its own layout."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch

from kerasnets._internal import keras_private
from kerasnets._internal.arrays import to_numbers

_INSTEAD = "compare its Functional or Sequential parts one by one"


@dataclasses.dataclass(frozen=True)
class Port:
    """What is compared, checked, with a batch for each side.

    Attributes:
        module: the original.
        model: the port.
        x, y: PyTorch's batch: ``x`` in the module's layout.
        keras_x, keras_y: the same batch in the model's layout.
        losses: PyTorch's and Keras's loss; None if there are none to compare.
        optimizers: the same of optimizers.
        scheduler: PyTorch's scheduler and, if the rates don't come from Keras's optimizer, a function of the epoch.
        steps_per_epoch: optimizer steps for each ``scheduler.step()``.
    """

    module: torch.nn.Module
    model: keras.Model
    x: np.ndarray
    y: np.ndarray | None
    keras_x: np.ndarray
    keras_y: np.ndarray | None
    losses: tuple[Any, Any] | None = None
    optimizers: tuple[Any, Any] | None = None
    scheduler: tuple[Any, Any] | None = None
    steps_per_epoch: int = 1


def check_sides(module: Any, model: Any) -> None:
    """Refuse what can't be compared.

    Raises:
        TypeError: `module` is not a ``torch.nn.Module``, or `model` is neither a Functional nor a Sequential model.
        ValueError: the model is not built, or has several inputs or outputs.
    """
    # On the torch backend a Keras layer is a torch.nn.Module as well.
    if not isinstance(module, torch.nn.Module) or isinstance(module, keras.Layer):
        raise TypeError(f"module={module!r}: expected a torch.nn.Module, the original.")
    if not isinstance(model, keras.Model):
        raise TypeError(f"model={model!r}: expected a keras.Model, the port.")
    if isinstance(model, keras.Sequential) and not (model.built and keras_private.list_calls(model)):
        raise ValueError(f"The model {model.name!r} has no weights yet: build it first, or give it an Input.")
    if not keras_private.list_calls(model):
        raise TypeError(
            f"The model {model.name!r} ({type(model).__name__}) has a call of its own, which can't be followed. Write "
            f"it as a Functional model, or {_INSTEAD}."
        )
    for what, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) != 1:
            raise ValueError(
                f"The model {model.name!r} has {len(tensors)} {what}; expected 1. To compare it, {_INSTEAD}."
            )


def _pair(name: str, given: Any, is_torch: Callable[[Any], bool], compiled: Any, expected: str) -> tuple | None:
    """PyTorch's and Keras's, from a pair in either order, or from PyTorch's alone and a compiled model."""
    if given is None:
        return None
    if isinstance(given, list | tuple):
        if len(given) != 2:
            raise ValueError(f"{name}={given!r}: expected a pair, PyTorch's and Keras's {expected}.")
        first, second = given
        pair = (second, first) if not is_torch(first) and is_torch(second) else (first, second)
    elif is_torch(given) and compiled is not None:
        pair = (given, compiled)
    else:
        raise ValueError(
            f"{name}={given!r}: expected a pair, PyTorch's and Keras's {expected}, or PyTorch's alone for a model that "
            "is compiled."
        )
    if not is_torch(pair[0]):
        raise TypeError(f"{name}={given!r}: neither is PyTorch's {expected}.")
    return pair


def read_losses(given: Any, model: keras.Model) -> tuple[Any, Any] | None:
    """PyTorch's and Keras's loss; Keras's may be a name.

    Raises:
        TypeError: one is not a loss.
        ValueError: there is only one of them.
    """

    def is_torch(value: Any) -> bool:
        return isinstance(value, torch.nn.Module) or (
            callable(value)
            and not isinstance(value, keras.losses.Loss)
            and not str(getattr(value, "__module__", "")).startswith("keras")
        )

    pair = _pair("loss", given, is_torch, getattr(model, "loss", None), "loss")
    if pair is None:
        return None
    own = pair[1]
    if isinstance(own, str):
        try:
            own = keras.losses.get(own)
        except ValueError as error:
            raise ValueError(f"loss={given!r}: Keras has no loss {own!r}.") from error
    if not callable(own):
        raise TypeError(f"loss={given!r}: expected a Keras loss, its name or a function of (y_true, y_pred).")
    return pair[0], own


def read_optimizers(given: Any, module: torch.nn.Module, model: keras.Model) -> tuple[Any, Any] | None:
    """PyTorch's and Keras's optimizer.

    Raises:
        TypeError: one is not an optimizer.
        ValueError: there is only one of them, or PyTorch's has parameters that the module lacks.
    """

    def is_torch(value: Any) -> bool:
        return isinstance(value, torch.optim.Optimizer)

    pair = _pair("optimizer", given, is_torch, getattr(model, "optimizer", None), "optimizer")
    if pair is None:
        return None
    own = keras.optimizers.get(pair[1]) if isinstance(pair[1], str) else pair[1]
    if not isinstance(own, keras.optimizers.Optimizer):
        raise TypeError(f"optimizer={given!r}: expected a keras.optimizers.Optimizer beside PyTorch's.")
    known = {id(p) for p in module.parameters()}
    if any(id(p) not in known for group in pair[0].param_groups for p in group["params"]):
        raise ValueError("PyTorch's optimizer has parameters of another module; make it with module.parameters().")
    return pair[0], own


def read_scheduler(given: Any, optimizers: tuple[Any, Any] | None) -> tuple[Any, Any] | None:
    """PyTorch's scheduler, and a function of the epoch if Keras's rates come from a callback.

    Raises:
        TypeError: it is not a scheduler.
        ValueError: the model has no optimizer to take Keras's rates from.
    """
    if given is None:
        return None
    theirs, own = given if isinstance(given, list | tuple) and len(given) == 2 else (given, None)
    kinds = (torch.optim.lr_scheduler.LRScheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    if not isinstance(theirs, kinds):
        raise TypeError(f"scheduler={given!r}: expected a scheduler of torch.optim.lr_scheduler.")
    if isinstance(theirs, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise TypeError(
            "scheduler: ReduceLROnPlateau's rates depend on the training; compare the two trainings instead."
        )
    if own is None and optimizers is None:
        raise ValueError("scheduler is given without `optimizer`; expected both, to compare their learning rates.")
    if own is not None and not callable(own):
        raise TypeError(f"scheduler={given!r}: expected a Keras schedule or a function of the epoch beside PyTorch's.")
    return theirs, own


def read_batch(name: str, value: Any) -> np.ndarray:
    """A batch as an array; float64 becomes float32, which both sides take.

    Raises:
        ValueError: it doesn't hold numbers, has NaN, or has fewer than two examples.
    """
    try:
        array = to_numbers(value, "an array of numbers")
    except ValueError as error:
        raise ValueError(f"{name} {error}.") from None
    if array.ndim == 0 or len(array) < 2:
        raise ValueError(f"{name} has the shape {array.shape}; expected a batch of at least 2 examples.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite; expected finite numbers.")
    return array.astype("float32") if array.dtype.kind == "f" else array


def _layouts(x: np.ndarray) -> list[np.ndarray]:
    """The batch as it is, with the channels moved to either end, with an axis for them, without it, and flat."""
    found = [x]
    if x.ndim > 2:
        found += [np.moveaxis(x, 1, -1), np.moveaxis(x, -1, 1)]
        found += [x.squeeze(axis) for axis in (1, x.ndim - 1) if x.shape[axis] == 1]
        found += [x[:, None], x[..., None]]
        found.append(x.reshape(len(x), -1))
    return found


def arrange_batch(module: torch.nn.Module, model: keras.Model, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The batch in the layouts of both sides.

    Args:
        module: the original, which is tried on the layouts.
        model: the port, whose input has a shape.
        x: the batch in either layout.

    Raises:
        ValueError: no layout of `x` fits.
    """
    shape = model.inputs[0].shape
    fitting = [a for a in _layouts(x) if _fits(a.shape, shape)]
    if not fitting:
        raise ValueError(f"x has the shape {x.shape}, which doesn't fit the model's input {tuple(shape)}.")
    problem: Exception | None = None
    tried = _layouts(x)
    if x.ndim == 4 and x.shape[-1] == 3 and not _moves(model):
        tried.insert(0, np.moveaxis(x, -1, 1))  # a linear layer would take colour images in any order
    for theirs in tried:
        try:
            _try(module, theirs)
        except Exception as error:  # of any operation in the module
            problem = problem or error
            continue
        if theirs is x and x.ndim > 3 and not _moves(model):
            moved = [a for a in (np.moveaxis(x, 1, -1),) if _fits(a.shape, shape)]
            return theirs, np.ascontiguousarray((moved or fitting)[0])
        return np.ascontiguousarray(theirs), np.ascontiguousarray(fitting[0])
    raise ValueError(f"The module doesn't take x of shape {x.shape}: {problem}") from problem


def _moves(model: keras.Model) -> bool:
    """Whether the model takes feature maps with the channels first."""
    calls = keras_private.list_calls(model)
    formats = [getattr(node.operation, "data_format", None) for node in calls if node.operation is not None]
    moves = [type(node.operation).__name__ for node in calls if node.operation is not None and not node.is_input]
    return "channels_first" in formats[:3] or moves[:1] in (["Permute"], ["Transpose"])


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in (None, n) for n, w in zip(shape, wanted, strict=True))


def _try(module: torch.nn.Module, x: np.ndarray) -> None:
    before = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            module(to_tensor(x, _float_of(module)))
    finally:
        for m, mode in before.items():
            m.training = mode


def _float_of(module: torch.nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), torch.float32)


def to_tensor(array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """A tensor of PyTorch: floats in `dtype`, whole numbers as int64."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(dtype if array.dtype.kind == "f" else torch.int64)


def arrange_targets(y: np.ndarray, torch_output: np.ndarray, keras_shape: tuple[int | None, ...]) -> tuple:
    """Targets in the layouts of both outputs: images are moved as the outputs are, everything else stays.

    Args:
        y: targets in either layout.
        torch_output: PyTorch's output.
        keras_shape: the shape of Keras's output.
    """
    if y.shape == torch_output.shape:
        moved = np.moveaxis(y, 1, -1)
        own = moved if y.ndim > 3 and _fits(moved.shape, keras_shape) else y
        return y, own if _fits(own.shape, keras_shape) or own.ndim != len(keras_shape) else y.reshape(len(y), -1)
    if y.ndim > 3 and np.moveaxis(y, -1, 1).shape == torch_output.shape:
        return np.ascontiguousarray(np.moveaxis(y, -1, 1)), y
    if y.size == torch_output.size:
        return y.reshape(torch_output.shape), y
    return y, y
