"""The page "Coming from PyTorch", row by row: kerasnets does what PyTorch does, stock Keras something else."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

import kerasnets
from kerasnets import layers, losses, optimizers, schedules

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
LABELS = np.array([0, 2, 1, 2, 2, 0])


def numpy(value):
    return keras.ops.convert_to_numpy(value)


def same(a, b, rtol=1e-5):
    return np.allclose(a, b, rtol=rtol, atol=1e-7)


def steps(optimizer, gradients, rates=None):
    """A variable after each step with the given gradients, and with the given learning rates where there are some."""
    variable = keras.Variable(np.array([1.0, -2.0, 3.0], "float32"))
    optimizer.build([variable])
    seen = []
    for i, gradient in enumerate(gradients):
        if rates is not None:
            optimizer.learning_rate = rates[i]
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        seen.append(numpy(variable))
    return np.array(seen)


def torch_steps(kind, gradients, rates=None, **options):
    variable = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    optimizer = kind([variable], **options)
    seen = []
    for i, gradient in enumerate(gradients):
        if rates is not None:
            optimizer.param_groups[0]["lr"] = rates[i]
        variable.grad = torch.tensor(gradient)
        optimizer.step()
        seen.append(variable.detach().numpy().copy())
    return np.array(seen)


GRADIENTS = np.random.default_rng(1).normal(size=(5, 3)).astype("float32") * np.array([1, 1e-3, 1e-6], "float32")


def test_initial_weights():
    """PyTorch: kernel and bias U(±1/√fan_in). Stock: Glorot-uniform kernels, zero biases."""
    keras.utils.set_random_seed(0)
    ours, stock = layers.Linear(300), keras.layers.Dense(300)
    ours.build((None, 100))
    stock.build((None, 100))
    original = torch.nn.Linear(100, 300)
    for mine, theirs in ((ours.kernel, original.weight), (ours.bias, original.bias)):
        assert np.abs(numpy(mine)).max() <= 0.1
        assert numpy(mine).std() == pytest.approx(theirs.detach().numpy().std(), rel=0.1)
    assert np.abs(numpy(stock.kernel)).max() > 0.115
    assert (numpy(stock.bias) == 0).all()


def test_batch_normalization():
    """PyTorch: eps 1e-5, new = 0.9·old + 0.1·batch, the running variance unbiased. Stock: 1e-3, 0.99, biased."""
    original, ours, stock = torch.nn.BatchNorm1d(4), layers.BatchNormalization(), keras.layers.BatchNormalization()
    expected = original(torch.tensor(X)).detach().numpy()
    assert same(numpy(ours(X, training=True)), expected, rtol=1e-4)
    assert same(numpy(ours.moving_variance), original.running_var.numpy())
    assert not same(numpy(stock(X, training=True)), expected, rtol=1e-4)
    same_momentum = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    same_momentum(X, training=True)
    assert not same(numpy(same_momentum.moving_variance), original.running_var.numpy())


def test_layer_normalization():
    """PyTorch: eps 1e-5. Stock: 1e-3, unless told otherwise."""
    expected = torch.nn.LayerNorm(4)(torch.tensor(X)).detach().numpy()
    assert same(numpy(keras.layers.LayerNormalization(epsilon=1e-5)(X)), expected, rtol=1e-4)
    assert not same(numpy(keras.layers.LayerNormalization()(X)), expected, rtol=1e-4)


def test_the_two_biases_of_an_lstm():
    """PyTorch: two biases, from U(±1/√units). Stock: one, zeros but for the forget gate's ones."""
    keras.utils.set_random_seed(0)
    ours, stock = layers.LSTM(9), keras.layers.LSTM(9)
    for layer in (ours, stock):
        layer.build((None, 5, 4))
    shapes = [tuple(p.shape[::-1]) for p in torch.nn.LSTM(4, 9).parameters()]
    assert [tuple(w.shape) for w in ours.trainable_weights] == shapes
    assert len(stock.trainable_weights) == 3
    assert all(0.3 < np.abs(numpy(w)).max() <= 1 / 3 for w in ours.trainable_weights)
    assert set(numpy(stock.trainable_weights[2]).tolist()) == {0.0, 1.0}


