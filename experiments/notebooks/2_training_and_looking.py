# %% en
# # 2. Training and looking
#
# This notebook goes with the tutorial *How to create a neural network with PyTorch* (如何使用 pytorch 创建一个神经网络). You train
# its network, look at what it gets right and wrong, and then try to do better: with a larger network, with
# convolutions, with other learning rates, batch sizes and optimizers.
#
# We train on 6,000 pictures instead of 60,000, so that you don't have to wait. The accuracies are therefore lower than
# the tutorial's, but the networks rank in the same order.
# %% zh
# # 2. 训练与观察
#
# 本笔记本与教程《如何使用 pytorch 创建一个神经网络》对应。我们训练其中的网络，看它哪些认得对、哪些认得错，然后设法做得更好：换更大的网络、加入卷积、换学习率、批次大小和优化器。
#
# 为了不用久等，这里用 6,000 张图像而不是 60,000 张来训练。因此准确率比教程低，但各个网络的名次不变。

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
import math

import keras
import matplotlib.pyplot as plt
import numpy as np

from kerasnets import data, losses, optimizers, plots, schedules

# %% en
# ## The data (section 6.2)
#
# If you have Fashion-MNIST or a network connection, write `"fashion_mnist"` below, or `"mnist"` for digits. Everything
# else stays the same.
#
# The images are normalised: a pixel of 0 … 255 is divided by 255, then (value − 0.5) / 0.5 gives −1 … 1. That roughly
# centres the numbers around zero, which makes the first steps of training easier.
# %% zh
# ## 数据（6.2 节）
#
# 如果你有 Fashion-MNIST 或者能联网，请在下面写 `"fashion_mnist"`，想用数字就写 `"mnist"`。其余部分不用改。
#
# 图像经过了归一化：0 … 255 的像素值先除以 255，再经 (值 − 0.5) / 0.5 变到 −1 … 1。这样数值大致以零为中心，训练的头几步会更容易。

# %%
DATASET = "fashion_mnist_sample"

(x, y), (x_test, y_test) = kerasnets.load_data(DATASET)
names = data.class_names(DATASET, "zh")
print(len(x), "training images,", len(x_test), "test images")
print(f"Pixels from {x.min()} to {x.max()}, mean {x.mean():.2f}, deviation {x.std():.2f}")
print("Images per class:", np.bincount(y))
plots.show_images(x, y, class_names=names, title=DATASET, lang="zh")

# %% en
# ## Activation functions (section 4.3)
#
# Before we train, look at the nonlinearities between the layers, and at their derivatives (dashed). Where the
# derivative is almost zero, nothing is learned. That is why deep networks use ReLU rather than sigmoid and tanh.
# %% zh
# ## 激活函数（4.3 节）
#
# 训练之前，先看看层与层之间的非线性函数和它们的导数（虚线）。导数几乎为零的地方学不到任何东西，所以深层网络用 ReLU，而不用 sigmoid 和 tanh。

# %%
figure, axes = plt.subplots(2, 2, figsize=(12, 7), layout="constrained")
for name, ax in zip(("sigmoid", "tanh", "relu", "leaky_relu"), axes.flat, strict=True):
    plots.activation(name, ax=ax, lang="zh")

# %% en
# ## Loss, optimizer, training (sections 6.3 and 6.4)
#
# `CrossEntropyLoss` takes logits, as PyTorch's does, and applies softmax itself. SGD with momentum averages over the
# last gradients, which smooths the way down.
#
# The tutorial writes a training loop and a test loop. `fit` is the first, `evaluate` the second. Both take care of
# training and evaluation mode and of zeroing the gradients.
#
# We will train several networks, so here is a small function for it. The seed makes the run repeatable.
# %% zh
# ## 损失、优化器、训练（6.3 和 6.4 节）
#
# `CrossEntropyLoss` 和 PyTorch 的一样接收 logits，softmax 由它自己来做。带动量的 SGD 会对最近的梯度取平均，使下降的路线更平稳。
#
# 教程自己写训练循环和测试循环。`fit` 就是前者，`evaluate` 就是后者。训练模式与评估模式的切换、梯度的清零，都由它们负责。
#
# 我们要训练好几个网络，所以写一个小函数。随机种子使结果可以重复。


