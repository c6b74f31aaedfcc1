"""The losses on classes against ``torch.nn`` itself, and what losses share: weights, shapes, what ``fit`` reports."""

import keras
import numpy as np
import pytest
import torch
from gradients import assert_close, precision, value_and_gradients
from hypothesis import given, strategies as st

from kerasnets import losses

DTYPES = st.sampled_from(["float32", "float64"])
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


@st.composite
def problems(draw):
    """A classification: dtype, arguments common to both frameworks, labels (some ignored), logits with classes last."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(DTYPES)
    classes = draw(st.sampled_from([2, 5]))
    shape = draw(st.sampled_from([(6,), (2, 1, 3)]))  # few, since JAX compiles for each
    labels = rng.integers(0, classes, shape)
    ignore_index = draw(st.sampled_from([-100, -1, 0, 1]))
    if draw(st.booleans()):
        labels[rng.random(shape) < 0.3] = ignore_index
    labels.flat[0] = classes - 1 if ignore_index != classes - 1 else 0  # one at least counts
    weight = rng.uniform(0.1, 2, classes).astype(dtype) if draw(st.booleans()) else None
    arguments = {"ignore_index": ignore_index, "reduction": draw(REDUCTIONS)}
    return dtype, weight, arguments, labels, (3 * rng.normal(size=(*shape, classes))).astype(dtype)


def to_torch(predictions):
    """A leaf tensor on the CPU, and the same with the classes on axis 1."""
    leaf = torch.tensor(predictions, device="cpu", requires_grad=True)
    return leaf, torch.movedim(leaf, -1, 1).contiguous()


def tensor(array):
    return None if array is None else torch.tensor(array, device="cpu")


def assert_same_loss(ours, theirs, targets, predictions, dtype, torch_targets=None, before=lambda x: x):
    """Value and gradient of both; unreduced losses are compared, then summed with fixed weights for one gradient."""
    leaf, moved = to_torch(predictions)
    expected = theirs(before(moved), tensor(targets if torch_targets is None else torch_targets))
    assert_close(ours(targets, predictions), expected, dtype)

    ramp = np.linspace(1, 2, expected.numel(), dtype=dtype).reshape(expected.shape)
    (expected * tensor(ramp)).sum().backward()
    _, (gradient,) = value_and_gradients(
        lambda x: keras.ops.sum(ours(keras.ops.convert_to_tensor(targets), x) * keras.ops.convert_to_tensor(ramp)),
        predictions,
    )
    assert_close(gradient, leaf.grad, dtype)


@given(problems(), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_cross_entropy(problem, smoothing):
    dtype, weight, arguments, labels, logits = problem
    with precision(dtype):
        ours = losses.CrossEntropyLoss(weight, label_smoothing=smoothing, **arguments)
        theirs = torch.nn.CrossEntropyLoss(tensor(weight), label_smoothing=smoothing, **arguments)
        assert_same_loss(ours, theirs, labels, logits, dtype)


@given(problems(), st.sampled_from([0.0, 0.2]))
def test_cross_entropy_with_probabilities(problem, smoothing):
    dtype, weight, arguments, _, logits = problem
    p = np.random.default_rng(0).dirichlet(np.ones(logits.shape[-1]), logits.shape[:-1]).astype(dtype)
    with precision(dtype):
        kwargs = {"label_smoothing": smoothing, "reduction": arguments["reduction"]}
        ours = losses.CrossEntropyLoss(weight, **kwargs)
        theirs = torch.nn.CrossEntropyLoss(tensor(weight), **kwargs)
        assert_same_loss(ours, theirs, p, logits, dtype, torch_targets=np.moveaxis(p, -1, 1).copy())


@given(problems())
def test_nll(problem):
    dtype, weight, arguments, labels, log_p = problem
    with precision(dtype):
        ours = losses.NLLLoss(weight, **arguments)
        assert_same_loss(ours, torch.nn.NLLLoss(tensor(weight), **arguments), labels, log_p, dtype)


@given(problems())
def test_nll_from_probabilities_takes_the_logarithm_first(problem):
    dtype, weight, arguments, labels, logits = problem
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    p = np.maximum(p, 0.02).astype(dtype)  # 1/p amplifies float32's rounding
    with precision(dtype):
        ours = losses.NLLLoss(weight, from_probabilities=True, **arguments)
        theirs = torch.nn.NLLLoss(tensor(weight), **arguments)
        assert_same_loss(ours, theirs, labels, p, dtype, before=torch.log)


def test_a_weighted_mean_divides_by_the_sum_of_the_weights():
    """The stock difference: Keras's mean divides by the number of samples."""
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    labels, weight = np.array([0, 1, 2, 2, 0]), [1.0, 2.0, 5.0]
    ours = losses.CrossEntropyLoss(weight)(labels, logits)
    assert_close(ours, torch.nn.CrossEntropyLoss(tensor(weight))(tensor(logits), tensor(labels)), "float32")
    stock = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits, np.take(weight, labels))
    assert abs(float(stock) - float(ours)) > 0.1


