"""The schedules against torch.optim.lr_scheduler, stepped as a PyTorch program steps it."""

import math

import hypothesis
import keras
import numpy as np
import pytest
import torch
from gradients import precision
from hypothesis import strategies as st

from kerasnets import optimizers, schedules

lr_scheduler = torch.optim.lr_scheduler
rates = st.floats(1e-4, 2.0)
gammas = st.floats(0.3, 1.2)


def torch_rates(make, learning_rate, n, make_optimizer=torch.optim.SGD, **kwargs):
    """The rate (and momentum) that a PyTorch optimizer holds after 0, 1, …, n − 1 calls of scheduler.step()."""
    optimizer = make_optimizer([torch.zeros(1, requires_grad=True)], lr=learning_rate, **kwargs)
    scheduler = make(optimizer)
    history = []
    for step in range(n):
        if step:
            optimizer.step()
            scheduler.step()
        group = optimizer.param_groups[0]
        history.append((group["lr"], group["betas"][0] if "betas" in group else group["momentum"]))
    return np.array(history).T


def agree(schedule, make, learning_rate, n, atol=0.0):
    """The schedule gives PyTorch's rates in float64 and float32, from its configuration too."""
    expected, _ = torch_rates(make, learning_rate, n)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert type(again) is type(schedule)
    assert again.get_config() == schedule.get_config()
    for dtype, rtol, floor in (("float64", 1e-9, 1e-14), ("float32", 4e-6, 1e-12)):
        with precision(dtype):
            for this in (schedule, again):
                found = [this(step) for step in range(n)]
                assert {keras.backend.standardize_dtype(rate.dtype) for rate in found} == {dtype}
                found = np.array([float(rate) for rate in found])
                np.testing.assert_allclose(found, expected, rtol=rtol, atol=max(atol, floor) * learning_rate)


@hypothesis.given(rates, st.integers(1, 7), gammas)
def test_step_lr(rate, step_size, gamma):
    agree(schedules.StepLR(rate, step_size, gamma), lambda o: lr_scheduler.StepLR(o, step_size, gamma), rate, 20)


@hypothesis.given(rates, st.lists(st.integers(0, 18), max_size=5), gammas)
def test_multi_step_lr(rate, milestones, gamma):
    agree(
        schedules.MultiStepLR(rate, milestones, gamma),
        lambda o: lr_scheduler.MultiStepLR(o, milestones, gamma),
        rate,
        20,
    )


@hypothesis.given(rates, gammas)
def test_exponential_lr(rate, gamma):
    agree(schedules.ExponentialLR(rate, gamma), lambda o: lr_scheduler.ExponentialLR(o, gamma), rate, 20)


def test_exponential_lr_after_many_steps():
    """Rounding γ to float32 is not felt n times: γⁿ in float32 would be 2e-4 off."""
    schedule = schedules.ExponentialLR(0.1, 0.9997)
    np.testing.assert_allclose(float(schedule(20_000)), 0.1 * 0.9997**20_000, rtol=3e-6)


@hypothesis.given(rates, st.floats(0.01, 1.0), st.floats(0.0, 1.0), st.integers(1, 15))
def test_linear_lr(rate, start, end, total):
    # Where the line ends at zero PyTorch's recursion leaves rounding noise: hence the absolute bound.
    agree(
        schedules.LinearLR(rate, start, end, total),
        lambda o: lr_scheduler.LinearLR(o, start, end, total),
        rate,
        20,
        atol=1e-12,
    )


@hypothesis.given(rates, st.floats(0.01, 1.0), st.integers(1, 15))
def test_constant_lr(rate, factor, total):
    agree(schedules.ConstantLR(rate, factor, total), lambda o: lr_scheduler.ConstantLR(o, factor, total), rate, 20)


@hypothesis.given(rates, st.integers(1, 15), st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.7]))
def test_polynomial_lr(rate, total, power):
    agree(schedules.PolynomialLR(rate, total, power), lambda o: lr_scheduler.PolynomialLR(o, total, power), rate, 20)


