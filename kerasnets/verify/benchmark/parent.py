"""A program to measure in a process of its own, and the lines between it and the parent.

The parent writes the :class:`Job` as a line of JSON. The worker answers with a line for each thing that it has
measured (its first step, the warm-up epoch, each further epoch, each round of predictions), and waits for an empty line
before it goes on to the next. It reads with a blocking call, so a waiting worker takes no CPU, and it ends when the
parent is gone.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Lines of a dead worker's standard error that are kept.
LAST_LINES = 15


@dataclasses.dataclass(frozen=True)
class Job:
    """A program to measure.

    Attributes:
        program: ``"document"``, ``"native"``, ``"stock"``, ``"kerasnets"``, or ``"matrix"`` for the matrix rate.
        network: name of the network.
        backend: Keras backend of ``"stock"`` and ``"kerasnets"``.
        compiled: whether ``"native"`` runs through ``torch.compile``.
        channels_last: whether ``"native"`` has channels_last memory format.
        dataset: name of the data set.
        images: how many of its training images; None: all.
        batch_size: images a step.
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
        """What to call the program in a table."""
        if self.program == "native":
            how = ["compiled"] * self.compiled + ["channels_last"] * self.channels_last
            return ", ".join(["native PyTorch", *how])
        precision = "" if self.precision == "float32" or self.program != "kerasnets" else f", {self.precision}"
        return {
            "document": "the document's program",
            "stock": f"stock Keras on {self.backend}",
            "kerasnets": f"kerasnets on {self.backend}{precision}",
            "matrix": "matrix product",
        }[self.program]


def environment() -> dict[str, str]:
    """The environment of a new process that finds this very kerasnets, wherever it was started."""
    paths = [str(Path(__file__).parent.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class WorkerError(RuntimeError):
    """A worker ended before it was done; the message is the end of its standard error."""


class Worker:
    """The parent's side: starts the process; :meth:`step` gets what it measures next.

    Args:
        job: what to measure.
    """

    def __init__(self, job: Job):
        self.job = job
        self._errors = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115 (close() closes it)
        started = time.time()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kerasnets.verify.benchmark.child"],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._send(json.dumps({"started": started, **dataclasses.asdict(job)}))
        self._begun = False

    def _send(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it is dead: reading its answer says why
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def step(self) -> dict[str, Any]:
        """Let the worker go on, and wait for what it measures.

        Raises:
            WorkerError: it died.
        """
        if self._begun:
            self._send("")
        self._begun = True
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._errors.seek(0)
        last = [text for text in self._errors.read().splitlines() if text.strip()][-LAST_LINES:]
        raise WorkerError("\n".join([f"{self.job.label} ended with exit status {status}:", *last]))

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):  # of what was meant for a dead worker
                pipe.close()
        self._errors.close()
