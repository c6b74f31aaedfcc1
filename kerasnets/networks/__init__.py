"""The tutorials' networks, one Keras definition each.

Every network takes float images in [-1, 1] as :func:`kerasnets.load_data` gives them: grey ones ``(batch, height,
width)``, and with ``input_shape=(height, width, 3)`` colour ones ``(batch, height, width, 3)``. Layers are named after
the attributes of the PyTorch originals.
"""

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kerasnets._internal.arguments import check_integer, check_known
from kerasnets._internal.torch_random import Generator, drawing_from

__all__ = ["build", "list_networks"]


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from kerasnets import models

#: Name of the network (the tutorial's class) → the file that defines it, in order of first appearance.
_FILES = {
    "NeuralNetwork": "neural_network",
    "NeuralNetwork_v1": "neural_network",
    "ConvNeuralNetwork": "conv_neural_network",
    "Net": "net",
    "FashionNetwork": "fashion_network",
    "Network": "network",
    "Network2": "network2",
}


def list_networks() -> list[str]:
    """The names that :func:`build` takes.

    Examples:
        >>> kerasnets.list_networks()[:3]
        ['NeuralNetwork', 'NeuralNetwork_v1', 'ConvNeuralNetwork']
    """
    return list(_FILES)


def definition(name: str) -> Callable:
    """The function that builds the network `name`; its docstring describes the network and its options.

    Raises:
        ValueError: there is no such network.
    """
    check_known("network", name, _FILES)
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)


def summary_of(name: str) -> str:
    """The first sentence of the description of the network `name`."""
    return re.sub(r":\w+:`(\w+)`", r"\1", (definition(name).__doc__ or "").partition("\n")[0]).replace("``", "")


def options_of(name: str) -> str:
    """The options of the network `name` with their defaults: ``"hidden=(512, 512), classes=10, …"``."""
    parameters = inspect.signature(definition(name)).parameters.values()
    return ", ".join(f"{parameter.name}={parameter.default!r}" for parameter in parameters)


def build(name: str, /, *, seed: int | None = None, **options: Any) -> "models.Model | models.Sequential":
    """Build one of the tutorials' networks, with the initial weights that PyTorch would draw.

    Args:
        name: one of :func:`list_networks`.
        seed: the weights are those of the PyTorch original after ``torch.manual_seed(seed)``, bit for bit. None
            continues what ``keras.utils.set_random_seed`` started, as PyTorch's global generator would.
        **options: the network's own options, as listed below; each defaults to the tutorial's value.

    The networks and their options:

    - NeuralNetwork: hidden=(512, 512), classes=10, input_shape=(28, 28)
    - NeuralNetwork_v1: hidden=(1024, 1024, 512, 512), classes=10, input_shape=(28, 28)
    - ConvNeuralNetwork: filters=(32, 64, 128), hidden=(512, 512), dropout=0.4, classes=10, input_shape=(28, 28),
      data_format=None
    - Net: filters=6, classes=10, input_shape=(32, 32), data_format=None
    - FashionNetwork: hidden=(256, 128), output='log_softmax', dropout=0.0, classes=10, input_shape=(28, 28)
    - Network: hidden=256, classes=10, input_shape=(28, 28)
    - Network2: form='class', hidden=(128, 64), classes=10, input_shape=(28, 28)

    For colour images, `input_shape` has the channels last: ``(32, 32, 3)`` for CIFAR-10.

    Returns:
        A Functional or Sequential ``keras.Model``, not compiled.

    Raises:
        ValueError: there is no such network, or an option or `seed` has a value that it can't take.
        TypeError: the network has no such option.

    >>> model = kerasnets.build("NeuralNetwork", hidden=(128, 64))
    """
    function = definition(name)
    known = inspect.signature(function).parameters
    for option in options:
        if option not in known:
            raise TypeError(f"The network {name!r} has no option {option!r}; its options are {', '.join(known)}.")
    if seed is None:
        return function(**options)
    with drawing_from(Generator(check_integer("seed", seed, low=0))):
        return function(**options)
