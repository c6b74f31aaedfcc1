"""``python -m kerasnets compare path/to/port.py``: a file that defines both sides."""

import runpy
import sys
from pathlib import Path
from typing import Any

from kerasnets.verify.compare.api import compare
from kerasnets.verify.compare.report import Report

_NEEDED = ("module", "model", "x")
_OPTIONS = ("y", "loss", "optimizer", "scheduler", "steps_per_epoch")


def compare_file(path: Path, out: Path | None = None) -> Report:
    """Run a file and compare the port that it defines.

    Args:
        path: a Python file that defines ``module``, ``model`` and ``x``, and may define ``y``, ``loss``, ``optimizer``,
            ``scheduler`` and ``steps_per_epoch``, as in :func:`kerasnets.compare`. It runs with the name
            ``"__kerasnets_compare__"``, so that what stands under ``if __name__ == "__main__"`` doesn't.
        out: folder for ``report.json`` and ``report.png``; None to write none.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it doesn't define what is needed; otherwise as in :func:`kerasnets.compare`.
        TypeError: as in :func:`kerasnets.compare`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}; expected a Python file that defines a port.")
    sys.path.insert(0, str(path.resolve().parent))  # for modules beside the file, as if it were run
    try:
        names: dict[str, Any] = runpy.run_path(str(path), run_name="__kerasnets_compare__")
    finally:
        sys.path.remove(str(path.resolve().parent))
    if missing := [name for name in _NEEDED if name not in names]:
        raise ValueError(
            f"{path} has no {', '.join(missing)}; expected the names module, model and x at its top level."
        )
    options = {name: names[name] for name in _OPTIONS if name in names}
    report = compare(*(names[name] for name in _NEEDED), **options)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        report.save_json(out / "report.json")
        report.plot().savefig(out / "report.png", dpi=100)
    return report
