# %% en
# # 1. A first network
#
# This notebook goes with two tutorials: [Build the Neural
# Network](https://pytorch.org/tutorials/beginner/basics/buildmodel_tutorial.html) and [Neural
# Network](https://pytorch-tutorial.readthedocs.io/en/latest/tutorial/chapter02_basics/2_1_3_pytorch-basics-nerual-network/).
# There you build two networks in PyTorch, push a random image through them, and look at what happens at each layer.
# Here you do the same in Keras, with the same names, the same sizes and the same kind of initial weights. At the end
# both networks learn something.
#
# Read a section of the tutorial, then run the cells here. Nothing has to be downloaded: 7,000 small pictures of clothes
# come with kerasnets.
# %% zh
# # 1. 第一个网络
#
# 本笔记本与两篇教程对应：[Build the Neural Network](https://pytorch.org/tutorials/beginner/basics/buildmodel_tutorial.html) 和 [Neural Network](https://pytorch-tutorial.readthedocs.io/en/latest/tutorial/chapter02_basics/2_1_3_pytorch-basics-nerual-network/)（中文《PyTorch Tutorial》第 2.1.3 节）。教程用 PyTorch 搭建两个网络，把一张随机图像送进去，观察每一层发生了什么。这里用 Keras 做同样的事：层的名称、大小和初始权重的取法都相同。最后，两个网络都会学到一点东西。
#
# 先读教程的一节，再运行这里的单元格。不需要下载任何东西：kerasnets 自带 7,000 张衣物小图。

# %% en
# ## The backend
#
# PyTorch is the default. To use JAX or TensorFlow, remove the `#` below, or start Jupyter with the environment variable
# `KERAS_BACKEND`. Do it before anything else: Keras chooses its backend when it is imported, so a later change needs a
# restart of the kernel.
# %% zh
# ## 后端
#
# 默认后端是 PyTorch。要用 JAX 或 TensorFlow，请去掉下面的 `#`，或者在启动 Jupyter 时设置环境变量 `KERAS_BACKEND`。这一步要放在最前面：Keras 在导入时选定后端，之后再改就得重启内核。

# %%
import kerasnets

# kerasnets.set_backend("jax")  # or "tensorflow"
print("Backend:", kerasnets.backend.backend())

# %%
import keras
import numpy as np
from keras import ops

from kerasnets import data, layers, losses, models, optimizers, plots

keras.utils.set_random_seed(0)
np.set_printoptions(precision=4, suppress=True, threshold=100)  # as PyTorch prints
numbers = ops.convert_to_numpy
print("Computing on:", kerasnets.backend.device())

# %% en
# ## The pictures
#
# Fashion-MNIST has pictures of 28 × 28 grey pixels in ten classes. The pixels lie between −1 and 1, as PyTorch's
# `ToTensor` and `Normalize((0.5,), (0.5,))` would give them. The labels are the numbers 0 to 9.
# %% zh
# ## 图像
#
# Fashion-MNIST 是 28 × 28 像素的灰度图，共十个类别。像素值在 −1 和 1 之间，与 PyTorch 的 `ToTensor` 加 `Normalize((0.5,), (0.5,))` 得到的相同。标签是 0 到 9 的整数。

# %%
DATASET = "fashion_mnist_sample"
(x, y), (x_test, y_test) = kerasnets.load_data(DATASET)
names = data.class_names(DATASET, "zh")
print(x.shape, x.dtype, y.shape, f"pixels from {x.min()} to {x.max()}")
plots.show_images(x, y, class_names=names, title=DATASET, lang="zh")

# %% en
# ## NeuralNetwork
#
# In the tutorial this is a class with `__init__` and `forward`. A Keras model derives both from how its layers are
# connected, so one line builds it. The layers have the tutorial's names.
# %% zh
# ## NeuralNetwork
#
# 在教程里，它是一个带有 `__init__` 和 `forward` 的类。Keras 模型从各层的连接方式就能得到这两者，所以一行代码就能建好。各层沿用教程里的名称。

# %%
model = kerasnets.build("NeuralNetwork")
model.summary()

# %%
plots.architecture(model, lang="zh")

# %% en
# ## One image
#
# Call the model with an image, and it returns ten *logits*, one per class. They can be any numbers. Softmax turns them
# into probabilities, which are positive and sum to 1. The class with the largest probability is the prediction.
#
# A single image is a batch of one, which is the 1 in `(1, 28, 28)`. Keras tensors have no `.numpy()` that works on
# every backend, so we use `ops.convert_to_numpy`, here called `numbers`.
# %% zh
# ## 一张图像
#
# 用一张图像调用模型，它返回十个 *logits*，每个类别一个，可以是任意实数。softmax 把它们变成概率：全为正数，和为 1。概率最大的类别就是预测结果。
#
# 单张图像就是大小为 1 的批次，即 `(1, 28, 28)` 中的 1。Keras 张量没有在每个后端上都能用的 `.numpy()`，所以这里使用 `ops.convert_to_numpy`，并给它起名 `numbers`。