def test_attention():
    """PyTorch: one Xavier-uniform matrix for queries, keys and values. Stock: a Glorot-uniform tensor for each."""
    original, ours = torch.nn.MultiheadAttention(16, 4), layers.MultiHeadAttention(4, 4)
    stock, x = keras.layers.MultiHeadAttention(4, 4), np.ones((2, 3, 16), "float32")
    for layer in (ours, stock):
        layer(x, x)
    sizes = [sorted(w.shape.numel() if hasattr(w.shape, "numel") else np.prod(w.shape) for w in side)
             for side in (original.parameters(), ours.trainable_weights, stock.trainable_weights)]  # fmt: skip
    assert sizes[0] == sizes[1] != sizes[2]
    limit = np.sqrt(6 / (16 + 48))
    for packed in (original.in_proj_weight.detach().numpy(), numpy(ours.in_proj_kernel)):
        assert 0.9 * limit < np.abs(packed).max() <= limit
    assert np.abs(numpy(stock.trainable_weights[0])).max() > 1.2 * limit


def test_prelu():
    """PyTorch: one slope, 0.25. Stock: one for each feature, 0."""
    expected = torch.nn.PReLU()(torch.tensor(X)).detach().numpy()
    assert same(numpy(layers.PReLU()(X)), expected)
    stock = keras.layers.PReLU()
    assert same(numpy(stock(X)), np.maximum(X, 0))
    assert tuple(stock.alpha.shape) == (4,)


def test_cross_entropy_takes_logits():
    """PyTorch's takes logits. Stock Keras's takes probabilities unless told otherwise."""
    expected = torch.nn.functional.cross_entropy(torch.tensor(X), torch.tensor(LABELS)).item()
    assert same(numpy(losses.CrossEntropyLoss()(LABELS, X)), expected)
    assert not same(numpy(keras.losses.SparseCategoricalCrossentropy()(LABELS, X)), expected)
    assert same(numpy(keras.losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, X)), expected)


def test_class_weights():
    """PyTorch: divided by the sum of the weights. Stock: class_weight becomes sample weights, divided by the number."""
    weight = [1.0, 5.0, 0.5]
    logits = X[:, :3]
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits), torch.tensor(LABELS), torch.tensor(weight)
    ).item()
    assert same(numpy(losses.CrossEntropyLoss(weight=weight)(LABELS, logits)), expected)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    stock = model.test_on_batch(logits, LABELS, sample_weight=np.array(weight)[LABELS])
    assert not same(stock, expected, rtol=1e-2)


def test_label_smoothing_of_class_indices():
    """PyTorch smooths class indices. Stock Keras before 3.16 smooths one-hot targets only."""
    expected = torch.nn.functional.cross_entropy(torch.tensor(X), torch.tensor(LABELS), label_smoothing=0.1).item()
    assert same(numpy(losses.CrossEntropyLoss(label_smoothing=0.1)(LABELS, X)), expected)
    if keras.__version__.startswith("3.15."):
        with pytest.raises(TypeError, match="label_smoothing"):
            keras.losses.SparseCategoricalCrossentropy(label_smoothing=0.1)


def test_nll_loss():
    """PyTorch takes logarithms of probabilities. Stock Keras has no such loss."""
    log_p = torch.tensor(X).log_softmax(1)
    expected = torch.nn.functional.nll_loss(log_p, torch.tensor(LABELS)).item()
    assert same(numpy(losses.NLLLoss()(LABELS, log_p.numpy())), expected)
    assert not hasattr(keras.losses, "NLLLoss")


