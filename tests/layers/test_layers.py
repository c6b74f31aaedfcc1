"""The layers against ``torch.nn`` itself."""

import keras
import numpy as np
import pytest
import torch
from gradients import assert_close, precision, value_and_gradients
from hypothesis import given, settings, strategies as st

from kerasnets import initializers, layers

DTYPES = st.sampled_from(["float32", "float64"])
FORMATS = st.sampled_from(["channels_last", "channels_first"])


def tensor(array, **kwargs):
    return torch.tensor(array, device="cpu", **kwargs)


def to_keras(array, data_format):
    """(batch, channels, height, width), PyTorch's order, as Keras's `data_format` has it."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if data_format == "channels_last" else array


def to_torch(array, data_format):
    array = keras.ops.convert_to_numpy(array)
    return np.ascontiguousarray(np.moveaxis(array, -1, 1)) if data_format == "channels_last" else array


# Linear


@given(DTYPES, st.booleans(), st.sampled_from([(4, 3), (2, 5, 3)]))
def test_linear(dtype, bias, shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(dtype)
    with precision(dtype):
        layer = layers.Linear(6, use_bias=bias)
        layer.build(shape)
        twin = torch.nn.Linear(3, 6, bias=bias, device="cpu", dtype=getattr(torch, dtype))
        weights = [keras.ops.convert_to_numpy(w) for w in layer.weights]
        with torch.no_grad():
            for parameter, weight in zip(twin.parameters(), weights, strict=True):
                parameter.copy_(tensor(weight.T.copy()))
        leaf = tensor(x, requires_grad=True)
        expected = twin(leaf)
        assert_close(layer(x), expected, dtype)
        expected.square().sum().backward()

        def loss(x, *weights):
            return keras.ops.sum(keras.ops.square(layer.stateless_call(weights, [], x)[0]))

        _, gradients = value_and_gradients(loss, x, *weights)
        assert_close(gradients[0], leaf.grad, dtype)
        for ours, theirs in zip(gradients[1:], twin.parameters(), strict=True):
            assert_close(ours.T, theirs.grad, dtype)


@pytest.mark.parametrize("make", [lambda **k: layers.Linear(4, **k), lambda **k: layers.Conv2D(4, 3, **k)])
def test_a_users_own_initialisers_are_kept(make):
    layer = make(kernel_initializer="ones", bias_initializer=keras.initializers.Constant(0.5))
    layer.build((None, 5, 5, 2))
    assert (keras.ops.convert_to_numpy(layer.kernel) == 1).all()
    assert (keras.ops.convert_to_numpy(layer.bias) == 0.5).all()
    own = initializers.FanInUniform(fan_in=10_000)
    layer = make(bias_initializer=own)
    layer.build((None, 5, 5, 2))
    assert np.abs(keras.ops.convert_to_numpy(layer.bias)).max() <= 0.01


def test_a_copy_may_be_built_for_another_input():
    layer = layers.Linear(2000)
    layer.build((None, 4))
    copy = layers.Linear.from_config(layer.get_config())
    copy.build((None, 400))
    assert 0.045 < np.abs(keras.ops.convert_to_numpy(copy.bias)).max() <= 0.0500001


# Conv2D


@settings(max_examples=10)  # JAX compiles for each
@given(
    DTYPES,
    FORMATS,
    st.sampled_from([(1, 1, 0), ((3, 2), 2, 1), (3, (2, 1), (2, 0)), (3, 2, "valid"), ((3, 2), 1, 1)]),
)
def test_convolution_with_pytorchs_padding(dtype, data_format, geometry):
    kernel_size, strides, padding = geometry
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 7, 6)).astype(dtype)
    if keras.backend.backend() == "tensorflow" and data_format == "channels_first":
        dtype, x = "float32", x.astype("float32")  # TensorFlow has no other on a CPU
    with precision(dtype):
        # 4 filters, and a width of 4 with strides: on TensorFlow Keras's own layer takes the one for the other.
        layer = layers.Conv2D(4, kernel_size, strides=strides, padding=padding, data_format=data_format)
        ours = layer(to_keras(x, data_format))
        kernel, bias = (keras.ops.convert_to_numpy(w) for w in layer.weights)
        expected = torch.nn.functional.conv2d(
            tensor(x), tensor(kernel.transpose(3, 2, 0, 1).copy()), tensor(bias), stride=strides, padding=padding
        )
        assert_close(to_torch(ours, data_format), expected, dtype)
        assert layer.compute_output_shape(to_keras(x, data_format).shape) == tuple(ours.shape)


@pytest.mark.parametrize(
    ("kernel_size", "dilation", "padding"), [(3, 1, 1), (5, 1, 2), (3, 2, 2), (4, 1, 1), (3, 1, (0, 2))]
)
def test_padding_by_a_number_without_strides(kernel_size, dilation, padding):
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 4)).astype("float32")
    layer = layers.Conv2D(6, kernel_size, padding=padding, dilation_rate=dilation, groups=2)
    ours = layer(x)
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in layer.weights)
    expected = torch.nn.functional.conv2d(
        tensor(x).movedim(-1, 1),
        tensor(kernel.transpose(3, 2, 0, 1).copy()),
        tensor(bias),
        1,
        padding,
        dilation,
        groups=2,
    )
    assert_close(to_torch(ours, "channels_last"), expected, "float32")
    copy = layers.Conv2D.from_config(layer.get_config())
    assert copy.compute_output_shape(x.shape) == tuple(ours.shape)


def test_keras_same_is_not_pytorchs_padding_with_strides():
    """The stock difference, the reason for padding by a number."""
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 1)).astype("float32")
    ours = layers.Conv2D(1, 3, strides=2, padding=1, kernel_initializer="ones", bias_initializer="zeros")(x)
    stock = keras.layers.Conv2D(1, 3, strides=2, padding="same", kernel_initializer="ones")(x)
    assert ours.shape == stock.shape
    assert np.abs(keras.ops.convert_to_numpy(ours) - keras.ops.convert_to_numpy(stock)).max() > 0.1


@pytest.mark.parametrize("padding", [-1, (1, 2, 3), (1, -1), (0.5, 1), "full"])
def test_bad_padding(padding):
    with pytest.raises(ValueError, match="`padding`"):
        layers.Conv2D(4, 3, padding=padding)


# BatchNormalization


def twin_of(layer, dtype, spatial):
    make = torch.nn.BatchNorm2d if spatial else torch.nn.BatchNorm1d
    affine = layer.scale and layer.center
    features = layer.moving_mean.shape[0]
    return make(features, layer.epsilon, layer.momentum, affine=affine, device="cpu", dtype=getattr(torch, dtype))


def check_batch_norm(layer, twin, batches, dtype, data_format):
    """Steps of gradient descent in training, the running values after each, then evaluation."""
    start = np.random.default_rng(1).uniform(0.5, 2, (2, batches[0].shape[1])).astype(dtype)
    trainable = list(start) if layer.scale else []
    for weight, value in zip(twin.parameters(), trainable, strict=True):
        weight.data.copy_(tensor(value))
    optimizer = torch.optim.SGD(twin.parameters(), 0.01) if trainable else None
    state = [keras.ops.convert_to_numpy(v) for v in layer.non_trainable_variables]

    for x in batches:
        leaf = tensor(x, requires_grad=True)
        twin.zero_grad()
        expected = twin(leaf)
        ramp = np.linspace(-1, 1, x.size, dtype=dtype).reshape(x.shape)
        (expected * tensor(ramp)).sum().backward()

        def loss(x, *weights, ramp=ramp, state=tuple(state)):
            y, _ = layer.stateless_call(weights, state, x, training=True)
            return keras.ops.sum(y * keras.ops.convert_to_tensor(to_keras(ramp, data_format)))

        _, gradients = value_and_gradients(loss, to_keras(x, data_format), *trainable)
        y, state = layer.stateless_call(trainable, state, to_keras(x, data_format), training=True)
        state = [keras.ops.convert_to_numpy(v) for v in state]
        assert_close(to_torch(y, data_format), expected, dtype)
        assert_close(to_torch(gradients[0], data_format), leaf.grad, dtype)
        assert_close(state[0], twin.running_mean, dtype)
        assert_close(state[1], twin.running_var, dtype)
        for gradient, weight in zip(gradients[1:], twin.parameters(), strict=True):
            assert_close(gradient, weight.grad, dtype)
        if optimizer is not None:
            optimizer.step()
            trainable = [weight.detach().numpy().copy() for weight in twin.parameters()]

    twin.eval()
    y, after = layer.stateless_call(trainable, state, to_keras(x, data_format), training=False)
    assert_close(to_torch(y, data_format), twin(tensor(x)), dtype)
    for a, b in zip(state, after, strict=True):
        np.testing.assert_array_equal(a, keras.ops.convert_to_numpy(b))


@settings(max_examples=10)  # JAX compiles for each
@given(
    DTYPES,
    st.sampled_from([(5, 3), (1, 3, 4, 2)]),
    FORMATS,
    st.sampled_from([0.1, 0.0, 0.7, 1.0]),
    st.sampled_from([1e-5, 1e-2]),
    st.booleans(),
    st.floats(-3, 3),
)
def test_batch_norm_over_several_steps(dtype, shape, data_format, momentum, epsilon, affine, shift):
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=shape) * (i + 1) + shift).astype(dtype) for i in range(3)]
    if len(shape) == 2:
        data_format = "channels_first"  # features last and first at once: nothing to move
    axis = 1 if data_format == "channels_first" else -1
    with precision(dtype):
        layer = layers.BatchNormalization(axis, momentum, epsilon, center=affine, scale=affine)
        layer.build(to_keras(batches[0], data_format).shape)
        check_batch_norm(layer, twin_of(layer, dtype, len(shape) == 4), batches, dtype, data_format)


def test_batch_norm_far_from_zero():
    """Keras's E[x²] − E[x]² on torch loses all digits here."""
    x = (1000 + np.random.default_rng(0).normal(size=(64, 3))).astype("float32")
    ours = layers.BatchNormalization()(x, training=True)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours).std(0), 1, rtol=1e-3)


