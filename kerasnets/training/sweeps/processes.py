"""The processes that train: for each backend a server that has Keras imported, and a fork of it for each trial."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from kerasnets import backend as backends
from kerasnets.training.recipes import Recipe
from kerasnets.training.sweeps import space

#: The attributes of a result that a sweep keeps in its database.
KEPT = ("train_loss", "train_accuracy", "test_loss", "test_losses", "test_accuracy", "epoch_seconds", "device")


@dataclasses.dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        recipe: the sweep's recipe, in the form of ``to_dict()``.
        settings: what the trial changes of it.
        seed: the seed.
        folder: where the run is kept, and goes on if it was killed.
        held_out: the number of training images that are tested on, instead of the test images.
        checks: settings to build networks for, instead of training.
    """

    recipe: dict[str, Any]
    settings: dict[str, Any]
    seed: int
    folder: Path
    held_out: int = 0
    checks: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class ProcessDiedError(Exception):
    """A trial's process ended without a result: it was killed, or ran out of memory."""


class TrainingError(Exception):
    """The training raised an error."""


class Server:
    """A process with one backend that trains in forks of itself, so that Keras is imported once.

    The backend is imported there and not yet used: what JAX and TensorFlow start at first use doesn't survive a fork.

    Args:
        backend: the backend's name.
        arrays: the data of every trial; None for that of its recipe.
    """

    def __init__(self, backend: str, arrays: Any = None):
        self.backend = backend
        # Not multiprocessing's spawn, which runs the user's script again if that has no "if __name__ == '__main__'".
        self._requests, theirs = multiprocessing.Pipe()
        program = f"from kerasnets.training.sweeps import processes; processes.serve({backend!r}, {theirs.fileno()})"
        path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], pass_fds=[theirs.fileno()], env={**os.environ, "PYTHONPATH": path}
        )
        theirs.close()
        self._lock = threading.Lock()
        with contextlib.suppress(OSError):  # it died: start() says so
            self._requests.send((bytes(multiprocessing.current_process().authkey), arrays))

    def start(self, job: Job) -> Connection:
        """Start a trial; its messages come from the connection that this returns.

        Raises:
            ProcessDiedError: the server is dead.
        """
        ours, theirs = multiprocessing.Pipe()
        try:
            with self._lock:
                self._requests.send((job, theirs))
                self._requests.recv()  # the server has the connection
        except (EOFError, OSError) as error:
            ours.close()
            raise ProcessDiedError(f"The process with the backend {self.backend} died; it printed why.") from error
        finally:
            theirs.close()
        return ours

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process and its trials."""
        self._requests.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def follow(
    messages: Connection, after_epoch: Callable[[int, float], None] = lambda epoch, accuracy: None
) -> dict[str, Any]:
    """Wait for a trial's result; an error in `after_epoch` ends the trial's process.

    Args:
        messages: as :meth:`Server.start` returns it.
        after_epoch: called with the number of an epoch, counted from 0, and the accuracy on the test images after it.

    Raises:
        ProcessDiedError: the process ended without a result.
        TrainingError: the training raised an error.
    """
    with messages:
        while True:
            try:
                kind, content = messages.recv()
            except (EOFError, OSError) as error:
                raise ProcessDiedError("The process of the trial died.") from error
            if kind == "error":
                raise TrainingError(content)
            if kind == "result":
                return content
            after_epoch(*content)


def serve(backend: str, number: int) -> None:
    """Import Keras with a backend, and fork a trial for each request until the other end is closed.

    Args:
        backend: the backend's name.
        number: the file descriptor of the requests' connection.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sweep ends this process
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # otherwise asking for a GPU spoils it for the forks
    requests = Connection(number)
    backends.set_backend(backend)
    _import_all()
    fork = multiprocessing.get_context("fork")
    with contextlib.suppress(EOFError, OSError):
        multiprocessing.current_process().authkey, arrays = requests.recv()
        while True:
            job, replies = requests.recv()
            fork.Process(target=_train, args=(job, arrays, replies, requests)).start()
            replies.close()
            requests.send(None)
            multiprocessing.active_children()  # buries those that have ended
    for child in multiprocessing.active_children():
        child.kill()


