"""Layers that ports need, against ``torch.nn``: outputs, gradients, first values, training, files, state."""

import keras
import numpy as np
import pytest
import torch
from gradients import assert_close, precision, value_and_gradients
from torch import nn

import kerasnets
from kerasnets import layers, losses, models, optimizers


class First(nn.Module):
    """A recurrent module's outputs, without its states."""

    def __init__(self, module):
        super().__init__()
        self.layer = module

    def forward(self, x):
        return self.layer(x)[0]


class Original(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.layer = module

    def forward(self, x):
        out = self.layer(x, x, x) if isinstance(self.layer, nn.MultiheadAttention) else self.layer(x)
        return out[0] if isinstance(out, tuple) else out


def recurrent(name, **options):
    return lambda: getattr(nn, name)(3, 4, batch_first=True, **options)


#: Name → ours, PyTorch's, the shape of an example in PyTorch; maps are moved to channels_last.
CASES = {
    "conv1d": (lambda: layers.Conv1D(4, 3, padding=2), lambda: nn.Conv1d(3, 4, 3, padding=2), (3, 9)),
    "conv1d strides": (
        lambda: layers.Conv1D(6, 4, strides=2, padding=1, groups=3),
        lambda: nn.Conv1d(3, 6, 4, 2, 1, groups=3),
        (3, 9),
    ),
    "conv1d dilation": (
        lambda: layers.Conv1D(4, 3, padding=2, dilation_rate=2, use_bias=False),
        lambda: nn.Conv1d(3, 4, 3, padding=2, dilation=2, bias=False),
        (3, 9),
    ),
    "transposed": (lambda: layers.Conv2DTranspose(4, 3), lambda: nn.ConvTranspose2d(3, 4, 3), (3, 5, 4)),
    "transposed DCGAN": (
        lambda: layers.Conv2DTranspose(4, 4, strides=2, padding=1, use_bias=False),
        lambda: nn.ConvTranspose2d(3, 4, 4, 2, 1, bias=False),
        (3, 5, 4),
    ),
    "transposed output padding": (
        lambda: layers.Conv2DTranspose(4, (3, 5), strides=(2, 3), padding=(1, 0), output_padding=(1, 2)),
        lambda: nn.ConvTranspose2d(3, 4, (3, 5), (2, 3), (1, 0), (1, 2)),
        (3, 5, 4),
    ),
    "transposed small kernel": (
        lambda: layers.Conv2DTranspose(4, 2, strides=3, output_padding=2),
        lambda: nn.ConvTranspose2d(3, 4, 2, 3, output_padding=2),
        (3, 5, 4),
    ),
    "transposed smaller kernel": (
        lambda: layers.Conv2DTranspose(4, 1, strides=3, padding=0),
        lambda: nn.ConvTranspose2d(3, 4, 1, 3),
        (3, 5, 4),
    ),
    "transposed dilation": (
        lambda: layers.Conv2DTranspose(4, 3, padding=1, dilation_rate=2),
        lambda: nn.ConvTranspose2d(3, 4, 3, padding=1, dilation=2),
        (3, 5, 4),
    ),
    "layer norm": (lambda: layers.LayerNormalization(), lambda: nn.LayerNorm(6), (5, 6)),
    "layer norm of two axes": (
        lambda: layers.LayerNormalization(axis=(-2, -1), epsilon=1e-3),
        lambda: nn.LayerNorm((5, 6), eps=1e-3),
        (5, 6),
    ),
    "layer norm without": (
        lambda: layers.LayerNormalization(center=False, scale=False),
        lambda: nn.LayerNorm(6, elementwise_affine=False),
        (5, 6),
    ),
    "group norm": (lambda: layers.GroupNormalization(3), lambda: nn.GroupNorm(3, 6), (6, 4, 5)),
    "group norm of vectors": (lambda: layers.GroupNormalization(2), lambda: nn.GroupNorm(2, 6), (6,)),
    "instance norm": (
        lambda: layers.GroupNormalization(-1, center=False, scale=False),
        lambda: nn.InstanceNorm2d(6),
        (6, 4, 5),
    ),
    "prelu": (lambda: layers.PReLU(3), lambda: nn.PReLU(3), (3, 4, 5)),
    "prelu of one slope": (lambda: layers.PReLU(), lambda: nn.PReLU(), (3, 4, 5)),
    "stock prelu": (lambda: keras.layers.PReLU(shared_axes=(1, 2)), lambda: nn.PReLU(3), (3, 4, 5)),
    "stock prelu of one slope": (lambda: keras.layers.PReLU(shared_axes=(1, 2, 3)), lambda: nn.PReLU(), (3, 4, 5)),
    "attention": (
        lambda: layers.MultiHeadAttention(2, 3),
        lambda: nn.MultiheadAttention(6, 2, batch_first=True),
        (5, 6),
    ),
    "attention without bias": (
        lambda: layers.MultiHeadAttention(3, 2, use_bias=False),
        lambda: nn.MultiheadAttention(6, 3, bias=False, batch_first=True),
        (5, 6),
    ),
    "lstm": (lambda: layers.LSTM(4, return_sequences=True), recurrent("LSTM"), (5, 3)),
    "lstm without bias": (
        lambda: layers.LSTM(4, return_sequences=True, use_bias=False),
        recurrent("LSTM", bias=False),
        (5, 3),
    ),
    "lstm both ways": (
        lambda: keras.layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
        recurrent("LSTM", bidirectional=True),
        (5, 3),
    ),
    "gru": (lambda: layers.GRU(4, return_sequences=True), recurrent("GRU"), (5, 3)),
    "gru without bias": (
        lambda: layers.GRU(4, return_sequences=True, use_bias=False),
        recurrent("GRU", bias=False),
        (5, 3),
    ),
    "gru both ways": (
        lambda: keras.layers.Bidirectional(layers.GRU(4, return_sequences=True)),
        recurrent("GRU", bidirectional=True),
        (5, 3),
    ),
}
if keras.config.backend() == "tensorflow":  # which aborts the process in the gradient
    del CASES["transposed smaller kernel"]
MAPS = ("conv1d", "transposed", "group", "instance", "prelu", "stock prelu")


def is_maps(name):
    return name.startswith(MAPS)


def to_keras(name, array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if is_maps(name) else array


def build(name, dtype="float32"):
    """The layer in a model, called "layer", and the original in `dtype`."""
    ours, theirs, shape = CASES[name]
    layer = ours()
    shape = (*shape[1:], shape[0]) if is_maps(name) else shape
    layer.name = "layer"
    x = keras.Input(shape)
    y = layer(x, x) if isinstance(layer, keras.layers.MultiHeadAttention) else layer(x)
    return models.Model(x, y), Original(theirs()).to(getattr(torch, dtype))


def draw(name, dtype, batch=3, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, *CASES[name][2])).astype(dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients(name, dtype):
    if (name, dtype, keras.config.backend()) == ("transposed dilation", "float64", "tensorflow"):
        pytest.skip("TensorFlow's kernels for CPUs dilate transposed convolutions in float32 only")
    x = draw(name, dtype)
    with precision(dtype):
        model, twin = build(name, dtype)
        kerasnets.load_state_dict(model, twin.state_dict())
        leaf = torch.tensor(x, requires_grad=True)
        expected = twin(leaf)
        ours = keras.ops.convert_to_numpy(model(to_keras(name, x)))
        assert_close(ours, to_keras(name, expected.detach().numpy()), dtype)
        assert model.compute_output_shape((3, *model.input_shape[1:])) == ours.shape
        expected.square().sum().backward()
        weights = [keras.ops.convert_to_numpy(w) for w in model.trainable_variables]
        rest = [keras.ops.convert_to_numpy(w) for w in model.non_trainable_variables]

        def loss(x, *weights):
            return keras.ops.sum(keras.ops.square(model.stateless_call(list(weights), rest, x)[0]))

        _, gradients = value_and_gradients(loss, to_keras(name, x), *weights)
        assert_close(gradients[0], to_keras(name, leaf.grad.numpy()), dtype)
        for variable, gradient in zip(model.trainable_variables, gradients[1:], strict=True):
            variable.assign(gradient)
        found = kerasnets.state_dict(model)
        for key, parameter in twin.named_parameters():
            assert_close(found[key], parameter.grad, dtype)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("stock")])
