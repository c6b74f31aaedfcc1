"""Optimizer states in and out, against ``torch.optim`` on the CPU."""

import contextlib

import keras
import numpy as np
import pytest
import torch
from torch import nn

import kerasnets
from kerasnets import layers, optimizers, schedules
from kerasnets.interop.layer_weights import Entry
from kerasnets.interop.optimizer_state import load_optimizer_state_dict, optimizer_state_dict, scheduler_state_dict
from kerasnets.interop.weights import load_state_dict, state_dict


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


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon needs PyTorch 2.9")
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


def no_steps(rule, **settings):
    return getattr(torch.optim, rule)(Small().parameters(), lr=0.05, **settings)


def two_steps(rule, **settings):
    module = Small()
    optimizer = getattr(torch.optim, rule)(module.parameters(), lr=0.05, **settings)
    torch_steps(module, optimizer, batches(2, seed=1))
    return optimizer


def lacks(names, rule):
    return f"param_groups[0] has no {names}, so it is not the state of PyTorch's {rule}"


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (
            lambda: two_steps("AdamW", weight_decay=0.1),
            lambda: optimizers.Adam(0.05, weight_decay=0.1),
            "decoupled_weight_decay is True in PyTorch and False here: AdamW decouples it, Adam doesn't",
        ),
        (
            lambda: two_steps("Adam", weight_decay=0.1),
            lambda: optimizers.AdamW(0.05, weight_decay=0.1),
            "decoupled_weight_decay is False in PyTorch and True here: AdamW decouples it, Adam doesn't",
        ),
        (lambda: two_steps("RAdam"), lambda: optimizers.Adam(0.05), lacks("'amsgrad'", "Adam")),
        (lambda: two_steps("SGD"), lambda: optimizers.Adam(0.05), lacks("'betas', 'eps', 'amsgrad'", "Adam")),
        (lambda: two_steps("SGD"), lambda: optimizers.RMSprop(0.05), lacks("'alpha', 'eps', 'centered'", "RMSprop")),
        (
            lambda: two_steps("SGD"),
            lambda: optimizers.Adagrad(0.05),
            lacks("'lr_decay', 'eps', 'initial_accumulator_value'", "Adagrad"),
        ),
        (lambda: no_steps("Adam"), lambda: optimizers.SGD(0.05), lacks("'dampening', 'nesterov', 'momentum'", "SGD")),
        (
            lambda: no_steps("LBFGS"),
            lambda: optimizers.SGD(0.05),
            lacks("'dampening', 'nesterov', 'momentum', 'weight_decay'", "SGD"),
        ),
    ],
    ids=[
        "AdamW to Adam",
        "Adam to AdamW",
        "RAdam to Adam",
        "SGD to Adam",
        "SGD to RMSprop",
        "SGD to Adagrad",
        "fresh Adam to SGD",
        "LBFGS to SGD",
    ],
)
def test_the_state_of_another_optimizer_is_refused(theirs, ours, message):
    model = compiled(ours())
    with refused(model, message):
        load_optimizer_state_dict(model, theirs().state_dict(), NAMES)