def _import_all() -> None:
    """Import what a training needs, and use none of it."""
    if backends.backend() != "tensorflow":  # see kerasnets.backend.choice: Triton before TensorFlow, or not at all
        import torchvision  # noqa: F401
    from importlib import import_module

    for name in (
        "models",
        "networks",
        "optimizers",
        "losses",
        "schedules",
        "training.run",
        f"engine.{backends.backend()}",
    ):
        import_module(f"kerasnets.{name}")


def _train(job: Job, arrays: Any, replies: Connection, requests: Connection) -> None:
    """A trial, in a fork of the server."""
    requests.close()
    _end_with(replies)
    message: tuple[str, Any]
    try:
        report = lambda *epoch: replies.send(("epoch", epoch))  # noqa: E731
        message = ("result", check(job) if job.checks else run(job, arrays, report))
    except Exception as error:
        message = ("error", str(error) if job.checks else f"{type(error).__name__}: {error}")
    with contextlib.suppress(OSError):
        replies.send(message)
    replies.close()
    os._exit(0)  # without the frameworks' tidying up, which takes longer than a short training


def _end_with(replies: Connection) -> None:
    """End this process when the server ends or nobody waits for the replies, however that happens."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch():
        wait([parent.sentinel, replies])  # nothing is ever sent to this end: it is ready when the other one is closed
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def check(job: Job) -> dict[str, Any]:
    """Build the network, loss and optimizer of each of the job's checks."""
    from kerasnets import training

    for settings in job.checks:
        try:
            recipe = space.apply(Recipe.from_dict(job.recipe), settings)
            training.compile_recipe(space.add_schedule(recipe, settings.get("schedule"), recipe.batch_size))
        except Exception as error:
            where = ", ".join(f"{name}={value!r}" for name, value in settings.items())
            raise ValueError(f"{where}: {type(error).__name__}: {error}") from error
    return {}


def run(job: Job, arrays: Any = None, report=lambda epoch, accuracy: None) -> dict[str, Any]:
    """Train, or go on; returns what a sweep keeps of the result.

    A finished run of the same settings in the folder is taken as it is: its worker was killed before it could say so.
    """
    import keras

    from kerasnets import training
    from kerasnets.data import load_data

    class Report(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            report(epoch, training.percent(float(logs["val_accuracy"])))

    recipe = space.apply(Recipe.from_dict(job.recipe), job.settings)
    data = hold_out(arrays or load_data(recipe.dataset), job.held_out)
    recipe = space.add_schedule(recipe, job.settings.get("schedule"), len(data[0][0]))
    if found := _find_finished(job, recipe):
        return found
    end = time.monotonic() + 60
    while True:
        try:
            result = training.train(
                recipe,
                seed=job.seed,
                out=job.folder,
                arrays=data,
                verbose=0,
                test_each_epoch=True,
                callbacks=[Report()],
            )
        except RuntimeError as error:
            # The process of a worker that was killed may still hold the folder for a moment.
            if "Another process" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.1)
            continue
        return {**{name: getattr(result, name) for name in KEPT}, "recipe": result.recipe.to_dict()}


def hold_out(arrays: Any, number: int):
    """The data with the last `number` training images as the test images; as it is if `number` is 0."""
    (x, y), test = arrays
    if not number:
        return (x, y), test
    if number >= len(x):
        raise ValueError(f"held_out={number}: expected fewer than the {len(x)} training images.")
    return (x[:-number], y[:-number]), (x[-number:], y[-number:])


def _find_finished(job: Job, recipe: Recipe) -> dict[str, Any] | None:
    """The result in the job's folder, if it is that of this job."""
    try:
        found = json.loads((job.folder / "result.json").read_text(encoding="utf-8"))
        mine = (found["recipe"], found["seed"], found["backend"])
        if mine == (json.loads(json.dumps(recipe.to_dict())), job.seed, backends.backend()):
            return {name: found[name] for name in (*KEPT, "recipe")}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def remove_backups(folder: Path) -> None:
    """Remove the backups of a trial that won't go on."""
    shutil.rmtree(folder / "backup", ignore_errors=True)
