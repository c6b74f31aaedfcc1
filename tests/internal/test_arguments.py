"""Names that a user types get the near one."""

import pytest

import kerasnets
from kerasnets import plots
from kerasnets._internal.arguments import find_near
from kerasnets.training import recipes

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("call", "typed", "meant"),
    [
        (kerasnets.set_backend, "pytorch", "torch"),
        (kerasnets.set_backend, "tf", "tensorflow"),
        (kerasnets.set_device, "cuda", "gpu"),
        (kerasnets.set_device, "CPU", "cpu"),
        (kerasnets.backend.set_precision, "TF32", "tf32"),
        (kerasnets.load_data, "FashionMNIST", "fashion_mnist"),
        (kerasnets.load_data, "minst", "mnist"),
        (kerasnets.load_data, "CIFAR-10", "cifar10"),
        (kerasnets.build, "neural_network", "NeuralNetwork"),
        (kerasnets.originals.build, "ConvNeuralNet", "ConvNeuralNetwork"),
        (recipes.find, "FashionNet", "FashionNetwork"),
        (lambda name: recipes.find("NeuralNetwork", name), "minst", "mnist"),
        (lambda name: recipes.find("NeuralNetwork", name), "FashionMNIST", "fashion_mnist"),
        (lambda name: kerasnets.build("FashionNetwork", output=name), "logsoftmax", "log_softmax"),
        (lambda name: compile_with(optimizer=name), "adam", "Adam"),
        (lambda name: compile_with(loss=name), "CrossEntropy", "CrossEntropyLoss"),
        (plots.activation, "Relu", "relu"),
        (plots.canvas.words, "zh-cn", "zh"),
    ],
)
def test_the_near_name_is_named(call, typed, meant):
    with pytest.raises(ValueError, match=rf"{typed}'.*expected one of .*Did you mean '{meant}'\?"):
        call(typed)


def compile_with(**changes):
    return kerasnets.training.compile_recipe(recipes.find("NeuralNetwork").replace(**changes))


def test_nothing_is_suggested_where_nothing_is_near():
    for call in (kerasnets.set_backend, kerasnets.load_data, kerasnets.build):
        with pytest.raises(ValueError, match="expected one of") as caught:
            call("quite another word")
        assert "Did you mean" not in str(caught.value)
    assert find_near(None, ["a"]) is None


def test_names_of_weights_that_do_not_fit_get_the_near_one():
    model = kerasnets.build("FashionNetwork", hidden=(4,))
    state = kerasnets.state_dict(model)
    state["hiden1.weight"] = state.pop("hidden1.weight")
    state["something.else"] = state["output.bias"].copy()  # the same array would be a second name
    with pytest.raises(
        ValueError, match=r"unexpected: hiden1.weight \(did you mean hidden1.weight\?\); something.else$"
    ):
        kerasnets.load_state_dict(model, state)
    assert kerasnets.load_state_dict(model, state, strict=False).unexpected_keys == ["hiden1.weight", "something.else"]
