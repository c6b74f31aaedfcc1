"""Damaged data: other contents than the official ones, single flipped bits, gzip bombs, and what the cache keeps.

Either the right arrays come out, or one error or warning names the file. test_data_processes.py has the downloads.
"""

import gzip
import hashlib
import os
import re
import struct
import tracemalloc
import warnings

import numpy as np
import pytest
from test_data import own_places, requests, write_idx  # noqa: F401  # the fixtures
from typer.testing import CliRunner

from kerasnets import data
from kerasnets.__main__ import app
from kerasnets.data import folders, prepare
from kerasnets.data.datasets import IDX_FILES, SHA256

pytestmark = pytest.mark.once


def make_official(monkeypatch, contents, name="mnist"):
    """Take these files for the official ones of a data set."""
    digests = {file: hashlib.sha256(raw).hexdigest() for file, raw in contents.items()}
    monkeypatch.setitem(SHA256, name, digests)


def arrays_of(contents):
    """The arrays in the files' contents, without torchvision."""
    arrays = []
    for file in IDX_FILES:
        values = np.frombuffer(contents[file], np.uint8, offset=16 if "images" in file else 8)
        arrays.append(values.reshape(-1, 28, 28) if "images" in file else values.astype(np.int64))
    return arrays


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def flip(file, position, bit=0):
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


# Official contents


@pytest.mark.parametrize("place", ["root", "KERASNETS_DATA"])
def test_other_contents_in_the_users_folder_warn_at_every_load(place, monkeypatch, tmp_path, requests):  # noqa: F811
    folder = tmp_path / "mine"
    raw = write_idx(folder)
    make_official(monkeypatch, raw)
    if place == "KERASNETS_DATA":
        monkeypatch.setenv("KERASNETS_DATA", str(folder))
    root = folder if place == "root" else None
    assert_same(data.load_arrays("mnist", root), arrays_of(raw))  # a warning would be an error

    file = folder / "train-images-idx3-ubyte"
    flip(file, 1000)
    raw[file.name] = file.read_bytes()
    for _ in range(2):
        with pytest.warns(UserWarning, match=f"^Not the official 'mnist' .*, used as it is: {file}$"):
            assert_same(data.load_arrays("mnist", root), arrays_of(raw))
    assert len(requests) == 2  # the checksums are computed when a file has changed, not at every load


def test_other_contents_in_the_cache_are_an_error(monkeypatch, tmp_path):
    folder = tmp_path / "cache" / "kerasnets" / "MNIST" / "raw"
    make_official(monkeypatch, write_idx(folder))
    flip(folder / IDX_FILES[2], 1000)
    with pytest.warns(UserWarning, match="Not the official 'mnist'"):
        data.load_arrays("mnist", folder)
    message = rf"^{folder / IDX_FILES[2]} is damaged: the SHA-256 of its contents is not .*Delete it"
    for _ in range(2):  # also when the same folder was prepared as root
        with pytest.raises(data.DamagedDataError, match=message):
            data.load_arrays("mnist")


def test_what_was_prepared_before_the_checksums_were_known_is_checked(monkeypatch, tmp_path):
    write_idx(tmp_path / "root")
    data.load_arrays("mnist", tmp_path / "root")
    make_official(monkeypatch, write_idx(tmp_path / "other", seed=1))
    with pytest.warns(UserWarning, match="Not the official 'mnist'"):
        data.load_arrays("mnist", tmp_path / "root")


def test_other_contents_in_the_systems_folder_are_an_error(monkeypatch, tmp_path):
    make_official(monkeypatch, write_idx(tmp_path / "other", seed=1), "fashion_mnist")
    write_idx(tmp_path / "system", compress=True)
    with pytest.raises(data.DamagedDataError, match=r"train-images-idx3-ubyte.gz is damaged: the SHA-256"):
        data.load_arrays("fashion_mnist")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("place", ["root", "cache"])
