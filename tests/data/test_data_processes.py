"""`load_data` with its real process for torchvision: whatever was imported before, downloads, messages."""

import gzip
import hashlib
import http.server
import importlib.util
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_data import write_idx
from torchvision.datasets import FashionMNIST

import kerasnets
from kerasnets import data
from kerasnets.data import cache, folders, prepare, sources
from kerasnets.data.datasets import DATASETS, DEBIAN_PACKAGES, SHA256

CHECKOUT = Path(kerasnets.__file__).parent.parent


@pytest.fixture
def root(monkeypatch, tmp_path):
    """A folder with a small MNIST, as the user set it, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERASNETS_DATA", str(tmp_path / "root"))
    monkeypatch.setattr(folders, "_replacement", None)
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


@pytest.mark.once
def test_a_damaged_file_shows_no_traceback_of_the_other_process(root, capfd):
    file = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(data.DamagedDataError, match=f"^{file} is damaged"):
        kerasnets.load_data("mnist")
    assert capfd.readouterr() == ("", "")


class Server(http.server.ThreadingHTTPServer):
    """A server of the files in `folder`, on the loopback address; `fault(handler, body)` answers in place of it."""

    folder: Path
    fault = None
    requests = 0


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, request, address, server):
        super().__init__(request, address, server, directory=server.folder)

    def do_GET(self):
        self.server.requests += 1
        if self.server.fault is None:
            super().do_GET()
        else:
            self.server.fault(self, Path(self.translate_path(self.path)).read_bytes())

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """A server of a small Fashion-MNIST, which torchvision and kerasnets take for the real one."""
    folder = tmp_path / "mirror"
    contents = write_idx(folder, compress=True)
    resources = [(name + ".gz", hashlib.md5((folder / (name + ".gz")).read_bytes()).hexdigest()) for name in contents]
    digests = {name: hashlib.sha256(raw).hexdigest() for name, raw in contents.items()}
    with Server(("127.0.0.1", 0), Handler) as server:
        server.folder = folder
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(FashionMNIST, "mirrors", [url])
        monkeypatch.setattr(FashionMNIST, "resources", resources)
        monkeypatch.setitem(SHA256, "fashion_mnist", digests)
        monkeypatch.delitem(DEBIAN_PACKAGES, "fashion_mnist")
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(
            "import sys\n"
            "if sys.orig_argv[-1].endswith('prepare.py'):\n"
            "    from torchvision.datasets import FashionMNIST\n"
            f"    FashionMNIST.mirrors = {[url]}\n"
            f"    FashionMNIST.resources = {resources!r}\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def in_this_process(monkeypatch):
    """torchvision downloads and reads in this process, which is faster."""
    monkeypatch.setattr(cache, "_run", prepare.answer)
    timeout = socket.getdefaulttimeout()
    yield
    socket.setdefaulttimeout(timeout)


def images_of(mirror):
    """The training images on the server."""
    raw = gzip.decompress((mirror.folder / "train-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)


def in_the_cache():
    return sorted(path.name for path in folders.user_folder().iterdir() if path.suffix != ".lock")


@pytest.mark.once
def test_download_with_a_progress_bar(root, mirror, capfd, monkeypatch):
    run = cache._run
    monkeypatch.setattr(cache, "_run", lambda r: run(r) if r["task"] == "download" else prepare.answer(r))
    x, *_ = data.load_arrays("fashion_mnist")
    np.testing.assert_array_equal(x, images_of(mirror))
    assert "100" in capfd.readouterr().err  # per cent
    found, _ = sources.find(DATASETS["fashion_mnist"])
    assert found.folder == (folders.user_folder() / "FashionMNIST" / "raw").resolve()


@pytest.mark.once
def test_a_download_with_another_checksum_leaves_nothing(root, mirror, in_this_process):
    with (mirror.folder / "t10k-labels-idx1-ubyte.gz").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(data.DataNotFoundError, match=r"download: RuntimeError: .*corrupted"):
        kerasnets.load_data("fashion_mnist")
    assert in_the_cache() == []


def answer(handler, body, length=None, status=200):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def ends_early(handler, body):
    answer(handler, body[: len(body) // 2], len(body))


def ends_early_without_a_length(handler, body):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])


def ends_early_in_a_chunk(handler, body):
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(f"{len(body):x}\r\n".encode() + body[: len(body) // 2])
    handler.close_connection = True


def resets(handler, body):
    ends_early(handler, body)
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()  # with RST: what was not read yet is lost, too


def hangs(handler, body):
    ends_early(handler, body)
    time.sleep(1)


def fails(handler, body):
    answer(handler, b"", status=500)


def sends_a_page(handler, body):
    answer(handler, b"<!DOCTYPE html><title>Sign in to this network</title>")


def sends_other_bytes(handler, body):
    answer(handler, body[:-20] + bytes([body[-20] ^ 1]) + body[-19:])


def sends_another_file(handler, body):
    answer(handler, gzip.compress(gzip.decompress(body)[:-1] + b"\7"))


FAULTS = [
    ends_early,
    ends_early_without_a_length,
    ends_early_in_a_chunk,
    resets,
    hangs,
    fails,
    sends_a_page,
    sends_other_bytes,
    sends_another_file,
]


@pytest.mark.once
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # urllib leaves HTTP errors open
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("good", [0, 2])
def test_a_failed_download_is_one_error_and_the_next_one_succeeds(
    fault, good, root, mirror, in_this_process, monkeypatch
):
    def faulty(handler, body):
        """`good` files come whole; torchvision asks for each twice, first for where it is."""
        answer(handler, body) if mirror.requests <= 2 * good else fault(handler, body)

    monkeypatch.setattr(prepare, "TIMEOUT", 0.3)
    mirror.fault = faulty
    with pytest.raises(data.DataNotFoundError, match=r"(?m)^  - download: \w+: ") as caught:
        data.load_arrays("fashion_mnist")
    assert "Traceback" not in str(caught.value)
    assert in_the_cache() == []
    mirror.fault = None
    np.testing.assert_array_equal(data.load_arrays("fashion_mnist")[0], images_of(mirror))


@pytest.mark.once
def test_a_download_that_was_killed_half_way_is_completed(root, mirror, in_this_process):
    folder = folders.user_folder() / "FashionMNIST" / "raw"
    write_idx(folder)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    (folder / "train-images-idx3-ubyte").write_bytes(b"")
    np.testing.assert_array_equal(data.load_arrays("fashion_mnist")[0], images_of(mirror))


def start(code, **options):
    """Start a fresh process that sees this checkout first."""
    path = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "KERAS_BACKEND": kerasnets.backend.backend(), "PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.once
def test_four_processes_fetch_into_an_empty_cache_at_once(root, mirror):
    code = f"""
from kerasnets import data
from kerasnets.data import datasets
datasets.SHA256["fashion_mnist"] = {SHA256["fashion_mnist"]}
datasets.DEBIAN_PACKAGES.clear()
x, y, x_test, y_test = data.load_arrays("fashion_mnist")
print(x.tobytes().hex())
"""
    processes = [start(code) for _ in range(4)]
    for process in processes:
        out, error = process.communicate()
        assert process.returncode == 0, error
        assert out.strip() == images_of(mirror).tobytes().hex()
    assert mirror.requests == 8  # one of them downloaded the four files
    assert [name.partition("-")[0] for name in in_the_cache()] == ["FashionMNIST", "fashion_mnist"]


@pytest.mark.once
def test_the_folder_of_a_preparation_is_removed_when_its_process_was_killed(root):
    code = "from kerasnets.data import folders\nwith folders.workspace() as (_, work): print(work, flush=True); input()"
    with start(code, stdin=subprocess.PIPE) as process:
        work = process.stdout.readline().strip()
        with folders.workspace() as (folder, _):
            assert work in map(str, folder.iterdir())  # still at work
        process.kill()
    assert work in map(str, folder.iterdir())
    with folders.workspace():
        pass
    assert not list(folder.iterdir())
