"""The size limit of the prepared arrays in the user's cache, and their removal."""

import contextlib
import os
import re
from pathlib import Path

from kerasnets.data.datasets import DATASETS
from kerasnets.data.folders import remove_abandoned, user_folder

#: The environment variable with the limit in GiB; 0 keeps no prepared arrays.
LIMIT_VARIABLE = "KERASNETS_CACHE_LIMIT"

_DEFAULT_LIMIT = "5"
_ENTRY = re.compile(rf"({'|'.join(DATASETS)})-[0-9a-f]{{16}}\.npz")


def size_limit() -> float:
    """The maximum total size of all prepared arrays, in bytes.

    Raises:
        ValueError: ``KERASNETS_CACHE_LIMIT`` is not a number of GiB.
    """
    text = os.environ.get(LIMIT_VARIABLE) or _DEFAULT_LIMIT
    try:
        gib = float(text)
    except ValueError:
        gib = -1
    if not gib >= 0:
        raise ValueError(f"{LIMIT_VARIABLE}={text!r}; expected a number of GiB, such as 5 or 0.5.")
    return gib * 2**30


def _entries(folder: Path) -> list[tuple[Path, int]]:
    """The files of prepared arrays in `folder` and their sizes, the most recently used first."""
    found = []
    for path in folder.glob("*.npz"):
        if _ENTRY.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # another process removed it
                status = path.stat()
                found.append((status.st_mtime_ns, path, status.st_size))
    return [(path, size) for _, path, size in sorted(found, reverse=True)]


def enforce_limit(folder: Path, limit: float) -> None:
    """Remove the least recently used prepared arrays until the others fit.

    Args:
        folder: the cache folder.
        limit: the limit in bytes.
    """
    total = 0
    for path, size in _entries(folder):
        total += size
        if total > limit:
            with contextlib.suppress(OSError):  # another process removed it, or is reading it on Windows
                path.unlink()


def clear_cache(downloads: bool = False) -> list[tuple[Path, int]]:
    """Remove the arrays that `load_data` keeps in the user's cache, and temporary folders of killed processes.

    Args:
        downloads: whether to remove the downloaded data sets as well.

    Returns:
        The removed files and folders and their sizes in bytes.

    Examples:
        >>> removed = kerasnets.data.clear_cache()  # doctest: +SKIP
    """
    folder = user_folder()
    files = _entries(folder)
    if downloads:
        paths = [folder / dataset.folder / name for dataset in DATASETS.values() for name in dataset.files]
        files += [(path, path.stat().st_size) for path in paths if path.is_file()]
    for path, _ in files:
        path.unlink(missing_ok=True)
    return files + remove_abandoned(folder)
