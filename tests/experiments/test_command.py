"""The command ``kerasnets``, and what runs say when they are stopped or started again."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib

import pytest
import typer
from processes import ROOT, run_forked

import kerasnets
from kerasnets import cli

pytestmark = pytest.mark.once

SAMPLE = "fashion_mnist_sample"


def test_the_entry_point_is_the_module():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"kerasnets": "kerasnets.__main__:app"}


def test_without_arguments_it_prints_its_help():
    done = run_forked("-m", "kerasnets", check=False)
    text = done.stdout + done.stderr
    for word in ("Usage: python -m kerasnets", "info", "train", "networks", "--version"):
        assert word in text
    assert "Traceback" not in text


def test_networks_lists_each_with_its_options():
    text = run_forked("-m", "kerasnets", "networks").stdout
    for name in kerasnets.list_networks():
        assert f"{name}\n  " in text
    assert "Options: hidden=(256, 128), output='log_softmax'" in text


def test_info_has_the_version():
    assert re.search(rf"kerasnets +{re.escape(kerasnets.__version__)}\n", run_forked("-m", "kerasnets", "info").stdout)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "run"
    command = ["train", "FashionNetwork", "--dataset", SAMPLE, "--batch-size", "500", "--out", str(out)]
    return command, out, run_forked("-m", "kerasnets", *command, "--epochs", "1")


def test_train_trains_and_draws(trained):
    _, out, done = trained
    result = json.loads((out / "result.json").read_text())
    assert (result["network"], result["dataset"]) == ("FashionNetwork", SAMPLE)
    assert result["versions"]["kerasnets"] == kerasnets.__version__
    assert f"Test Accuracy: {result['test_accuracy']:.2f}%" in done.stdout
    assert (out / "predictions.png").exists()


def test_what_a_run_prints_reads_well(trained):
    _, _, done = trained
    assert "1 epoch," in done.stdout
    assert "1 epochs" not in done.stdout
    assert done.stdout.count("Written:") == 1
    assert "…" not in done.stdout  # nothing is cut
    for column in ("network", "test accuracy", "tutorial", "last training loss", "seconds per epoch"):
        assert column in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("changes", [(), ("--dataset", "mnist"), ("--epochs", "3")])
def test_a_finished_run_asks_for_again(trained, changes):
    command, out, _ = trained
    before = (out / "result.json").read_bytes()
    done = run_forked("-m", "kerasnets", *command, *changes, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"Error: {out} has a finished run: FashionNetwork on {SAMPLE}, 1 epoch, test accuracy"
    )
    assert "Add --again" in done.stderr
    assert (out / "result.json").read_bytes() == before


def test_again_trains_again(trained):
    command, out, _ = trained
    run_forked("-m", "kerasnets", *command, "--epochs", "2", "--again")
    assert len(json.loads((out / "result.json").read_text())["train_loss"]) == 2


def test_check_again_takes_what_is_not_finished(tmp_path):
    cli.check_again(tmp_path / "nothing", again=False)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(typer.Exit):
        cli.check_again(tmp_path, again=False)
    cli.check_again(tmp_path, again=True)
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "epoch-00001.backup").touch()  # another run was stopped here
    cli.check_again(tmp_path, again=False)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_with_the_command_that_goes_on(tmp_path):
    command = [
        sys.executable, "experiments/fashion_network.py", "--dataset", SAMPLE, "--epochs", "500", "--out",
        str(tmp_path / "a folder"),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background ignores it
    )  # fmt: skip
    backup = tmp_path / "a folder" / "backup"
    while process.poll() is None and not any(backup.glob("epoch-*.backup")):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    (line,) = [line for line in said.splitlines() if line]
    start, _, again = line.partition(": ")
    assert start == "Stopped. The finished epochs are kept; this goes on"
    assert shlex.split(again) == ["python", *command[1:]]


@pytest.mark.parametrize(
    ("argv", "backend", "text"),
    [
        (["experiments/mnist.py", "--seed", "1"], "torch", "python experiments/mnist.py --seed 1"),
        (["/bin/kerasnets", "train", "Net"], "torch", "kerasnets train Net"),
        (["/lib/kerasnets/__main__.py", "train", "Net"], "jax", "KERAS_BACKEND=jax python -m kerasnets train Net"),
        (["x.py", "--backend", "jax"], "jax", "python x.py --backend jax"),
    ],
)
def test_the_command_line_given_again(argv, backend, text, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(kerasnets.backend, "backend", lambda: backend)
    assert cli.command_line() == text


def test_tables_are_as_wide_as_their_cells(capsys):
    cli.print_table("Title", ["network", *(f"column {i} of a wide table" for i in range(8))], [["x"] * 9])
    (head,) = [line for line in capsys.readouterr().out.splitlines() if "network" in line]
    assert head.count("of a wide table") == 8
