"""Each side's batch in its own layout: inputs and targets."""

import dataclasses
import inspect
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import torch

from kerasnets._internal import keras_private
from kerasnets._internal.arrays import to_numbers
from kerasnets.verify.compare.pairs import pick
from kerasnets.verify.compare.port import Arrange, Target, graph_of, name_tensors


def read_inputs(module: torch.nn.Module, model: keras.Model, x: Any) -> tuple[list[np.ndarray], list[str], Arrange]:
    """The batch as one array for each of the model's inputs, their names, and how the module takes them.

    Args:
        module: the original.
        model: the port.
        x: an array; a list for a model with several inputs, in the order of both sides; or a dict by the names of the
            model's inputs or of the arguments of ``forward``.

    Raises:
        ValueError: there is not one batch for each input, one isn't a batch, or they have different lengths.
    """
    names = name_tensors(graph_of(model).input, [tensor.name for tensor in model.inputs])
    parameters = inspect.signature(module.forward).parameters
    if isinstance(x, Mapping) and not set(x) <= set(names) and set(x) <= set(parameters):
        x = {name: x[name] for name in parameters if name in x}
    given, keys = _one_by_one(x, names, model)
    labels = ["x"] if len(names) == 1 else [f"x[{key!r}]" for key in keys or range(len(names))]
    arrays = [read_batch(label, value) for label, value in zip(labels, given, strict=True)]
    for label, array in zip(labels, arrays, strict=True):
        if len(array) != len(arrays[0]):
            raise ValueError(f"{label} has {len(array)} examples, {labels[0]} has {len(arrays[0])}; expected as many.")
    arrange = _plan_call(parameters, names, keys)
    if not set(keys) <= set(names):
        return arrays, names, arrange  # the names are of forward's arguments, whose order is the model's
    order = [keys.index(name) for name in names] if keys else range(len(names))
    return [arrays[i] for i in order], names, arrange


def _one_by_one(x: Any, names: Sequence[str], model: keras.Model) -> tuple[list[Any], list[str]]:
    """One value for each input, and the keys of a dict."""
    count = len(names)
    if isinstance(x, Mapping):
        if len(x) != count:
            raise ValueError(f"x has the keys {', '.join(map(str, x))}; expected {count}: {', '.join(names)}.")
        return list(x.values()), [str(key) for key in x]
    if count == 1:
        return [x], []
    if not isinstance(x, list | tuple) or len(x) != count:
        what = f"{len(x)} entries" if isinstance(x, list | tuple) else f"the type {type(x).__name__}"
        raise ValueError(
            f"x has {what}; the model {model.name!r} has {count} inputs: expected a list of {count} arrays, or a dict "
            f"with {', '.join(names)}."
        )
    return list(x), []


def _plan_call(parameters: Mapping[str, inspect.Parameter], names: Sequence[str], keys: Sequence[str]) -> Arrange:
    """How the module takes its inputs: by keyword where the dict's keys are its arguments, else by position.

    A ``forward`` with one argument gets several inputs as a list or a dict.
    """
    kinds = [p.kind for p in parameters.values()]
    by_position = sum(k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in kinds)
    open_ended = inspect.Parameter.VAR_POSITIONAL in kinds
    if keys and set(keys) <= set(parameters):
        order = keys if not set(keys) <= set(names) else names
        return lambda tensors: ([], dict(zip(order, tensors, strict=True)))
    if keys and not set(keys) <= set(names):
        raise ValueError(
            f"x has the keys {', '.join(keys)}; expected the names of the model's inputs ({', '.join(names)}) or of "
            f"the arguments of the module's forward ({', '.join(parameters)})."
        )
    places = [names.index(key) for key in keys] if keys else list(range(len(names)))
    if len(names) > 1 and by_position == 1 and not open_ended:
        if keys:
            return lambda tensors: ([dict(zip(names, tensors, strict=True))], {})
        return lambda tensors: ([list(tensors)], {})
    return lambda tensors: ([tensors[i] for i in places], {})


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


def arrange_batch(
    module: torch.nn.Module, model: keras.Model, arrays: Sequence[np.ndarray], names: Sequence[str], arrange: Arrange
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The batch in the layouts of both sides.

    Args:
        module: the original, which is tried on the layouts.
        model: the port, whose inputs have shapes.
        arrays: the batch, each input in either layout.
        names: of the inputs.
        arrange: how the module takes them.

    Raises:
        ValueError: no layout fits.
    """
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    for name, x, shape in zip(names, arrays, shapes, strict=True):
        if not any(_fits(a.shape, shape) for a in _layouts(x)):
            label, of_it = ("x", "") if len(names) == 1 else (f"x[{name!r}]", f" {name!r}")
            raise ValueError(f"{label} has the shape {x.shape}, which doesn't fit the model's input{of_it} {shape}.")
    moves = _moves(model)
    problem: Exception | None = None
    for theirs in itertools.product(*[_layouts_of_module(x, moves) for x in arrays]):
        try:
            _try(module, theirs, arrange)
        except Exception as error:  # of any operation in the module
            problem = problem or error
            continue
        own = [_own_layout(*each, moves) for each in zip(arrays, theirs, shapes, strict=True)]
        return [np.ascontiguousarray(a) for a in theirs], [np.ascontiguousarray(a) for a in own]
    given = ", ".join(str(x.shape) for x in arrays)
    raise ValueError(f"The module doesn't take x of shape {given}: {problem}") from problem


def _layouts_of_module(x: np.ndarray, moves: bool) -> list[np.ndarray]:
    tried = _layouts(x)
    if x.ndim == 4 and x.shape[-1] == 3 and not moves:
        tried.insert(0, np.moveaxis(x, -1, 1))  # a linear layer would take colour images in any order
    return tried


def _own_layout(x: np.ndarray, theirs: np.ndarray, shape: tuple[int | None, ...], moves: bool) -> np.ndarray:
    """The input in the model's layout, where the module takes it as `theirs`."""
    if theirs is x and x.ndim > 3 and not moves:
        moved = np.moveaxis(x, 1, -1)
        if _fits(moved.shape, shape):
            return moved
    return next(a for a in _layouts(x) if _fits(a.shape, shape))


def _moves(model: keras.Model) -> bool:
    """Whether the model takes feature maps with the channels first."""
    calls = keras_private.list_calls(model)
    formats = [getattr(node.operation, "data_format", None) for node in calls if node.operation is not None]
    moves = [type(node.operation).__name__ for node in calls if node.operation is not None and not node.is_input]
    return "channels_first" in formats[:3] or moves[:1] in (["Permute"], ["Transpose"])


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in (None, n) for n, w in zip(shape, wanted, strict=True))


