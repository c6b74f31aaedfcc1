"""The optimizers against torch.optim, several steps long."""

import contextlib
import math
import os
import subprocess
import sys

import hypothesis
import keras
import numpy as np
import pytest
import torch
from gradients import precision
from hypothesis import strategies as st

from kerasnets import layers, losses, optimizers, schedules

lr_scheduler = torch.optim.lr_scheduler
needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon needs PyTorch 2.9")
STEPS = 6
# Rounding in another order: a few units in the last place a step, of intermediate values up to 10.
TOLERANCE = {"float64": {"rtol": 1e-11, "atol": 1e-13}, "float32": {"rtol": 5e-6, "atol": 3e-6}}

# Few shapes in many combinations: JAX compiles each operation once a shape.
shapes = st.lists(st.sampled_from([(), (5,), (3, 2), (2, 1, 4)]), min_size=1, max_size=3)
rates = st.floats(1e-4, 0.5)
decays = st.sampled_from([0.0, 0.01, 0.3])
momenta = st.sampled_from([0.0, 0.5, 0.9, 0.99])
booleans = st.booleans()


def draws(shapes, steps=STEPS, seed=0):
    """Values to begin with, and a list of gradients for every step; float64."""
    generator = np.random.default_rng(seed)
    return (
        [generator.normal(size=shape) for shape in shapes],
        [[generator.normal(size=shape) for shape in shapes] for _ in range(steps)],
    )


def run_torch(make, values, gradients, dtype, between=None, scheduler=None, before=None):
    """The parameters after every step of torch.optim, and the (learning rate, momentum or β₁) of every step."""
    parameters = [torch.tensor(v, dtype=getattr(torch, dtype), requires_grad=True) for v in values]
    optimizer = make(parameters)
    scheduler = scheduler and scheduler(optimizer)
    history, moved = [], []
    for step, grads in enumerate(gradients):
        for parameter, g in zip(parameters, grads, strict=True):
            parameter.grad = torch.tensor(g, dtype=parameter.dtype)
        if before:
            before(parameters)
        group = optimizer.param_groups[0]
        moved.append((group["lr"], group["betas"][0] if "betas" in group else group.get("momentum")))
        optimizer.step()
        if scheduler:
            scheduler.step()
        if between:
            for group in optimizer.param_groups:
                between(step, group)
        history.append([p.detach().numpy().copy() for p in parameters])
    return history, moved


def variables_of(values, dtype):
    return [keras.Variable(v, dtype=dtype, name=f"w{i}") for i, v in enumerate(values)]


def run_keras(optimizer, values, gradients, dtype, between=None, variables=None):
    """The variables after every step of a Keras optimizer."""
    variables = variables or variables_of(values, dtype)
    history = []
    for step, grads in enumerate(gradients):
        optimizer.apply([keras.ops.convert_to_tensor(g, dtype) for g in grads], variables)
        if between:
            between(step, optimizer)
        history.append([keras.ops.convert_to_numpy(v) for v in variables])
    return history


def assert_same(found, expected, dtype):
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype == dtype
            np.testing.assert_allclose(a, b, **TOLERANCE[dtype], err_msg=f"after step {step + 1}")


def compare(ours, theirs, shapes):
    """Our optimizer takes PyTorch's steps, in both types, with a learning rate that is set to a third on the way."""
    values, gradients = draws(shapes)

    def drop(step, group):
        if step == 2:
            group["lr"] /= 3

    def drop_ours(step, optimizer):
        if step == 2:
            optimizer.learning_rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate)) / 3

    for dtype in ("float64", "float32"):
        expected, _ = run_torch(theirs, values, gradients, dtype, drop)
        with precision(dtype):
            assert_same(run_keras(ours(), values, gradients, dtype, drop_ours), expected, dtype)


@hypothesis.given(shapes, rates, momenta, st.sampled_from([0.0, 0.1, 0.7]), decays, booleans, booleans)
def test_sgd(shapes, rate, momentum, dampening, decay, nesterov, maximize):
    hypothesis.assume(not nesterov or (momentum > 0 and dampening == 0))
    options = {
        "momentum": momentum,
        "dampening": dampening,
        "weight_decay": decay,
        "nesterov": nesterov,
        "maximize": maximize,
    }
    compare(lambda: optimizers.SGD(rate, **options), lambda p: torch.optim.SGD(p, lr=rate, **options), shapes)


