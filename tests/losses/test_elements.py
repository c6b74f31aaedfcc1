"""The losses of pairs of numbers against ``torch.nn`` itself: values, gradients, weights, training."""

import keras
import numpy as np
import pytest
import torch
from gradients import assert_close, precision, value_and_gradients
from hypothesis import given, strategies as st

from kerasnets import layers, losses, models, optimizers

DTYPES = st.sampled_from(["float32", "float64"])
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])
SHAPES = st.sampled_from([(6,), (2, 1, 3)])
SEEDS = st.integers(0, 1000)


def tensor(array):
    return None if array is None else torch.tensor(array, device="cpu")


def assert_same_loss(ours, theirs, targets, predictions, dtype):
    """Value and gradient of both, within `precision`."""
    leaf = torch.tensor(predictions, device="cpu", requires_grad=True)
    expected = theirs(leaf, tensor(targets))
    assert_close(ours(targets, predictions), expected, dtype)
    ramp = np.linspace(1, 2, expected.numel(), dtype=dtype).reshape(expected.shape)
    (expected * tensor(ramp)).sum().backward()
    _, (gradient,) = value_and_gradients(
        lambda x: keras.ops.sum(ours(keras.ops.convert_to_tensor(targets), x) * keras.ops.convert_to_tensor(ramp)),
        predictions,
    )
    assert_close(gradient, leaf.grad, dtype)


def numbers(seed, shape, dtype):
    """Targets and predictions; a third of them are equal, and a third at a distance of exactly 1."""
    rng = np.random.default_rng(seed)
    y, x = rng.normal(size=(2, *shape))
    y = np.round(y * 4) / 4
    x.flat[::3] = y.flat[::3]
    x.flat[1::3] = y.flat[1::3] + 1
    return y.astype(dtype), x.astype(dtype)


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss"])
@given(SHAPES, DTYPES, REDUCTIONS, SEEDS)
def test_squares_and_distances(name, shape, dtype, reduction, seed):
    y, x = numbers(seed, shape, dtype)
    with precision(dtype):
        ours, theirs = (getattr(place, name)(reduction=reduction) for place in (losses, torch.nn))
        assert_same_loss(ours, theirs, y, x, dtype)


@given(SHAPES, DTYPES, REDUCTIONS, SEEDS, st.sampled_from([0.0, 0.3, 1.0, 2.5]))
def test_smooth_l1(shape, dtype, reduction, seed, beta):
    y, x = numbers(seed, shape, dtype)
    with precision(dtype):
        ours, theirs = (place.SmoothL1Loss(reduction=reduction, beta=beta) for place in (losses, torch.nn))
        assert_same_loss(ours, theirs, y, x, dtype)


@given(SHAPES, DTYPES, REDUCTIONS, SEEDS, st.sampled_from([0.3, 1.0, 2.5]))
def test_huber(shape, dtype, reduction, seed, delta):
    y, x = numbers(seed, shape, dtype)
    with precision(dtype):
        ours, theirs = (place.HuberLoss(reduction=reduction, delta=delta) for place in (losses, torch.nn))
        assert_same_loss(ours, theirs, y, x, dtype)


@given(DTYPES, st.sampled_from(["mean", "sum", "none", "batchmean"]), st.booleans(), SEEDS)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # PyTorch's advice
def test_kl_divergence(dtype, reduction, log_target, seed):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(5), (2, 3)).astype(dtype)
    if log_target:
        p = np.log(p)
    else:
        p[0, :2] = 0.0  # where log p is −∞
    with precision(dtype):
        ours, theirs = (place.KLDivLoss(reduction=reduction, log_target=log_target) for place in (losses, torch.nn))
        assert_same_loss(ours, theirs, p, np.log(q), dtype)


def weights_for(kind, shape, dtype, seed):
    """None, one number for all, one per feature, or one per element."""
    rng = np.random.default_rng(seed)
    shapes = {"none": None, "one": (), "feature": shape[-1:], "element": shape}
    return None if shapes[kind] is None else rng.uniform(0.2, 3, shapes[kind]).astype(dtype)


KINDS = st.sampled_from(["none", "one", "feature", "element"])


@given(SHAPES, DTYPES, REDUCTIONS, SEEDS, KINDS, KINDS)
def test_binary_cross_entropy_with_logits(shape, dtype, reduction, seed, kind, positive):
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(size=shape).astype(dtype), (30 * rng.normal(size=shape)).astype(dtype)
    y.flat[::3], y.flat[1::3], x.flat[:2] = 0, 1, (0, 300)
    weight, pos_weight = weights_for(kind, shape, dtype, seed), weights_for(positive, shape, dtype, seed + 1)
    with precision(dtype):
        ours = losses.BCEWithLogitsLoss(weight, reduction, pos_weight)
        theirs = torch.nn.BCEWithLogitsLoss(tensor(weight), reduction=reduction, pos_weight=tensor(pos_weight))
        assert_same_loss(ours, theirs, y, x, dtype)


