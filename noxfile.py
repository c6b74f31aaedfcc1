"""Tests by backend and device, lint, and the reproduction of the documents' results.

nox                                 lint and tests on every backend (GPU sessions skip where there is no GPU)
nox -s "tests(jax, cpu)"            one backend; arguments after -- go to pytest
nox -s pythons lowest nightly       other Pythons, the lowest versions, and the Keras that comes next
nox -s "keras_tests(jax)"           Keras's own tests through the fast path, against stock Keras (about ten minutes)
nox -s "comparison(jax)"            the fast path against stock Keras in some 800 cases (half an hour)
nox -s "soak(jax)"                  kills trainings and sweeps; the memory that trainings leave behind (an hour)
nox -s notebooks                    runs the notebooks on every backend (a minute or two each)
nox -s "notebooks(torch)" -- --store
                                    runs them in both languages and stores what they show
nox -s docs                         builds the site in English and Chinese into out/site/html
nox -s build                        builds wheel and sdist into dist, and trains with the wheel in an empty environment
nox -s reproduce                    trains everything on full data and writes docs/results.md (about an hour)
"""

import runpy
import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "tests"]
nox.options.error_on_missing_interpreters = False

# By its path: kerasnets and its requirements are not installed where nox runs.
BACKENDS = runpy.run_path(str(Path(__file__).with_name("kerasnets") / "backend" / "choice.py"))["BACKENDS"]
#: Backend → the further extra that is tested with it.
TESTED_WITH = {"torch": "graph", "tensorflow": "tensorboard"}

backends = nox.parametrize("backend", [nox.param(name, id=name) for name in BACKENDS])
devices = nox.parametrize("device", [nox.param(name, id=name) for name in ("cpu", "gpu")])


def why_no_gpu() -> str | None:
    """The reason why nothing can be run on a GPU here; None where it can."""
    if shutil.which("nvidia-smi") is None:
        return "no GPU: nvidia-smi is not there"
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    if found.returncode or "GPU" not in found.stdout:
        return f"no GPU: nvidia-smi -L says {(found.stdout + found.stderr).strip()!r}"
    return None


def requirements(backend: str, device: str) -> list[str]:
    """What the tests need on a backend and device."""
    if device == "gpu":
        gpu = BACKENDS[backend].gpu
        return [".[dev]", gpu] if gpu else [".[dev]"]
    extras = filter(None, ("dev", BACKENDS[backend].extra, TESTED_WITH.get(backend)))
    return [f".[{','.join(extras)}]"]


def install(session: nox.Session, backend: str, device: str = "cpu", *more: str) -> None:
    session.install("-c", "constraints.txt", *requirements(backend, device), *more)


@nox.session
@devices
@backends
def tests(session: nox.Session, backend: str, device: str) -> None:
    """The tests on one backend and device."""
    if device == "gpu" and (reason := why_no_gpu()):
        session.skip(reason)
    install(session, backend, device)
    run_tests(session, backend, device)


@nox.session(python=["3.12", "3.13"])
def pythons(session: nox.Session) -> None:
    """The tests on other versions of Python, with PyTorch."""
    install(session, "torch")
    run_tests(session, "torch")


@nox.session(venv_backend="uv")
@backends
def lowest(session: nox.Session, backend: str) -> None:
    """The tests with the lowest versions that pyproject.toml allows; only uv can install them."""
    session.install("--resolution", "lowest-direct", *requirements(backend, "cpu"))
    run_tests(session, backend)


@nox.session
@backends
def nightly(session: nox.Session, backend: str) -> None:
    """The tests with keras-nightly."""
    install(session, backend)
    # Both packages have the module keras: what is installed last, stays.
    session.install("--pre", "--no-deps", "--force-reinstall", "keras-nightly")
    run_tests(session, backend)


def run_tests(session: nox.Session, backend: str, device: str = "cpu") -> None:
    environment, workers = {"KERAS_BACKEND": backend, "PYTHONDONTWRITEBYTECODE": None}, []
    if device == "cpu":
        environment, workers = on_cpu(session, backend), ["-n", "auto", "--dist", "worksteal"]
    session.run("python", "-m", "pytest", "--device", device, *workers, *session.posargs, env=environment)