def _try(module: torch.nn.Module, arrays: Sequence[np.ndarray], arrange: Arrange) -> None:
    before = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            args, kwargs = arrange([to_tensor(x, _float_of(module)) for x in arrays])
            module(*args, **kwargs)
    finally:
        for m, mode in before.items():
            m.training = mode


def _float_of(module: torch.nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), torch.float32)


def to_tensor(array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """A tensor of PyTorch: floats in `dtype`, whole numbers as int64."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(dtype if array.dtype.kind == "f" else torch.int64)


def pair_outputs(names: Sequence[str], model: keras.Model) -> list[Target]:
    """The outputs of both sides: by name where the names agree, else in their order.

    Args:
        names: of the module's outputs, in the order in which it returns them; of a single one, empty.
        model: the port.

    Raises:
        ValueError: one side has more outputs.
    """
    graph = graph_of(model)
    own = name_tensors(graph.output, graph.output_names)
    if len(names) != len(own):
        raise ValueError(
            f"The module returns {len(names)} tensor{'s' * (len(names) > 1)}, the model {model.name!r} {len(own)}; "
            "expected the same outputs on both sides. Leave out those that only one side has."
        )
    if len(names) == 1:
        return [Target("", 0, tuple({*names, *own, *graph.output_names}))]
    for known in (own, graph.output_names):
        if set(names) == set(known):
            places = [list(known).index(name) for name in names]
            break
    else:
        places = list(range(len(names)))
    return [
        Target(
            own[place] if name.isdigit() and len(set(own)) == len(own) else name,
            place,
            (name, own[place], graph.output_names[place]),
        )
        for name, place in zip(names, places, strict=True)
    ]


def add_targets(
    targets: Sequence[Target], y: Any, outputs: Mapping[str, np.ndarray], model: keras.Model, count: int
) -> list[Target]:
    """The outputs with their targets, in the layouts of both sides.

    Args:
        targets: the outputs.
        y: the argument.
        outputs: the module's outputs, in the same order.
        model: the port.
        count: the number of examples.

    Raises:
        ValueError: `y` lacks the targets of a loss, hasn't one array for each output, or one of another length.
    """
    if y is None and any(target.losses is not None for target in targets):
        raise ValueError("loss is given with y=None; expected the targets of the batch as y.")
    if y is not None and len(targets) > 1 and not isinstance(y, Mapping | list | tuple):
        raise ValueError(
            f"y is of type {type(y).__name__}; expected a list or a dict of {len(targets)} arrays, one for each output."
        )
    several = len(targets) > 1 or isinstance(y, Mapping)
    given = pick(y, targets, "y") if several else [y]
    found = []
    for target, value, output in zip(targets, given, outputs.values(), strict=True):
        label = f"y[{target.name!r}]" if target.name else "y"
        array = None if value is None else read_batch(label, value)
        if array is None and target.losses is not None:
            raise ValueError(f"{target.loss}: y has no targets for it; expected an array for each output with a loss.")
        if array is not None and len(array) != count:
            raise ValueError(f"{label} has {len(array)} targets; expected {count}, one per example of x.")
        theirs, own = arrange_targets(array, output, tuple(model.outputs[target.place].shape))
        found.append(dataclasses.replace(target, y=theirs, keras_y=own))
    return found


def arrange_targets(
    y: np.ndarray | None, torch_output: np.ndarray, keras_shape: tuple[int | None, ...]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Targets in the layouts of both outputs: images are moved as the outputs are, everything else stays.

    Args:
        y: targets in either layout; None if there are none.
        torch_output: PyTorch's output.
        keras_shape: the shape of Keras's output.

    Returns:
        PyTorch's and Keras's.
    """
    theirs = own = y
    if y is not None and y.shape == torch_output.shape:
        moved = np.moveaxis(y, 1, -1) if y.ndim > 3 else y
        own = moved if _fits(moved.shape, keras_shape) else y
        if own.ndim == len(keras_shape) and not _fits(own.shape, keras_shape):
            own = y.reshape(len(y), -1)
    elif y is not None and y.ndim > 3 and np.moveaxis(y, -1, 1).shape == torch_output.shape:
        theirs = np.ascontiguousarray(np.moveaxis(y, -1, 1))
    elif y is not None and y.size == torch_output.size:
        theirs = y.reshape(torch_output.shape)
    return theirs, own
