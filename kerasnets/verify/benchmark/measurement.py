"""The measurement: which programs, whose turn it is, and the record of it all."""

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
from kerasnets._internal.arguments import check_integer
from kerasnets.verify.benchmark import targets
from kerasnets.verify.benchmark.parent import Job, Worker, WorkerError, environment

NETWORKS = ("NeuralNetwork", "NeuralNetwork_v1", "ConvNeuralNetwork")
CONVOLUTIONAL = ("ConvNeuralNetwork",)
#: Fresh processes that import kerasnets.
IMPORTS = 5
#: Seconds between two turns: threads of OpenMP spin for up to 0.2 s after their work before they sleep.
PAUSE = 0.25

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        networks: names of networks for 28×28 images that give logits: some of :data:`NETWORKS`.
        backends: Keras backends, all of them installed.
        device: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        epochs: epochs after the warm-up.
        images: how many training images, for all networks or one number each; None: all of them.
        precision: of kerasnets' own fit: ``"float32"``, ``"tf32"`` or ``"bfloat16"``.
        compiled: whether native PyTorch is also measured through ``torch.compile``.
        batch_size: images a step.
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
            if network not in NETWORKS:
                raise ValueError(f"Unknown network {network!r}; expected some of {', '.join(map(repr, NETWORKS))}.")
        if isinstance(self.images, Sequence) and len(self.images) != len(self.networks):
            raise ValueError(
                f"images={self.images}: expected one number, or one for each of {len(self.networks)} networks."
            )
        for network in self.networks if self.images is not None else ():
            images = self.images_of(network)
            check_integer("images", images, self.batch_size)
            if images % self.batch_size == 1:
                raise ValueError(
                    f"images={images} in batches of {self.batch_size} leave one image for the last batch, of "
                    "which batch normalisation can't take a variance."
                )

    def images_of(self, network: str) -> int | None:
        """How many training images `network` is measured on; None: all."""
        return self.images[self.networks.index(network)] if isinstance(self.images, Sequence) else self.images


