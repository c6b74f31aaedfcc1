# %% en
# # 3. Losses, optimizers and dropout
#
# This notebook goes with *Working with neural networks* (与神经网络协作), a book chapter on Fashion-MNIST. It builds
# `FashionNetwork`, gives it a loss and an optimizer, trains it, and then adds dropout. We follow it and stop wherever
# there is something to see.
# %% zh
# # 3. 损失函数、优化器与 dropout
#
# 本笔记本与《与神经网络协作》对应，那是某书中讲 Fashion-MNIST 的一章。它搭建 `FashionNetwork`，给它配上损失函数和优化器，训练它，然后加入 dropout。我们跟着它走，遇到值得看的地方就停下来。

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
import inspect

import keras
import numpy as np
from keras import ops

from kerasnets import data, layers, losses, models, optimizers, plots

np.set_printoptions(precision=4, suppress=True, threshold=100)  # as PyTorch prints
numbers = ops.convert_to_numpy
DATASET = "fashion_mnist_sample"  # the full data set: "fashion_mnist"
(x, y), (x_test, y_test) = kerasnets.load_data(DATASET)
names = data.class_names(DATASET, "zh")
TITLE = f"FashionNetwork, {DATASET}"

# %% en
# ## From neuron to network
#
# A neuron sums its weighted inputs and a bias. An activation function decides how strongly it fires.
# %% zh
# ## 从神经元到网络
#
# 神经元把加权的输入和偏置加起来，再由激活函数决定它激活的强度。

# %%
plots.neuron(3, lang="zh")

# %% en
# Neurons side by side make a layer, and layers one after the other make a network. This one has two hidden layers,
# enough to be called deep.
# %% zh
# 神经元并排放在一起是一层，一层接一层就是网络。这个网络有两个隐藏层，已经可以称为“深”了。

# %%
plots.layered_network((784, 256, 128, 10), lang="zh")

# %%
keras.utils.set_random_seed(0)
kerasnets.build("FashionNetwork").summary()

# %% en
# ## The loss: why the logarithm of softmax
#
# The chapter first ends its network with softmax, then replaces it with log-softmax. Mathematically that is the
# logarithm of the same numbers. But see what a computer makes of large logits: softmax rounds to 0, the logarithm of 0
# is −∞, and a training with an infinite loss is over. Log-softmax never computes the tiny number and stays correct.
# %% zh
# ## 损失：为什么取 softmax 的对数
#
# 这一章先让网络以 softmax 结尾，后来换成 log-softmax。从数学上说，后者就是前者的对数。但看看 logits 很大时计算机怎么算：softmax 被舍入为 0，0 的对数是 −∞，损失为无穷大，训练就此结束。log-softmax 根本不计算那个极小的数，所以结果始终正确。

# %%
for logits in ([2.0, 1.0, 0.0], [200.0, 100.0, 0.0]):
    tensor = ops.convert_to_tensor([logits])
    print("logits           ", logits)
    print("log of softmax   ", numbers(ops.log(ops.softmax(tensor)))[0])
    print("log-softmax      ", numbers(ops.log_softmax(tensor))[0])

# %% en
# `NLLLoss`, the negative log-likelihood, takes the log-probability of the true class with the sign flipped: 0 if the
# network was sure and right, large if it was sure and wrong. Log-softmax with `NLLLoss` is the same as logits with
# `CrossEntropyLoss`, as you can check with the same weights in both.
# %% zh
# `NLLLoss` 即负对数似然，它取真实类别的对数概率再变号：网络有把握且答对时为 0，有把握却答错时很大。log-softmax 加 `NLLLoss` 等同于 logits 加 `CrossEntropyLoss`，给两者相同的权重就可以验证。

# %%
with_logarithms = kerasnets.build("FashionNetwork")
with_logits = kerasnets.build("FashionNetwork", output="logits")
with_logits.set_weights(with_logarithms.get_weights())
print(f"NLLLoss of log-softmax:     {numbers(losses.NLLLoss()(y[:64], with_logarithms(x[:64]))):.6f}")
print(f"CrossEntropyLoss of logits: {numbers(losses.CrossEntropyLoss()(y[:64], with_logits(x[:64]))):.6f}")
print(f"All ten classes alike:      {np.log(10):.6f}")

