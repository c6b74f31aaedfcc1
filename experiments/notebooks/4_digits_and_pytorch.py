# %% en
# # 4. Digits, and coming from PyTorch
#
# The first half goes with *Building neural networks with PyTorch* (通过 PyTorch 构建神经网络), a tutorial after Udacity's
# course notebook: a network from nothing but matrices, the same with layers, weights set by hand, one image before and
# after training. The second half puts PyTorch beside it, with the same weights, and asks whether anything is different.
# %% zh
# # 4. 数字识别，以及从 PyTorch 迁移
#
# 前半部分与《通过 PyTorch 构建神经网络》对应，那是一篇改编自 Udacity 课程 notebook 的教程：只用矩阵写的网络、用层写的同一个网络、手动设置权重、同一张图像在训练前后的结果。后半部分把 PyTorch 放在旁边，用相同的权重，看看有没有什么不同。

# %% en
# ## The backend
#
# PyTorch is the default. To use JAX or TensorFlow, remove the `#` below, or start Jupyter with the environment variable
# `KERAS_BACKEND`. Do it before anything else: Keras chooses its backend when it is imported, so a later change needs a
# restart of the kernel.
#
# One thing is special here: this notebook uses PyTorch next to your backend. If that backend is TensorFlow, PyTorch has
# to be imported first, or the two can abort the process. So torchvision comes before everything else.
# %% zh
# ## 后端
#
# 默认后端是 PyTorch。要用 JAX 或 TensorFlow，请去掉下面的 `#`，或者在启动 Jupyter 时设置环境变量 `KERAS_BACKEND`。这一步要放在最前面：Keras 在导入时选定后端，之后再改就得重启内核。
#
# 这里有一点特殊：本笔记本在你的后端之外还会用到 PyTorch。如果后端是 TensorFlow，必须先导入 PyTorch，否则两者可能使进程崩溃。所以 torchvision 排在最前面。

# %%
import torchvision  # noqa: F401  # isort: skip
import kerasnets

# kerasnets.set_backend("jax")  # or "tensorflow"
print("Backend:", kerasnets.backend.backend())

# %%
import copy

import keras
import numpy as np
import torch
from keras import ops

from kerasnets import data, layers, losses, optimizers, originals, plots
from kerasnets.verify import parity

keras.utils.set_random_seed(0)
np.set_printoptions(precision=4, suppress=True, threshold=100)  # as PyTorch prints
numbers = ops.convert_to_numpy

# %% en
# ## The pictures
#
# The tutorial reads handwritten digits. They don't come with kerasnets, so the sample of clothes stands in: it has the
# same size and ten classes, too. If you have MNIST or a network connection, write `"mnist"` here, and everything below
# is about real digits.
# %% zh
# ## 图像
#
# 教程读取的是手写数字。kerasnets 不自带手写数字，所以用衣物样本代替：大小相同，也是十个类别。如果你有 MNIST 或者能联网，请在这里写 `"mnist"`，下面的一切就都是真正的数字了。

# %%
DATASET = "fashion_mnist_sample"  # "mnist": real digits

(x, y), (x_test, y_test) = kerasnets.load_data(DATASET)
names = data.class_names(DATASET, "zh")
images, labels = x[:64], y[:64]
print(images.shape, labels.shape)
plots.show_images(images, labels, class_names=names, title=DATASET, lang="zh")

# %% en
# ## A network from raw matrices
#
# 784 pixels, 256 hidden units with a sigmoid, 10 outputs. All of it is two matrix products with random weights.
# `keras.ops` is to Keras what `torch` is to PyTorch: the same lines run on every backend.
# %% zh
# ## 只用矩阵的网络
#
# 784 个像素，256 个带 sigmoid 的隐藏单元，10 个输出。整个网络就是两次与随机权重的矩阵乘法。`keras.ops` 之于 Keras，就像 `torch` 之于 PyTorch：同样的几行代码可以在每个后端上运行。


# %%
def activation(tensor):
    """The sigmoid."""
    return 1 / (1 + ops.exp(-tensor))


def softmax(tensor):
    """Divide each row by its own sum."""
    return ops.exp(tensor) / ops.reshape(ops.sum(ops.exp(tensor), axis=1), (-1, 1))


