"""Weights and files that are refused, and in which words."""

import functools
import io
import os
import pickle
import subprocess
import sys
import tarfile
import traceback
import warnings
import zipfile

import keras
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from torch import nn
from weights_compared import L, small

from kerasnets._internal.arrays import cast
from kerasnets.interop.layer_weights import Entry
from kerasnets.interop.weights import load_state_dict, save_state_dict, state_dict


def test_bad_files_are_refused_in_words(tmp_path):
    model, module = small()
    torch.save(module, tmp_path / "whole.pt")
    torch.save({"model_state_dict": module.state_dict(), "loss": np.float64(0.3)}, tmp_path / "checkpoint.pt")
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    safetensors.torch.save_file(module.state_dict(), tmp_path / "weights.safetensors")
    whole = (tmp_path / "weights.pt").read_bytes()
    for kept in (0, 100, len(whole) - 1):
        (tmp_path / f"first {kept}.pt").write_bytes(whole[:kept])
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "page.pt").write_text("<html>404</html>")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "tensors.pt").write_bytes((tmp_path / "weights.safetensors").read_bytes())
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    for file, words in {
        "whole.pt": "whole.pt' contains more than tensors.*Sequential",
        "checkpoint.pt": "checkpoint.pt' contains more than tensors.*numpy.*",
        "broken.pt": "broken",
        "page.pt": r"page\.pt' is not a complete PyTorch file \(UnpicklingError: Unsupported operand 60\)",
        "text.pt": r"text\.pt' is not a complete PyTorch file",
        "tensors.pt": r"tensors\.pt' is not a complete PyTorch file",
        **{f"first {kept}.pt": f"first {kept}.pt' is not a complete PyTorch" for kept in (0, 100, len(whole) - 1)},
        "broken.safetensors": "not a complete .safetensors file",
        "list.pth": "list, expected a dict",
        "weights.bin": "expected .pt, .pth or .safetensors",
    }.items():
        with pytest.raises(ValueError, match=words):
            load_state_dict(model, tmp_path / file)
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        load_state_dict(model, tmp_path / "absent.pt")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(FileNotFoundError, match=r"folder\.pt' is a folder"):
        load_state_dict(model, tmp_path / "folder.pt")
    with pytest.raises(TypeError, match="pass its state_dict"):
        load_state_dict(model, module)
    with pytest.raises(ValueError, match=r"\.h5"):
        save_state_dict(model, tmp_path / "weights.h5")
    for name in ("weights.pt", "weights.safetensors"):
        with pytest.raises(FileNotFoundError, match=r"no folder .*absent"):
            save_state_dict(model, tmp_path / "absent" / name)


class Attack:
    """Pickled, it is a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write_refused(path, form, attack):
    """Write a file that PyTorch doesn't load with ``weights_only=True``."""
    if form == "tar":
        with tarfile.open(path, "w:") as archive:
            for name in ("sys_info", "pickle", "tensors", "storages"):
                content = pickle.dumps({}, 2)
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    elif form == "TorchScript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), path)
    elif form == "other zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("word/document.xml", "<x/>")
    else:
        content = {
            "module": nn.Linear(2, 2),
            "os.system": {"weights": torch.ones(1), "more": Attack(os.system, f"touch {attack}")},
            "old os.system": Attack(os.system, f"touch {attack}"),
            "eval": Attack(eval, f"open({str(attack)!r}, 'w')"),
            "NumPy": {"loss": np.float64(1.0)},
            "partial": {"function": functools.partial(print, 1)},
        }[form]
        torch.save(content, path, _use_new_zipfile_serialization=not form.startswith("old"))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("module", "refers to torch.nn.modules.linear.Linear, and loading that could run code"),
        ("os.system", "refers to posix.system, and loading"),
        ("old os.system", "refers to posix.system, and loading"),
        ("eval", "refers to eval, and loading"),
        ("NumPy", r"refers to numpy\.\S+\.scalar, and loading"),
        ("partial", "refers to functools.partial, and loading"),
        ("tar", "legacy .tar format"),
        ("TorchScript", "is a TorchScript archive"),
        ("other zip", "not a complete PyTorch file"),
    ],
)
def test_refused_files_come_without_the_advice_to_load_them_nevertheless(form, words, tmp_path):
    path, attack = tmp_path / "w.pt", tmp_path / "attack"
    write_refused(path, form, attack)
    with pytest.raises(ValueError, match=words.replace("posix", os.name)) as caught:
        load_state_dict(small()[0], path)
    assert str(path) in str(caught.value)
    assert form == "other zip" or "torch.save(model.state_dict(), path)" in str(caught.value)
    assert "weights_only" not in "".join(traceback.format_exception(caught.value))
    assert not attack.exists()


