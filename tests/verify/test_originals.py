"""The originals have the tutorials' names in the tutorials' order, and compute what their forward methods do."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (the field writes it so)
from torch import nn

from kerasnets.verify import originals

pytestmark = pytest.mark.once

#: (name, options) → the parameters' names in the order in which the tutorial's __init__ registers them.
LINEAR = ("weight", "bias")
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def names(modules, suffixes=LINEAR):
    return [f"{module}.{suffix}" for module in modules for suffix in suffixes]


CASES = [
    ("NeuralNetwork", {}, names([f"linear_relu_stack.{i}" for i in (0, 2, 4)])),
    ("NeuralNetwork_v1", {}, names([f"linear_relu_stack.{i}" for i in (0, 2, 4, 6, 8)])),
    (
        "ConvNeuralNetwork",
        {},
        names(["conv1", "conv2", "conv3", "fc1", "fc2", "fc3"])
        + names([*(f"batch_norm{i}" for i in (1, 2, 3)), "batch_norm_fc1", "batch_norm_fc2"], BATCH_NORM),
    ),
    ("Net", {}, names(["conv1", "fc1"])),
    ("FashionNetwork", {}, names(["hidden1", "hidden2", "output"])),
    ("FashionNetwork", {"output": "softmax"}, names(["hidden1", "hidden2", "output"])),
    ("FashionNetwork", {"output": "logits", "dropout": 0.25}, names(["hidden1", "hidden2", "output"])),
    ("Network", {}, names(["hidden", "output"])),
    ("Network2", {}, names(["fc1", "fc2", "fc3"])),
    ("Network2", {"form": "sequential"}, names(["0", "2", "4"])),
    ("Network2", {"form": "named"}, names(["fc1", "fc2", "output"])),
]


@pytest.mark.parametrize(("name", "options", "expected"), CASES)
def test_names_are_the_tutorials_in_their_order(name, options, expected):
    assert list(originals.build(name, **options).state_dict()) == expected


@pytest.mark.parametrize(("name", "options", "_"), CASES)
def test_images_with_and_without_channel_give_the_same_finite_output(name, options, _):
    side = 32 if name == "Net" else 28
    images = torch.randn(3, 1, side, side)
    model = originals.build(name, **options).eval()
    with torch.no_grad():
        output = model(images)
        torch.testing.assert_close(model(images[:, 0]), output, rtol=0, atol=0)
    assert output.shape == (3, 10)
    assert output.isfinite().all()


def test_outputs_of_the_three_heads_belong_together():
    images = torch.randn(4, 1, 28, 28)
    outputs = {}
    state = originals.build("FashionNetwork").state_dict()
    for head in ("logits", "log_softmax", "softmax"):
        model = originals.build("FashionNetwork", output=head).eval()
        model.load_state_dict(state, strict=True)
        outputs[head] = model(images).detach()
    torch.testing.assert_close(outputs["log_softmax"], F.log_softmax(outputs["logits"], dim=1))
    torch.testing.assert_close(outputs["softmax"], F.softmax(outputs["logits"], dim=1))


def test_the_forms_of_network2_are_one_function():
    images = torch.randn(4, 1, 28, 28)
    first = originals.build("Network2")
    arrays = list(first.state_dict().values())
    for form in ("sequential", "named"):
        other = originals.build("Network2", form=form)
        assert isinstance(other[0], nn.Linear)
        other.load_state_dict(dict(zip(other.state_dict(), arrays, strict=True)), strict=True)
        torch.testing.assert_close(other(images), first(images))


def test_shared_dropout_is_used_after_both_hidden_layers():
    images = torch.randn(8, 1, 28, 28)
    for name, module in (("ConvNeuralNetwork", "dropout"), ("FashionNetwork", "drop")):
        calls = []
        model = originals.build(name, dropout=0.5)
        getattr(model, module).register_forward_hook(lambda *_, calls=calls: calls.append(1))
        model(images)
        assert len(calls) == 2
        model.eval()
        same = originals.build(name, dropout=0.0).eval()
        same.load_state_dict(model.state_dict())
        torch.testing.assert_close(same(images), model(images))


def test_unknown_names_and_options_are_refused():
    with pytest.raises(ValueError, match=r"'Neural'.*'NeuralNetwork'"):
        originals.build("Neural")
    with pytest.raises(ValueError, match=r"'list'.*'sequential'"):
        originals.build("Network2", form="list")
    with pytest.raises(ValueError, match=r"'tanh'.*'log_softmax'"):
        originals.build("FashionNetwork", output="tanh")
    with pytest.raises(TypeError, match="dropout"):
        originals.build("Net", dropout=0.5)


def test_keras_is_not_imported():
    code = "import sys; from kerasnets import originals; originals.build('Net'); sys.exit('keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