def test_batch_norm_of_many_values():
    """50,000 values a channel: as near to the truth as PyTorch is; TensorFlow's sum over all axes at once is not."""
    x = np.random.default_rng(0).normal(loc=(1, 10, 100), size=(64, 28, 28, 3)).astype("float32")
    images = tensor(np.moveaxis(x, -1, 1).copy())
    truth = torch.nn.functional.batch_norm(images.double(), None, None, training=True).numpy()
    other = torch.nn.functional.batch_norm(images, None, None, training=True).numpy()
    actual = to_torch(layers.BatchNormalization()(x, training=True), "channels_last")
    np.testing.assert_allclose(actual, truth, rtol=0, atol=4 * np.abs(other - truth).max())


def test_batch_norm_differs_from_the_stock_layer():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    ours, stock = layers.BatchNormalization(), keras.layers.BatchNormalization()
    for layer in (ours, stock):
        layer(x, training=True)
    twin = torch.nn.BatchNorm1d(3, device="cpu")
    twin(tensor(x))
    assert_close(ours.moving_variance, twin.running_var, "float32")
    assert np.abs(keras.ops.convert_to_numpy(stock.moving_variance) - twin.running_var.numpy()).max() > 0.01


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3)])
def test_one_value_a_channel_is_an_error(shape):
    layer = layers.BatchNormalization(name="bn1")
    x = np.ones(shape, "float32")
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        torch.nn.functional.batch_norm(tensor(x).movedim(-1, 1), None, None, training=True)
    with pytest.raises(ValueError, match=r"more than one value per channel, but the layer 'bn1'.*shape \(1, "):
        layer(x, training=True)
    assert layer(x, training=False).shape == shape


