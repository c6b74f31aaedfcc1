"""The bar: seeded faults, each with the place and the words that a finding must have."""

import keras
import torch
from more_ports import MORE_FAULTS
from ports import load_lstm, sgd
from torch import nn

from kerasnets import losses, optimizers, schedules

STOCK = keras.layers.BatchNormalization
#: What stock Keras's batch norm is like where only one setting is wrong.
LIKE_PYTORCH = {"norm": STOCK, "momentum": 0.9, "epsilon": 1e-5}


def keras_loss(loss):
    return lambda module: {"loss": (nn.CrossEntropyLoss(), loss)}


def keras_optimizer(optimizer, **options):
    """Keras's optimizer beside PyTorch's SGD."""
    return lambda module: {"optimizer": (sgd(module, **options), optimizer)}


def adam(kind, optimizer, **options):
    return lambda module: {"optimizer": (kind(module.parameters(), **options), optimizer)}


def step_lr(rate):
    """Keras's schedule beside a StepLR of PyTorch's."""

    def change(module):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        return {
            "optimizer": (optimizer, optimizers.SGD(rate, momentum=0.9)),
            "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5),
        }

    return change


def decay_groups(module):
    """Weight decay on matrices only, in PyTorch."""
    groups = [
        {"params": [p for p in module.parameters() if p.ndim > 1], "weight_decay": 5e-4},
        {"params": [p for p in module.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return {
        "optimizer": (
            torch.optim.SGD(groups, lr=0.1, momentum=0.9),
            optimizers.SGD(0.1, momentum=0.9, weight_decay=5e-4),
        )
    }


def early(rate):
    """A schedule that is one step ahead."""

    class Early(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return rate(step + 1)

        def get_config(self):
            return {}

    return Early()


def flat_in_pytorchs_order(module, model):
    """Kernels moved by transposition alone."""
    for name in ("conv1", "conv2"):
        own = getattr(module, name)
        model.get_layer(name).set_weights(
            [own.weight.detach().numpy().transpose(2, 3, 1, 0), own.bias.detach().numpy()]
        )
    for name in ("fc1", "fc2", "fc3"):
        own = getattr(module, name)
        model.get_layer(name).set_weights([own.weight.detach().numpy().T, own.bias.detach().numpy()])


SMOOTH = {"loss": (nn.CrossEntropyLoss(label_smoothing=0.1), losses.CrossEntropyLoss())}
CE = keras.losses.SparseCategoricalCrossentropy

#: Architecture, fault, the options of the port (or `training`, `load`), the place, words of the cause.
FAULTS = [
    # layers
    ("VGG block", "epsilon and momentum of stock batch norm", {"norm": STOCK}, "batch_norm1", "epsilon is 1e-3"),
    ("VGG block", "epsilon", {"epsilon": 1e-3}, "batch_norm1", "epsilon is 1e-3, PyTorch's is 1e-5"),
    ("VGG block", "momentum", {"momentum": 0.01}, "batch_norm1", "momentum"),
    ("VGG block", "Keras's meaning of momentum", {**LIKE_PYTORCH, "momentum": 0.1}, "batch_norm1", "momentum"),
    ("VGG block", "biased running variance", LIKE_PYTORCH, "batch_norm1", "biased"),
    ("ResNet-18", "epsilon in one block", {"epsilon": 1e-3}, "batch_normalization", "epsilon"),
    ("ResNet-18", "momentum in one block", {"momentum": 0.9}, "batch_normalization", "momentum"),
    ("VGG block", "padding of a strided convolution", {"strided": "same"}, "strided", "padding"),
    ("ResNet-18", "padding of a strided convolution", {"strided": "same"}, "stage2_a", "padding"),
    ("autoencoder", "padding of a strided convolution", {"strided": "same"}, "encoder_0", "padding"),
    ("autoencoder", "padding of a transposed convolution", {"transposed": False}, "decoder_0", "padding"),
    ("LeNet-5", "padding left out", {"padding": "valid"}, "conv1", "padding"),
    ("LeNet-5", "missing bias", {"bias": False}, "conv2", "bias is missing"),
    ("ResNet-18", "a bias too many", {"bias": True}, "stage2_a", "has a bias"),
    ("ViT block", "attention without bias", {"bias": False}, "attention", "bias is missing"),
    ("ViT block", "epsilon of layer norm", {"epsilon": 1e-3}, "norm1", "epsilon is 1e-3"),
    ("ViT block", "another epsilon of layer norm", {"epsilon": 1e-6}, "norm1", "epsilon is 1e-6"),
    ("ViT block", "GELU's approximation", {"approximate": True}, "gelu", "tanh approximation"),
    ("ViT block", "number of heads", {"heads": 2, "key": 8}, "attention", "heads is 2"),
    ("ViT block", "positions left out", {"positions": False}, "patches", "positions"),
    ("ViT block", "layer norm left out", {"pre": False}, "attention", "layer norm"),
    ("ViT block", "residual left out", {"skip": False}, "head", "add"),
    ("ViT block", "max instead of mean", {"pool": keras.layers.GlobalMaxPooling1D()}, "max_pool", "global max pool"),
    ("autoencoder", "slope of LeakyReLU", {"slope": 0.3}, "leaky", "slope is 0.3"),
    ("autoencoder", "order of a reshape", {"view": False}, "unflatten|decoder_0", "order"),
    ("autoencoder", "tanh instead of sigmoid", {"last": "tanh"}, "last", "tanh, PyTorch's is sigmoid"),
    ("autoencoder", "an activation too many", {"code": "relu"}, "code", "relu here, PyTorch has none"),
    ("LeNet-5", "relu instead of tanh", {"activation": "relu"}, "activation", "relu, PyTorch's is tanh"),
    ("LeNet-5", "max instead of average", {"pool": "Max"}, "pool", "max pool, PyTorch's is average pool"),
    ("LeNet-5", "an activation left out", {"second": None}, "fc3", "tanh"),
    ("LeNet-5", "softmax before a loss on logits", {"head": "softmax"}, "fc3", "softmax"),
    ("ResNet-18", "residual left out", {"skip": False}, "batch_norm|stage2", "blocks.4.shortcut"),
    ("ResNet-18", "ReLU before the sum", {"order": "before"}, "re_lu|stage2|add", "relu"),
    ("ResNet-18", "a pooling too many", {"stem": keras.layers.MaxPooling2D(3, 1, "same")}, "max_pool", "max pool"),
    ("VGG block", "dropout left on", {"always": True}, "drop", "training=True"),
    ("VGG block", "dropout rate", {"rate": 0.2}, "drop", "rate is 0.2, PyTorch's is 0.5"),
    ("VGG block", "dropout left out", {"rate": None}, "head", "dropout"),
    ("VGG block", "a frozen layer", {"frozen": True}, "hidden", "frozen"),
    ("character LSTM", "hard sigmoid", {"recurrent": "hard_sigmoid"}, "lstm", "recurrent activation is hard sigmoid"),
    ("character LSTM", "GRU instead of LSTM", {"cell": keras.layers.GRU}, "lstm", "gru, PyTorch's is a lstm"),
    # weights that came with the model
    (
        *("character LSTM", "gate order"),
        {"load": lambda module, model: load_lstm(module, model, order=(0, 1, 3, 2))},
        *("lstm", "gates"),
    ),
    (
        *("character LSTM", "one of two biases"),
        {"load": lambda module, model: load_lstm(module, model, bias="first")},
        *("lstm", "bias_hh"),
    ),
    ("LeNet-5", "flatten order", {"load": flat_in_pytorchs_order}, "fc1", "flatten order"),
    ("LeNet-5", "initial weights of stock Keras", {"stock": True}, "conv1", "initial bias is constant 0"),
    ("character LSTM", "initial embedding", {"std": 0.05}, "embedding", "initial embeddings"),
    # losses
    ("VGG block", "label smoothing left out", {"training": lambda module: SMOOTH}, "loss", "label_smoothing is 0"),
    ("LeNet-5", "probabilities instead of logits", {"training": keras_loss(CE())}, "loss", "from_logits"),
    ("LeNet-5", "reduction", {"training": keras_loss(CE(from_logits=True, reduction="sum"))}, "loss", "reduction"),
    # optimizers
    (
        *("VGG block", "decoupled weight decay"),
        {"training": keras_optimizer(keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=5e-4))},
        *("optimizer", "weight decay is decoupled"),
    ),
    (
        *("ViT block", "coupled weight decay"),
        {
            "training": adam(
                torch.optim.AdamW, optimizers.Adam(1e-3, weight_decay=0.05), lr=1e-3, weight_decay=0.05
            )
        },
        *("optimizer", "weight decay is coupled"),
    ),
    (
        *("LeNet-5", "Nesterov left out"),
        {"training": keras_optimizer(optimizers.SGD(0.1, 0.9, weight_decay=5e-4), nesterov=True)},
        *("optimizer", "nesterov is False"),
    ),
    ("ResNet-18", "weight decay on biases", {"training": decay_groups}, "optimizer", "parameter group"),
    (
        *("character LSTM", "Adam's epsilon"),
        {"training": adam(torch.optim.Adam, keras.optimizers.Adam(2e-3), lr=2e-3)},
        *("optimizer", "epsilon is 1e-7"),
    ),
    (
        *("autoencoder", "Adam's beta"),
        {"training": adam(torch.optim.Adam, optimizers.Adam(1e-3, beta_2=0.9), lr=1e-3)},
        *("optimizer", "beta_2 is 0.9"),
    ),
    # schedules
    (
        *("LeNet-5", "a schedule off by one"),
        {"training": step_lr(early(schedules.StepLR(0.1, 10, 0.5)))},
        *("learning rate", "1 step early"),
    ),
    (
        *("LeNet-5", "a smooth schedule"),
        {"training": step_lr(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5))},
        *("learning rate", "smooth"),
    ),
    ("LeNet-5", "gamma", {"training": step_lr(schedules.StepLR(0.1, 10, 0.1))}, "learning rate", "gamma"),
    ("LeNet-5", "no schedule", {"training": step_lr(0.1)}, "learning rate", "constant"),
    *MORE_FAULTS,
]  # fmt: skip