inputs = ops.reshape(ops.convert_to_tensor(images), (64, -1))
w1, b1 = keras.random.normal((784, 256)), keras.random.normal((256,))
w2, b2 = keras.random.normal((256, 10)), keras.random.normal((10,))

hidden = activation(ops.matmul(inputs, w1) + b1)
outputs = ops.matmul(hidden, w2) + b2
probabilities = softmax(outputs)
print("inputs", inputs.shape, "outputs", outputs.shape)
print("Sums of the probabilities:", numbers(ops.sum(probabilities, axis=1)))

# %% en
# ## The mistake the tutorial warns of
#
# The sums have the shape (64,), the outputs (64, 10). To divide each row by its own sum, the sums must have the shape
# (64, 1). If you forget that, you get an error, if you are lucky. With ten images and ten classes you are not: the
# shapes fit, each *column* is divided by some image's sum, and nothing complains. Only the sums tell.
# %% zh
# ## 教程提醒的错误
#
# 总和的形状是 (64,)，输出的形状是 (64, 10)。要用每一行自己的总和去除这一行，总和的形状必须是 (64, 1)。如果忘了这一点，运气好的话会得到一个错误。但若恰好是十张图像、十个类别，运气就不好了：形状对得上，每一*列*都除以了某张图像的总和，而且没有任何提示。只有检查总和才会发现。


# %%
def wrong_softmax(tensor):
    """Without the reshape."""
    return ops.exp(tensor) / ops.sum(ops.exp(tensor), axis=1)


try:
    wrong_softmax(outputs)
except Exception as error:  # each backend raises its own
    print("64 images:", type(error).__name__)
print("10 images, no error, but sums of", numbers(ops.sum(wrong_softmax(outputs[:10]), axis=1)))

# %% en
# ## The same with layers
#
# `Network` is the network above with layers instead of matrices. `Network2` has two hidden layers with ReLU. The
# tutorial writes it as a class, as a `Sequential` by position, and as one by name; `form=` selects between them.
# %% zh
# ## 用层来写
#
# `Network` 就是上面的网络，只是用层代替了矩阵。`Network2` 有两个带 ReLU 的隐藏层。教程把它写成类、按位置的 `Sequential` 和按名称的 `Sequential`；`form=` 可以在三者之间选择。

# %%
kerasnets.build("Network").summary()

# %%
model = kerasnets.build("Network2", form="named")
model.summary()
print("By position and by name it is the same layer:", model.layers[1] is model.get_layer("fc1"))

# %% en
# ## Weights by hand
#
# A layer's weights are variables. You can read them, and `assign` new values: zeros for the bias, and normal values
# with a standard deviation of 0.01 for the kernel, as in the tutorial.
# %% zh
# ## 手动设置权重
#
# 层的权重是变量，可以读取，也可以用 `assign` 赋新值：和教程一样，偏置设为零，kernel 设为标准差 0.01 的正态分布随机数。

# %%
fc1 = model.get_layer("fc1")
print(
    f"Before: kernel {fc1.kernel.shape}, from {numbers(ops.min(fc1.kernel)):.4f} to {numbers(ops.max(fc1.kernel)):.4f}"
)
fc1.bias.assign(ops.zeros(fc1.bias.shape))
fc1.kernel.assign(keras.random.normal(fc1.kernel.shape, stddev=0.01))
print(f"After: standard deviation {numbers(ops.std(fc1.kernel)):.4f}, bias {numbers(fc1.bias)[:5]} …")

# %% en
# ## Before training
#
# One test image and the probabilities the untrained network gives it: about a tenth each. It has no idea.
# %% zh
# ## 训练之前
#
# 一张测试图像，以及未经训练的网络给出的概率：每个类别大约十分之一。它毫无头绪。

# %%
options = {"label": y_test[0], "class_names": names, "title": f"Network2, {DATASET}"}
plots.view_classify(x_test[0], model(x_test[:1]), lang="zh", **options)

# %% en
# ## After training
#
# The network ends in softmax, so the loss gets probabilities and has to be told so. In the picture the true class is
# bold and the network's choice is filled: training on more images makes the choice right more often.
# %% zh
# ## 训练之后
#
# 网络以 softmax 结尾，所以损失函数得到的是概率，要明确告诉它这一点。图中粗体是真实类别，填色的条是网络的选择：训练图像越多，选对的时候就越多。