@pytest.mark.filterwarnings("ignore:.*converting a masked element to nan")
def test_one_value_a_channel_is_loud_in_a_compiled_step():
    model = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(), layers.Linear(2)])
    model.compile("sgd", "mse")
    outcome = "nothing"
    try:
        history = model.fit(np.ones((5, 3), "float32"), np.ones((5, 2), "float32"), batch_size=4, verbose=0)
        outcome = history.history["loss"][0]
    except ValueError as error:
        outcome = str(error)
    assert np.isnan(outcome) if isinstance(outcome, float) else "more than one value per channel" in outcome


def test_batch_norm_statistics_are_float32_in_mixed_precision():
    x = np.random.default_rng(0).normal(300, 1, (32, 2)).astype("float32")
    layer = layers.BatchNormalization(dtype="mixed_float16", momentum=1.0)
    y = layer(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert {keras.backend.standardize_dtype(v.dtype) for v in layer.weights} == {"float32"}
    # The input itself is rounded to float16, steps of 0.25 at 300.
    rounded = x.astype("float16").astype("float32")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.moving_mean), rounded.mean(0), rtol=1e-6)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.moving_variance), rounded.var(0, ddof=1), rtol=1e-3)


def test_frozen_batch_norm_evaluates():
    layer = layers.BatchNormalization()
    layer.trainable = False
    x = np.random.default_rng(0).normal(5, 1, (8, 2)).astype("float32")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x, training=True)), x / np.sqrt(1 + 1e-5), rtol=1e-6)
    assert not keras.ops.convert_to_numpy(layer.moving_mean).any()


@pytest.mark.parametrize("momentum", [-0.1, 1.01])
def test_bad_momentum(momentum):
    with pytest.raises(ValueError, match=rf"within \[0, 1\]; received {momentum}"):
        layers.BatchNormalization(momentum=momentum)


