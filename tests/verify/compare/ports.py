"""Small public architectures in PyTorch, and ports of them in Keras that can be given one fault each.

Every option of a port is PyTorch's rule by default; a fault sets one option.
"""

import math

import keras
import numpy as np
import torch
from more_ports import MORE_PORTS
from torch import nn
from torch.nn import functional

from kerasnets import layers, losses, optimizers, schedules

RNG = np.random.default_rng


def images(count, channels, size, seed=0):
    return RNG(seed).normal(size=(count, channels, size, size)).astype("float32")


def labels(count, classes=10):
    return np.arange(count) * 7 % classes


# --- LeNet-5


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 3 * 3, 40)
        self.fc2 = nn.Linear(40, 24)
        self.fc3 = nn.Linear(24, 10)

    def forward(self, x):
        x = functional.avg_pool2d(torch.tanh(self.conv1(x)), 2)
        x = functional.avg_pool2d(torch.tanh(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = torch.tanh(self.fc1(x))
        return self.fc3(torch.tanh(self.fc2(x)))


def lenet(
    padding=2, activation="tanh", pool="Average", bias=True, flat=None, units=24, second="tanh", head=None, stock=False
):
    conv = keras.layers.Conv2D if stock else layers.Conv2D
    pooling = getattr(keras.layers, f"{pool}Pooling2D")
    x = inputs = keras.Input((20, 20, 1))
    x = conv(6, 5, padding="same" if stock else padding, name="conv1")(x)
    x = keras.layers.Activation(activation)(x)
    x = pooling(2)(x)
    x = conv(16, 5, use_bias=bias, name="conv2")(x)
    x = pooling(2)(keras.layers.Activation(activation)(x))
    x = flat(x) if flat else keras.layers.Flatten()(x)
    x = keras.layers.Activation("tanh")(layers.Linear(40, name="fc1")(x))
    x = layers.Linear(units, name="fc2")(x)
    if second:
        x = keras.layers.Activation(second)(x)
    x = layers.Linear(10, activation=head, name="fc3")(x)
    return keras.Model(inputs, x)


# --- VGG block


class VGG(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(8 * 16, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10)
        )

    def forward(self, x):
        return self.classifier(self.features(x))


def vgg(
    norm=layers.BatchNormalization, strided=1, rate=0.5, always=None, pool=None, frozen=False, relu=True, **norm_options
):
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding=1)(x)
    x = norm(name="batch_norm1", **norm_options)(x)
    x = keras.layers.ReLU()(x)
    x = layers.Conv2D(8, 3, strides=2, padding=strided, name="strided")(x)
    x = layers.BatchNormalization(name="batch_norm2")(x)
    if relu:
        x = keras.layers.ReLU()(x)
    x = (pool or keras.layers.MaxPooling2D(2))(x)
    x = keras.layers.Flatten()(x)
    x = layers.Linear(16, activation="relu", name="hidden")(x)
    if rate is not None:
        x = keras.layers.Dropout(rate, name="drop")(x, **({"training": True} if always else {}))
    model = keras.Model(inputs, layers.Linear(10, name="head")(x))
    if frozen:
        model.get_layer("hidden").trainable = False
    return model


# --- ResNet-18 for 32 × 32 images, narrow


class Block(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x):
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return functional.relu(out)


class ResNet(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks, inside = [], width
        for i, outside in enumerate((width, 2 * width, 4 * width, 8 * width)):
            blocks += [Block(inside, outside, 1 if i == 0 else 2), Block(outside, outside, 1)]
            inside = outside
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(inside, 10)

    def forward(self, x):
        out = self.blocks(functional.relu(self.bn1(self.conv1(x))))
        out = functional.adaptive_avg_pool2d(out, 1)
        return self.linear(out.view(out.size(0), -1))


def resnet(
    width=4, stem=None, strided=None, skip=True, order="after", epsilon=1e-5, pool="Average", momentum=0.1, bias=False
):
    def norm(**options):
        return layers.BatchNormalization(**options)

    def block(x, outside, stride, name, faulty):
        y = x
        if stride != 1:
            y = layers.Conv2D(outside, 1, strides=stride, use_bias=False, name=f"{name}_short")(x)
            y = norm(name=f"{name}_norm")(y)
        padding = strided if faulty and strided else 1
        z = layers.Conv2D(outside, 3, strides=stride, padding=padding, use_bias=faulty and bias, name=f"{name}_a")(x)
        z = keras.layers.ReLU()(norm(epsilon=epsilon if faulty else 1e-5, momentum=momentum if faulty else 0.1)(z))
        z = layers.Conv2D(outside, 3, padding=1, use_bias=False, name=f"{name}_b")(z)
        z = norm()(z)
        if faulty and order == "before":
            return keras.layers.Add()([keras.layers.ReLU()(z), y])
        z = keras.layers.Add()([z, y]) if skip or not faulty else z
        return keras.layers.ReLU()(z)

    x = inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(width, 3, padding=1, use_bias=False)(x)
    x = keras.layers.ReLU()(norm()(x))
    if stem is not None:
        x = stem(x)
    for i in range(4):
        x = block(x, width * 2**i, 1 if i == 0 else 2, f"stage{i}", i == 2)
        x = block(x, width * 2**i, 1, f"stage{i}_second", False)
    x = getattr(keras.layers, f"Global{pool}Pooling2D")()(x)
    return keras.Model(inputs, layers.Linear(10)(x))


# --- ViT block


class ViT(nn.Module):
    def __init__(self, size=16, tokens=16):
        super().__init__()
        self.patches = nn.Conv2d(3, size, 4, stride=4)
        self.positions = nn.Parameter(torch.randn(1, tokens, size) * 0.02)
        self.norm1 = nn.LayerNorm(size)
        self.attention = nn.MultiheadAttention(size, 4, batch_first=True)
        self.norm2 = nn.LayerNorm(size)
        self.mlp = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
        self.head = nn.Linear(size, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.mlp(self.norm2(x))
        return self.head(x.mean(dim=1))


@keras.saving.register_keras_serializable(package="tests")
class Positions(keras.layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(shape=(1, *shape[1:]), initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, x):
        return x + self.table


def attention(heads, size, **options):
    # In PyTorch, queries, keys and values are one Xavier-uniform matrix of (3 · size, size), biases start from 0.
    bound = math.sqrt(6 / (4 * size))
    return keras.layers.MultiHeadAttention(
        heads, kernel_initializer=keras.initializers.RandomUniform(-bound, bound), name="attention", **options
    )


def out_projection(model, size):
    """The output projection starts like a linear layer's kernel."""
    kernel = model.get_layer("attention").output_dense.kernel
    kernel.assign(RNG(5).uniform(-1 / math.sqrt(size), 1 / math.sqrt(size), kernel.shape))
    return model


def vit(
    epsilon=1e-5, approximate=False, heads=4, key=4, positions=True, pre=True, bias=True, skip=True, pool=None, size=16
):
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(size, 4, strides=4, name="patches")(x)
    x = keras.layers.Reshape((16, size))(x)
    if positions:
        x = Positions(name="positions")(x)
    y = keras.layers.LayerNormalization(epsilon=epsilon, name="norm1")(x)
    y = attention(heads, size, key_dim=key, use_bias=bias)(y, y)
    x = keras.layers.Add()([x, y])
    y = keras.layers.LayerNormalization(epsilon=1e-5, name="norm2")(x) if pre else x
    y = layers.Linear(2 * size, name="mlp_0")(y)
    y = (
        keras.layers.Activation(lambda z: keras.activations.gelu(z, approximate=approximate), name="gelu")(y)
        if (approximate)
        else keras.layers.Activation("gelu", name="gelu")(y)
    )
    y = layers.Linear(size, name="mlp_2")(y)
    x = keras.layers.Add()([x, y]) if skip else y
    x = (pool or keras.layers.GlobalAveragePooling1D())(x)
    return out_projection(keras.Model(inputs, layers.Linear(10, name="head")(x)), size)


# --- Character LSTM


class CharLSTM(nn.Module):
    def __init__(self, words=12, size=8, units=16):
        super().__init__()
        self.embedding = nn.Embedding(words, size)
        self.lstm = nn.LSTM(size, units, batch_first=True)
        self.head = nn.Linear(units, words)

    def forward(self, x):
        states = (torch.zeros(1, x.size(0), 16, dtype=self.head.weight.dtype),) * 2
        x, _ = self.lstm(self.embedding(x), states)
        return self.head(x)


def char_lstm(
    words=12, size=8, units=16, cell=None, gates=None, recurrent="sigmoid", loaded=False, std=1.0, backwards=False
):
    bound = 1 / math.sqrt(units)
    start = {
        f"{name}_initializer": keras.initializers.RandomUniform(-bound, bound)
        for name in ("kernel", "recurrent", "bias")
    }
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(
        words, size, embeddings_initializer=keras.initializers.RandomNormal(stddev=std), name="embedding"
    )(inputs)
    kind = cell or keras.layers.LSTM
    options = {"unit_forget_bias": False} if kind is keras.layers.LSTM else {}
    x = kind(
        units,
        return_sequences=True,
        recurrent_activation=recurrent,
        go_backwards=backwards,
        name="lstm",
        **start,
        **options,
    )(x)
    return keras.Model(inputs, layers.Linear(words, name="head")(x))


def load_lstm(module, model, order=(0, 1, 2, 3), bias="both"):
    """Move the weights by hand, as many ports do."""
    state = {name: value.detach().numpy() for name, value in module.state_dict().items()}

    def gates(array):
        return np.concatenate([np.split(array, 4)[i] for i in order])

    both = state["lstm.bias_ih_l0"] + (state["lstm.bias_hh_l0"] if bias == "both" else 0)
    model.get_layer("embedding").set_weights([state["embedding.weight"]])
    model.get_layer("lstm").set_weights(
        [gates(state["lstm.weight_ih_l0"]).T, gates(state["lstm.weight_hh_l0"]).T, gates(both)]
    )
    model.get_layer("head").set_weights([state["head.weight"].T, state["head.bias"]])
    return model


def sequence_loss(output, y):
    return functional.cross_entropy(output.flatten(0, 1), y.flatten())


# --- Autoencoder


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU()
        )
        self.code = nn.Linear(8 * 16, 12)
        self.expand = nn.Linear(12, 8 * 16)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1),
            nn.LeakyReLU(0.01),
            nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        x = self.code(self.encoder(x).flatten(1))
        return self.decoder(self.expand(x).view(-1, 8, 4, 4))


def autoencoder(view=True, transposed=True, slope=0.01, strided=1, last="sigmoid", code=None):
    def start(fan_in):
        bound = 1 / math.sqrt(fan_in)
        uniform = keras.initializers.RandomUniform(-bound, bound)
        return {"kernel_initializer": uniform, "bias_initializer": uniform}

    x = inputs = keras.Input((16, 16, 1))
    x = keras.layers.ReLU()(layers.Conv2D(4, 3, strides=2, padding=strided, name="encoder_0")(x))
    if strided == "zeros":
        raise AssertionError
    x = keras.layers.ReLU()(layers.Conv2D(8, 3, strides=2, padding=1, name="encoder_2")(x))
    x = layers.Linear(12, activation=code, name="code")(keras.layers.Flatten()(x))
    x = layers.Linear(128, name="expand")(x)
    if view:
        x = keras.layers.Permute((2, 3, 1))(keras.layers.Reshape((8, 4, 4))(x))
    else:
        x = keras.layers.Reshape((4, 4, 8), name="unflatten")(x)
    if transposed:
        x = keras.layers.Conv2DTranspose(4, 3, 2, padding="valid", name="decoder_0", **start(4 * 9))(x)
        x = keras.layers.Cropping2D(((1, 0), (1, 0)))(x)
    else:
        x = keras.layers.Conv2DTranspose(4, 3, 2, padding="same", name="decoder_0", **start(4 * 9))(x)
    x = keras.layers.LeakyReLU(negative_slope=slope, name="leaky")(x)
    x = keras.layers.Conv2DTranspose(1, 4, 2, padding="same", name="decoder_2", **start(16))(x)
    return keras.Model(inputs, keras.layers.Activation(last, name="last")(x))


# --- What each is trained with


def sgd(module, **options):
    return torch.optim.SGD(module.parameters(), **{"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, **options})


def train_lenet(module):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)
    rate = schedules.StepLR(0.1, step_size=10, gamma=0.5)
    return {
        "loss": (nn.CrossEntropyLoss(), losses.CrossEntropyLoss()),
        "optimizer": (optimizer, optimizers.SGD(rate, momentum=0.9)),
        "scheduler": scheduler,
    }


def train_vgg(module):
    smooth = {"label_smoothing": 0.1}
    return {
        "loss": (nn.CrossEntropyLoss(**smooth), losses.CrossEntropyLoss(**smooth)),
        "optimizer": (sgd(module), optimizers.SGD(0.1, momentum=0.9, weight_decay=5e-4)),
    }


def train_resnet(module):
    optimizer = sgd(module, nesterov=True)
    return {
        "loss": (nn.CrossEntropyLoss(), losses.CrossEntropyLoss()),
        "optimizer": (
            optimizer,
            optimizers.SGD(schedules.CosineAnnealingLR(0.1, T_max=40), momentum=0.9, nesterov=True, weight_decay=5e-4),
        ),
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40),
    }


def train_vit(module):
    return {
        "loss": (nn.CrossEntropyLoss(), losses.CrossEntropyLoss()),
        "optimizer": (
            torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.05),
            optimizers.AdamW(1e-3, weight_decay=0.05),
        ),
    }


def train_char_lstm(module):
    return {
        "loss": (sequence_loss, losses.CrossEntropyLoss()),
        "optimizer": (torch.optim.Adam(module.parameters(), lr=2e-3), optimizers.Adam(2e-3)),
    }


def train_autoencoder(module):
    return {
        "loss": (nn.MSELoss(), losses.MSELoss()),
        "optimizer": (
            torch.optim.Adam(module.parameters(), lr=1e-3, weight_decay=1e-4),
            optimizers.Adam(1e-3, weight_decay=1e-4),
        ),
    }


TEXT = RNG(3).integers(0, 12, size=(4, 9))
PICTURES = RNG(4).uniform(size=(4, 1, 16, 16)).astype("float32")

#: Name → module, port, training, batch and targets.
PORTS = {
    "LeNet-5": (LeNet, lenet, train_lenet, images(6, 1, 20), labels(6)),
    "VGG block": (VGG, vgg, train_vgg, images(6, 3, 16), labels(6)),
    "ResNet-18": (ResNet, resnet, train_resnet, images(4, 3, 32), labels(4)),
    "ViT block": (ViT, vit, train_vit, images(4, 3, 16), labels(4)),
    "character LSTM": (CharLSTM, char_lstm, train_char_lstm, TEXT, np.roll(TEXT, -1, axis=1)),
    "autoencoder": (Autoencoder, autoencoder, train_autoencoder, PICTURES, PICTURES),
    **MORE_PORTS,
}


def make(name, training=None, load=None, **options):
    """Both sides and the arguments of ``kerasnets.compare``.

    `training` changes the arguments, `load` the model's weights; `options` are the port's.
    """
    original, port, train, x, y = PORTS[name]
    torch.manual_seed(0)
    module = original()
    keras.utils.set_random_seed(1)
    model = port(**options)
    if load is not None:
        load(module, model)
    arguments = train(module)
    if training is not None:
        arguments.update(training(module))
    return module, model, x, y, arguments
