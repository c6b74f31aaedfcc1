"""The data sets by name: their files as torchvision lays them out, their checksums and their classes.

To add one that torchvision reads, add it to :data:`DATASETS`: command lines take their choices from here, recipes the
shape of the images and the number of classes.
"""

from dataclasses import dataclass
from pathlib import Path

from kerasnets._internal.arguments import check_known

#: The four files of an IDX data set, images before labels; each may carry ``.gz``.
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

#: The bundled sample: real Fashion-MNIST images, inside the package.
SAMPLE = "fashion_mnist_sample"


@dataclass(frozen=True)
class Dataset:
    """One data set that torchvision reads.

    Attributes:
        name: kerasnets' name, the argument of `load_data`.
        torchvision: the name of its class in `torchvision.datasets`.
        folder: where torchvision looks for the files, below its root.
        files: the files in that folder.
        classes: the class names, by label.
        shape: that of an image as `load_data` returns it, (height, width) or (height, width, channels).
    """

    name: str
    torchvision: str
    folder: str
    files: tuple[str, ...]
    classes: tuple[str, ...]
    shape: tuple[int, ...] = (28, 28)

    @property
    def is_idx(self) -> bool:
        """Whether the files are in MNIST's format, with grey images of 28 × 28 pixels."""
        return self.files == IDX_FILES


def _idx(name: str, torchvision: str, classes: tuple[str, ...]) -> Dataset:
    return Dataset(name, torchvision, f"{torchvision}/raw", IDX_FILES, classes)


_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

DATASETS = {
    dataset.name: dataset
    for dataset in (
        _idx("mnist", "MNIST", tuple(f"{digit} - {word}" for digit, word in enumerate(_DIGITS))),
        _idx(
            "fashion_mnist",
            "FashionMNIST",
            ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        _idx("kmnist", "KMNIST", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
        Dataset(
            "cifar10",
            "CIFAR10",
            "cifar-10-batches-py",
            (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"),
            ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
            shape=(32, 32, 3),
        ),
    )
}

#: Every name that `load_data` takes.
NAMES = (*DATASETS, SAMPLE)

#: Those with images (n, 28, 28), like the tutorials'.
GREY_NAMES = (*(name for name, dataset in DATASETS.items() if dataset.shape == (28, 28)), SAMPLE)

#: Data set → the package of Debian that has its gzipped IDX files, and its folder.
DEBIAN_PACKAGES = {"fashion_mnist": ("dataset-fashion-mnist", Path("/usr/share/datasets/fashion-mnist"))}

#: SHA-256 of the uncompressed IDX files, where known. torchvision's checksums are of its own ``.gz`` files; Debian
#: compresses the same contents differently.
SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}


def check_name(name: str) -> None:
    """Raise a `ValueError` that lists the right names unless `name` is one of them."""
    check_known("data set", name, NAMES)


def find_dataset(name: str) -> Dataset:
    """The data set `name`; for the sample, the one that it is cut from. Raises a `ValueError` as `check_name` does."""
    check_name(name)
    return DATASETS["fashion_mnist" if name == SAMPLE else name]


#: Data set → its class names in Chinese, where they are words.
_CHINESE = {
    "mnist": ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九"),
    "fashion_mnist": ("T恤", "裤子", "套头衫", "连衣裙", "外套", "凉鞋", "衬衫", "运动鞋", "包", "短靴"),
    "cifar10": ("飞机", "汽车", "鸟", "猫", "鹿", "狗", "青蛙", "马", "船", "卡车"),
}


def class_names(name: str = "fashion_mnist", lang: str = "en") -> list[str]:
    """The class names of a data set, by label.

    Args:
        name: one of the names that `load_data` takes.
        lang: ``"en"`` for torchvision's own, ``"zh"`` for Chinese ones.

    Raises:
        ValueError: `name` is not a data set of kerasnets, or `lang` is another language.

    Examples:
        >>> kerasnets.data.class_names("fashion_mnist")[9]
        'Ankle boot'
    """
    dataset = find_dataset(name)
    check_known("language", lang, ("en", "zh"))
    return list(_CHINESE.get(dataset.name, dataset.classes) if lang == "zh" else dataset.classes)