def test_first_values_are_pytorchs(name):
    """Bit for bit after the same seed, and the stream goes on at the same place."""
    torch.manual_seed(7)
    twin = Original(CASES[name][1]())
    after = torch.rand(1).item()
    keras.utils.set_random_seed(7)
    model, _ = build(name)
    found = kerasnets.state_dict(model)
    for key, value in twin.state_dict().items():
        np.testing.assert_array_equal(found[key], value.numpy(), err_msg=key)
    from kerasnets._internal.torch_random import global_generator

    assert global_generator().uniform((1,), 0, 1)[0] == np.float32(after)


@pytest.mark.parametrize(
    "name",
    [
        "conv1d strides",
        "transposed DCGAN",
        "transposed output padding",
        "layer norm",
        "group norm",
        "lstm",
        "gru both ways",
        "prelu",
        "attention",
        "attention without bias",
    ],
)
@pytest.mark.usefixtures("every_reason_is_said_again")
def test_the_fast_fit_trains_as_pytorch_and_a_file_keeps_the_layer(name, tmp_path):
    """Four steps of an optimizer, and its state in PyTorch's order.

    Adam, but for attention: the gradient of the keys' bias is 0, and Adam would make steps of its roundings.
    """
    model, twin = build(name)
    kerasnets.load_state_dict(model, twin.state_dict())
    x = draw(name, "float32", batch=6)
    y = torch.tensor(x[:, :1]).mean().item() + np.zeros(twin(torch.tensor(x)).shape, "float32")
    optimizer = torch.optim.Adam(twin.parameters(), 0.01)
    ours, moment = optimizers.Adam(0.01), "exp_avg"
    if name == "attention":
        optimizer = torch.optim.SGD(twin.parameters(), 0.1, momentum=0.9)
        ours, moment = optimizers.SGD(0.1, momentum=0.9), "momentum_buffer"
    for _ in range(2):
        for part in (slice(0, 4), slice(4, 6)):
            optimizer.zero_grad()
            nn.functional.mse_loss(twin(torch.tensor(x[part])), torch.tensor(y[part])).backward()
            optimizer.step()
    model.compile(ours, losses.MSELoss())
    model.fit(to_keras(name, x), to_keras(name, y), batch_size=4, epochs=2, shuffle=False, verbose=0)
    found = kerasnets.state_dict(model)
    for key, value in twin.state_dict().items():
        np.testing.assert_allclose(found[key], value.numpy(), rtol=1e-4, atol=2e-5, err_msg=key)
    state = kerasnets.optimizer_state_dict(model, [key for key, _ in twin.named_parameters()])["state"]
    for number, kept in optimizer.state_dict()["state"].items():
        np.testing.assert_allclose(state[number][moment], kept[moment], rtol=1e-3, atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.layers[-1]) is type(model.layers[-1])
    if not isinstance(again.layers[-1], keras.layers.Bidirectional):  # Keras changes the names within
        assert again.layers[-1].get_config() == model.layers[-1].get_config()
    for key, value in kerasnets.state_dict(again).items():
        np.testing.assert_array_equal(value, found[key])


