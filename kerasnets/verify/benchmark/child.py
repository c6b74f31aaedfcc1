"""The worker's side: ``python -m kerasnets.benchmark.child`` measures the job that comes on standard input."""

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

#: One round of predictions of one image: calls, and seconds after which it ends earlier.
CALLS, ROUND_SECONDS = 1000, 0.5


class _Parent:
    """The lines to and from the parent."""

    def __init__(self):
        # What the frameworks print must not come between the answers: standard output becomes standard error.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def receive(self) -> str:
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        return line

    def tell(self, **measured: Any) -> None:
        """Send what was measured, and wait to go on."""
        self._answers.write(json.dumps(measured) + "\n")
        self._answers.flush()
        self.receive()


def peak_memory() -> float:
    """The largest resident memory of this process so far, in MiB."""
    try:
        # Linux's ru_maxrss begins with the size of the process that started this one.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def microseconds(call: Callable[[], object]) -> float:
    """The median duration of `call` over a round of calls."""
    durations: list[float] = []
    end = time.perf_counter() + ROUND_SECONDS
    while len(durations) < CALLS and time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        durations.append(time.perf_counter() - begin)
    return 1e6 * median(durations)


def main() -> None:
    """Measure the job that comes on standard input."""
    parent = _Parent()
    given = json.loads(parent.receive())
    started = given.pop("started")
    job = Job(**given)
    if job.backend is not None:
        backends.set_backend(job.backend)
    # On torch and without Keras, too, this is what hides a GPU.
    backends.set_device("cpu" if job.device == "cpu" else "auto")
    if job.program in ("stock", "kerasnets"):
        from kerasnets.verify.benchmark.fit import Fit as Program
    elif job.program == "document":
        from kerasnets.verify.benchmark.document import Document as Program
    elif job.program == "native":
        from kerasnets.verify.benchmark.pytorch import Native as Program
    else:
        from kerasnets.verify.benchmark.pytorch import Matrix as Program
    program = Program(job)
    if job.device == "gpu" and program.device != "gpu":
        raise RuntimeError(f"A GPU was asked for, and {job.label} computes on: {program.device}.")
    program.first_step()
    first = time.time() - started - program.reading
    parent.tell(first_step=first, device=program.device, **program.facts())

    begin = time.perf_counter()

    def epoch_done(**measured: Any) -> None:
        nonlocal begin
        seconds = time.perf_counter() - begin
        parent.tell(seconds=seconds, memory=peak_memory(), gpu_memory=program.gpu_memory(), **measured)
        begin = time.perf_counter()

    program.train(1 + job.epochs, epoch_done)
    call = program.one_image()
    if call is not None:
        microseconds(call)  # compiled, and warm
        for _ in range(job.rounds):
            parent.tell(microseconds=microseconds(call))


if __name__ == "__main__":
    main()
