"""The child process: ``python -m kerasnets.verify.benchmark.child`` measures the job it reads from standard input."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from kerasnets import backend as backends
from kerasnets.verify.benchmark.parent import Job

#: A round of predictions of one image ends after this many calls, or after this many seconds.
CALLS, ROUND_SECONDS = 1000, 0.5


class Parent:
    """The lines sent to and received from the parent."""

    def __init__(self):
        # Lines that the frameworks print must not mix with the answers: standard output becomes standard error.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def receive(self) -> str:
        """Wait for a line."""
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        return line

    def tell(self, **measured: Any) -> None:
        """Send measurements, and wait for the next turn."""
        self._answers.write(json.dumps(measured) + "\n")
        self._answers.flush()
        self.receive()


def measure_peak_memory() -> float:
    """The peak resident memory of this process so far, in MiB."""
    try:
        # Linux's ru_maxrss starts from the size of the parent process.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def time_calls(call: Callable[[], object]) -> float:
    """The median duration of `call` over a round of calls, in microseconds."""
    durations: list[float] = []
    end = time.perf_counter() + ROUND_SECONDS
    while len(durations) < CALLS and time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        durations.append(time.perf_counter() - begin)
    return 1e6 * median(durations)


def make_program(job: Job):
    """The program that the job names; only its own framework is imported."""
    program: Any
    if job.program in ("stock", "kerasnets"):
        from kerasnets.verify.benchmark.keras_fit import KerasFit

        program = KerasFit(job)
    elif job.program == "document":
        from kerasnets.verify.benchmark.tutorial import Tutorial

        program = Tutorial(job)
    elif job.program == "native":
        from kerasnets.verify.benchmark.native import Native

        program = Native(job)
    else:
        from kerasnets.verify.benchmark.matrix import Matrix

        program = Matrix(job)
    if job.device == "gpu" and program.device != "gpu":
        raise RuntimeError(f"A GPU was asked for, and {job.label} computes on: {program.device}.")
    return program


def main() -> None:
    """Measure the job that comes on standard input."""
    parent = Parent()
    given = json.loads(parent.receive())
    started = given.pop("started")
    job = Job(**given)
    if job.backend is not None:
        backends.set_backend(job.backend)
    # This hides the GPU, on torch and without Keras as well.
    backends.set_device("cpu" if job.device == "cpu" else "auto")
    program = make_program(job)
    program.first_step()
    first = time.time() - started - program.reading
    parent.tell(first_step=first, device=program.device, **program.facts())

    begin = time.perf_counter()

    def epoch_done(**measured: Any) -> None:
        nonlocal begin
        seconds = time.perf_counter() - begin
        parent.tell(seconds=seconds, memory=measure_peak_memory(), gpu_memory=program.gpu_memory(), **measured)
        begin = time.perf_counter()

    program.train(1 + job.epochs, epoch_done)
    predict = program.predictor()
    if predict is not None:
        time_calls(predict)  # compiles and warms up
        for _ in range(job.rounds):
            parent.tell(microseconds=time_calls(predict))


if __name__ == "__main__":
    main()
