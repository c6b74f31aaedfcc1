"""Optimizer states in and out, against ``torch.optim`` on the CPU."""

import keras
import numpy as np
import pytest
import torch
from torch import nn

import kerasnets
from kerasnets import layers, optimizers, schedules
from kerasnets.optimizer_state import load_optimizer_state_dict, optimizer_state_dict, scheduler_state_dict
from kerasnets.state_dict import load_state_dict, state_dict


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


@pytest.mark.parametrize("case", RULES)
def test_training_goes_from_pytorch_to_here_and_back(case, tmp_path):
    (torch_class, settings), (keras_class, ours) = pair(case)
    module = Small()
    optimizer = torch_class(module.parameters(), **settings)
    torch_steps(module, optimizer, batches(3, seed=1))
    for group in optimizer.param_groups:
        group["lr"] *= 0.5  # as a scheduler does
    model = compiled(keras_class(**ours))
    load_state_dict(model, module.state_dict())
    load_optimizer_state_dict(model, optimizer.state_dict(), NAMES)
    assert_same_weights(model, module)
    for step in batches(3, seed=2):
        torch_steps(module, optimizer, [step])
        keras_steps(model, [step])
        assert_same_weights(model, module)

    module = Small()
    optimizer = torch_class(module.parameters(), **{**settings, "lr": 0.3})
    module.load_state_dict({k: torch.from_numpy(v) for k, v in state_dict(model).items()})
    torch.save(optimizer_state_dict(model, NAMES), tmp_path / "optimizer.pt")
    optimizer.load_state_dict(torch.load(tmp_path / "optimizer.pt"))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(settings["lr"] / 2)
    for step in batches(3, seed=3):
        torch_steps(module, optimizer, [step])
        keras_steps(model, [step])
        assert_same_weights(model, module)


@pytest.mark.parametrize("case", ["SGD momentum", "Adam", "Adagrad"])
def test_before_the_first_step_there_is_nothing_to_move(case):
    (torch_class, settings), (keras_class, ours) = pair(case)
    model, module = compiled(keras_class(**ours)), Small()
    optimizer = torch_class(module.parameters(), **settings)
    keras_steps(model, batches(2, seed=5))  # traces that loading has to wipe out
    load_state_dict(model, module.state_dict())
    load_optimizer_state_dict(model, optimizer.state_dict(), NAMES)
    fresh = compiled(keras_class(**ours))
    load_state_dict(fresh, module.state_dict())
    optimizer.load_state_dict(optimizer_state_dict(fresh, NAMES))
    step = batches(1, seed=2)
    torch_steps(module, optimizer, step)
    for each in (model, fresh):
        keras_steps(each, step)
        assert_same_weights(each, module)


SCHEDULES = {
    "StepLR": (
        lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=2, gamma=0.1),
        lambda: schedules.StepLR(0.05, step_size=2, gamma=0.1, steps_per_epoch=2),
        2,
    ),
    "CosineAnnealingLR": (
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=5),
        lambda: schedules.CosineAnnealingLR(0.05, T_max=5, steps_per_epoch=2),
        2,
    ),
    "OneCycleLR": (
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.05, total_steps=12),
        lambda: schedules.OneCycleLR(0.05, total_steps=12),
        1,
    ),
}


@pytest.mark.parametrize(
    ("case", "rule"), [("StepLR", "SGD"), ("CosineAnnealingLR", "Adam"), ("OneCycleLR", "SGD"), ("OneCycleLR", "Adam")]
)
def test_the_scheduler_goes_along_both_ways(case, rule):
    torch_schedule, keras_schedule, every = SCHEDULES[case]
    options = {"momentum": 0.9} if rule == "SGD" else {}

    def start():
        module = Small()
        optimizer = getattr(torch.optim, rule)(module.parameters(), lr=0.05, **options)
        return module, optimizer, torch_schedule(optimizer)

    module, optimizer, scheduler = start()
    torch_steps(module, optimizer, batches(4, seed=1), scheduler, every)
    model = compiled(getattr(optimizers, rule)(keras_schedule(), **options))
    load_state_dict(model, module.state_dict())
    load_optimizer_state_dict(model, optimizer.state_dict(), NAMES, scheduler=scheduler.state_dict())
    middle = batches(2, seed=2)
    torch_steps(module, optimizer, middle, scheduler, every)
    keras_steps(model, middle)
    assert_same_weights(model, module)

    module, optimizer, scheduler = start()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in state_dict(model).items()})
    scheduler.load_state_dict({**scheduler.state_dict(), **scheduler_state_dict(model)})
    optimizer.load_state_dict(optimizer_state_dict(model, NAMES))
    last = batches(4, seed=3)
    torch_steps(module, optimizer, last, scheduler, every)
    keras_steps(model, last)
    assert_same_weights(model, module)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(
        float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)), rel=1e-5
    )


