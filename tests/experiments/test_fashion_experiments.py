"""The steps of fashion_mnist and fashion_network, and the drawings of a network: what they print and leave."""

import ast
import contextlib
import importlib.util
import io
import json
import re

import keras
import numpy as np
import pytest
import torch
from processes import ROOT

import kerasnets
from kerasnets.plots.graph import list_calls

ACTIVE = keras.config.backend()
SAMPLE = "fashion_mnist_sample"


def run_main(script, **options):
    """Run an experiment in this process; returns what it printed."""
    spec = importlib.util.spec_from_file_location(script, ROOT / "experiments" / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        module.main(**options)
    return printed.getvalue()


def table(text, title):
    """The rows of the table under `title`, as lists of cells, by their first cell."""
    body = text.split(title, 1)[1].split("└", 1)[0]
    lines = [line for line in body.splitlines() if line.startswith("│")]
    return {cells[0]: cells[1:] for cells in ([c.strip() for c in line.strip("│").split("│")] for line in lines)}


def number(cell):
    return float(cell.removesuffix("%").replace(",", ""))


def check_png(path):
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


# fashion_mnist: eight trainings, the same on every backend; test_experiments has one on each


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    out = tmp_path_factory.mktemp("fashion_mnist")
    return run_main("fashion_mnist", show="all", dataset=SAMPLE, epochs=1, batch_size=300, out=out), out


@pytest.mark.once
def test_training_prints_the_structure_and_the_accuracy(clothes):
    text, out = clothes
    structure = text.split("Test Accuracy")[0]
    for word in ("NeuralNetwork", "flatten (Flatten)", "linear_relu_stack_0", "(None, 512)", "401,920", "669,706"):
        assert word in structure
    for picture in ("predictions.png", "confusion_matrix.png", "learning_curves.png"):
        check_png(out / "NeuralNetwork" / picture)


@pytest.mark.once
def test_networks_in_one_table_and_one_picture(clothes):
    text, out = clothes
    rows = table(text[text.rindex(f"{SAMPLE}, 1 epoch, backend {ACTIVE}") :], "1 epoch,")
    assert list(rows) == ["NeuralNetwork", "NeuralNetwork_v1", "ConvNeuralNetwork"]
    for network, (parameters, accuracy, *_) in rows.items():
        result = json.loads((out / network / "result.json").read_text())
        assert number(accuracy) == round(result["test_accuracy"], 2)
        assert number(parameters) == kerasnets.build(network).count_params()
    check_png(out / "networks.png")


@pytest.mark.once
def test_nearest_mean_image_and_hardest_class(clothes):
    text, out = clothes
    rows = table(text, "Accuracy by data set")
    (x, y), (x_test, y_test) = kerasnets.load_data(SAMPLE)
    images, test_images = (torch.tensor(array).flatten(1) for array in (x, x_test))
    means = torch.stack([images[torch.tensor(y == c)].mean(0) for c in range(10)])
    nearest = torch.cdist(test_images, means).argmin(1).numpy()
    assert number(rows[SAMPLE][0]) == pytest.approx(100 * np.mean(nearest == y_test), abs=0.11)

    model = kerasnets.load_model(out / "NeuralNetwork" / "model.keras")  # the same training, so the same network
    predicted = model.predict(x_test, verbose=0).argmax(axis=1)
    shares = [np.mean(predicted[y_test == c] == c) for c in range(10)]
    name = kerasnets.data.class_names(SAMPLE)[int(np.argmin(shares))]
    assert f"Hardest in {SAMPLE}: {name}, of which {100 * min(shares):.1f} % are recognised" in text


@pytest.mark.once
def test_normalization_helps_the_first_epoch(clothes):
    text, _ = clothes
    rows = table(text, "by scale of the pixels")
    stored, scaled, normalized, standardized = (number(cells[1]) for cells in rows.values())
    assert standardized < normalized < scaled
    assert not stored < scaled  # it may well be NaN
    assert list(rows.values())[3][0] == "0.00 ± 1.00"
    same = number(table(text, "Accuracy by data set")[SAMPLE][2])
    assert number(rows["and Normalize, −1 … 1"][3]) == pytest.approx(same, abs=0.5)  # rounded in another order


@pytest.mark.once
def test_the_sample_has_no_digits_to_compare_with(clothes):
    assert f"To compare with another data set: --dataset fashion_mnist; here {SAMPLE} alone." in clothes[0]


# fashion_network


@pytest.fixture(scope="module")
def fashion(tmp_path_factory):
    out = tmp_path_factory.mktemp("fashion_network")
    return run_main("fashion_network", show="all", dataset=SAMPLE, epochs=2, batch_size=100, out=out), out


def test_pictures(fashion):
    _, out = fashion
    for name in ("class_weights", "gradient_descent", "learning_rates", "lbfgs", "dropout", "learning_curves"):
        check_png(out / f"{name}.png")


def test_training_loss_by_epoch(fashion):
    text, out = fashion
    losses = json.loads((out / "result.json").read_text())["train_loss"]
    for loss in losses:
        assert f"Training loss: {loss:.4f}" in text
    assert losses[1] < losses[0]


def test_log_softmax_against_softmax(fashion):
    rows = table(fashion[0], "The logarithm of softmax")
    assert "-inf" in rows["200, 100, 0"][1]
    expected = torch.log_softmax(torch.tensor([200.0, 100.0, 0.0]), dim=0)
    assert [float(v) for v in rows["200, 100, 0"][2].split(", ")] == expected.tolist()
    rows = table(fashion[0], "The same weights")
    assert list(rows) == ["log_softmax", "softmax", "logits"]
    values = [number(cells[2]) for cells in rows.values()]
    np.testing.assert_allclose(values, values[0], rtol=1e-5)
    assert rows["log_softmax"][0] == rows["softmax"][0] == "1.0000"


def test_class_weights_help_the_rare_classes(fashion):
    rows = table(fashion[0], "Share of the test images recognised")
    counts = {name: number(cells[0]) for name, cells in rows.items() if name != "all"}
    assert counts.pop("Coat") == counts.pop("Shirt") == 30
    assert set(counts.values()) == {600}
    assert number(rows["Coat"][1]) == pytest.approx(4860 / (10 * 30))
    without, weighted = (sum(number(rows[name][i]) for name in ("Coat", "Shirt")) for i in (2, 3))
    assert weighted > without


def test_optimizer_defaults_are_those_of_torch(fashion):
    found = dict(re.findall(r"^(\w+): (\{'learning_rate'.*\})$", fashion[0], re.MULTILINE))
    assert list(found) == ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta"]
    ours = {"lr": "learning_rate", "eps": "epsilon", "alpha": "rho"}
    for name, text in found.items():
        defaults = ast.literal_eval(text)
        optimizer = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)])
        expected = {ours.get(key, key): value for key, value in optimizer.defaults.items()}
        if "betas" in expected:
            expected["beta_1"], expected["beta_2"] = expected.pop("betas")
        assert set(defaults) <= set(expected), name
        assert defaults == {key: expected[key] for key in defaults}, name
        assert {"learning_rate", "weight_decay"} <= set(defaults)


