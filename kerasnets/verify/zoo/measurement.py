"""Each model of the zoo by the fast fit and by stock Keras, epoch by epoch in turn."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from kerasnets._internal.arguments import check_integer, check_known
from kerasnets.verify.benchmark.measurement import PAUSE, describe
from kerasnets.verify.benchmark.parent import Worker, WorkerError

#: Examples of an epoch, by batch size.
EXAMPLES = {1: 256, 32: 2048, 256: 4096}
#: Epochs whose losses are compared.
COMPARED = 3
#: What takes turns: the fast fit, and stock Keras twice, whose ratio to itself is the noise of the measurement.
PROGRAMS = ("kerasnets", "stock", "stock again")
#: Environment in which the frameworks compute with one thread: sums are taken in another order.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        models: names of models; empty for all.
        backends: Keras backends, all of them installed.
        batch_sizes: examples per step: some of 1, 32 and 256.
        epochs: epochs after the first, and rounds of predictions; at least 2.
        device: ``"auto"``, ``"cpu"`` or ``"gpu"``.
    """

    models: Sequence[str] = ()
    backends: Sequence[str] = ("torch",)
    batch_sizes: Sequence[int] = tuple(EXAMPLES)
    epochs: int = 5
    device: str = "auto"

    def __post_init__(self):
        check_integer("epochs", self.epochs, COMPARED - 1)
        for size in self.batch_sizes:
            if size not in EXAMPLES:
                raise ValueError(f"batch size {size}: expected one of {', '.join(map(str, EXAMPLES))}.")


@dataclasses.dataclass(frozen=True)
class Job:
    """A program to measure: a model on a backend, by one of :data:`PROGRAMS`."""

    program: str
    model: str
    backend: str
    batch_size: int
    examples: int
    epochs: int
    device: str

    @property
    def label(self) -> str:
        """What an error calls it."""
        return f"{self.model} on {self.backend}, batch size {self.batch_size}, by {self.program}"


def measure(
    settings: Settings,
    say: Callable[[str], None] = print,
    keep: Callable[[dict[str, Any]], None] = lambda record: None,
) -> dict[str, Any]:
    """Measure every model on every backend at every batch size.

    Args:
        settings: what to measure.
        say: called with a line of text for each row.
        keep: called with the record so far after each row.

    Returns:
        The record, in a form that JSON can hold: machine, versions, settings, and one row per model, backend and batch
        size, as :func:`measure_row` gives it.

    Raises:
        ValueError: a model is not in the zoo.
    """
    from kerasnets.verify.zoo.models import MODELS, SHARES

    for name in settings.models:
        check_known("model", name, MODELS)
    record: dict[str, Any] = {**describe(settings), "rows": []}
    for backend in settings.backends:
        for model in settings.models or MODELS:
            for size in settings.batch_sizes:
                examples = max(size, int(EXAMPLES[size] * SHARES.get(model, 1)) // size * size)
                job = Job("", model, backend, size, examples, settings.epochs, settings.device)
                row = measure_row(job)
                say(f"{model} on {backend}, batch size {size}: {row['error'] or format(row['epoch'], '.2f')}")
                record["rows"].append(row)
                keep(record)
    return record


def measure_row(job: Job) -> dict[str, Any]:
    """Train a model by all programs in turn.

    Returns:
        The ratios to stock Keras: ``epoch`` (the medians of the epochs after the first), ``first_epoch`` with
        ``first_epoch_more`` in seconds, ``predict``, ``memory``; ``noise``, the epochs' ratio of stock Keras to itself;
        ``loss_difference``, the largest relative one of the first :data:`COMPARED` epochs' losses, and
        ``loss_noise``, the same between stock Keras and itself with one thread; and all measured times. Or, in
        ``error``, why a program ended early.
    """
    row: dict[str, Any] = {"model": job.model, "backend": job.backend, "batch_size": job.batch_size, "error": None}
    try:
        measured = take_turns([dataclasses.replace(job, program=program) for program in PROGRAMS], {})
        (alone,) = take_turns([dataclasses.replace(job, program="stock", epochs=COMPARED - 1)], ONE_THREAD)
    except WorkerError as error:
        return {**row, "error": str(error)}
    fast, stock, again = measured
    return {
        **row,
        "epoch": median(fast["epochs"][1:]) / median(stock["epochs"][1:]),
        "noise": median(again["epochs"][1:]) / median(stock["epochs"][1:]),
        "first_epoch": fast["epochs"][0] / stock["epochs"][0],
        "first_epoch_more": fast["epochs"][0] - stock["epochs"][0],
        "predict": median(fast["predictions"]) / median(stock["predictions"]),
        "memory": fast["memory"] / stock["memory"],
        "loss_difference": find_loss_difference(fast, stock),
        "loss_noise": find_loss_difference(alone, stock),
        "measured": dict(zip(PROGRAMS, measured, strict=True)),
    }


def find_loss_difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest difference of two programs' losses in the compared epochs, relative to the other's."""
    pairs = zip(one["losses"][:COMPARED], other["losses"][:COMPARED], strict=True)
    return max(abs(a - b) / abs(b) for a, b in pairs)


def take_turns(jobs: Sequence[Job], environment: dict[str, str]) -> list[dict[str, Any]]:
    """Run programs side by side; returns their epochs' and predictions' seconds, losses and memory.

    Raises:
        WorkerError: one of them ended early.
    """
    found: list[dict[str, Any]] = [{"epochs": [], "losses": [], "predictions": [], "memory": 0.0} for _ in jobs]
    with ExitStack() as stack:
        workers = []
        for job in jobs:
            worker = Worker(job, module="kerasnets.verify.zoo.child", environment=environment)
            stack.callback(worker.close)
            workers.append(worker)
        for _ in range(1 + jobs[0].epochs):
            for worker, result in zip(workers, found, strict=True):
                time.sleep(PAUSE)
                measured = worker.step()
                result["epochs"].append(measured["seconds"])
                result["losses"].append(measured["loss"])
                result["memory"] = measured["memory"]
        for _ in range(jobs[0].epochs):
            for worker, result in zip(workers, found, strict=True):
                time.sleep(PAUSE)
                result["predictions"].append(worker.step()["seconds"])
    return found
