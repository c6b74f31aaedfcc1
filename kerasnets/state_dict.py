"""Weights between a Keras model and its PyTorch original, with PyTorch's names, shapes and orders.

>>> kerasnets.load_state_dict(model, "weights.pt")        # or a .safetensors file, or a dict of tensors or arrays
>>> kerasnets.save_state_dict(model, "weights.pt")        # original.load_state_dict(torch.load("weights.pt")) takes it

It serves every Functional and Sequential model made of the layers in :data:`TABLE`. Three things differ between the two
sides, and each is derived from the model:

- Names: a layer's ``torch_name`` (kerasnets' own layers have one) or else its ``name``, then PyTorch's suffix; the
  layers of a model inside the model have that one's name and a dot before theirs.
- The order of axes: a kernel here is (…, in, out), there (out, in, …).
- The order of flattened features: PyTorch flattens feature maps as (channels, height, width). What a flattening layer
  does to the order is asked of the layer itself, and followed through the graph to the weights that see it. (The other
  way round is not derived: weights *before* a reshape of a vector into feature maps keep Keras's order.)
"""

import math
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from kerasnets import optimizers, schedules

#: How the features of a tensor are ordered in the original: a data format (feature maps, which are channels-first
#: there), an array (for each element of one example, its position in the original), or None (the order is as here).
Layout = str | np.ndarray | None


# --- The mapping ------------------------------------------------------------------------------------------------------


def _same(array: np.ndarray, layout: Layout) -> np.ndarray:
    return array


def _linear(kernel: np.ndarray, layout: Layout) -> np.ndarray:
    """``(in, out)`` → ``(out, in)``, the inputs in the original's order."""
    if isinstance(layout, np.ndarray) and layout.ndim == 1:
        kernel = kernel[np.argsort(layout)]
    return kernel.T


def _convolution(kernel: np.ndarray, layout: Layout) -> np.ndarray:
    """``(*size, in / groups, out)`` → ``(out, in / groups, *size)``."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def _depthwise(kernel: np.ndarray, layout: Layout) -> np.ndarray:
    """``(*size, in, multiplier)`` → ``(in · multiplier, 1, *size)``: PyTorch's convolution with one group a channel."""
    *size, channels, multiplier = kernel.shape
    return np.moveaxis(kernel, (-2, -1), (0, 1)).reshape(channels * multiplier, 1, *size)


def _features(vector: np.ndarray, layout: Layout) -> np.ndarray:
    """One value a feature (or a channel, which has no order to change), in the original's order."""
    if isinstance(layout, np.ndarray) and vector.shape == layout.shape == (vector.size,):
        return vector[np.argsort(layout)]
    if layout == "channels_last" and vector.ndim > 2:
        return np.moveaxis(vector, -1, 0)
    return vector


