"""The tutorials' seven networks as plain ``torch.nn.Module``: the oracle for the Keras networks.

Nothing else in the library computes with these. The attributes have the tutorials' names and are registered in the
tutorials' order, so that a ``state_dict`` of a tutorial's own class loads here with ``strict=True``, and an optimizer's
state has the same parameter indices. Every network takes images as the tutorials' loaders yield them,
``(batch, channels, height, width)``, and grey ones also as ``(batch, height, width)``, as the Keras networks do. Two
arguments are the same in all: `classes`, the number of outputs, and `input_shape`, (height, width) of grey images or
(height, width, channels) of colour ones, as in :func:`kerasnets.build`. Keras is not imported.

>>> from kerasnets.verify import originals
>>> original = originals.build("ConvNeuralNetwork", dropout=0.0).eval()
"""

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (the field writes it so)
from torch import nn

from kerasnets._internal.arguments import check_image_shape, check_known


def _linear_relu_stack(*sizes: int) -> nn.Sequential:
    """Linear layers of the given `sizes`, with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _sizes(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """Channels, height and width of the images."""
    height, width, *channels = check_image_shape("input_shape", input_shape)
    return channels[0] if channels else 1, height, width


def _with_channels(images: torch.Tensor, sizes: tuple[int, int, int]) -> torch.Tensor:
    """Images as ``(batch, channels, height, width)``; flat ones as they are.

    Raises:
        ValueError: the images have other `sizes`. A linear layer would take colour images in any order of axes.
    """
    if sizes[0] == 1 and images.ndim == 3:
        images = images.unsqueeze(1)
    if images.ndim != 2 and images.shape[1:] != sizes:
        expected = ", ".join(map(str, sizes))
        raise ValueError(f"The images have shape {tuple(images.shape)}; expected (batch, {expected}).")
    return images


class NeuralNetwork(nn.Module):
    """784-512-512-10 with ReLU between, logits out ("Build the Neural Network").

    Examples:
        >>> import torch
        >>> tuple(kerasnets.originals.NeuralNetwork()(torch.zeros(2, 28, 28)).shape)
        (2, 10)
    """

    def __init__(self, classes: int = 10, input_shape: Sequence[int] = (28, 28)) -> None:
        super().__init__()
        self.sizes = _sizes(input_shape)
        self.flatten = nn.Flatten()
        self.linear_relu_stack = _linear_relu_stack(math.prod(self.sizes), 512, 512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear_relu_stack(self.flatten(_with_channels(x, self.sizes)))


class NeuralNetwork_v1(nn.Module):
    """784-1024-1024-512-512-10 with ReLU between, logits out ("How to create …", 7.2.1).

    Examples:
        >>> import torch
        >>> tuple(kerasnets.originals.NeuralNetwork_v1()(torch.zeros(2, 28, 28)).shape)
        (2, 10)
    """

    def __init__(self, classes: int = 10, input_shape: Sequence[int] = (28, 28)) -> None:
        super().__init__()
        self.sizes = _sizes(input_shape)
        self.flatten = nn.Flatten()
        self.linear_relu_stack = _linear_relu_stack(math.prod(self.sizes), 1024, 1024, 512, 512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear_relu_stack(self.flatten(_with_channels(x, self.sizes)))


class ConvNeuralNetwork(nn.Module):
    """Three convolutions and three linear layers with batch normalisation, logits out ("How to create …", 7.2.2).

    Args:
        dropout: probability of the one dropout module, which is used after both hidden linear layers.
        classes: number of outputs.
        input_shape: of the images; each of the three poolings halves height and width, rounding down.

    Examples:
        >>> import torch
        >>> tuple(kerasnets.originals.ConvNeuralNetwork()(torch.zeros(2, 1, 28, 28)).shape)
        (2, 10)
    """

    def __init__(self, dropout: float = 0.4, classes: int = 10, input_shape: Sequence[int] = (28, 28)) -> None:
        super().__init__()
        self.sizes = channels, height, width = _sizes(input_shape)
        self.conv1 = nn.Conv2d(channels, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(64, 128, kernel_size=3, padding=1)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(128 * (height // 8) * (width // 8), 512)
        self.fc2 = nn.Linear(512, 512)
        self.fc3 = nn.Linear(512, classes)
        self.dropout = nn.Dropout(dropout)
        # Registered after the linear layers, as in the tutorial: an optimizer numbers the parameters in this order.
        self.batch_norm1 = nn.BatchNorm2d(32)
        self.batch_norm2 = nn.BatchNorm2d(64)
        self.batch_norm3 = nn.BatchNorm2d(128)
        self.batch_norm_fc1 = nn.BatchNorm1d(512)
        self.batch_norm_fc2 = nn.BatchNorm1d(512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = _with_channels(x, self.sizes)
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
    """One convolution and one linear layer, 1350-10 for images of 32×32, logits out ("Neural Network").

    Examples:
        >>> import torch
        >>> tuple(kerasnets.originals.Net()(torch.zeros(2, 1, 32, 32)).shape)
        (2, 10)
    """

    def __init__(self, classes: int = 10, input_shape: Sequence[int] = (32, 32)) -> None:
        super().__init__()
        self.sizes = channels, height, width = _sizes(input_shape)
        self.conv1 = nn.Conv2d(channels, 6, 3)
        self.fc1 = nn.Linear(6 * ((height - 2) // 2) * ((width - 2) // 2), classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(_with_channels(x, self.sizes)))
        x = F.relu(F.max_pool2d(x, (2, 2)))
        return self.fc1(x.flatten(1))


class FashionNetwork(nn.Module):
    """784-256-128-10 with ReLU between ("Working with neural networks").

    Args:
        output: ``"log_softmax"`` (trained in the tutorial), ``"softmax"`` (its first version) or ``"logits"``.
        dropout: probability of the one dropout module, which is used after both hidden activations; 0.25 in the last
            section of the tutorial, the only one that has it.
        classes: number of outputs.
        input_shape: of the images.

    Raises:
        ValueError: `output` is something else.

    Examples:
        >>> import torch
        >>> tuple(kerasnets.originals.FashionNetwork()(torch.zeros(2, 28, 28)).shape)
        (2, 10)
    """

    def __init__(
        self,
        output: str = "log_softmax",
        dropout: float = 0.0,
        classes: int = 10,
        input_shape: Sequence[int] = (28, 28),
    ) -> None:
        super().__init__()
        if output not in ("log_softmax", "softmax", "logits"):
            raise ValueError(f"Unknown output {output!r}; expected 'log_softmax', 'softmax' or 'logits'.")
        self.sizes = _sizes(input_shape)
        self.hidden1 = nn.Linear(math.prod(self.sizes), 256)
        self.hidden2 = nn.Linear(256, 128)
        self.output = nn.Linear(128, classes)
        if output == "log_softmax":
            self.log_softmax = nn.LogSoftmax(dim=1)
        elif output == "softmax":
            self.softmax = nn.Softmax(dim=1)
        self.activation = nn.ReLU()
        self.drop = nn.Dropout(dropout)
        self._output = output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = _with_channels(x, self.sizes).flatten(1)
        x = self.drop(self.activation(self.hidden1(x)))
        x = self.drop(self.activation(self.hidden2(x)))
        x = self.output(x)
        return x if self._output == "logits" else getattr(self, self._output)(x)


class Network(nn.Module):
    """784-256-10 with a sigmoid between, softmax out ("Building neural networks with PyTorch").

    Examples:
        >>> import torch
        >>> tuple(kerasnets.originals.Network()(torch.zeros(2, 28, 28)).shape)
        (2, 10)
    """

    def __init__(self, classes: int = 10, input_shape: Sequence[int] = (28, 28)) -> None:
        super().__init__()
        self.sizes = _sizes(input_shape)
        self.hidden = nn.Linear(math.prod(self.sizes), 256)
        self.output = nn.Linear(256, classes)
        self.sigmoid = nn.Sigmoid()
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.sigmoid(self.hidden(_with_channels(x, self.sizes).flatten(1)))
        return self.softmax(self.output(x))


class _Network2Class(nn.Module):
    def __init__(self, classes: int, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.sizes = _sizes(input_shape)
        self.fc1 = nn.Linear(math.prod(self.sizes), 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.fc1(_with_channels(x, self.sizes).flatten(1)))
        x = F.relu(self.fc2(x))
        return F.softmax(self.fc3(x), dim=1)


class _ImageSequential(nn.Sequential):
    """``nn.Sequential`` that flattens its images itself: the tutorial flattens them outside, without a module."""

    sizes: tuple[int, int, int]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(_with_channels(x, self.sizes).flatten(1))


def Network2(  # noqa: N802 (a network's name, as the others)
    form: str = "class", classes: int = 10, input_shape: Sequence[int] = (28, 28)
) -> nn.Module:
    """784-128-64-10 with ReLU between, softmax out, in the three forms of the tutorial.

    Args:
        form: ``"class"`` (attributes ``fc1``, ``fc2``, ``fc3``), ``"sequential"`` (``nn.Sequential`` by position: the
            parameters are ``0.weight`` … ``4.bias``) or ``"named"`` (``nn.Sequential`` of an ``OrderedDict``: ``fc1``,
            ``relu1``, ``fc2``, ``relu2``, ``output``, ``softmax``).
        classes: number of outputs.
        input_shape: of the images.

    Raises:
        ValueError: `form` is something else.

    Examples:
        >>> import torch
        >>> tuple(kerasnets.originals.Network2()(torch.zeros(2, 28, 28)).shape)
        (2, 10)
    """
    if form == "class":
        return _Network2Class(classes, input_shape)
    if form not in ("sequential", "named"):
        raise ValueError(f"Unknown form {form!r}; expected 'class', 'sequential' or 'named'.")
    sizes = _sizes(input_shape)
    modules = OrderedDict(
        fc1=nn.Linear(math.prod(sizes), 128),
        relu1=nn.ReLU(),
        fc2=nn.Linear(128, 64),
        relu2=nn.ReLU(),
        output=nn.Linear(64, classes),
        softmax=nn.Softmax(dim=1),
    )
    network = _ImageSequential(modules) if form == "named" else _ImageSequential(*modules.values())
    network.sizes = sizes
    return network


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
        name: a key of ``ORIGINALS``.
        **options: ``classes`` and ``input_shape`` of every network, as :func:`kerasnets.build` takes them, and the
            network's own: ``dropout`` of ``ConvNeuralNetwork``, ``output`` and ``dropout`` of ``FashionNetwork``,
            ``form`` of ``Network2``.

    Raises:
        ValueError: the name or an option's value is unknown.
        TypeError: the network has no such option.

    Examples:
        >>> module = kerasnets.originals.build("NeuralNetwork")
        >>> sum(parameter.numel() for parameter in module.parameters())
        669706
    """
    check_known("network", name, ORIGINALS)
    return ORIGINALS[name](**options)