# %%
def train(network, optimizer, epochs=4, batch_size=64):
    """Train a network; returns it with its history."""
    keras.utils.set_random_seed(0)
    model = kerasnets.build(network)
    model.compile(optimizer=optimizer, loss=losses.CrossEntropyLoss(), metrics=["accuracy"])
    history = model.fit(x, y, batch_size=batch_size, epochs=epochs, validation_data=(x_test, y_test), verbose=0)
    return model, history


model, history = train("NeuralNetwork", optimizers.SGD(0.01, momentum=0.9))
loss, accuracy = model.evaluate(x_test, y_test, batch_size=500, verbose=0)
print(f"Test Accuracy: {100 * accuracy:.2f}%")
plots.learning_curves(history, title=f"NeuralNetwork, {DATASET}", lang="zh")

# %% en
# Solid lines are the training images, dashed lines the test images, which the network never learns from. As long as
# both get better, more epochs help. When the solid line keeps improving and the dashed one stops, the network starts to
# memorise.
# %% zh
# 实线是训练图像，虚线是测试图像，后者网络从不用来学习。只要两条线都在变好，多训练几个 epoch 就有用。实线继续变好而虚线停住时，网络就开始死记硬背了。

# %% en
# ## Predictions (section 6.5)
#
# Ten test images, each with the network's prediction and the true class. A red frame marks a mistake. Would you have
# known better?
# %% zh
# ## 预测（6.5 节）
#
# 十张测试图像，每张都标有网络的预测和真实类别。红框表示预测错误。换作你，会认对吗？

# %%
predicted = model.predict(x_test, batch_size=500, verbose=0).argmax(axis=1)
plots.predictions(x_test, y_test, predicted, class_names=names, title=f"NeuralNetwork, {DATASET}", lang="zh")

# %% en
# A *confusion matrix* shows all mistakes at once: each row is a true class, and the numbers say which share of it was
# predicted as which class. Look away from the diagonal: shirts, T-shirts, pullovers and coats are confused with each
# other. This is the tutorial's first explanation (7.1) of why clothes are harder than digits: some classes look alike.
# %% zh
# *混淆矩阵*一次显示所有的错误：每一行是一个真实类别，数字表示其中有多大比例被预测为某个类别。看看对角线以外：衬衫、T 恤、套头衫和外套常被互相混淆。这是教程对“衣物为什么比数字难”的第一个解释（7.1 节）：有些类别长得很像。

# %%
plots.confusion_matrix(y_test, predicted, class_names=names, title=f"NeuralNetwork, {DATASET}", lang="zh")

# %% en
# ## Larger, or smarter? (section 7.2)
#
# The first idea is more layers and more units. The second is convolutions, which look at small patches and know which
# pixels are neighbours. The tutorial finds that the first hardly helps and the second does. Let's see.
# %% zh
# ## 更大，还是更聪明？（7.2 节）
#
# 第一个办法是增加层数和单元数。第二个办法是卷积：它只看小块区域，并且知道哪些像素相邻。教程发现第一个办法几乎没有用，第二个办法有用。我们来看一看。

# %%
histories = {"NeuralNetwork": history}
trained = {"NeuralNetwork": model}
for network in ("NeuralNetwork_v1", "ConvNeuralNetwork"):
    trained[network], histories[network] = train(network, optimizers.SGD(0.01, momentum=0.9))

for network, history in histories.items():
    accuracy = 100 * history.history["val_accuracy"][-1]
    print(f"{network:18} {trained[network].count_params():>9,} parameters, test accuracy {accuracy:.2f} %")
plots.learning_curves(histories, title=DATASET, lang="zh")

# %% en
# The convolutional network has fewer parameters than `NeuralNetwork_v1` and recognises more. What does it see? These
# are the 32 filters of its first layer.
# %% zh
# 卷积网络的参数比 `NeuralNetwork_v1` 少，认得却更准。它看到了什么？下面是第一层的 32 个滤波器。

# %%
plots.weights(trained["ConvNeuralNetwork"], "conv1", title=f"ConvNeuralNetwork, {DATASET}", lang="zh")

# %%
predicted = trained["ConvNeuralNetwork"].predict(x_test, batch_size=500, verbose=0).argmax(axis=1)
plots.confusion_matrix(y_test, predicted, class_names=names, title=f"ConvNeuralNetwork, {DATASET}", lang="zh")

