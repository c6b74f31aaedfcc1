"""The optimizers against torch.optim, several steps long."""

import hypothesis
import keras
import numpy as np
import pytest
import torch
from gradients import precision
from hypothesis import strategies as st
from optimizer_steps import (
    assert_same,
    booleans,
    compare,
    decays,
    draws,
    lr_scheduler,
    momenta,
    network,
    rates,
    run_keras,
    run_torch,
    shapes,
    torch_in,
    variables_of,
)

from kerasnets import optimizers, schedules


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


@pytest.mark.parametrize("name", [*RULES, "Muon"])
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