@hypothesis.given(
    st.floats(1e-4, 1.0),
    st.floats(1e-4, 2.0),
    st.integers(1, 6),
    st.sampled_from([None, 1, 5]),
    st.sampled_from(["triangular", "triangular2", "exp_range"]),
    st.booleans(),
)
def test_cyclic_lr(base, highest, up, down, mode, adam):
    options = {"step_size_up": up, "step_size_down": down, "mode": mode, "gamma": 0.93, "base_momentum": 0.7}
    kwargs = {"make_optimizer": torch.optim.Adam} if adam else {"momentum": 0.5}
    expected, momenta = torch_rates(lambda o: lr_scheduler.CyclicLR(o, base, highest, **options), 0.1, 40, **kwargs)
    schedule = schedules.CyclicLR(base, highest, **options)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert again.get_config() == schedule.get_config()
    for dtype, rtol in (("float64", 1e-9), ("float32", 4e-6)):
        with precision(dtype):
            for this in (schedule, again):
                found = np.array([[float(this(t)), float(this.momentum(t))] for t in range(40)]).T
                # A rate is a sum, whose rounding is that of the larger of its ends.
                np.testing.assert_allclose(found[0], expected, rtol=rtol, atol=rtol / 10 * max(base, highest))
                np.testing.assert_allclose(found[1], momenta, rtol=rtol)


@hypothesis.given(rates, st.integers(5, 25))
def test_multiplicative_lr(rate, epochs):
    def factor(epoch):
        return 0.9 if epoch % 3 else 1.2

    schedule = schedules.MultiplicativeLR(rate, factor, epochs)
    agree(schedule, lambda o: lr_scheduler.MultiplicativeLR(o, factor), rate, epochs)
    assert float(schedule(epochs + 3)) == float(schedule(epochs - 1))


@hypothesis.given(rates, st.integers(5, 25))
def test_lambda_lr(rate, epochs):
    def fall(epoch):
        return 0.9**epoch if epoch % 3 else 0.5

    schedule = schedules.LambdaLR(rate, fall, epochs)
    agree(schedule, lambda o: lr_scheduler.LambdaLR(o, fall), rate, epochs)
    assert float(schedule(epochs + 3)) == float(schedule(epochs - 1))


@hypothesis.given(rates, st.integers(1, 12), st.sampled_from([0.0, 1e-5, 0.05]))
def test_cosine_annealing_lr(rate, t_max, eta_min):
    # Beyond T_max, too, where PyTorch's recursion climbs again; near zero it has the noise of its divisions.
    agree(
        schedules.CosineAnnealingLR(rate, t_max, eta_min),
        lambda o: lr_scheduler.CosineAnnealingLR(o, t_max, eta_min),
        rate,
        3 * t_max + 2,
        atol=1e-12,
    )


@hypothesis.given(rates, st.integers(1, 6), st.integers(1, 3), st.sampled_from([0.0, 1e-3]))
def test_cosine_annealing_warm_restarts(rate, t_0, t_mult, eta_min):
    agree(
        schedules.CosineAnnealingWarmRestarts(rate, t_0, t_mult, eta_min),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, t_0, t_mult, eta_min),
        rate,
        30,
    )


def test_cosine_keeps_its_digits_in_float32():
    """One step before T_max the rate is 2.5e-8 of the first, and right to six digits."""
    n = 10_000
    expected = 0.1 * math.sin(math.pi / (2 * n)) ** 2
    np.testing.assert_allclose(float(schedules.CosineAnnealingLR(0.1, n)(n - 1)), expected, rtol=2e-6)
    np.testing.assert_allclose(float(schedules.CosineAnnealingWarmRestarts(0.1, n)(n - 1)), expected, rtol=2e-6)


@hypothesis.given(
    max_lr=rates,
    total=st.integers(5, 30),
    pct_start=st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.77, 1.0]),
    strategy=st.sampled_from(["cos", "linear"]),
    three_phase=st.booleans(),
    adam=st.booleans(),
)
def test_one_cycle_lr(max_lr, total, pct_start, strategy, three_phase, adam):
    hypothesis.assume(pct_start * total != 1)
    options = {
        "total_steps": total,
        "pct_start": pct_start,
        "anneal_strategy": strategy,
        "three_phase": three_phase,
        "base_momentum": 0.8,
        "max_momentum": 0.97,
        "div_factor": 10.0,
        "final_div_factor": 100.0,
    }
    kwargs = {"make_optimizer": torch.optim.Adam} if adam else {"momentum": 0.9}
    expected, momenta = torch_rates(lambda o: lr_scheduler.OneCycleLR(o, max_lr, **options), 0.1, total, **kwargs)
    schedule = schedules.OneCycleLR(max_lr, **options)
    for dtype, rtol in (("float64", 1e-11), ("float32", 4e-6)):
        with precision(dtype):
            found = np.array([[float(schedule(t)), float(schedule.momentum(t))] for t in range(total)]).T
            np.testing.assert_allclose(found[0], expected, rtol=rtol, atol=rtol * max_lr * 1e-3)
            np.testing.assert_allclose(found[1], momenta, rtol=rtol)


