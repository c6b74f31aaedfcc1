"""The benchmark: what it measures, counts and reports. No times are asserted, only what is made of them."""

import json
import math
import runpy
import statistics
import sys

import keras
import pytest
from processes import ROOT

import kerasnets
from kerasnets import backend
from kerasnets._internal import atomic
from kerasnets.verify import benchmark
from kerasnets.verify.benchmark import measurement, rows
from kerasnets.verify.benchmark.parent import Job, Worker

BACKEND = keras.config.backend()
LABELS = ["the tutorial's program", "native PyTorch", f"stock Keras on {BACKEND}", f"kerasnets on {BACKEND}"]
DEAD = "stock Keras on theano"


@pytest.fixture(scope="module")
def said():
    return []


@pytest.fixture(scope="module")
def record(said, request):
    """A short measurement on the active backend, one of whose programs dies at its start."""
    settings = benchmark.Settings(
        networks=("NeuralNetwork",),
        backends=(BACKEND,),
        device=request.config.getoption("--device"),
        epochs=2,
        images=320,
        compiled=False,
        rounds=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "PAUSE", 0.0)
        patch.setattr(measurement, "IMPORTS", 1)
        whole = measurement.list_programs
        patch.setattr(
            measurement, "list_programs", lambda *args: [*whole(*args), Job("stock", "NeuralNetwork", "theano")]
        )
        kept = []
        made = benchmark.measure(settings, said.append, lambda record: kept.append(json.loads(json.dumps(record))))
        assert kept == [made]
        return made


@pytest.fixture
def result(record):
    return record["networks"]["NeuralNetwork"]


def row_of(result, label):
    (row,) = [row for row in result["rows"] if row["label"] == label]
    return row


def test_the_record_has_every_program(record, result, request):
    assert [row["label"] for row in result["rows"]] == [*LABELS, DEAD]
    assert record == json.loads(json.dumps(record))
    assert record["machine"] == backend.machine()
    assert record["versions"] == backend.versions()
    assert (result["images"], record["epochs"], record["batch_size"]) == (320, 2, 64)
    assert record["dataset"] in ("fashion_mnist", "fashion_mnist_sample")
    assert len(record["import_seconds"]) == 1
    assert result["matrix_error"] is None
    assert result["matrix_rate"] == max(result["matrix_rates"]) > 0
    for label in LABELS:
        row = row_of(result, label)
        assert row["error"] is None
        assert row["device"] == request.config.getoption("--device")
        assert len(row["epoch_seconds"]) == len(row["losses"]) == 2
        assert min(row["first_step_seconds"], row["warm_up_seconds"], *row["epoch_seconds"], row["memory_mib"]) > 0
        assert len(row["one_image_microseconds"]) == (0 if "tutorial" in label else 1)


def test_every_program_learns(result):
    # All from PyTorch's initial weights: the second epoch of 5 steps, and the third, at the same rate.
    for label in LABELS:
        losses = row_of(result, label)["losses"]
        assert losses[1] < losses[0] < math.log(10) + 0.1


def test_ratios_are_those_of_the_medians(result):
    seconds = {label: statistics.median(row_of(result, label)["epoch_seconds"]) for label in LABELS}
    tutorial, native, stock, ours = LABELS
    for label in LABELS:
        row = row_of(result, label)
        assert row["median_seconds"] == seconds[label]
        assert row["against_document"] == seconds[label] / seconds[tutorial]
        assert row["against_native"] == seconds[label] / seconds[native]
        assert row["memory_against_native"] == row["memory_mib"] / row_of(result, native)["memory_mib"]
        flops = result["flops_per_epoch"] / seconds[label]
        assert row["share"] == pytest.approx(flops / result["matrix_rate"])
    assert row_of(result, ours)["against_stock"] == seconds[ours] / seconds[stock]
    images = [statistics.median(row_of(result, label)["one_image_microseconds"]) for label in (ours, native)]
    assert row_of(result, ours)["one_image_against_native"] == images[0] / images[1]


def test_the_fastest_native_loop_counts():
    result = {"device": "cpu", "flops_per_epoch": None, "matrix_rate": None, "rows": []}
    for job, seconds in ((Job("native", "N"), [3.0, 5.0, 4.0]), (Job("native", "N", compiled=True), [2.0, 2.0, 9.0])):
        result["rows"].append({**rows.make_row(job), "epoch_seconds": seconds})
    result["rows"].append({**rows.make_row(Job("native", "N", channels_last=True)), "epoch_seconds": [0.1]})
    rows.add_ratios(result, epochs=3)
    # The last one died after its first epoch.
    assert [row["median_seconds"] for row in result["rows"]] == [4.0, 2.0, None]
    assert [row["against_native"] for row in result["rows"]] == [2.0, 1.0, None]


def test_a_dead_worker_is_reported_and_the_others_go_on(record, result):
    row = row_of(result, DEAD)
    assert "stock Keras on theano ended with exit status 1" in row["error"]
    assert "Unknown backend 'theano'" in row["error"]
    assert row["median_seconds"] is row["against_native"] is row["share"] is None
    assert benchmark.errors(record) == [row["error"]]


