"""The networks' structure, names, options and initial weights, held to the PyTorch originals."""

import keras
import numpy as np
import pytest
import torch
from gradients import image_data_format
from processes import run

import kerasnets
from kerasnets.verify import originals

NAMES = kerasnets.list_networks()


def images(model, n=3, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, *model.input_shape[1:])).astype("float32")


def test_list_networks():
    assert NAMES == [
        "NeuralNetwork",
        "NeuralNetwork_v1",
        "ConvNeuralNetwork",
        "Net",
        "FashionNetwork",
        "Network",
        "Network2",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_is_a_functional_or_sequential_keras_model(name):
    model = kerasnets.build(name)
    assert isinstance(model, keras.Model)
    assert keras.Model.from_config(model.get_config()) is not None  # only these two kinds can be rebuilt so
    assert type(model).call in (keras.models.Model(*_io()).__class__.call, keras.Sequential.call)


def _io():
    x = keras.Input((1,))
    return x, keras.layers.Identity()(x)


@pytest.mark.parametrize("name", NAMES)
def test_has_the_originals_parameters(name):
    model, original = kerasnets.build(name), originals.build(name)
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == sum(p.numel() for p in original.parameters())
    assert model.output_shape == (None, 10)


@pytest.mark.parametrize("name", NAMES)
def test_layers_have_the_originals_names(name):
    """Each module of the original that has parameters, or is a layer of its own, is a layer with its name."""
    model, original = kerasnets.build(name), originals.build(name)
    ours = {getattr(layer, "torch_name", layer.name) for layer in model.layers}
    with_weights = {path for path, module in original.named_modules() if list(module.parameters(recurse=False))}
    assert with_weights <= ours
    assert all("." not in layer.name for layer in model.layers)


@pytest.mark.parametrize(
    ("name", "layer", "options"),
    [
        ("ConvNeuralNetwork", "dropout", {}),
        ("FashionNetwork", "activation", {}),
        ("FashionNetwork", "drop", {"dropout": 0.25}),
    ],
)
def test_a_module_used_twice_is_one_shared_layer(name, layer, options):
    shared = kerasnets.build(name, **options).get_layer(layer)
    assert len(shared._inbound_nodes) == 2


def test_forms_of_network2():
    by_position = kerasnets.build("Network2", form="sequential")
    assert isinstance(by_position, keras.Sequential)
    assert [layer.name for layer in by_position.layers] == ["flatten", "0", "1", "2", "3", "4", "5"]
    assert by_position.layers[1] is by_position.get_layer("0")
    assert by_position.layers[1].kernel.shape == (784, 128)
    by_name = kerasnets.build("Network2", form="named")
    assert [layer.name for layer in by_name.layers[1:]] == ["fc1", "relu1", "fc2", "relu2", "output", "softmax"]
    in_class = kerasnets.build("Network2")
    by_position.set_weights(in_class.get_weights())
    by_name.set_weights(in_class.get_weights())
    x = images(in_class)
    np.testing.assert_array_equal(by_position.predict(x, verbose=0), in_class.predict(x, verbose=0))
    np.testing.assert_array_equal(by_name.predict(x, verbose=0), in_class.predict(x, verbose=0))


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_are_pytorchs(name):
    """Kernel and bias of each layer fill U(±1/√fan_in), as the original's do; batch norm starts at 1 and 0."""
    keras.utils.set_random_seed(1)
    torch.manual_seed(1)
    ours, original = kerasnets.state_dict(kerasnets.build(name)), originals.build(name).state_dict()
    for key, theirs in original.items():
        theirs = theirs.numpy()
        if "batch_norm" in key:
            np.testing.assert_array_equal(ours[key], theirs)
        elif theirs.size >= 100:  # enough for a comparison of the distributions
            bound = np.abs(theirs).max()
            assert np.abs(ours[key]).max() == pytest.approx(bound, rel=0.1)
            assert ours[key].std() == pytest.approx(theirs.std(), rel=0.2)


@pytest.mark.parametrize("name", ["ConvNeuralNetwork", "Net"])
def test_the_image_data_format_changes_nothing(name):
    last = kerasnets.build(name, data_format="channels_last")
    weights = [np.random.default_rng(i).uniform(0.1, 1, w.shape) for i, w in enumerate(last.get_weights())]
    last.set_weights(weights)
    first = kerasnets.build(name, data_format="channels_first")
    first.set_weights(weights)
    x = images(last)
    np.testing.assert_allclose(first.predict(x, verbose=0), last.predict(x, verbose=0), rtol=1e-4)
    with image_data_format("channels_first"):
        configured = kerasnets.build(name)
        reloaded = keras.Model.from_config(last.get_config())
    assert configured.get_layer("conv1").data_format == "channels_first"
    configured.set_weights(weights)
    reloaded.set_weights(weights)
    np.testing.assert_array_equal(configured.predict(x, verbose=0), first.predict(x, verbose=0))
    # Reloaded as Keras's own class, which has no fast predict.
    np.testing.assert_array_equal(reloaded.predict(x, verbose=0), last.predict(x, verbose=0, accelerate=False))


@pytest.mark.parametrize("name", ["NeuralNetwork", "NeuralNetwork_v1", "FashionNetwork", "Network", "Network2"])
def test_perceptrons_ignore_the_configured_data_format(name):
    model = kerasnets.build(name)
    with image_data_format("channels_first"):
        other = kerasnets.build(name)
    other.set_weights(model.get_weights())
    x = images(model)
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))