def test_mse_loss_is_the_same():
    y = np.random.default_rng(2).normal(size=X.shape).astype("float32")
    expected = torch.nn.functional.mse_loss(torch.tensor(X), torch.tensor(y)).item()
    assert same(numpy(losses.MSELoss()(y, X)), expected)
    assert same(numpy(keras.losses.MeanSquaredError()(y, X)), expected)


def test_sgd_momentum_when_the_learning_rate_changes():
    """PyTorch's velocity holds gradients: a new rate acts at once. Stock Keras's holds steps already scaled."""
    rates = [0.1, 0.1, 0.001, 0.001, 0.001]
    expected = torch_steps(torch.optim.SGD, GRADIENTS, rates, lr=0.1, momentum=0.9)
    assert same(steps(optimizers.SGD(0.1, momentum=0.9), GRADIENTS, rates), expected)
    assert not same(steps(keras.optimizers.SGD(0.1, momentum=0.9), GRADIENTS, rates), expected, rtol=1e-3)
    # With one rate throughout the two agree.
    constant = torch_steps(torch.optim.SGD, GRADIENTS, lr=0.1, momentum=0.9)
    assert same(steps(keras.optimizers.SGD(0.1, momentum=0.9), GRADIENTS), constant)


def test_weight_decay():
    """PyTorch's SGD and Adam add λθ to the gradient. Stock Keras subtracts lr·λ·θ from the variable, as AdamW does."""
    expected = torch_steps(torch.optim.Adam, GRADIENTS, lr=0.1, weight_decay=0.1)
    assert same(steps(optimizers.Adam(0.1, weight_decay=0.1), GRADIENTS), expected)
    assert not same(steps(keras.optimizers.Adam(0.1, weight_decay=0.1), GRADIENTS), expected, rtol=1e-2)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta"])
def test_defaults(name):
    """Each with its own defaults: the rates, ε and where it stands, λ, ρ and the accumulator differ."""
    original = getattr(torch.optim, name)
    expected = torch_steps(original, GRADIENTS)
    assert same(steps(getattr(optimizers, name)(), GRADIENTS), expected)
    assert not same(steps(getattr(keras.optimizers, name)(), GRADIENTS), expected)


def test_adam_with_the_same_numbers():
    """PyTorch: √v̂ + ε. Stock: √v + ε before the bias is corrected, which shows where gradients are small."""
    expected = torch_steps(torch.optim.Adam, GRADIENTS, lr=0.1, eps=1e-6)
    assert same(steps(optimizers.Adam(0.1, epsilon=1e-6), GRADIENTS), expected)
    assert not same(steps(keras.optimizers.Adam(0.1, epsilon=1e-6), GRADIENTS), expected, rtol=1e-2)


def test_clipping():
    """PyTorch's coefficient has 1e-6 in its denominator. Stock Keras's has not."""
    gradients = GRADIENTS * 1e-5
    variable = torch.zeros(3, requires_grad=True)
    variable.grad = torch.tensor(gradients[0])
    torch.nn.utils.clip_grad_norm_([variable], 1e-6)
    clipped = -variable.grad.numpy()

    def first_step(optimizer):
        return steps(optimizer, gradients[:1])[0] - np.array([1.0, -2.0, 3.0], "float32")

    scale = 1e6  # the step is of the gradients' size: blow it up to where float32 can tell it from the variable
    assert same(first_step(optimizers.SGD(scale, clip_grad_norm=1e-6)), clipped * scale, rtol=1e-3)
    assert not same(first_step(keras.optimizers.SGD(scale, global_clipnorm=1e-6)), clipped * scale, rtol=1e-2)


def test_step_lr():
    """PyTorch counts epochs. Stock Keras's counts steps and is smooth unless staircase=True."""
    variable = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([variable], lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.1)
    expected = []
    for _ in range(8):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    ours = schedules.StepLR(0.1, step_size=3, gamma=0.1)
    stock = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=3, decay_rate=0.1)
    assert same([float(numpy(ours(step))) for step in range(8)], expected)
    assert not same([float(numpy(stock(step))) for step in range(8)], expected)