@hypothesis.given(
    shapes,
    rates,
    st.tuples(st.sampled_from([0.0, 0.3, 0.9]), st.sampled_from([0.5, 0.9, 0.999])),
    st.sampled_from([1e-8, 1e-3]),
    decays,
    booleans,
    booleans,
    booleans,
)
def test_adam_and_adamw(shapes, rate, betas, epsilon, decay, amsgrad, maximize, decoupled):
    ours, theirs = (optimizers.AdamW, torch.optim.AdamW) if decoupled else (optimizers.Adam, torch.optim.Adam)
    options = {"weight_decay": decay, "amsgrad": amsgrad, "maximize": maximize}
    compare(
        lambda: ours(rate, *betas, epsilon=epsilon, **options),
        lambda p: theirs(p, lr=rate, betas=betas, eps=epsilon, **options),
        shapes,
    )


@hypothesis.given(
    shapes, rates, st.sampled_from([0.5, 0.9, 0.99]), st.sampled_from([1e-8, 1e-2]), decays, momenta, booleans, booleans
)
def test_rmsprop(shapes, rate, rho, epsilon, decay, momentum, centered, maximize):
    options = {"weight_decay": decay, "momentum": momentum, "centered": centered, "maximize": maximize}
    compare(
        lambda: optimizers.RMSprop(rate, rho=rho, epsilon=epsilon, **options),
        lambda p: torch.optim.RMSprop(p, lr=rate, alpha=rho, eps=epsilon, **options),
        shapes,
    )


@hypothesis.given(shapes, rates, st.sampled_from([0.0, 0.1]), decays, st.sampled_from([0.0, 0.1]), booleans)
def test_adagrad(shapes, rate, lr_decay, decay, start, maximize):
    options = {
        "lr_decay": lr_decay,
        "weight_decay": decay,
        "initial_accumulator_value": start,
        "maximize": maximize,
    }
    compare(lambda: optimizers.Adagrad(rate, **options), lambda p: torch.optim.Adagrad(p, lr=rate, **options), shapes)


@hypothesis.given(shapes, rates, st.sampled_from([0.0, 0.9, 1.0]), st.sampled_from([1e-6, 1e-3]), decays, booleans)
def test_adadelta(shapes, rate, rho, epsilon, decay, maximize):
    options = {"rho": rho, "weight_decay": decay, "maximize": maximize}
    compare(
        lambda: optimizers.Adadelta(rate, epsilon=epsilon, **options),
        lambda p: torch.optim.Adadelta(p, lr=rate, eps=epsilon, **options),
        shapes,
    )