@pytest.mark.parametrize("case", ["Adam as AdamW", "an old file"])
def test_states_of_the_same_rule_are_taken(case):
    module = Small()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    torch_steps(module, optimizer, batches(2, seed=1))
    state = optimizer.state_dict()
    if case == "an old file":  # of PyTorch 1.11, which had neither
        for group in state["param_groups"]:
            del group["maximize"], group["decoupled_weight_decay"]
    # Without weight decay the two are one rule.
    model = compiled(optimizers.AdamW(0.01, weight_decay=0.0) if case == "Adam as AdamW" else optimizers.Adam(0.01))
    load_state_dict(model, module.state_dict())
    load_optimizer_state_dict(model, state, NAMES)
    step = batches(1, seed=2)
    torch_steps(module, optimizer, step)
    keras_steps(model, step)
    assert_same_weights(model, module)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (lambda: 0.05, "learning rate is a function, which can't be set"),
        (keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9), "is a ExponentialDecay, which can't be set"),
    ],
    ids=["callable", "Keras's schedule"],
)
def test_a_learning_rate_that_cannot_be_set_is_refused(rate, message):
    model = compiled(optimizers.Adam(rate))
    with refused(model, message):
        load_optimizer_state_dict(model, two_steps("Adam").state_dict(), NAMES)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lr", -0.1, "lr of param_groups[0] is -0.1, expected a finite number ≥ 0"),
        ("lr", float("nan"), "lr of param_groups[0] is nan, expected a finite number ≥ 0"),
        ("lr", float("inf"), "lr of param_groups[0] is inf, expected a finite number ≥ 0"),
        ("lr", "0.05", "lr of param_groups[0] is '0.05', expected a finite number ≥ 0"),
        ("lr", torch.ones(2), "lr of param_groups[0] is tensor([1., 1.]), expected a finite number ≥ 0"),
        ("lr", None, "lr of param_groups[0] is None, expected a finite number ≥ 0"),
        ("eps", "small", "eps is small in PyTorch and 1e-08 here"),
        ("betas", (0.9, 0.999, 0.5), "betas is (0.9, 0.999, 0.5) in PyTorch and (0.9, 0.999) here"),
    ],
)
def test_settings_that_are_none_are_refused(key, value, message):
    state = two_steps("Adam").state_dict()
    state["param_groups"][0][key] = value
    model = compiled(optimizers.Adam(0.05))
    with refused(model) as caught:
        load_optimizer_state_dict(model, state, NAMES)
    # There is no second message: an invalid rate isn't compared with the other groups' rates.
    assert str(caught.value) == f"The optimizer's state doesn't fit; nothing was loaded.\n  {message}"


def test_a_learning_rate_that_is_a_tensor():
    state = two_steps("Adam").state_dict()
    state["param_groups"][0]["lr"] = torch.tensor(0.25)  # as capturable=True keeps it
    model = compiled(optimizers.Adam(0.05))
    load_optimizer_state_dict(model, state, NAMES)
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == 0.25


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


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("exp_avg", "moments", "exp_avg of fc.weight is of type str, expected numbers of shape (3, 18)"),
        (
            "exp_avg",
            torch.zeros(3, 18, dtype=torch.complex64),
            "exp_avg of fc.weight is of type Tensor torch.complex64, ",
        ),
        ("exp_avg", torch.zeros(3, 18).to_sparse(), "exp_avg of fc.weight can't be read: "),
        ("exp_avg", np.zeros((3, 18), "M8[s]"), "exp_avg of fc.weight is of type ndarray datetime64[s], expected"),
        ("exp_avg", None, "fc.weight has the state ['exp_avg_sq'], expected ['exp_avg', 'exp_avg_sq']"),
        ("step", "two", "step of fc.weight is 'two', expected a whole number ≥ 0"),
        ("step", torch.tensor(float("nan")), "step of fc.weight is tensor(nan), expected a whole number ≥ 0"),
        ("step", torch.tensor(-2.0), "step of fc.weight is tensor(-2.), expected a whole number ≥ 0"),
        ("step", 2.5, "step of fc.weight is 2.5, expected a whole number ≥ 0"),
        ("step", torch.ones(2), "step of fc.weight is tensor([1., 1.]), expected a whole number ≥ 0"),
        ("step", torch.tensor(2.0, device="meta"), "step of fc.weight is tensor(..., device='meta'"),
        ("step", 3, "different numbers of steps: [2, 3]"),
    ],
)
def test_damaged_entries_are_refused(name, value, message):
    state = two_steps("Adam").state_dict()
    state["state"][0][name] = value
    model = compiled(optimizers.Adam(0.05))
    with refused(model, "nothing was loaded", message):
        load_optimizer_state_dict(model, state, NAMES)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lr", 1e300, "the learning rate is 1e+300, too large for float32"),
        ("lr", torch.tensor(0.1).to_sparse(), "lr of param_groups[0] is tensor("),
        ("eps", torch.tensor(0.1, device="meta"), "eps is tensor(..., device='meta', size=()) in PyTorch"),
        ("weight_decay", np.ones(2), "weight_decay is [1. 1.] in PyTorch"),
        ("weight_decay", torch.tensor(0.1, device="meta"), "weight_decay is tensor(..., device='meta', size=()) in"),
        (
            "params",
            [torch.tensor(i, device="meta") for i in range(6)],
            "param_groups[0] has no list of numbers 'params'",
        ),
    ],
)
def test_damaged_settings_are_refused(name, value, message):
    state = two_steps("Adam").state_dict()
    state["param_groups"][0][name] = value
    model = compiled(optimizers.Adam(0.05))
    with refused(model, message):
        load_optimizer_state_dict(model, state, NAMES)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "longdouble"])
