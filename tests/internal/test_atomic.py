"""Atomic writes: on a full disk, on errors, from two writers, and when the process dies."""

import contextlib
import errno
import os
import runpy
import stat
from pathlib import Path

import pytest
from processes import ROOT, run

import kerasnets
from kerasnets import plots
from kerasnets._internal import atomic

pytestmark = pytest.mark.once


class FullDisk:
    """A disk on which the process can write only the first bytes of each file."""

    def __init__(self, room=64):
        self.resource = pytest.importorskip("resource", reason="the size of files can't be limited on this system")
        self.room = room

    def __enter__(self):
        self.before = self.resource.getrlimit(self.resource.RLIMIT_FSIZE)
        self.resource.setrlimit(self.resource.RLIMIT_FSIZE, (self.room, self.before[1]))

    def __exit__(self, *error):
        self.resource.setrlimit(self.resource.RLIMIT_FSIZE, self.before)


def save_model(path):
    model = kerasnets.build("Network2")
    with atomic.replaced(path) as unfinished:
        model.save(unfinished)


def write_results(path):
    experiment = runpy.run_path(str(ROOT / "experiments" / "reproduce.py"))["write_page"]
    experiment(["| a table |"], [], [], path.parent)


def draw_curves(path):
    from kerasnets.verify import parity

    parity.plot_curves({"": {"kerasnets": [2.0, 1.0], "PyTorch": [2.0, 1.0]}}, title="Net").savefig(path)


WRITERS = {
    "results.md": write_results,
    "parity.png": draw_curves,
    "neuron.png": lambda path: plots.neuron().savefig(path),
    "a.bin": lambda path: atomic.write_bytes(path, bytes(5000)),
    "a.json": lambda path: atomic.write_json(path, list(range(5000))),
    "a.md": lambda path: atomic.replace_marked(path, "mark", ["a line"] * 5000),
    "a.pt": lambda path: kerasnets.save_state_dict(kerasnets.build("Network2"), path),
    "a.pth": lambda path: kerasnets.save_state_dict(kerasnets.build("Network2"), path),
    "a.safetensors": lambda path: kerasnets.save_state_dict(kerasnets.build("Network2"), path),
    "a.keras": save_model,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file(name, tmp_path, tmp_path_factory):
    first, path = tmp_path_factory.mktemp("first") / name, tmp_path / name
    old = "<!-- mark -->\n<!-- /mark -->\n"
    first.write_text(old)
    path.write_text(old)
    WRITERS[name](first)  # XLA writes files of its own when it compiles for a GPU
    with FullDisk(), pytest.raises(OSError, match=name) as caught:
        WRITERS[name](path)
    assert caught.value.errno == errno.EFBIG
    assert path.read_text() == old
    assert list(tmp_path.iterdir()) == [path]
    WRITERS[name](path)
    assert path.stat().st_size > 64


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file(error, tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_text("old")
    with pytest.raises(error), atomic.replaced(path) as unfinished:  # noqa: PT012
        assert unfinished.name.endswith(".weights.h5")  # Keras looks at it
        unfinished.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "function", "owner", "writer"),
    [
        ("plot_model.png", "draw_layers", "pydot.Dot", "write"),
        ("model.keras", "save_for_netron", kerasnets.models.Model, "save"),
        ("model.onnx", "save_for_netron", kerasnets.models.Model, "export"),
    ],
)
def test_a_writer_of_keras_that_fails_leaves_the_old_file(name, function, owner, writer, tmp_path, monkeypatch):
    asked = []

    def write_half(model, path, **options):
        asked.append(path)
        Path(path).write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    draw = runpy.run_path(str(ROOT / "experiments" / "graph.py"))[function]
    draw.__globals__.update(find_spec=lambda name: True, which=lambda name: True)  # as if all was installed
    if owner == "pydot.Dot":
        owner = pytest.importorskip("pydot").Dot
    monkeypatch.setattr(owner, writer, write_half)
    (tmp_path / name).write_text("old")
    with contextlib.suppress(OSError):
        draw(kerasnets.build("Network2"), tmp_path, *(["en"] if function == "draw_layers" else []))
    assert len(asked) == 1
    assert (tmp_path / name).read_text() == "old"
    assert not list(tmp_path.glob(".unfinished-*"))


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    atomic.write_json(path, "old")
    code = "import os, sys; from kerasnets._internal.atomic import replaced\nwith replaced(sys.argv[1]) as path:\n"
    done = run("-c", code + "    path.write_text('half'); os._exit(9)", str(path), check=False)
    assert done.returncode == 9
    assert path.read_text() == '"old"\n'


def test_two_writers_do_not_mix(tmp_path):
    path = tmp_path / "a.txt"
    with atomic.replaced(path) as first:
        with atomic.replaced(path) as second:
            first.write_text("first")
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_permissions_are_those_of_open(tmp_path):
    plain, new, kept = tmp_path / "plain", tmp_path / "new", tmp_path / "kept"
    plain.write_text("")
    kept.write_text("")
    kept.chmod(0o640)
    for path in (new, kept):
        atomic.write_bytes(path, b"content")
    assert stat.S_IMODE(new.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_read_only_file_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("root may write to every file")
    with pytest.raises(PermissionError, match=r"a\.txt"):
        atomic.write_bytes(path, b"new")
    assert path.read_text() == "old"


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("this system allows no links")
    atomic.write_bytes(link, b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.a\.json'$"):
        atomic.write_json(tmp_path / "absent" / "a.json", 1)
    with pytest.raises((IsADirectoryError, PermissionError), match=tmp_path.name):
        atomic.write_json(tmp_path, 1)
