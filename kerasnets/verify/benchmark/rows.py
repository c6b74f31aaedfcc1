"""A program's row in the record: its measurements, their medians, and their ratios to other programs'."""

from statistics import median
from typing import Any

from kerasnets.verify.benchmark.parent import Job

Row = dict[str, Any]


def make_row(job: Job) -> Row:
    """A program's row before its first measurement."""
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


def put_first_step(row: Row, measured: dict) -> None:
    """Put the time of the first step and the program's facts into its row."""
    row["first_step_seconds"] = measured.pop("first_step")
    row.update(measured)


def put_warm_up(row: Row, measured: dict) -> None:
    """Put the time of the warm-up epoch into the row."""
    row["warm_up_seconds"] = measured["seconds"]


def put_epoch(row: Row, measured: dict) -> None:
    """Put the time of an epoch, its loss or rate, and the memory so far into the row."""
    row["epoch_seconds"].append(measured["seconds"])
    row["memory_mib"], row["gpu_memory_mib"] = measured["memory"], measured["gpu_memory"]
    if "rate" in measured:
        row["rates"].append(measured["rate"])
    else:
        row["losses"].append(measured["loss"])


def put_one_image(row: Row, measured: dict) -> None:
    """Put the time of one prediction into the row."""
    row["one_image_microseconds"].append(measured["microseconds"])


def add_ratios(result: dict[str, Any], epochs: int) -> None:
    """Add medians and ratios to each row of a network's result; they are None if a measurement is missing.

    - ``median_seconds`` of an epoch, and its ratio to the best native loop's, the tutorial's, and stock Keras's on the
      same backend (``against_native``, ``against_document``, ``against_stock``);
    - ``memory_against_native``: ratio to the native loop with the least memory;
    - ``median_microseconds`` of one image, and its ratio to native PyTorch's (``one_image_against_native``);
    - ``share`` of the matrix rate, on the same kind of device.

    A program that died before the end of its `epochs` has no median.
    """
    rows = result["rows"]
    for row in rows:
        row["median_seconds"] = median(row["epoch_seconds"]) if len(row["epoch_seconds"]) == epochs else None
        row["median_microseconds"] = median(row["one_image_microseconds"]) if row["one_image_microseconds"] else None
    native = [row for row in rows if row["program"] == "native"]
    best = _least(row["median_seconds"] for row in native)
    tutorial = _least(row["median_seconds"] for row in rows if row["program"] == "document")
    memory = _least(row["memory_mib"] for row in native)
    one_image = _least(row["median_microseconds"] for row in native)
    for row in rows:
        stock = _least(
            other["median_seconds"]
            for other in rows
            if other["program"] == "stock" and other["backend"] == row["backend"]
        )
        row["against_native"] = _divide(row["median_seconds"], best)
        row["against_document"] = _divide(row["median_seconds"], tutorial)
        row["against_stock"] = _divide(row["median_seconds"], stock)
        row["memory_against_native"] = _divide(row["memory_mib"], memory)
        row["one_image_against_native"] = _divide(row["median_microseconds"], one_image)
        rate = _divide(result["flops_per_epoch"], row["median_seconds"])
        row["share"] = _divide(rate, result["matrix_rate"]) if row["device"] == result["device"] else None


def _least(values) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _divide(value: float | None, other: float | None) -> float | None:
    return None if value is None or not other else value / other