@pytest.mark.parametrize("loss", [losses.CrossEntropyLoss(), losses.NLLLoss()])
def test_all_targets_ignored_give_nan_as_in_pytorch(loss):
    logits, labels = np.zeros((3, 4), "float32"), np.full(3, -100)
    assert torch.isnan(torch.nn.CrossEntropyLoss()(tensor(logits), tensor(labels)))
    assert np.isnan(float(loss(labels, logits)))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32"])
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_labels_of_any_type_with_or_without_a_last_axis(dtype, shape):
    logits = np.random.default_rng(0).normal(size=(6, 10)).astype("float32")
    labels = np.arange(3, 9)
    for name in ("CrossEntropyLoss", "NLLLoss"):
        expected = getattr(torch.nn, name)()(tensor(logits), tensor(labels))
        assert_close(getattr(losses, name)()(labels.astype(dtype).reshape(shape), logits), expected, "float32")


def test_many_classes_stay_exact_in_half_precision():
    logits = np.random.default_rng(0).normal(size=(4, 3000)).astype("float32")
    labels = np.array([2049, 257, 2999, 0])
    loss = losses.CrossEntropyLoss(reduction="none", dtype="bfloat16")
    assert loss.dtype == "float32"
    assert_close(
        loss(labels, logits), torch.nn.CrossEntropyLoss(reduction="none")(tensor(logits), tensor(labels)), "float32"
    )


def test_a_class_ruled_out_by_minus_infinity():
    logits = np.array([[0.5, -np.inf, 1.0], [-np.inf, 0.0, 2.0]], "float32")
    labels = np.array([2, 1])
    assert_same_loss(losses.CrossEntropyLoss(), torch.nn.CrossEntropyLoss(), labels, logits, "float32")


@pytest.mark.parametrize("bad", [-1, 3, 7, 1.5, np.nan])
@pytest.mark.parametrize("loss", [losses.CrossEntropyLoss(), losses.CrossEntropyLoss([1, 2, 3]), losses.NLLLoss()])
def test_a_label_that_is_no_class_is_nan(loss, bad):
    assert np.isnan(float(loss(np.array([0, bad, 2]), np.zeros((3, 3), "float32"))))


@pytest.mark.parametrize("loss", [losses.CrossEntropyLoss(), losses.NLLLoss(), losses.CrossEntropyLoss(ignore_index=9)])
def test_check_targets(loss):
    loss.check_targets(np.array([0, 2, loss.ignore_index, 1]), 3)
    loss.check_targets([[0.0], [2.0]], 3)
    loss.check_targets(keras.ops.convert_to_tensor([0, 2]), 3)
    for targets, value, index in (([0, 1, 3, 4], "3", "2"), ([-1, 0], "-1", "0"), ([[0, 1], [2, 5]], "5", "1, 1")):
        with pytest.raises(ValueError, match=rf"target {value} at index {index}; expected a class index from 0 to 2"):
            loss.check_targets(np.array(targets), 3)
    for wrong in (1.5, np.nan):
        with pytest.raises(ValueError, match=rf"target {wrong} at index 1"):
            loss.check_targets(np.array([0, wrong]), 3)
    with pytest.raises(ValueError, match="real numbers"):
        loss.check_targets(np.array(["cat", "dog"]), 3)


