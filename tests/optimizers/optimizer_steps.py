"""Steps of torch.optim and of ours from the same values with the same gradients."""

import contextlib

import keras
import numpy as np
import torch
from gradients import precision
from hypothesis import strategies as st

lr_scheduler = torch.optim.lr_scheduler
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


@contextlib.contextmanager
def torch_in(dtype):
    """PyTorch keeps NAdam's product of momenta in its default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


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