def test_two_layers_of_an_lstm():
    twin = Original(nn.LSTM(3, 4, num_layers=2, batch_first=True))
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            layers.LSTM(4, return_sequences=True, torch_name="layer"),
            layers.LSTM(4, return_sequences=True, torch_name="layer", torch_layer=1),
        ]
    )
    kerasnets.load_state_dict(model, twin.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    assert_close(model(x), twin(torch.tensor(x)), "float32")
    assert list(kerasnets.state_dict(model)) == list(twin.state_dict())


def test_stock_lstm_trains_differently():
    """One bias gets one gradient; PyTorch's two move their sum twice as far."""
    ours, stock = (
        keras.Sequential([keras.Input((5, 3)), make(2, name="layer")]) for make in (layers.LSTM, keras.layers.LSTM)
    )
    kernel, recurrent, b_ih, b_hh = ours.get_weights()
    stock.set_weights([kernel, recurrent, b_ih + b_hh])
    x, y = np.ones((4, 5, 3), "float32"), np.ones((4, 2), "float32")
    before = b_ih + b_hh
    for model in (ours, stock):
        model.compile(optimizers.SGD(0.1), losses.MSELoss())
        model.fit(x, y, epochs=1, verbose=0)
    (*_, b_ih, b_hh), (*_, one) = ours.get_weights(), stock.get_weights()
    np.testing.assert_allclose(b_ih + b_hh - before, 2 * (one - before), rtol=1e-4, atol=1e-7)


# Attention


def attend(kind, module, layer, theirs, ours):
    """Outputs of PyTorch's and of ours, for queries and other keys and values, under a kind of mask."""
    steps = theirs[0].shape[1], theirs[1].shape[1]
    if kind == "causal":
        mask = nn.Transformer.generate_square_subsequent_mask(steps[0])
        return module(*theirs, attn_mask=mask), layer(*ours, use_causal_mask=True)
    if kind == "mask":
        allowed = np.random.default_rng(1).random(steps) < 0.6
        allowed[:, 0] = True
        return module(*theirs, attn_mask=torch.tensor(~allowed)), layer(*ours, attention_mask=allowed[None])
    if kind == "scores":
        return module(*theirs, average_attn_weights=False), layer(*ours, return_attention_scores=True)
    return module(*theirs), layer(*ours)


@pytest.mark.parametrize("kind", ["plain", "causal", "mask", "scores"])
@pytest.mark.parametrize("sizes", [(6, 6), (4, 5)])
def test_attention_to_other_keys_and_values(kind, sizes):
    """Also of other sizes than the queries, where PyTorch has three matrices; first values bit for bit."""
    kdim, vdim = sizes
    other = 5 if kind == "causal" else 7
    torch.manual_seed(3)
    twin = nn.MultiheadAttention(6, 2, kdim=kdim, vdim=vdim, batch_first=True)
    keras.utils.set_random_seed(3)
    layer = layers.MultiHeadAttention(2, 3, torch_name="self_attn")
    inputs = keras.Input((5, 6)), keras.Input((other, vdim)), keras.Input((other, kdim))
    model = keras.Model(inputs, layer(*inputs))
    found = kerasnets.state_dict(model)
    for key, value in twin.state_dict().items():
        np.testing.assert_array_equal(found[f"self_attn.{key}"], value.numpy(), err_msg=key)
    kerasnets.load_state_dict(model, {f"self_attn.{key}": value + 0.1 for key, value in twin.state_dict().items()})
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter += 0.1
    generator = np.random.default_rng(0)
    q, k, v = (generator.normal(size=(2, *shape)).astype("float32") for shape in ((5, 6), (other, kdim), (other, vdim)))
    theirs, ours = attend(kind, twin, layer, [torch.tensor(x) for x in (q, k, v)], (q, v, k))
    assert_close(ours[0] if kind == "scores" else ours, theirs[0], "float32")
    if kind == "scores":
        assert_close(ours[1], theirs[1], "float32")


def test_dropout_of_attention_weights():
    """Off in inference; in training each weight is 0 or 1 / (1 − rate) times as large, as in PyTorch."""
    layer, x = layers.MultiHeadAttention(1, 8, dropout=0.5, seed=0), np.ones((4, 8, 8), "float32")
    still, dropped = (keras.ops.convert_to_numpy(layer(x, x, training=training)) for training in (False, True))
    assert np.abs(dropped - still).max() > 1e-3
    kernel = keras.ops.convert_to_numpy(layer.out_proj_kernel)
    shares = np.linalg.lstsq(kernel.T, dropped.reshape(-1, 8).T, rcond=None)[0]
    whole = np.linalg.lstsq(kernel.T, still.reshape(-1, 8).T, rcond=None)[0]
    kept = (shares / whole) * 8 / 2  # of eight equal weights of 1/8, each kept one counts twice
    np.testing.assert_allclose(kept, np.round(kept), atol=0.01)


# Embedding


@pytest.mark.parametrize("padding", [None, 0, 2])
@pytest.mark.usefixtures("every_reason_is_said_again")
def test_embedding(padding):
    table = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    twin = nn.Embedding(5, 4, padding_idx=padding, _weight=torch.tensor(table))
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layers.Embedding(5, 4, padding, name="layer")])
    kerasnets.accelerate(model)
    kerasnets.load_state_dict(model, {"layer.weight": table})
    x, y = np.array([[0, 2, 2], [4, 0, 1], [1, 2, 0]]), np.ones((3, 3, 4), "float32")
    optimizer = torch.optim.SGD(twin.parameters(), 0.5)
    for part in (slice(0, 2), slice(2, 3)):
        optimizer.zero_grad()
        nn.functional.mse_loss(twin(torch.tensor(x[part])), torch.tensor(y[part])).backward()
        optimizer.step()
    model.compile(optimizers.SGD(0.5), losses.MSELoss())
    model.fit(x, y, batch_size=2, shuffle=False, verbose=0)
    assert_close(kerasnets.state_dict(model)["layer.weight"], twin.weight, "float32")
    if padding is not None:
        np.testing.assert_array_equal(kerasnets.state_dict(model)["layer.weight"][padding], table[padding])


