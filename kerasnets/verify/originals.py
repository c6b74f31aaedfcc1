"""The tutorials' seven networks as plain ``torch.nn.Module``: the oracle for the Keras networks.

Nothing else in the library computes with these. The attributes have the tutorials' names and are registered in the
tutorials' order, so that a ``state_dict`` of a tutorial's own class loads here with ``strict=True``, and an optimizer's
state has the same parameter indices. Every network takes images as the tutorials' loaders yield them,
``(batch, 1, height, width)``, and also ``(batch, height, width)``, as the Keras networks do. Keras is not imported.

>>> from kerasnets.verify import originals
>>> original = originals.build("ConvNeuralNetwork", dropout=0.0).eval()
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (the field writes it so)
from torch import nn

from kerasnets._internal.arguments import check_known


def _linear_relu_stack(*sizes: int) -> nn.Sequential:
    """Linear layers of the given `sizes`, with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _with_channel(images: torch.Tensor) -> torch.Tensor:
    """Grey images as a convolution takes them: ``(batch, 1, height, width)``."""
    return images.unsqueeze(1) if images.ndim == 3 else images


class NeuralNetwork(nn.Module):
    """784-512-512-10 with ReLU between, logits out ("Build the Neural Network")."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = _linear_relu_stack(28 * 28, 512, 512, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear_relu_stack(self.flatten(x))


class NeuralNetwork_v1(nn.Module):
    """784-1024-1024-512-512-10 with ReLU between, logits out ("How to create …", 7.2.1)."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = _linear_relu_stack(28 * 28, 1024, 1024, 512, 512, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear_relu_stack(self.flatten(x))


class ConvNeuralNetwork(nn.Module):
    """Three convolutions and three linear layers with batch normalisation, logits out ("How to create …", 7.2.2).

    Args:
        dropout: probability of the one dropout module, which is used after both hidden linear layers.
    """

    def __init__(self, dropout: float = 0.4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(64, 128, kernel_size=3, padding=1)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(128 * 3 * 3, 512)
        self.fc2 = nn.Linear(512, 512)
        self.fc3 = nn.Linear(512, 10)
        self.dropout = nn.Dropout(dropout)
        # Registered after the linear layers, as in the tutorial: an optimizer numbers the parameters in this order.
        self.batch_norm1 = nn.BatchNorm2d(32)
        self.batch_norm2 = nn.BatchNorm2d(64)
        self.batch_norm3 = nn.BatchNorm2d(128)
        self.batch_norm_fc1 = nn.BatchNorm1d(512)
        self.batch_norm_fc2 = nn.BatchNorm1d(512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = _with_channel(x)
        for conv, batch_norm in (
            (self.conv1, self.batch_norm1),
            (self.conv2, self.batch_norm2),
            (self.conv3, self.batch_norm3),
        ):
            x = F.max_pool2d(F.relu(batch_norm(conv(x))), 2)
        x = self.flatten(x)
        x = self.dropout(F.relu(self.batch_norm_fc1(self.fc1(x))))
        x = self.dropout(F.relu(self.batch_norm_fc2(self.fc2(x))))
        return self.fc3(x)


class Net(nn.Module):
    """One convolution and one linear layer for grey images of 32×32, logits out ("Neural Network")."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3)
        self.fc1 = nn.Linear(6 * 15 * 15, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(_with_channel(x)))
        x = F.relu(F.max_pool2d(x, (2, 2)))
        return self.fc1(x.flatten(1))


class FashionNetwork(nn.Module):
    """784-256-128-10 with ReLU between ("Working with neural networks").

    Args:
        output: ``"log_softmax"`` (trained in the tutorial), ``"softmax"`` (its first version) or ``"logits"``.
        dropout: probability of the one dropout module, which is used after both hidden activations; 0.25 in the last
            section of the tutorial, the only one that has it.

    Raises:
        ValueError: `output` is something else.
    """

    def __init__(self, output: str = "log_softmax", dropout: float = 0.0) -> None:
        super().__init__()
        if output not in ("log_softmax", "softmax", "logits"):
            raise ValueError(f"Unknown output {output!r}; expected 'log_softmax', 'softmax' or 'logits'.")
        self.hidden1 = nn.Linear(784, 256)
        self.hidden2 = nn.Linear(256, 128)
        self.output = nn.Linear(128, 10)
        if output == "log_softmax":
            self.log_softmax = nn.LogSoftmax(dim=1)
        elif output == "softmax":
            self.softmax = nn.Softmax(dim=1)
        self.activation = nn.ReLU()
        self.drop = nn.Dropout(dropout)
        self._output = output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop(self.activation(self.hidden1(x.flatten(1))))
        x = self.drop(self.activation(self.hidden2(x)))
        x = self.output(x)
        return x if self._output == "logits" else getattr(self, self._output)(x)


class Network(nn.Module):
    """784-256-10 with a sigmoid between, softmax out ("Building neural networks with PyTorch")."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(784, 256)
        self.output = nn.Linear(256, 10)
        self.sigmoid = nn.Sigmoid()
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.sigmoid(self.hidden(x.flatten(1)))
        return self.softmax(self.output(x))


class _Network2Class(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        return F.softmax(self.fc3(x), dim=1)


class _ImageSequential(nn.Sequential):
    """``nn.Sequential`` that flattens its images itself: the tutorial flattens them outside, without a module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flatten(1))


def Network2(form: str = "class") -> nn.Module:  # noqa: N802 (a network's name, as the others)
    """784-128-64-10 with ReLU between, softmax out, in the three forms of the tutorial.

    Args:
        form: ``"class"`` (attributes ``fc1``, ``fc2``, ``fc3``), ``"sequential"`` (``nn.Sequential`` by position: the
            parameters are ``0.weight`` … ``4.bias``) or ``"named"`` (``nn.Sequential`` of an ``OrderedDict``: ``fc1``,
            ``relu1``, ``fc2``, ``relu2``, ``output``, ``softmax``).

    Raises:
        ValueError: `form` is something else.
    """
    if form == "class":
        return _Network2Class()
    modules = OrderedDict(
        fc1=nn.Linear(784, 128),
        relu1=nn.ReLU(),
        fc2=nn.Linear(128, 64),
        relu2=nn.ReLU(),
        output=nn.Linear(64, 10),
        softmax=nn.Softmax(dim=1),
    )
    if form == "named":
        return _ImageSequential(modules)
    if form == "sequential":
        return _ImageSequential(*modules.values())
    raise ValueError(f"Unknown form {form!r}; expected 'class', 'sequential' or 'named'.")


#: The tutorials' name of a network → the function or class that makes it.
ORIGINALS: dict[str, Callable[..., nn.Module]] = {
    "NeuralNetwork": NeuralNetwork,
    "NeuralNetwork_v1": NeuralNetwork_v1,
    "ConvNeuralNetwork": ConvNeuralNetwork,
    "Net": Net,
    "FashionNetwork": FashionNetwork,
    "Network": Network,
    "Network2": Network2,
}


def build(name: str, **options: object) -> nn.Module:
    """Build an original with PyTorch's initial weights.

    Args:
        name: a key of :data:`ORIGINALS`.
        **options: the network's options: ``dropout`` of ``ConvNeuralNetwork``, ``output`` and ``dropout`` of
            ``FashionNetwork``, ``form`` of ``Network2``.

    Raises:
        ValueError: the name or an option's value is unknown.
        TypeError: the network has no such option.
    """
    check_known("network", name, ORIGINALS)
    return ORIGINALS[name](**options)
