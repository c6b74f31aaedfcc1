"""What is wrong with an optimizer's arguments is said."""

import math

import keras
import pytest

from kerasnets import optimizers, schedules


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.SGD(-0.1), "learning_rate: -0.1"),
        (lambda: optimizers.SGD(math.nan), "learning_rate: nan"),
        (lambda: optimizers.SGD("0.1"), "learning_rate: '0.1'"),
        (lambda: optimizers.SGD(0.1, momentum=-1), "momentum: -1"),
        (lambda: optimizers.SGD(0.1, weight_decay=-0.1), "weight_decay: -0.1"),
        (lambda: optimizers.SGD(0.1, dampening=None), "dampening: None"),
        (lambda: optimizers.SGD(0.1, nesterov=True), "momentum=0.0, dampening=0.0"),
        (lambda: optimizers.SGD(0.1, 0.9, 0.5, nesterov=True), "momentum=0.9, dampening=0.5"),
        (lambda: optimizers.SGD(0.1, clip_grad_norm=-1.0), "clip_grad_norm: -1.0"),
        (
            lambda: optimizers.SGD(0.1, clip_grad_norm=1.0, clipvalue=2.0),
            "Only one.*'clip_grad_norm': 1.0.*'clipvalue': 2",
        ),
        (lambda: optimizers.Adam(beta_1=1.0), "beta_1: 1.0"),
        (lambda: optimizers.Adam(beta_2=-0.1), "beta_2: -0.1"),
        (lambda: optimizers.Adam(epsilon=-1e-8), "epsilon: -1e-08"),
        (lambda: optimizers.RMSprop(rho=-0.1), "rho: -0.1"),
        (lambda: optimizers.Adagrad(lr_decay=-1.0), "lr_decay: -1.0"),
        (lambda: optimizers.Adagrad(initial_accumulator_value=-1.0), "initial_accumulator_value: -1.0"),
        (lambda: optimizers.Adadelta(rho=1.5), "rho: 1.5"),
        (lambda: optimizers.Adagrad(schedules.OneCycleLR(0.1, 9)), "cycle_momentum=False"),
        (lambda: optimizers.SGD(param_groups=[{"learning_rate": 0.1}]), "param_groups.*learning_rate"),
        (lambda: optimizers.SGD(param_groups=[{"params": "a", "momentum": 0.1}]), "'momentum': 0.1"),
        (lambda: optimizers.SGD(param_groups=[{"params": "(", "learning_rate": 0.1}]), "regular expression"),
        (lambda: optimizers.SGD(param_groups=[{"params": "a", "learning_rate": -0.1}]), "learning_rate: -0.1"),
        (lambda: optimizers.SGD(0.0, param_groups=[{"params": "a", "learning_rate": 0.1}]), "learning_rate > 0"),
        (
            lambda: optimizers.SGD(
                keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.9),
                param_groups=[{"params": "a", "learning_rate": 0.1}],
            ),
            r"a schedule of kerasnets\.schedules",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_pytorchs_names_are_answered_with_keras_names():
    with pytest.raises(TypeError, match="'lr'; it is called learning_rate"):
        optimizers.SGD(lr=0.1)
    with pytest.raises(TypeError, match="'foreach'"):
        optimizers.SGD(foreach=True)


def test_bad_values_set_later():
    plain, heavy, adam = optimizers.SGD(0.1), optimizers.SGD(0.1, momentum=0.9), optimizers.Adam()
    for optimizer, name, value, message in [
        (plain, "learning_rate", -1.0, "learning_rate: -1.0"),
        (plain, "momentum", 0.9, "momentum: 0.9.*was 0"),
        (heavy, "momentum", 0.0, "momentum: 0.0.*was not 0"),
        (adam, "beta_1", 1.0, "beta_1: 1.0"),
        (plain, "learning_rate", schedules.OneCycleLR(0.1, 9), "no momentum buffers"),
    ]:
        with pytest.raises(ValueError, match=message):
            setattr(optimizer, name, value)
    assert float(plain.learning_rate) == pytest.approx(0.1)