# %% en
# A function for the trainings below. Every network starts from the same weights.
# %% zh
# 下面的训练共用一个函数。每个网络都从相同的权重出发。


# %%
def train(optimizer, epochs=5, loss=None, images=x, labels=y, **options):
    """Train a FashionNetwork; returns it with its history."""
    keras.utils.set_random_seed(0)
    model = kerasnets.build("FashionNetwork", **options)
    model.compile(optimizer=optimizer, loss=loss or losses.NLLLoss(), metrics=["accuracy"])
    history = model.fit(images, labels, batch_size=64, epochs=epochs, validation_data=(x_test, y_test), verbose=0)
    return model, history


# %% en
# ## Class weights
#
# The chapter recommends the argument `weight` "for an unbalanced training set". So let us unbalance ours: we keep every
# twentieth picture of coats and shirts. A network that hardly ever sees a coat does well to call coats pullovers. The
# weight makes each of the few pictures count twenty times as much.
# %% zh
# ## 类别权重
#
# 这一章建议“训练集不均衡时”使用参数 `weight`。那就让我们的训练集变得不均衡：外套和衬衫每二十张只保留一张。一个几乎没见过外套的网络，把外套都说成套头衫是很划算的。权重使这少数几张图像的每一张都抵得上二十张。

# %%
rare = (4, 6)  # coats and shirts
keep = ~np.isin(y, rare)
for label in rare:
    keep[np.flatnonzero(y == label)[::20]] = True
counts = np.bincount(y[keep])
weight = (len(y[keep]) / (10 * counts)).tolist()
print("Images per class: ", counts)
print("Weight per class: ", np.array(weight))

recognised = {}
for title, loss in (("NLLLoss()", losses.NLLLoss()), ("NLLLoss(weight=weight)", losses.NLLLoss(weight=weight))):
    model, _ = train(optimizers.Adam(3e-3), loss=loss, images=x[keep], labels=y[keep])
    predicted = model.predict(x_test, batch_size=500, verbose=0).argmax(axis=1)
    recognised[title] = {name: 100 * np.mean(predicted[y_test == i] == i) for i, name in enumerate(names)}
plots.bars(recognised, marked=[names[label] for label in rare], xlabel="%", title=TITLE, lang="zh")

# %% en
# Bars: the share of the test images that are recognised, by class. The rare classes gain, and the classes that look like them pay for it. Whether that is better depends on what a
# mistake costs you.
# %% zh
# 图中是各类别的测试图像被认出的比例。稀少的类别得到改善，与它们相像的类别则付出代价。这样是否更好，取决于一个错误会让你损失多少。

# %% en
# ## The optimizer and its learning rate
#
# An optimizer follows the slope of the loss downwards. The learning rate sets how far it goes in each step. If it is
# too small, it takes forever. If it is too large, it jumps from one side of the valley to the other, higher each time.
# %% zh
# ## 优化器和学习率
#
# 优化器沿着损失的坡度往下走。学习率决定每一步走多远。太小，就永远走不到；太大，就从山谷的一侧跳到另一侧，而且一次比一次高。

# %%
plots.gradient_descent(lang="zh")

# %% en
# Each optimizer has its own defaults. Here they are PyTorch's on every backend, under Keras's names; stock Keras has
# others.
# %% zh
# 每个优化器都有自己的默认值。在 kerasnets 中，各个后端上用的都是 PyTorch 的默认值，名称则是 Keras 的；原版 Keras 的默认值与此不同。

# %%
for name in ("SGD", "Adam", "RMSprop", "Adagrad", "Adadelta"):
    parameters = inspect.signature(getattr(optimizers, name)).parameters.values()
    print(name, {p.name: p.default for p in parameters if isinstance(p.default, (float, tuple))})

