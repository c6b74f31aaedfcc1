"""Groups of parameters with settings of their own, against torch.optim."""

import keras
import numpy as np
import pytest
import torch
from gradients import precision
from optimizer_steps import assert_same, draws, lr_scheduler, network, run_keras, run_torch, variables_of

from kerasnets import optimizers, schedules


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adadelta", "Adamax", "RAdam"])
def test_param_groups(name, dtype):
    """Own rates and decays; the first match counts; a rate set on the way moves the groups' by its ratio."""
    values, gradients = draws([(3, 4), (4,), (4, 2), (2,)])
    names = ["fc1_kernel", "fc1_bias", "fc2_kernel", "fc2_bias"]  # a path without layers
    ours = [
        {"params": "fc2_b", "learning_rate": 0.5},
        {"params": "bias$", "weight_decay": 0.0},
        {"params": "fc2", "learning_rate": 0.01, "weight_decay": 0.2},
    ]

    def groups(p):
        return [
            {"params": [p[0]]},
            {"params": [p[3]], "lr": 0.5},
            {"params": [p[1]], "weight_decay": 0.0},
            {"params": [p[2]], "lr": 0.01, "weight_decay": 0.2},
        ]

    def drop(step, group):
        if step == 2:
            group["lr"] *= 0.3

    def drop_ours(step, optimizer):
        if step == 2:
            optimizer.learning_rate = 0.1 * 0.3

    expected, _ = run_torch(
        lambda p: getattr(torch.optim, name)(groups(p), lr=0.1, weight_decay=0.1), values, gradients, dtype, drop
    )
    with precision(dtype):
        optimizer = getattr(optimizers, name)(0.1, weight_decay=0.1, param_groups=ours)
        variables = [keras.Variable(v, dtype=dtype, name=n) for v, n in zip(values, names, strict=True)]
        assert_same(run_keras(optimizer, values, gradients, dtype, drop_ours, variables), expected, dtype)
        config = optimizer.get_config()
        np.testing.assert_allclose([g.get("learning_rate", 0) for g in config["param_groups"]], [0.15, 0, 0.003])
        again = type(optimizer).from_config(config)
        again.build(variables)
        np.testing.assert_allclose(float(again.learning_rate_of(variables[3])), 0.15, rtol=1e-6)
        assert [again.weight_decay_of(v) for v in variables] == [0.1, 0.0, 0.2, 0.1]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (schedules.CosineAnnealingLR(0.1, 4, 0.01), lambda o: lr_scheduler.CosineAnnealingLR(o, 4, 0.01)),
        (
            schedules.OneCycleLR(0.1, 6),
            lambda o: lr_scheduler.OneCycleLR(o, [0.1, 0.3], 6),
        ),
    ],
)
def test_a_groups_rate_follows_the_schedule_from_its_own_base(ours, theirs):
    values, gradients = draws([(3,), (2,)])
    expected, _ = run_torch(
        lambda p: torch.optim.SGD([{"params": [p[0]]}, {"params": [p[1]], "lr": 0.3}], lr=0.1, momentum=0.9),
        values,
        gradients,
        "float64",
        scheduler=theirs,
    )
    with precision("float64"):
        optimizer = optimizers.SGD(ours, momentum=0.9, param_groups=[{"params": "w1", "learning_rate": 0.3}])
        assert_same(run_keras(optimizer, values, gradients, "float64"), expected, "float64")


def test_no_weight_decay_leaves_biases_and_batch_norm_alone():
    model = network()
    optimizer = optimizers.SGD(0.1, weight_decay=0.5, param_groups=optimizers.no_weight_decay())
    optimizer.build(model.trainable_variables)
    decays = {v.path.removeprefix("net/"): optimizer.weight_decay_of(v) for v in model.trainable_variables}
    assert decays == {
        "fc1/kernel": 0.5,
        "fc1/bias": 0.0,
        "bn1/gamma": 0.0,
        "bn1/beta": 0.0,
        "fc2/kernel": 0.5,
        "fc2/bias": 0.0,
    }


def test_keras_exclusion_from_weight_decay_works():
    (variable, other) = variables_of([np.ones(2), np.ones(2)], "float32")
    optimizer = optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["w1"])
    zeros = keras.ops.zeros((2,))
    optimizer.apply([zeros, zeros], [variable, other])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), 0.95, rtol=1e-6)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(other), 1.0)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([{"params": "conv7"}], "'conv7'.*matches no variable.*fc1/kernel, .*fc2/bias"),
        ([{"params": "fc1"}, {"params": "fc1/bias"}], "'fc1/bias'.*an earlier entry"),
    ],
)
def test_a_group_without_variables_is_an_error(groups, message):
    optimizer = optimizers.SGD(0.1, param_groups=groups)
    with pytest.raises(ValueError, match=message):
        optimizer.build(network().trainable_variables)