# %%
model.compile(
    optimizer=optimizers.SGD(0.01, momentum=0.9),
    loss=losses.NLLLoss(from_probabilities=True),
    metrics=["accuracy"],
)
history = model.fit(x, y, batch_size=64, epochs=10, validation_data=(x_test, y_test), verbose=2)
plots.view_classify(x_test[0], model(x_test[:1]), lang="zh", **options)

# %%
plots.learning_curves(history, title=f"Network2, {DATASET}", lang="zh")

# %% en
# Each hidden unit weighs the 784 pixels, so its weights are an image, too. Here are sixteen of them; in some you can
# make out what the unit looks for.
# %% zh
# 每个隐藏单元都对 784 个像素加权，所以它的权重也是一张图像。下面是其中十六个；有几个能看出它在寻找什么。

# %%
plots.weights(model, "fc1", n=16, title=f"Network2, {DATASET}", lang="zh")

# %% en
# # Coming from PyTorch
#
# You may have a network trained in PyTorch, or you trust PyTorch's numbers and would like to keep them.
# `kerasnets.originals` has the tutorials' networks as plain `torch.nn.Module`s. Here is one, with PyTorch's own initial
# weights. Nothing below compares with numbers written down somewhere; the original runs beside yours.
# %% zh
# # 从 PyTorch 迁移
#
# 也许你有一个用 PyTorch 训练好的网络，或者你信任 PyTorch 的数值，想保持不变。`kerasnets.originals` 里有各教程的网络，都是普通的 `torch.nn.Module`。这里取一个，用 PyTorch 自己的初始权重。下面没有任何一处是与事先写好的数字比较；原网络就在旁边一起运行。

# %%
torch.manual_seed(0)
original = originals.build("Network2")
start = copy.deepcopy(original.state_dict())
print(original)

# %% en
# ## Weights in
#
# `load_state_dict` takes PyTorch's names, shapes and orders from a dict, or from a `.pt` or `.safetensors` file. It is
# strict, as in PyTorch: a missing or unexpected name is an error.
# %% zh
# ## 载入权重
#
# `load_state_dict` 接收 PyTorch 的名称、形状和顺序，可以来自字典，也可以来自 `.pt` 或 `.safetensors` 文件。和 PyTorch 一样，它是严格的：名称缺少或多余都会报错。

# %%
ported = kerasnets.build("Network2")
kerasnets.load_state_dict(ported, start)

expected = original(torch.from_numpy(x_test)).detach().numpy()
difference = parity.relative_difference(numbers(ported(x_test)), expected)
print(f"{len(x_test)} test images; largest difference of the probabilities, over the largest one: {difference:.1e}")

# %% en
# ## The same training
#
# Same weights, same batches, same loss, same optimizer. PyTorch runs the loop you know; we run `fit` without shuffling,
# so that both see the images in the same order. After three epochs, 282 steps, are they still together?
# %% zh
# ## 同样的训练
#
# 权重相同，批次相同，损失函数相同，优化器相同。PyTorch 运行你熟悉的循环；我们运行不打乱顺序的 `fit`，使两者看到图像的顺序相同。三个 epoch、282 步之后，它们还一致吗？

# %%
EPOCHS = 3