def test_one_cycle_lr_by_epochs():
    both = [schedules.OneCycleLR(0.1, total_steps=12), schedules.OneCycleLR(0.1, epochs=3, steps_per_epoch=4)]
    assert both[0].get_config() == both[1].get_config()
    assert float(both[0](13)) == float(both[0](12)), "the rate holds after the cycle"


@hypothesis.given(rates, st.integers(1, 6), st.integers(1, 8))
def test_sequential_lr(rate, first, second):
    milestones = [first, first + second]

    def make(optimizer):
        parts = [
            lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 4),
            lr_scheduler.CosineAnnealingLR(optimizer, 5, 1e-5),
            lr_scheduler.StepLR(optimizer, 2, 0.5),
        ]
        return lr_scheduler.SequentialLR(optimizer, parts, milestones)

    parts = [
        schedules.LinearLR(rate, 0.1, 1.0, 4),
        schedules.CosineAnnealingLR(rate, 5, 1e-5),
        schedules.StepLR(rate, 2, 0.5),
    ]
    agree(schedules.SequentialLR(parts, milestones), make, rate, 25, atol=1e-12)


def test_sequential_lr_of_all_kinds():
    """Each kind begins at its own epoch 0, as PyTorch restarts it."""
    rate, milestones = 0.3, [3, 7, 12, 15, 18, 21, 24]

    def make(optimizer):
        parts = [
            lr_scheduler.ExponentialLR(optimizer, 0.9),
            lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, 2),
            lr_scheduler.MultiStepLR(optimizer, [1, 3], 0.5),
            lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (1 + t)),
            lr_scheduler.LinearLR(optimizer, 0.5, 0.1, 2),
            lr_scheduler.ExponentialLR(optimizer, 0.8),
            lr_scheduler.ConstantLR(optimizer, 0.5, 2),
            lr_scheduler.PolynomialLR(optimizer, 3, 2.0),
        ]
        return lr_scheduler.SequentialLR(optimizer, parts, milestones)

    parts = [
        schedules.ExponentialLR(rate, 0.9),
        schedules.CosineAnnealingWarmRestarts(rate, 2, 2),
        schedules.MultiStepLR(rate, [1, 3], 0.5),
        schedules.LambdaLR(rate, lambda t: 1 / (1 + t), epochs=9),
        schedules.LinearLR(rate, 0.5, 0.1, 2),
        schedules.ExponentialLR(rate, 0.8),
        schedules.ConstantLR(rate, 0.5, 2),
        schedules.PolynomialLR(rate, 3, 2.0),
    ]
    agree(schedules.SequentialLR(parts, milestones), make, rate, 30)


def test_one_cycle_within_a_sequence():
    """Momentum before, in and after the cycle, as PyTorch's constructors and steps leave it."""

    def make(optimizer):
        parts = [
            lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 3),
            lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=10),
            lr_scheduler.StepLR(optimizer, 2),
        ]
        return lr_scheduler.SequentialLR(optimizer, parts, [4, 11])

    _, momenta = torch_rates(make, 0.2, 16, momentum=0.9)
    parts = [
        schedules.LinearLR(0.2, 0.1, 1.0, 3),
        schedules.OneCycleLR(0.5, total_steps=10),
        schedules.StepLR(0.02, 2),
    ]
    schedule = schedules.SequentialLR(parts, [4, 11])
    np.testing.assert_allclose([float(schedule.momentum(t)) for t in range(16)], momenta, rtol=1e-6)


