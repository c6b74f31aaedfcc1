"""The measurement: which programs take turns, and the record of their times."""

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import date
from statistics import median
from typing import Any

from kerasnets import backend as backends, data
from kerasnets._internal.arguments import check_integer, check_known
from kerasnets.verify.benchmark import rows
from kerasnets.verify.benchmark.parent import Job, Worker, WorkerError, make_environment

NETWORKS = ("NeuralNetwork", "NeuralNetwork_v1", "ConvNeuralNetwork")
CONVOLUTIONAL = ("ConvNeuralNetwork",)
#: How often to time ``import kerasnets``.
IMPORTS = 5
#: Seconds between two turns: OpenMP's threads spin for up to 0.2 s after their work before they sleep.
PAUSE = 0.25


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        networks: names of networks for 28×28 images that give logits: some of :data:`NETWORKS`.
        backends: Keras backends, all of them installed.
        device: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        epochs: epochs after the warm-up.
        images: number of training images, for all networks or one number each; None for all images.
        precision: of kerasnets' own fit: ``"float32"``, ``"tf32"`` or ``"bfloat16"``.
        compiled: whether to measure native PyTorch through ``torch.compile`` as well.
        batch_size: images per step.
        rounds: rounds of predictions of one image.
    """

    networks: Sequence[str] = ("NeuralNetwork", "ConvNeuralNetwork")
    backends: Sequence[str] = ("torch",)
    device: str = "auto"
    epochs: int = 5
    images: int | Sequence[int] | None = None
    precision: str = "float32"
    compiled: bool = True
    batch_size: int = 64
    rounds: int = 5

    def __post_init__(self):
        check_integer("epochs", self.epochs)
        check_integer("rounds", self.rounds)
        check_integer("batch_size", self.batch_size, 2)
        for network in self.networks:
            check_known("network", network, NETWORKS)
        if isinstance(self.images, Sequence) and len(self.images) != len(self.networks):
            raise ValueError(
                f"images={self.images}: expected one number, or one for each of {len(self.networks)} networks."
            )
        for network in self.networks if self.images is not None else ():
            images = check_integer("images", self.images_of(network), self.batch_size)
            if images % self.batch_size == 1:
                raise ValueError(
                    f"images={images} in batches of {self.batch_size} leave one image for the last batch, of "
                    "which batch normalisation can't take a variance."
                )

    def images_of(self, network: str) -> int | None:
        """The number of training images for `network`; None for all."""
        return self.images[self.networks.index(network)] if isinstance(self.images, Sequence) else self.images


def list_programs(settings: Settings, network: str, dataset: str) -> list[Job]:
    """The programs to measure for a network, without the matrix product."""
    common: dict[str, Any] = {
        "network": network,
        "dataset": dataset,
        "images": settings.images_of(network),
        "batch_size": settings.batch_size,
        "epochs": settings.epochs,
        "rounds": settings.rounds,
        "device": settings.device,
    }
    formats = (False, True) if network in CONVOLUTIONAL else (False,)
    jobs = [Job("document", **common)]
    for compiled in (False, True) if settings.compiled else (False,):
        jobs += [Job("native", compiled=compiled, channels_last=last, **common) for last in formats]
    jobs += [Job("stock", backend=name, **common) for name in settings.backends]
    jobs += [Job("kerasnets", backend=name, precision=settings.precision, **common) for name in settings.backends]
    return jobs


def describe(settings: Any) -> dict[str, Any]:
    """The start of a record: machine, versions, date, and the settings, a dataclass."""
    return {
        "machine": backends.machine(),
        "versions": backends.versions(),
        "date": date.today().isoformat(),
        **dataclasses.asdict(settings),
    }


def time_import() -> float:
    """The seconds that ``import kerasnets`` takes in a fresh process, without Python's own start."""
    code = "import time; begin = time.perf_counter(); import kerasnets; print(time.perf_counter() - begin)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=make_environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)


