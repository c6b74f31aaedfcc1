"""The table of file formats."""

import io

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import layers
from kerasnets.interop import files


def test_a_new_format_is_one_entry(tmp_path, monkeypatch):
    def to_bytes(weights):
        content = io.BytesIO()
        np.savez(content, **weights)
        return content.getvalue()

    monkeypatch.setitem(files.FORMATS, ".npz", files.Format(lambda path: dict(np.load(path)), to_bytes))
    models = [keras.Sequential([keras.Input((3,)), layers.Linear(2, name="fc")]) for _ in range(2)]
    kerasnets.save_state_dict(models[0], tmp_path / "weights.npz")
    kerasnets.load_state_dict(models[1], tmp_path / "weights.npz")
    for array, expected in zip(models[1].get_weights(), models[0].get_weights(), strict=True):
        np.testing.assert_array_equal(array, expected)
    with pytest.raises(ValueError, match=r"has the suffix '\.bin'; expected \.pt, \.pth, \.safetensors or \.npz"):
        kerasnets.load_state_dict(models[1], tmp_path / "weights.bin")


def test_every_format_gives_back_what_it_was_given(tmp_path):
    weights = {"fc.weight": np.arange(6, dtype="float32").reshape(2, 3), "fc.bias": np.ones(2, "float16")}
    for suffix in files.FORMATS:
        files.write_weights(tmp_path / f"weights{suffix}", weights)
        read = files.read_weights(tmp_path / f"weights{suffix}")
        assert read.keys() == weights.keys()
        for name, array in weights.items():
            np.testing.assert_array_equal(np.asarray(read[name]), array)