@contextlib.contextmanager
def torch_in(dtype):
    """PyTorch keeps NAdam's product of momenta in its default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@hypothesis.given(
    shapes,
    rates,
    st.tuples(st.sampled_from([0.0, 0.3, 0.9]), st.sampled_from([0.5, 0.9, 0.999])),
    st.sampled_from([1e-8, 1e-3]),
    decays,
    st.sampled_from([0.0, 4e-3, 0.5]),
    booleans,
    booleans,
)
def test_nadam(shapes, rate, betas, epsilon, decay, momentum_decay, maximize, decoupled):
    options = {
        "weight_decay": decay,
        "momentum_decay": momentum_decay,
        "maximize": maximize,
        "decoupled_weight_decay": decoupled,
    }
    with torch_in("float64"):
        compare(
            lambda: optimizers.NAdam(rate, *betas, epsilon=epsilon, **options),
            lambda p: torch.optim.NAdam(p, lr=rate, betas=betas, eps=epsilon, **options),
            shapes,
        )


@hypothesis.given(
    shapes,
    rates,
    st.tuples(st.sampled_from([0.0, 0.3, 0.9]), st.sampled_from([0.0, 0.5, 0.9, 0.999])),
    st.sampled_from([1e-8, 1e-3]),
    decays,
    booleans,
    booleans,
)
def test_radam(shapes, rate, betas, epsilon, decay, maximize, decoupled):
    options = {"weight_decay": decay, "maximize": maximize, "decoupled_weight_decay": decoupled}
    compare(
        lambda: optimizers.RAdam(rate, *betas, epsilon=epsilon, **options),
        lambda p: torch.optim.RAdam(p, lr=rate, betas=betas, eps=epsilon, **options),
        shapes,
    )


@pytest.mark.parametrize("beta_2", [0.9, 0.99, 0.999, 0.9999])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_radam_over_many_steps(beta_2, dtype):
    """Its factor, near ρ = 5 and long after, is that of float64 in float32 as well: constant gradients show it."""
    values, gradients = [np.zeros(())], [[np.ones(())]] * 250
    expected, _ = run_torch(lambda p: torch.optim.RAdam(p, lr=1.0, betas=(0.9, beta_2)), values, gradients, "float64")
    with precision(dtype):
        found = run_keras(optimizers.RAdam(1.0, beta_2=beta_2), values, gradients, dtype)
    steps, wanted = (np.diff(np.array(history).ravel()) for history in (found, expected))
    np.testing.assert_allclose(steps, wanted, rtol=1e-8 if dtype == "float64" else 1e-4)


@hypothesis.given(
    shapes,
    rates,
    st.tuples(st.sampled_from([0.0, 0.3, 0.9]), st.sampled_from([0.0, 0.5, 0.999])),
    st.sampled_from([1e-8, 1e-3]),
    decays,
    booleans,
)
def test_adamax(shapes, rate, betas, epsilon, decay, maximize):
    options = {"weight_decay": decay, "maximize": maximize}
    compare(
        lambda: optimizers.Adamax(rate, *betas, epsilon=epsilon, **options),
        lambda p: torch.optim.Adamax(p, lr=rate, betas=betas, eps=epsilon, **options),
        shapes,
    )


@needs_muon
@hypothesis.given(
    st.sampled_from([(3, 2), (2, 5), (4, 4)]),
    st.sampled_from([0.0, 0.9]),
    st.sampled_from([0.0, 3.0]),
    st.sampled_from([1, 5]),
    st.sampled_from([None, "original", "match_rms_adamw", "spectral_unclamped"]),
    booleans,
    booleans,
)
def test_muon(shape, momentum, decay, steps, adjust, nesterov, embedding):
    """Kernels, which are PyTorch's transposed, and embeddings, which aren't; to bfloat16's two digits."""
    values, gradients = draws([shape])
    options = {
        "momentum": momentum,
        "weight_decay": decay,
        "ns_steps": steps,
        "adjust_lr_fn": adjust,
        "nesterov": nesterov,
        "ns_coefficients": (3.0, -4.0, 2.0),
    }
    expected, _ = run_torch(lambda p: torch.optim.Muon(p, lr=0.1, eps=1e-6, **options), values, gradients, "float32")

    def turned(array):
        return array if embedding else array.T

    variables = [keras.Variable(turned(values[0]), name="embeddings" if embedding else "kernel")]
    optimizer = optimizers.Muon(0.1, epsilon=1e-6, **options)
    found = run_keras(optimizer, None, [[turned(g)] for (g,) in gradients], "float32", variables=variables)
    for (ours,), (theirs,) in zip(found, expected, strict=True):
        np.testing.assert_allclose(turned(ours), theirs, atol=0.01)


def test_muon_takes_matrices_only():
    with pytest.raises(ValueError, match=r"fc1/bias \(4,\).*Use layers without a bias, or set trainable = False"):
        optimizers.Muon().build(network().trainable_variables)


RULES = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "NAdam", "RAdam", "Adamax")


@pytest.mark.parametrize("name", [*RULES, pytest.param("Muon", marks=needs_muon)])
def test_defaults_are_pytorchs(name):
    defaults = dict(getattr(torch.optim, name)([torch.zeros(1, 1)]).defaults)
    config = getattr(optimizers, name)().get_config()
    defaults["beta_1"], defaults["beta_2"] = defaults.pop("betas", (None, None))
    names = {"lr": "learning_rate", "eps": "epsilon", "alpha": "rho"}
    theirs = {names.get(key, key): value for key, value in defaults.items() if value is not None}
    shared = set(theirs) & set(config)
    assert shared >= {"learning_rate", "weight_decay"}
    assert {key: config[key] for key in shared} == {key: theirs[key] for key in shared}
    assert set(theirs) - shared <= {"capturable", "differentiable", "decoupled_weight_decay"}


