"""Optimizer states that don't fit are refused, and nothing changes."""

import keras
import numpy as np
import pytest
import torch
from optimizer_pairs import (
    NAMES,
    Small,
    assert_same_weights,
    batches,
    compiled,
    keras_steps,
    no_steps,
    refused,
    small_network,
    torch_steps,
    two_steps,
    values,
)
from torch import nn

import kerasnets
from kerasnets import layers, optimizers, schedules
from kerasnets.interop.layer_weights import Entry
from kerasnets.interop.optimizer_state import load_optimizer_state_dict, optimizer_state_dict, scheduler_state_dict
from kerasnets.interop.weights import load_state_dict


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
