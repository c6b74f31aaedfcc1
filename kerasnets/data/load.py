"""`load_data`: images as a training takes them; and `locations`: where it finds them."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kerasnets._internal.arguments import check_choice
from kerasnets.data import cache, sources
from kerasnets.data.datasets import DATASETS, DEBIAN_PACKAGES, SAMPLE, Dataset, check_name
from kerasnets.data.errors import DataNotFoundError
from kerasnets.data.folders import one_at_a_time, user_folder

SAMPLE_FILE = Path(__file__).with_name("fashion_mnist_sample.npz")

Arrays = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _normalize(pixels: np.ndarray, dtype: str) -> np.ndarray:
    """Pixels 0 to 255 as floats in [-1, 1], bit for bit what ToTensor and Normalize((0.5,), (0.5,)) return."""
    half = np.array(0.5, dtype)
    values = (np.arange(256, dtype=dtype) / np.array(255, dtype) - half) / half
    scaled = np.empty(pixels.shape, dtype)
    for i in range(0, len(pixels), 1000):  # NumPy makes 8-byte indices: for all images, twice the result
        scaled[i : i + 1000] = values[pixels[i : i + 1000]]
    return scaled


def _remedies(dataset: Dataset, for_commands: bool = False) -> list[str]:
    remedies = [
        f"put the files into a folder in torchvision's layout (FOLDER/{dataset.folder}/{dataset.files[0]} and so on"
        + (", plain or .gz" if dataset.is_idx else "")
        + f") and set {sources.VARIABLE}=FOLDER"
        + ("" if for_commands else ", or pass root=FOLDER")
    ]
    if dataset.name in DEBIAN_PACKAGES:
        package, _ = DEBIAN_PACKAGES[dataset.name]
        remedies.append(f"on Debian or Ubuntu, install its package: apt-get install {package}")
    remedies.append(
        "let torchvision download it: access to the internet" + ("" if for_commands else ", and no download=False")
    )
    return remedies


def _not_found(dataset: Dataset, tried: list[str]) -> DataNotFoundError:
    texts = []
    for for_commands in (False, True):
        sample = f"--dataset {SAMPLE}" if for_commands else repr(SAMPLE)
        lines = [f"The data set {dataset.name!r} was not found. Tried:"]
        lines += [f"  - {line}" for line in tried]
        lines += ["To fix this:"]
        lines += [f"  {number}. {remedy}" for number, remedy in enumerate(_remedies(dataset, for_commands), 1)]
        lines += [f"{sample} (6,000 training and 1,000 test images of clothes) comes with kerasnets and needs nothing."]
        texts.append("\n".join(lines))
    return DataNotFoundError(*texts)


def _download(dataset: Dataset) -> sources.Source | str:
    """Download a data set, unless another process did while this one waited; returns the reason if it fails."""
    with one_at_a_time(dataset.name):
        source, _ = sources.find(dataset)
        if source is not None:
            return source
        folder, failure = cache.download(dataset)
        return failure or sources.find_in(dataset, folder, "the user's cache")


def load_arrays(name: str, root: str | os.PathLike | None = None, *, download: bool = True) -> tuple[np.ndarray, ...]:
    """As `load_data`, but with the images as they are stored, uint8: ``(x_train, y_train, x_test, y_test)``.

    Examples:
        >>> x, y, x_test, y_test = kerasnets.data.load_arrays("fashion_mnist_sample")
        >>> x.shape, x.dtype.name
        ((6000, 28, 28), 'uint8')
    """
    check_name(name)
    if name == SAMPLE:
        with np.load(SAMPLE_FILE) as sample:
            return tuple(sample[array] for array in cache.ARRAY_NAMES)
    dataset = DATASETS[name]
    source, tried = sources.find(dataset, root)
    found = source or (_download(dataset) if download else "not allowed (download=False)")
    if isinstance(found, str):
        raise _not_found(dataset, [*tried, f"download: {found}"])
    return cache.load(dataset, found)


def find_local_or_sample(name: str, say: Callable[[str], object] = print) -> str:
    """The name of the data set to use when nothing is to be downloaded.

    Args:
        name: the data set wanted.
        say: called with a line of text if the sample replaces it.

    Returns:
        `name` if its files are on this machine, otherwise ``"fashion_mnist_sample"``.

    Examples:
        >>> kerasnets.data.find_local_or_sample("fashion_mnist_sample")
        'fashion_mnist_sample'
    """
    check_name(name)
    if name == SAMPLE or sources.find(DATASETS[name])[0] is not None:
        return name
    say(f"The data set {name!r} is not on this machine: using the bundled sample of Fashion-MNIST instead.")
    return SAMPLE


def load_data(
    name: str = "fashion_mnist",
    root: str | os.PathLike | None = None,
    *,
    download: bool = True,
    dtype: str = "float32",
) -> Arrays:
    """Load images and labels as NumPy arrays, with the values that ToTensor and Normalize((0.5,), (0.5,)) give.

    The files are looked for in `root`, in the folder named by the environment variable ``KERASNETS_DATA``, in the
    user's cache, and in the folder of Debian's package ``dataset-fashion-mnist``. If they are in none of these,
    torchvision downloads them into the user's cache.

    torchvision reads the files once, in a separate process, so that neither torchvision nor torch is imported here. The
    arrays are then kept in the user's cache: up to 5 GiB, or the number of GiB in ``KERASNETS_CACHE_LIMIT``, and the
    least recently used are removed first.

    The files of MNIST and Fashion-MNIST are checked against their known SHA-256. Other contents give a `UserWarning` in
    a folder that you named, and are an error elsewhere.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"``, ``"kmnist"``, ``"cifar10"``, or ``"fashion_mnist_sample"``, a
            stratified sample of Fashion-MNIST (6,000 and 1,000 images) that comes with the package.
        root: a folder in torchvision's layout (``root/FashionMNIST/raw/train-images-idx3-ubyte`` …), or with the four
            IDX files themselves, plain or ``.gz``. If given, no other place is tried. The sample ignores it.
        download: whether torchvision may download a data set that isn't found.
        dtype: of the images, ``"float32"`` or ``"float64"``, as PyTorch gives them with that default type.

    Returns:
        ``((x, y), (x_test, y_test))``: images of type `dtype` (n, 28, 28), for ``"cifar10"`` (n, 32, 32, 3), in
        [-1, 1]; labels int64 (n,), as PyTorch's.

    Raises:
        ValueError: `name` is not a data set of kerasnets, `dtype` is neither of these, or ``KERASNETS_CACHE_LIMIT`` is
            not a number.
        DataNotFoundError: the files were not found; the message says what was tried and what to do.
        DamagedDataError: a file is damaged or can't be read; the message names it.

    Examples:
        >>> (x, y), (x_test, y_test) = kerasnets.load_data("fashion_mnist_sample")
        >>> x.shape, x.dtype.name, float(x.min()), float(x.max())
        ((6000, 28, 28), 'float32', -1.0, 1.0)
    """
    check_choice("dtype", dtype, ("float32", "float64"))
    x, y, x_test, y_test = load_arrays(name, root, download=download)
    return (_normalize(x, dtype), y), (_normalize(x_test, dtype), y_test)


def locations() -> list[tuple[str, str]]:
    """Where `load_data` finds each data set, or how to get it, as (name, text); prepares and downloads nothing.

    Examples:
        >>> [name for name, state in kerasnets.data.locations()]
        ['mnist', 'fashion_mnist', 'kmnist', 'cifar10', 'fashion_mnist_sample', 'KERASNETS_DATA', 'cache']
    """
    lines = []
    for name in DATASETS:
        source, _ = sources.find(DATASETS[name])
        if source is None:
            state = "not found; " + "; or ".join(_remedies(DATASETS[name]))
        else:
            state = f"{source.folder} ({source.place})"
        lines.append((name, state))
    lines.append((SAMPLE, f"{SAMPLE_FILE} (comes with kerasnets)"))
    folder = os.environ.get(sources.VARIABLE)
    missing = "" if not folder or Path(folder).is_dir() else " (there is no such folder)"
    lines.append((sources.VARIABLE, f"{folder or 'not set'}{missing}"))
    lines.append(("cache", str(user_folder())))
    return lines
