"""Tests by backend and device, lint, and the reproduction of the documents' results.

nox                                 lint and tests on every backend (GPU sessions skip where there is no GPU)
nox -s "tests(jax, cpu)"            one backend; arguments after -- go to pytest
nox -s "keras_tests(jax)"           Keras's own tests through the fast path, against stock Keras (about ten minutes)
nox -s "comparison(jax)"            the fast path against stock Keras in some 800 cases (half an hour)
nox -s "soak(jax)"                  kills a training twenty times; the memory that trainings leave behind (half an hour)
nox -s notebooks                    runs the notebooks on every backend (a minute or two each)
nox -s reproduce                    trains everything on full data and writes docs/results.md (about an hour)
"""

import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "tests"]
nox.options.error_on_missing_interpreters = False

#: Backend → what it needs on a CPU, and on a GPU (torch's packages have CUDA in them on Linux).
NEEDS = {
    "cpu": {"torch": [".[dev,graph]"], "jax": [".[dev,jax]"], "tensorflow": [".[dev,tensorflow,tensorboard]"]},
    "gpu": {"torch": [".[dev]"], "jax": [".[dev]", "jax[cuda13]"], "tensorflow": [".[dev]", "tensorflow[and-cuda]"]},
}

backends = nox.parametrize("backend", [nox.param(name, id=name) for name in NEEDS["cpu"]])
devices = nox.parametrize("device", [nox.param(name, id=name) for name in ("cpu", "gpu")])


def why_no_gpu() -> str | None:
    """The reason why nothing can be run on a GPU here; None where it can."""
    if shutil.which("nvidia-smi") is None:
        return "no GPU: nvidia-smi is not there"
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    if found.returncode or "GPU" not in found.stdout:
        return f"no GPU: nvidia-smi -L says {(found.stdout + found.stderr).strip()!r}"
    return None


def install(session: nox.Session, backend: str, device: str = "cpu", *more: str) -> None:
    session.install("-c", "constraints.txt", *NEEDS[device][backend], *more)


@nox.session
@devices
@backends
def tests(session: nox.Session, backend: str, device: str) -> None:
    """The tests on one backend and device."""
    if device == "gpu" and (reason := why_no_gpu()):
        session.skip(reason)
    install(session, backend, device)
    # Many tests start a process: it shouldn't compile torch's and Keras's sources again, whatever the caller's setting.
    environment = {"KERAS_BACKEND": backend, "PYTHONDONTWRITEBYTECODE": None}
    workers = []
    if device == "cpu":
        # One worker a core, and one thread each: PyTorch's threads get in each other's way on shared cores.
        environment["OMP_NUM_THREADS"] = "1"
        workers = ["-n", "auto", "--dist", "loadfile"]
        # Most of the time on JAX is XLA's, for programs that run a few steps: let it compile once, and not for speed.
        environment["JAX_COMPILATION_CACHE_DIR"] = str(Path(session.create_tmp()) / "jax")
        environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    session.run("python", "-m", "pytest", "--device", device, *workers, *session.posargs, env=environment)


@nox.session
@backends
def keras_tests(session: nox.Session, backend: str) -> None:
    """Keras's own tests through the fast path: fails where one passes with stock Keras only."""
    # Whatever the backend, the tests import every framework and these packages.
    install(session, backend, "cpu", ".[jax,tensorflow]", "grain", "orbax-checkpoint", "pandas", "requests")
    environment = {"KERAS_BACKEND": backend, "PYTHONDONTWRITEBYTECODE": None, "OMP_NUM_THREADS": "1"}
    environment["JAX_COMPILATION_CACHE_DIR"] = str(Path(session.create_tmp()) / "jax")
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    session.run("python", "tests/keras_own/run.py", "-n", "auto", *session.posargs, env=environment)


@nox.session
@backends
def comparison(session: nox.Session, backend: str) -> None:
    """The fast path against stock Keras in many cases, each played both ways."""
    install(session, backend)
    environment = {"KERAS_BACKEND": backend, "PYTHONDONTWRITEBYTECODE": None, "OMP_NUM_THREADS": "1"}
    environment["JAX_COMPILATION_CACHE_DIR"] = str(Path(session.create_tmp()) / "jax")
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"  # all the programs here are small
    options = ["--device", "cpu", "--show-capture", "no", "-n", "auto", *session.posargs]
    session.run("python", "-m", "pytest", "tests/comparison/compare_fit.py", *options, env=environment)


@nox.session
@backends
def soak(session: nox.Session, backend: str) -> None:
    """A training that is killed twenty times, and the memory that trainings leave behind (half an hour)."""
    install(session, backend)
    environment = {"KERAS_BACKEND": backend, "PYTHONDONTWRITEBYTECODE": None, "OMP_NUM_THREADS": "1"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # hundreds of programs that run a few steps
    files = ["tests/soak/soak_kills.py", "tests/soak/soak_memory.py"]
    session.run("python", "-m", "pytest", "-s", *files, *session.posargs, env=environment)


@nox.session
@backends
def notebooks(session: nox.Session, backend: str) -> None:
    """The notebooks, each run from its first cell to its last; what they show is not kept."""
    install(session, backend, "cpu", ".[notebooks]")
    found = sorted(str(path) for path in Path("experiments/notebooks").glob("*.ipynb"))
    session.run("jupyter-execute", *(session.posargs or found), env={"KERAS_BACKEND": backend})


@nox.session
def lint(session: nox.Session) -> None:
    """Style and the common mistakes."""
    session.install("-c", "constraints.txt", "ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
@backends
def reproduce(session: nox.Session, backend: str) -> None:
    """The documents' trainings on full data, several seeds each, into docs/results.json and docs/results.md."""
    install(session, backend)
    session.run("python", "experiments/reproduce.py", "--backend", backend, *session.posargs)
