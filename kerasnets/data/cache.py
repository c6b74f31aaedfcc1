"""The folder in the user's cache: downloads in torchvision's layout, and the arrays prepared from any source.

torchvision reads the files once, in a process of its own (`kerasnets.data.prepare`): TensorFlow and torchvision in one
process can abort it, and a JAX or TensorFlow run shouldn't pay for PyTorch's import. What it read is kept as one
``.npz`` file a data set and source folder, with the source files' names, sizes and times inside: when these have
changed, the file is stale and made anew. It is written elsewhere and moved into place whole, so that a run that was
killed, or one at the same time, leaves nothing broken.
"""

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import platformdirs

from kerasnets.data.datasets import Dataset
from kerasnets.data.errors import DamagedDataError

if TYPE_CHECKING:
    from kerasnets.data.sources import Source

#: The arrays of a data set, in the order in which they are handed out.
ARRAYS = ("x_train", "y_train", "x_test", "y_test")

_FORMAT = 1
_replacement: Path | None = None


def user_folder() -> Path:
    """The folder of kerasnets in the user's cache; it may not exist yet."""
    return Path(platformdirs.user_cache_dir("kerasnets", appauthor=False))


def folders() -> list[Path]:
    """The folders to look in: the user's cache, and what replaces it in this process if it can't be written to."""
    return [user_folder()] + ([_replacement] if _replacement else [])


def _replace(error: OSError) -> Path:
    """A temporary folder in place of a cache that can't be written to, kept as long as this process."""
    global _replacement
    if _replacement is None:
        _replacement = Path(tempfile.mkdtemp(prefix="kerasnets-"))
        atexit.register(shutil.rmtree, _replacement, ignore_errors=True)
        warnings.warn(
            f"The cache folder {user_folder()} can't be written to ({error.strerror or error}); data are prepared in a "
            "temporary folder, anew in every run.",
            stacklevel=2,
        )
    return _replacement


@contextlib.contextmanager
def _workspace() -> Iterator[tuple[Path, Path]]:
    """The folder to write to, and a temporary folder in it that goes away with what is left in it."""
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    except OSError as error:
        folder = _replace(error)
        work = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    try:
        yield folder, work
    finally:
        shutil.rmtree(work, ignore_errors=True)


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
    with _workspace() as (folder, work):
        answer = _run({"task": "download", "dataset": dataset.torchvision, "root": str(work)})
        if "failed" in answer:
            return folder, " ".join(answer["failed"].split())
        for name in dataset.files:
            target = folder / dataset.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (work / dataset.folder / name).replace(target)
    return folder, None


def _fingerprint(source: "Source") -> str:
    """What changes when a source file does. The change time shows a file moved here with its old modification time."""
    stats = [(str(path), path.stat()) for path in source.files]
    return json.dumps([_FORMAT, *((path, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in stats)])


def _read(file: Path, fingerprint: str) -> tuple[np.ndarray, ...] | None:
    """The arrays prepared in `file`, unless there are none, they are damaged, or they come from other files."""
    try:
        with file.open("rb") as stream, np.load(stream) as prepared:  # np.load leaves a damaged file open
            if prepared["source"].item() != fingerprint:
                return None
            return tuple(prepared[name] for name in ARRAYS)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def arrays(dataset: Dataset, source: "Source") -> tuple[np.ndarray, ...]:
    """The arrays of a data set, prepared first if they are not yet: (x_train, y_train, x_test, y_test).

    Returns:
        Images uint8 (n, 28, 28) or (n, 32, 32, 3) and labels int64 (n,).

    Raises:
        DamagedDataError: a file of the source is damaged or can't be read.
    """
    fingerprint = _fingerprint(source)
    key = hashlib.sha256(os.fsencode(source.folder)).hexdigest()[:16]
    name = f"{dataset.name}-{key}.npz"
    for folder in folders():
        if (found := _read(folder / name, fingerprint)) is not None:
            return found
    with _workspace() as (folder, work):
        answer = _run(
            {
                "task": "read",
                "dataset": dataset.torchvision,
                "files": dict(zip(dataset.files, map(str, source.files), strict=True)),
                "classes": len(dataset.classes),
                "checksums": source.checksums,
                "source": fingerprint,
                "work": str(work),
            }
        )
        if "damaged" in answer:
            again = " Delete it to have it downloaded again." if source.place == "the user's cache" else ""
            raise DamagedDataError(answer["damaged"] + again)
        if "failed" in answer:
            raise RuntimeError(f"{dataset.name!r} could not be read from {source.folder}: {answer['failed']}")
        prepared = _read(work / "arrays.npz", fingerprint)
        # Another process that reads the file keeps it from being replaced on some systems; it is as good as this one.
        with contextlib.suppress(PermissionError):
            (work / "arrays.npz").replace(folder / name)
    return prepared