# %%
image = keras.random.uniform((1, 28, 28))
logits = model(image)
probabilities = ops.softmax(logits)
print("Logits:", numbers(logits))
print("Probabilities:", numbers(probabilities))
print("Predicted class:", numbers(ops.argmax(probabilities, axis=1)))

# %% en
# Now a real picture. The network has never seen one, so all classes get about the same probability. Remember this
# picture; you will see it again.
# %% zh
# 再看一张真实的图像。网络还从未见过图像，所以各个类别的概率差不多。记住这张图，后面还会见到它。

# %%
options = {"label": y_test[0], "class_names": names, "title": f"NeuralNetwork, {DATASET}"}
plots.view_classify(x_test[0], ops.softmax(model(x_test[:1])), lang="zh", **options)

# %% en
# ## Layer by layer
#
# As in the tutorial, follow three images through the layers. `Flatten` makes a vector of each image and keeps the
# images apart: the first axis, the batch, stays.
# %% zh
# ## 逐层来看
#
# 像教程那样，让三张图像依次通过各层。`Flatten` 把每张图像变成一个向量，但不会把几张图像混在一起：第一个轴，也就是批次轴，保持不变。

# %%
images = keras.random.uniform((3, 28, 28))
flatten = layers.Flatten()
flat = flatten(images)
print("Images:", images.shape, "flattened:", flat.shape)

# %% en
# `Linear(20)` multiplies each vector by a matrix and adds a bias. It needs no `in_features`: the layer learns the size
# of its input when it is first called. The kernel is stored as (784, 20), the transpose of PyTorch's `weight`.
# %% zh
# `Linear(20)` 用一个矩阵乘每个向量，再加上偏置。它不需要 `in_features`：第一次被调用时，层会知道输入有多大。kernel 的形状是 (784, 20)，是 PyTorch 的 `weight` 的转置。

# %%
linear = layers.Linear(20)
hidden = linear(flat)
print("Linear:", hidden.shape, "kernel:", linear.kernel.shape, "bias:", linear.bias.shape)

# %% en
# ReLU replaces negative numbers by 0 and leaves the others alone. Without a nonlinearity between them, two linear
# layers would be no more than one.
# %% zh
# ReLU 把负数变成 0，其他数不变。如果中间没有非线性函数，两个线性层加起来也只相当于一个线性层。

# %%
print("Before ReLU:", numbers(hidden)[0])
print("After ReLU: ", numbers(ops.relu(hidden))[0])

# %% en
# A `Sequential` calls its layers one after the other. The probabilities of each of the three images sum to 1.
# %% zh
# `Sequential` 依次调用其中的各层。三张图像各自的概率之和都是 1。

# %%
sequential = models.Sequential([flatten, linear, keras.layers.ReLU(), layers.Linear(10)])
logits = sequential(images)
sums = ops.sum(ops.softmax(logits), axis=1)
print("Logits:", logits.shape, "sums of the probabilities:", numbers(sums))

# %% en
# ## Parameters
#
# `kerasnets.state_dict` returns the weights as PyTorch's `named_parameters()` does: with its names, its sizes and its
# order of axes.
# %% zh
# ## 参数
#
# `kerasnets.state_dict` 像 PyTorch 的 `named_parameters()` 那样返回权重：名称、形状和轴的顺序都与 PyTorch 一致。

# %%
for name, values in kerasnets.state_dict(model).items():
    print(f"Layer: {name} | Size: {values.shape} | First values: {values.reshape(-1)[:3]}")
print(f"{model.count_params():,} parameters in all")

# %% en
# ## Net, a network with a convolution
#
# The network of the second tutorial takes images of 32 × 32. Watch the shapes: a 3 × 3 convolution loses a pixel on
# each side, so 32 becomes 30, pooling halves that to 15, and 15 · 15 · 6 is the mysterious 1350.
#
# The tutorial's order is (batch, channels, height, width). Keras usually puts the channels last; `data_format` selects
# the tutorial's order.
# %% zh
# ## Net：带卷积的网络
#
# 第二篇教程的网络接收 32 × 32 的图像。请注意形状的变化：3 × 3 卷积使每一边各少一个像素，32 变成 30，池化再减半为 15，而 15 · 15 · 6 正是那个神秘的 1350。
#
# 教程中轴的顺序是（批次、通道、高、宽）。Keras 通常把通道放在最后；`data_format` 可以选择教程的顺序。

# %%
net = kerasnets.build("Net", data_format="channels_first")
image = keras.random.normal((1, 32, 32))
tensor = image
print(f"{'image':10}", tuple(tensor.shape))
for layer in net.layers[1:]:  # the first one is the input
    tensor = layer(tensor)
    print(f"{layer.name:10}", tuple(tensor.shape))

# %% en
# A network takes batches only, here as in PyTorch. A single image without the batch axis is an error, which says what
# was expected.
# %% zh
# 和 PyTorch 一样，网络只接收批次。没有批次轴的单张图像会引发错误，错误信息会说明应当是什么形状。

