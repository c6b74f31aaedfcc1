"""Clipping, and Keras's own features of an optimizer."""

import hypothesis
import keras
import numpy as np
import pytest
import torch
from gradients import precision
from hypothesis import strategies as st
from optimizer_steps import assert_same, draws, run_keras, run_torch, shapes, variables_of

from kerasnets import optimizers

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