def test_check_targets_takes_what_the_loss_takes():
    losses.CrossEntropyLoss().check_targets(np.full((4, 3), 1 / 3), 3)
    losses.MSELoss().check_targets(np.array([-7.5]), 1)
    with pytest.raises(ValueError, match="real numbers"):
        losses.MSELoss().check_targets(np.array(["cat"]), 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.CrossEntropyLoss(reduction="average"), "'mean', 'sum', 'none'; received 'average'"),
        (lambda: losses.MSELoss(reduction="sum_over_batch_size"), "received 'sum_over_batch_size'"),
        (lambda: losses.CrossEntropyLoss(label_smoothing=1.5), r"within \[0, 1\]; received 1.5"),
        (lambda: losses.CrossEntropyLoss(label_smoothing=-0.1), r"within \[0, 1\]; received -0.1"),
        (lambda: losses.NLLLoss(weight=[[1.0, 2.0]]), r"one entry per class; received an array of shape \(1, 2\)"),
        (lambda: losses.NLLLoss(ignore_index=0.5), "must be an integer; received 0.5"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "message"),
    [
        (losses.CrossEntropyLoss([1.0, 2.0]), (4,), (4, 3), "3 classes are predicted; received 2 weights"),
        (losses.NLLLoss([1.0] * 4), (4,), (4, 3), "3 classes are predicted; received 4 weights"),
        (losses.CrossEntropyLoss(), (5,), (4, 3), r"shape \(5,\) don't fit predictions of shape \(4, 3\)"),
        (losses.CrossEntropyLoss(), (1,), (4, 3), r"shape \(1,\) don't fit"),
        (losses.CrossEntropyLoss(), (4, 2), (4, 3), r"shape \(4, 2\) don't fit"),
        (losses.NLLLoss(), (4, 3), (4, 3), r"expected a class index for each, shape \(4,\)"),
        (
            losses.CrossEntropyLoss(ignore_index=1),
            (4, 3),
            (4, 3),
            "no meaning for targets that are class probabilities",
        ),
        (losses.MSELoss(), (4,), (4, 1), r"predictions, \(4, 1\); received \(4,\)"),
        (losses.MSELoss(), (4, 1), (4, 2), r"predictions, \(4, 2\); received \(4, 1\)"),
    ],
)
def test_shapes_that_do_not_fit(loss, y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        loss(np.zeros(y_true, "float32"), np.zeros(y_pred, "float32"))


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_sample_weight_multiplies_as_in_keras(shape, reduction):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)).astype("float32"), rng.integers(0, 4, 6)
    weight = rng.uniform(0, 2, 6).astype("float32")
    stock = "sum_over_batch_size" if reduction == "mean" else reduction
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=stock)(labels, logits, weight)
    ours = losses.CrossEntropyLoss(reduction=reduction)(labels, logits, weight.reshape(shape))
    assert_close(ours, keras.ops.convert_to_numpy(expected), "float32")


def test_sample_weight_belongs_to_the_first_axis():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 3, 4)).astype("float32"), rng.integers(0, 4, (3, 3))
    weight = np.array([0.0, 1.0, 3.0], "float32")
    each = keras.ops.convert_to_numpy(losses.CrossEntropyLoss(reduction="none")(labels, logits))
    ours = losses.CrossEntropyLoss()
    assert_close(ours(labels, logits, weight), (each * weight[:, None]).mean(dtype="float32"), "float32")
    full = rng.uniform(size=(3, 3)).astype("float32")
    assert_close(ours(labels, logits, full), (each * full).mean(dtype="float32"), "float32")
    y = np.zeros((3, 4), "float32")
    expected = (logits[:, 0] ** 2 * weight[:, None]).mean(dtype="float32")
    assert_close(losses.MSELoss()(y, logits[:, 0], weight), expected, "float32")


