"""The folder in the user's cache: downloads in torchvision's layout, and the arrays prepared from any source.

torchvision reads the files once, in a process of its own (`kerasnets.data.prepare`): TensorFlow and torchvision in one
process can abort it, and a JAX or TensorFlow run shouldn't pay for PyTorch's import. What it read is kept as one
``.npz`` file per data set and source folder, with the source files' names, sizes and times inside: when these have
changed, the file is stale and made anew; so is one that is damaged. It is written elsewhere and moved into place whole,
so that a run that was killed, or one at the same time, leaves nothing broken.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasnets.data import cleanup
from kerasnets.data.datasets import SHA256, Dataset
from kerasnets.data.errors import DamagedDataError
from kerasnets.data.folders import cache_folders, one_at_a_time, workspace
from kerasnets.data.prepare import describe

if TYPE_CHECKING:
    from kerasnets.data.sources import Source

#: The arrays of a data set, in the order in which they are handed out.
ARRAYS = ("x_train", "y_train", "x_test", "y_test")

_FORMAT = 2

_Prepared = tuple[tuple[np.ndarray, ...], list[str]]  # the arrays, and the source files that are not the official ones


def _run(request: dict) -> dict:
    """Run `prepare.py` on a request in a new Python process and return its answer.

    By its path, not as a module: `kerasnets` itself is not imported there, so neither its place nor the Keras backend
    matters. ``-P`` keeps this folder's file names from hiding others; warnings there are not the user's. Its progress
    bar goes to the terminal, since standard error is this process's own.
    """
    if not sys.executable:
        raise RuntimeError("Data are prepared in a new Python process, but sys.executable is empty in this program.")
    script = Path(__file__).with_name("prepare.py")
    process = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", str(script)],
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        return json.loads(process.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"failed": f"the Python process that reads the files ended with exit status {process.returncode}"}


def download(dataset: Dataset) -> tuple[Path, str | None]:
    """Have torchvision download a data set, with its checksums, into the cache.

    Returns:
        The folder with the data set in torchvision's layout, and why it failed, if it did.
    """
    with workspace() as (folder, work):
        answer = _run({"task": "download", "dataset": dataset.torchvision, "root": str(work)})
        if "failed" in answer:
            return folder, " ".join(answer["failed"].split())
        for name in dataset.files:
            target = folder / dataset.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (work / dataset.folder / name).replace(target)
    return folder, None


def _fingerprint(dataset: Dataset, source: "Source") -> str:
    """What changes when a source file does. The change time shows a file moved here with its old modification time."""
    stats = [(str(path), path.stat()) for path in source.files]
    files = [(path, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in stats]
    return json.dumps([_FORMAT, SHA256.get(dataset.name), files])


def _read(file: Path, fingerprint: str) -> _Prepared | None:
    """What was prepared in `file`; None if it isn't there, comes from other source files, or is not what was written.

    The zip format's checksum shows changed values only in arrays that are read to their end, hence the record of
    shapes and types.
    """
    try:
        with file.open("rb") as stream, np.load(stream) as prepared:  # np.load leaves a damaged file open
            record = json.loads(prepared["record"].item())
            if record["source"] != fingerprint:
                return None
            arrays = {name: prepared[name] for name in ARRAYS}
            unofficial = record["unofficial"]
            return (tuple(arrays.values()), unofficial) if describe(arrays) == record["arrays"] else None
    except Exception:  # NumPy and zipfile raise a dozen types, depending on where the file is damaged
        return None


def _check_official(dataset: Dataset, source: "Source", unofficial: list[str]) -> None:
    """Warn of files with other contents than the official ones; an error where kerasnets or Debian put them."""
    if not unofficial:
        return
    paths = [str(path) for name, path in zip(dataset.files, source.files, strict=True) if name in unofficial]
    if not source.is_users:
        raise DamagedDataError(
            f"{paths[0]} is damaged: the SHA-256 of its contents is not {SHA256[dataset.name][unofficial[0]]}."
            + _how_to_repair(source)
        )
    warnings.warn(
        f"Not the official {dataset.name!r} (the SHA-256 of the contents differs), used as it is: {', '.join(paths)}",
        stacklevel=3,
    )


def _how_to_repair(source: "Source") -> str:
    return " Delete it to have it downloaded again." if source.place == "the user's cache" else ""


def _find_prepared(name: str, fingerprint: str) -> _Prepared | None:
    """What was prepared under `name`, if it was made of the files with this fingerprint."""
    for folder in cache_folders():
        if (prepared := _read(folder / name, fingerprint)) is not None:
            with contextlib.suppress(OSError):  # a cache that can't be written to
                os.utime(folder / name)  # the last one used is the last one to be removed
            return prepared
    return None


def _prepare(dataset: Dataset, source: "Source", fingerprint: str, name: str) -> _Prepared:
    """Have the arrays prepared, and keep them in the cache under `name`."""
    limit = cleanup.limit()
    with workspace() as (folder, work):
        answer = _run(
            {
                "task": "read",
                "dataset": dataset.torchvision,
                "files": dict(zip(dataset.files, map(str, source.files), strict=True)),
                "classes": len(dataset.classes),
                "checksums": SHA256.get(dataset.name, {}),
                "source": fingerprint,
                "work": str(work),
            }
        )
        if "damaged" in answer:
            raise DamagedDataError(answer["damaged"] + _how_to_repair(source))
        prepared = _read(work / "arrays.npz", fingerprint)
        if prepared is None:
            reason = answer.get("failed", "the prepared arrays can't be read back")
            raise RuntimeError(f"{dataset.name!r} could not be read from {source.folder}: {reason}")
        # Another process that reads the file keeps it from being replaced on some systems; it is as good as this one.
        with contextlib.suppress(PermissionError):
            (work / "arrays.npz").replace(folder / name)
        cleanup.enforce_limit(folder, limit)
    return prepared


def arrays(dataset: Dataset, source: "Source") -> tuple[np.ndarray, ...]:
    """The arrays of a data set, prepared first if they are not yet: (x_train, y_train, x_test, y_test).

    Args:
        dataset: the data set.
        source: its files.

    Returns:
        Images uint8 (n, 28, 28) or (n, 32, 32, 3) and labels int64 (n,).

    Raises:
        DamagedDataError: a file of the source is damaged or can't be read.
        RuntimeError: the process that prepares them failed.
        ValueError: ``KERASNETS_CACHE_LIMIT`` is not a number.
    """
    fingerprint = _fingerprint(dataset, source)
    key = hashlib.sha256(os.fsencode(source.folder)).hexdigest()[:16]
    name = f"{dataset.name}-{key}.npz"
    prepared = _find_prepared(name, fingerprint)
    if prepared is None:
        with one_at_a_time(dataset.name):
            # Another process may have prepared them while this one waited.
            prepared = _find_prepared(name, fingerprint) or _prepare(dataset, source, fingerprint, name)
    found, unofficial = prepared
    _check_official(dataset, source, unofficial)
    return found
