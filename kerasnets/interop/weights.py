"""Weights between a Keras model and its PyTorch original, with PyTorch's names, shapes and orders.

>>> kerasnets.load_state_dict(model, "weights.pt")        # or a .safetensors file, or a dict of tensors or arrays
>>> kerasnets.save_state_dict(model, "weights.pt")        # original.load_state_dict(torch.load("weights.pt")) takes it

It serves every Functional and Sequential model made of the layers in :data:`TABLE`. Three things differ between the two
sides, and each is derived from the model:

- Names: a layer's ``torch_name`` (kerasnets' own layers have one) or else its ``name``, then PyTorch's suffix; the
  layers of a model inside the model have that one's name and a dot before theirs.
- The order of axes: a kernel here is (…, in, out), there (out, in, …).
- The order of flattened features, which :mod:`kerasnets.interop.feature_order` follows through the model's graph.
"""

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from kerasnets._internal.arguments import check_path
from kerasnets._internal.arrays import cast, to_numbers, to_numpy, to_tensor
from kerasnets._internal.atomic import write_bytes
from kerasnets.interop.feature_order import Layout, layouts_of

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
    if layout == "channels_last" and vector.ndim > 1:  # a layer normalisation's, over all axes
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

    def convert(self, value, dtype: str):
        """A tensor or array of PyTorch's → the backend's tensor with this dtype and the variable's shape.

        Raises:
            ValueError: it has another shape or holds no numbers. The message is to be put after the entry's name.
        """
        try:
            array = to_numbers(value)
        except Exception as error:  # a sparse, quantized or float8 tensor, a ragged list: each has its own
            raise ValueError(f"can't be read: {error}") from None
        if array is None:
            what = f"{type(value).__name__} {getattr(value, 'dtype', '')}".rstrip()
            raise ValueError(f"is of type {what}, expected numbers of shape {self.shape}")
        if array.shape != self.shape:
            raise ValueError(f"has shape {array.shape}, expected {self.shape}")
        return keras.ops.convert_to_tensor(self.from_torch(cast(array, dtype)), dtype)


def entries(model: keras.Model) -> list[Entry]:
    """What the ``state_dict`` of the model's original has, in the order of the model's layers.

    Raises:
        TypeError: `model` is neither Functional nor Sequential, or one of its layers has weights and no row in TABLE.
        ValueError: the model is not built, two layers have one name, or PyTorch has no one order for a layer's inputs.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model, not {type(model).__name__}.")
    layouts = layouts_of(model)
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
        ValueError: the model is not built, its names are ambiguous, or PyTorch has no one order for a layer's inputs.
    """
    return {
        entry.name: np.zeros((), "int64") if entry.variable is None else entry.to_torch(to_numpy(entry.variable))
        for entry in entries(model)
    }


def load_state_dict(model: keras.Model, source: Mapping[str, object] | str | Path, strict: bool = True) -> LoadResult:
    """Set the weights of `model` from a ``state_dict`` of its PyTorch original.

    Args:
        model: a built Functional or Sequential model, on any backend. Its dtypes are kept. How features that are
            flattened, reshaped or joined on the way find their order: :mod:`kerasnets.interop.feature_order`.
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
        TypeError: `source` is something else, a name in it is no string, or the model has a layer that
            :func:`state_dict` can't map.
    """
    known = {entry.name: entry for entry in entries(model)}
    given = strip_prefixes(_weights(_read(source)), known)
    missing = [name for name, entry in known.items() if name not in given and entry.variable is not None]
    unexpected = [name for name in given if name not in known]
    values, unfit = [], []
    for name, entry in known.items():
        if name not in given or entry.variable is None:
            continue
        try:
            values.append((entry.variable, entry.convert(given[name], entry.variable.dtype)))
        except ValueError as error:
            unfit.append(f"{name} {error}")
    problems = {"mis-shaped": unfit, **({"missing": missing, "unexpected": unexpected} if strict else {})}
    if any(problems.values()):
        lines = [f"  {what}: {'; '.join(map(str, names))}" for what, names in problems.items() if names]
        raise ValueError(f"The weights don't fit the model {model.name!r}; nothing was loaded.\n" + "\n".join(lines))
    for variable, value in values:
        variable.assign(value)
    return LoadResult(missing, unexpected)