@pytest.mark.parametrize("name", RULES)
def test_hundred_steps_in_float64(name):
    """PyTorch's defaults: 1e-11 relative after 100 steps, and the state under PyTorch's names."""
    values, gradients = draws([(3, 4), (4,)], steps=100)
    parameters = [torch.tensor(v, requires_grad=True) for v in values]
    theirs = getattr(torch.optim, name)(parameters)
    with torch_in("float64"):
        for grads in gradients:
            for parameter, g in zip(parameters, grads, strict=True):
                parameter.grad = torch.tensor(g)
            theirs.step()
    with precision("float64"):
        optimizer, variables = getattr(optimizers, name)(), variables_of(values, "float64")
        run_keras(optimizer, values, gradients, "float64", variables=variables)
        for variable, parameter in zip(variables, parameters, strict=True):
            np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), parameter.detach().numpy(), rtol=1e-11)
            state = dict(theirs.state[parameter])
            assert int(state.pop("step", 100)) == int(optimizer.iterations) == 100
            state = {key: value for key, value in state.items() if value is not None}
            assert set(state) == set(optimizer.state_of(variable))
            for key, ours in optimizer.state_of(variable).items():
                np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), state[key].numpy(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam", "AdamW", "NAdam", "RAdam", "Adamax"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_one_cycle_moves_momentum(name, dtype):
    """Rate and momentum (β₁) of every step are PyTorch's, and so are the weights; also from momentum=0."""
    values, gradients = draws([(3, 2), (2,)], steps=10)
    cycle = {"max_lr": 0.3, "total_steps": 10, "base_momentum": 0.7, "max_momentum": 0.95}
    with torch_in(dtype):
        expected, moved = run_torch(
            lambda p: getattr(torch.optim, name)(p, lr=0.1),
            values,
            gradients,
            dtype,
            scheduler=lambda o: lr_scheduler.OneCycleLR(o, **cycle),
        )
    with precision(dtype):
        optimizer = getattr(optimizers, name)(schedules.OneCycleLR(**cycle))
        key = "beta_1" if "Adam" in name else "momentum"
        found = [(float(optimizer.learning_rate), float(getattr(optimizer, key)))]

        def note(_, optimizer):
            found.append((float(optimizer.learning_rate), float(getattr(optimizer, key))))

        assert_same(run_keras(optimizer, values, gradients, dtype, note), expected, dtype)
        np.testing.assert_allclose(found[:-1], moved, rtol=1e-12 if dtype == "float64" else 5e-6)
        with pytest.raises(TypeError, match="OneCycleLR moves it"):
            setattr(optimizer, key, 0.5)


@pytest.mark.parametrize(("name", "key"), [("SGD", "momentum"), ("RMSprop", "momentum"), ("Adam", "beta_1")])
def test_momentum_set_on_the_way(name, key):
    values, gradients = draws([(3, 2)])

    def change(step, group):
        if step == 1:
            group["lr"] = 0.02
            group.update({"betas": (0.5, 0.99)} if "betas" in group else {"momentum": 0.5})

    def change_ours(step, optimizer):
        if step == 1:
            optimizer.learning_rate = 0.02
            setattr(optimizer, key, 0.5)
            if key == "beta_1":
                optimizer.beta_2 = 0.99

    options = {"momentum": 0.9} if key == "momentum" else {}
    for dtype in ("float64", "float32"):
        expected, _ = run_torch(
            lambda p: getattr(torch.optim, name)(p, lr=0.1, **options), values, gradients, dtype, change
        )
        with precision(dtype):
            optimizer = getattr(optimizers, name)(0.1, **options)
            assert_same(run_keras(optimizer, values, gradients, dtype, change_ours), expected, dtype)
            config = optimizer.get_config()
            assert (config[key], config.get("beta_2", 0.99), config["learning_rate"]) == (0.5, 0.99, 0.02)


def test_stock_sgd_differs_when_the_rate_changes():
    """Keras's velocity holds steps: after a drop of the rate the old, larger steps go on. Ours and PyTorch's don't."""
    values, gradients = draws([(4,)])

    def drop(step, group):
        if step == 2:
            group["lr"] = 0.001

    def drop_keras(step, optimizer):
        if step == 2:
            optimizer.learning_rate = 0.001

    expected, _ = run_torch(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), values, gradients, "float32", drop)
    stock = run_keras(keras.optimizers.SGD(0.1, momentum=0.9), values, gradients, "float32", drop_keras)
    ours = run_keras(optimizers.SGD(0.1, momentum=0.9), values, gradients, "float32", drop_keras)
    assert_same(stock[:3], expected[:3], "float32")
    assert np.abs(stock[3][0] - expected[3][0]).max() > 0.01
    assert_same(ours, expected, "float32")


def test_stock_adam_differs():
    """Keras adds ε before the bias correction: with small gradients another step."""
    values, gradients = draws([(4,)])
    gradients = [[g * 1e-7 for g in grads] for grads in gradients]
    expected, _ = run_torch(lambda p: torch.optim.Adam(p, lr=0.1, eps=1e-7), values, gradients, "float32")
    stock = run_keras(keras.optimizers.Adam(0.1, epsilon=1e-7), values, gradients, "float32")
    ours = run_keras(optimizers.Adam(0.1, epsilon=1e-7), values, gradients, "float32")
    assert np.abs(stock[0][0] - expected[0][0]).max() > 0.01
    assert_same(ours, expected, "float32")