@given(SHAPES, DTYPES, REDUCTIONS, SEEDS, KINDS)
def test_binary_cross_entropy(shape, dtype, reduction, seed, kind):
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(size=(2, *shape)).astype(dtype)
    y.flat[:5], x.flat[:4] = (0, 1, 0, 1, 1), (0, 1, 1, 0)  # right and wrong with certainty: log 0
    weight = weights_for(kind, shape, dtype, seed)
    with precision(dtype):
        ours, theirs = losses.BCELoss(weight, reduction), torch.nn.BCELoss(tensor(weight), reduction=reduction)
        leaf = torch.tensor(x, requires_grad=True)
        expected = theirs(leaf, tensor(y))
        assert_close(ours(y, x), expected, dtype)
        expected.sum().backward()
        _, (gradient,) = value_and_gradients(lambda x: keras.ops.sum(ours(keras.ops.convert_to_tensor(y), x)), x)
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-10 if dtype == "float64" else 2e-5)


def test_a_probability_beyond_one_is_nan():
    """PyTorch raises an error, which a compiled step can't."""
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        torch.nn.BCELoss()(torch.tensor([1.5]), torch.tensor([1.0]))
    for probability in (1.5, -0.5):
        assert np.isnan(float(losses.BCELoss()(np.ones(1, "float32"), np.array([probability], "float32"))))


def test_stock_binary_crossentropy_differs():
    """Keras clips the probabilities: a certain mistake costs 16 there, 100 in PyTorch and here."""
    y, x = np.ones((1, 1), "float32"), np.zeros((1, 1), "float32")
    assert float(keras.losses.BinaryCrossentropy()(y, x)) < 17
    assert float(losses.BCELoss()(y, x)) == float(torch.nn.BCELoss()(tensor(x), tensor(y))) == 100


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.L1Loss("average"), "'mean', 'sum', 'none'; received 'average'"),
        (lambda: losses.BCELoss(reduction="batchmean"), "received 'batchmean'"),
        (lambda: losses.KLDivLoss("average"), "'none', 'batchmean'; received 'average'"),
        (lambda: losses.SmoothL1Loss(beta=-1.0), "beta.*-1.0"),
        (lambda: losses.HuberLoss(delta=0.0), "delta.*0.0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["BCELoss", "BCEWithLogitsLoss", "HuberLoss", "KLDivLoss", "L1Loss", "SmoothL1Loss"])
def test_shapes_that_do_not_fit(name):
    with pytest.raises(ValueError, match=rf"{name} needs .* predictions, \(4, 1\); received \(4,\)"):
        getattr(losses, name)()(np.zeros(4, "float32"), np.zeros((4, 1), "float32"))


@pytest.mark.parametrize("name", ["weight", "pos_weight"])
def test_weights_that_do_not_fit(name):
    loss = losses.BCEWithLogitsLoss(**{name: [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match=rf"`{name}` of shape \(3,\) doesn't fit predictions of shape \(4, 2\)"):
        loss(np.zeros((4, 2), "float32"), np.zeros((4, 2), "float32"))


LOSSES = [
    lambda: losses.L1Loss("sum", name="mine"),
    lambda: losses.SmoothL1Loss(beta=0.2),
    lambda: losses.HuberLoss(delta=0.2),
    lambda: losses.KLDivLoss("batchmean", log_target=True),
    lambda: losses.BCELoss(np.array([1.0, 0.25])),
    lambda: losses.BCEWithLogitsLoss([[0.5]], pos_weight=torch.tensor([3.0, 0.1])),
]


@pytest.mark.parametrize("make", LOSSES)
def test_round_trip(make):
    loss = make()
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()


@pytest.mark.parametrize("make", LOSSES)
@pytest.mark.usefixtures("every_reason_is_said_again")
def test_the_fast_fit_trains_as_pytorch_and_files_keep_the_loss(make, tmp_path):
    """Two steps of SGD, the second on a batch of another size, in the fast path: a way through stock Keras warns."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 4)).astype("float32"), rng.uniform(size=(7, 2)).astype("float32")
    loss = make()
    ends = isinstance(loss, losses.BCELoss)
    model = models.Sequential([keras.Input((4,)), layers.Linear(2, activation="sigmoid" if ends else None)])
    model.compile(optimizers.SGD(0.1), loss)
    twin = torch.nn.Linear(4, 2)
    kernel, bias = model.get_weights()
    twin.load_state_dict({"weight": tensor(kernel.T.copy()), "bias": tensor(bias)})
    arguments = {key: value for key, value in loss.get_config().items() if key not in ("name", "dtype")}
    for key in ("weight", "pos_weight"):
        if arguments.get(key) is not None:
            arguments[key] = torch.tensor(arguments[key])
    criterion = getattr(torch.nn, type(loss).__name__)(**arguments)
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    for part in (slice(0, 4), slice(4, 7)):
        optimizer.zero_grad()
        outputs = twin(tensor(x[part]))
        criterion(outputs.sigmoid() if ends else outputs, tensor(y[part])).backward()
        optimizer.step()
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    assert_close(model.get_weights()[0], twin.weight.T, "float32")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == loss.get_config()
