"""The tutorials' trainings as data: network, data set, loss, optimizer, epochs, and the result that is printed there.

:data:`TUTORIALS` has their names.

A recipe is plain data: names, numbers, and possibly a schedule as learning rate. :func:`kerasnets.train` runs it. The
networks that are not trained to the end in their tutorial (Network, Network2 and Net) are trained as in "How to
create a neural network with PyTorch", on MNIST, with no result to compare with. No tutorial trains on CIFAR-10:
ConvNeuralNetwork and Net are trained on it as on the other data sets, and what accuracy they reach is not measured.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from kerasnets._internal.arguments import check_integer, check_known, check_path
from kerasnets.data.datasets import NAMES, find_dataset

__all__ = ["RECIPES", "TUTORIALS", "Recipe", "find", "load", "remove_dropout"]


def __dir__() -> list[str]:
    return __all__


#: Short key → title and source of a tutorial.
TUTORIALS = {
    "basics": (
        "Build the Neural Network",
        "https://pytorch.org/tutorials/beginner/basics/buildmodel_tutorial.html, in a Chinese blog's version of 2023",
    ),
    "readthedocs": (
        "Neural Network",
        "section 2.1.3 of the Chinese PyTorch Tutorial, https://pytorch-tutorial.readthedocs.io",
    ),
    "create": ("How to create a neural network with PyTorch", "如何使用 pytorch 创建一个神经网络, 2024"),
    "clothes": ("Working with neural networks", "与神经网络协作, a book chapter on Fashion-MNIST"),
    "udacity": (
        "Building neural networks with PyTorch",
        "通过 PyTorch 构建神经网络, after a notebook of Udacity's course",
    ),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training.

    Attributes:
        name: the network's name, and what tells this recipe from the network's others.
        network: name of the network, as :func:`kerasnets.build` takes it.
        dataset: name of the data set, as :func:`kerasnets.load_data` takes it.
        document: the tutorial that the training comes from, by its key in :data:`TUTORIALS`, and the section.
        loss: name of a class of :mod:`kerasnets.losses`.
        optimizer: name of a class of :mod:`kerasnets.optimizers`.
        optimizer_options: the optimizer's arguments.
        epochs: number of epochs.
        batch_size: images per step.
        options: the network's options, beyond the shape of the images and the number of classes.
        loss_options: the loss's arguments.
        pad: width in pixels of the background (−1) to add on every side of the images.
        document_accuracy: the tutorial's test accuracy, in percent.
        document_train_loss: the tutorial's training loss in the last epoch.

    Examples:
        >>> recipe = kerasnets.recipes.find("ConvNeuralNetwork", "fashion_mnist")
        >>> recipe.optimizer, recipe.epochs, recipe.batch_size
        ('SGD', 5, 64)
    """

    name: str
    network: str
    dataset: str
    document: str
    loss: str = "CrossEntropyLoss"
    optimizer: str = "SGD"
    optimizer_options: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"learning_rate": 0.01, "momentum": 0.9}
    )
    epochs: int = 5
    batch_size: int = 64
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    loss_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pad: int = 0
    document_accuracy: float | None = None
    document_train_loss: float | None = None

    def __post_init__(self):
        check_integer("epochs", self.epochs)
        check_integer("batch_size", self.batch_size)

    @property
    def network_options(self) -> dict[str, Any]:
        """What to pass to :func:`kerasnets.build`: `options`, and the images' shape and the classes of the data set."""
        if self.dataset not in NAMES:  # arrays of the user's own
            return dict(self.options)
        dataset = find_dataset(self.dataset)
        height, width, *channels = dataset.shape
        padded = (height + 2 * self.pad, width + 2 * self.pad, *channels)
        return {"input_shape": padded, "classes": len(dataset.classes), **self.options}

    def replace(self, **changes) -> "Recipe":
        """The recipe with some attributes changed; without the tutorial's results, unless nothing changes.

        Raises:
            ValueError: the number of epochs or the batch size is below 1.
        """
        changes = {name: value for name, value in changes.items() if getattr(self, name) != value}
        if changes:
            changes = {"document_accuracy": None, "document_train_loss": None, **changes}
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The attributes in a form that JSON can hold; a schedule is serialized by Keras.

        Raises:
            TypeError: an option is of another type.
        """
        return {field.name: _to_json(field.name, getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Recipe":
        """The recipe from the form that :meth:`to_dict` gives; a schedule is made again by Keras.

        Raises:
            ValueError: a name is not an attribute of a recipe, or one that every recipe has is missing.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        for name in plain:
            check_known("attribute of a recipe", name, known)
        try:
            return cls(**{name: _from_json(value) for name, value in plain.items()})
        except TypeError as error:
            raise ValueError(f"Not a recipe: {error}.") from error


def _from_json(value):
    if isinstance(value, Mapping) and {"class_name", "config"} <= value.keys():
        import keras

        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, Mapping):
        return {key: _from_json(each) for key, each in value.items()}
    return value