def programs(settings: Settings, network: str, dataset: str) -> list[Job]:
    """What is measured for a network, the matrix product aside."""
    common = {
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


def find_data() -> tuple[str, int]:
    """The data set to train on, and its number of training images: the full one where it is found, else the sample."""
    try:
        return "fashion_mnist", len(data.load_arrays("fashion_mnist", download=False)[1])
    except data.DataNotFoundError:
        return "fashion_mnist_sample", len(data.load_arrays("fashion_mnist_sample")[1])


def installed(names: Sequence[str], say: Callable[[str], None] = print) -> tuple[str, ...]:
    """The backends of `names` that are installed; `say` is told how to install the others.

    Raises:
        ValueError: a name is no backend's.
    """
    for name in names:
        if name not in backends.BACKENDS:
            raise ValueError(f"Unknown backend {name!r}; expected some of {', '.join(map(repr, backends.BACKENDS))}.")
        if not backends.is_installed(name):
            say(f"The backend {name} is not installed and is left out. {backends.install_command(name)}")
    return tuple(dict.fromkeys(name for name in names if backends.is_installed(name)))


def import_seconds() -> float:
    """Seconds that ``import kerasnets`` takes in a fresh process, without Python's own start."""
    code = "import time; begin = time.perf_counter(); import kerasnets; print(time.perf_counter() - begin)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)


def measure(settings: Settings, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure all programs of all networks, one network after the other.

    Args:
        settings: what to measure.
        say: is told how it goes on, line by line.

    Returns:
        The record, as JSON can hold it: machine, versions, data, settings, import times, the bars, and for each network
        the matrix rate, the operations of an epoch, and a row a program. A row has every measured time, the medians,
        and its quotients; or, in ``"error"``, why the program ended early.

    Raises:
        ValueError: more images are asked for than there are.
    """
    dataset, found = find_data()
    if dataset.endswith("sample"):
        say("The full data are not on this machine: measuring on the sample of Fashion-MNIST.")
    images = {network: settings.images_of(network) or found for network in settings.networks}
    if max(images.values()) > found:
        raise ValueError(f"images={max(images.values())}: {dataset} has {found} training images.")
    imports = [import_seconds() for _ in range(IMPORTS)]
    networks = {network: _measure_network(settings, network, dataset, images[network], say) for network in images}
    record = {
        "machine": backends.machine(),
        "versions": backends.versions(),
        "date": date.today().isoformat(),
        "dataset": dataset,
        **dataclasses.asdict(settings),
        "backends": list(settings.backends),
        "import_seconds": imports,
        "median_import_seconds": median(imports),
        "networks": networks,
    }
    return {**record, "bars": targets.judge(record)}


def _measure_network(settings: Settings, network: str, dataset: str, images: int, say) -> dict[str, Any]:
    jobs = [Job("matrix", network, epochs=settings.epochs, device=settings.device)]
    jobs += programs(settings, network, dataset)
    rows = [_new_row(job) for job in jobs]
    with ExitStack() as stack:
        workers: list[Worker] = []
        for job, row in zip(jobs, rows, strict=True):
            say(f"{network}: {job.label} starts")
            worker = Worker(job)
            stack.callback(worker.close)
            workers.append(worker)
            _take(row, worker, _first)
            _take(row, worker, _warm_up)
        for epoch in range(settings.epochs):
            say(f"{network}: epoch {epoch + 1} of {settings.epochs}")
            for row, worker in zip(rows, workers, strict=True):
                for _ in range(_turns(worker.job, epoch)):
                    _take(row, worker, _epoch)
        predicting = [(row, worker) for row, worker in zip(rows, workers, strict=True) if predicts(worker.job)]
        say(f"{network}: predictions of one image")
        for _ in range(settings.rounds):
            for row, worker in predicting:
                _take(row, worker, _one_image)
    matrix, *rows = rows
    rates, per_image = matrix["rates"], matrix.get("flops_per_image")
    result = {
        "device": matrix["device"],
        "images": images,
        "matrix_rate": max(rates) if rates else None,
        "matrix_rates": rates,
        "matrix_error": matrix["error"],
        "threads": matrix.get("threads"),
        "flops_per_epoch": per_image and per_image * images,
        "rows": rows,
    }
    for row in rows:
        del row["rates"]
    add_quotients(result, settings.epochs)
    return result


def predicts(job: Job) -> bool:
    """Whether the program's time for one image is measured."""
    return job.program in ("stock", "kerasnets") or (
        job.program == "native" and not job.compiled and not job.channels_last
    )


def _turns(job: Job, epoch: int) -> int:
    """How many epochs a program trains while the others wait: one; or all in the first, where waiting distorts them.

    A ``tf.data`` pipeline, as stock ``fit`` makes one, is up to ten times as slow after a minute without being asked.
    """
    if job.program == "stock" and job.backend == "tensorflow":
        return job.epochs if epoch == 0 else 0
    return 1


def _new_row(job: Job) -> Row:
    return {
        "label": job.label,
        **{name: getattr(job, name) for name in ("program", "backend", "compiled", "channels_last", "precision")},
        "device": None,
        "first_step_seconds": None,
        "warm_up_seconds": None,
        "epoch_seconds": [],
        "losses": [],
        "memory_mib": None,
        "gpu_memory_mib": None,
        "one_image_microseconds": [],
        "rates": [],
        "error": None,
    }


def _take(row: Row, worker: Worker, put: Callable[[Row, dict], None]) -> None:
    """The worker's next measurement into its row; a worker that dies has an error in its row, and no further turns."""
    if row["error"]:
        return
    time.sleep(PAUSE)
    try:
        put(row, worker.step())
    except WorkerError as error:
        row["error"] = str(error)


def _first(row: Row, measured: dict) -> None:
    row["first_step_seconds"] = measured.pop("first_step")
    row.update(measured)


def _warm_up(row: Row, measured: dict) -> None:
    row["warm_up_seconds"] = measured["seconds"]


def _epoch(row: Row, measured: dict) -> None:
    row["epoch_seconds"].append(measured["seconds"])
    row["memory_mib"], row["gpu_memory_mib"] = measured["memory"], measured["gpu_memory"]
    if "rate" in measured:
        row["rates"].append(measured["rate"])
    else:
        row["losses"].append(measured["loss"])


def _one_image(row: Row, measured: dict) -> None:
    row["one_image_microseconds"].append(measured["microseconds"])


def add_quotients(result: dict[str, Any], epochs: int) -> None:
    """Medians, and what they are of the others', into each row of a network's result; None where one is missing.

    - ``median_seconds`` of an epoch, and that over the best native loop's, the document's, and stock Keras's on the
      same backend (``against_native``, ``against_document``, ``against_stock``);
    - ``memory_against_native``: over that of the native loop that takes the least;
    - ``median_microseconds`` of one image, and that over native PyTorch's (``one_image_against_native``);
    - ``share`` of the matrix rate, on the same kind of device.

    A program that died before the end of its `epochs` has no median of them.
    """
    rows = result["rows"]
    for row in rows:
        row["median_seconds"] = median(row["epoch_seconds"]) if len(row["epoch_seconds"]) == epochs else None
        row["median_microseconds"] = median(row["one_image_microseconds"]) if row["one_image_microseconds"] else None
    native = [row for row in rows if row["program"] == "native"]
    best = _least(row["median_seconds"] for row in native)
    document = _least(row["median_seconds"] for row in rows if row["program"] == "document")
    memory = _least(row["memory_mib"] for row in native)
    one_image = _least(row["median_microseconds"] for row in native)
    for row in rows:
        stock = _least(
            other["median_seconds"]
            for other in rows
            if other["program"] == "stock" and other["backend"] == row["backend"]
        )
        row["against_native"] = _over(row["median_seconds"], best)
        row["against_document"] = _over(row["median_seconds"], document)
        row["against_stock"] = _over(row["median_seconds"], stock)
        row["memory_against_native"] = _over(row["memory_mib"], memory)
        row["one_image_against_native"] = _over(row["median_microseconds"], one_image)
        rate = _over(result["flops_per_epoch"], row["median_seconds"])
        row["share"] = _over(rate, result["matrix_rate"]) if row["device"] == result["device"] else None


def _least(values) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _over(value: float | None, other: float | None) -> float | None:
    return None if value is None or not other else value / other