@pytest.mark.parametrize("shape", [(3,), (4, 2), (4, 1, 2)])
def test_sample_weight_that_does_not_fit(shape):
    with pytest.raises(ValueError, match=r"`sample_weight` of shape .* doesn't fit losses of shape"):
        losses.CrossEntropyLoss()(np.zeros(4), np.zeros((4, 3), "float32"), np.ones(shape))


@pytest.mark.parametrize(
    "loss",
    [
        losses.CrossEntropyLoss([1, 0.5, 2], ignore_index=1, label_smoothing=0.1, reduction="sum", name="mine"),
        losses.NLLLoss(np.array([1, 0.1, 2]), ignore_index=2, from_probabilities=True),
        losses.MSELoss(reduction="sum"),
    ],
)
def test_round_trip(loss):
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()


def linear_model(loss, rate=0.0, **compile_arguments):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer="glorot_normal")])
    model.compile(keras.optimizers.SGD(rate), loss, **compile_arguments)
    return model


@pytest.mark.parametrize("shape", [(7,), (7, 1)])
def test_fit_reports_the_mean_over_all_samples(shape):
    """With a last batch of another size, with whole labels and with labels that have an axis of 1."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 4)).astype("float32"), rng.integers(0, 3, 7)
    model = linear_model(losses.CrossEntropyLoss(), metrics=["accuracy"])
    logits = model.predict(x, verbose=0)
    expected = torch.nn.CrossEntropyLoss()(tensor(logits), tensor(y)).item()
    history = model.fit(x, y.reshape(shape), batch_size=3, epochs=1, verbose=0).history
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert history["accuracy"][0] == pytest.approx((logits.argmax(1) == y).mean())
    assert model.evaluate(x, y, batch_size=3, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
    weighted = model.fit(x, y, batch_size=3, verbose=0, class_weight={0: 1.0, 1: 0.0, 2: 2.0}).history["loss"][0]
    each = torch.nn.CrossEntropyLoss(reduction="none")(tensor(logits), tensor(y)).numpy()
    assert weighted == pytest.approx(np.mean(each * np.take([1.0, 0.0, 2.0], y)), rel=1e-5)


def test_fit_takes_pytorchs_step_with_weights_and_ignored_targets():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4)).astype("float32"), np.array([0, 1, -100, 2, 2, 1, -100, 0])
    weight = [0.5, 1.0, 3.0]
    model = linear_model(losses.CrossEntropyLoss(weight, label_smoothing=0.1), rate=0.5)
    twin = torch.nn.Linear(4, 3, device="cpu")
    kernel, bias = model.get_weights()
    twin.load_state_dict({"weight": tensor(kernel.T.copy()), "bias": tensor(bias)})
    optimizer = torch.optim.SGD(twin.parameters(), 0.5)
    for start in (0, 5):
        optimizer.zero_grad()
        criterion = torch.nn.CrossEntropyLoss(tensor(np.float32(weight)), label_smoothing=0.1)
        criterion(twin(tensor(x[start : start + 5])), tensor(y[start : start + 5])).backward()
        optimizer.step()
    model.fit(x, y, batch_size=5, shuffle=False, verbose=0)
    assert_close(model.get_weights()[0], twin.weight.T, "float32")


@pytest.mark.filterwarnings("ignore:.*converting a masked element to nan")
def test_a_bad_label_is_loud_in_fit():
    history = linear_model(losses.CrossEntropyLoss()).fit(
        np.zeros((4, 4), "float32"), np.array([0, 1, 5, 2]), batch_size=2, verbose=0
    )
    assert np.isnan(history.history["loss"][0])


def test_a_saved_model_keeps_its_loss(tmp_path):
    model = linear_model(losses.NLLLoss([1, 2, 3], ignore_index=0, from_probabilities=True))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.loss, losses.NLLLoss)
    assert loaded.loss.get_config() == model.loss.get_config()