def test_arrays_that_some_backend_does_not_take(dtype):
    state = two_steps("Adam").state_dict()
    plain = compiled(optimizers.Adam(0.05))
    load_optimizer_state_dict(plain, state, NAMES)
    model = compiled(optimizers.Adam(0.05))
    state["state"][5]["exp_avg_sq"] = state["state"][5]["exp_avg_sq"].numpy().astype(dtype)
    state["state"][5]["step"] = np.array(2, dtype)
    state["param_groups"][0]["lr"] = np.array(state["param_groups"][0]["lr"], dtype)
    load_optimizer_state_dict(model, state, NAMES)
    for value, expected in zip(values(model), values(plain), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_conversion_that_fails_leaves_the_optimizer(monkeypatch):
    state, model = two_steps("Adam").state_dict(), compiled(optimizers.Adam(0.01))
    convert, calls = Entry.convert, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise MemoryError
        return convert(*arguments)

    monkeypatch.setattr(Entry, "convert", full)
    with refused(model, error=MemoryError):
        load_optimizer_state_dict(model, state, NAMES)


def test_states_that_would_be_taken_for_not_moved_are_refused():
    state = two_steps("Adam").state_dict()
    model = compiled(optimizers.Adam(0.05))
    renumbered = {str(number): kept for number, kept in state["state"].items()}  # as JSON does
    with refused(
        model, "there is a state of ['0', '1', '2', '3', '4', '5'], which are not in the 'params' of any group"
    ):
        load_optimizer_state_dict(model, {**state, "state": renumbered}, NAMES)
    first = {**state["state"], 0: {"step": state["state"][0]["step"]}}
    with refused(model, "fc.weight has the state [], expected ['exp_avg', 'exp_avg_sq']"):
        load_optimizer_state_dict(model, {**state, "state": first}, NAMES)
    for kept in state["state"].values():
        del kept["step"]
    with refused(model, "the state has no 'step', and neither `scheduler` nor `iterations` gives the number"):
        load_optimizer_state_dict(model, state, NAMES)
    load_optimizer_state_dict(model, state, NAMES, iterations=2)
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 2


@pytest.mark.parametrize("iterations", [-5, 2.7, True, "2"])
def test_iterations_are_a_whole_number(iterations):
    model = compiled(optimizers.SGD(0.05))
    with refused(model, f"Invalid iterations: {iterations!r}; expected a whole number ≥ 0"):
        load_optimizer_state_dict(model, two_steps("SGD").state_dict(), NAMES, iterations=iterations)


def test_more_steps_than_can_be_counted():
    model = compiled(optimizers.SGD(0.05))
    with refused(model, f"{2**31} steps are more than"):
        load_optimizer_state_dict(model, two_steps("SGD").state_dict(), NAMES, iterations=2**31)


@pytest.mark.parametrize("epoch", [-1, 1.5, "1", None])
def test_the_schedulers_epoch_is_a_whole_number(epoch):
    model = compiled(optimizers.SGD(schedules.StepLR(0.05, 1)))
    with refused(model, f"the scheduler's last_epoch is {epoch!r}, expected a whole number ≥ 0"):
        load_optimizer_state_dict(model, two_steps("SGD").state_dict(), NAMES, scheduler={"last_epoch": epoch})


def test_objects_in_place_of_their_state():
    model, optimizer = compiled(optimizers.SGD(schedules.StepLR(0.05, 1))), two_steps("SGD")
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    with refused(model, "Expected a dict as `state`, not SGD: pass its state_dict()", error=TypeError):
        load_optimizer_state_dict(model, optimizer, NAMES)
    with refused(model, "Expected a dict as `state`, not str.", error=TypeError):
        load_optimizer_state_dict(model, "optimizer.pt", NAMES)
    with refused(model, "Expected a dict as `scheduler`, not StepLR: pass its state_dict()", error=TypeError):
        load_optimizer_state_dict(model, optimizer.state_dict(), NAMES, scheduler=scheduler)


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (list(Small().named_parameters()), TypeError, "instead of a string there is a Parameter"),
        (Small().named_parameters(), TypeError, "instead of a string there is a Parameter"),
        ("fc.weight", TypeError, "instead of a list there is a str"),
        (["fc.weight", ["fc.bias"]], TypeError, "instead of a list there is a str"),
        (5, TypeError, "instead of a list there is a int"),
        ([*NAMES[:-1], NAMES[0]], ValueError, "`names` contain ['fc.weight'] more than once"),
        ([NAMES, NAMES[:1]], ValueError, "`names` contain ['fc.weight'] more than once"),
        ([[*NAMES], ["module.fc.weight"]], ValueError, "missing [], unexpected ['module.fc.weight']"),
    ],
    ids=["pairs", "a generator of pairs", "a string", "mixed", "a number", "twice", "in two groups", "two prefixes"],
)
def test_names_that_are_none(names, error, message):
    state, model = two_steps("SGD").state_dict(), compiled(optimizers.SGD(0.05))
    with refused(model, message, error=error):
        load_optimizer_state_dict(model, state, names)