def test_learning_rates_too_small_right_and_too_large(fashion):
    rows = table(fashion[0], "What the learning rate does")
    small, right, large = (number(cells[1]) for cells in rows.values())
    assert right < small
    assert not large < right


def test_lbfgs_is_lowest_after_as_many_gradients(fashion):
    rows = table(fashion[0], "Softmax regression")
    assert list(rows) == ["L-BFGS", "Adadelta(1)", "Adagrad(0.01)", "SGD(0.01)", "SGD(0.1)"]
    assert len({cells[0] for cells in rows.values()}) == 1  # the same start
    ends = {name: number(cells[1]) for name, cells in rows.items()}
    assert min(ends, key=ends.get) == "L-BFGS", rows
    assert all(end < number(rows[name][0]) for name, end in ends.items())


def test_dropout_acts_in_training_only(fashion):
    text, _ = fashion
    share, others = re.search(r"0\.25, training=True: (\S+) are 0, others (\S+)", text).groups()
    assert float(share) == pytest.approx(0.25, abs=0.03)
    assert float(others) == pytest.approx(1 / 0.75, abs=1e-4)
    assert "0.25, training=False: 0.000 are 0, others 1.0000" in text
    first, second, third, fourth = re.findall(r"log-probabilities: (.*)", text)
    assert first != second
    assert third == fourth
    rows = table(text, "Losses: ")
    assert number(rows["0.25"][0]) > number(rows["0.25"][1])  # the same images; dropout only in training
    assert list(rows) == ["0", "0.25"]


def test_three_ways_to_write_the_network(fashion):
    rows = table(fashion[0], "Three ways")
    assert list(rows) == ["layers", "functions", "Sequential"]
    assert all(cells[0] == "235,146" and float(cells[2]) < 1e-5 for cells in rows.values())


# Drawings


#: torchviz asks distutils for PyTorch's version.
torchviz_s_warning = pytest.mark.filterwarnings("ignore:distutils Version classes are deprecated:DeprecationWarning")


@torchviz_s_warning
@pytest.mark.parametrize("network", ["FashionNetwork", "Net"])
def test_graph(network, tmp_path):
    text = run_main("graph", network=network, out=tmp_path)
    for picture in ("architecture.png", "neuron.png", "layered_network.png"):
        check_png(tmp_path / picture)
    model = kerasnets.load_model(tmp_path / "model.keras")
    assert model.name == network
    # What isn't there has its sentence.
    for name, sentence in (
        ("plot_model.png", "Keras's plot_model: needs Graphviz"),
        ("autograd.png", "Autograd graph: "),
        ("model.onnx", "ONNX: not written; "),
    ):
        assert (tmp_path / name).exists() != (sentence in text), name
    written = text.split("Written: ")[1].strip().split(", ")
    assert sorted(written) == sorted(str(path) for path in tmp_path.iterdir())


def test_plot_model_has_no_loop():
    spec = importlib.util.spec_from_file_location("graph", ROOT / "experiments" / "graph.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for network in ("ConvNeuralNetwork", "FashionNetwork", "Network2"):
        model = kerasnets.build(network)
        copy = module.unshare(model)
        copy.set_weights(model.get_weights())
        x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
        np.testing.assert_array_equal(copy.predict(x, verbose=0), model.predict(x, verbose=0))
        assert len(list_calls(copy)) == len(copy.layers), network


@torchviz_s_warning
def test_autograd_graph_names_the_weights(tmp_path):
    pytest.importorskip("torchviz")
    if ACTIVE != "torch":
        pytest.skip("only PyTorch builds a graph")
    run_main("graph", network="FashionNetwork", out=tmp_path)
    text = (tmp_path / "autograd.dot").read_text()
    for name in ("hidden1/kernel", "hidden2/bias", "output/kernel", "LogSoftmaxBackward0", "ReluBackward0"):
        assert name in text


def test_a_missing_torchviz_has_a_sentence(tmp_path, monkeypatch):
    find, hidden = importlib.util.find_spec, ("torchviz", "onnx", "tf2onnx", "pydot")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in hidden else find(name, *a))
    text = run_main("graph", network="Net", out=tmp_path)
    assert "pip install pydot" in text
    assert ("pip install torchviz" if ACTIVE == "torch" else "use --backend torch") in text
    assert "pip install " + ("onnx" if ACTIVE == "torch" else "tf2onnx") in text
