"""The process in which torchvision downloads or reads a data set; run by `kerasnets.data.cache`, by this file's path.

It takes a request as JSON on standard input and answers with one line of JSON on standard output: ``{}``, or what is
wrong. It imports nothing of kerasnets, and neither Keras nor TensorFlow.
"""

import contextlib
import gzip
import hashlib
import json
import math
import os
import socket
import struct
import sys
import zlib
from pathlib import Path

import numpy as np


class DamagedFileError(Exception):
    """A source file is damaged or can't be read."""


def read_idx(path: str | Path, checksum: str | None = None) -> bytes:
    """The uncompressed contents of an IDX file of images (n, 28, 28) or labels (n,), checked.

    The format (MNIST's): two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a
    big-endian 32-bit integer, then the values.

    Args:
        path: the file, gzipped or not.
        checksum: SHA-256 of the uncompressed contents, if known.

    Raises:
        DamagedFileError: the file is truncated, corrupt or of another format; the message names it.
    """
    try:
        contents = Path(path).read_bytes()
    except OSError as error:
        raise DamagedFileError(f"{path} can't be read: {error.strerror}.") from None
    if contents[:2] == b"\x1f\x8b":
        try:
            contents = gzip.decompress(contents)
        except (OSError, EOFError, zlib.error) as error:
            raise DamagedFileError(f"{path} is damaged: its gzip data are truncated or corrupt ({error}).") from None
    what, dimensions = ("images", 3) if "images" in Path(path).name else ("labels", 1)
    magic = bytes((0, 0, 8, dimensions))
    if contents[:4] != magic:
        raise DamagedFileError(
            f"{path} is damaged or no IDX file of {what}: it begins with {contents[:4].hex()} where "
            f"{magic.hex()} is expected."
        )
    start = 4 + 4 * dimensions
    if len(contents) < start:
        raise DamagedFileError(f"{path} is damaged: it ends within its header.")
    shape = struct.unpack(f">{dimensions}I", contents[4:start])
    if len(contents) - start != math.prod(shape):
        raise DamagedFileError(
            f"{path} is damaged: it holds {len(contents) - start:,} bytes of {what} where its header says "
            f"{math.prod(shape):,}."
        )
    if shape[0] == 0 or (dimensions == 3 and shape[1:] != (28, 28)):
        raise DamagedFileError(f"{path} holds {what} of shape {shape}; expected {(*'n', 28, 28)[:dimensions]}.")
    if checksum and hashlib.sha256(contents).hexdigest() != checksum:
        raise DamagedFileError(f"{path} is damaged: the SHA-256 of its contents is not {checksum}.")
    return contents


def _stage_idx(files: dict[str, str], classes: int, checksums: dict[str, str], folder: Path) -> None:
    """Check the four files and lay them uncompressed into `folder`, where torchvision reads them."""
    folder.mkdir(parents=True)
    counts = {}
    for name, path in files.items():
        contents = read_idx(path, checksums.get(name))
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


def _check_cifar(kind: type, files: dict[str, str]) -> None:
    """Check the pickled files against torchvision's checksums, before anything is unpickled."""
    from torchvision.datasets.utils import check_md5

    for name, md5 in [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]:
        try:
            if not check_md5(files[name], md5):
                raise DamagedFileError(f"{files[name]} is damaged: its MD5 is not {md5}, which torchvision expects.")
        except OSError as error:
            raise DamagedFileError(f"{files[name]} can't be read: {error.strerror}.") from None


def read(
    dataset: str, files: dict[str, str], classes: int, checksums: dict[str, str], source: str, work: str | Path
) -> None:
    """Read a data set through torchvision and write it as arrays.

    Args:
        dataset: the name of the class in `torchvision.datasets`.
        files: torchvision's file names, and where they are.
        classes: the number of classes.
        checksums: SHA-256 of the uncompressed contents by file name, where known.
        source: what the arrays are made of, kept beside them.
        work: the folder for temporary files and for the result, ``arrays.npz``: images uint8, labels int64.

    Raises:
        DamagedFileError: a file is damaged or can't be read.
    """
    work = Path(work)
    root = work / "root"
    if "batches.meta" not in files:
        _stage_idx(files, classes, checksums, root / dataset / "raw")
    from torchvision import datasets

    kind = getattr(datasets, dataset)
    if "batches.meta" in files:
        _check_cifar(kind, files)
        root = Path(files["batches.meta"]).parent.parent
    arrays = {}
    for split in ("train", "test"):
        data = kind(root, train=split == "train")
        arrays[f"x_{split}"] = np.ascontiguousarray(data.data, dtype=np.uint8)
        arrays[f"y_{split}"] = np.asarray(data.targets, dtype=np.int64)
    np.savez(work / "arrays.npz", source=np.array(source), **arrays)


def download(dataset: str, root: str) -> None:
    """Download a data set with torchvision, its checksums and its progress bar.

    Args:
        dataset: the name of the class in `torchvision.datasets`.
        root: the folder that gets torchvision's layout.
    """
    from torchvision import datasets

    socket.setdefaulttimeout(30)  # seconds; torchvision would wait for ever
    getattr(datasets, dataset)(root, download=True)


def answer(request: dict) -> dict:
    """Do what a request asks: ``{}`` when done, else ``{"damaged": …}`` (a source file) or ``{"failed": …}``."""
    task = {"read": read, "download": download}[request.pop("task")]
    try:
        task(**request)
    except DamagedFileError as error:
        return {"damaged": str(error)}
    except Exception as error:  # The parent says it in its own words: a traceback from here would tell users nothing.
        return {"failed": f"{type(error).__name__}: {error}"}
    return {}


def main() -> None:
    """Answer the request on standard input."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # whatever torchvision prints is not the answer
            result = answer(json.load(sys.stdin))
    except KeyboardInterrupt:
        os._exit(130)  # The parent is interrupted, too, and says so.
    print(json.dumps(result))


if __name__ == "__main__":
    main()
