"""Four more architectures in PyTorch, ports of them in Keras, and faults in the ports.

MobileNet's inverted residual, a U-Net, a GRU tagger and a transformer encoder; as in :mod:`ports`, every option of a
port is PyTorch's rule by default.
"""

import math

import keras
import numpy as np
import torch
from torch import nn

from kerasnets import layers, losses, optimizers, schedules

# --- MobileNet's inverted residual


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.expand = nn.Conv2d(4, 12, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.depthwise = nn.Conv2d(12, 12, 3, stride=2, padding=1, groups=12, bias=False)
        self.bn2 = nn.BatchNorm2d(12)
        self.project = nn.Conv2d(12, 6, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = nn.functional.relu6(self.bn1(self.expand(x)))
        x = nn.functional.relu6(self.bn2(self.depthwise(x)))
        return self.fc(self.bn3(self.project(x)).mean(dim=(2, 3)))


def mobilenet(limit=6.0, padding=1, stock=False, linear=True, groups=12):
    x = inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(12, 1, use_bias=False, name="expand")(x)
    x = keras.layers.ReLU(max_value=limit)(layers.BatchNormalization(name="bn1")(x))
    if stock:
        x = keras.layers.DepthwiseConv2D(3, 2, padding="same", use_bias=False, name="depthwise")(x)
    else:
        x = layers.Conv2D(12, 3, strides=2, padding=padding, groups=groups, use_bias=False, name="depthwise")(x)
    x = keras.layers.ReLU(max_value=6.0)(layers.BatchNormalization(name="bn2")(x))
    x = layers.Conv2D(6, 1, use_bias=False, name="project")(x)
    x = layers.BatchNormalization(name="bn3")(x)
    if not linear:
        x = keras.layers.ReLU(max_value=6.0)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Linear(5, name="fc")(x))


def train_mobilenet(module):
    optimizer = torch.optim.RMSprop(module.parameters(), lr=0.01, alpha=0.9, momentum=0.9, weight_decay=4e-5)
    return {
        "loss": (nn.CrossEntropyLoss(), losses.CrossEntropyLoss()),
        "optimizer": (
            optimizer,
            optimizers.RMSprop(schedules.ExponentialLR(0.01, 0.98), rho=0.9, momentum=0.9, weight_decay=4e-5),
        ),
        "scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.98),
    }


# --- U-Net


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.merge = nn.Sequential(nn.Conv2d(8, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU())
        self.out = nn.Conv2d(4, 1, 1)

    def forward(self, x):
        skip = self.down1(x)
        x = self.up(self.down2(nn.functional.max_pool2d(skip, 2)))
        return self.out(self.merge(torch.cat([skip, x], dim=1)))


def unet(order=("skip", "up"), groups=4, epsilon=1e-5, upsample=False, last=None, kernel=2, pool="Max"):
    def block(x, filters, groups, name, epsilon=1e-5):
        x = layers.Conv2D(filters, 3, padding=1, name=f"{name}_0")(x)
        return keras.layers.ReLU()(layers.GroupNormalization(groups, epsilon=epsilon, name=f"{name}_1")(x))

    inputs = keras.Input((8, 8, 2))
    skip = block(inputs, 4, 2, "down1")
    x = block(getattr(keras.layers, f"{pool}Pooling2D")(2)(skip), 8, groups, "down2", epsilon)
    if upsample:
        x = layers.Conv2D(4, 1, name="up")(keras.layers.UpSampling2D(2)(x))
    else:
        x = layers.Conv2DTranspose(4, kernel, strides=2, padding=(kernel - 2) // 2, name="up")(x)
    parts = {"skip": skip, "up": x}
    x = block(keras.layers.Concatenate(name="join")([parts[name] for name in order]), 4, 2, "merge")
    return keras.Model(inputs, layers.Conv2D(1, 1, activation=last, name="out")(x))


def train_unet(module):
    return {
        "loss": (nn.BCEWithLogitsLoss(), losses.BCEWithLogitsLoss()),
        "optimizer": (torch.optim.NAdam(module.parameters(), lr=2e-3), optimizers.NAdam(2e-3)),
    }


# --- GRU tagger


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8, padding_idx=0)
        self.gru = nn.GRU(8, 6, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.tags = nn.Linear(12, 4)

    def forward(self, x):
        return self.tags(self.dropout(self.gru(self.embedding(x))[0]))


def tagger(padding_idx=0, reset_after=True, merge="concat", both=True, rate=0.3, mask=False):
    inputs = keras.Input((7,), dtype="int32")
    if mask:
        x = keras.layers.Embedding(
            11, 8, mask_zero=True, embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0), name="embedding"
        )(inputs)
    else:
        x = layers.Embedding(11, 8, padding_idx=padding_idx, name="embedding")(inputs)
    if reset_after:
        memory = layers.GRU(6, return_sequences=True)
    else:
        memory = keras.layers.GRU(6, return_sequences=True, reset_after=False)
    x = keras.layers.Bidirectional(memory, merge_mode=merge, name="gru")(x) if both else memory(x)
    x = keras.layers.Dropout(rate, name="dropout")(x)
    return keras.Model(inputs, layers.Linear(4, name="tags")(x))


def tags_loss(output, y):
    return nn.functional.cross_entropy(output.flatten(0, 1), y.flatten(), ignore_index=-100)


def train_tagger(module):
    return {
        "loss": (tags_loss, losses.CrossEntropyLoss()),
        "optimizer": (torch.optim.Adagrad(module.parameters(), lr=0.05), optimizers.Adagrad(0.05)),
    }


# --- Transformer encoder


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.input = nn.Linear(5, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.output = nn.Linear(8, 3)

    def forward(self, x):
        return self.output(self.layer(self.input(x)))


def encoder(first=False, epsilon=1e-5, activation="relu", heads=2, scaled=True, skip=True, rate=0.1):
    bound = math.sqrt(6 / 32)
    inputs = keras.Input((6, 5))
    x = layers.Linear(8, name="input")(inputs)
    y = layers.LayerNormalization(epsilon=epsilon, name="norm1")(x) if first else x
    attention = keras.layers.MultiHeadAttention(
        heads, 8 // heads, dropout=rate, kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        name="self_attn",
    )  # fmt: skip
    y = keras.layers.Dropout(rate)(attention(y, y))
    x = keras.layers.Add()([x, y])
    if not first:
        x = layers.LayerNormalization(epsilon=epsilon, name="norm1")(x)
    y = layers.Linear(16, activation=activation, name="linear1")(x)
    y = layers.Linear(8, name="linear2")(keras.layers.Dropout(rate)(y))
    y = keras.layers.Dropout(rate)(y)
    x = keras.layers.Add()([x, y]) if skip else y
    x = layers.LayerNormalization(name="norm2")(x)
    kernel = attention.output_dense.kernel
    kernel.assign(np.random.default_rng(5).uniform(-1 / math.sqrt(8), 1 / math.sqrt(8), kernel.shape))
    return keras.Model(inputs, layers.Linear(3, name="output")(x))


def train_encoder(module):
    return {
        "loss": (nn.MSELoss(), losses.MSELoss()),
        "optimizer": (torch.optim.RAdam(module.parameters(), lr=1e-3), optimizers.RAdam(1e-3)),
    }


def normal(*shape, seed=6):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


WORDS = np.random.default_rng(7).integers(0, 11, size=(4, 7))
WORDS[:, 5:] = 0

MORE_PORTS = {
    "MobileNet block": (MobileNet, mobilenet, train_mobilenet, normal(6, 4, 8, 8), np.arange(6) % 5),
    "U-Net": (UNet, unet, train_unet, normal(4, 2, 8, 8), (normal(4, 1, 8, 8) > 0).astype("float32")),
    "GRU tagger": (Tagger, tagger, train_tagger, WORDS, WORDS % 4),
    "transformer encoder": (Encoder, encoder, train_encoder, normal(4, 6, 5), normal(4, 6, 3, seed=8)),
}

#: As in :mod:`faults`.
MORE_FAULTS = [
    ("MobileNet block", "ReLU instead of ReLU6", {"limit": None}, "re_lu|bn1", "relu6"),
    ("MobileNet block", "padding of a depthwise convolution", {"stock": True}, "depthwise", "padding is"),
    ("MobileNet block", "ReLU6 after the linear bottleneck", {"linear": False}, "re_lu", "relu6"),
    ("MobileNet block", "depthwise convolution with fewer groups", {"groups": 6}, "depthwise", "groups is 6"),
    ("U-Net", "concatenation in another order", {"order": ("up", "skip")}, "join", "another order"),
    ("U-Net", "groups of group norm", {"groups": 2}, "down2", "groups is 2, PyTorch's is 4"),
    ("U-Net", "epsilon of group norm", {"epsilon": 1e-3}, "down2", "epsilon is 1e-3"),
    ("U-Net", "upsampling and convolution", {"upsample": True}, "up", "is a convolution, PyTorch's is a transposed"),
    ("U-Net", "sigmoid before the loss on logits", {"last": "sigmoid"}, "out", "sigmoid"),
    ("U-Net", "kernel of the transposed convolution", {"kernel": 4}, "up", "kernel size is (4, 4)"),
    ("U-Net", "average pooling", {"pool": "Average"}, "pool", "average pool"),
    ("GRU tagger", "padding_idx left out", {"padding_idx": None}, "embedding", "padding_idx"),
    ("GRU tagger", "a mask", {"mask": True}, "gru", "skips the steps that embedding masks"),
    ("GRU tagger", "reset gate before the product", {"reset_after": False}, "gru", "reset gate"),
    ("GRU tagger", "directions added", {"merge": "sum"}, "gru", "merge_mode is sum"),
    ("GRU tagger", "one direction", {"both": False}, "gru", "directions is 1, PyTorch's is 2"),
    ("transformer encoder", "norm first", {"first": True}, "norm1", "PyTorch has a add"),
    ("transformer encoder", "epsilon of layer norm", {"epsilon": 1e-6}, "norm1", "epsilon is 1e-6"),
    ("transformer encoder", "GELU instead of ReLU", {"activation": "gelu"}, "linear1", "gelu"),
    ("transformer encoder", "heads", {"heads": 4}, "self_attn", "heads is 4, PyTorch's is 2"),
    ("transformer encoder", "residual left out", {"skip": False}, "norm2|linear2", "add"),
    ("transformer encoder", "dropout rate", {"rate": 0.5}, "dropout|attn", "rate is 0.5, PyTorch's is 0.1"),
]