def test_reduce_lr_on_plateau():
    """PyTorch waits for more than `patience` bad epochs, stock Keras for `patience`; the thresholds differ, too."""
    scores = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    def rates(callback):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(optimizer=optimizers.SGD(0.1), loss="mse")
        callback.set_model(model)
        callback.on_train_begin()
        seen = []
        for epoch, score in enumerate(scores):
            callback.on_epoch_end(epoch, {"loss": score})
            seen.append(float(numpy(model.optimizer.learning_rate)))
        return seen

    variable = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([variable], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
    expected = []
    for score in scores:
        scheduler.step(score)
        expected.append(optimizer.param_groups[0]["lr"])
    assert same(rates(schedules.ReduceLROnPlateau(monitor="loss", patience=2)), expected)
    assert not same(rates(keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=2)), expected)


def test_flatten_order():
    """PyTorch flattens (channels, height, width), Keras (height, width, channels)."""
    maps = np.arange(2 * 3 * 4, dtype="float32").reshape(1, 2, 3, 4)  # (batch, channels, height, width)
    in_pytorch = torch.nn.Flatten()(torch.tensor(maps)).numpy()
    here = numpy(keras.layers.Flatten()(maps.transpose(0, 2, 3, 1)))
    assert not same(in_pytorch, here)
    assert sorted(in_pytorch[0]) == sorted(here[0])


def test_a_single_image_under_channels_first():
    """Keras's Flatten would transpose a (28, 28) image under channels_first; kerasnets' doesn't."""
    x = np.random.default_rng(0).normal(size=(1, 3, 4)).astype("float32")
    assert same(numpy(layers.Flatten(data_format="channels_first")(x)), x.reshape(1, 12))
    assert not same(numpy(keras.layers.Flatten(data_format="channels_first")(x)), x.reshape(1, 12))


def test_train_and_eval_mode():
    """A PyTorch module starts in training mode. A Keras model called is in inference mode unless told otherwise."""
    model = kerasnets.build("FashionNetwork", dropout=0.5)
    x = np.ones((1, 28, 28), "float32")
    assert same(numpy(model(x)), numpy(model(x)))
    assert not same(numpy(model(x, training=True)), numpy(model(x, training=True)))
    drop = torch.nn.Dropout(0.5)
    assert drop.training
    assert (drop(torch.ones(100)) != 1).any()
    assert (drop.eval()(torch.ones(100)) == 1).all()


def test_a_custom_loop():
    """The page's loop for the active backend, taken from the page itself, makes PyTorch's step."""
    page = (Path(__file__).parents[2] / "docs" / "coming-from-pytorch.md").read_text()
    code = re.search(rf"```python\n# {keras.config.backend()}\n(.*?)```", page, re.DOTALL).group(1)
    model = keras.Sequential([keras.Input((4,)), layers.Linear(3, name="0")])
    original = torch.nn.Sequential(torch.nn.Linear(4, 3))
    kerasnets.load_state_dict(model, original.state_dict())
    names = {
        "model": model,
        "x": keras.ops.convert_to_tensor(X),
        "y": keras.ops.convert_to_tensor(LABELS),
        "loss_of": losses.CrossEntropyLoss(),
        "optimizer": optimizers.SGD(0.1, momentum=0.9),
    }
    names["optimizer"].build(model.trainable_variables)
    exec(code, names)
    optimizer = torch.optim.SGD(original.parameters(), lr=0.1, momentum=0.9)
    loss = torch.nn.functional.cross_entropy(original(torch.tensor(X)), torch.tensor(LABELS))
    loss.backward()
    optimizer.step()
    assert same(numpy(names["loss"]), loss.item())
    assert same(kerasnets.state_dict(model)["0.weight"], original[0].weight.detach().numpy())
