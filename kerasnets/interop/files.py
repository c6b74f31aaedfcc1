"""Files of weights: PyTorch's and safetensors. Another format is another entry in FORMATS."""

import io
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kerasnets._internal.arguments import check_path
from kerasnets._internal.arrays import to_tensor
from kerasnets._internal.atomic import write_bytes


def read_weights(path: str | Path) -> Mapping[str, Any]:
    """Read a file of weights: name → tensor or array.

    Raises:
        ValueError: the file has another suffix, is damaged, or contains something other than a dict of tensors.
        FileNotFoundError: the file does not exist.
    """
    path = _check_suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is a folder." if path.is_dir() else f"There is no file {str(path)!r}.")
    content = FORMATS[path.suffix].read(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"The file {str(path)!r} contains a {type(content).__name__}, expected a dict of tensors.")
    return content


def check_writable(path: str | Path) -> Path:
    """Return `path` as a Path if a file of weights can be there.

    Raises:
        ValueError: the suffix is unknown.
        FileNotFoundError: the folder doesn't exist.
    """
    path = _check_suffix(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write {path.name!r} into.")
    return path


def write_weights(path: str | Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write weights to a file, in the format of its suffix. The write is atomic.

    Raises:
        ValueError: the suffix is unknown.
        FileNotFoundError: the folder doesn't exist.
        OSError: the file can't be written; for example, the disk is full.
    """
    path = check_writable(path)
    # The libraries' own functions for files report a full disk without the reason or the file's name.
    write_bytes(path, FORMATS[path.suffix].to_bytes(weights))


def _check_suffix(path: str | Path) -> Path:
    path = check_path("path", path)
    if path.suffix not in FORMATS:
        *others, last = FORMATS
        expected = f"{', '.join(others)} or {last}"
        raise ValueError(f"The file {str(path)!r} has the suffix {path.suffix!r}; expected {expected}.")
    return path


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def _read_torch(path: Path) -> object:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats, TorchScript and what weights_only can't load
            return torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, PermissionError):
        raise
    except Exception as error:
        # UnpicklingError, RuntimeError, EOFError, OSError, KeyError: it depends on the damage. Not chained, because
        # PyTorch's message recommends weights_only=False.
        raise ValueError(f"The file {str(path)!r} {_explain_refusal(error)}") from None


def _explain_refusal(error: Exception) -> str:
    """Say what is wrong with a file that PyTorch can't load and how to fix it, without PyTorch's own advice."""
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
    # Only one line of an UnpicklingError gives the reason; an EOFError gives none.
    found = re.search(r"WeightsUnpickler error:\s*(.+)", text)
    reason = found[1] if found else text.partition("\n")[0] or "it ends too soon"
    return f"is not a complete PyTorch file ({type(error).__name__}: {reason})."


def _to_torch_bytes(weights: Mapping[str, np.ndarray]) -> memoryview:
    import torch

    content = io.BytesIO()
    torch.save({name: to_tensor(array) for name, array in weights.items()}, content)
    return content.getbuffer()


# --- safetensors ------------------------------------------------------------------------------------------------------


def _read_safetensors(path: Path) -> Mapping[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"The file {str(path)!r} is not a complete .safetensors file: {error}") from error
    except AttributeError as error:  # such as float8
        raise ValueError(f"The file {str(path)!r} has numbers of a type that NumPy doesn't have: {error}.") from error


def _to_safetensors_bytes(weights: Mapping[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return save(dict(weights))


class Format(NamedTuple):
    """How to read and write a format: a function from a path to name → array, and one from that to a file's bytes."""

    read: Callable[[Path], object]
    to_bytes: Callable[[Mapping[str, np.ndarray]], bytes | memoryview]


_TORCH = Format(_read_torch, _to_torch_bytes)
#: Suffix → format.
FORMATS = {".pt": _TORCH, ".pth": _TORCH, ".safetensors": Format(_read_safetensors, _to_safetensors_bytes)}
