"""The arguments that are pairs, PyTorch's and Keras's: losses, optimizers, schedulers."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import torch

from kerasnets._internal import keras_private
from kerasnets._internal.arguments import check_known
from kerasnets.verify.compare.port import Target


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


# Losses


def read_losses(given: Any, model: keras.Model, targets: Sequence[Target]) -> list[Target]:
    """The outputs with PyTorch's and Keras's loss, and the weight of Keras's.

    Args:
        given: the argument.
        model: the port, whose compiled losses stand in for Keras's.
        targets: the outputs, in the order in which the module returns them.

    Raises:
        TypeError: one is not a loss.
        ValueError: there is only one of a pair, or not one for each output.
    """
    if given is None:
        return list(targets)
    compiled = getattr(model, "loss", None)
    if len(targets) == 1:
        parts = [keras.tree.flatten(part) for part in (given, compiled)]
        alone = parts[1][0] if len(parts[1]) == 1 else None
        given = parts[0][0] if len(parts[0]) == 1 else given
        weight = keras.tree.flatten(_loss_weights(model))[0] if _is_torch_loss(given) else None
        return [dataclasses.replace(targets[0], losses=_read_loss(given, alone), weight=_factor(weight))]
    theirs, own, weights = _split_losses(given, compiled, model)
    by_place = sorted(targets, key=lambda target: target.place)
    own, weights = pick(own, by_place, "loss"), pick(weights, by_place, "loss_weights")
    found = []
    for target, loss in zip(targets, pick(theirs, targets, "loss"), strict=True):
        pair, weight = (loss, own[target.place]), weights[target.place]
        both = None if pair == (None, None) else _read_loss(pair, None)
        found.append(dataclasses.replace(target, losses=both, weight=_factor(weight)))
    return found


def _loss_weights(model: keras.Model) -> Any:
    record = keras_private.compile_record(model)
    return None if record is None else record.config.get("loss_weights")


def _factor(weight: Any) -> float:
    return 1.0 if weight is None else float(weight)


def _split_losses(given: Any, compiled: Any, model: keras.Model) -> tuple[Any, Any, Any]:
    """PyTorch's losses, Keras's, and the weights of Keras's, each in the form in which it was given."""
    # Two functions may be PyTorch's for two outputs; where Keras's are nowhere else, they are a pair.
    if (
        isinstance(given, list | tuple)
        and len(given) == 2
        and (compiled is None or not all(loss is None or _is_torch_loss(loss) for loss in given))
    ):
        first, second = given
        is_first = any(_is_torch_loss(loss) for loss in keras.tree.flatten(first))
        return (first, second, None) if is_first else (second, first, None)
    if compiled is None:
        raise ValueError(
            f"loss={given!r}: expected a pair, PyTorch's losses and Keras's, or PyTorch's alone for a model that is "
            "compiled."
        )
    return given, compiled, _loss_weights(model)


def pick(given: Any, targets: Sequence[Target], what: str) -> list[Any]:
    """What is given for each output: in a list, in a dict, or one for all.

    Args:
        given: the argument.
        targets: the outputs, in the order of a list.
        what: the argument's name, for errors.

    Raises:
        ValueError: the list has another length, or the dict a key that no output has.
    """
    if isinstance(given, Mapping):
        values = {str(key): value for key, value in given.items()}
        for key in values:
            check_known(f"key of {what}", key, list(dict.fromkeys(key for target in targets for key in target.keys)))
        # The names of one side alone, if all keys are among them: the other side may have one of them elsewhere.
        exact = values.keys() <= {target.name for target in targets}
        keys = [[target.name] if exact else target.keys for target in targets]
        return [next((values[key] for key in known if key in values), None) for known in keys]
    if isinstance(given, list | tuple):
        if len(given) != len(targets):
            raise ValueError(f"{what} has {len(given)} entries; expected {len(targets)}, one for each output.")
        return list(given)
    return [given] * len(targets)


def _is_torch_loss(value: Any) -> bool:
    return isinstance(value, torch.nn.Module) or (
        callable(value)
        and not isinstance(value, keras.losses.Loss)
        and not str(getattr(value, "__module__", "")).startswith("keras")
    )


def _read_loss(given: Any, compiled: Any) -> tuple[Any, Any] | None:
    pair = _pair("loss", given, _is_torch_loss, compiled, "loss")
    if pair is None:
        return None
    own = pair[1]
    if isinstance(own, torch.nn.Module) and not isinstance(own, keras.losses.Loss):
        raise TypeError(f"loss={given!r}: both are PyTorch's; expected Keras's as well, or a compiled model.")
    if isinstance(own, str):
        try:
            own = keras.losses.get(own)
        except ValueError as error:
            raise ValueError(f"loss={given!r}: Keras has no loss {own!r}.") from error
    if not callable(own):
        raise TypeError(f"loss={given!r}: expected a Keras loss, its name or a function of (y_true, y_pred).")
    return pair[0], own


# Optimizers and their learning rates


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