def save_state_dict(model: keras.Model, path: str | Path) -> None:
    """Write the weights of `model` to a file that its PyTorch original takes with ``strict=True``.

    If the file can't be written, one that was there before is unchanged.

    Args:
        model: a built Functional or Sequential model.
        path: a ``.pt`` or ``.pth`` file, for ``original.load_state_dict(torch.load(path))``; or a ``.safetensors``
            file, written without PyTorch, for ``original.load_state_dict(safetensors.torch.load_file(path))``.

    Raises:
        ValueError: the path ends differently, or as in :func:`state_dict`.
        FileNotFoundError: its folder is not there.
        OSError: the disk is full, or there is another reason why the file can't be written.
        TypeError: as in :func:`state_dict`.
    """
    path = _known_suffix(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write {path.name!r} into.")
    arrays = state_dict(model)
    # Not written by the libraries themselves: their errors on a full disk name neither the reason nor the file.
    if path.suffix == ".safetensors":
        from safetensors.numpy import save

        write_bytes(path, save(arrays))
        return
    import torch

    content = io.BytesIO()
    torch.save({name: to_tensor(array) for name, array in arrays.items()}, content)
    write_bytes(path, content.getbuffer())


def kind_of(value) -> str:
    """The type of what was given in place of a ``state_dict``, and what to give where it has one."""
    return type(value).__name__ + (": pass its state_dict()" if hasattr(value, "state_dict") else "")


def _known_suffix(path: str | Path) -> Path:
    path = check_path("path", path)
    if path.suffix not in (".pt", ".pth", ".safetensors"):
        raise ValueError(f"The file {str(path)!r} ends in {path.suffix!r}; expected .pt, .pth or .safetensors.")
    return path


def _read(source) -> Mapping[str, object]:
    if isinstance(source, Mapping):
        return source
    if not isinstance(source, str | Path):
        raise TypeError(f"Expected a dict or the path of a file, not {kind_of(source)}.")
    path = _known_suffix(source)
    if not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is a folder." if path.is_dir() else f"There is no file {str(path)!r}.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"The file {str(path)!r} holds {type(content).__name__}, expected a dict of tensors.")
    return content


def _read_safetensors(path: Path) -> Mapping[str, object]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"The file {str(path)!r} is not a complete .safetensors file: {error}") from error
    except AttributeError as error:  # such as float8
        raise ValueError(f"The file {str(path)!r} has numbers of a type that NumPy doesn't have: {error}.") from error


def _read_torch(path: Path) -> object:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats, TorchScript and what weights_only can't load
            return torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, PermissionError):
        raise
    except Exception as error:
        # UnpicklingError, RuntimeError, EOFError, OSError, KeyError: as the damage happens to be. Not chained, since
        # PyTorch advises to load the file with weights_only=False.
        raise ValueError(f"The file {str(path)!r} {_refusal(error)}") from None


def _refusal(error: Exception) -> str:
    """What is wrong with a file that PyTorch can't load, and what to do instead, without PyTorch's advice."""
    text = str(error)
    remedy = "In the program that wrote it, save only the weights: torch.save(model.state_dict(), path)."
    if refused := re.search(r"nsupported (?:global: )?GLOBAL (\S+)", text):
        return (
            f"contains more than tensors: it refers to {refused[1]}, and loading that could run code from the file. "
            f"{remedy}"
        )
    if "TorchScript" in text:
        return f"is a TorchScript archive, expected a state_dict. {remedy}"
    if ".tar format" in text:
        return f"is in PyTorch's legacy .tar format, which can't be loaded safely. {remedy}"
    # The one line of an UnpicklingError that says what is wrong; an EOFError says nothing.
    found = re.search(r"WeightsUnpickler error:\s*(.+)", text)
    reason = found[1] if found else text.partition("\n")[0] or "it ends too soon"
    return f"is not a complete PyTorch file ({type(error).__name__}: {reason})."


def _weights(content: Mapping[str, object]) -> Mapping[str, object]:
    """The weights in a checkpoint, which has them under a name of its own beside other things."""
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


def strip_prefixes(given: Mapping[str, object], known: Mapping[str, Entry]) -> dict[str, object]:
    """`given` without the prefixes that PyTorch's wrappers put before names that are not `known`."""
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