def test_parameter_groups_both_ways():
    decayed = [name for name in NAMES if name in ("conv.weight", "fc.weight")]
    groups = [decayed, [name for name in NAMES if name not in decayed]]
    model = compiled(
        optimizers.AdamW(
            0.01,
            weight_decay=0.1,
            param_groups=[{"params": r"(bias|gamma|beta)$", "weight_decay": 0.0, "learning_rate": 0.02}],
        )
    )
    keras_steps(model, batches(2, seed=1))
    module = Small()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in state_dict(model).items()})
    parameters = dict(module.named_parameters())
    optimizer = torch.optim.AdamW([{"params": [(n, parameters[n]) for n in group]} for group in groups])
    with pytest.raises(ValueError, match="Give a list of names a group"):
        optimizer_state_dict(model, NAMES)
    optimizer.load_state_dict(optimizer_state_dict(model, groups))
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [
        (pytest.approx(0.01), pytest.approx(0.1)),
        (pytest.approx(0.02), 0.0),
    ]
    torch_steps(module, optimizer, batches(2, seed=2))
    for group in optimizer.param_groups:
        group["lr"] *= 0.1
    load_state_dict(model, module.state_dict())
    load_optimizer_state_dict(model, optimizer.state_dict())  # it knows the names itself
    torch_steps(module, optimizer, batches(2, seed=3))
    keras_steps(model, batches(2, seed=3))
    assert_same_weights(model, module)
    optimizer.param_groups[0]["lr"] *= 0.1
    with pytest.raises(ValueError, match="ratio of param_groups"):
        load_optimizer_state_dict(model, optimizer.state_dict())


def test_frozen_layers_have_no_state():
    model = small_network()
    model.get_layer("conv").trainable = False
    model.compile(optimizers.SGD(0.05, momentum=0.9), loss=kerasnets.losses.CrossEntropyLoss())
    keras_steps(model, batches(2, seed=1))
    state = optimizer_state_dict(model, NAMES)
    assert sorted(NAMES[i] for i in state["state"]) == ["fc.bias", "fc.weight", "norm.bias", "norm.weight"]
    assert state["param_groups"][0]["params"] == list(range(len(NAMES)))
    load_optimizer_state_dict(model, state, NAMES)


def test_optimizer_states_that_do_not_fit_change_nothing():
    module = Small()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    torch_steps(module, optimizer, batches(2, seed=1))
    state = optimizer.state_dict()
    model = compiled(optimizers.SGD(0.3, momentum=0.8))
    keras_steps(model, batches(1, seed=1))
    before = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    order = sorted(NAMES)
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        load_optimizer_state_dict(model, state, order)
    message = str(error.value)
    assert "momentum is 0.9 in PyTorch and 0.8 here" in message
    assert "weight_decay is 0.1 in PyTorch and 0.0 here" in message
    assert "momentum_buffer of conv.bias has shape (3, 18), expected (2,)" in message
    with pytest.raises(ValueError, match=r"missing \['fc\.bias'\], unexpected \['fc\.biass'\]"):
        load_optimizer_state_dict(model, state, [n.replace("fc.bias", "fc.biass") for n in NAMES])
    shorter = {**state, "param_groups": [{**state["param_groups"][0], "params": [0, 1, 2, 3, 4]}]}
    with pytest.raises(ValueError, match=r"groups of \[5\] parameters, the model \(by `names`\) of \[6\]"):
        load_optimizer_state_dict(model, shorter, NAMES)
    with pytest.raises(ValueError, match="'state' and 'param_groups'"):
        load_optimizer_state_dict(model, module.state_dict(), NAMES)
    scheduled = compiled(optimizers.SGD(schedules.StepLR(0.7, 1), momentum=0.9, weight_decay=0.1))
    with pytest.raises(ValueError, match="the schedule here has"):
        load_optimizer_state_dict(scheduled, state, NAMES)
    adam = compiled(optimizers.Adam(0.05, weight_decay=0.1))
    with pytest.raises(ValueError, match=r"has the state \['momentum_buffer'\], expected \['exp_avg', 'exp_avg_sq'\]"):
        load_optimizer_state_dict(adam, state, NAMES)
    for variable, value in zip(model.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


def test_only_optimizers_with_pytorchs_rule_have_its_state():
    model = small_network()
    with pytest.raises(ValueError, match="not compiled"):
        optimizer_state_dict(model)
    model.compile(keras.optimizers.SGD(0.1), loss=kerasnets.losses.CrossEntropyLoss())
    with pytest.raises(TypeError, match="expected one of kerasnets"):
        optimizer_state_dict(model)
    with pytest.raises(ValueError, match="no schedule"):
        scheduler_state_dict(compiled(optimizers.SGD(0.1)))