def train_original(module):
    """PyTorch's loop; returns the mean loss of each epoch."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    criterion = torch.nn.NLLLoss()
    epochs = []
    for _ in range(EPOCHS):
        running = 0.0
        for i in range(0, len(x), 64):
            batch, target = torch.from_numpy(x[i : i + 64]), torch.from_numpy(y[i : i + 64]).long()
            optimizer.zero_grad()
            loss = criterion(torch.log(module(batch)), target)
            loss.backward()
            optimizer.step()
            running += loss.item() * len(batch)
        epochs.append(running / len(x))
    return epochs


in_pytorch = train_original(original)

ported.compile(optimizer=optimizers.SGD(0.01, momentum=0.9), loss=losses.NLLLoss(from_probabilities=True))
here = ported.fit(x, y, batch_size=64, epochs=EPOCHS, shuffle=False, verbose=0).history["loss"]
for epoch, (theirs, ours) in enumerate(zip(in_pytorch, here, strict=True), start=1):
    print(f"Epoch {epoch}: PyTorch {theirs:.6f}, kerasnets on {kerasnets.backend.backend()} {ours:.6f}")

# %% en
# The losses agree in every digit you would care about. The last digits may differ, and are allowed to: computers round,
# the order of sums differs, and training makes small differences grow. How much of that is normal? Ask PyTorch: train
# it once more, from weights that are each moved by a single rounding. The result shows how far PyTorch is from
# *itself*.
# %% zh
# 凡是有意义的位数，两边的损失都一致。最后几位可以不同：计算机会舍入，求和的顺序不一样，训练又会放大微小的差异。多大的差异算正常？问问 PyTorch：再训练一次，初始权重各移动一个舍入单位。结果显示 PyTorch 与它*自己*相差多少。

# %%
nudged = originals.build("Network2")
nudged.load_state_dict({name: torch.nextafter(value, torch.tensor(np.inf)) for name, value in start.items()})
train_original(nudged)

print("Largest difference after training, over the largest value")
print(f"{'':12} kerasnets – PyTorch   PyTorch – PyTorch")
from_keras = kerasnets.state_dict(ported)
for name, value in original.state_dict().items():
    ours = parity.relative_difference(from_keras[name], value.numpy())
    noise = parity.relative_difference(nudged.state_dict()[name].numpy(), value.numpy())
    print(f"{name:12} {ours:19.1e}   {noise:17.1e}")

# %% en
# ## Weights back
#
# What you trained here goes back into the original, with `strict=True`. (`kerasnets.save_state_dict(ported,
# "weights.pt")` writes a file for `torch.load`.) The original then predicts the same classes as the Keras model.
# %% zh
# ## 取回权重
#
# 在这里训练好的权重可以放回原网络，用 `strict=True`。（`kerasnets.save_state_dict(ported, "weights.pt")` 会写出 `torch.load` 能读的文件。）之后原网络预测的类别与 Keras 模型相同。

# %%
print(original.load_state_dict({name: torch.tensor(value) for name, value in from_keras.items()}, strict=True))
theirs = original(torch.from_numpy(x_test)).detach().numpy().argmax(axis=1)
ours = ported.predict(x_test, verbose=0).argmax(axis=1)
print(f"The same class for {np.sum(theirs == ours)} of {len(ours)} test images")

# %% en
# ## What stock Keras would do
#
# Keras has layers and optimizers of the same names, but with rules of its own. The simplest example is a new layer.
# PyTorch draws kernel and bias from U(±1/√784) = ±0.0357. Stock Keras draws the kernel from another range and starts
# with a bias of zeros, so its training takes another course from the first step.
# %% zh
# ## 换成原版 Keras 会怎样
#
# Keras 有同名的层和优化器，但规则是它自己的。最简单的例子是一个新建的层。PyTorch 从 U(±1/√784) = ±0.0357 中抽取 kernel 和偏置。原版 Keras 从另一个范围抽取 kernel，偏置则从零开始，所以训练从第一步起就走上了另一条路。

# %%
fresh = {
    "torch.nn.Linear": [p.detach().numpy() for p in torch.nn.Linear(784, 128).parameters()],
    "kerasnets.layers.Linear": layers.Linear(128),
    "keras.layers.Dense": keras.layers.Dense(128),
}
for name, layer in fresh.items():
    if not isinstance(layer, list):
        layer.build((None, 784))
        layer = layer.get_weights()
    kernel, bias = layer
    print(f"{name:24} kernel up to {np.abs(kernel).max():.4f}, bias up to {np.abs(bias).max():.4f}")

# %% en
# ## Go on
#
# - The README's section "Coming from PyTorch" lists every such difference in a table, and each row has a test. It also
#   shows how to continue a training from a PyTorch checkpoint, with the optimizer's state.
# - `python experiments/parity.py --network Network2` makes this notebook's comparison thoroughly: gradients, weights
#   and buffers, in single and double precision.
# - Run this notebook on another backend. The table above should look much the same.
# %% zh
# ## 接下来
#
# - 中文 README 的“从 PyTorch 迁移”一节用表格列出了每一处这样的区别，每一行都有测试。那里还说明了怎样带着优化器的状态，从 PyTorch 的检查点继续训练。
# - `python experiments/parity.py --network Network2` 把这里的比较做得更彻底：梯度、权重和缓冲区，单精度和双精度。
# - 换一个后端运行本笔记本。上面的表格应该差不多。