#: Layers → for each of their variables: its attribute here, its name in PyTorch, and how it looks there.
TABLE = (
    ((keras.layers.Dense,), (("kernel", "weight", _linear), ("bias", "bias", _same))),
    (
        (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
        (("kernel", "weight", _convolution), ("bias", "bias", _same)),
    ),
    (
        (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
        (("kernel", "weight", _depthwise), ("bias", "bias", _same)),
    ),
    (
        (keras.layers.BatchNormalization,),
        (
            ("gamma", "weight", _features),
            ("beta", "bias", _features),
            ("moving_mean", "running_mean", _features),
            ("moving_variance", "running_var", _features),
        ),
    ),
    ((keras.layers.LayerNormalization,), (("gamma", "weight", _features), ("beta", "bias", _features))),
    ((keras.layers.Embedding,), (("embeddings", "weight", _same),)),
)
#: Layers with weights that keep the order of their features.
_NORMALISATIONS = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Entry:
    """One entry of a ``state_dict``: its name there, the variable here (None for batch norm's counter), and its order.

    `reorder` only moves elements, which is why :meth:`from_torch` needs no second function.
    """

    name: str
    variable: keras.Variable | None
    reorder: Callable[[np.ndarray], np.ndarray] = lambda array: array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in PyTorch."""
        if self.variable is None:
            return ()
        return self.reorder(np.broadcast_to(np.int8(0), self.variable.shape)).shape

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """An array shaped as the variable → PyTorch's shape and order."""
        return np.array(self.reorder(array), order="C")

    def from_torch(self, array: np.ndarray) -> np.ndarray:
        """An array in PyTorch's shape and order → shaped as the variable."""
        shape = tuple(self.variable.shape)
        positions = self.reorder(np.arange(math.prod(shape)).reshape(shape))
        result = np.empty(math.prod(shape), array.dtype)
        result[positions.ravel()] = array.ravel()
        return result.reshape(shape)


def entries(model: keras.Model) -> list[Entry]:
    """What the ``state_dict`` of the model's original has, in the order of the model's layers.

    Raises:
        TypeError: `model` is neither Functional nor Sequential, or one of its layers has weights and no row in TABLE.
        ValueError: the model is not built, two layers have one name, or one layer is used with two orders of features.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, not {type(model).__name__}.")
    layouts: dict[int, Layout] = {}
    _follow(model, None, layouts)
    found: dict[str, Entry] = {}
    for prefix, layer in _layers(model):
        for entry in _layer_entries(prefix, layer, layouts.get(id(layer))):
            if entry.name in found:
                raise ValueError(f"Two layers of the model {model.name!r} have the weights {entry.name!r}.")
            found[entry.name] = entry
    return list(found.values())


def _layers(model: keras.Model, prefix: str = "", seen: set | None = None) -> Iterator[tuple[str, keras.Layer]]:
    """Each layer once, with its name in PyTorch; a model inside the model gives its layers."""
    seen = set() if seen is None else seen
    for layer in model.layers:
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        name = prefix + (getattr(layer, "torch_name", None) or layer.name)
        if isinstance(layer, keras.Model):
            yield from _layers(layer, f"{name}.", seen)
        else:
            yield name, layer


def _layer_entries(name: str, layer: keras.Layer, layout: Layout) -> list[Entry]:
    if not layer.weights:
        return []
    rows = next((rows for classes, rows in TABLE if isinstance(layer, classes)), ())
    found = []
    for attribute, suffix, function in rows:
        variable = getattr(layer, attribute, None)
        if variable is not None:
            found.append(Entry(f"{name}.{suffix}", variable, lambda array, f=function: f(array, layout)))
    unknown = {id(weight): weight for weight in layer.weights}
    for entry in found:
        unknown.pop(id(entry.variable), None)
    if unknown:
        known = [cls.__name__ for classes, _ in TABLE for cls in classes]
        raise TypeError(
            f"The layer {layer.name!r} ({type(layer).__name__}) has weights with no known counterpart in PyTorch: "
            f"{', '.join(weight.path for weight in unknown.values())}. Known are the weights of: {', '.join(known)}."
        )
    if isinstance(layer, keras.layers.BatchNormalization):
        found.append(Entry(f"{name}.{_COUNTER}", None))
    return found


# --- The order of features through the graph --------------------------------------------------------------------------


def _follow(model: keras.Model, inputs: list[Layout] | None, layouts: dict[int, Layout]) -> list[Layout]:
    """Note the layout that each layer of `model` gets; return those of the model's outputs.

    Keras has no public way to walk a graph: this reads the nodes as ``keras.utils.model_to_dot`` does.
    """
    graph = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    if not model.built or graph is None:
        raise ValueError(f"The model {model.name!r} has no weights yet: build it first, or give it an Input.")
    if not hasattr(graph, "_nodes_by_depth"):
        raise TypeError(f"The model {model.name!r} ({type(model).__name__}) is neither Functional nor Sequential.")
    if inputs is None:
        inputs = [_default(tensor.shape) for tensor in graph.inputs]
    known = {id(tensor): layout for tensor, layout in zip(graph.inputs, inputs, strict=True)}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if not node.operation or node.is_input or any(id(tensor) not in known for tensor in node.input_tensors):
                continue
            given = [known[id(tensor)] for tensor in node.input_tensors]
            if isinstance(node.operation, keras.Model):
                results = _follow(node.operation, given, layouts)
            else:
                _note(node.operation, given[0], layouts)
                results = [_through(node, output, given) for output in node.outputs]
            known.update((id(tensor), layout) for tensor, layout in zip(node.outputs, results, strict=True))
    return [known[id(tensor)] for tensor in graph.outputs]


def _note(operation, layout: Layout, layouts: dict[int, Layout]) -> None:
    other = layouts.setdefault(id(operation), layout)
    vectors = [known for known in (other, layout) if isinstance(known, np.ndarray) and known.ndim == 1]
    if vectors and not np.array_equal(other, layout) and getattr(operation, "weights", None):
        raise ValueError(
            f"The layer {operation.name!r} is used for inputs whose features PyTorch orders in two ways, so that no "
            "one set of weights fits both."
        )


def _through(node, output, given: list[Layout]) -> Layout:
    """The layout of `output`, one of the tensors that come out of `node`."""
    operation, tensors = node.operation, node.input_tensors
    data_format = getattr(operation, "data_format", None)
    if data_format and len(output.shape) > 2:
        return data_format  # convolution, pooling, padding, …: feature maps in this format
    if getattr(operation, "weights", None) and not isinstance(operation, _NORMALISATIONS):
        return _default(output.shape)  # new features
    if any(size is None for tensor in (output, *tensors) for size in tensor.shape[1:]):
        return _default(output.shape)
    if len(tensors) == 1 and math.prod(tensors[0].shape[1:]) == math.prod(output.shape[1:]):
        if tensors[0].shape == output.shape and not isinstance(operation, keras.layers.Permute):
            return given[0]  # element by element
        return _asked(operation, given[0], tensors[0].shape)
    if type(operation).__name__ == "Concatenate" and len(output.shape) == 2:
        parts, start = [], 0
        for tensor, layout in zip(tensors, given, strict=True):
            parts.append(_positions(layout, tensor.shape[1:]) + start)
            start += tensor.shape[1]
        return np.concatenate(parts)
    same = [layout for tensor, layout in zip(tensors, given, strict=True) if tensor.shape == output.shape]
    return same[0] if same else _default(output.shape)


def _asked(operation, layout: Layout, shape: tuple[int | None, ...]) -> Layout:
    """What a flattening, a reshape or a permutation makes of `layout`: let it move the positions themselves."""
    positions = _positions(layout, shape[1:]).astype("int32")
    moved = operation(keras.ops.convert_to_tensor(np.stack([positions] * (shape[0] or 1))))
    moved = _numpy(moved)[0]
    expected = np.arange(moved.size)
    if not np.array_equal(np.sort(moved, axis=None), expected):
        return _default((None, *moved.shape))  # it computes something; it doesn't just move
    if moved.ndim == 1 and np.array_equal(moved, expected):
        return None
    return moved.astype("int64")


def _positions(layout: Layout, shape: tuple[int, ...]) -> np.ndarray:
    """For each element of an example of this shape, its position in the original's flattened order."""
    if isinstance(layout, np.ndarray):
        return layout
    numbers = np.arange(math.prod(shape))
    if layout == "channels_last":
        return np.moveaxis(numbers.reshape(shape[-1], *shape[:-1]), 0, -1)
    return numbers.reshape(shape)


def _default(shape: tuple[int | None, ...]) -> Layout:
    """Four axes and more are feature maps in Keras's data format; fewer have the same order on both sides."""
    return keras.config.image_data_format() if len(shape) > 3 else None


# --- Weights ----------------------------------------------------------------------------------------------------------


class LoadResult(NamedTuple):
    """What :func:`load_state_dict` did not find a partner for, as ``torch.nn.Module.load_state_dict`` returns it."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def state_dict(model: keras.Model) -> dict[str, np.ndarray]:
    """Give the weights of `model` with PyTorch's names, shapes and orders.

    Args:
        model: a built Functional or Sequential model.

    Returns:
        Name → array of the variable's dtype, such as ``"conv1.weight"`` → float32 ``(out, in, height, width)``. Batch
        norm's ``num_batches_tracked``, which Keras doesn't count, is 0; PyTorch reads it only where momentum is None.

    Raises:
        TypeError: a layer with weights has no counterpart in PyTorch, or the model is a subclass with its own ``call``.
        ValueError: the model is not built, or its names are ambiguous.
    """
    return {
        entry.name: np.zeros((), "int64") if entry.variable is None else entry.to_torch(_numpy(entry.variable))
        for entry in entries(model)
    }


def load_state_dict(model: keras.Model, source: Mapping[str, object] | str | Path, strict: bool = True) -> LoadResult:
    """Set the weights of `model` from a ``state_dict`` of its PyTorch original.

    Args:
        model: a built Functional or Sequential model, on any backend. Its dtypes are kept.
        source: a dict of tensors or arrays, a ``.pt``/``.pth`` file (read with ``weights_only=True``) or a
            ``.safetensors`` file (read without PyTorch). A checkpoint that has the weights under ``"state_dict"``,
            ``"model_state_dict"`` or ``"model"`` is understood, and the prefixes ``module.`` and ``_orig_mod.``, which
            ``DataParallel`` and ``torch.compile`` add, are taken off.
        strict: whether the names must be exactly the model's; if not, what fits by name is loaded.

    Returns:
        The names in the model and not in the source, and the other way round.

    Raises:
        ValueError: names or shapes don't fit (all of them are listed, and the model is unchanged; shapes must fit even
            where `strict` is False, as in PyTorch), or the file can't be read.
        FileNotFoundError: there is no such file.
        TypeError: `source` is something else, or the model has a layer that :func:`state_dict` can't map.
    """
    known = {entry.name: entry for entry in entries(model)}
    given = _strip_prefixes(_weights(_read(source)), known)
    missing = [name for name, entry in known.items() if name not in given and entry.variable is not None]
    unexpected = [name for name in given if name not in known]
    arrays, unfit = {}, []
    for name, entry in known.items():
        if name not in given or entry.variable is None:
            continue
        array = _numbers(given[name])
        if array is None:
            unfit.append(f"{name} is of type {type(given[name]).__name__}, expected numbers of shape {entry.shape}")
        elif array.shape != entry.shape:
            unfit.append(f"{name} has shape {array.shape}, expected {entry.shape}")
        else:
            arrays[name] = array
    problems = {"mis-shaped": unfit, **({"missing": missing, "unexpected": unexpected} if strict else {})}
    if any(problems.values()):
        lines = [f"  {what}: {'; '.join(map(str, names))}" for what, names in problems.items() if names]
        raise ValueError(f"The weights don't fit the model {model.name!r}; nothing was loaded.\n" + "\n".join(lines))
    for name, array in arrays.items():
        known[name].variable.assign(known[name].from_torch(array))
    return LoadResult(missing, unexpected)


def save_state_dict(model: keras.Model, path: str | Path) -> None:
    """Write the weights of `model` to a file that its PyTorch original takes with ``strict=True``.

    Args:
        model: a built Functional or Sequential model.
        path: a ``.pt`` or ``.pth`` file, for ``original.load_state_dict(torch.load(path))``; or a ``.safetensors``
            file, written without PyTorch, for ``original.load_state_dict(safetensors.torch.load_file(path))``.

    Raises:
        ValueError: the path ends differently, or the model is not built.
        TypeError: as in :func:`state_dict`.
    """
    path = _known_suffix(path)
    arrays = state_dict(model)
    if path.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file(arrays, path)
        return
    import torch

    torch.save({name: _tensor(array) for name, array in arrays.items()}, path)


def _numpy(value) -> np.ndarray:
    """A variable, a tensor of any library or an array as a NumPy array."""
    if isinstance(value, keras.Variable):
        value = value.value
    if hasattr(value, "detach"):  # PyTorch's; np.asarray of it warns
        value = value.detach().cpu()
        return value.float().numpy().astype("bfloat16") if str(value.dtype) == "torch.bfloat16" else value.numpy()
    return np.asarray(value)


def _numbers(value) -> np.ndarray | None:
    """Like :func:`_numpy`, in a type that every backend casts from; None if `value` holds no numbers."""
    value = _numpy(value)
    if value.dtype.name in ("bfloat16", "float16"):
        return value.astype("float32")
    return value if value.dtype.kind in "fiub" else None


def _tensor(array: np.ndarray):
    import torch

    if array.dtype.name == "bfloat16":  # a type that torch.from_numpy doesn't know
        return torch.from_numpy(array.astype("float32")).to(torch.bfloat16)
    return torch.from_numpy(array)


def _known_suffix(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix not in (".pt", ".pth", ".safetensors"):
        raise ValueError(f"The file {str(path)!r} ends in {path.suffix!r}; expected .pt, .pth or .safetensors.")
    return path


def _read(source) -> Mapping[str, object]:
    if isinstance(source, Mapping):
        return source
    if not isinstance(source, str | Path):
        hint = ": pass its state_dict()" if hasattr(source, "state_dict") else ""
        raise TypeError(f"Expected a dict or the path of a file, not {type(source).__name__}{hint}.")
    path = _known_suffix(source)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"The file {str(path)!r} is no whole .safetensors file: {error}") from error
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"The file {str(path)!r} is no pickle of tensors alone (a whole model, or other objects), and reading more "
            "than tensors would run code from the file. If you trust it, read it in PyTorch and save its state_dict: "
            "torch.save(torch.load(path, weights_only=False).state_dict(), new_path)."
        ) from error
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"The file {str(path)!r} is no whole PyTorch file: {error}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"The file {str(path)!r} holds {type(content).__name__}, expected a dict of tensors.")
    return content


def _weights(content: Mapping[str, object]) -> Mapping[str, object]:
    """The weights in a checkpoint, which has them under a name of its own beside other things."""
    parts = [name for name, value in content.items() if isinstance(value, Mapping)]
    if not parts:
        return content
    for name in ("state_dict", "model_state_dict", "model"):
        if name in parts:
            return content[name]
    raise ValueError(
        f"This is a checkpoint with the parts {', '.join(map(repr, parts))}: pass the one with the weights."
    )


def _strip_prefixes(given: Mapping[str, object], known: Mapping[str, Entry]) -> dict[str, object]:
    stripped = {}
    for name, value in given.items():
        short = name
        while short not in known and short.startswith(("module.", "_orig_mod.")):
            short = short.partition(".")[2]
        if short not in known:  # a part of the model was compiled or wrapped
            inner = ".".join(part for part in short.split(".") if part not in ("module", "_orig_mod"))
            short = inner if inner in known else short
        # A name that is there with and without a prefix stays as it is, and is reported.
        stripped[name if short in stripped or (short != name and short in given) else short] = value
    return stripped


# --- Optimizer state --------------------------------------------------------------------------------------------------


_COMMON = {"weight_decay": "weight_decay", "maximize": "maximize"}
_MOMENTUM = {"momentum": "momentum", **_COMMON}
_ADAM = {"betas": ("beta_1", "beta_2"), "eps": "epsilon", "amsgrad": "amsgrad", **_COMMON}
#: Class in ``kerasnets.optimizers`` → its namesake's settings in ``torch.optim`` → what ``get_config`` calls them here.
_SETTINGS = {
    "SGD": {"dampening": "dampening", "nesterov": "nesterov", **_MOMENTUM},
    "RMSprop": {"alpha": "rho", "eps": "epsilon", "centered": "centered", **_MOMENTUM},
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "Adagrad": {
        "lr_decay": "lr_decay",
        "eps": "epsilon",
        "initial_accumulator_value": "initial_accumulator_value",
        **_COMMON,
    },
    "Adadelta": {"rho": "rho", "eps": "epsilon", **_COMMON},
}

#: The parameters' names in PyTorch's order: one list, or one list for each of the optimizer's parameter groups.
Names = Sequence[str] | Sequence[Sequence[str]]


def optimizer_state_dict(model: keras.Model, names: Names | None = None) -> dict:
    """Give the state of the compiled optimizer as ``torch.optim.Optimizer.load_state_dict`` takes it.

    Args:
        model: a built model, compiled with an optimizer of :mod:`kerasnets.optimizers`.
        names: the original's parameters in its order, ``[name for name, _ in original.named_parameters()]``: PyTorch's
            optimizers number them; or a list of such lists, one for each parameter group of PyTorch's optimizer. By
            default they are in the order of :func:`state_dict`, which is the original's where that registers its
            modules in the order in which it calls them.

    Returns:
        ``{"state": …, "param_groups": …}`` with PyTorch tensors: moments, steps, the current learning rate and the
        optimizer's settings.

    Raises:
        ValueError: the model is not compiled, `names` are not the model's parameters, or a group in `names` has
            parameters with different learning rates or weight decays here.
        TypeError: the optimizer has no namesake in ``torch.optim`` with the same rule.
    """
    import torch

    optimizer, settings_there = _compiled(model)
    groups = _parameter_groups(model, names)
    config = optimizer.get_config()
    steps = int(_numpy(optimizer.iterations))
    state, param_groups, index = {}, [], 0
    for group in groups:
        settings = {name: _setting(config, key) for name, key in settings_there.items()}
        trained = [entry for entry in group if _is_trained(optimizer, entry)]
        rates = {float(_numpy(optimizer.learning_rate_of(entry.variable))) for entry in trained}
        decays = {float(optimizer.weight_decay_of(entry.variable) or 0.0) for entry in trained}
        if len(rates) > 1 or len(decays) > 1:
            raise ValueError(
                f"The parameters {[entry.name for entry in group]} are one group in PyTorch, but here they have the "
                f"learning rates {sorted(rates)} and the weight decays {sorted(decays)}. Give a list of names a group."
            )
        settings["lr"] = rates.pop() if rates else float(_numpy(optimizer.learning_rate))
        settings["weight_decay"] = decays.pop() if decays else settings["weight_decay"]
        if isinstance(optimizer, optimizers.Adam):
            settings["decoupled_weight_decay"] = isinstance(optimizer, optimizers.AdamW)
        if trained and _schedule(optimizer):
            settings.update(_cycle(optimizer, settings_there, trained[0].variable))
        param_groups.append({**settings, "params": list(range(index, index + len(group)))})
        for number, entry in enumerate(group, start=index):
            # PyTorch makes a parameter's state at its first step; Adagrad makes it at once.
            slots = _slots(optimizer, entry) if steps or isinstance(optimizer, optimizers.Adagrad) else {}
            if slots:
                state[number] = {name: _tensor(entry.to_torch(_numpy(slot))) for name, slot in slots.items()}
                if _counts(optimizer):
                    state[number]["step"] = torch.tensor(float(steps))
        index += len(group)
    return {"state": state, "param_groups": param_groups}


def scheduler_state_dict(model: keras.Model) -> dict:
    """Give the position of the optimizer's schedule as a PyTorch scheduler counts it.

    Args:
        model: a built model, compiled with an optimizer whose learning rate is one of :mod:`kerasnets.schedules`.

    Returns:
        ``last_epoch``, the number of calls of ``scheduler.step()`` (iterations / the schedule's ``steps_per_epoch``),
        and the other counters of ``torch.optim.lr_scheduler.LRScheduler``. A PyTorch scheduler takes it by
        ``scheduler.load_state_dict({**scheduler.state_dict(), **scheduler_state_dict(model)})``; let it be made before
        the optimizer loads its own state, since a new scheduler starts the learning rate afresh.

    Raises:
        ValueError: the model is not compiled, or its learning rate is no schedule.
    """
    optimizer, _ = _compiled(model)
    schedule = _schedule(optimizer)
    if schedule is None:
        raise ValueError("The optimizer's learning rate is no schedule of kerasnets.schedules: it has no epoch.")
    epoch = int(_numpy(optimizer.iterations)) // schedule.steps_per_epoch
    return {"last_epoch": epoch, "_step_count": epoch + 1, "_last_lr": [float(_numpy(optimizer.learning_rate))]}


def load_optimizer_state_dict(
    model: keras.Model,
    state: Mapping,
    names: Names | None = None,
    scheduler: Mapping | None = None,
    iterations: int | None = None,
) -> None:
    """Set the compiled optimizer to where a PyTorch optimizer stands, so that the next step is the same.

    Moments, buffers and the step counter are set, and the learning rate, where it is no schedule. The other settings
    (momentum, betas, weight decay, …) must be those of the compiled optimizer already.

    Args:
        model: a built model, compiled with the namesake of the PyTorch optimizer in :mod:`kerasnets.optimizers`.
        state: ``optimizer.state_dict()`` from PyTorch.
        names: as in :func:`optimizer_state_dict`; not needed where PyTorch's optimizer was made from
            ``named_parameters()`` and knows them.
        scheduler: ``scheduler.state_dict()`` from PyTorch, where the learning rate is a schedule here: its
            ``last_epoch`` times the schedule's ``steps_per_epoch`` is the number of steps done.
        iterations: optimizer steps done, where neither of the two says so (SGD keeps no count).

    Raises:
        ValueError: names, shapes, settings or counters don't fit. All are listed, and the optimizer is unchanged.
        TypeError: the optimizer has no namesake in ``torch.optim`` with the same rule.
    """
    optimizer, settings_there = _compiled(model)
    if not isinstance(state, Mapping) or not {"state", "param_groups"} <= set(state):
        raise ValueError("Expected a PyTorch optimizer's state_dict(), a dict with 'state' and 'param_groups'.")
    if names is None and all("param_names" in group for group in state["param_groups"]):
        names = [group["param_names"] for group in state["param_groups"]]
    groups = _parameter_groups(model, names)
    sizes, expected = [len(group["params"]) for group in state["param_groups"]], [len(group) for group in groups]
    if sizes != expected:
        raise ValueError(
            f"PyTorch's optimizer has groups of {sizes} parameters, the model (by `names`) of {expected}; expected the "
            "same."
        )
    problems: list[str] = []
    done = _steps_done(optimizer, state["state"], scheduler, iterations, problems)
    rate = _rate_to_set(optimizer, settings_there, state["param_groups"], groups, done, problems)
    values = []
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    for number, entry in zip(numbers, [entry for group in groups for entry in group], strict=True):
        given = {k: v for k, v in state["state"].get(number, {}).items() if k != "step" and v is not None}
        slots = _slots(optimizer, entry)
        if given and set(given) != set(slots):
            problems.append(f"{entry.name} has the state {sorted(given)}, expected {sorted(slots) or 'none'}")
            continue
        for name, slot in slots.items():
            array = _numbers(given[name]) if given else None
            if array is None:  # PyTorch's optimizer has not moved this parameter yet
                start = optimizer.initial_accumulator_value if isinstance(optimizer, optimizers.Adagrad) else 0.0
                array = np.full(entry.shape, start)
            if array.shape != entry.shape:
                problems.append(f"{name} of {entry.name} has shape {array.shape}, expected {entry.shape}")
            else:
                values.append((entry, slot, array))
    if problems:
        raise ValueError("The optimizer's state doesn't fit; nothing was loaded.\n  " + "\n  ".join(problems))
    for entry, slot, array in values:
        slot.assign(entry.from_torch(array))
    optimizer.iterations.assign(done)
    if rate is not None:
        optimizer.learning_rate = rate


def _compiled(model: keras.Model) -> tuple[keras.optimizers.Optimizer, dict]:
    """The optimizer of `model`, built, and its row of _SETTINGS."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ValueError(f"The model {model.name!r} is not compiled: it has no optimizer.")
    settings = _SETTINGS.get(type(optimizer).__name__)
    if settings is None or type(optimizer) is not getattr(optimizers, type(optimizer).__name__, None):
        raise TypeError(
            f"The optimizer is a {type(optimizer).__module__}.{type(optimizer).__name__}; expected one of "
            f"kerasnets.optimizers: {', '.join(_SETTINGS)}. Others have another rule than PyTorch's."
        )
    if optimizer.gradient_accumulation_steps:
        raise TypeError("An optimizer that accumulates gradients has a state that PyTorch's has no place for.")
    optimizer.build(model.trainable_variables)
    return optimizer, settings


def _schedule(optimizer) -> schedules.LRSchedule | None:
    """The optimizer's schedule; Keras gives no public way to it."""
    return optimizer._learning_rate if isinstance(optimizer._learning_rate, schedules.LRSchedule) else None


def _parameter_groups(model: keras.Model, names: Names | None) -> list[list[Entry]]:
    """The entries that are parameters in PyTorch, in the order of its optimizer."""
    known = {e.name: e for e in entries(model) if e.name.rpartition(".")[2] in ("weight", "bias")}
    if names is None:
        return [list(known.values())]
    groups = [list(names)] if all(isinstance(name, str) for name in names) else [list(group) for group in names]
    groups = [list(_strip_prefixes(dict.fromkeys(group), known)) for group in groups]
    given = [name for group in groups for name in group]
    if sorted(given) != sorted(known):
        missing, unexpected = [n for n in known if n not in given], [n for n in given if n not in known]
        raise ValueError(f"`names` are not the model's parameters: missing {missing}, unexpected {unexpected}.")
    return [[known[name] for name in group] for group in groups]


def _is_trained(optimizer, entry: Entry) -> bool:
    return any(entry.variable is variable for variable in optimizer._trainable_variables)


def _slots(optimizer, entry: Entry) -> dict[str, keras.Variable]:
    """PyTorch's names of what the optimizer keeps for a parameter → the variables; empty for a frozen one."""
    return optimizer.state_of(entry.variable) if _is_trained(optimizer, entry) else {}


def _counts(optimizer) -> bool:
    """Whether PyTorch's namesake keeps the number of steps."""
    return not isinstance(optimizer, optimizers.SGD)


def _cycled(optimizer, settings_there: Mapping) -> str | None:
    """PyTorch's name of the setting that the optimizer's schedule moves, if it moves one."""
    schedule = _schedule(optimizer)
    if schedule is None or not schedule.cycle_momentum:
        return None
    return "betas" if "betas" in settings_there else "momentum"


def _setting(config: Mapping, key: str | tuple[str, ...]):
    return tuple(config[part] for part in key) if isinstance(key, tuple) else config[key] or 0


def _cycle(optimizer, settings_there: Mapping, variable) -> dict:
    """What a PyTorch scheduler keeps in the optimizer's parameter group."""
    schedule = _schedule(optimizer)
    own = optimizer._group(variable)
    if own is not None and own.learning_rate is not None:
        schedule = schedule.rebase(own.learning_rate)
    kept = {"initial_lr": schedule.learning_rate}
    if isinstance(schedule, schedules.OneCycleLR):
        first = schedule.learning_rate / schedule.div_factor
        kept = {"initial_lr": first, "max_lr": schedule.learning_rate, "min_lr": first / schedule.final_div_factor}
    if name := _cycled(optimizer, settings_there):
        now = float(_numpy(schedule.momentum(optimizer.iterations)))
        kept[name] = (now, optimizer.get_config()["beta_2"]) if name == "betas" else now
        if isinstance(schedule, schedules.OneCycleLR):
            kept.update(base_momentum=schedule.base_momentum, max_momentum=schedule.max_momentum)
    return kept


def _steps_done(optimizer, state: Mapping, scheduler, iterations, problems: list[str]) -> int:
    """The number of optimizer steps, from whatever knows it; a problem where two that know it disagree."""
    schedule = _schedule(optimizer)
    steps = {int(_numpy(kept["step"])) for kept in state.values() if "step" in kept}
    if iterations is not None:
        steps.add(int(iterations))
    if len(steps) > 1:
        problems.append(f"the parameters have made different numbers of steps: {sorted(steps)}")
    done = max(steps, default=None)
    if scheduler is not None:
        if schedule is None or "last_epoch" not in scheduler:
            problems.append("a scheduler's state with 'last_epoch' needs a schedule of kerasnets.schedules here")
        elif done is None:
            done = scheduler["last_epoch"] * schedule.steps_per_epoch
        elif done // schedule.steps_per_epoch != scheduler["last_epoch"]:
            problems.append(
                f"the scheduler stands at epoch {scheduler['last_epoch']}, but {done} steps are "
                f"{done // schedule.steps_per_epoch} epochs of steps_per_epoch={schedule.steps_per_epoch}"
            )
    if done is None and not _counts(optimizer):
        # No schedule asks for more; dampening only asks whether there was a first step.
        done = max(int(_numpy(optimizer.iterations)), 1) if state else 0
    return done or 0


def _rate_to_set(optimizer, settings_there, param_groups, groups, done: int, problems: list[str]) -> float | None:
    """The new learning rate (None: a schedule gives it), after a comparison of all settings."""
    config, schedule = optimizer.get_config(), _schedule(optimizer)
    base = float(_numpy(optimizer.learning_rate))
    moved = _cycled(optimizer, settings_there)
    wanted = set()
    for theirs, group in zip(param_groups, groups, strict=True):
        trained = next((entry.variable for entry in group if _is_trained(optimizer, entry)), None)
        for name, key in settings_there.items():
            ours = _setting(config, key)
            if name == "weight_decay" and trained is not None:
                ours = optimizer.weight_decay_of(trained) or 0.0
            if name in theirs and name != moved and not np.allclose(theirs[name], ours, rtol=1e-6, atol=0):
                problems.append(f"{name} is {theirs[name]} in PyTorch and {ours} here")
        if trained is None:
            continue
        rate = float(theirs["lr"])
        if schedule is None:
            own = float(_numpy(optimizer.learning_rate_of(trained)))
            wanted.add(float(np.float64(rate * base / own)) if own else rate)
            continue
        own = optimizer._group(trained)
        now = schedule if own is None or own.learning_rate is None else schedule.rebase(own.learning_rate)
        now = float(_numpy(now(done)))
        if not np.isclose(rate, now, rtol=1e-5, atol=0):
            problems.append(
                f"the learning rate is {rate} in PyTorch, and the schedule here has {now} after {done} steps (of "
                "which SGD knows only by `scheduler` or `iterations`)"
            )
    if wanted and max(wanted) - min(wanted) > 1e-6 * max(wanted):
        problems.append(f"the groups' learning rates are not in the ratio of param_groups here: {sorted(wanted)}")
    return max(wanted, default=None)
