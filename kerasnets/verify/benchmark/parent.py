"""The parent's side of a measurement: starts a program in a process of its own, and gives it its turns.

The parent writes the :class:`Job` as a line of JSON. The worker answers with one line per measurement (first step,
warm-up epoch, each further epoch, each round of predictions), and waits for an empty line before the next one. It waits
in a blocking read, so a waiting worker uses no CPU, and it ends when the parent is gone.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

#: How many lines of a dead worker's standard error to report.
LAST_LINES = 15


@dataclasses.dataclass(frozen=True)
class Job:
    """A program to measure.

    Attributes:
        program: ``"document"`` (the tutorial's), ``"native"``, ``"stock"``, ``"kerasnets"``, or ``"matrix"``.
        network: name of the network.
        backend: Keras backend of ``"stock"`` and ``"kerasnets"``.
        compiled: whether ``"native"`` runs through ``torch.compile``.
        channels_last: whether ``"native"`` uses channels_last memory format.
        dataset: name of the data set.
        images: number of its training images; None for all.
        batch_size: images per step.
        epochs: epochs after the warm-up.
        rounds: rounds of predictions of one image.
        device: ``"auto"``, ``"cpu"`` or ``"gpu"``.
        precision: of ``"kerasnets"``: ``"float32"``, ``"tf32"`` or ``"bfloat16"``.
    """

    program: str
    network: str
    backend: str | None = None
    compiled: bool = False
    channels_last: bool = False
    dataset: str = "fashion_mnist_sample"
    images: int | None = None
    batch_size: int = 64
    epochs: int = 5
    rounds: int = 5
    device: str = "auto"
    precision: str = "float32"

    @property
    def label(self) -> str:
        """The program's name in a table."""
        if self.program == "native":
            how = ["compiled"] * self.compiled + ["channels_last"] * self.channels_last
            return ", ".join(["native PyTorch", *how])
        precision = "" if self.precision == "float32" or self.program != "kerasnets" else f", {self.precision}"
        return {
            "document": "the tutorial's program",
            "stock": f"stock Keras on {self.backend}",
            "kerasnets": f"kerasnets on {self.backend}{precision}",
            "matrix": "matrix product",
        }[self.program]


def make_environment() -> dict[str, str]:
    """The environment of a new process, in which this very kerasnets is found from any folder."""
    paths = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class WorkerError(RuntimeError):
    """A worker ended early; the message is the end of its standard error."""


class Worker:
    """A process that measures a job; :meth:`step` gets its next measurement.

    Args:
        job: what to measure; a dataclass with a ``label`` for errors.
        module: the module that measures it.
        environment: further variables of the process's environment.
    """

    def __init__(
        self,
        job: Any,
        module: str = "kerasnets.verify.benchmark.child",
        environment: Mapping[str, str] = MappingProxyType({}),
    ):
        self.job = job
        self._errors = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115 (close() closes it)
        started = time.time()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={**make_environment(), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._jobs, self._answers = self._process.stdin, self._process.stdout
        self._send(json.dumps({"started": started, **dataclasses.asdict(job)}))
        self._begun = False

    def _send(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # a dead worker: reading its answer raises an error with the reason
            self._jobs.write(line + "\n")
            self._jobs.flush()

    def step(self) -> dict[str, Any]:
        """Give the worker its turn, and wait for its measurement.

        Raises:
            WorkerError: it died.
        """
        if self._begun:
            self._send("")
        self._begun = True
        line = self._answers.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._errors.seek(0)
        last = [text for text in self._errors.read().splitlines() if text.strip()][-LAST_LINES:]
        raise WorkerError("\n".join([f"{self.job.label} ended with exit status {status}:", *last]))

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._jobs, self._answers):
            with contextlib.suppress(BrokenPipeError):  # from lines still meant for a dead worker
                pipe.close()
        self._errors.close()
