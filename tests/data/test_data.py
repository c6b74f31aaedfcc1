"""`load_data` against torchvision itself, the order of places, and files and caches that are not as they should be.

The process that reads files with torchvision is replaced here by a call, since this process has torchvision anyway;
test_data_processes.py runs the real one.
"""

import concurrent.futures
import gzip
import hashlib
import json
import os
import socket
import struct
import zipfile
from pathlib import Path

import cifar10
import numpy as np
import pytest
import torchvision
from torchvision import transforms

import kerasnets
from kerasnets import data
from kerasnets.data import cache, folders, make_sample, prepare
from kerasnets.data.datasets import DATASETS, DEBIAN_PACKAGES, IDX_FILES, SHA256
from kerasnets.data.load import SAMPLE_FILE

pytestmark = pytest.mark.once

_, DEBIAN = DEBIAN_PACKAGES["fashion_mnist"]
FULL_DATA = os.environ.get("KERASNETS_DATA")
OFFICIAL = dict(SHA256)


@pytest.fixture(autouse=True)
def own_places(monkeypatch, tmp_path):
    """No test sees the machine's own data, cache or network, and small files pass for the official ones."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KERASNETS_DATA", raising=False)
    monkeypatch.setitem(DEBIAN_PACKAGES, "fashion_mnist", ("dataset-fashion-mnist", tmp_path / "system"))
    monkeypatch.delenv("KERASNETS_CACHE_LIMIT", raising=False)
    for name in OFFICIAL:
        monkeypatch.delitem(SHA256, name)
    monkeypatch.setattr(folders, "_replacement", None)
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nothing listens there: a download fails at once
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    timeout = socket.getdefaulttimeout()
    yield
    socket.setdefaulttimeout(timeout)


@pytest.fixture(autouse=True)
def requests(monkeypatch):
    """The requests to the process that reads with torchvision, answered in this one."""
    seen = []

    def run(request):
        seen.append(json.loads(json.dumps(request)))
        return prepare.answer(json.loads(json.dumps(request)))

    monkeypatch.setattr(cache, "_run", run)
    return seen


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder, seed=0, counts=(60, 20), compress=False):
    """Write an IDX data set of random images; return its files' contents by name."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    contents = {}
    for split, count in zip(("train", "t10k"), counts, strict=True):
        contents[f"{split}-images-idx3-ubyte"] = idx(random.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        contents[f"{split}-labels-idx1-ubyte"] = idx(random.integers(0, 10, count, dtype=np.uint8))
    for name, raw in contents.items():
        (folder / (name + ".gz" * compress)).write_bytes(gzip.compress(raw) if compress else raw)
    return contents


def torchvision_arrays(kind, root):
    """What the original's transform gives: ((x, y), (x_test, y_test)), channels last."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    splits = []
    for train in (True, False):
        images, labels = zip(*kind(root, train=train, transform=transform), strict=True)
        images = np.stack([image.numpy() for image in images])
        images = images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)
        splits.append((images, np.array(labels)))
    return splits


def assert_same(found, expected):
    for (x, y), (x_expected, y_expected) in zip(found, expected, strict=True):
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        np.testing.assert_array_equal(x, x_expected, strict=True)
        np.testing.assert_array_equal(y, y_expected, strict=True)


# The same as torchvision


@pytest.mark.parametrize("name", [name for name, dataset in DATASETS.items() if dataset.is_idx])
def test_images_are_torchvisions_bit_for_bit(name, tmp_path):
    kind = getattr(torchvision.datasets, DATASETS[name].torchvision)
    raw = write_idx(tmp_path / DATASETS[name].torchvision / "raw")
    assert len(set(raw["train-images-idx3-ubyte"][16:])) == 256  # every grey value
    expected = torchvision_arrays(kind, tmp_path)
    assert_same(kerasnets.load_data(name, tmp_path), expected)
    assert_same(kerasnets.load_data(name, str(tmp_path)), expected)  # from the cache


def test_cifar10_is_torchvisions_bit_for_bit(monkeypatch, tmp_path):
    cifar10.write(tmp_path, monkeypatch)
    (x, y), (x_test, y_test) = kerasnets.load_data("cifar10", tmp_path)
    assert x.shape == (60, 32, 32, 3)
    assert x_test.shape == (12, 32, 32, 3)
    assert_same([(x, y), (x_test, y_test)], torchvision_arrays(torchvision.datasets.CIFAR10, tmp_path))


@pytest.mark.full_data
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_full_data_are_torchvisions_bit_for_bit(name):
    kind = getattr(torchvision.datasets, DATASETS[name].torchvision)
    (x, y), (x_test, y_test) = kerasnets.load_data(name, FULL_DATA)
    assert x.shape == (60000, 28, 28)
    assert x_test.shape == (10000, 28, 28)
    for images, labels, train in ((x, y, True), (x_test, y_test, False)):
        original = kind(FULL_DATA, train=train)
        expected = transforms.Normalize((0.5,), (0.5,))(original.data.float().div(255)[:, None])[:, 0]
        np.testing.assert_array_equal(images, expected.numpy())
        np.testing.assert_array_equal(labels, original.targets.numpy())


@pytest.mark.parametrize("name", [name for name, dataset in DATASETS.items() if dataset.is_idx])
def test_class_names_are_torchvisions(name):
    assert data.class_names(name) == getattr(torchvision.datasets, DATASETS[name].torchvision).classes


def test_class_names_of_cifar10_are_in_the_file_that_torchvision_expects():
    assert hashlib.md5(cifar10.class_file()).hexdigest() == torchvision.datasets.CIFAR10.meta["md5"]


def test_class_names_of_the_sample_are_fashion_mnists():
    assert data.class_names("fashion_mnist_sample") == torchvision.datasets.FashionMNIST.classes


@pytest.mark.parametrize("call", [kerasnets.load_data, data.class_names, data.load_arrays])
def test_a_wrong_name_lists_the_right_ones(call):
    with pytest.raises(ValueError, match=f"'fashion-mnist'.*{', '.join(map(repr, data.NAMES))}"):
        call("fashion-mnist")


# The sample


def test_sample_is_stratified_and_needs_no_other_file(requests):
    (x, y), (x_test, y_test) = kerasnets.load_data("fashion_mnist_sample")
    assert x.shape == (6000, 28, 28)
    assert x_test.shape == (1000, 28, 28)
    assert x.dtype == x_test.dtype == np.float32
    assert y.dtype == y_test.dtype == np.int64
    assert x.min() == x_test.min() == -1
    assert x.max() == x_test.max() == 1
    np.testing.assert_array_equal(np.bincount(y), [600] * 10)
    np.testing.assert_array_equal(np.bincount(y_test), [100] * 10)
    assert not requests
    assert not folders.user_folder().exists()


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_sample_is_what_the_script_cuts(tmp_path, monkeypatch):
    monkeypatch.setitem(SHA256, "fashion_mnist", OFFICIAL["fashion_mnist"])  # other contents would warn
    make_sample.cut_sample(DEBIAN, tmp_path / "first.npz")
    make_sample.cut_sample(DEBIAN, tmp_path / "second.npz")
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    # Another build of zlib may pack the same contents otherwise, so the committed file is compared unpacked.
    with zipfile.ZipFile(tmp_path / "first.npz") as cut, zipfile.ZipFile(SAMPLE_FILE) as committed:
        assert [(m.filename, m.date_time) for m in cut.infolist()] == [
            (m.filename, m.date_time) for m in committed.infolist()
        ]
        for name in committed.namelist():
            assert cut.read(name) == committed.read(name)


def test_sample_has_its_licence_beside_it():
    text = SAMPLE_FILE.with_name("LICENSE.fashion-mnist").read_text()
    assert "MIT License" in text
    assert "2017 Zalando SE" in text


# The places, in their order


def test_places_are_tried_in_order(monkeypatch, tmp_path):
    places = {
        "root": tmp_path / "root",
        "variable": tmp_path / "variable",
        "cache": tmp_path / "cache" / "kerasnets",
        "system": tmp_path / "system",
    }
    first = {}
    for seed, (place, folder) in enumerate(places.items()):
        inside = folder if place == "system" else folder / "FashionMNIST" / "raw"
        raw = write_idx(inside, seed, compress=place == "system")
        first[place] = raw["train-images-idx3-ubyte"][16]
    assert len(set(first.values())) == len(first)
    monkeypatch.setenv("KERASNETS_DATA", str(places["variable"]))

    def loaded(**options):
        return data.load_arrays("fashion_mnist", **options)[0].flat[0]

    assert loaded(root=places["root"]) == first["root"]
    assert loaded() == first["variable"]
    (places["variable"] / "FashionMNIST" / "raw" / IDX_FILES[1]).unlink()  # incomplete: on to the next place
    assert loaded() == first["cache"]
    monkeypatch.delenv("KERASNETS_DATA")
    assert loaded() == first["cache"]
    for name in IDX_FILES:
        (places["cache"] / "FashionMNIST" / "raw" / name).unlink()
    assert loaded() == first["system"]


@pytest.mark.parametrize("inside", ["", "MNIST/raw"])
@pytest.mark.parametrize("compress", [False, True])
def test_root_takes_torchvisions_layout_and_the_files_themselves(inside, compress, tmp_path):
    raw = write_idx(tmp_path / inside, compress=compress)
    x, y, _, _ = data.load_arrays("mnist", tmp_path)
    assert x.tobytes() == raw["train-images-idx3-ubyte"][16:]
    assert y.astype(np.uint8).tobytes() == raw["train-labels-idx1-ubyte"][8:]


def test_an_explicit_root_without_the_files_is_an_error(monkeypatch, tmp_path, requests):
    monkeypatch.setenv("KERASNETS_DATA", str(tmp_path / "variable"))
    write_idx(tmp_path / "variable")
    for root, reason in ((tmp_path / "nowhere", "does not exist"), (tmp_path, "has neither MNIST/raw/train-images")):
        with pytest.raises(data.DataNotFoundError, match=reason) as caught:
            kerasnets.load_data("mnist", root)
        assert str(root) in str(caught.value)
    assert not requests  # no download either


def test_an_incomplete_folder_names_what_it_lacks(tmp_path):
    write_idx(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(data.DataNotFoundError, match=r"lacks t10k-labels-idx1-ubyte in .*MNIST/raw"):
        kerasnets.load_data("mnist", tmp_path)


def test_files_of_another_data_set_are_not_taken(monkeypatch, tmp_path):
    raw = write_idx(tmp_path)  # the files of MNIST and Fashion-MNIST have the same names
    digest = hashlib.sha256(raw["t10k-labels-idx1-ubyte"]).hexdigest()
    monkeypatch.setitem(SHA256, "fashion_mnist", {"t10k-labels-idx1-ubyte": digest})
    assert len(data.load_arrays("fashion_mnist", tmp_path)[0]) == 60
    with pytest.raises(data.DataNotFoundError, match="holds the files of 'fashion_mnist'"):
        kerasnets.load_data("mnist", tmp_path)


def test_nothing_anywhere_is_one_message(monkeypatch, tmp_path):
    monkeypatch.setenv("KERASNETS_DATA", str(tmp_path / "variable"))
    with pytest.raises(data.DataNotFoundError) as caught:
        kerasnets.load_data("fashion_mnist")
    message = str(caught.value)
    assert caught.value.__cause__ is None
    for part in (
        f"KERASNETS_DATA: {tmp_path / 'variable'} does not exist",
        f"the user's cache: {tmp_path / 'cache' / 'kerasnets'} does not exist",
        f"the system's folder: {tmp_path / 'system'} does not exist",
        "download: RuntimeError: Error downloading train-images-idx3-ubyte.gz",
        "KERASNETS_DATA=FOLDER",
        "root=FOLDER",
        "apt-get install dataset-fashion-mnist",
        "access to the internet",
        "fashion_mnist_sample",
    ):
        assert part in message

    with pytest.raises(data.DataNotFoundError, match=r"download=False") as caught:
        kerasnets.load_data("mnist", download=False)
    assert "apt-get" not in str(caught.value)  # that package has Fashion-MNIST alone


def test_locations_prepare_nothing(monkeypatch, tmp_path, requests):
    monkeypatch.setenv("KERASNETS_DATA", str(tmp_path / "variable"))
    write_idx(tmp_path / "variable" / "MNIST" / "raw")
    states = dict(data.locations())
    assert states["mnist"] == f"{tmp_path / 'variable' / 'MNIST' / 'raw'} (KERASNETS_DATA)"
    assert "not found" in states["fashion_mnist"]
    assert "apt-get install dataset-fashion-mnist" in states["fashion_mnist"]
    assert str(SAMPLE_FILE) in states["fashion_mnist_sample"]
    assert states["cache"] == str(tmp_path / "cache" / "kerasnets")
    assert not requests
    assert not (tmp_path / "cache").exists()


# Damaged files


def damage_truncated(raw):
    return raw[: len(raw) // 2]


def damage_header(raw):
    return b"<htm" + raw[4:]


def damage_empty(raw):
    return b""


def damage_longer(raw):
    return raw + b"\0"


@pytest.mark.parametrize("name", IDX_FILES)
@pytest.mark.parametrize("damage", [damage_truncated, damage_header, damage_empty, damage_longer])
def test_a_damaged_file_is_named(name, damage, tmp_path):
    raw = write_idx(tmp_path)
    (tmp_path / name).write_bytes(damage(raw[name]))
    with pytest.raises(data.DamagedDataError, match=f"^{tmp_path / name} is damaged") as caught:
        kerasnets.load_data("mnist", tmp_path)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("name", IDX_FILES)
@pytest.mark.parametrize("where", ["truncated", "corrupt", "checksum"])
def test_a_damaged_gzip_file_is_named(name, where, tmp_path):
    write_idx(tmp_path, compress=True)
    file = tmp_path / (name + ".gz")
    packed = bytearray(file.read_bytes())
    if where == "truncated":
        del packed[len(packed) // 2 :]
    else:
        packed[len(packed) // 2 if where == "corrupt" else -8] ^= 0xFF
    file.write_bytes(packed)
    with pytest.raises(data.DamagedDataError, match=f"^{file} is damaged"):
        kerasnets.load_data("mnist", tmp_path)


def test_counts_that_differ_name_both_files(tmp_path):
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(59, np.uint8)))
    with pytest.raises(
        data.DamagedDataError, match=r"train-images-\S+ holds 60 images, but .*labels-\S+ holds 59 labels"
    ):
        kerasnets.load_data("mnist", tmp_path)


def test_labels_beyond_the_classes_and_other_sizes_are_errors(tmp_path):
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(20, 10, np.uint8)))
    with pytest.raises(data.DamagedDataError, match=r"t10k-labels-idx1-ubyte is damaged: label 10"):
        kerasnets.load_data("mnist", tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((60, 32, 32), np.uint8)))
    with pytest.raises(data.DamagedDataError, match=r"shape \(60, 32, 32\); expected \('n', 28, 28\)"):
        kerasnets.load_data("mnist", tmp_path)


def test_a_file_that_can_not_be_read_is_named(monkeypatch, tmp_path):
    write_idx(tmp_path)
    file = tmp_path / "train-labels-idx1-ubyte"
    open_file = Path.open

    def refuse(path, *args, **options):
        if path == file:
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(data.DamagedDataError, match=f"{file} can't be read: Permission denied"):
        kerasnets.load_data("mnist", tmp_path)


def test_a_damaged_cifar10_file_is_named_and_not_unpickled(monkeypatch, tmp_path):
    folder = cifar10.write(tmp_path, monkeypatch)
    (folder / "data_batch_3").write_bytes(b"cbuiltins\nexit\n(I3\ntR.")
    with pytest.raises(data.DamagedDataError, match=f"^{folder / 'data_batch_3'} is damaged: its MD5"):
        kerasnets.load_data("cifar10", tmp_path)


# The cache


def prepared_files():
    return sorted(path.name for path in folders.user_folder().iterdir())


def test_files_are_read_once(tmp_path, requests):
    write_idx(tmp_path)
    for _ in range(3):
        kerasnets.load_data("mnist", tmp_path)
    assert len(requests) == 1
    assert len(prepared_files()) == 1


def test_a_relative_root_is_the_same_folder(monkeypatch, tmp_path, requests):
    write_idx(tmp_path / "root")
    monkeypatch.chdir(tmp_path)
    assert_same(kerasnets.load_data("mnist", "root"), kerasnets.load_data("mnist", tmp_path / "root"))
    assert len(requests) == 1


def test_a_damaged_download_says_how_to_get_it_again(tmp_path):
    raw = write_idx(tmp_path / "cache" / "kerasnets" / "MNIST" / "raw")
    file = tmp_path / "cache" / "kerasnets" / "MNIST" / "raw" / IDX_FILES[0]
    file.write_bytes(damage_truncated(raw[IDX_FILES[0]]))
    with pytest.raises(data.DamagedDataError, match=f"^{file} is damaged.*Delete it to have it downloaded again"):
        kerasnets.load_data("mnist")


def test_changed_files_and_other_roots_are_read_anew(tmp_path):
    for seed, folder in enumerate((tmp_path / "a", tmp_path / "b", tmp_path / "a")):
        raw = write_idx(folder, seed)
        file = folder / "train-images-idx3-ubyte"
        os.utime(file, ns=(0, 0))  # the same size and modification time each time
        x = data.load_arrays("mnist", folder)[0]
        assert x.tobytes() == raw["train-images-idx3-ubyte"][16:]
    assert len(prepared_files()) == 2  # one a root: the stale one was replaced


def test_a_replaced_file_with_old_times_is_read_anew(tmp_path):
    write_idx(tmp_path / "a", 1)
    raw = write_idx(tmp_path / "b", 2)
    for folder in ("a", "b"):
        for name in IDX_FILES:
            os.utime(tmp_path / folder / name, ns=(0, 0))
    data.load_arrays("mnist", tmp_path / "a")
    for name in IDX_FILES:
        (tmp_path / "b" / name).replace(tmp_path / "a" / name)
    assert data.load_arrays("mnist", tmp_path / "a")[0].tobytes() == raw["train-images-idx3-ubyte"][16:]


@pytest.mark.parametrize("damage", [damage_truncated, damage_header, damage_empty])
def test_damaged_prepared_arrays_are_made_anew(damage, tmp_path, requests):
    write_idx(tmp_path / "root")
    expected = kerasnets.load_data("mnist", tmp_path / "root")
    (file,) = folders.user_folder().iterdir()
    file.write_bytes(damage(file.read_bytes()))
    if damage is damage_header:
        middle = bytearray(file.read_bytes())
        middle[len(middle) // 2] ^= 0xFF  # a pixel: the checksum in the file shows it
        file.write_bytes(middle)
    assert_same(kerasnets.load_data("mnist", tmp_path / "root"), expected)
    assert len(requests) == 2


def test_an_interrupted_preparation_leaves_nothing(monkeypatch, tmp_path):
    write_idx(tmp_path / "root")
    run = cache._run

    def interrupted(request):
        Path(request["work"], "arrays.npz").write_bytes(b"PK half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kerasnets.load_data("mnist", tmp_path / "root")
    assert prepared_files() == []

    # A killed one leaves its temporary folder, which nobody takes for a result, and which the next one removes.
    (folders.user_folder() / ".unfinished-x").mkdir()
    (folders.user_folder() / ".unfinished-x" / "arrays.npz").write_bytes(b"PK half of it")
    monkeypatch.setattr(cache, "_run", run)
    assert len(data.load_arrays("mnist", tmp_path / "root")[0]) == 60
    assert [Path(name).suffix for name in prepared_files()] == [".npz"]


def test_preparations_at_the_same_time(tmp_path):
    raw = write_idx(tmp_path / "root")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: data.load_arrays("mnist", tmp_path / "root"), range(8)))
    for x, *_ in results:
        assert x.tobytes() == raw["train-images-idx3-ubyte"][16:]
    assert len(prepared_files()) == 1


def test_a_cache_that_can_not_be_written_to_warns_once(monkeypatch, tmp_path, requests):
    write_idx(tmp_path / "root")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    write_idx(tmp_path / "other")
    with pytest.warns(UserWarning, match=f"{tmp_path / 'file' / 'kerasnets'} can't be written to"):
        first = kerasnets.load_data("mnist", tmp_path / "root")
    # No second warning (it would be an error), and the same temporary folder.
    assert_same(kerasnets.load_data("mnist", tmp_path / "root"), first)
    kerasnets.load_data("mnist", tmp_path / "other")
    assert len(requests) == 2


def test_a_process_that_dies_is_reported_in_words(monkeypatch, tmp_path):
    write_idx(tmp_path)
    monkeypatch.setattr(cache, "_run", lambda request: {"failed": "the Python process ended with exit status -9"})
    with pytest.raises(RuntimeError, match=f"'mnist' could not be read from {tmp_path}: .* exit status -9"):
        kerasnets.load_data("mnist", tmp_path)
