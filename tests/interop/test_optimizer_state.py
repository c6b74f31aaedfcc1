"""Optimizer states in and out, against ``torch.optim`` on the CPU."""

import keras
import numpy as np
import pytest
import torch
from optimizer_pairs import (
    NAMES,
    RULES,
    Small,
    assert_same_weights,
    batches,
    compiled,
    keras_steps,
    pair,
    refused,
    small_network,
    torch_steps,
    two_steps,
)
from torch import nn

import kerasnets
from kerasnets import layers, optimizers, schedules
from kerasnets.interop.optimizer_state import load_optimizer_state_dict, optimizer_state_dict, scheduler_state_dict
from kerasnets.interop.weights import load_state_dict, state_dict


def test_muons_state_goes_from_pytorch_to_here_and_back():
    module = nn.Linear(4, 3, bias=False)
    theirs = torch.optim.Muon(module.parameters(), lr=0.01, adjust_lr_fn="match_rms_adamw")
    x, y = torch.randn(6, 4), torch.randint(0, 3, (6,))
    torch_steps(module, theirs, [(x, y)] * 2)
    model = keras.Sequential([keras.Input((4,)), layers.Linear(3, use_bias=False)])
    model.compile(optimizers.Muon(0.3, adjust_lr_fn="match_rms_adamw"), kerasnets.losses.CrossEntropyLoss())
    model.layers[0].kernel.assign(module.weight.detach().numpy().T)
    names = [f"{model.layers[0].name}.weight"]
    load_optimizer_state_dict(model, theirs.state_dict(), names)
    before = module.weight.detach().clone()
    torch_steps(module, theirs, [(x, y)])
    keras_steps(model, [(x, y)])
    step = (module.weight - before).detach().numpy()
    found = keras.ops.convert_to_numpy(model.layers[0].kernel).T - before.numpy()
    np.testing.assert_allclose(found, step, atol=0.05 * np.abs(step).max())
    again = torch.optim.Muon(module.parameters())
    again.load_state_dict(optimizer_state_dict(model, names))
    assert again.param_groups[0]["adjust_lr_fn"] == "match_rms_adamw"
    (kept,), (expected,) = again.state.values(), theirs.state.values()
    np.testing.assert_allclose(kept["momentum_buffer"], expected["momentum_buffer"], rtol=1e-4, atol=1e-6)


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
    "ConstantLR": (
        lambda o: torch.optim.lr_scheduler.ConstantLR(o, 0.5, total_iters=3),
        lambda: schedules.ConstantLR(0.05, 0.5, total_iters=3, steps_per_epoch=2),
        2,
    ),
    "PolynomialLR": (
        lambda o: torch.optim.lr_scheduler.PolynomialLR(o, total_iters=7, power=2.0),
        lambda: schedules.PolynomialLR(0.05, total_iters=7, power=2.0, steps_per_epoch=2),
        2,
    ),
    "MultiplicativeLR": (
        lambda o: torch.optim.lr_scheduler.MultiplicativeLR(o, lambda t: 0.8),
        lambda: schedules.MultiplicativeLR(0.05, lambda t: 0.8, epochs=9, steps_per_epoch=2),
        2,
    ),
    "CyclicLR": (
        lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.01, 0.05, step_size_up=3),
        lambda: schedules.CyclicLR(0.01, 0.05, step_size_up=3),
        1,
    ),
}