CODE = """
import sys, numpy as np, kerasnets
kerasnets.backend.set_precision("float32")  # as in this process
model, x = kerasnets.load_model(sys.argv[1]), np.load(sys.argv[2])
np.save(sys.argv[3], model.predict(x, verbose=0))
"""


@pytest.mark.parametrize("name", ["ConvNeuralNetwork", "Network2"])
def test_a_file_of_this_backend_loads_on_torch(tmp_path, name):
    model = kerasnets.build(name)
    x = images(model)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    run("-c", CODE, str(tmp_path / "model.keras"), str(tmp_path / "x.npy"), str(tmp_path / "y.npy"), backend="torch")
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model.predict(x, verbose=0), rtol=1e-4, atol=1e-6)


def test_a_file_of_torch_loads_on_this_backend(tmp_path):
    code = "import sys, kerasnets; kerasnets.build('ConvNeuralNetwork').save(sys.argv[1])" + CODE
    model = kerasnets.build("ConvNeuralNetwork")
    np.save(tmp_path / "x.npy", images(model))
    run("-c", code, str(tmp_path / "m.keras"), str(tmp_path / "x.npy"), str(tmp_path / "y.npy"), backend="torch")
    ours = kerasnets.load_model(tmp_path / "m.keras").predict(images(model), verbose=0)
    np.testing.assert_allclose(ours, np.load(tmp_path / "y.npy"), rtol=1e-4, atol=1e-6)


def test_options_change_the_sizes():
    model = kerasnets.build("NeuralNetwork", hidden=(8,), classes=3, input_shape=(5, 4))
    assert model.input_shape == (None, 5, 4)
    assert model.output_shape == (None, 3)
    assert [w.shape for w in model.get_weights()] == [(20, 8), (8,), (8, 3), (3,)]
    assert kerasnets.build("ConvNeuralNetwork", filters=(4,), hidden=(3,), input_shape=(6, 6)).count_params() > 0


def test_sizes_may_be_numpys():
    model = kerasnets.build("NeuralNetwork", hidden=np.array([8, 4]), classes=np.int64(3), input_shape=range(5, 7))
    assert [w.shape for w in model.get_weights()] == [(30, 8), (8,), (8, 4), (4,), (4, 3), (3,)]
    assert keras.Model.from_config(model.get_config()).count_params() == model.count_params()


def test_unknown_network_lists_the_right_ones():
    with pytest.raises(
        ValueError, match=r"'NeuralNetwrok'; expected one of 'NeuralNetwork'.*Did you mean 'NeuralNetwork'"
    ):
        kerasnets.build("NeuralNetwrok")


def test_unknown_option_lists_the_right_ones():
    with pytest.raises(TypeError, match="no option 'units'; its options are hidden, classes, input_shape"):
        kerasnets.build("NeuralNetwork", units=3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("NeuralNetwork", {"hidden": (0,)}, r"hidden=\(0,\): expected positive whole numbers"),
        ("NeuralNetwork", {"hidden": (2.5,)}, "hidden="),
        ("NeuralNetwork", {"classes": -1}, "classes=-1: expected one positive whole number"),
        ("NeuralNetwork", {"input_shape": (28, 0)}, r"input_shape=\(28, 0\): expected positive whole numbers"),
        ("ConvNeuralNetwork", {"dropout": 1.0}, "Invalid dropout: 1.0; expected a finite number ≥ 0 and < 1"),
        ("ConvNeuralNetwork", {"input_shape": (7, 28)}, "at least 8 pixels per side"),
        ("ConvNeuralNetwork", {"input_shape": (28, 7, 3)}, "at least 8 pixels per side"),
        ("ConvNeuralNetwork", {"data_format": "NCHW"}, "data_format='NCHW': expected one of 'channels_last'"),
        ("Net", {"input_shape": (3, 3)}, "at least 4 pixels"),
        ("Net", {"input_shape": (4, 3, 3)}, "at least 4 pixels"),
        (
            "FashionNetwork",
            {"output": "sigmoid"},
            "output='sigmoid': expected one of 'log_softmax', 'softmax', 'logits'",
        ),
        ("Network2", {"form": "dict"}, "form='dict': expected one of 'class', 'sequential', 'named'"),
    ],
)
def test_bad_options_name_value_and_expectation(name, options, message):
    with pytest.raises(ValueError, match=message):
        kerasnets.build(name, **options)


def test_fashion_network_outputs():
    x = np.random.default_rng(0).uniform(-1, 1, (3, 28, 28)).astype("float32")
    by_output = {o: kerasnets.build("FashionNetwork", output=o) for o in ("logits", "softmax", "log_softmax")}
    for model in by_output.values():
        model.set_weights(by_output["logits"].get_weights())
    logits, p, log_p = (torch.tensor(model.predict(x, verbose=0)) for model in by_output.values())
    torch.testing.assert_close(p, logits.softmax(1))
    torch.testing.assert_close(log_p, logits.log_softmax(1))