# %% en
# ## The chapter's training
#
# Adam with learning rate 0.003 for ten epochs. On all 60,000 images the chapter's loss goes from 0.50 to 0.26. We have
# a tenth of the images, hence a tenth of the steps, and start higher.
# %% zh
# ## 这一章的训练
#
# Adam，学习率 0.003，十个 epoch。在全部 60,000 张图像上，这一章的损失从 0.50 降到 0.26。我们只有十分之一的图像，步数也只有十分之一，所以起点更高。

# %%
model, plain = train(optimizers.Adam(3e-3), epochs=10)
for loss in plain.history["loss"]:
    print(f"Training loss: {loss:.4f}")

# %% en
# The same with a rate that is far too small and one that is far too large. (The axis is logarithmic: the large rate
# throws the weights so far that training begins with a huge loss.)
# %% zh
# 再试一个太小的学习率和一个太大的学习率。（纵轴是对数坐标：学习率太大时，权重被抛得很远，训练一开始损失就极大。）

# %%
histories = {f"Adam, {rate:g}": train(optimizers.Adam(rate))[1].history["loss"] for rate in (1e-5, 3e-3, 0.1)}
figure = plots.learning_curves(histories, title=TITLE, lang="zh")
figure.axes[0].set_yscale("log")
figure

# %% en
# Now other optimizers, each with its own default rate. SGD's 0.001 is too small for so few steps. The other three
# measure how large each weight's gradients have been and scale their steps accordingly: Adagrad over all steps, so that
# it slows down more and more, Adadelta and Adam over the recent ones.
# %% zh
# 现在换其他优化器，各用自己的默认学习率。步数这么少时，SGD 的 0.001 太小。另外三个会衡量每个权重的梯度有多大，并据此调整步长：Adagrad 统计所有步，所以越走越慢；Adadelta 和 Adam 只统计最近的步。

# %%
histories = {
    "SGD, 0.001": train(optimizers.SGD())[1],
    "Adagrad, 0.01": train(optimizers.Adagrad())[1],
    "Adadelta, 1": train(optimizers.Adadelta())[1],
    "Adam, 0.001": train(optimizers.Adam())[1],
}
plots.learning_curves(histories, title=TITLE, lang="zh")

# %% en
# ## An optimizer that asks back
#
# All of these take one gradient and make one step. L-BFGS tries several steps and compares them, so it has to evaluate
# the loss as often as it likes. In PyTorch you would pass a *closure* to `step`. Here SciPy asks and your backend
# answers. L-BFGS suits small problems with all images at once, like this one: a single linear layer and 1,000 images.
#
# The horizontal axis counts the weights tried, one gradient each. (If SciPy is missing: `pip install scipy`.)
# %% zh
# ## 会反问的优化器
#
# 前面这些优化器都是拿一个梯度走一步。L-BFGS 会试几步再比较，所以它要能随时计算损失。在 PyTorch 中，需要把一个*闭包*传给 `step`。这里由 SciPy 提问，由你的后端回答。L-BFGS 适合一次用上所有图像的小问题，比如这里：一个线性层，1,000 张图像。
#
# 横轴（weights tried）是试过的权重数，每次一个梯度。（如果没有 SciPy：`pip install scipy`。）


# %%
def regression():
    """Softmax regression: one linear layer, always with the same initial weights."""
    keras.utils.set_random_seed(0)
    return models.Sequential([keras.Input((28, 28)), layers.Flatten(), layers.Linear(10)])


model = regression()
found = kerasnets.lbfgs.minimize(model, losses.CrossEntropyLoss(), x[:1000], y[:1000], max_iterations=50)
curves = {"L-BFGS": found.losses}

model = regression()
model.compile(optimizer=optimizers.SGD(0.01), loss=losses.CrossEntropyLoss())
curves["SGD, 0.01"] = model.fit(x[:1000], y[:1000], batch_size=1000, epochs=found.evaluations, verbose=0).history[
    "loss"
]

print(
    f"After {found.evaluations} gradients: "
    + ", ".join(f"{name} {losses_[-1]:.3f}" for name, losses_ in curves.items())
)
plots.learning_curves(curves, xlabel="weights tried", title=f"softmax regression, {DATASET}", lang="zh")