def test_steps_per_epoch():
    """A schedule by epoch is constant within it; a sequence counts for its parts."""
    by_step = schedules.StepLR(0.1, 2, 0.5)
    by_epoch = schedules.StepLR(0.1, 2, 0.5, steps_per_epoch=7)
    sequence = schedules.SequentialLR([schedules.ExponentialLR(0.1, 0.5), by_step], [2], steps_per_epoch=7)
    for step in range(50):
        assert float(by_epoch(step)) == float(by_step(step // 7))
        expected = schedules.ExponentialLR(0.1, 0.5)(step // 7) if step < 14 else by_step(step // 7 - 2)
        assert float(sequence(step)) == float(expected)


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (schedules.StepLR(0.1, 2), lambda o: lr_scheduler.StepLR(o, 2)),
        (schedules.PolynomialLR(0.1, 5), lambda o: lr_scheduler.PolynomialLR(o, 5)),
        (
            schedules.CyclicLR(0.1, 0.4, 2, cycle_momentum=False),
            lambda o: lr_scheduler.CyclicLR(o, 0.02, 0.08, 2, cycle_momentum=False),
        ),
        (
            schedules.MultiplicativeLR(0.1, lambda t: 0.8, 9),
            lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: 0.8),
        ),
        (schedules.CosineAnnealingLR(0.1, 5, 0.01), lambda o: lr_scheduler.CosineAnnealingLR(o, 5, 0.01)),
        (schedules.LambdaLR(0.1, lambda t: 1 / (t + 1), 9), lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (t + 1))),
        (
            schedules.SequentialLR([schedules.LinearLR(0.1), schedules.ExponentialLR(0.1, 0.7)], [3]),
            lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, 0.7)], [3]),
        ),
        (
            schedules.OneCycleLR(0.1, 9),
            lambda o: lr_scheduler.OneCycleLR(o, 0.02, 9, cycle_momentum=False),
        ),
    ],
)
def test_rebase(schedule, make):
    """From another base rate a schedule gives what PyTorch gives a group with that rate."""
    expected, _ = torch_rates(make, 0.02, 9)
    found = [float(schedule.rebase(0.02)(t)) for t in range(9)]
    np.testing.assert_allclose(found, expected, rtol=3e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.StepLR(-0.1, 2), "learning_rate: -0.1"),
        (lambda: schedules.StepLR("fast", 2), "learning_rate: 'fast'"),
        (lambda: schedules.StepLR(0.1, 0), "step_size: 0"),
        (lambda: schedules.StepLR(0.1, 2.5), "step_size: 2.5"),
        (lambda: schedules.StepLR(0.1, 2, gamma=0), "gamma: 0"),
        (lambda: schedules.StepLR(0.1, 2, steps_per_epoch=0), "steps_per_epoch: 0"),
        (lambda: schedules.MultiStepLR(0.1, [3, -1]), "milestone: -1"),
        (lambda: schedules.ExponentialLR(0.1, math.nan), "gamma: nan"),
        (lambda: schedules.LinearLR(0.1, start_factor=0.0), "start_factor: 0.0"),
        (lambda: schedules.LinearLR(0.1, end_factor=1.5), "end_factor: 1.5"),
        (lambda: schedules.LambdaLR(0.1, lambda t: 1.0), "epochs"),
        (lambda: schedules.LambdaLR(0.1, lambda t: 1.0 - t, 3), r"lr_lambda\(2\): -1.0"),
        (lambda: schedules.LambdaLR(0.1, []), "0 factors"),
        (lambda: schedules.MultiplicativeLR(0.1, lambda t: 1.0), "MultiplicativeLR needs epochs"),
        (lambda: schedules.MultiplicativeLR(0.1, [0.5], epochs=3), "1 factors; expected 2"),
        (lambda: schedules.ConstantLR(0.1, 1.5), "factor: 1.5"),
        (lambda: schedules.ConstantLR(0.1, total_iters=0), "total_iters: 0"),
        (lambda: schedules.PolynomialLR(0.1, power=-1.0), "power: -1.0"),
        (lambda: schedules.CyclicLR(0.1, 0.2, 0), "step_size_up: 0"),
        (lambda: schedules.CyclicLR(0.1, 0.2, mode="square"), "mode='square': expected one of 'triangular'"),
        (lambda: schedules.CyclicLR(0.0, 0.2).rebase(0.1), "base rate 0"),
        (lambda: schedules.CosineAnnealingLR(0.1, 0), "T_max: 0"),
        (lambda: schedules.CosineAnnealingWarmRestarts(0.1, 5, 0), "T_mult: 0"),
        (lambda: schedules.OneCycleLR(0.1), "total_steps"),
        (lambda: schedules.OneCycleLR(0.1, 10, pct_start=1.2), "pct_start: 1.2"),
        (lambda: schedules.OneCycleLR(0.1, 10, pct_start=0.1), "zero steps"),
        (lambda: schedules.OneCycleLR(0.1, 10, anneal_strategy="exp"), "anneal_strategy: 'exp'"),
        (lambda: schedules.OneCycleLR(0.1, 10, max_momentum=1.0), "max_momentum: 1.0"),
        (lambda: schedules.SequentialLR([], []), "none"),
        (lambda: schedules.SequentialLR([schedules.StepLR(0.1, 2)], [3]), r"milestones: \[3\]"),
        (lambda: schedules.SequentialLR([schedules.StepLR(0.1, 2)] * 3, [3, 3]), r"milestones: \[3, 3\]"),
        (lambda: schedules.SequentialLR([schedules.StepLR(0.1, 2, steps_per_epoch=5)], []), "steps_per_epoch=5"),
        (lambda: schedules.StepLR(0.1, 2).momentum(0), "does not move the momentum"),
        (lambda: schedules.ReduceLROnPlateau(mode="auto"), "mode: 'auto'"),
        (lambda: schedules.ReduceLROnPlateau(threshold_mode="both"), "threshold_mode: 'both'"),
        (lambda: schedules.ReduceLROnPlateau(factor=1.0), "factor: 1.0"),
        (lambda: schedules.ReduceLROnPlateau(patience=-1), "patience: -1"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_sequential_lr_takes_our_schedules_only():
    with pytest.raises(TypeError, match=r"kerasnets\.schedules"):
        schedules.SequentialLR([keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.9)], [])


