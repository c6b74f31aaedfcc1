# %% en
# # 5. A port with three mistakes
#
# You have a network in PyTorch and write it again in Keras. It runs, it trains, and it isn't the same. This notebook
# ports a small ResNet with three mistakes that are easily made, and lets `kerasnets.compare` find them one after the
# other. The page "Port your PyTorch model" in the documentation goes through a port from beginning to end.
# %% zh
# # 5. 有三处错误的移植
#
# 你有一个 PyTorch 网络，用 Keras 重写了一遍。它能运行，能训练，却与原来的不一样。本笔记本移植一个小型 ResNet，其中有三处常犯的错误，由 `kerasnets.compare` 一处一处地找出来。文档中的“移植你的 PyTorch 模型”一页从头到尾讲解一次移植。

# %%
import torchvision  # noqa: F401  # isort: skip
import kerasnets

# kerasnets.set_backend("jax")  # or "tensorflow"
print("Backend:", kerasnets.backend.backend())

# %%
import keras
import torch
from torch import nn

from kerasnets import data, layers, losses, optimizers, plots

keras.utils.set_random_seed(0)
torch.manual_seed(0)

(x, y), (x_test, y_test) = kerasnets.load_data("fashion_mnist_sample")
names = data.class_names("fashion_mnist_sample", "zh")
plots.show_images(x[:64], y[:64], class_names=names, title="fashion_mnist_sample", lang="zh")

# %% en
# ## The original
#
# Two residual blocks, each of which halves height and width, and a linear layer.
# %% zh
# ## 原模型
#
# 两个残差块，每块都把高和宽减半，最后是一个线性层。


