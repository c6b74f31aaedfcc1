"""The same seed gives PyTorch's initial weights, batches and printed lines: against the installed PyTorch."""

import keras
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import kerasnets
from kerasnets import batches, layers, training
from kerasnets.training import recipes
from kerasnets.training.callbacks import LossLine, StepLog
from kerasnets.verify import originals
from kerasnets.verify.parity.original import build_criterion, build_optimizer

SEEDS = range(20)
ON_TORCH = keras.config.backend() == "torch"  # elsewhere each case is compiled


def check_weights(model, original):
    actual = kerasnets.state_dict(model)
    for name, expected in original.state_dict().items():
        np.testing.assert_array_equal(actual[name], expected.numpy(), err_msg=name)


# Initial weights


@pytest.mark.parametrize("name", kerasnets.list_networks())
def test_initial_weights(name):
    model = kerasnets.build(name)
    for seed in SEEDS:
        torch.manual_seed(seed)
        original = originals.build(name)
        check_weights(kerasnets.build(name, seed=seed), original)
    keras.utils.set_random_seed(seed)
    check_weights(keras.models.clone_model(model), original)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_initial_weights_in_both_data_formats(data_format):
    torch.manual_seed(3)
    original = originals.build("Net")
    check_weights(kerasnets.build("Net", seed=3, data_format=data_format), original)


def test_a_second_network_continues():
    torch.manual_seed(1)
    expected = [originals.build("Network"), originals.build("Network")]
    keras.utils.set_random_seed(1)
    for original in expected:
        check_weights(kerasnets.build("Network"), original)


def test_a_networks_own_seed_leaves_the_stream_alone():
    keras.utils.set_random_seed(1)
    kerasnets.build("Net", seed=2)
    torch.manual_seed(1)
    check_weights(kerasnets.build("Network"), originals.build("Network"))


@pytest.mark.parametrize("seed", SEEDS)
def test_layers_of_a_users_own_model(seed):
    """In the order in which they are built; the linear layer after the pooling has PyTorch's order of features."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            layers.Conv2D(4, (3, 2), padding=1, groups=1, name="a"),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Linear(7, name="b"),
            layers.Linear(2, use_bias=False, name="c"),
        ]
    )
    torch.manual_seed(seed)
    original = torch.nn.ModuleDict(
        {
            "a": torch.nn.Conv2d(3, 4, (3, 2), padding=1),
            "b": torch.nn.Linear(4 * 4 * 4, 7),
            "c": torch.nn.Linear(7, 2, bias=False),
        }
    )
    check_weights(model, original)


def test_a_model_that_is_built_by_its_first_fit():
    x, y = np.zeros((8, 5), "float32"), np.zeros(8, "int64")
    keras.utils.set_random_seed(3)
    model = keras.Sequential([layers.Linear(4, name="a"), layers.Linear(2, name="b")])
    model.compile(kerasnets.optimizers.SGD(0.0), kerasnets.losses.CrossEntropyLoss())
    kerasnets.accelerate(model).fit(x, y, verbose=0, shuffle=False)
    torch.manual_seed(3)
    check_weights(model, torch.nn.ModuleDict({"a": torch.nn.Linear(5, 4), "b": torch.nn.Linear(4, 2)}))


# Batches


def torch_batches(n, batch_size, epochs):
    loader = DataLoader(TensorDataset(torch.arange(n)), batch_size=batch_size, shuffle=True)
    return [[rows.tolist() for (rows,) in loader] for _ in range(epochs)]


@pytest.mark.once
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("n", "batch_size"), [(64, 16), (50, 16), (33, 1), (33, 33), (1, 1)])
def test_the_order_of_three_epochs(seed, n, batch_size):
    torch.manual_seed(seed)
    torch.rand(11)
    expected = torch_batches(n, batch_size, epochs=3)
    for epoch, lists in enumerate(expected):
        order = batches.epoch_order(n, seed, epoch, drawn=11)
        assert order.tolist() == [row for batch in lists for row in batch]


class Recorder(keras.layers.Layer):
    """Adds up, in a weight, each input times the number of its step, and times that number squared."""

    def build(self, shape):
        self.sums = self.add_weight(shape=(3,), initializer="zeros", trainable=False)

    def call(self, x, training=False):
        if training:
            step, first, second = self.sums[0] + 1.0, self.sums[1], self.sums[2]
            total = keras.ops.sum(x)
            self.sums.assign(keras.ops.stack([step, first + step * total, second + step * step * total]))
        return x


def sums_of(epochs):
    steps = [sum(rows) for epoch in epochs for rows in epoch]
    return [len(steps), *(sum(k**power * total for k, total in enumerate(steps, 1)) for power in (1, 2))]


def recording_model():
    recorder = Recorder()
    model = keras.Sequential([keras.Input((1,)), recorder, layers.Linear(2, name="a")])
    model.compile(kerasnets.optimizers.SGD(0.0), kerasnets.losses.CrossEntropyLoss())
    return kerasnets.accelerate(model, trust=True), recorder


@pytest.mark.parametrize("accelerate", [True, False])
@pytest.mark.parametrize(("n", "batch_size"), [(16, 4), (18, 4), (5, 1), (5, 5)] if ON_TORCH else [(18, 4), (5, 1)])
def test_fit_with_a_seed_sees_pytorchs_batches(n, batch_size, accelerate):
    """Those after the network's initial weights; the last epoch in a run that is resumed."""
    torch.manual_seed(6)
    torch.nn.Linear(1, 2)
    expected = torch_batches(n, batch_size, epochs=3)
    x, y = np.arange(n, dtype="float32")[:, None], np.zeros(n, "int64")
    options = {"batch_size": batch_size, "seed": 6, "verbose": 0, "accelerate": accelerate}
    model, recorder = recording_model()
    model.fit(x, y, epochs=2, **options)
    assert keras.ops.convert_to_numpy(recorder.sums).tolist() == sums_of(expected[:2])
    resumed, recorder = recording_model()
    resumed.fit(x, y, initial_epoch=2, epochs=3, **options)
    assert keras.ops.convert_to_numpy(recorder.sums).tolist() == sums_of(expected[2:])