def on_cpu(session: nox.Session, backend: str) -> dict[str, str | None]:
    """The environment of tests that run in one process per core."""
    return {
        "KERAS_BACKEND": backend,
        # Many tests start a process, which shouldn't compile torch's and Keras's sources again.
        "PYTHONDONTWRITEBYTECODE": None,
        # PyTorch's threads get in each other's way on shared cores.
        "OMP_NUM_THREADS": "1",
        # Most of the time on JAX is XLA's, for programs that run a few steps: compile each once, and not for speed.
        "JAX_COMPILATION_CACHE_DIR": str(Path(session.create_tmp()) / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }


@nox.session
@backends
def keras_tests(session: nox.Session, backend: str) -> None:
    """Keras's own tests through the fast path: fails where one passes with stock Keras only."""
    # Whatever the backend, the tests import every framework and these packages.
    extras = ",".join(known.extra for known in BACKENDS.values() if known.extra)
    install(session, backend, "cpu", f".[{extras}]", "grain", "orbax-checkpoint", "pandas", "requests")
    environment = on_cpu(session, backend)
    session.run("python", "tests/keras_own/run.py", "-n", "auto", *session.posargs, env=environment)


@nox.session
@backends
def comparison(session: nox.Session, backend: str) -> None:
    """The fast path against stock Keras in many cases, each played both ways."""
    install(session, backend)
    environment = on_cpu(session, backend)
    options = ["--device", "cpu", "--show-capture", "no", "-n", "auto", *session.posargs]
    session.run("python", "-m", "pytest", "tests/comparison/compare_fit.py", *options, env=environment)


@nox.session
@backends
def soak(session: nox.Session, backend: str) -> None:
    """A training that is killed twenty times, a sweep that is killed ten times, and the memory that trainings leave."""
    install(session, backend)
    files = ["tests/soak/soak_kills.py", "tests/soak/soak_sweep.py", "tests/soak/soak_memory.py"]
    session.run("python", "-m", "pytest", "-s", *files, *session.posargs, env=on_cpu(session, backend))


@nox.session
@backends
def notebooks(session: nox.Session, backend: str) -> None:
    """The notebooks, run and compared with the stored ones; with "-- --store" on PyTorch, run and stored."""
    install(session, backend, "cpu", ".[notebooks]")
    options = [option for option in session.posargs if option != "--store"]
    check = [] if "--store" in session.posargs else ["--check"]
    session.run("python", "experiments/notebooks/make.py", *check, *options, env={"KERAS_BACKEND": backend})


@nox.session
def lint(session: nox.Session) -> None:
    """Style, the common mistakes, and types."""
    # Without the frameworks, which take minutes to install; mypy is clean with them as well.
    session.install("-c", "constraints.txt", "mypy", "numpy", "ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The site, into out/site/html; a warning is an error."""
    session.install("-c", "constraints.txt", ".[docs]")
    session.run("python", "docs/site/build.py", *session.posargs)


#: The largest wheel, in bytes: most of it is the sample of Fashion-MNIST.
LARGEST_WHEEL = 12_000_000


@nox.session
def build(session: nox.Session) -> None:
    """A wheel and an sdist that a package index would take, and a training with the wheel alone."""
    session.install("twine", "uv")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("uv", "build", "--out-dir", "dist")
    (wheel,) = (path.resolve() for path in Path("dist").glob("*.whl"))
    session.run("twine", "check", "--strict", *map(str, Path("dist").glob("kerasnets-*")))
    if (size := wheel.stat().st_size) > LARGEST_WHEEL:
        session.error(f"{wheel.name} has {size:,} bytes; at most {LARGEST_WHEEL:,} are allowed.")
    constraints = str(Path("constraints.txt").resolve())
    empty = Path(session.create_tmp(), "empty").resolve()
    shutil.rmtree(empty, ignore_errors=True)
    empty.mkdir(parents=True)
    python = str(empty / "environment" / "bin" / "python")
    session.run("uv", "venv", str(empty / "environment"))
    session.run("uv", "pip", "install", "--python", python, "-c", constraints, str(wheel))
    session.chdir(empty)
    session.run(python, "-m", "kerasnets", "train", "NeuralNetwork", "--dataset", "fashion_mnist_sample", external=True)


@nox.session
@backends
def reproduce(session: nox.Session, backend: str) -> None:
    """The documents' trainings on full data, several seeds each, into docs/results.json and docs/results.md."""
    install(session, backend)
    session.run("python", "experiments/reproduce.py", "--backend", backend, *session.posargs)
