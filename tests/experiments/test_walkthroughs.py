"""The walkthroughs build_network, nn_basics, activations and digits: their numbers, beside what torch says."""

import functools
import importlib.util
import json
import re
import runpy
from importlib.metadata import version

import keras
import numpy as np
import pytest
import torch
import typer
from processes import ROOT, run_forked
from torch.nn import functional

import kerasnets
from kerasnets import backend, data
from kerasnets.verify import originals

ACTIVE = keras.config.backend()
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
DIGITS = 1e-4  # what is printed has four digits after the point


def walk(script, out, *options):
    """The output of an experiment, run with the active backend on the CPU."""
    return run_forked(
        f"experiments/{script}", "--backend", ACTIVE, "--device", "cpu", "--out", str(out), *options, COLUMNS="100"
    ).stdout


def array_after(label, text, shape):
    """The array of `shape` that is printed after the last line that starts with `label`."""
    start = [match.end() for match in re.finditer(rf"^{re.escape(label)}", text, re.MULTILINE)][-1]
    numbers = NUMBER.findall(text[start:])[: int(np.prod(shape))]
    return torch.tensor([float(number) for number in numbers]).reshape(shape)


def close(actual, expected, bound=DIGITS):
    return torch.allclose(torch.as_tensor(actual), expected.detach(), rtol=0, atol=bound)


def parameter_sizes(original):
    return [(name, list(parameter.shape)) for name, parameter in original.named_parameters()]


