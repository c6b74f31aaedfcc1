"""Weights between a Keras model and its PyTorch original, with PyTorch's names, shapes and orders.

>>> kerasnets.load_state_dict(model, "weights.pt")        # or a .safetensors file, or a dict of tensors or arrays
>>> kerasnets.save_state_dict(model, "weights.pt")        # original.load_state_dict(torch.load("weights.pt")) takes it

This works for every Functional and Sequential model made of the layers in
:data:`kerasnets.interop.layer_weights.TABLE`. Three things differ between Keras and PyTorch, and each is derived from
the model:

- Names: a layer's ``torch_name`` (kerasnets' own layers have one) or its ``name``, then PyTorch's suffix. Layers of a
  nested model have that model's name and a dot as a prefix.
- The order of axes: a kernel is (…, in, out) in Keras and (out, in, …) in PyTorch.
- The order of flattened features, which :mod:`kerasnets._internal.feature_order` follows through the model's graph.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasnets._internal.arguments import find_near, refuse_torch_model
from kerasnets._internal.arrays import to_numpy
from kerasnets._internal.feature_order import layouts_of
from kerasnets.interop import files
from kerasnets.interop.layer_weights import Entry, layer_entries


def entries(model: keras.Model) -> list[Entry]:
    """Return the entries of the ``state_dict`` of the PyTorch original, in the order of the model's layers.

    Raises:
        TypeError: `model` is neither Functional nor Sequential, or a layer with weights is not in TABLE.
        ValueError: the model is not built, two layers have the same name, or PyTorch has no single order for a layer's
            inputs.
    """
    if not isinstance(model, keras.Model):
        refuse_torch_model("kerasnets", model)
        raise TypeError(f"Expected a keras.Model, not {type(model).__name__}.")
    layouts = layouts_of(model)
    found: dict[str, Entry] = {}
    for prefix, layer in _layers(model):
        for entry in layer_entries(prefix, layer, layouts.get(id(layer))):
            if entry.name in found:
                raise ValueError(f"Two layers of the model {model.name!r} have the weights {entry.name!r}.")
            found[entry.name] = entry
    return list(found.values())


def name_of(layer: keras.Layer) -> str:
    """Return the attribute path of a layer in the original: its ``torch_name`` or its name."""
    inner = getattr(layer, "forward_layer", None)  # of a Bidirectional, which has no torch_name of its own
    given = None if inner is None else inner.get_config().get("torch_name")
    return given or getattr(layer, "torch_name", None) or layer.name


def _layers(model: keras.Model, prefix: str = "", seen: set | None = None) -> Iterator[tuple[str, keras.Layer]]:
    """Yield each layer once, with its name in PyTorch, including the layers of nested models."""
    seen = set() if seen is None else seen
    for layer in model.layers:
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        name = prefix + name_of(layer)
        if isinstance(layer, keras.Model):
            yield from _layers(layer, f"{name}.", seen)
        else:
            yield name, layer


# --- Weights ----------------------------------------------------------------------------------------------------------


class LoadResult(NamedTuple):
    """The names that :func:`load_state_dict` could not match, as ``torch.nn.Module.load_state_dict`` returns them."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def state_dict(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the weights of `model` with PyTorch's names, shapes and orders.

    Args:
        model: a built Functional or Sequential model.

    Returns:
        Name → array of the variable's dtype, such as ``"conv1.weight"`` → float32 ``(out, in, height, width)``. Batch
        norm's ``num_batches_tracked``, which Keras doesn't count, is 0. (PyTorch reads it only if momentum is None.)

    Raises:
        TypeError: a layer with weights has no counterpart in PyTorch, or the model is a subclass with its own ``call``.
        ValueError: the model is not built, its names are ambiguous, or PyTorch has no single order for a layer's
            inputs.

    Examples:
        >>> weights = kerasnets.state_dict(kerasnets.build("Net"))
        >>> {name: array.shape for name, array in weights.items()}
        {'conv1.weight': (6, 1, 3, 3), 'conv1.bias': (6,), 'fc1.weight': (10, 1350), 'fc1.bias': (10,)}
    """
    return {
        entry.name: np.zeros((), "int64") if entry.variable is None else entry.to_torch(to_numpy(entry.variable))
        for entry in entries(model)
    }


def load_state_dict(model: keras.Model, source: Mapping[str, Any] | str | Path, strict: bool = True) -> LoadResult:
    """Set the weights of `model` from a ``state_dict`` of its PyTorch original.

    Args:
        model: a built Functional or Sequential model, on any backend. Its dtypes don't change. For features that are
            flattened, reshaped or joined in the model, see ``kerasnets/_internal/feature_order.py``.
        source: a dict of tensors or arrays, a ``.pt``/``.pth`` file (read with ``weights_only=True``) or a
            ``.safetensors`` file (read without PyTorch). It may be a checkpoint with the weights under
            ``"state_dict"``, ``"model_state_dict"`` or ``"model"``. The prefixes ``module.`` and ``_orig_mod.``, which
            ``DataParallel`` and ``torch.compile`` add, are removed. A module that the original has under two names is
            one layer here: second names, of tensors in the same memory, are not unexpected.
        strict: require exactly the model's names. Otherwise the names that match are loaded.

    Returns:
        The names that only the model has, and those that only the source has.

    Raises:
        ValueError: names or shapes don't match, or the file can't be read. All mismatches are listed, and the model is
            unchanged. As in PyTorch, shapes must match even if `strict` is False.
        FileNotFoundError: the file does not exist.
        TypeError: `source` is something else, a name in it is not a string, or the model has a layer that
            :func:`state_dict` can't map.

    Examples:
        >>> import torch
        >>> original = kerasnets.originals.Net()
        >>> model = kerasnets.build("Net")
        >>> kerasnets.load_state_dict(model, original.state_dict())
        LoadResult(missing_keys=[], unexpected_keys=[])
    """
    known = {entry.name: entry for entry in entries(model)}
    given = strip_prefixes(_find_weights(_read(source)), known)
    missing = [name for name, entry in known.items() if name not in given and entry.variable is not None]
    unexpected = _unexpected(given, known)
    values, unfit = [], []
    for name, entry in known.items():
        if name not in given or entry.variable is None:
            continue
        try:
            values.append((entry.variable, entry.convert(given[name], entry.variable.dtype)))
        except ValueError as error:
            unfit.append(f"{name} {error}")
    near = {name: find_near(name, missing, {}) for name in unexpected}
    named = [f"{name} (did you mean {near[name]}?)" if near[name] else name for name in unexpected]
    problems = {"mis-shaped": unfit, **({"missing": missing, "unexpected": named} if strict else {})}
    if any(problems.values()):
        lines = [f"  {what}: {'; '.join(map(str, names))}" for what, names in problems.items() if names]
        raise ValueError(f"The weights don't fit the model {model.name!r}; nothing was loaded.\n" + "\n".join(lines))
    for variable, value in values:
        variable.assign(value)
    return LoadResult(missing, unexpected)


def save_state_dict(model: keras.Model, path: str | Path) -> None:
    """Write the weights of `model` to a file that its PyTorch original loads with ``strict=True``.

    If writing fails, an existing file is unchanged.

    Args:
        model: a built Functional or Sequential model.
        path: a ``.pt`` or ``.pth`` file, for ``original.load_state_dict(torch.load(path))``; or a ``.safetensors``
            file, written without PyTorch, for ``original.load_state_dict(safetensors.torch.load_file(path))``.

    Raises:
        ValueError: the path has another suffix, or as in :func:`state_dict`.
        FileNotFoundError: the folder doesn't exist.
        OSError: the file can't be written; for example, the disk is full.
        TypeError: as in :func:`state_dict`.

    Examples:
        >>> import pathlib, tempfile, torch
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.pt"
        >>> kerasnets.save_state_dict(kerasnets.build("Net"), path)
        >>> kerasnets.originals.Net().load_state_dict(torch.load(path))
        <All keys matched successfully>
    """
    path = files.check_writable(path)  # before the weights are copied
    files.write_weights(path, state_dict(model))


def kind_of(value: Any) -> str:
    """Return the name of the type of a wrong argument, and what to pass instead if it has a ``state_dict``."""
    return type(value).__name__ + (": pass its state_dict()" if hasattr(value, "state_dict") else "")


def _read(source: Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    if not isinstance(source, str | Path):
        raise TypeError(f"Expected a dict or the path of a file, not {kind_of(source)}.")
    return files.read_weights(source)


def _unexpected(given: Mapping[str, Any], known: Mapping[str, Entry]) -> list[str]:
    """Return the names that the model lacks, without further names of tensors that it has."""
    taken = {_address(value) for name, value in given.items() if name in known}
    return [name for name, value in given.items() if name not in known and (_address(value) or name) not in taken]


def _address(value: Any) -> tuple | None:
    """Return where a tensor or array lies in memory, its shape and strides; None if that says nothing."""
    if isinstance(value, np.ndarray):
        place, strides = value.__array_interface__["data"][0], value.strides
    elif str(getattr(value, "layout", None)) == "torch.strided":  # a sparse tensor has no address
        place, strides = value.data_ptr(), value.stride()
    else:
        return None
    return (place, tuple(value.shape), tuple(strides)) if place else None


def _find_weights(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the weights in `content`, which may be a checkpoint that has them under a name beside other things."""
    if others := [name for name in content if not isinstance(name, str)]:
        raise TypeError(f"Expected names of weights, received {', '.join(map(repr, others))}.")
    parts = [name for name, value in content.items() if isinstance(value, Mapping)]
    if not parts:
        return content
    for name in ("state_dict", "model_state_dict", "model"):
        if name in parts:
            return content[name]
    raise ValueError(
        f"This is a checkpoint with the parts {', '.join(map(repr, parts))}: pass the one with the weights."
    )


def strip_prefixes(given: Mapping[str, Any], known: Mapping[str, Entry]) -> dict[str, Any]:
    """Remove the prefixes that PyTorch's wrappers add to names, where that makes them `known`."""
    stripped = {}
    for name, value in given.items():
        short = name
        while short not in known and short.startswith(("module.", "_orig_mod.")):
            short = short.partition(".")[2]
        if short not in known:  # a part of the model was compiled or wrapped
            inner = ".".join(part for part in short.split(".") if part not in ("module", "_orig_mod"))
            short = inner if inner in known else short
        # A name that occurs with and without a prefix stays as it is, and is reported.
        stripped[name if short in stripped or (short != name and short in given) else short] = value
    return stripped
