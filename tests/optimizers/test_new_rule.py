"""A rule that kerasnets doesn't have is one class: it trains, is saved, and exchanges its state with torch.optim."""

from typing import ClassVar

import keras
import numpy as np
import pytest
import torch
from keras import ops

import kerasnets
from kerasnets import layers, losses, models, optimizers, schedules


@keras.saving.register_keras_serializable(package="tests")
class Adamax(optimizers.Optimizer):
    """``torch.optim.Adamax``: u ← max(β₂·u, |g| + ε), θ ← θ − γ/(1 − β₁ᵗ)·m/u."""

    torch_settings: ClassVar = {"betas": ("beta_1", "beta_2"), "eps": "epsilon"}

    def __init__(self, learning_rate=0.002, beta_1=0.9, beta_2=0.999, epsilon=1e-8, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    @property
    def state_names(self):
        return ["exp_avg", "exp_inf"]

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self.prepare(gradient, variable, learning_rate)
        state = self.state_of(variable)
        mean = self.beta_1 * ops.convert_to_tensor(state["exp_avg"]) + (1 - self.beta_1) * gradient
        decayed, size = self.beta_2 * ops.convert_to_tensor(state["exp_inf"]), ops.abs(gradient) + self.epsilon
        largest = ops.where(decayed > size, decayed, size)
        self.assign(state["exp_avg"], mean)
        self.assign(state["exp_inf"], largest)
        correction = 1 - self.beta_1 ** ops.cast(self.iterations + 1, variable.dtype)
        self.assign(variable, value - rate / correction * mean / largest)

    def get_config(self):
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="tests")
class Inherits(optimizers.SGD):
    """Doesn't say which settings PyTorch has for it."""


NAMES = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]


def original():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(12, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))


def small(optimizer, module):
    """A compiled model with the weights of `module`, which may take the fast path."""
    model = models.Sequential(
        [
            keras.Input((3, 4)),
            layers.Flatten(),
            layers.Linear(4, activation="relu", name="fc1"),
            layers.Linear(3, name="fc2"),
        ]
    )
    model.compile(optimizer, loss=losses.CrossEntropyLoss())
    kerasnets.load_state_dict(model, dict(zip(NAMES, module.state_dict().values(), strict=True)))
    return kerasnets.accelerate(model, trust=True)


def data():
    generator = np.random.default_rng(0)
    return generator.normal(size=(12, 3, 4)).astype("float32"), np.arange(12) % 3


def torch_epoch(module, optimizer):
    x, y = map(torch.from_numpy, data())
    for start in range(0, 12, 4):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(x[start : start + 4].flatten(1)), y[start : start + 4]).backward()
        optimizer.step()


def keras_epoch(model):
    model.fit(*data(), batch_size=4, shuffle=False, verbose=0)


def assert_same_weights(model, module):
    for name, tensor in zip(NAMES, module.state_dict().values(), strict=True):
        np.testing.assert_allclose(kerasnets.state_dict(model)[name], tensor.numpy(), rtol=1e-4, atol=1e-6)


def test_a_seventh_optimizer_is_one_class(tmp_path):
    settings = {"lr": 0.05, "betas": (0.8, 0.9), "weight_decay": 0.1}
    module = original()
    optimizer = torch.optim.Adamax(module.parameters(), **settings)
    model = small(Adamax(0.05, 0.8, 0.9, weight_decay=0.1), module)
    torch_epoch(module, optimizer)
    keras_epoch(model)
    assert_same_weights(model, module)

    model.save(tmp_path / "model.keras")
    model = kerasnets.accelerate(kerasnets.load_model(tmp_path / "model.keras"), trust=True)
    assert type(model.optimizer) is Adamax
    torch_epoch(module, optimizer)
    keras_epoch(model)
    assert_same_weights(model, module)

    other = small(Adamax(0.3, 0.8, 0.9, weight_decay=0.1), module)
    kerasnets.load_optimizer_state_dict(other, optimizer.state_dict(), NAMES)
    state = kerasnets.optimizer_state_dict(model, NAMES)
    again = original()
    again.load_state_dict(module.state_dict())
    optimizer_again = torch.optim.Adamax(again.parameters())
    optimizer_again.load_state_dict(state)
    torch_epoch(module, optimizer)
    torch_epoch(again, optimizer_again)
    keras_epoch(other)
    assert_same_weights(other, module)
    assert_same_weights(other, again)


def test_a_new_rule_has_the_features_of_the_base_class():
    groups = [{"params": "bias$", "learning_rate": 0.1, "weight_decay": 0.0}]
    module = original()
    theirs = [{"params": [p for p in module.parameters() if p.ndim == 2]}]
    theirs.append({"params": [p for p in module.parameters() if p.ndim == 1], "lr": 0.1, "weight_decay": 0.0})
    optimizer = torch.optim.Adamax(theirs, lr=0.05, weight_decay=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    schedule = schedules.ExponentialLR(0.05, 0.5, steps_per_epoch=3)
    model = small(Adamax(schedule, weight_decay=0.1, param_groups=groups), module)
    for _ in range(2):
        torch_epoch(module, optimizer)
        scheduler.step()
        keras_epoch(model)
    assert_same_weights(model, module)
    with pytest.raises(ValueError, match="Adamax has neither"):
        Adamax(schedules.OneCycleLR(0.1, 9))


def test_a_rule_without_settings_has_no_state_in_pytorch():
    model = small(Inherits(0.1), original())
    with pytest.raises(TypeError, match=r"test_new_rule\.Inherits; .*SGD, Adadelta.* that states its torch_settings"):
        kerasnets.optimizer_state_dict(model)