# %%
class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inside, outside):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Conv2d(inside, outside, 1, stride=2, bias=False)

    def forward(self, x):
        """Return the feature maps."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """Two blocks and a linear layer."""

    def __init__(self):
        super().__init__()
        self.block1 = Block(1, 8)
        self.block2 = Block(8, 16)
        self.fc = nn.Linear(16 * 7 * 7, 10)

    def forward(self, x):
        """Return the logits."""
        return self.fc(torch.flatten(self.block2(self.block1(x)), 1))


original = SmallResNet()
print(sum(p.numel() for p in original.parameters()), "parameters")

# %% en
# ## The port
#
# Three things can be chosen, so that each mistake can be mended on its own: the padding of the strided convolutions,
# the class of the batch norms, and whether the shortcut has a bias. The first port takes what stock Keras offers.
# %% zh
# ## 移植
#
# 有三处可以选择，以便逐一改正：步幅为 2 的卷积的 padding、批归一化的类，以及捷径连接有没有偏置。第一版用的是原版 Keras 提供的写法。


# %%
def block(x, filters, name, padding, norm, bias):
    """Two convolutions and a shortcut."""
    y = layers.Conv2D(filters, 3, strides=2, padding=padding, use_bias=False, name=f"{name}_conv1")(x)
    y = keras.layers.ReLU()(norm(name=f"{name}_bn1")(y))
    y = layers.Conv2D(filters, 3, padding=1, use_bias=False, name=f"{name}_conv2")(y)
    y = norm(name=f"{name}_bn2")(y)
    shortcut = layers.Conv2D(filters, 1, strides=2, use_bias=bias, name=f"{name}_shortcut")(x)
    return keras.layers.ReLU()(keras.layers.Add()([y, shortcut]))


def port(padding="same", norm=keras.layers.BatchNormalization, bias=True):
    """Return the network, with all three mistakes by default."""
    inputs = keras.Input((28, 28, 1))
    x = block(inputs, 8, "block1", padding, norm, bias)
    x = block(x, 16, "block2", padding, norm, bias)
    return keras.Model(inputs, layers.Linear(10, name="fc")(layers.Flatten()(x)))


def compare(model):
    """Compare with the original on eight images, and print what is found first."""
    report = kerasnets.compare(
        original,
        model,
        x[:8, :, :, None],
        y[:8],
        loss=(nn.CrossEntropyLoss(), losses.CrossEntropyLoss()),
        optimizer=(torch.optim.SGD(original.parameters(), lr=0.05), optimizers.SGD(0.05)),
    )
    print(len(report.findings), "findings.", "The first:" if report.findings else "")
    if report.first:
        print(report.first)
    return report


# %% en
# ## The first comparison
#
# `compare` moves PyTorch's weights into a copy of the port, matches the layers, and runs both sides in float64 and
# float32. The first finding is where to begin: a difference early in the network may explain later ones.
# %% zh
# ## 第一次比较
#
# `compare` 把 PyTorch 的权重放进移植模型的一个副本，为各层配对，再用 float64 和 float32 运行两边。从第一条结果开始看：网络前部的差异可能解释后面的差异。

# %%
report = compare(port())

# %% en
# The picture shows the difference layer by layer, on a logarithmic axis. The shaded area is PyTorch's own noise: how far
# PyTorch is from itself. Every layer is above it, from the first on.
# %% zh
# 下图逐层显示差异，纵轴是对数坐标。阴影部分是 PyTorch 自身的噪声，即 PyTorch 与它自己相差多少。从第一层起，每一层都在阴影之上。

# %%
report.plot()

# %% en
# ## Mistake 1: padding="same"
#
# Keras's `"same"` pads a 28 × 28 image of a convolution with stride 2 by one row at the bottom and one column at the
# right. PyTorch's `padding=1` pads every side: the shapes are the same, and every pixel is taken from elsewhere.
# `layers.Conv2D` takes the number.
# %% zh
# ## 错误一：padding="same"
#
# 卷积的步幅为 2 时，Keras 的 `"same"` 只在 28 × 28 图像的底部补一行、右侧补一列。PyTorch 的 `padding=1` 在每一侧都补：形状相同，取到的像素却处处不同。`layers.Conv2D` 接受数字形式的 padding。

# %%
report = compare(port(padding=1))

# %% en
# ## Mistake 2: the batch norm of the same name
#
# Keras's batch norm has another epsilon, which changes the outputs a little, and another momentum, which shows only in
# the running values after a step of training. Both are named; the class with PyTorch's rules mends both.
# %% zh
# ## 错误二：同名的批归一化
#
# Keras 的批归一化的 epsilon 不同，会使输出略有变化；动量也不同，这只有在训练一步之后的移动平均值中才看得出来。两者都会指出，换成遵循 PyTorch 规则的类就都改正了。

# %%
for finding in report.findings:
    if finding.where == "block1_bn1":
        print(f"[{finding.check}] {finding}")

# %%
report = compare(port(padding=1, norm=layers.BatchNormalization))

# %% en
# ## Mistake 3: a bias that the original lacks
#
# The shortcut has a bias, PyTorch's has none. With the original's weights it does no harm at first, but it would be
# trained. And then nothing is left.
# %% zh
# ## 错误三：多出来的偏置
#
# 捷径连接有偏置，PyTorch 的没有。载入原模型的权重时它起初无害，但它会参与训练。改正之后，就没有差异了。

# %%
report = compare(port(padding=1, norm=layers.BatchNormalization, bias=False))
report.plot()

# %% en
# All that is left is rounding. To keep it that way, `kerasnets.assert_same` makes the same comparison in a test.
#
# ## Train it
#
# The mended port has the same weights as the original and trains on any backend.
# %% zh
# 剩下的只是舍入。要一直保持这样，可以在测试中用 `kerasnets.assert_same` 做同样的比较。
#
# ## 训练
#
# 改正后的模型与原模型权重相同，可以在任何后端上训练。

# %%
model = port(padding=1, norm=layers.BatchNormalization, bias=False)
state = {
    name.replace("block1.", "block1_").replace("block2.", "block2_"): w for name, w in original.state_dict().items()
}
kerasnets.load_state_dict(model, state)
model.compile(optimizers.SGD(0.05, momentum=0.9), losses.CrossEntropyLoss(), metrics=["accuracy"])
kerasnets.accelerate(model)
history = model.fit(x[..., None], y, batch_size=64, epochs=5, validation_data=(x_test[..., None], y_test), verbose=2)

# %%
plots.learning_curves(history, title="SmallResNet, fashion_mnist_sample", lang="zh")

# %% en
# ## Go on
#
# - Put another mistake in: the optimizer's weight decay, the loss on probabilities, a scheduler that is one step late.
# - `python -m kerasnets compare path/to/port.py` does it for a file with both sides.
# %% zh
# ## 接下来
#
# - 再放进一个错误：优化器的权重衰减、以概率为输入的损失函数、晚了一步的学习率调度。
# - `python -m kerasnets compare path/to/port.py` 可以比较一个文件中定义的两边。
