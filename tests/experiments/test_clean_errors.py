"""What isn't there ends a command with one clean error, or is left out with one line."""

import contextlib
import importlib.util
import io
import sys

import pytest
import typer
from processes import ROOT, run, run_forked

pytestmark = pytest.mark.once


@pytest.mark.parametrize("script", ["graph", "quickstart", "reproduce"])
def test_a_wrong_backend_in_the_environment(script):
    done = run(f"experiments/{script}.py", backend="pytorch", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Error: Unknown backend 'pytorch'; expected one of 'torch', 'jax', 'tensorflow'. Did you mean 'torch'?"
    ]


def test_a_backend_in_the_environment_that_is_not_installed():
    program = (
        "import runpy, sys; from kerasnets.backend import choice; choice.is_installed = lambda name: name == 'torch'; "
        "sys.argv = ['quickstart.py']; runpy.run_path('experiments/quickstart.py', run_name='__main__')"
    )
    done = run("-c", program, backend="jax", check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: The backend 'jax' is not installed.")
    assert "pip install -e '.[jax]'" in line


@pytest.mark.parametrize("script", ["mnist", "digits"])
def test_a_missing_data_set_offers_what_the_command_has(script, tmp_path):
    """Whatever the network: a proxy that isn't there, and no cache."""
    nowhere = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": None}
    done = run_forked(
        f"experiments/{script}.py", "--dataset", "kmnist", "--out", str(tmp_path / "out"), check=False,
        KERASNETS_DATA=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"), **nowhere,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "The data set 'kmnist' was not found" in done.stderr
    assert "--dataset fashion_mnist_sample" in done.stderr
    assert "set KERASNETS_DATA=FOLDER" in done.stderr
    for of_load_data in ("root=", "download=False"):
        assert of_load_data not in done.stderr


def test_a_step_whose_package_is_missing_is_left_out(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("fashion_network", ROOT / "experiments" / "fashion_network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("show_loss", "show_classes", "show_optimizers", "train_one", "show_learning_rate", "show_dropout"):
        assert callable(getattr(module, name))
        monkeypatch.setattr(module, name, lambda *arguments: None)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)  # importing it fails
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        module.main(show="all", dataset="fashion_mnist_sample", out=tmp_path)
    assert "The step lbfgs is left out. L-BFGS needs SciPy: pip install scipy." in printed.getvalue()
    assert "Three ways to write the network" in printed.getvalue()
    with pytest.raises(typer.Exit):
        module.main(show="lbfgs", dataset="fashion_mnist_sample", out=tmp_path)
