"""Data as a training wants them: `load_data`, and where it would find them."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kerasnets.data import cache, sources
from kerasnets.data.datasets import DATASETS, SAMPLE, Dataset, check_name
from kerasnets.data.errors import DataNotFoundError
from kerasnets.data.folders import one_at_a_time, user_folder

SAMPLE_FILE = Path(__file__).with_name("fashion_mnist_sample.npz")

Arrays = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _scaled(pixels: np.ndarray) -> np.ndarray:
    """float32 in [-1, 1]: what ToTensor and Normalize((0.5,), (0.5,)) make of grey values, rounded as they round."""
    half = np.float32(0.5)
    values = (np.arange(256, dtype=np.float32) / np.float32(255) - half) / half
    scaled = np.empty(pixels.shape, np.float32)
    for i in range(0, len(pixels), 1000):  # NumPy makes its indices 8 bytes each: of all images, twice the result
        scaled[i : i + 1000] = values[pixels[i : i + 1000]]
    return scaled


def _ways_out(dataset: Dataset) -> list[str]:
    ways = [
        f"put the files into a folder in torchvision's layout (FOLDER/{dataset.folder}/{dataset.files[0]} and so on"
        + (", plain or .gz" if dataset.is_idx else "")
        + f") and set {sources.VARIABLE}=FOLDER, or pass root=FOLDER"
    ]
    if dataset.name in sources.SYSTEM_FOLDERS:
        ways.append("on Debian or Ubuntu, install its package: apt-get install dataset-fashion-mnist")
    ways.append("let torchvision download it: access to the internet, and no download=False")
    return ways


def _not_found(dataset: Dataset, tried: list[str]) -> DataNotFoundError:
    lines = [f"The data set {dataset.name!r} was not found. Tried:"]
    lines += [f"  - {line}" for line in tried]
    lines += ["To fix this:"]
    lines += [f"  {number}. {way}" for number, way in enumerate(_ways_out(dataset), 1)]
    lines += [
        f"{SAMPLE!r} (6,000 training and 1,000 test images of Fashion-MNIST) comes with kerasnets and needs nothing."
    ]
    return DataNotFoundError("\n".join(lines))


def _download(dataset: Dataset) -> sources.Source | str:
    """The files after a download, unless another process downloaded them while this one waited; or why it failed."""
    with one_at_a_time(dataset.name):
        source, _ = sources.find(dataset)
        if source is not None:
            return source
        folder, failure = cache.download(dataset)
        return failure or sources.look_in(dataset, folder, "the user's cache")


def load_arrays(name: str, root: str | os.PathLike | None = None, *, download: bool = True) -> tuple[np.ndarray, ...]:
    """As `load_data`, but the images as they are stored: (x_train, y_train, x_test, y_test), images uint8."""
    check_name(name)
    if name == SAMPLE:
        with np.load(SAMPLE_FILE) as sample:
            return tuple(sample[array] for array in cache.ARRAYS)
    dataset = DATASETS[name]
    source, tried = sources.find(dataset, root)
    if source is None:
        source = _download(dataset) if download else "not allowed (download=False)"
    if isinstance(source, str):
        raise _not_found(dataset, [*tried, f"download: {source}"])
    return cache.arrays(dataset, source)


def find_local_or_sample(name: str, say: Callable[[str], object] = print) -> str:
    """The name of the data set to use when nothing is to be downloaded.

    Args:
        name: the data set wanted.
        say: called with a line of text if the sample replaces it.

    Returns:
        `name` if its files are on this machine, otherwise ``"fashion_mnist_sample"``.
    """
    check_name(name)
    if name == SAMPLE or sources.find(DATASETS[name])[0] is not None:
        return name
    say(f"The data set {name!r} is not on this machine: using the bundled sample of Fashion-MNIST instead.")
    return SAMPLE


def load_data(name: str = "fashion_mnist", root: str | os.PathLike | None = None, *, download: bool = True) -> Arrays:
    """Images and labels as NumPy arrays, as torchvision with ToTensor and Normalize((0.5,), (0.5,)) gives them.

    Looked for in `root`, the folder in the environment variable ``KERASNETS_DATA``, the user's cache, and the folder of
    Debian's package ``dataset-fashion-mnist``; then torchvision downloads them into the user's cache. torchvision reads
    the files once, in a process of its own, and the arrays are kept in the user's cache: neither torchvision nor torch
    is imported here. The cache keeps up to 5 GiB of them, or the number of GiB in ``KERASNETS_CACHE_LIMIT``; those used
    least recently go first.

    MNIST and Fashion-MNIST are compared with their known SHA-256. Other contents in a folder that you named give a
    `UserWarning`; elsewhere they are an error.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"``, ``"kmnist"``, ``"cifar10"``, or ``"fashion_mnist_sample"``, a
            stratified sample of Fashion-MNIST (6,000 and 1,000 images) that comes with the package.
        root: a folder in torchvision's layout (``root/FashionMNIST/raw/train-images-idx3-ubyte`` …), or with the four
            IDX files themselves, plain or ``.gz``. If given, no other place is tried. The sample needs none.
        download: whether torchvision may download what is found nowhere.

    Returns:
        ``((x, y), (x_test, y_test))``: images float32 (n, 28, 28), for ``"cifar10"`` (n, 32, 32, 3), in [-1, 1];
        labels int64 (n,), as PyTorch's.

    Raises:
        ValueError: `name` is no data set of kerasnets, or ``KERASNETS_CACHE_LIMIT`` is not a number.
        DataNotFoundError: the files are nowhere, or not in `root`; the message says what was tried and what to do.
        DamagedDataError: a file is damaged or can't be read; the message names it.
    """
    x, y, x_test, y_test = load_arrays(name, root, download=download)
    return (_scaled(x), y), (_scaled(x_test), y_test)


def locations() -> list[tuple[str, str]]:
    """Where `load_data` finds its data, or what to do about it, as (what, state); nothing is prepared or downloaded."""
    lines = []
    for name in DATASETS:
        source, _ = sources.find(DATASETS[name])
        if source is None:
            state = "not found; " + "; or ".join(_ways_out(DATASETS[name]))
        else:
            state = f"{source.folder} ({source.place})"
        lines.append((name, state))
    lines.append((SAMPLE, f"{SAMPLE_FILE} (comes with kerasnets)"))
    folder = os.environ.get(sources.VARIABLE)
    missing = "" if not folder or Path(folder).is_dir() else " (there is no such folder)"
    lines.append((sources.VARIABLE, f"{folder or 'not set'}{missing}"))
    lines.append(("cache", str(user_folder())))
    return lines
