"""L-BFGS through SciPy against torch.optim.LBFGS: the same minimum of convex problems."""

import keras
import numpy as np
import pytest
import torch
from gradients import precision

from kerasnets import layers, lbfgs, losses, models, optimizers

DECAY = 0.01


@pytest.fixture
def problem():
    """Forty images of 3 × 4 pixels in three classes that a plane doesn't part."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 40)
    return (generator.normal(size=(40, 3, 4)) + 0.5 * y[:, None, None]).astype("float32"), y


def softmax_regression(classes=3):
    inputs = keras.Input((3, 4))
    outputs = layers.Linear(classes, name="output")(layers.Flatten()(inputs))
    return models.Model(inputs, outputs)


def torch_minimum(weight, bias, value_of):
    """The weights at which torch.optim.LBFGS, in float64, finds the lowest value of `value_of(weight, bias)`."""
    weight, bias = (torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in (weight, bias))
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = value_of(weight, bias)
        value.backward()
        return value

    optimizer.step(closure)
    return weight.detach().numpy(), bias.detach().numpy(), value_of(weight, bias).item()


def torch_loss(x, y, of):
    x = torch.tensor(x.reshape(len(x), -1), dtype=torch.float64)
    y = torch.tensor(y)
    return lambda w, b: of(x @ w + b, y) + DECAY / 2 * (w.square().sum() + b.square().sum())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["CrossEntropyLoss", "MSELoss"])
def test_same_minimum_as_torch(problem, name, dtype):
    x, y = problem
    if name == "MSELoss":
        y = np.eye(3)[y]
    with precision(dtype):
        model = softmax_regression()
        start = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
        found = lbfgs.minimize(
            model, getattr(losses, name)(), x, y, max_iterations=500, weight_decay=DECAY, tolerance_change=0.0
        )
    weight, bias, lowest = torch_minimum(*start, torch_loss(x, y, getattr(torch.nn, name)()))
    bound = 1e-5 if dtype == "float64" else 2e-3
    np.testing.assert_allclose(model.get_layer("output").get_weights()[0], weight, atol=bound)
    np.testing.assert_allclose(model.get_layer("output").get_weights()[1], bias, atol=bound)
    assert found.losses[-1] == pytest.approx(lowest, abs=1e-10 if dtype == "float64" else 1e-6)
    assert found.losses == sorted(found.losses, reverse=True)
    assert found.losses[0] > found.losses[-1]


def test_the_model_holds_the_weights_of_the_last_loss(problem):
    x, y = problem
    model, loss = softmax_regression(), losses.CrossEntropyLoss()
    found = lbfgs.minimize(model, loss, x, y, max_iterations=3)
    assert len(found.losses) == 4
    assert not found.converged
    assert found.evaluations >= 4
    assert float(keras.ops.convert_to_numpy(loss(y, model(x)))) == pytest.approx(found.losses[-1], rel=1e-5)


def test_lower_than_sgd_after_as_many_gradients(problem):
    x, y = problem
    model, loss = softmax_regression(), losses.CrossEntropyLoss()
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    found = lbfgs.minimize(model, loss, x, y, max_iterations=20)
    other.compile(optimizer=optimizers.SGD(0.1), loss=loss)
    other.fit(x, y, batch_size=len(x), epochs=found.evaluations, verbose=0)
    assert found.losses[-1] < other.evaluate(x, y, verbose=0)


def test_ends_at_the_limit_of_evaluations(problem):
    x, y = problem
    found = lbfgs.minimize(softmax_regression(), losses.CrossEntropyLoss(), x, y, max_iterations=99, max_evaluations=4)
    assert 4 <= found.evaluations < 30  # a line search that has begun is finished
    assert not found.converged


def test_frozen_weights_stay_and_dropout_is_off(problem):
    x, y = problem
    inputs = keras.Input((3, 4))
    hidden = layers.Linear(5, name="hidden")
    features = keras.layers.Dropout(0.5)(hidden(layers.Flatten()(inputs)))
    model = models.Model(inputs, layers.Linear(3, name="output")(features))
    hidden.trainable = False
    before = hidden.get_weights()
    options = {"max_iterations": 200, "weight_decay": DECAY, "tolerance_change": 1e-5}
    found = lbfgs.minimize(model, losses.CrossEntropyLoss(), x, y, **options)
    for old, new in zip(before, hidden.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert found.converged  # no line search gets far on a function that is another one at each call


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_iterations": 0}, "max_iterations: 0"),
        ({"history_size": -1}, "history_size: -1"),
        ({"weight_decay": -0.5}, "weight_decay: -0.5"),
        ({"max_evaluations": 0.5}, "max_evaluations: 0.5"),
    ],
)
def test_wrong_options(problem, options, message):
    with pytest.raises(ValueError, match=message):
        lbfgs.minimize(softmax_regression(), losses.CrossEntropyLoss(), *problem, **options)


def test_wrong_arrays(problem):
    x, y = problem
    model, loss = softmax_regression(), losses.CrossEntropyLoss()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"\(40, 12\)"):
        lbfgs.minimize(model, loss, x.reshape(40, 12), y)
    with pytest.raises(ValueError, match="40 images and 39 targets"):
        lbfgs.minimize(model, loss, x, y[1:])
    with pytest.raises(ValueError, match="target 3"):
        lbfgs.minimize(model, loss, x, np.full(40, 3))
    with pytest.raises(ValueError, match="nan"):
        lbfgs.minimize(model, loss, np.full_like(x, np.nan), y)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