def test_fit_without_a_seed_continues_the_stream():
    torch.manual_seed(4)
    torch.nn.Linear(1, 2)
    expected = torch_batches(18, 4, epochs=3)
    keras.utils.set_random_seed(4)
    model, recorder = recording_model()
    x, y = np.arange(18, dtype="float32")[:, None], np.zeros(18, "int64")
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    model.fit(x, y, batch_size=4, verbose=0)
    assert keras.ops.convert_to_numpy(recorder.sums).tolist() == sums_of(expected)


# Lines


def torch_lines(recipe, x, y, seed, every):
    """The lines of "How to create a neural network with PyTorch", and the one of "Working with neural networks"."""
    torch.manual_seed(seed)
    model = originals.build(recipe.network, **recipe.network_options)
    criterion, optimizer = build_criterion(recipe), build_optimizer(recipe, model)
    data = TensorDataset(torch.from_numpy(x[:, None]), torch.from_numpy(y))
    loader, lines = DataLoader(data, batch_size=recipe.batch_size, shuffle=True), []
    for epoch in range(recipe.epochs):
        losses = []
        for step, (images, labels) in enumerate(loader, 1):
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if step % every == 0:
                mean = sum(losses[-every:]) / every
                lines.append(f"Epoch [{epoch + 1}/{recipe.epochs}], Step [{step}/{len(loader)}], Loss: {mean:.4f}")
        lines.append(f"Training loss: {sum(losses) / len(loader):.4f}")
    return lines


@pytest.mark.parametrize("network", ["NeuralNetwork", "FashionNetwork"])
@pytest.mark.parametrize("every", [1, 4] if ON_TORCH else [1])
def test_the_printed_lines(network, every, capsys):
    """Of two epochs with a smaller last batch; each loss within 0.0005."""
    (x, y), _ = kerasnets.load_data("fashion_mnist_sample")
    x, y = x[: 8 * 64 - 20], y[: 8 * 64 - 20]
    recipe = recipes.find(network, "fashion_mnist_sample").replace(epochs=2)
    expected = torch_lines(recipe, x, y, 5, every)
    keras.utils.set_random_seed(5)
    model = training.compile_recipe(recipe)
    model.fit(x, y, batch_size=64, epochs=2, verbose=0, callbacks=[StepLog(every), LossLine()])
    actual = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" ")[0] for line in actual] == [line.rpartition(" ")[0] for line in expected]
    losses = [[float(line.rpartition(" ")[2]) for line in lines] for lines in (actual, expected)]
    np.testing.assert_allclose(*losses, rtol=0, atol=5e-4)


def test_a_training_prints_them_too(capsys):
    (x, y), test = kerasnets.load_data("fashion_mnist_sample")
    x, y = x[:200], y[:200]
    recipe = recipes.find("NeuralNetwork", "fashion_mnist_sample").replace(epochs=2)
    expected = [line for line in torch_lines(recipe, x, y, 9, 2) if line.startswith("Epoch")]
    training.train(recipe, seed=9, arrays=((x, y), (test[0][:10], test[1][:10])), log_every=2)
    actual = capsys.readouterr().out.splitlines()
    losses = [[float(line.rpartition(" ")[2]) for line in lines] for lines in (actual, expected)]
    np.testing.assert_allclose(*losses, rtol=0, atol=5e-4)


# The experiment


def test_the_experiment(tmp_path, monkeypatch):
    """In float64 every line is the same, on this backend and in plain PyTorch."""
    from kerasnets.verify import same_seed

    recipe = recipes.find("Net", "fashion_mnist_sample").replace(epochs=1, batch_size=512)
    settings = same_seed.Settings(recipe, seed=11, log_every=3, dtype="float64")
    lines = {name: same_seed.run(name, settings) for name in (same_seed.TUTORIAL, keras.config.backend())}
    assert len(lines[same_seed.TUTORIAL]) == 4
    assert same_seed.first_difference(lines) is None
    assert all(np.isfinite(same_seed.read_losses(lines[same_seed.TUTORIAL])))


@pytest.mark.once
def test_the_first_difference():
    from kerasnets.verify.same_seed import first_difference

    assert first_difference({"a": ["1", "2", "3"], "b": ["1", "5", "4"]}) == 1
    assert first_difference({"a": ["1"], "b": ["1"]}) is None