def _to_json(name: str, value):
    if isinstance(value, Mapping):
        return {key: _to_json(f"{name}[{key!r}]", each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(name, each) for each in value]
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays
        return value.tolist()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "get_config"):
        import keras

        return keras.saving.serialize_keras_object(value)
    raise TypeError(f"{name} of the recipe is a {type(value).__name__}; expected names, numbers or a Keras schedule.")


_ADAM = {"learning_rate": 3e-3}
_WITH_DROPOUT = ("ConvNeuralNetwork", "FashionNetwork")
_OF_PROBABILITIES = {"from_probabilities": True}

#: All recipes, in the order of the tutorials. :func:`find` prefers the first one for a network and data set.
RECIPES: tuple[Recipe, ...] = (
    Recipe("NeuralNetwork", "NeuralNetwork", "mnist", "create §6", document_accuracy=97.45),
    Recipe("NeuralNetwork", "NeuralNetwork", "fashion_mnist", "create §6", document_accuracy=87.60),
    # The tutorial says "about 87 %".
    Recipe("NeuralNetwork_v1", "NeuralNetwork_v1", "fashion_mnist", "create §7.2.1", document_accuracy=87.0),
    Recipe("ConvNeuralNetwork", "ConvNeuralNetwork", "fashion_mnist", "create §7.2.2", document_accuracy=91.53),
    Recipe(
        "FashionNetwork",
        "FashionNetwork",
        "fashion_mnist",
        "clothes",
        loss="NLLLoss",
        optimizer="Adam",
        optimizer_options=_ADAM,
        epochs=10,
        document_train_loss=0.2596,
    ),
    Recipe(
        "FashionNetwork with dropout",
        "FashionNetwork",
        "fashion_mnist",
        "clothes, dropout",
        options={"dropout": 0.25},
        loss="NLLLoss",
        optimizer="Adam",
        optimizer_options=_ADAM,
        epochs=10,
    ),
    Recipe("Network", "Network", "mnist", "udacity", loss="NLLLoss", loss_options=_OF_PROBABILITIES),
    Recipe("Network2", "Network2", "mnist", "udacity", loss="NLLLoss", loss_options=_OF_PROBABILITIES),
    Recipe("Net", "Net", "mnist", "readthedocs", pad=2),
    Recipe("ConvNeuralNetwork", "ConvNeuralNetwork", "cifar10", "create §7.2.2, on colour images"),
    Recipe("Net", "Net", "cifar10", "readthedocs, on colour images"),
)


def find(network: str, dataset: str | None = None, options: Mapping[str, Any] | None = None) -> Recipe:
    """Find the recipe for a network.

    Args:
        network: the network's name.
        dataset: the data set's name; default: that of the network's first recipe.
        options: the network's options; default: those of the network's first recipe.

    Returns:
        The tutorial's recipe, or the nearest one, with data set and options changed, if no tutorial has these.

    Raises:
        ValueError: there is no recipe for the network, or no such data set.

    Examples:
        >>> kerasnets.recipes.find("FashionNetwork").loss
        'NLLLoss'
    """
    of_network = [recipe for recipe in RECIPES if recipe.network == network]
    check_known("network", network, dict.fromkeys(recipe.network for recipe in RECIPES))
    if dataset is not None:
        check_known("data set", dataset, NAMES)
    wanted = {"dataset": dataset, "options": options}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    nearest = max(of_network, key=lambda recipe: sum(getattr(recipe, name) == wanted[name] for name in wanted))
    return nearest.replace(**wanted)


def load(path: str | os.PathLike) -> Recipe:
    """Load the recipe from a JSON file: a run's ``result.json``, a sweep's ``best.json``, or a recipe's ``to_dict()``.

    Raises:
        OSError: the file can't be read.
        ValueError: it has no recipe.

    Examples:
        >>> import json, pathlib
        >>> recipe = kerasnets.recipes.find("Net")
        >>> _ = pathlib.Path("recipe.json").write_text(json.dumps(recipe.to_dict()))
        >>> kerasnets.recipes.load("recipe.json") == recipe
        True
    """
    path = check_path("path", path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}; expected one that holds a recipe, such as best.json.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}")
        return Recipe.from_dict(found.get("recipe", found))
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} has no recipe: {error}") from error


def check_recipe(recipe: Any) -> Recipe:
    """The recipe, loaded if it is a file.

    Raises:
        TypeError: it is neither a recipe nor a path.
    """
    recipe = load(recipe) if isinstance(recipe, str | os.PathLike) else recipe
    if not isinstance(recipe, Recipe):
        raise TypeError(f"The recipe is a {type(recipe).__name__}; expected one as kerasnets.recipes.find() gives.")
    return recipe


def remove_dropout(recipe: Recipe) -> Recipe:
    """The recipe without dropout, whose random numbers differ between backends.

    Examples:
        >>> recipe = kerasnets.recipes.find("ConvNeuralNetwork", "fashion_mnist")
        >>> kerasnets.recipes.remove_dropout(recipe).options["dropout"]
        0.0
    """
    if recipe.network not in _WITH_DROPOUT:
        return recipe
    return recipe.replace(options={**recipe.options, "dropout": 0.0})