def test_a_generator_of_names():
    state, model = two_steps("SGD", momentum=0.9).state_dict(), compiled(optimizers.SGD(0.05, momentum=0.9))
    load_optimizer_state_dict(model, state, (name for name, _ in Small().named_parameters()))
    buffer = optimizer_state_dict(model, iter(NAMES))["state"][0]["momentum_buffer"]
    torch.testing.assert_close(buffer, state["state"][0]["momentum_buffer"])


def test_states_that_pytorch_does_not_build():
    state, model = two_steps("Adam").state_dict(), compiled(optimizers.Adam(0.05))
    group = state["param_groups"][0]

    def without(key):
        return {**state, "param_groups": [{name: value for name, value in group.items() if name != key}]}

    with refused(model, "param_groups[0] has no list of numbers 'params'"):
        load_optimizer_state_dict(model, without("params"), NAMES)
    with refused(model, lacks("'lr'", "Adam")):
        load_optimizer_state_dict(model, without("lr"), NAMES)
    for broken in ({"state": None}, {"state": {0: 1.0}}, {"param_groups": None}, {"param_groups": [0.1]}):
        with refused(model, "a dict with 'state' and 'param_groups'"):
            load_optimizer_state_dict(model, {**state, **broken}, NAMES)


def test_only_built_keras_models_have_an_optimizer_state():
    for call in (optimizer_state_dict, scheduler_state_dict, lambda model: load_optimizer_state_dict(model, {})):
        with pytest.raises(TypeError, match=r"torch\.nn\.Linear; expected a Keras model"):
            call(nn.Linear(2, 3))
    model = keras.Sequential([layers.Linear(3, name="fc")])
    model.compile(optimizers.SGD(0.1), loss=kerasnets.losses.CrossEntropyLoss())
    with pytest.raises(ValueError, match="has no weights yet"):
        optimizer_state_dict(model)
    model.train_on_batch(np.ones((4, 2), "float32"), np.zeros(4, "int64"))  # the optimizer waits for the weights
    assert optimizer_state_dict(model)["param_groups"][0]["params"] == [0, 1]


def test_optimizer_states_that_do_not_fit_change_nothing():
    module = Small()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    torch_steps(module, optimizer, batches(2, seed=1))
    state = optimizer.state_dict()
    model = compiled(optimizers.SGD(0.3, momentum=0.8))
    keras_steps(model, batches(1, seed=1))
    before = values(model)
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
    with pytest.raises(ValueError, match=r"the schedule here has.*PyTorch's SGD doesn't count steps"):
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
    with pytest.raises(ValueError, match="not a schedule"):
        scheduler_state_dict(compiled(optimizers.SGD(0.1)))