def test_a_flipped_bit_is_never_silent(place, compress, seed, monkeypatch, tmp_path):
    folder = tmp_path / "cache" / "kerasnets" / "MNIST" / "raw"
    raw = write_idx(folder, compress=compress)
    make_official(monkeypatch, raw)
    random = np.random.default_rng(seed)
    file = folder / (random.choice(IDX_FILES) + ".gz" * compress)
    flip(file, random.integers(16 if seed % 2 else file.stat().st_size), random.integers(8))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = data.load_arrays("mnist", folder if place == "root" else None)
        except data.DamagedDataError as error:
            said = [error]
        else:
            said = [warning.message for warning in caught]
            assert place == "root" or not said
    if said:
        assert str(file) in str(said[0])
    else:
        assert compress  # gzip's header has bits without a meaning
        assert_same(found, arrays_of(raw))


# Headers and gzip


def test_a_header_can_not_ask_for_more_than_a_gib(tmp_path):
    write_idx(tmp_path)
    file = tmp_path / "train-images-idx3-ubyte"
    flip(file, 4, 7)  # the highest bit of the number of images
    with pytest.raises(data.DamagedDataError, match=f"^{file} is damaged or too large: its header says 1,683,627,2"):
        data.load_arrays("mnist", tmp_path)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_gzip_that_expands_past_its_header_is_not_expanded(name, tmp_path):
    raw = write_idx(tmp_path, compress=True)
    file = tmp_path / (name + ".gz")
    file.write_bytes(gzip.compress(raw[name] + bytes(2**26)))
    tracemalloc.start()
    try:
        with pytest.raises(data.DamagedDataError, match=f"^{file} is damaged: it holds more bytes"):
            data.load_arrays("mnist", tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_gzip_of_a_size_that_differs_from_its_trailer_is_damaged(tmp_path):
    raw = write_idx(tmp_path, compress=True)
    file = tmp_path / "t10k-images-idx3-ubyte.gz"
    packed = gzip.compress(raw["t10k-images-idx3-ubyte"])
    file.write_bytes(packed[:-4] + struct.pack("<I", 5))
    with pytest.raises(data.DamagedDataError, match=f"^{file} is damaged: its gzip data"):
        data.load_arrays("mnist", tmp_path)


# Entries of the cache


def shorter_images(arrays):
    arrays["x_train"] = arrays["x_train"][:-1]


def shorter_set(arrays):
    arrays["x_train"], arrays["y_train"] = arrays["x_train"][:-1], arrays["y_train"][:-1]


def other_type(arrays):
    arrays["y_test"] = arrays["y_test"].astype(np.int32)


def missing_array(arrays):
    del arrays["y_test"]


@pytest.mark.parametrize("change", [shorter_images, shorter_set, other_type, missing_array])
def test_an_entry_that_is_not_what_was_written_is_made_anew(change, tmp_path, requests):  # noqa: F811
    raw = write_idx(tmp_path / "root")
    data.load_arrays("mnist", tmp_path / "root")
    (entry,) = folders.user_folder().iterdir()
    with np.load(entry) as prepared:
        arrays = dict(prepared)
    change(arrays)
    np.savez(entry, **arrays)
    assert_same(data.load_arrays("mnist", tmp_path / "root"), arrays_of(raw))
    assert len(requests) == 2


def test_a_flipped_bit_in_an_entry_is_never_seen(tmp_path):
    raw = write_idx(tmp_path / "root", counts=(6, 4))
    data.load_arrays("mnist", tmp_path / "root")
    (entry,) = folders.user_folder().iterdir()
    whole = entry.read_bytes()
    random = np.random.default_rng(0)
    headers = [found.start() for found in re.finditer(b"\x93NUMPY", whole)]
    directory = whole.index(b"PK\1\2")
    positions = [random.integers(len(whole), size=20), random.integers(directory, len(whole), size=40)]
    positions += [header + random.integers(128, size=20) for header in headers]
    for position in np.concatenate(positions):
        entry.write_bytes(whole)
        flip(entry, position, random.integers(8))
        assert_same(data.load_arrays("mnist", tmp_path / "root"), arrays_of(raw))


def test_arrays_that_can_not_be_read_back_are_an_error(monkeypatch, tmp_path):
    write_idx(tmp_path / "root")
    monkeypatch.setattr(prepare, "describe", lambda arrays: {})
    with pytest.raises(RuntimeError, match=r"'mnist' could not be read from .*: the prepared arrays can't be"):
        data.load_arrays("mnist", tmp_path / "root")


# The size of the cache, and its removal


def load_several(tmp_path, names):
    """Load a data set from a folder for each name; return the sizes of the entries by name."""
    sizes = {}
    for name in names:
        if not (tmp_path / name).exists():
            write_idx(tmp_path / name)
        before = entries()
        data.load_arrays("mnist", tmp_path / name)
        sizes[name] = entries() - before
    return sizes


def entries():
    return {path.name for path in folders.user_folder().glob("mnist-*.npz")}


def test_the_least_recently_used_entries_make_room(monkeypatch, tmp_path):
    folder = folders.user_folder()
    made = load_several(tmp_path, "ab")
    size = max(path.stat().st_size for path in folder.iterdir())
    others = [folder / "mnist-mine.npz", folder / "a-0123456789abcdef.npz", folder / "notes.txt"]
    for path in others:
        path.write_bytes(bytes(size))
    download = write_idx(folder / "KMNIST" / "raw")
    for number, path in enumerate(path for name in "ab" for path in made[name]):
        os.utime(folder / path, (number, number))
    data.load_arrays("mnist", tmp_path / "a")  # used, so that b makes room, not a
    monkeypatch.setenv("KERASNETS_CACHE_LIMIT", str(2.5 * size / 2**30))
    made |= load_several(tmp_path, "c")
    assert entries() - {"mnist-mine.npz"} == made["a"] | made["c"]
    assert all(path.exists() for path in others)
    assert all((folder / "KMNIST" / "raw" / name).exists() for name in download)


def test_a_limit_of_zero_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("KERASNETS_CACHE_LIMIT", "0")
    raw = write_idx(tmp_path / "root")
    assert_same(data.load_arrays("mnist", tmp_path / "root"), arrays_of(raw))
    assert not entries()


@pytest.mark.parametrize("text", ["5 GB", "-1", "nan"])
def test_a_limit_that_is_no_number_is_an_error(text, monkeypatch, tmp_path):
    monkeypatch.setenv("KERASNETS_CACHE_LIMIT", text)
    write_idx(tmp_path / "root")
    with pytest.raises(ValueError, match=f"KERASNETS_CACHE_LIMIT='{text}'; expected a number of GiB, such as 5"):
        data.load_arrays("mnist", tmp_path / "root")


def test_clear_cache_removes_its_own_files_and_says_so(tmp_path):
    folder = folders.user_folder()
    (entry,) = load_several(tmp_path, "a")["a"]
    size = (folder / entry).stat().st_size
    (folder / "mine.npz").touch()
    (folder / ".unfinished-0123").mkdir()
    download = write_idx(folder / "KMNIST" / "raw")

    done = CliRunner().invoke(app, ["clear-cache"])
    assert done.exit_code == 0
    assert f"Removed {folder / entry} ({size / 1e6:.1f} MB)" in done.output
    assert f"Removed {folder / '.unfinished-0123'} (0.0 MB)" in done.output
    assert f"2 removed, {size / 1e6:.1f} MB.\nDownloaded data sets are kept" in done.output
    assert sorted(path.name for path in folder.iterdir()) == ["KMNIST", "mine.npz"]

    done = CliRunner().invoke(app, ["clear-cache", "--downloads"])
    assert done.exit_code == 0
    assert f"Removed {folder / 'KMNIST' / 'raw' / IDX_FILES[0]} (" in done.output
    assert "4 removed" in done.output
    assert not [name for name in download if (folder / "KMNIST" / "raw" / name).exists()]
    assert (folder / "mine.npz").exists()


def test_clear_cache_without_a_cache():
    done = CliRunner().invoke(app, ["clear-cache"])
    assert done.exit_code == 0
    assert done.output.startswith("0 removed")