@pytest.mark.parametrize("padding", [None, 1])
@pytest.mark.parametrize("shape", [(5, 4), (4, 8), (3, 7), (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_first_values_of_an_embedding(shape, padding, dtype):
    torch.manual_seed(3)
    twin = nn.Embedding(*shape, padding_idx=padding, dtype=getattr(torch, dtype))
    after = torch.rand(1).item()
    keras.utils.set_random_seed(3)
    with precision(dtype):
        layer = layers.Embedding(*shape, padding)
        layer.build((None, 3))
        found = keras.ops.convert_to_numpy(layer.embeddings)
        np.testing.assert_allclose(found, twin.weight.detach().numpy(), rtol=1e-5, atol=1e-6)
    from kerasnets._internal.torch_random import global_generator

    assert global_generator().uniform((1,), 0, 1)[0] == np.float32(after)
    again = layers.Embedding.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Embedding(5, 4, 5), "padding_idx: 5"),
        (lambda: layers.Conv1D(4, 3, padding=(1, 2)), r"`padding` must be .*; received \(1, 2\)"),
        (lambda: layers.Conv2DTranspose(4, 3, padding=-1), "received -1"),
        (lambda: layers.Conv2DTranspose(4, 3, output_padding=1), "output_padding"),
        (lambda: layers.LayerNormalization(epsilon=-1), "epsilon: -1"),
        (lambda: layers.GroupNormalization(2, epsilon="small"), "epsilon: 'small'"),
        (lambda: layers.LSTM(0), "units: 0"),
        (lambda: layers.LSTM(4, unit_forget_bias=True), "no unit_forget_bias"),
        (lambda: layers.GRU(4, reset_after=False), "reset_after=True"),
        (lambda: layers.GRU(4, torch_layer=-1), "torch_layer: -1"),
        (lambda: layers.MultiHeadAttention(0, 4), "num_heads: 0"),
        (lambda: layers.MultiHeadAttention(2, 4, dropout=1.0), "dropout: 1.0"),
        (lambda: layers.MultiHeadAttention(2, 4, value_dim=5), "no value_dim; received 5"),
        (lambda: layers.MultiHeadAttention(2, 4)(np.ones((1, 3, 6)), np.ones((1, 3, 6))), r"\(batch, steps, 8\).*6\)"),
        (lambda: layers.PReLU(0), "num_parameters: 0"),
        (lambda: layers.PReLU(shared_axes=[1]), r"received \[1\]"),
        (lambda: layers.PReLU(3)(np.ones((1, 3, 6))), "num_parameters=3; expected 1, or"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
