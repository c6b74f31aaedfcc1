"""Optimizers in a compiled step, and in files."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import torch
from gradients import precision
from optimizer_steps import TOLERANCE, lr_scheduler, variables_of

from kerasnets import layers, losses, optimizers, schedules


class Net(torch.nn.Module):
    def __init__(self, model, dtype):
        super().__init__()
        w1, b1, w2, b2 = (torch.tensor(w, dtype=dtype) for w in model.get_weights())
        self.p = torch.nn.ParameterList([w1, b1, w2, b2])

    def forward(self, x):
        return torch.relu(x @ self.p[0] + self.p[1]) @ self.p[2] + self.p[3]


def two_layers():
    return keras.Sequential(
        [
            keras.Input((3,)),
            layers.Linear(4, activation="relu", name="fc1"),
            layers.Linear(2, name="fc2"),
        ]
    )


def fit_both(dtype, ours, theirs, scheduler, epochs=3):
    """Weights of `model.fit`, compiled as the backend does it, and of PyTorch's loop on the same batches."""
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(12, 3)).astype(dtype), generator.normal(size=(12, 2)).astype(dtype)
    model = two_layers()
    net = Net(model, getattr(torch, dtype))
    optimizer = theirs(net)
    scheduler = scheduler(optimizer)
    for _ in range(epochs):
        for batch in range(0, 12, 4):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(
                net(torch.tensor(x[batch : batch + 4])), torch.tensor(y[batch : batch + 4])
            )
            loss.backward()
            optimizer.step()
            scheduler.step()
    model.compile(ours, loss=losses.MSELoss())
    model.fit(x, y, batch_size=4, epochs=epochs, shuffle=False, verbose=0)
    for found, expected in zip(model.get_weights(), net.p, strict=True):
        np.testing.assert_allclose(found, expected.detach().numpy(), **TOLERANCE[dtype])
    return model


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_fit_is_pytorchs_loop(name, dtype):
    """A schedule that moves momentum inside the compiled step, and groups, against a plain PyTorch loop."""
    with precision(dtype):
        fit_both(
            dtype,
            getattr(optimizers, name)(
                schedules.OneCycleLR(0.2, 9),
                weight_decay=0.1,
                param_groups=optimizers.no_weight_decay(),
            ),
            lambda net: getattr(torch.optim, name)(
                [{"params": [net.p[0], net.p[2]]}, {"params": [net.p[1], net.p[3]], "weight_decay": 0.0}],
                lr=0.01,
                weight_decay=0.1,
            ),
            lambda o: lr_scheduler.OneCycleLR(o, 0.2, 9),
        )


class Change(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.optimizer.learning_rate = 0.01
            self.model.optimizer.momentum = 0.5


def test_values_set_between_epochs_reach_the_compiled_step():
    """A callback's new rate and momentum are those of the next epoch, without compiling again."""
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(8, 3)).astype("float32"), generator.normal(size=(8, 2)).astype("float32")
    model = two_layers()
    net = Net(model, torch.float32)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    for epoch in range(3):
        if epoch == 1:
            optimizer.param_groups[0].update(lr=0.01, momentum=0.5)
        for batch in (0, 4):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(
                net(torch.tensor(x[batch : batch + 4])), torch.tensor(y[batch : batch + 4])
            ).backward()
            optimizer.step()
    model.compile(optimizers.SGD(0.2, momentum=0.9), loss="mse")
    model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=[Change()])
    for found, expected in zip(model.get_weights(), net.p, strict=True):
        np.testing.assert_allclose(found, expected.detach().numpy(), **TOLERANCE["float32"])


def makers():
    groups = [
        {"params": "fc2/kernel", "learning_rate": 0.02, "weight_decay": 0.3},
        {"params": "bias", "weight_decay": 0.0},
    ]
    cycle = schedules.OneCycleLR(0.1, 12, three_phase=True)
    warm = schedules.SequentialLR(
        [schedules.LinearLR(0.1), schedules.CosineAnnealingLR(0.1, 4)], [3], steps_per_epoch=2
    )
    table = schedules.LambdaLR(0.1, lambda t: 0.9**t, epochs=9)
    return {
        "sgd": lambda: optimizers.SGD(0.1, 0.9, 0.1, 0.01, param_groups=groups, clip_grad_norm=1.0),
        "sgd one cycle": lambda: optimizers.SGD(cycle, weight_decay=0.1, param_groups=groups),
        "adam": lambda: optimizers.Adam(warm, 0.8, 0.99, 1e-6, 0.01, amsgrad=True, clip_grad_value=0.1),
        "adamw one cycle": lambda: optimizers.AdamW(cycle, maximize=True),
        "rmsprop": lambda: optimizers.RMSprop(0.01, 0.9, 1e-6, 0.01, 0.5, centered=True),
        "adagrad": lambda: optimizers.Adagrad(table, 0.1, 0.01, 0.2, 1e-6),
        "adadelta": lambda: optimizers.Adadelta(0.5, 0.8, 1e-5, 0.01),
        "nadam one cycle": lambda: optimizers.NAdam(cycle, weight_decay=0.1, momentum_decay=0.1),
        "radam": lambda: optimizers.RAdam(0.1, 0.8, 0.9, 1e-6, 0.1, True, clip_grad_norm=1.0),
        "adamax": lambda: optimizers.Adamax(0.1, 0.8, 0.9, 1e-6, 0.1, param_groups=groups),
    }