def test_a_waiting_worker_ends_with_its_parent():
    waiting = Worker(Job("matrix", "NeuralNetwork"))
    waiting.step()
    waiting._process.stdin.close()  # what the end of the parent does
    assert waiting._process.wait(timeout=60) == 0
    waiting.close()


def macs(layer) -> int:
    """Multiply-adds of a layer for one image."""
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    places = math.prod(layer.output.shape[1:]) // kernel.shape[-1]  # pixels of the output, in any data format
    return math.prod(kernel.shape) * places


@pytest.mark.parametrize("network", measurement.NETWORKS)
def test_operations_of_an_epoch(network):
    from kerasnets.verify.benchmark.matrix import count_flops

    of_layers = [count for layer in kerasnets.build(network).layers if (count := macs(layer))]
    # Forward, gradient of the weights, and gradient of the inputs, which the first layer doesn't need.
    assert count_flops(network, 128) == 128 * 2 * (3 * sum(of_layers) - of_layers[0])


def experiment(monkeypatch, *options):
    """Run the script; returns its exit code."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *map(str, options)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "experiments" / "benchmark.py"), run_name="__main__")
    return end.value.code


def test_experiment_shows_a_record(record, result, tmp_path, monkeypatch, capsys):
    atomic.write_json(tmp_path / "benchmark.json", record)
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- speed -->\nold\n<!-- /speed -->\nafter\n")
    page = tmp_path / "speed.md"
    page.write_text("<!-- speed -->\n<!-- /speed -->\n")
    options = ("--no-measure", "--out", tmp_path, "--readme", readme, "--page", page)
    assert experiment(monkeypatch, *options) == 1  # one program died
    printed = capsys.readouterr().out
    for label in LABELS:
        row = row_of(result, label)
        line = f"{row['median_seconds']:#.3g} │ {row['against_native']:8.2f} │ {row['against_document']:10.2f}"
        assert any(label in text and line in text for text in printed.splitlines()), label
    assert f"{DEAD} (failed)" in printed
    assert "Unknown backend 'theano'" in printed
    assert (tmp_path / "epochs.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    text = readme.read_text()
    assert text.startswith("before\n<!-- speed -->\n| program | NeuralNetwork, 320 images |")
    assert text.endswith("<!-- /speed -->\nafter\n")
    assert "old" not in text
    whole = page.read_text()
    for label in LABELS:
        row = row_of(result, label)
        cells = f" | {row['median_seconds']:#.3g} (×{row['against_native']:.2f}) |"
        assert f"| {label}{cells}" in whole
        assert f"| {'the fastest native PyTorch loop' if label == 'native PyTorch' else label}{cells}" in text
        assert f" | {row['memory_mib']:.0f} | " in whole
    assert f"| {DEAD} | failed |" in text
    assert f"| {DEAD} (failed) |" in whole
    assert backend.machine() in text


def test_numbers_of_images():
    settings = benchmark.Settings(networks=("NeuralNetwork", "ConvNeuralNetwork"), images=(640, 128))
    images = [job.images for name in settings.networks for job in measurement.list_programs(settings, name, "sample")]
    assert set(images[: len(images) // 3]) == {640}
    assert set(images[-5:]) == {128}
    with pytest.raises(ValueError, match=r"images=\(64,\): expected one number"):
        benchmark.Settings(networks=("NeuralNetwork", "ConvNeuralNetwork"), images=(64,))


def test_experiment_errors(tmp_path, monkeypatch, capsys):
    cases = {
        ("--backends", "torch,theano"): "'theano'",
        ("--backends", BACKEND, "--images", "65"): "images=65",
        ("--backends", BACKEND, "--images", "many"): "'many': expected a number",
        ("--backends", BACKEND, "--images", "64,64,64"): "images=[64, 64, 64]: expected one number",
        ("--backends", BACKEND, "--images", "70000"): "images=70000",
        ("--no-measure",): "benchmark.json",
    }
    for options, message in cases.items():
        assert experiment(monkeypatch, "--out", tmp_path, *options) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("network", measurement.NETWORKS)
def test_programs_of_a_network(network):
    settings = benchmark.Settings(networks=(network,), backends=("torch", "jax"))
    jobs = measurement.list_programs(settings, network, "fashion_mnist_sample")
    assert len({job.label for job in jobs}) == len(jobs)
    assert sum(job.program == "native" for job in jobs) == (4 if network == "ConvNeuralNetwork" else 2)
    assert [job.backend for job in jobs if job.program == "kerasnets"] == ["torch", "jax"]


def test_text_without_marks_is_left_alone(tmp_path):
    path = tmp_path / "text.md"
    path.write_text("<!-- speed -->\nno end\n")
    with pytest.raises(ValueError, match=r"no lines <!-- speed --> and <!-- /speed -->"):
        atomic.replace_marked(path, "speed", ["new"])
    assert path.read_text() == "<!-- speed -->\nno end\n"