def check_pngs(folder, *names):
    for name in names:
        assert (folder / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_build_network(tmp_path):
    text = walk("build_network.py", tmp_path)
    assert "Using cpu device" in text
    package = "tensorflow_cpu" if ACTIVE == "tensorflow" and not has("tensorflow") else ACTIVE
    assert f"{ACTIVE} {version(package)}, under Keras {keras.__version__}" in text
    if ACTIVE == "torch" and torch.version.cuda:
        assert f"CUDA: built with CUDA {torch.version.cuda}" in text

    logits = array_after("Logits: ", text.split("one by one")[0], (1, 10))
    probabilities = array_after("Probabilities: ", text, (1, 10))
    assert close(probabilities, functional.softmax(logits, 1))
    assert f"Predicted class: [{int(logits.argmax())}]" in text

    images = torch.rand(3, 28, 28)
    flat = torch.nn.Flatten()(images)
    hidden = torch.nn.Linear(784, 20)(flat)
    last = torch.nn.Linear(20, 10)(hidden)
    assert f"\nImages: {list(images.shape)}\n" in text
    assert f"\nFlatten: {list(flat.shape)}\n" in text
    assert f"\nFlatten(start_dim=0) would give {list(torch.nn.Flatten(start_dim=0)(images).shape)}" in text
    assert f"\nLinear: {list(hidden.shape)}\n" in text
    assert f"\nLogits: {list(last.shape)}\n" in text
    before, after = (array_after(f"{when} ReLU:", text, (3, 20)) for when in ("Before", "After"))
    assert (before < 0).any()
    assert torch.equal(after, functional.relu(before))
    assert close(array_after("Sums of the probabilities:", text, (3,)), functional.softmax(last, 1).sum(1))

    printed = re.findall(r"^Layer: (\S+) \| Size: (\[.*?\]) \| Values: ", text, re.MULTILINE)
    assert [(name, json.loads(size)) for name, size in printed] == parameter_sizes(originals.build("NeuralNetwork"))
    check_pngs(tmp_path, "architecture.png")


def has(package):
    try:
        return bool(version(package))
    except ModuleNotFoundError:
        return False


def test_nn_basics(tmp_path):
    text = walk("nn_basics.py", tmp_path)
    original = originals.build("Net")
    printed = re.findall(r"^(\S+) : (\[[\d, ]+\])$", text, re.MULTILINE)
    assert [(name, json.loads(size)) for name, size in printed] == parameter_sizes(original)

    # The tutorial's forward pass, and the sizes it prints.
    x = torch.randn(1, 1, 32, 32)
    sizes = {"channel": x.shape}
    x = functional.relu(original.conv1(x))
    sizes["relu1"] = x.shape
    x = functional.relu(functional.max_pool2d(x, (2, 2)))
    sizes["relu2"] = x.shape
    x = x.view(x.size()[0], -1)
    sizes["flatten"] = x.shape
    sizes["fc1"] = original.fc1(x).shape
    for layer, size in sizes.items():
        assert re.search(rf"^{layer} +{re.escape(str(list(size)))}$", text, re.MULTILINE)

    outputs = array_after("The 10 outputs:", text, (1, 10)).requires_grad_()
    outputs.backward(torch.ones(1, 10), retain_graph=True)  # fc1's bias gets the gradient of the outputs
    assert close(array_after("fc1/bias : [10],", text, (10,)), outputs.grad[0])

    assert "[32, 32]: The images have shape (32, 32)" in text
    assert "[1, 32, 32]: outputs [1, 10]" in text

    criterion, y = torch.nn.MSELoss(), torch.arange(0, 10).view(1, 10).float()
    loss = criterion(outputs, y)
    (printed_loss,) = re.findall(r"^Loss: (\S+)$", text, re.MULTILINE)
    assert float(printed_loss) == pytest.approx(loss.item(), abs=10 * DIGITS)
    outputs.grad = None
    loss.backward()
    assert close(array_after("its gradient:", text, (10,)), outputs.grad[0])

    for rate in (0.01, 0.001):
        bias = array_after("fc1.bias before:", text, (10,)).requires_grad_()
        optimizer = torch.optim.SGD([bias], lr=rate)
        bias.grad = outputs.grad[0].clone()
        optimizer.step()
        assert close(array_after(f"Learning rate {rate}, fc1.bias after:", text, (10,)), bias, 1.5 * DIGITS)
        (after,) = re.findall(rf"^Learning rate {rate}, loss after: (\S+)$", text, re.MULTILINE)
    assert 0 < float(after) < float(printed_loss)  # the smaller rate, whatever the initial weights
    check_pngs(tmp_path, "conv1.png")


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (32.0, "the loss rises by 3.600. The step is so long that it lands beyond the minimum"),
        (20.0, "the loss falls by 8.400. The step is long"),
        (8.5, "the loss falls by 19.900. The loss is nearly straight"),
    ],
)
def test_a_step_says_why_the_loss_rises_or_falls(after, text, capsys):
    spec = importlib.util.spec_from_file_location("nn_basics", ROOT / "experiments" / "nn_basics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    gradients = [keras.ops.full((3, 2), 10.0), keras.ops.full((14,), 10.0)]
    module.describe_step(0.01, 28.4, after, gradients)
    assert capsys.readouterr().out.startswith(f"  The slope promises a fall by 20.000; {text}")


@pytest.mark.parametrize("backward", ["ones", "MSELoss"])
def test_gradients_by_hand(backward):
    """`backend.value_and_gradients`, which the walkthrough uses, against torch's autograd on the original."""
    net, original = kerasnets.build("Net"), originals.build("Net")
    kerasnets.load_state_dict(net, original.state_dict())
    x = np.random.default_rng(0).normal(size=(2, 32, 32)).astype("float32")
    y = np.arange(20, dtype="float32").reshape(2, 10)
    ours, theirs = {
        "ones": (keras.ops.sum, torch.sum),
        "MSELoss": (
            lambda outputs: kerasnets.losses.MSELoss()(y, outputs),
            lambda outputs: functional.mse_loss(outputs, torch.tensor(y)),
        ),
    }[backward]
    value, gradients = backend.value_and_gradients(net, ours, x)
    expected = theirs(original(torch.tensor(x)))
    expected.backward()
    assert float(keras.ops.convert_to_numpy(value)) == pytest.approx(expected.item(), rel=1e-4)
    # As weights of a second model the gradients get PyTorch's shapes and order.
    holder = kerasnets.build("Net")
    holder.set_weights([keras.ops.convert_to_numpy(gradient) for gradient in gradients])
    for name, gradient in kerasnets.state_dict(holder).items():
        assert close(gradient, original.get_parameter(name).grad, 1e-3), name


def test_gradients_by_hand_in_training():
    """Batch normalisation moves its own statistics; a variable that has no part in the value gets zeros."""
    inputs = keras.Input((3,))
    hidden = kerasnets.layers.BatchNormalization(name="norm")(inputs)
    model = keras.Model(inputs, [kerasnets.layers.Linear(2)(hidden), kerasnets.layers.Linear(2)(hidden)])
    x = np.random.default_rng(0).normal(1, 2, size=(8, 3)).astype("float32")
    _, gradients = backend.value_and_gradients(model, lambda out: keras.ops.sum(out[0]), x, training=True)
    norm = torch.nn.BatchNorm1d(3)
    norm(torch.tensor(x))
    assert close(keras.ops.convert_to_numpy(model.get_layer("norm").moving_mean), norm.running_mean)
    sums = [np.abs(keras.ops.convert_to_numpy(gradient)).sum() for gradient in gradients]
    assert len(sums) == 6
    assert sums[3] == 16  # the first linear layer's bias: 2 outputs of 8 images
    assert sums[4:] == [0, 0]


def test_activations(tmp_path):
    text = walk("activations.py", tmp_path)
    functions = {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "leaky_relu": functional.leaky_relu,
        "softmax": lambda x: torch.softmax(x, 0),
    }
    for name, function in functions.items():
        x = torch.linspace(-10, 10, 201)
        y = function(x)
        slope = torch.autograd.functional.jacobian(function, x).diagonal()
        expected = (y.min(), y.max(), y.mean(), slope[0], slope.max(), slope[-1])
        (row,) = (line for line in text.splitlines() if f" {name} " in line)
        assert close([float(number) for number in NUMBER.findall(row)], torch.stack(expected))
        check_pngs(tmp_path, f"{name}.png")


def test_digits(tmp_path):
    text = walk("digits.py", tmp_path, "--dataset", "fashion_mnist_sample", "--epochs", "1", "--batch-size", "250")
    assert "\n[64, 28, 28]\n[64]\n" in text
    inputs = torch.rand(64, 1, 28, 28).view(64, -1)
    outputs = torch.sigmoid(inputs @ torch.randn(784, 256)) @ torch.randn(256, 10)
    assert f"\nInputs: {list(inputs.shape)}\n" in text
    assert f"\nOutputs: {list(outputs.shape)}\n" in text
    assert f"\nProbabilities: {list(functional.softmax(outputs, 1).shape)}\n" in text
    assert close(array_after("Their sums:", text, (64,)), functional.softmax(outputs, 1).sum(1))
    # The mistake, as in torch: an error for 64 images, and wrong sums without one for 10.
    with pytest.raises(RuntimeError, match="must match"):
        outputs / outputs.sum(1)
    assert re.search(r"^64 images: \w+Error: ", text, re.MULTILINE)
    assert (array_after("10 images: no error, but the sums are", text, (10,)) - 1).abs().max() > 0.1

    assert float(array_after("With the same weights the outputs differ by", text, ())) < 1e-6
    parameters = [sum(p.numel() for p in originals.build(name).parameters()) for name in ("Network", "Network2")]
    counts = re.findall(r"^ *Total params: ([\d,]+)", text, re.MULTILINE)
    assert [int(count.replace(",", "")) for count in counts] == [parameters[0]] * 2 + [parameters[1]] * 3
    weight = originals.build("Network2").fc1.weight
    assert f"fc1's weight, {list(weight.T.shape)}, the transpose" in text
    assert "The bias set to zeros: 0.0\n" in text
    weight.data.normal_(std=0.01)
    mean, sd = re.search(r"set to normal values: mean (\S+), sd (\S+)", text).groups()
    assert float(mean) == pytest.approx(weight.mean().item(), abs=2 * DIGITS)
    assert float(sd) == pytest.approx(weight.std().item(), abs=2 * DIGITS)
    assert "layers[1] is get_layer('fc1'): True" in text

    assert "Test Accuracy: " in text
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["network"], result["backend"], result["recipe"]["options"]) == (
        "Network2",
        ACTIVE,
        {"form": "named"},
    )
    check_pngs(
        tmp_path, "image.png", "network2.png", "sequential.png", "before.png", "after.png", "predictions.png",
        "confusion_matrix.png", "learning_curves.png",
    )  # fmt: skip


def test_digits_without_the_data_ends_with_its_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "load_data", functools.partial(data.load_data, root=tmp_path, download=False))
    main = runpy.run_path(str(ROOT / "experiments" / "digits.py"))["main"]
    with np.printoptions(), pytest.raises(typer.Exit) as ended:
        main(out=tmp_path / "out")
    assert ended.value.exit_code == 1
    assert "Error: No 'mnist' in root=" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_the_table_of_the_documents_names_is_there():
    table = (ROOT / "docs" / "documents.md").read_text()
    files = {path.stem: path for path in (ROOT / "tests").rglob("test_*.py")}
    for file, test in set(re.findall(r"(test_\w+): (test_\w+)", table)):
        assert f"def {test}(" in files[file].read_text(), (file, test)
    for path in set(re.findall(r"`((?:kerasnets|experiments|tests|docs)/[\w/.]+)`", table)):
        assert (ROOT / path).exists(), path