@pytest.mark.parametrize("name", makers())
def test_configuration_round_trip(name):
    optimizer = makers()[name]()
    config = optimizer.get_config()
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is type(optimizer)
    assert (
        again.get_config()
        == config
        == keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer)).get_config()
    )


@pytest.mark.parametrize("name", makers())
def test_a_saved_model_goes_on_identically(name, tmp_path):
    """Two epochs, a .keras file, two more: as four in one go; state, schedule and groups included."""
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(8, 3)).astype("float32"), generator.normal(size=(8, 2)).astype("float32")
    options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    model = two_layers()
    model.compile(makers()[name](), loss="mse")
    model.fit(x, y, **options)
    if model.optimizer.schedule is None:
        model.optimizer.learning_rate = 0.03
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for this in (model, again):
        this.fit(x, y, **options)
    assert int(again.optimizer.iterations) == 8
    for found, expected in zip(
        [*again.weights, *again.optimizer.variables], [*model.weights, *model.optimizer.variables], strict=True
    ):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(expected), rtol=1e-6, atol=1e-8
        )


GO_ON = """
import sys
import numpy as np
import kerasnets
import keras

data = np.load(sys.argv[1])
for path in sys.argv[2:]:
    model = keras.models.load_model(path)
    model.fit(data["x"], data["y"], batch_size=4, epochs=2, shuffle=False, verbose=0)
    np.savez(path + ".npz", *model.get_weights())
"""


@pytest.mark.skipif(keras.config.backend() == "torch", reason="for the other backends: a file that torch continues")
def test_a_saved_model_goes_on_with_torch(tmp_path):
    """A file of the active backend, continued by the torch backend, ends where the active one would."""
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(8, 3)).astype("float32"), generator.normal(size=(8, 2)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    models = {}
    for name in ("sgd one cycle", "adam"):
        model = models[tmp_path / f"{name}.keras"] = two_layers()
        model.compile(makers()[name](), loss="mse")
        model.fit(x, y, **options)
        model.save(tmp_path / f"{name}.keras")
    # One process for both: importing is what takes the time.
    subprocess.run(
        [sys.executable, "-c", GO_ON, tmp_path / "data.npz", *models],
        check=True,
        env={**os.environ, "KERAS_BACKEND": "torch", "KERAS_TORCH_DEVICE": "cpu"},
    )
    for path, model in models.items():
        model.fit(x, y, **options)
        found = np.load(f"{path}.npz")
        for key, expected in zip(found.files, model.get_weights(), strict=True):
            np.testing.assert_allclose(found[key], expected, **TOLERANCE["float32"])


def test_the_order_of_the_state_is_fixed():
    """The file has numbers, not names: this order is the format, the same on every backend."""
    (variable,) = variables_of([np.zeros(2)], "float32")
    expected = {
        "sgd": ["iteration", "learning_rate", "momentum", "w0_momentum_buffer"],
        "sgd one cycle": ["iteration", "momentum", "w0_momentum_buffer"],
        "adam": [
            "iteration",
            "one_minus_beta_1",
            "one_minus_beta_2",
            "w0_exp_avg",
            "w0_exp_avg_sq",
            "w0_max_exp_avg_sq",
        ],
        "adamw one cycle": ["iteration", "one_minus_beta_1", "one_minus_beta_2", "w0_exp_avg", "w0_exp_avg_sq"],
        "rmsprop": ["iteration", "learning_rate", "momentum", "w0_square_avg", "w0_grad_avg", "w0_momentum_buffer"],
        "adagrad": ["iteration", "w0_sum"],
        "adadelta": ["iteration", "learning_rate", "w0_square_avg", "w0_acc_delta"],
    }
    for name, names in expected.items():
        optimizer = makers()[name]()
        optimizer = type(optimizer).from_config({**optimizer.get_config(), "param_groups": None})
        optimizer.build([variable])
        assert [v.name for v in optimizer.variables] == names


def test_float32_betas_are_exact():
    """1 − β₂ is 0.001 to the last digit; 1 − float32(0.999) is 1.3e-5 off."""
    optimizer = optimizers.Adam()
    assert keras.ops.convert_to_numpy(optimizer._one_minus_beta_2) == np.float32(0.001)
    assert keras.ops.convert_to_numpy(optimizer.beta_2) == np.float32(0.999)
