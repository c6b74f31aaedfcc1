"""Fresh Python processes for what depends on the order of imports, on the environment, or on being killed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(*arguments: str, backend: str | None = None, check: bool = True, **variables: str | None):
    """Run Python with `arguments` in the project's root; returns the finished process with its output as text.

    `backend` is put into KERAS_BACKEND (default: as here); a variable given as None is taken out of the environment.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    if backend is not None:
        environment["KERAS_BACKEND"] = backend
    for name, value in variables.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done