@pytest.mark.parametrize(
    ("case", "rule"),
    [
        ("StepLR", "SGD"),
        ("CosineAnnealingLR", "Adam"),
        ("OneCycleLR", "SGD"),
        ("OneCycleLR", "Adam"),
        ("ConstantLR", "SGD"),
        ("PolynomialLR", "NAdam"),
        ("MultiplicativeLR", "RAdam"),
        ("CyclicLR", "SGD"),
        ("CyclicLR", "Adamax"),
    ],
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
    with pytest.raises(ValueError, match="Give one list of names per group"):
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


@pytest.mark.parametrize("named", ["names", "param_names", "by their number"])
def test_pytorchs_optimizer_over_the_trained_parameters_only(named):
    model = small_network()
    model.get_layer("conv").trainable = False
    model.compile(optimizers.Adam(0.01), loss=kerasnets.losses.CrossEntropyLoss())
    # By their number they are in the order of the calls here, which is not that of Small's registration.
    order = NAMES if named != "by their number" else list(state_dict(model))
    trained = [name for name in order if not name.startswith("conv")]

    def start():
        module = Small()
        module.conv.requires_grad_(False)
        parameters = dict(module.named_parameters())
        if named == "param_names":
            return module, torch.optim.Adam([(name, parameters[name]) for name in trained], lr=0.01)
        return module, torch.optim.Adam([parameters[name] for name in trained], lr=0.01)

    module, optimizer = start()
    torch_steps(module, optimizer, batches(2, seed=1))
    load_state_dict(model, module.state_dict())
    load_optimizer_state_dict(model, optimizer.state_dict(), trained if named == "names" else None)
    middle = batches(2, seed=2)
    torch_steps(module, optimizer, middle)
    keras_steps(model, middle)
    assert_same_weights(model, module)

    module, optimizer = start()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in state_dict(model).items()})
    optimizer.load_state_dict(optimizer_state_dict(model, trained))
    last = batches(2, seed=3)
    torch_steps(module, optimizer, last)
    keras_steps(model, last)
    assert_same_weights(model, module)

    with pytest.raises(ValueError, match=r"missing \['fc\.bias'\], unexpected \[\]"):
        optimizer_state_dict(model, [name for name in trained if name != "fc.bias"])
    with refused(model, "groups of [4] parameters, the model (by `names`) of [6]", "may be left out of `names`"):
        load_optimizer_state_dict(model, optimizer.state_dict(), NAMES)


def test_groups_that_one_of_pytorchs_does_not_tell_apart():
    state = two_steps("AdamW", weight_decay=0.1).state_dict()
    model = compiled(optimizers.AdamW(0.05, weight_decay=0.1, param_groups=optimizers.no_weight_decay()))
    with refused(model, "weight_decay is 0.1 in PyTorch and 0.0 here"):
        load_optimizer_state_dict(model, state, NAMES)
    faster = [{"params": "bias$", "learning_rate": 0.1}]
    model = compiled(optimizers.AdamW(0.05, weight_decay=0.1, param_groups=faster))
    with refused(model, "not in the ratio of param_groups here: [0.025, 0.05]"):
        load_optimizer_state_dict(model, state, NAMES)
    still = [{"params": "bias$", "learning_rate": 0.0}]
    model = compiled(optimizers.AdamW(0.05, weight_decay=0.1, param_groups=still))
    with refused(model, "lr of param_groups[0] is 0.05, and here it is always 0"):
        load_optimizer_state_dict(model, state, NAMES)


def test_each_group_follows_the_schedule_from_its_own_rate():
    biases = [name for name in NAMES if name.endswith("bias")]
    groups = [[name for name in NAMES if name not in biases], biases]
    module = Small()
    parameters = dict(module.named_parameters())
    optimizer = torch.optim.SGD(
        [{"params": [parameters[n] for n in g], "lr": 0.05 * (i + 1)} for i, g in enumerate(groups)]
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    torch_steps(module, optimizer, batches(3, seed=1), scheduler)
    faster = [{"params": "(bias|beta)$", "learning_rate": 0.1}]
    model = compiled(optimizers.SGD(schedules.StepLR(0.05, 2), param_groups=faster))
    load_state_dict(model, module.state_dict())
    load_optimizer_state_dict(model, optimizer.state_dict(), groups, scheduler.state_dict())
    step = batches(2, seed=2)
    torch_steps(module, optimizer, step, scheduler)
    keras_steps(model, step)
    assert_same_weights(model, module)
    there = optimizer.state_dict()["param_groups"]
    for here, group in zip(optimizer_state_dict(model, groups)["param_groups"], there, strict=True):
        assert here["initial_lr"] == pytest.approx(group["initial_lr"])
        assert here["lr"] == pytest.approx(group["lr"])


def test_groups_keep_their_ratio_while_the_learning_rate_is_0():
    biases = [name for name in NAMES if name.endswith("bias")]
    groups = [[name for name in NAMES if name not in biases], biases]
    model = compiled(optimizers.SGD(0.01, param_groups=[{"params": "(bias|beta)$", "learning_rate": 0.02}]))
    state = optimizer_state_dict(model, groups)
    model.optimizer.learning_rate = 0.0
    load_optimizer_state_dict(model, state, groups)
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(0.01)
