"""Downloads or reads a data set with torchvision; a script that `kerasnets.data.cache` runs in a separate process.

It takes a request as JSON on standard input and answers with one line of JSON on standard output: ``{}``, or what went
wrong. It imports nothing of kerasnets, and neither Keras nor TensorFlow.
"""

import contextlib
import gzip
import hashlib
import io
import json
import math
import os
import socket
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

#: The maximum size of an IDX file's values, 1.4 million images, so that a damaged header can't exhaust memory.
MAX_BYTES = 2**30

#: Seconds to wait for a server's next bytes.
TIMEOUT = 30


class DamagedFileError(Exception):
    """A source file is damaged or can't be read."""


def _describe_error(error: OSError | EOFError | zlib.error) -> str:
    """What is wrong with a file, from the error that reading it raised."""
    if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
        return f"is damaged: its gzip data are truncated or corrupt ({error})"
    return f"can't be read: {error.strerror}"


def read_idx(path: str | Path) -> bytes:
    """The uncompressed contents of an IDX file of images (n, 28, 28) or labels (n,), checked.

    The format (MNIST's): two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a
    big-endian 32-bit integer, then the values. At most the size in the header is read and uncompressed.

    Args:
        path: the file, gzipped or not.

    Raises:
        DamagedFileError: the file is truncated, corrupt or of another format; the message names it.
    """
    try:
        with Path(path).open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with gzip.open(file) if packed else file as stream:
                return _read_idx(stream, path)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedFileError(f"{path} {_describe_error(error)}.") from None


def _read_idx(stream: gzip.GzipFile | io.BufferedReader, path: str | Path) -> bytes:
    what, dimensions = ("images", 3) if "images" in Path(path).name else ("labels", 1)
    header = stream.read(4 + 4 * dimensions)
    magic = bytes((0, 0, 8, dimensions))
    if header[:4] != magic:
        raise DamagedFileError(
            f"{path} is damaged or not an IDX file of {what}: it begins with {header[:4].hex()} where "
            f"{magic.hex()} is expected."
        )
    if len(header) < 4 + 4 * dimensions:
        raise DamagedFileError(f"{path} is damaged: it ends within its header.")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    size = math.prod(shape)
    if shape[0] == 0 or (dimensions == 3 and shape[1:] != (28, 28)):
        raise DamagedFileError(f"{path} holds {what} of shape {shape}; expected {(*'n', 28, 28)[:dimensions]}.")
    if size > MAX_BYTES:
        raise DamagedFileError(
            f"{path} is damaged or too large: its header says {size:,} bytes of {what}, more than {MAX_BYTES:,}."
        )
    values = stream.read(size + 1)  # reading past the end makes gzip compare its checksum
    if len(values) != size:
        held = f"{len(values):,}" if len(values) < size else "more"
        raise DamagedFileError(f"{path} is damaged: it holds {held} bytes of {what} where its header says {size:,}.")
    return header + values


def _stage_idx(files: dict[str, str], classes: int, checksums: dict[str, str], folder: Path) -> list[str]:
    """Check the four files and write them uncompressed to `folder`, where torchvision reads them.

    Returns the names of the files whose checksum is not the known one.
    """
    folder.mkdir(parents=True)
    counts = {}
    unofficial = []
    for name, path in files.items():
        contents = read_idx(path)
        if name in checksums and hashlib.sha256(contents).hexdigest() != checksums[name]:
            unofficial.append(name)
        counts[name] = struct.unpack(">I", contents[4:8])[0]
        if "labels" in name:
            labels = np.frombuffer(contents, np.uint8, offset=8)
            if labels.max() >= classes:
                raise DamagedFileError(
                    f"{path} is damaged: label {labels.max()} where 0 to {classes - 1} are expected."
                )
            images = name.replace("labels-idx1", "images-idx3")
            if counts[images] != counts[name]:
                raise DamagedFileError(
                    f"{files[images]} holds {counts[images]:,} images, but {path} holds {counts[name]:,} labels."
                )
        (folder / name).write_bytes(contents)
    return unofficial


def _check_pickles(kind: Any, files: dict[str, str]) -> None:
    """Check CIFAR's pickled files against torchvision's checksums, before anything is unpickled."""
    from torchvision.datasets.utils import check_md5

    for name, md5 in [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]:
        try:
            if not check_md5(files[name], md5):
                raise DamagedFileError(f"{files[name]} is damaged: its MD5 is not {md5}, which torchvision expects.")
        except OSError as error:
            raise DamagedFileError(f"{files[name]} can't be read: {error.strerror}.") from None


def describe(arrays: dict[str, np.ndarray]) -> dict[str, list]:
    """Type and shape of each array, in types that JSON has."""
    return {name: [array.dtype.str, *array.shape] for name, array in arrays.items()}


def read(
    dataset: str, is_idx: bool, files: dict[str, str], classes: int, checksums: dict[str, str], source: str, work: str
) -> None:
    """Read a data set through torchvision and write it as arrays.

    Args:
        dataset: the name of the class in `torchvision.datasets`.
        is_idx: whether the files are in MNIST's format; otherwise they are in CIFAR's.
        files: torchvision's file names, and where they are.
        classes: the number of classes.
        checksums: SHA-256 of the uncompressed contents by file name, where known.
        source: the fingerprint of the source files, kept in the record.
        work: the folder for temporary files and for the result, ``arrays.npz``: images uint8, labels int64, and a
            record as JSON: `source`, the arrays' types and shapes, and the files whose checksum is not the known one.

    Raises:
        DamagedFileError: a file is damaged or can't be read.
    """
    root = Path(work) / "root"
    unofficial = []
    if is_idx:
        unofficial = _stage_idx(files, classes, checksums, root / dataset / "raw")
    from torchvision import datasets

    kind = getattr(datasets, dataset)
    if not is_idx:
        _check_pickles(kind, files)
        root = Path(files[kind.meta["filename"]]).parent.parent
    arrays: dict[str, Any] = {}
    for split in ("train", "test"):
        data = kind(root, train=split == "train")
        arrays[f"x_{split}"] = np.ascontiguousarray(data.data, dtype=np.uint8)
        arrays[f"y_{split}"] = np.asarray(data.targets, dtype=np.int64)
    record = {"source": source, "arrays": describe(arrays), "unofficial": unofficial}
    np.savez(Path(work) / "arrays.npz", record=np.array(json.dumps(record)), **arrays)


def download(dataset: str, root: str) -> None:
    """Download a data set with torchvision, which verifies checksums and shows a progress bar.

    Args:
        dataset: the name of the class in `torchvision.datasets`.
        root: the folder to write to, in torchvision's layout.
    """
    from torchvision import datasets

    socket.setdefaulttimeout(TIMEOUT)  # torchvision would wait forever
    getattr(datasets, dataset)(root, download=True)


def answer(request: dict) -> dict:
    """Handle a request: ``{}`` when done, ``{"damaged": …}`` for a damaged source file, else ``{"failed": …}``."""
    tasks: dict[str, Callable[..., None]] = {"read": read, "download": download}
    task = tasks[request.pop("task")]
    try:
        task(**request)
    except DamagedFileError as error:
        return {"damaged": str(error)}
    except Exception as error:  # The parent reports it; a traceback from here would tell users nothing.
        return {"failed": f"{type(error).__name__}: {error}"}
    return {}


def main() -> None:
    """Answer the request on standard input."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for the answer alone
            result = answer(json.load(sys.stdin))
    except KeyboardInterrupt:
        os._exit(130)  # The parent is interrupted as well, and reports it.
    print(json.dumps(result))


if __name__ == "__main__":
    main()
