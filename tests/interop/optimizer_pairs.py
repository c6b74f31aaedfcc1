"""A small module, the same network in Keras, and steps of both."""

import contextlib

import keras
import numpy as np
import pytest
import torch
from torch import nn

import kerasnets
from kerasnets import layers, optimizers
from kerasnets.interop.weights import state_dict


class Small(nn.Module):
    """Registers its modules in another order than it calls them, as ConvNeuralNetwork does."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2 * 9, 3)
        self.norm = nn.LayerNorm(18)
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x[:, None]).flatten(1)))


def small_network():
    return keras.Sequential(
        [
            keras.Input((5, 5)),
            keras.layers.Reshape((5, 5, 1)),
            layers.Conv2D(2, 3, name="conv", data_format="channels_last"),
            layers.Flatten(data_format="channels_last"),
            keras.layers.LayerNormalization(name="norm", epsilon=1e-5),
            layers.Linear(3, name="fc"),
        ]
    )


NAMES = [name for name, _ in Small().named_parameters()]
RULES = {
    "SGD": ({"lr": 0.05}, {}),
    "SGD momentum": ({"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}, {}),
    "SGD dampening": ({"lr": 0.05, "momentum": 0.9, "dampening": 0.3}, {}),
    "SGD nesterov": ({"lr": 0.05, "momentum": 0.9, "nesterov": True}, {}),
    "Adam": ({"lr": 0.01}, {}),
    "Adam amsgrad": ({"lr": 0.01, "betas": (0.8, 0.95), "amsgrad": True}, {"beta_1": 0.8, "beta_2": 0.95}),
    "AdamW": ({"lr": 0.01, "weight_decay": 0.1}, {}),
    "RMSprop": ({"lr": 0.01}, {}),
    "RMSprop centered": ({"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "centered": True}, {"rho": 0.9}),
    "Adagrad": ({"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.2}, {}),
    "Adadelta": ({"lr": 1.0}, {}),
    "NAdam": ({"lr": 0.01, "weight_decay": 0.01, "decoupled_weight_decay": True}, {}),
    "RAdam": ({"lr": 0.01}, {}),
    "Adamax": ({"lr": 0.01}, {}),
}


def pair(case):
    """PyTorch's class and settings, and ours."""
    settings, ours = RULES[case]
    renamed = {k: v for k, v in settings.items() if k not in ("lr", "betas", "alpha")}
    return (getattr(torch.optim, case.split()[0]), settings), (
        getattr(optimizers, case.split()[0]),
        {"learning_rate": settings["lr"], **renamed, **ours},
    )


def batches(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(6, 5, 5, generator=generator), torch.randint(0, 3, (6,), generator=generator))
        for _ in range(count)
    ]


def torch_steps(module, optimizer, data, scheduler=None, every=1):
    for number, (x, y) in enumerate(data, start=1):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
        if scheduler and number % every == 0:
            scheduler.step()


def keras_steps(model, data):
    for x, y in data:
        model.train_on_batch(x.numpy(), y.numpy())


def compiled(optimizer):
    model = small_network()
    model.compile(optimizer, loss=kerasnets.losses.CrossEntropyLoss())
    return model


def assert_same_weights(model, module):
    for name, tensor in module.state_dict().items():
        np.testing.assert_allclose(state_dict(model)[name], tensor.numpy(), rtol=2e-5, atol=5e-6, err_msg=name)


def values(model):
    """Everything that the optimizer keeps: rate, steps, moments."""
    return [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]


@contextlib.contextmanager
def refused(model, *messages, error=ValueError):
    """What is done inside raises an error with these messages, and leaves the optimizer as it was."""
    keras_steps(model, batches(1, seed=9))  # so that there is something to lose
    before = values(model)
    with pytest.raises(error) as caught:
        yield caught
    for message in messages:
        assert message in str(caught.value)
    for value, old in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(value, old)


def no_steps(rule, **settings):
    return getattr(torch.optim, rule)(Small().parameters(), lr=0.05, **settings)


def two_steps(rule, **settings):
    module = Small()
    optimizer = getattr(torch.optim, rule)(module.parameters(), lr=0.05, **settings)
    torch_steps(module, optimizer, batches(2, seed=1))
    return optimizer
