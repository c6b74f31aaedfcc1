"""The folder in the user's cache: downloads in torchvision's layout, and the arrays prepared from any source.

torchvision reads the files once, in a separate process (`kerasnets.data.prepare`): TensorFlow and torchvision in one
process can abort it, and a JAX or TensorFlow run shouldn't pay for PyTorch's import. The arrays are kept in one
``.npz`` file per data set and source folder, together with the source files' names, sizes and times. If these have
changed, or the file is damaged, the arrays are prepared again. The file is written atomically, so that neither a killed
run nor a concurrent one leaves a broken file.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

from kerasnets.data import cleanup
from kerasnets.data.datasets import SHA256, Dataset
from kerasnets.data.errors import DamagedDataError
from kerasnets.data.folders import cache_folders, one_at_a_time, workspace
from kerasnets.data.prepare import describe
from kerasnets.data.sources import Source

#: The arrays of a data set, in the order in which they are returned.
ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")

_FORMAT = 2

_Prepared = tuple[tuple[np.ndarray, ...], list[str]]  # the arrays, and the source files that are not the official ones


def _run(request: dict) -> dict:
    """Run `prepare.py` on a request in a new Python process and return its answer.

    It is run by its path, not as a module: `kerasnets` is not imported there, so neither its location nor the Keras
    backend matters. ``-P`` keeps this folder's file names from hiding other modules; warnings there don't concern the
    user. Its progress bar reaches the terminal because it shares this process's standard error.
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
    """Have torchvision download a data set into the cache and verify its checksums.

    Returns:
        The folder with the data set in torchvision's layout, and the reason if the download failed.
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


def _fingerprint(dataset: Dataset, source: Source) -> str:
    """A text that changes with the source files. The ctime shows a file moved here with its old modification time."""
    stats = [(str(path), path.stat()) for path in source.files]
    files = [(path, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in stats]
    return json.dumps([_FORMAT, SHA256.get(dataset.name), files])


def _read(file: Path, fingerprint: str) -> _Prepared | None:
    """The arrays in `file`; None if it doesn't exist, was made from other source files, or is damaged.

    The zip format's checksum shows changed values only in arrays that are read to their end, hence the record of
    shapes and types.
    """
    try:
        with file.open("rb") as stream, np.load(stream) as prepared:  # np.load leaves a damaged file open
            record = json.loads(prepared["record"].item())
            if record["source"] != fingerprint:
                return None
            arrays = {name: prepared[name] for name in ARRAY_NAMES}
            unofficial = record["unofficial"]
            return (tuple(arrays.values()), unofficial) if describe(arrays) == record["arrays"] else None
    except Exception:  # NumPy and zipfile raise a dozen types, depending on where the file is damaged
        return None


def _check_official(dataset: Dataset, source: Source, unofficial: list[str]) -> None:
    """Warn of files that differ from the official ones; raise an error if they are not in a folder of the user's."""
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


def _how_to_repair(source: Source) -> str:
    return " Delete it to have it downloaded again." if source.place == "the user's cache" else ""


def _find_prepared(name: str, fingerprint: str) -> _Prepared | None:
    """The arrays in the cache under `name`, if they were made from the files with this fingerprint."""
    for folder in cache_folders():
        if (prepared := _read(folder / name, fingerprint)) is not None:
            with contextlib.suppress(OSError):  # the cache may not be writable
                os.utime(folder / name)  # the least recently used file is removed first
            return prepared
    return None


def _prepare(dataset: Dataset, source: Source, fingerprint: str, name: str) -> _Prepared:
    """Prepare the arrays in a new process, and keep them in the cache under `name`."""
    limit = cleanup.size_limit()
    with workspace() as (folder, work):
        answer = _run(
            {
                "task": "read",
                "dataset": dataset.torchvision,
                "is_idx": dataset.is_idx,
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
        # On some systems the file can't be replaced while another process reads it; that one is as good.
        with contextlib.suppress(PermissionError):
            (work / "arrays.npz").replace(folder / name)
        cleanup.enforce_limit(folder, limit)
    return prepared


def load(dataset: Dataset, source: Source) -> tuple[np.ndarray, ...]:
    """Load the arrays of a data set from the cache; prepare them first if they are not there.

    Args:
        dataset: the data set.
        source: its files.

    Returns:
        (x_train, y_train, x_test, y_test): images uint8 (n, 28, 28) or (n, 32, 32, 3), labels int64 (n,).

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
