"""What is compared: both sides, a batch for each, and the loss of each output."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch

from kerasnets._internal import keras_private

#: From PyTorch's tensors, in the order of the model's inputs, to the positional and keyword arguments of ``forward``.
Arrange = Callable[[Sequence[Any]], tuple[list, dict]]


@dataclasses.dataclass(frozen=True)
class Target:
    """An output that both sides have, and its loss.

    Attributes:
        name: the output's key or number; empty if there is only one.
        place: position among the model's outputs.
        keys: what may stand for the output in a dict of targets or losses.
        losses: PyTorch's and Keras's loss; None if there are none to compare.
        y: targets in PyTorch's layout; None without losses.
        keras_y: the same in Keras's layout.
        weight: the factor of Keras's loss, of ``compile(loss_weights=…)``.
    """

    name: str
    place: int
    keys: Sequence[str] = ()
    losses: tuple[Any, Any] | None = None
    y: np.ndarray | None = None
    keras_y: np.ndarray | None = None
    weight: float = 1.0

    @property
    def output(self) -> str:
        """What a figure calls the output."""
        return f"output {self.name}".rstrip()

    @property
    def loss(self) -> str:
        """What a finding calls the loss."""
        return f"loss of {self.name}" if self.name else "loss"


@dataclasses.dataclass(frozen=True)
class Port:
    """Both sides, checked, with a batch for each.

    Attributes:
        module: the original.
        model: the port.
        x: PyTorch's batch in the module's layout, one array for each input, in the order of the model's inputs.
        keras_x: the same batch in the model's layout.
        names: the inputs' names.
        arrange: how the module's ``forward`` takes them.
        targets: the outputs, in the order in which the module returns them.
        optimizers: PyTorch's and Keras's optimizer; None if there are none to compare.
        scheduler: PyTorch's scheduler and, if the rates don't come from Keras's optimizer, a function of the epoch.
        steps_per_epoch: optimizer steps for each ``scheduler.step()``.
    """

    module: torch.nn.Module
    model: keras.Model
    x: Sequence[np.ndarray]
    keras_x: Sequence[np.ndarray]
    names: Sequence[str]
    arrange: Arrange
    targets: Sequence[Target]
    optimizers: tuple[Any, Any] | None = None
    scheduler: tuple[Any, Any] | None = None
    steps_per_epoch: int = 1

    @property
    def has_losses(self) -> bool:
        """Whether there is a loss to compare."""
        return any(target.losses is not None for target in self.targets)


def check_sides(module: Any, model: Any) -> None:
    """Refuse what can't be compared.

    Raises:
        TypeError: `module` is not a ``torch.nn.Module``, or `model` is neither a Functional nor a Sequential model.
        ValueError: the model is not built.
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
            "it as a Functional model, or compare its Functional or Sequential parts one by one."
        )


def graph_of(model: keras.Model) -> keras.Model:
    """A Functional model itself, or the one inside a built Sequential model."""
    graph = keras_private.graph_of(model) if isinstance(model, keras.Sequential) else model
    assert graph is not None  # check_sides
    return graph


def name_tensors(structure: Any, names: Sequence[str]) -> list[str]:
    """The keys of a graph's inputs or outputs, in Keras's order; or their `names`, if they are a list.

    Args:
        structure: its ``input`` or ``output``.
        names: what they are called without keys.
    """
    if isinstance(structure, dict):
        return [".".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(structure)]
    return list(names)
