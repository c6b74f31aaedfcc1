"""Cut the sample that comes with the package out of Fashion-MNIST.

    python -m kerasnets.data.make_sample                # from Debian's package dataset-fashion-mnist
    python -m kerasnets.data.make_sample --root FOLDER  # from a folder that load_data takes

600 training and 100 test images of each class, drawn with a fixed seed, in their original order.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from kerasnets._internal.atomic import replaced
from kerasnets.data.load import SAMPLE_FILE, load_arrays
from kerasnets.data.sources import SYSTEM_FOLDERS

SEED = 0
PER_CLASS = {"train": 600, "test": 100}


def stratified(labels: np.ndarray, per_class: int, random: np.random.RandomState) -> np.ndarray:
    """Sorted indices of `per_class` labels of each class, drawn without repetition."""
    drawn = [random.permutation(np.flatnonzero(labels == label))[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(drawn))


def cut(root: Path, out: Path) -> None:
    """Write the sample of the Fashion-MNIST in `root` to `out`, the same bytes every time."""
    x, y, x_test, y_test = load_arrays("fashion_mnist", root)
    random = np.random.RandomState(SEED)  # NumPy keeps this generator's stream the same in all versions
    sample = {}
    for split, images, labels in (("train", x, y), ("test", x_test, y_test)):
        chosen = stratified(labels, PER_CLASS[split], random)
        sample[f"x_{split}"] = images[chosen]
        sample[f"y_{split}"] = labels[chosen]
    with replaced(out) as unfinished:
        np.savez_compressed(unfinished, **sample)


def main(
    root: Annotated[Path, typer.Option(help="Folder with Fashion-MNIST.")] = SYSTEM_FOLDERS["fashion_mnist"],
    out: Annotated[Path, typer.Option(help="The file to write.")] = SAMPLE_FILE,
) -> None:
    """Cut the sample of Fashion-MNIST that comes with the package."""
    cut(root, out)
    typer.echo(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    typer.run(main)
