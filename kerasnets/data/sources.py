"""Finds the files of a data set.

The places are, in this order: the `root` argument; the folder in ``KERASNETS_DATA`` (read only here); the user's cache,
where downloads go; the folder of a Debian package. The only file read here is that of the test labels, whose checksum
tells MNIST's files from Fashion-MNIST's: they have the same names and sizes.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from kerasnets._internal.arguments import check_path
from kerasnets.data.datasets import DEBIAN_PACKAGES, SHA256, Dataset
from kerasnets.data.errors import DataNotFoundError
from kerasnets.data.folders import cache_folders
from kerasnets.data.prepare import DamagedFileError, read_idx

#: The environment variable that names a folder in torchvision's layout.
VARIABLE = "KERASNETS_DATA"


@dataclass(frozen=True)
class Source:
    """The files of a data set in one folder.

    Attributes:
        place: what the folder is, in words.
        folder: the folder.
        files: a path for each of the data set's files, in their order.
    """

    place: str
    folder: Path
    files: tuple[Path, ...]

    @property
    def is_users(self) -> bool:
        """Whether the user named the folder, which may hold other images than the official ones on purpose."""
        return self.place in ("root", VARIABLE)


def _candidates(dataset: Dataset, folder: Path) -> list[Path]:
    """The folders below `folder` that may hold the files: torchvision's layout, or the IDX files themselves."""
    return [folder / dataset.folder, folder] if dataset.is_idx else [folder / dataset.folder]


def _identify(test_labels: Path) -> str | None:
    """The name of the data set that has these test labels, if it is known."""
    try:
        digest = hashlib.sha256(read_idx(test_labels)).hexdigest()
    except DamagedFileError:
        return None  # reported when all the files are read
    return next((name for name, known in SHA256.items() if digest == known["t10k-labels-idx1-ubyte"]), None)


def find_in(dataset: Dataset, folder: Path, place: str) -> Source | str:
    """Look for a data set's files in one folder; returns the reason if they are not there."""
    first = f"{dataset.folder}/{dataset.files[0]}"
    reason = f"has neither {first}[.gz] nor {dataset.files[0]}[.gz]" if dataset.is_idx else f"has no {first}"
    try:
        if not folder.is_dir():
            return "is not a folder" if folder.exists() else "does not exist"
        for candidate in _candidates(dataset, folder.resolve()):
            endings = ("", ".gz") if dataset.is_idx else ("",)
            found = {
                name: path
                for name in dataset.files
                for ending in reversed(endings)
                if (path := candidate / (name + ending)).is_file()
            }
            if len(found) < len(dataset.files):
                if found:
                    missing = ", ".join(name for name in dataset.files if name not in found)
                    reason = f"lacks {missing} in {candidate}"
                continue
            other = _identify(found[dataset.files[-1]]) if dataset.is_idx else None
            if other not in (None, dataset.name):
                reason = f"holds the files of {other!r} in {candidate}"
                continue
            return Source(place, candidate, tuple(found[name] for name in dataset.files))
    except OSError as error:
        return f"can't be read: {error.strerror} ({error.filename})"
    return reason


def find(dataset: Dataset, root: str | os.PathLike | None = None) -> tuple[Source | None, list[str]]:
    """Look for a data set's files in every place, without downloading.

    Args:
        dataset: what to look for.
        root: a folder; if given, no other place is tried.

    Returns:
        The files in the first place that has them (None if no place does), and a line about each place that doesn't.

    Raises:
        DataNotFoundError: `root` is given and does not have the files.
    """
    if root is not None:
        folder = check_path("root", root).expanduser()
        found = find_in(dataset, folder, "root")
        if isinstance(found, str):
            direct = ", or one with the four IDX files themselves" if dataset.is_idx else ""
            raise DataNotFoundError(
                f"No {dataset.name!r} in root={str(root)!r}: {folder.absolute()} {found}. Pass a folder in "
                f"torchvision's layout, with {dataset.folder}/{dataset.files[0]} and so on in it{direct}; without "
                "root, load_data looks in its own places."
            )
        return found, []

    tried = []
    places = []
    if chosen := os.environ.get(VARIABLE):
        places.append((VARIABLE, Path(chosen).expanduser()))
    else:
        tried.append(f"{VARIABLE}: not set")
    places += [("the user's cache", folder) for folder in cache_folders()]
    if dataset.name in DEBIAN_PACKAGES:
        _, folder = DEBIAN_PACKAGES[dataset.name]
        places.append(("the system's folder", folder))
    for place, folder in places:
        found = find_in(dataset, folder, place)
        if isinstance(found, Source):
            return found, tried
        tried.append(f"{place}: {folder} {found}")
    return None, tried