# %% en
# ## Dropout
#
# Dropout switches off a random share of the units in each training step, so that no unit can rely on another. The rest
# is scaled up to make up for it: with 25 % dropped, by 1 / 0.75. When the network is used, all units work.
#
# In PyTorch `model.train()` and `model.eval()` switch between the two modes. Here the call says which: `model(x)` is
# evaluation, `model(x, training=True)` is training. `fit`, `predict` and `evaluate` choose the right one.
# %% zh
# ## Dropout
#
# dropout 在训练的每一步随机关掉一部分单元，使任何单元都不能依赖别的单元。其余单元会相应放大：关掉 25 % 时乘以 1 / 0.75。使用网络时，所有单元都工作。
#
# 在 PyTorch 中，用 `model.train()` 和 `model.eval()` 切换这两种模式。这里在调用时说明：`model(x)` 是评估，`model(x, training=True)` 是训练。`fit`、`predict` 和 `evaluate` 会自己选对。

# %%
model = kerasnets.build("FashionNetwork", dropout=0.25)
drop = model.get_layer("drop")
ones = ops.ones((1, 12))
print("In training:  ", numbers(drop(ones, training=True))[0])
print("In evaluation:", numbers(drop(ones, training=False))[0])

for training in (True, False):
    first, second = (numbers(model(x[:1], training=training)) for _ in range(2))
    print(f"training={training}: the same image twice gives the same outputs: {np.array_equal(first, second)}")

# %% en
# Does it help? We train with and without it. Compare the dashed lines, the test images. Without dropout the training
# loss is lower, but the test loss soon rises: with 6,000 images it is easy to memorise.
# %% zh
# 它有用吗？我们分别在有 dropout 和没有 dropout 的情况下训练。请比较虚线，也就是测试图像。没有 dropout 时训练损失更低，但测试损失不久就开始上升：只有 6,000 张图像，很容易死记硬背。

# %%
histories = {
    "dropout 0": train(optimizers.Adam(3e-3), epochs=20)[1],
    "dropout 0.25": train(optimizers.Adam(3e-3), epochs=20, dropout=0.25)[1],
}
plots.learning_curves(histories, title=TITLE, lang="zh")

# %% en
# ## The functional style
#
# At the end the chapter writes the network once more, with functions (`F.relu`) instead of layers for everything
# without weights. In Keras those functions are in `keras.ops`. With the same weights the outputs are the same.
# %% zh
# ## 函数式写法
#
# 这一章最后把网络又写了一遍：凡是没有权重的部分，都用函数（`F.relu`）代替层。在 Keras 中，这些函数在 `keras.ops` 里。权重相同，输出就相同。

# %%
image = keras.Input((28, 28))
tensor = layers.Flatten()(image)
tensor = ops.relu(layers.Linear(256, name="hidden1")(tensor))
tensor = ops.relu(layers.Linear(128, name="hidden2")(tensor))
functional = models.Model(image, ops.log_softmax(layers.Linear(10, name="output")(tensor)))

functional.set_weights(with_logarithms.get_weights())
difference = ops.max(ops.abs(functional(x[:64]) - with_logarithms(x[:64])))
print(f"Largest difference of the outputs: {numbers(difference):.1e}")

# %% en
# ## Go on
#
# - Set dropout to 0.5, or use a third of the images. When does it help most?
# - `python experiments/fashion_network.py --show all` does all of this on the full data set.
# - The last notebook, `4_digits_and_pytorch.ipynb`, starts from bare matrices and ends at PyTorch itself.
# %% zh
# ## 接下来
#
# - 把 dropout 设为 0.5，或者只用三分之一的图像。什么时候它最有用？
# - `python experiments/fashion_network.py --show all --lang zh` 在完整数据集上做这里的全部步骤。
# - 最后一个笔记本 `4_digits_and_pytorch.ipynb` 从单纯的矩阵出发，一直走到 PyTorch 本身。