def measure(
    settings: Settings,
    say: Callable[[str], None] = print,
    keep: Callable[[dict[str, Any]], None] = lambda record: None,
) -> dict[str, Any]:
    """Measure all programs, one network after the other.

    Args:
        settings: what to measure.
        say: called with a line of text for each step.
        keep: called with the record so far after each network.

    Returns:
        The record, in a form that JSON can hold: machine, versions, data, settings, import times, and for each network
        the matrix rate, the operations of an epoch, and one row per program. A row has every measured time, the
        medians and the ratios; or, in ``"error"``, why the program ended early.

    Raises:
        ValueError: there are fewer images than asked for.
    """
    dataset = data.find_local_or_sample("fashion_mnist", say)
    found = len(data.load_arrays(dataset, download=False)[1])
    images = {network: settings.images_of(network) or found for network in settings.networks}
    if max(images.values()) > found:
        raise ValueError(f"images={max(images.values())}: {dataset} has {found} training images.")
    imports = [time_import() for _ in range(IMPORTS)]
    record: dict[str, Any] = {
        **describe(settings),
        "dataset": dataset,
        "backends": list(settings.backends),
        "import_seconds": imports,
        "median_import_seconds": median(imports),
        "networks": {},
    }
    for network, count in images.items():
        record["networks"][network] = _measure_network(settings, network, dataset, count, say)
        keep(record)
    return record


def _measure_network(settings: Settings, network: str, dataset: str, images: int, say) -> dict[str, Any]:
    jobs = [Job("matrix", network, epochs=settings.epochs, device=settings.device)]
    jobs += list_programs(settings, network, dataset)
    matrix, *programs = _take_turns(jobs, settings, network, say)
    rates, per_image = matrix["rates"], matrix.get("flops_per_image")
    result = {
        "device": matrix["device"],
        "images": images,
        "matrix_rate": max(rates) if rates else None,
        "matrix_rates": rates,
        "matrix_error": matrix["error"],
        "threads": matrix.get("threads"),
        "flops_per_epoch": per_image and per_image * images,
        "rows": programs,
    }
    for row in programs:
        del row["rates"]
    rows.add_ratios(result, settings.epochs)
    return result


def _take_turns(jobs: Sequence[Job], settings: Settings, network: str, say) -> list[rows.Row]:
    """Run all jobs side by side, epoch by epoch; returns their rows."""
    found = [rows.make_row(job) for job in jobs]
    with ExitStack() as stack:
        workers: list[Worker] = []
        for job, row in zip(jobs, found, strict=True):
            say(f"{network}: {job.label} starts")
            worker = Worker(job)
            stack.callback(worker.close)
            workers.append(worker)
            _take_turn(row, worker, rows.put_first_step)
            _take_turn(row, worker, rows.put_warm_up)
        for epoch in range(settings.epochs):
            say(f"{network}: epoch {epoch + 1} of {settings.epochs}")
            for row, worker in zip(found, workers, strict=True):
                for _ in range(_count_turns(worker.job, epoch)):
                    _take_turn(row, worker, rows.put_epoch)
        predicting = [(row, worker) for row, worker in zip(found, workers, strict=True) if predicts(worker.job)]
        say(f"{network}: predictions of one image")
        for _ in range(settings.rounds):
            for row, worker in predicting:
                _take_turn(row, worker, rows.put_one_image)
    return found


def _take_turn(row: rows.Row, worker: Worker, put: Callable[[rows.Row, dict], None]) -> None:
    """Put the worker's next measurement into its row; a worker that has died has no further turns."""
    if row["error"]:
        return
    time.sleep(PAUSE)
    try:
        put(row, worker.step())
    except WorkerError as error:
        row["error"] = str(error)


def predicts(job: Job) -> bool:
    """Whether the program's time for one image is measured."""
    return job.program in ("stock", "kerasnets") or (
        job.program == "native" and not job.compiled and not job.channels_last
    )


def _count_turns(job: Job, epoch: int) -> int:
    """How many epochs a program trains before the others' turn: one, or all at once if waiting slows it down.

    A ``tf.data`` pipeline, which stock ``fit`` makes, is up to ten times as slow after being idle for a minute.
    """
    if job.program == "stock" and job.backend == "tensorflow":
        return job.epochs if epoch == 0 else 0
    return 1