# LeakyReLU, Dropout


def test_leaky_relu():
    x = np.linspace(-3, 3, 13, dtype="float32")
    assert_close(layers.LeakyReLU()(x), torch.nn.LeakyReLU()(tensor(x)), "float32")
    assert_close(layers.LeakyReLU(0.2)(x), torch.nn.LeakyReLU(0.2)(tensor(x)), "float32")


@pytest.mark.parametrize("rate", [0.25, 0.4])
def test_keras_dropout_is_pytorchs(rate):
    """Survivors are scaled by 1/(1 − rate), the same values in both; as many survive; evaluation changes nothing."""
    x = np.ones((500, 200), "float32")
    layer = keras.layers.Dropout(rate, seed=0)
    torch.manual_seed(0)
    theirs = torch.nn.Dropout(rate)(tensor(x)).numpy()
    ours = keras.ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(np.unique(ours), np.unique(theirs), rtol=1e-6)
    sd = np.sqrt(rate * (1 - rate) / x.size)
    assert abs((ours == 0).mean() - rate) < 4 * sd
    assert abs((theirs == 0).mean() - rate) < 4 * sd
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x, training=False)), x)


# Flatten


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first", None])
@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 6), (2,)])
def test_flatten_reshapes_what_has_no_channels(shape, data_format):
    x = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    y = keras.ops.convert_to_numpy(layers.Flatten(data_format=data_format)(x))
    np.testing.assert_array_equal(y, x.reshape(2, -1))
    if len(shape) > 1:
        np.testing.assert_array_equal(y, torch.nn.Flatten()(tensor(x)).numpy())


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_flatten_has_one_order_of_features(data_format):
    x = np.arange(2 * 3 * 4 * 5, dtype="float32").reshape(2, 3, 4, 5)  # (batch, channels, height, width)
    layer = layers.Flatten(data_format=data_format)
    expected = x.transpose(0, 2, 3, 1).reshape(2, -1)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(to_keras(x, data_format))), expected)
    model = keras.Sequential([keras.Input(to_keras(x, data_format).shape[1:]), layer])
    assert model.output_shape == (None, 60)
    np.testing.assert_array_equal(model.predict(to_keras(x, data_format), verbose=0), expected)


def test_flatten_remembers_its_data_format():
    before = keras.config.image_data_format()
    try:
        keras.config.set_image_data_format("channels_first")
        config = layers.Flatten().get_config()
    finally:
        keras.config.set_image_data_format(before)
    assert layers.Flatten.from_config(config).data_format == "channels_first"
    x = np.arange(8, dtype="float32").reshape(1, 2, 4)
    stock = keras.ops.convert_to_numpy(keras.layers.Flatten(data_format="channels_first")(x))
    assert (stock != x.reshape(1, -1)).any()  # the stock difference


# Names and files


@pytest.mark.parametrize(
    "layer",
    [
        layers.Linear(3, torch_name="linear_relu_stack.0", activation="relu"),
        layers.Conv2D(4, 3, strides=2, padding=(1, 0), torch_name="features.1", data_format="channels_first"),
        layers.Conv2D(4, 3, padding=1, use_bias=False),
        layers.BatchNormalization(
            momentum=0.3, epsilon=1e-4, scale=False, torch_name="bn.0", gamma_initializer="zeros"
        ),
        layers.LeakyReLU(0.2),
        layers.Flatten(data_format="channels_first"),
    ],
)
def test_round_trip(layer):
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    for name in ("torch_name", "momentum", "epsilon", "padding", "negative_slope", "data_format"):
        assert getattr(copy, name, None) == getattr(layer, name, None)


def test_torch_name_is_the_layers_name_by_default():
    assert layers.Linear(3, name="fc1").torch_name == "fc1"
    assert layers.BatchNormalization(name="bn1").torch_name == "bn1"
    assert layers.Conv2D(3, 3, name="stack_0", torch_name="stack.0").torch_name == "stack.0"


def test_a_saved_model_comes_back(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding=1, torch_name="a.0"),
            layers.Conv2D(4, 3, strides=2, padding=1),
            layers.BatchNormalization(momentum=0.4),
            layers.LeakyReLU(),
            layers.Flatten(),
            layers.Linear(3, torch_name="b.1"),
        ]
    )
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype("float32")
    model.fit(x, np.ones((6, 3), "float32"), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert [getattr(layer, "torch_name", None) for layer in loaded.layers] == [
        getattr(layer, "torch_name", None) for layer in model.layers
    ]
    assert loaded.layers[2].momentum == 0.4