def plateau(callback, values, monitor, optimizer=None):
    """The rates after each epoch, when the callback sees `values`."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=optimizer or keras.optimizers.SGD(0.1), loss="mse")
    callback.set_model(model)
    callback.on_train_begin()
    history = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {monitor: value})
        history.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
    return history


@hypothesis.given(
    values=st.lists(st.sampled_from([1.0, 0.99, 0.9, 0.5, 0.499, 0.3, -0.1, -0.2]), min_size=15, max_size=30),
    options=st.fixed_dictionaries(
        {
            "mode": st.sampled_from(["min", "max"]),
            "factor": st.sampled_from([0.1, 0.5]),
            "patience": st.integers(0, 3),
            "threshold": st.sampled_from([1e-4, 0.05]),
            "threshold_mode": st.sampled_from(["rel", "abs"]),
            "cooldown": st.integers(0, 3),
            "min_lr": st.sampled_from([0.0, 0.02]),
            "eps": st.sampled_from([1e-8, 0.01]),
        }
    ),
)
def test_reduce_lr_on_plateau(values, options):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    expected = []
    for value in values:
        scheduler.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    found = plateau(schedules.ReduceLROnPlateau("loss", **options), values, "loss")
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_keras_reduces_earlier_on_a_plateau():
    """Keras's own callback acts at the second bad epoch where PyTorch bears two."""
    values = [1.0, 1.0, 1.0, 1.0]
    ours = plateau(schedules.ReduceLROnPlateau("loss", patience=2), values, "loss")
    stock = plateau(keras.callbacks.ReduceLROnPlateau("loss", patience=2, mode="min"), values, "loss")
    np.testing.assert_allclose(ours, [0.1, 0.1, 0.1, 0.01], rtol=1e-6)
    np.testing.assert_allclose(stock, [0.1, 0.1, 0.01, 0.01], rtol=1e-6)


def test_reduce_lr_on_plateau_refuses_a_schedule_before_training():
    optimizer = keras.optimizers.SGD(schedules.StepLR(0.1, 2))
    with pytest.raises(TypeError, match="learning rate is not settable"):
        plateau(schedules.ReduceLROnPlateau("loss"), [1.0], "loss", optimizer)


def test_reduce_lr_on_plateau_says_what_it_misses():
    with pytest.warns(UserWarning, match="'val_loss'.*learning_rate, loss"):
        plateau(schedules.ReduceLROnPlateau(), [1.0], "loss")


def test_pytorchs_way_of_making_one_gets_a_hint():
    optimizer = optimizers.SGD(0.1)
    with pytest.raises(TypeError, match="give this callback to fit"):
        schedules.ReduceLROnPlateau(optimizer, patience=2)
    with pytest.raises(ValueError, match="given to the optimizer as its learning_rate"):
        schedules.StepLR(optimizer, 30)
