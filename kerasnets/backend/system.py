"""The system that computes: versions of packages, and the machine."""

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kerasnets.backend.choice import BACKENDS


def versions() -> dict[str, str]:
    """Versions of kerasnets, Python, Keras, the backends and their companions, as far as installed; imports none.

    Examples:
        >>> kerasnets.backend.versions()["kerasnets"] == kerasnets.__version__
        True
    """
    from kerasnets import __version__  # here: kerasnets imports this module before it has a version

    found = {"kerasnets": __version__, "python": platform.python_version()}
    backends = [name for backend in BACKENDS.values() for name in backend.packages]
    for name in ("keras", *backends, "torchvision", "jaxlib", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    with contextlib.suppress(PackageNotFoundError):
        found["keras"] = version("keras-nightly")  # the same module, installed over Keras's
    return found


def machine() -> str:
    """The machine in a few words: processor and number of cores, for tables of results.

    Examples:
        >>> text = kerasnets.backend.machine()  # such as "Intel(R) Xeon(R) Processor, 2 cores"
    """
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {os.cpu_count()} cores"