# Clipping


@hypothesis.given(shapes, st.floats(0.01, 20.0), st.sampled_from(["norm", "value"]))
def test_clipping(shapes, bound, kind):
    values, gradients = draws(shapes)
    clip = torch.nn.utils.clip_grad_norm_ if kind == "norm" else torch.nn.utils.clip_grad_value_
    for dtype in ("float64", "float32"):
        expected, _ = run_torch(
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
            values,
            gradients,
            dtype,
            before=lambda parameters: clip(parameters, bound),
        )
        with precision(dtype):
            optimizer = optimizers.SGD(0.1, momentum=0.9, **{f"clip_grad_{kind}": bound})
            assert_same(run_keras(optimizer, values, gradients, dtype), expected, dtype)


def test_clipping_lets_nan_through():
    """As PyTorch does: a gradient that isn't finite is not hidden."""
    (variable,) = variables_of([np.zeros(2)], "float32")
    optimizers.SGD(0.1, clip_grad_norm=1.0).apply([keras.ops.convert_to_tensor([np.nan, 1.0], "float32")], [variable])
    assert np.isnan(keras.ops.convert_to_numpy(variable)).all()


def test_keras_clipnorm_keeps_its_meaning():
    values, gradients = draws([(4,), (3,)])
    stock = run_keras(keras.optimizers.SGD(0.1, global_clipnorm=0.5), values, gradients, "float32")
    ours = run_keras(optimizers.SGD(0.1, global_clipnorm=0.5), values, gradients, "float32")
    assert_same(ours, stock, "float32")


# Parameter groups


def network(dtype=None):
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="fc1", dtype=dtype),
            keras.layers.BatchNormalization(name="bn1", dtype=dtype),
            keras.layers.Dense(2, name="fc2", dtype=dtype),
        ],
        name="net",
    )


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


# Keras's own features


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_gradient_accumulation(name):
    """The mean of two gradients is one step, the first one undampened."""
    values, gradients = draws([(3, 2)], steps=8)
    options = {"momentum": 0.9, "dampening": 0.3} if name == "SGD" else {}
    means = [
        [(a + b) / 2 for a, b in zip(*pair, strict=True)] for pair in zip(gradients[::2], gradients[1::2], strict=True)
    ]
    expected, _ = run_torch(lambda p: getattr(torch.optim, name)(p, lr=0.1, **options), values, means, "float32")
    optimizer = getattr(optimizers, name)(0.1, gradient_accumulation_steps=2, **options)
    assert_same(run_keras(optimizer, values, gradients, "float32")[1::2], expected, "float32")


def test_loss_scale_and_moving_average():
    values, gradients = draws([(3,)])
    expected, _ = run_torch(lambda p: torch.optim.SGD(p, lr=0.1), values, gradients, "float32")
    scaled = [[g * 8 for g in grads] for grads in gradients]
    variables = variables_of(values, "float32")
    optimizer = optimizers.SGD(0.1, loss_scale_factor=8.0, use_ema=True, ema_momentum=0.5)
    assert_same(run_keras(optimizer, values, scaled, "float32", variables=variables), expected, "float32")
    average = expected[0][0]
    for step in expected[1:]:
        average = 0.5 * average + 0.5 * step[0]
    optimizer.finalize_variable_values(variables)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variables[0]), average, rtol=1e-5, atol=1e-6)


def test_embedding_gradients_are_dense():
    """Rows that a batch doesn't name have gradient 0 as in PyTorch, and still move with momentum."""
    tokens = np.array([[0, 2], [1, 2], [0, 0]])
    table = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    theirs = torch.nn.Embedding(4, 3)
    theirs.weight.data = torch.tensor(table)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.1)
    for _ in range(3):
        for row in tokens:
            optimizer.zero_grad()
            theirs(torch.tensor(row[None])).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
            optimizer.step()
    model = keras.Sequential([keras.Input((2,), dtype="int32"), keras.layers.Embedding(4, 3, weights=[table])])
    model.compile(optimizers.Adam(0.1, clip_grad_norm=0.1), loss="mse")
    model.fit(tokens, np.zeros((3, 2, 3), "float32"), batch_size=1, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], theirs.weight.detach().numpy(), rtol=1e-4, atol=1e-5)


# Compiled steps, files


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


# Bad arguments


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
