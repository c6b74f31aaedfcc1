"""The choice of backend and device, in fresh processes: Keras reads it once, at its first import."""

import ast
from pathlib import Path

import keras
import pytest
from processes import run

import kerasnets

ACTIVE = keras.config.backend()


def test_import_does_not_import_keras_or_a_backend():
    loaded = run(
        "-c", "import sys, kerasnets; print([m for m in ('keras', 'torch', 'jax', 'tensorflow') if m in sys.modules])"
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.once
def test_default_is_torch():
    done = run("-c", "import kerasnets, keras; print(keras.config.backend())", KERAS_BACKEND=None)
    assert done.stdout.strip() == "torch"


def test_set_backend_before_first_use():
    code = f"import kerasnets; kerasnets.set_backend({ACTIVE!r}); import keras; print(keras.config.backend())"
    assert run("-c", code, KERAS_BACKEND=None).stdout.strip() == ACTIVE


def test_set_backend_too_late_names_both():
    other = "jax" if ACTIVE == "torch" else "torch"
    if not kerasnets.backend.is_installed(other):
        pytest.skip(f"{other} is not installed here, so that this is another error")
    with pytest.raises(RuntimeError, match=f"already imported with the backend '{ACTIVE}'.*'{other}'"):
        kerasnets.set_backend(other)


def test_set_backend_again_is_fine():
    kerasnets.set_backend(ACTIVE)


def test_unknown_backend_lists_the_right_ones():
    with pytest.raises(ValueError, match="'theano'; expected one of 'torch', 'jax', 'tensorflow'"):
        kerasnets.set_backend("theano")


@pytest.mark.once
def test_unknown_backend_in_the_environment():
    done = run("-c", "import kerasnets; kerasnets.build('Net')", KERAS_BACKEND="theano", check=False)
    assert done.returncode != 0
    assert "'theano'; expected one of 'torch', 'jax', 'tensorflow'" in done.stderr


@pytest.mark.parametrize("name", ["jax", "tensorflow"])
def test_backend_not_installed_gives_the_command(name):
    if kerasnets.backend.is_installed(name):
        pytest.skip(f"{name} is installed here")
    with pytest.raises(ModuleNotFoundError, match=rf"pip install -e '\.\[{name}\]'"):
        kerasnets.set_backend(name)


def test_unknown_device():
    with pytest.raises(ValueError, match="'tpu'; expected one of 'auto', 'cpu', 'gpu'"):
        kerasnets.set_device("tpu")


def test_gpu_where_there_is_none():
    if any(not name.startswith("cpu") for name in kerasnets.backend.devices()):
        pytest.skip("there is a GPU here")
    with pytest.raises(RuntimeError, match=r"'gpu' was asked for, but the backend .* sees only: cpu:0"):
        kerasnets.set_device("gpu")


@pytest.mark.gpu
def test_gpu_is_used():
    assert kerasnets.backend.device() == "gpu"
    keras.ops.convert_to_numpy(keras.ops.ones(10**6) + 1)
    assert kerasnets.backend.peak_gpu_memory() >= 4 * 10**6


def interface(name):
    """Names and arguments of a backend's module; read, since only one backend can be imported."""
    path = Path(kerasnets.backend.__file__).with_name(f"{name}.py")
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add((node.name, *(argument.arg for argument in node.args.args)))
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets}
    return found


@pytest.mark.parametrize("name", kerasnets.backend.BACKENDS)
def test_every_backend_has_a_module_with_the_same_interface(name):
    assert interface(name) == interface("torch")


def test_info_lists_versions_backends_devices_and_data():
    text = run("-m", "kerasnets", "info").stdout
    assert keras.__version__ in text
    assert f"{ACTIVE:15} installed, active" in text
    for word in ("cpu:0", "CUDA", "fashion_mnist_sample"):
        assert word in text
    for name in ("jax", "tensorflow"):
        if not kerasnets.backend.is_installed(name):
            assert f"pip install -e '.[{name}]'" in text


@pytest.mark.parametrize("first", ["kerasnets", "keras"])
def test_load_model_needs_no_custom_objects(tmp_path, first):
    """Keras's own loader knows kerasnets' classes once both are imported, in either order."""
    path = tmp_path / "model.keras"
    model = kerasnets.build("ConvNeuralNetwork", filters=(2, 2, 2), hidden=(4,))
    model.compile(optimizer=kerasnets.optimizers.SGD(0.1, momentum=0.9), loss=kerasnets.losses.CrossEntropyLoss())
    model.save(path)
    second = "keras" if first == "kerasnets" else "kerasnets"
    code = (
        f"import {first}, {second}; import keras; m = keras.models.load_model({str(path)!r}); "
        "print(type(m).__module__, m.count_params())"
    )
    assert run("-c", code).stdout.split() == ["kerasnets.models", str(model.count_params())]


def test_info_runs_where_the_chosen_backend_cannot():
    text = run("-m", "kerasnets", "info", KERAS_BACKEND="theano", KERASNETS_DATA="/no/such/folder").stdout
    assert "Unknown backend 'theano'" in text
    assert "/no/such/folder (there is no such folder)" in text


def test_torchvision_after_tensorflow_does_not_abort():
    """Without kerasnets' guard this process dies in LLVM, which is why it is a process of its own."""
    if not kerasnets.backend.is_installed("tensorflow"):
        pytest.skip("TensorFlow is not installed here")
    code = """
import kerasnets, tensorflow, torch
from torchvision import datasets
original = kerasnets.originals.build("Net")
optimizer = torch.optim.SGD(original.parameters(), lr=0.1)
original(torch.zeros(1, 1, 32, 32)).sum().backward()
optimizer.step()
print("alive")
"""
    assert run("-c", code).stdout.strip() == "alive"
