"""Processes of Python for what a user starts, and for what depends on the order of imports or on being killed."""

import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(*arguments: str, backend: str | None = None, check: bool = True, **variables: str | None):
    """Run Python with `arguments` in the project's root; returns the finished process with its output as text.

    `backend` is put into KERAS_BACKEND (default: as here); a variable given as None is taken out of the environment.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=_environment(backend, variables),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def run_forked(*arguments: str, check: bool = True, **variables: str | None):
    """:func:`run` in a fork of a process that has Keras imported, with the active backend.

    To import Keras takes longer than most of what is tested. Not for what depends on the order of imports.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "stdout"), Path(folder, "stderr")
        process = _forkserver().Process(target=_play, args=(arguments, _environment(None, variables), *files))
        process.start()
        process.join(600)
        process.kill()
        process.join()
        done = subprocess.CompletedProcess(arguments, process.exitcode, *(file.read_text() for file in files))
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def _environment(backend: str | None, variables: dict[str, str | None]) -> dict[str, str]:
    changed = {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", **({"KERAS_BACKEND": backend} if backend else {})}
    whole = {**os.environ, **changed, **variables}
    return {name: value for name, value in whole.items() if value is not None}


def _forkserver():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torchvision", "keras", "matplotlib.pyplot"])  # in this order: see conftest.py
    return context


def _play(arguments, environment, stdout, stderr):
    """What ``python *arguments`` does, with the output in files."""
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in ((1, stdout), (2, stderr)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    # What multiprocessing keeps of its parent's modules and arguments isn't there in a new process.
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    code = 1
    try:
        _run_python(list(arguments))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run_python(arguments: list[str]) -> None:
    first, *rest = arguments
    if first == "-c":
        sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.argv, sys.path[0] = rest, str(ROOT)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = str(Path(first).parent)
        runpy.run_path(first, run_name="__main__")