# %% en
# ## Hyperparameters (section 7.2.3)
#
# The learning rate comes first, because it matters most. The tutorial proposes 0.1, 0.01 and 0.001 for SGD without
# momentum. With so few steps the smallest hardly gets off the ground.
# %% zh
# ## 超参数（7.2.3 节）
#
# 首先是学习率，因为它最重要。教程建议对不带动量的 SGD 试 0.1、0.01 和 0.001。在这么少的步数里，最小的学习率几乎还没有起步。

# %%
histories = {f"SGD({rate})": train("NeuralNetwork", optimizers.SGD(rate), epochs=3)[1] for rate in (0.1, 0.01, 0.001)}
plots.learning_curves(histories, title=f"NeuralNetwork, {DATASET}", lang="zh")

# %% en
# A large rate makes fast progress at first, a small one settles better at the end. A *schedule* does both: `StepLR`
# multiplies the rate by `gamma` every `step_size` epochs. Pass it as the learning rate; there is no `scheduler.step()`
# to forget. It only has to know how many steps make an epoch.
# %% zh
# 学习率大，一开始进步快；学习率小，最后稳得更好。*学习率调度*两者兼得：`StepLR` 每隔 `step_size` 个 epoch 把学习率乘以 `gamma`。把它当作学习率传入即可，没有会被忘掉的 `scheduler.step()`。它只需要知道一个 epoch 有多少步。

# %%
steps = math.ceil(len(x) / 64)
falling = schedules.StepLR(0.1, step_size=2, gamma=0.1, steps_per_epoch=steps)
histories = {
    "SGD(0.1)": train("NeuralNetwork", optimizers.SGD(0.1, momentum=0.9), epochs=4)[1],
    "SGD(StepLR)": train("NeuralNetwork", optimizers.SGD(falling, momentum=0.9), epochs=4)[1],
}
plots.learning_curves(histories, title=f"NeuralNetwork, {DATASET}", lang="zh")

# %% en
# Next, the batch size. Smaller batches mean more steps per epoch, each with a noisier gradient. At the same learning
# rate the smaller batch gets further in the same number of epochs, but each epoch takes longer.
# %% zh
# 接着是批次大小。批次越小，每个 epoch 的步数越多，每一步的梯度噪声也越大。学习率相同、epoch 数相同时，小批次走得更远，但每个 epoch 花的时间更长。

# %%
histories = {
    f"batch_size={size}": train("NeuralNetwork", optimizers.SGD(0.01), epochs=3, batch_size=size)[1]
    for size in (32, 64, 128)
}
plots.learning_curves(histories, title=f"NeuralNetwork, {DATASET}", lang="zh")

# %% en
# Finally, the optimizer. The tutorial uses the rate 0.01 for both. That is too much for Adam, whose steps have about
# that length in every weight, however small the gradient is. Its usual rate, 0.001, is better here. The next notebook
# has more on this.
# %% zh
# 最后是优化器。教程对两个优化器都用 0.01。这对 Adam 来说太大了：不管梯度多小，它在每个权重上的步长都大约等于学习率。它常用的 0.001 在这里更好。下一个笔记本会讲得更多。

# %%
histories = {
    "SGD, 0.01": train("NeuralNetwork", optimizers.SGD(0.01), epochs=3)[1],
    "Adam, 0.01": train("NeuralNetwork", optimizers.Adam(0.01), epochs=3)[1],
    "Adam, 0.001": train("NeuralNetwork", optimizers.Adam(0.001), epochs=3)[1],
}
plots.learning_curves(histories, title=f"NeuralNetwork, {DATASET}", lang="zh")

# %% en
# ## Go on
#
# - Write `DATASET = "fashion_mnist"` and run everything again for the tutorial's accuracies: about 87 % and 91.5 %. It
#   takes a few minutes.
# - `python experiments/fashion_mnist.py --show all` also compares data sets and normalisations.
# - The next notebook, `3_losses_optimizers_dropout.ipynb`, takes losses and optimizers apart.
# %% zh
# ## 接下来
#
# - 写上 `DATASET = "fashion_mnist"` 再全部运行一遍，就能得到教程的准确率：约 87 % 和 91.5 %。需要几分钟。
# - `python experiments/fashion_mnist.py --show all --lang zh` 还会比较不同的数据集和归一化方式。
# - 下一个笔记本 `3_losses_optimizers_dropout.ipynb` 细看损失函数和优化器。
