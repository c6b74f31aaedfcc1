"""The documents' trainings as data: network, data set, loss, optimizer, epochs, and the number the document prints.

A recipe is plain data: names, numbers, and a schedule where the learning rate is one. :func:`kerasnets.train` runs it.
Where a document doesn't train its network to the end (Network, Network2 and Net), the recipe is document 002's, on
MNIST, and there is no number to hold it to.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from kerasnets._internal.arguments import check_integer


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training.

    Attributes:
        name: what to call it: the network and, where it isn't the only one, what sets it apart.
        network: name of the network, as :func:`kerasnets.build` takes it.
        dataset: name of the data set, as :func:`kerasnets.load_data` takes it.
        document: where it comes from.
        loss: name of a class of :mod:`kerasnets.losses`.
        optimizer: name of a class of :mod:`kerasnets.optimizers`.
        optimizer_options: the optimizer's arguments.
        epochs: number of epochs.
        batch_size: images a step.
        options: the network's options.
        loss_options: the loss's arguments.
        pad: pixels of background (−1) put around each image, on every side.
        document_accuracy: the document's test accuracy, in percent.
        document_train_loss: the document's training loss in the last epoch.
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

    def replace(self, **changes) -> "Recipe":
        """The same recipe with some attributes changed; the document's numbers go when what they depend on does.

        Raises:
            ValueError: the number of epochs or the batch size is below 1.
        """
        changes = {name: value for name, value in changes.items() if getattr(self, name) != value}
        if changes:
            changes = {"document_accuracy": None, "document_train_loss": None, **changes}
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The attributes as JSON can hold them; a schedule as Keras serializes it.

        Raises:
            TypeError: an option is something else.
        """
        return {field.name: _plain(field.name, getattr(self, field.name)) for field in dataclasses.fields(self)}


def _plain(name: str, value):
    if isinstance(value, Mapping):
        return {key: _plain(f"{name}[{key!r}]", each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, each) for each in value]
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays
        return value.tolist()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "get_config"):
        import keras

        return keras.saving.serialize_keras_object(value)
    raise TypeError(f"{name} of the recipe is a {type(value).__name__}; expected names, numbers or a Keras schedule.")


_ADAM = {"learning_rate": 3e-3}
_OF_PROBABILITIES = {"from_probabilities": True}

#: All recipes, in the documents' order. The first of a network and data set is the one :func:`find` gives.
RECIPES: tuple[Recipe, ...] = (
    Recipe("NeuralNetwork", "NeuralNetwork", "mnist", "002 §6", document_accuracy=97.45),
    Recipe("NeuralNetwork", "NeuralNetwork", "fashion_mnist", "002 §6", document_accuracy=87.60),
    # "about 87 %" is what the document says of it.
    Recipe("NeuralNetwork_v1", "NeuralNetwork_v1", "fashion_mnist", "002 §7.2.1", document_accuracy=87.0),
    Recipe("ConvNeuralNetwork", "ConvNeuralNetwork", "fashion_mnist", "002 §7.2.2", document_accuracy=91.53),
    Recipe(
        "FashionNetwork",
        "FashionNetwork",
        "fashion_mnist",
        "003",
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
        "003, dropout",
        options={"dropout": 0.25},
        loss="NLLLoss",
        optimizer="Adam",
        optimizer_options=_ADAM,
        epochs=10,
    ),
    Recipe("Network", "Network", "mnist", "004", loss="NLLLoss", loss_options=_OF_PROBABILITIES),
    Recipe("Network2", "Network2", "mnist", "004", loss="NLLLoss", loss_options=_OF_PROBABILITIES),
    Recipe("Net", "Net", "mnist", "001", pad=2),
)


def find(network: str, dataset: str | None = None, options: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of a network, on `dataset`, with `options`.

    Args:
        network: the network's name.
        dataset: the data set's name; default: the first the documents train it on.
        options: the network's options; default: those of its first recipe.

    Returns:
        The documents' recipe, or, where they have none of the kind, the nearest with data set and options changed.

    Raises:
        ValueError: no recipe trains such a network.
    """
    of_network = [recipe for recipe in RECIPES if recipe.network == network]
    if not of_network:
        names = dict.fromkeys(recipe.network for recipe in RECIPES)
        raise ValueError(f"No recipe for the network {network!r}; expected one of {', '.join(map(repr, names))}.")
    wanted = {"dataset": dataset, "options": options}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    nearest = max(of_network, key=lambda recipe: sum(getattr(recipe, name) == wanted[name] for name in wanted))
    return nearest.replace(**wanted)