ODD = {
    "big-endian": lambda x: x.astype(">f4"),
    "big-endian float16": lambda x: x.astype(">f2"),
    "big-endian integers": lambda x: x.astype(">i8"),
    "longdouble": lambda x: x.astype("longdouble"),
    "too large a longdouble": lambda x: np.full_like(x, np.finfo("longdouble").max, "longdouble"),
    "too large": lambda x: np.full_like(x, -1e300, "float64"),
    "uint64": lambda x: np.full_like(x, 2**64 - 1, "uint64"),
    "bool": lambda x: x > 0,
    "negative strides": lambda x: x[::-1],
    "read-only": lambda x: np.broadcast_to(np.float32(0.5), x.shape),
    "Fortran's order": np.asfortranarray,
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["a.weight", "b.bias"])
def test_arrays_that_some_backend_does_not_take(name, odd):
    model, module = small()
    array = ODD[odd](module.state_dict()[name].numpy())
    load_state_dict(model, {**module.state_dict(), name: array})
    with np.errstate(over="ignore"):
        plain = array.astype("float64") if array.dtype.char == "g" else array.astype(array.dtype.newbyteorder("="))
    # PyTorch copies what is too large as inf, and says nothing.
    expected = torch.empty(array.shape).copy_(torch.from_numpy(plain.copy()))
    np.testing.assert_array_equal(state_dict(model)[name], expected.numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_numbers_are_rounded_as_pytorch_rounds_them(dtype):
    array = np.array([1 + 2**-11 + 2**-40, 1 + 2**-8 + 2**-40, 65519.999, 1e300, -np.inf, np.nan, 5e-324])
    expected = torch.empty(len(array), dtype=getattr(torch, dtype)).copy_(torch.from_numpy(array))
    np.testing.assert_array_equal(cast(array, dtype).astype("float64"), expected.double().numpy())


def test_a_conversion_that_fails_leaves_all_weights(monkeypatch):
    model, module = small()
    before, convert, calls = state_dict(model), Entry.convert, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise MemoryError
        return convert(*arguments)

    monkeypatch.setattr(Entry, "convert", full)
    with pytest.raises(MemoryError):
        load_state_dict(model, module.state_dict())
    for name, array in state_dict(model).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros(2, "datetime64[s]"), r"of type ndarray datetime64\[s\], expected numbers"),
        (np.full(2, None), "of type ndarray object, expected numbers"),
        (torch.zeros(2, dtype=torch.complex64), "Tensor torch.complex64, expected numbers"),
        (torch.zeros(2).to(torch.float8_e4m3fn), "can't be read: .*Float8"),
        (torch.empty(2, device="meta"), "can't be read"),
        (torch.zeros(2).to_sparse(), "can't be read"),
        ([[1], [1, 2]], "can't be read"),
        ("zero", "of type str, expected numbers"),
    ],
    ids=["datetime", "object", "complex", "float8", "meta", "sparse", "ragged", "string"],
)
def test_entries_that_are_no_arrays_of_numbers_are_named(value, words):
    model, module = small()
    before = state_dict(model)
    with pytest.raises(ValueError, match=f"b.bias.* {words}"):
        load_state_dict(model, {**module.state_dict(), "b.bias": value})
    for name, array in state_dict(model).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_names_that_are_no_strings():
    model, module = small()
    with pytest.raises(TypeError, match="names of weights, received 1"):
        load_state_dict(model, {**module.state_dict(), 1: torch.zeros(2)})


def test_models_that_cannot_be_mapped_are_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(2)

        def call(self, x):
            return self.dense(x)

    own = Own()
    own(np.zeros((1, 3), "float32"))
    with pytest.raises(TypeError, match="neither Functional nor Sequential"):
        state_dict(own)
    with pytest.raises(ValueError, match="build it first"):
        state_dict(keras.Sequential([L.Dense(2)]))
    with pytest.raises(TypeError, match=r"'memory' is Keras's LSTM.* use kerasnets\.layers\.LSTM"):
        state_dict(keras.Sequential([keras.Input((3, 2)), L.LSTM(4, name="memory")]))
    with pytest.raises(ValueError, match="one slope, or one per channel"):
        state_dict(keras.Sequential([keras.Input((3, 2)), L.PReLU()]))
    with pytest.raises(ValueError, match="groups that PyTorch makes of others"):
        state_dict(keras.Sequential([keras.Input((2, 2, 4)), L.Flatten(), L.GroupNormalization(2)]))
    with pytest.raises(TypeError, match="list"):
        state_dict([])
    maps, vector = keras.Input((2, 2, 3)), keras.Input((12,))
    shared = L.Dense(2, name="shared")
    with pytest.raises(ValueError, match="'shared' is used for inputs whose features PyTorch orders in two ways"):
        state_dict(keras.Model([maps, vector], [shared(L.Flatten()(maps)), shared(vector)]))


SAFETENSORS_ONLY = """
import sys
import kerasnets, keras
model = kerasnets.build("Network2")
kerasnets.save_state_dict(model, sys.argv[1])
kerasnets.load_state_dict(model, sys.argv[1])
assert callable(kerasnets.state_dict), kerasnets.state_dict
assert "torch" not in sys.modules or keras.config.backend() == "torch"
kerasnets.save_state_dict(model, sys.argv[2])
kerasnets.load_state_dict(model, sys.argv[2])
if keras.config.backend() != "torch":
    assert not {"torchvision", "triton"} & set(sys.modules), "would abort beside TensorFlow"
"""


def test_safetensors_needs_no_torch_and_pt_needs_torch_alone(tmp_path):
    command = [sys.executable, "-c", SAFETENSORS_ONLY, str(tmp_path / "w.safetensors"), str(tmp_path / "w.pt")]
    subprocess.run(command, check=True, timeout=300)