# %%
single = numbers(image)[0]
try:
    net.predict(single, verbose=0)
except ValueError as error:
    print(single.shape, "does not work:", error)
print(single[None].shape, "works:", tuple(net(single[None]).shape))

# %% en
# ## A loss, its gradients, one step
#
# The tutorial compares the ten outputs with the numbers 0 to 9, using the mean squared error. `loss.backward()` is how
# PyTorch computes gradients; JAX and TensorFlow have their own ways. `value_and_gradients` uses that of the active
# backend.
#
# Then every weight moves a little against its gradient: weight = weight − learning rate · gradient. The loss should
# fall. (We use a smaller learning rate than the tutorial's 0.01, with which the step can jump over the minimum and up
# the other side.)
# %% zh
# ## 损失、梯度和一步更新
#
# 教程用均方误差比较十个输出与数字 0 到 9。PyTorch 用 `loss.backward()` 求梯度，JAX 和 TensorFlow 各有自己的办法；`value_and_gradients` 会使用当前后端的办法。
#
# 然后每个权重沿梯度的反方向移动一小步：权重 = 权重 − 学习率 · 梯度。损失应当下降。（这里的学习率比教程的 0.01 小：用 0.01 时，这一步可能越过最低点，落到对面更高的地方。）

# %%
target = ops.reshape(ops.arange(10, dtype="float32"), (1, 10))
criterion = losses.MSELoss()
loss, gradients = kerasnets.backend.value_and_gradients(net, lambda outputs: criterion(target, outputs), image)
for variable, gradient in zip(net.trainable_variables, gradients, strict=True):
    print(f"gradient of {variable.path}: {tuple(gradient.shape)}")
print(f"Loss before: {numbers(loss):.4f}")

optimizers.SGD(0.001).apply(gradients, net.trainable_variables)
print(f"Loss after: {numbers(criterion(target, net(image))):.4f}")

# %% en
# ## Many steps
#
# That is all there is to learning. `fit` repeats it, each time with a batch of 64 images. An *epoch* is one pass over
# all images. `compile` says how to train: which loss, which optimizer, which metrics to report.
#
# `fit` of kerasnets is Keras's own, only faster. To run stock Keras, pass `accelerate=False`.
# %% zh
# ## 走很多步
#
# 学习就是这么回事。`fit` 不断重复这一步，每次使用一批 64 张图像。把所有图像过一遍叫一个 *epoch*（训练周期）。`compile` 说明怎样训练：用哪个损失函数、哪个优化器、报告哪些指标。
#
# kerasnets 的 `fit` 就是 Keras 自己的 `fit`，只是更快。要用原版 Keras，请传入 `accelerate=False`。

# %%
model.compile(
    optimizer=optimizers.SGD(0.01, momentum=0.9),
    loss=losses.CrossEntropyLoss(),
    metrics=["accuracy"],
)
model.fit(x, y, batch_size=64, epochs=3, validation_data=(x_test, y_test), verbose=2)
plots.view_classify(x_test[0], ops.softmax(model(x_test[:1])), lang="zh", **options)

# %% en
# The same picture as above, and now the network has an opinion.
#
# Net can learn, too. Its images are larger, so we add two pixels of background (−1) on each side. Its six filters are
# small enough to look at: black is negative, white is positive. After training, some of them look for edges.
# %% zh
# 还是上面那张图像，现在网络有了自己的看法。
#
# Net 也能学习。它要的图像更大，所以我们在四周各补两个像素的背景（−1）。它的六个滤波器很小，可以直接看：黑色为负，白色为正。训练之后，其中有几个会寻找边缘。


# %%
def padded(images):
    """Pad images to (n, 32, 32)."""
    return np.pad(images, ((0, 0), (2, 2), (2, 2)), constant_values=-1)


net.compile(optimizer=optimizers.SGD(0.01, momentum=0.9), loss=losses.CrossEntropyLoss(), metrics=["accuracy"])
net.fit(padded(x), y, batch_size=64, epochs=3, validation_data=(padded(x_test), y_test), verbose=2)
plots.weights(net, "conv1", title=f"Net, {DATASET}", lang="zh")

# %% en
# ## Go on
#
# - Change the network: `kerasnets.build("NeuralNetwork", hidden=(64,))` has one small hidden layer. How much worse is
#   it?
# - `python experiments/build_network.py` and `python experiments/nn_basics.py` print every step of the two tutorials.
# - The next notebook, `2_training_and_looking.ipynb`, trains longer and asks why clothes are harder than digits.
# %% zh
# ## 接下来
#
# - 改一改网络：`kerasnets.build("NeuralNetwork", hidden=(64,))` 只有一个很小的隐藏层。它会差多少？
# - `python experiments/build_network.py` 和 `python experiments/nn_basics.py` 会打印两篇教程的每一步。
# - 下一个笔记本 `2_training_and_looking.ipynb` 训练得更久，并探讨为什么衣物比数字难。
