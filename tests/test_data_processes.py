"""`load_data` with its real process for torchvision: whatever was imported before, downloads, messages."""

import gzip
import hashlib
import http.server
import importlib.util
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from test_data import write_idx
from torchvision.datasets import FashionMNIST

import kerasnets
from kerasnets import data
from kerasnets.data import cache, prepare, sources
from kerasnets.data.datasets import DATASETS

CHECKOUT = Path(kerasnets.__file__).parent.parent


@pytest.fixture
def root(monkeypatch, tmp_path):
    """A folder with a small MNIST, as the user set it, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERASNETS_DATA", str(tmp_path / "root"))
    monkeypatch.setattr(cache, "_replacement", None)
    write_idx(tmp_path / "root" / "MNIST" / "raw")
    return tmp_path / "root"


def python(code, cwd, **environment):
    """Run code in a fresh process on the active backend; return what it printed."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": kerasnets.backend.backend(),
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_load_data_imports_no_framework(root, tmp_path):
    # The folder the user works in has a file that would hide a module of the other process.
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    out = python(
        """
import sys
del sys.path[0]
import os
import kerasnets
os.environ["KERAS_BACKEND"] = "not_installed"
for _ in range(2):
    (x, y), (x_test, y_test) = kerasnets.load_data("mnist")
print(x.shape, y_test.shape, sorted({"torch", "torchvision", "keras", "jax", "tensorflow"} & set(sys.modules)))
""",
        tmp_path,
    )
    assert out == "(60, 28, 28) (20,) []\n"


def test_load_data_after_tensorflow_keras_and_model_save(root, tmp_path):
    # torchvision, imported after TensorFlow or after what model.save imports, can abort a process.
    first = "import tensorflow" if importlib.util.find_spec("tensorflow") else ""
    out = python(
        f"""
{first}
import sys
import keras
import kerasnets
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.save("model.keras")
print(kerasnets.load_data("mnist")[0][0].shape, "torch" in sys.modules, "torchvision" in sys.modules)
""",
        tmp_path,
    )
    on_torch = kerasnets.backend.backend() == "torch"
    assert out.splitlines()[-1] == f"(60, 28, 28) {on_torch} False"


def test_a_damaged_file_shows_no_traceback_of_the_other_process(root, capfd):
    file = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(data.DamagedDataError, match=f"^{file} is damaged"):
        kerasnets.load_data("mnist")
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """A server of a small Fashion-MNIST, which torchvision takes for the real one, in other processes, too."""
    folder = tmp_path / "mirror"
    contents = write_idx(folder, compress=True)
    resources = [(name + ".gz", hashlib.md5((folder / (name + ".gz")).read_bytes()).hexdigest()) for name in contents]

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(FashionMNIST, "mirrors", [url])
        monkeypatch.setattr(FashionMNIST, "resources", resources)
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(
            "from torchvision.datasets import FashionMNIST\n"
            f"FashionMNIST.mirrors = {[url]}\n"
            f"FashionMNIST.resources = {resources!r}\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(sources, "SYSTEM_FOLDERS", {})
        yield folder
        server.shutdown()
        thread.join()


def test_download_with_a_progress_bar(root, mirror, capfd, monkeypatch):
    run = cache._run
    monkeypatch.setattr(cache, "_run", lambda r: run(r) if r["task"] == "download" else prepare.answer(r))
    x, *_ = data.load_arrays("fashion_mnist")
    images = gzip.decompress((mirror / "train-images-idx3-ubyte.gz").read_bytes())
    np.testing.assert_array_equal(x.ravel(), np.frombuffer(images, np.uint8, offset=16))
    assert "100" in capfd.readouterr().err  # per cent
    found, _ = sources.find(DATASETS["fashion_mnist"])
    assert found.folder == (cache.user_folder() / "FashionMNIST" / "raw").resolve()


def test_a_download_with_another_checksum_leaves_nothing(root, mirror, monkeypatch):
    monkeypatch.setattr(cache, "_run", prepare.answer)
    timeout = socket.getdefaulttimeout()
    with (mirror / "t10k-labels-idx1-ubyte.gz").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(data.DataNotFoundError, match=r"download: RuntimeError: .*t10k-labels.*corrupted"):
        kerasnets.load_data("fashion_mnist")
    socket.setdefaulttimeout(timeout)
    assert list(cache.user_folder().iterdir()) == []
