"""Weights in files: prefixes, checkpoints, types, what doesn't fit."""

import keras
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from gradients import assert_close
from torch import nn
from weights_compared import L, assert_same_states, named, small

from kerasnets.interop.weights import load_state_dict, save_state_dict, state_dict


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off(prefix):
    model, module = small()
    assert load_state_dict(model, {prefix + k: v for k, v in module.state_dict().items()}) == ([], [])
    assert_same_states(state_dict(model), module.state_dict())


def test_a_layer_may_be_called_module_and_a_part_may_be_compiled():
    model = keras.Sequential([keras.Input((3,)), L.Dense(4, name="module"), L.Dense(2, name="b")])
    state = named(module=nn.Linear(3, 4), b=nn.Linear(4, 2))().state_dict()
    load_state_dict(model, state)
    assert_same_states(state_dict(model), state)
    wrapped = {f"module.{k}".replace("b.", "b._orig_mod."): v + 1 for k, v in state.items()}
    load_state_dict(model, wrapped)
    assert_same_states(state_dict(model), {k: v + 1 for k, v in state.items()})


def test_wrapped_twice_is_reported():
    model, module = small()
    state = module.state_dict()
    with pytest.raises(ValueError, match=r"unexpected: module\.a\.bias$"):
        load_state_dict(model, {**state, "module.a.bias": state["a.bias"].clone()})


class Tied(nn.Module):
    """One module under two names; PyTorch's state has both."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def test_a_module_under_two_names(tmp_path):
    module = Tied()
    layer, x = keras.layers.Dense(3, name="first"), keras.Input((3,))
    model = keras.Model(x, layer(keras.ops.relu(layer(x))))
    data = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    for source in (module.state_dict(), tmp_path / "weights.pt"):
        layer.kernel.assign(np.zeros((3, 3)))
        assert load_state_dict(model, source) == ([], [])
        assert_close(model(data), module(torch.tensor(data)), "float32")
    untied = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"unexpected: second\.weight"):
        load_state_dict(model, untied)


def test_a_separable_convolution_is_two_convolutions():
    original = nn.Sequential()
    original.layer = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, bias=False), nn.Conv2d(6, 4, 1))
    layer = keras.layers.SeparableConv2D(4, 3, depth_multiplier=2, name="layer", data_format="channels_last")
    model = keras.Sequential([keras.Input((5, 6, 3)), layer])
    load_state_dict(model, original.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype("float32")
    expected = original(torch.tensor(x)).movedim(1, -1)
    assert_close(model(x.transpose(0, 2, 3, 1)), expected, "float32")
    assert_same_states(state_dict(model), original.state_dict())


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_checkpoint_is_understood(key, tmp_path):
    model, module = small()
    torch.save({"epoch": 3, key: module.state_dict(), "optimizer": {"state": {}}}, tmp_path / "checkpoint.pt")
    load_state_dict(model, tmp_path / "checkpoint.pt")
    assert_same_states(state_dict(model), module.state_dict())
    with pytest.raises(ValueError, match="parts 'net'"):
        load_state_dict(model, {"epoch": 3, "net": module.state_dict()})


def test_everything_that_does_not_fit_is_listed_and_nothing_is_loaded():
    model, module = small()
    before = state_dict(model)
    state = {**module.state_dict(), "c.weight": torch.ones(1), "a.weight": torch.ones(3, 4), "n.bias": "text"}
    del state["b.bias"], state["n.running_var"]
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        load_state_dict(model, state)
    message = str(error.value)
    for line in (
        "mis-shaped: a.weight has shape (3, 4), expected (4, 3); n.bias is of type str, expected numbers of shape (4,)",
        "missing: n.running_var; b.bias",
        "unexpected: c.weight",
    ):
        assert line in message
    for name, array in state_dict(model).items():
        np.testing.assert_array_equal(array, before[name])
    # PyTorch, too, takes no other shapes where strict is False.
    with pytest.raises(ValueError, match=r"a\.weight has shape"):
        load_state_dict(model, state, strict=False)


def test_not_strict_loads_what_is_there_and_returns_the_rest_as_torch_does():
    model, module = small()
    state = {**module.state_dict(), "c.weight": torch.ones(1)}
    del state["b.bias"]
    expected = small()[1].load_state_dict(state, strict=False)
    result = load_state_dict(model, state, strict=False)
    assert result.missing_keys == expected.missing_keys == ["b.bias"]
    assert result.unexpected_keys == expected.unexpected_keys == ["c.weight"]
    np.testing.assert_array_equal(state_dict(model)["a.weight"], state["a.weight"].numpy())


def test_the_counter_of_batches_may_be_absent():
    model, module = small()
    state = module.state_dict()
    del state["n.num_batches_tracked"]
    assert load_state_dict(model, state) == ([], [])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("file", ["weights.pt", "weights.safetensors", None])
def test_other_types_are_cast_to_the_models(dtype, file, tmp_path):
    model, module = small()
    module.to(dtype)
    source = module.state_dict()
    if file:
        torch.save(source, tmp_path / file) if file.endswith("pt") else safetensors.torch.save_file(
            source, tmp_path / file
        )
        source = tmp_path / file
    load_state_dict(model, source)
    assert_same_states(state_dict(model), module.float().state_dict())
    assert {str(v.dtype) for v in model.weights} == {"float32"}


def test_a_bfloat16_model(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    model, module = small()
    keras.config.set_dtype_policy(before)
    load_state_dict(model, module.to(torch.bfloat16).state_dict())
    for file, read in (("w.pt", torch.load), ("w.safetensors", safetensors.torch.load_file)):
        save_state_dict(model, tmp_path / file)
        for name, tensor in read(tmp_path / file).items():
            if not name.endswith("tracked"):
                assert tensor.dtype == torch.bfloat16
                assert torch.equal(tensor, module.state_dict()[name])


def test_arrays_are_copies():
    model, _ = small()
    first = state_dict(model)
    first["a.weight"][:] = 100
    assert state_dict(model)["a.weight"].max() < 100
