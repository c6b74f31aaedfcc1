"""The report of a measurement: tables on the console and in Markdown, and a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasnets import cli
from kerasnets.backend import BACKENDS
from kerasnets.verify.markdown import format_table

MISSING = "–"


def format_number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash if it wasn't measured."""
    return MISSING if value is None else f"{value:.{digits}f}"


def format_seconds(value: float | None) -> str:
    """Seconds with three significant digits, because epochs take from hundredths of a second to a minute."""
    return MISSING if value is None else f"{value:#.3g}"


def print_report(record: dict[str, Any]) -> None:
    """Print two tables per network, and the errors of programs that ended early."""
    for network, result in record["networks"].items():
        _print_epochs(network, result, record)
        _print_start(network, result)
    for error in errors(record):
        print(error)


def _print_epochs(network: str, result: dict[str, Any], record: dict[str, Any]) -> None:
    rate = format_number(result["matrix_rate"] and result["matrix_rate"] / 1e9, 0)
    cli.print_table(
        f"{network} on {result['device']}: epochs of {result['images']:,} images of {record['dataset']}, "
        f"batch size {record['batch_size']}, median of {record['epochs']}; fastest matrix product {rate} GFLOP/s",
        ("program", "seconds", "× native", "× tutorial", "share"),
        [
            (
                label_of(row, result),
                format_seconds(row["median_seconds"]),
                format_number(row["against_native"]),
                format_number(row["against_document"]),
                MISSING if row["share"] is None else f"{100 * row['share']:.0f} %",
            )
            for row in result["rows"]
        ],
    )


START = ("program", "first step s", "warm-up s", "MiB", "image µs")


def _print_start(network: str, result: dict[str, Any]) -> None:
    cli.print_table(f"{network}: start, memory, and one image", START, _start_rows(result))


def _start_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            label_of(row, result),
            format_number(row["first_step_seconds"], 1),
            format_seconds(row["warm_up_seconds"]),
            _format_memory(row),
            format_number(row["median_microseconds"], 0),
        )
        for row in result["rows"]
    ]


def label_of(row: dict[str, Any], result: dict[str, Any]) -> str:
    """A row's label, with its device if that differs from the others', and whether it failed."""
    elsewhere = row["device"] not in (None, result["device"])
    return row["label"] + (f" ({row['device']})" if elsewhere else "") + (" (failed)" if row["error"] else "")


def _format_memory(row: dict[str, Any]) -> str:
    on_gpu = "" if row["gpu_memory_mib"] is None else f" + {row['gpu_memory_mib']:.0f}"
    return format_number(row["memory_mib"], 0) + on_gpu


def errors(record: dict[str, Any]) -> list[str]:
    """The errors of programs that ended early."""
    found = [result["matrix_error"] for result in record["networks"].values()]
    found += [row["error"] for result in record["networks"].values() for row in result["rows"]]
    return [error for error in found if error]


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw each program's seconds per epoch, one panel per network, into the PNG file `path`."""
    from kerasnets import plots

    groups = {
        network: {row["label"]: row["median_seconds"] for row in result["rows"] if row["median_seconds"] is not None}
        for network, result in record["networks"].items()
    }
    ours = {
        row["label"]
        for result in record["networks"].values()
        for row in result["rows"]
        if row["program"] == "kerasnets"
    }
    figure = plots.bars({network: values for network, values in groups.items() if values}, marked=ours)
    figure.suptitle(record["dataset"], **plots.canvas.text(fontsize=11))
    figure.savefig(path, dpi=100)


def readme_lines(record: dict[str, Any]) -> list[str]:
    """The README's speed table, with the fastest of the native loops only, and a line on how it was measured.

    Each cell has the median seconds per epoch and their ratio to the fastest native loop's.
    """
    rows_of = {name: _with_one_native(result["rows"]) for name, result in record["networks"].items()}
    return [*_epoch_table(record, rows_of), "", _how_measured(record)]


def page_lines(record: dict[str, Any]) -> list[str]:
    """The tables of docs/speed.md: all programs' epochs, and for each network the start, memory and one image."""
    lines = _epoch_table(record, {name: result["rows"] for name, result in record["networks"].items()})
    lines += ["", _how_measured(record)]
    for network, result in record["networks"].items():
        lines += ["", f"{network}: start, peak memory, and the prediction of one image", ""]
        lines += format_table(START, _start_rows(result))
    return lines


def _epoch_table(record: dict[str, Any], rows_of: dict[str, list[dict[str, Any]]]) -> list[str]:
    labels = list(dict.fromkeys(row["label"] for rows in rows_of.values() for row in rows))
    head = ("program", *(f"{name}, {record['networks'][name]['images']:,} images" for name in rows_of))
    return format_table(head, [(label, *(_cell(rows, label) for rows in rows_of.values())) for label in labels])


def _with_one_native(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    best = [row for row in rows if row["program"] == "native" and row["against_native"] == 1]
    first = min((i for i, row in enumerate(rows) if row["program"] == "native"), default=0)
    others = [row for row in rows if row["program"] != "native"]
    return [*others[:first], *({**row, "label": "the fastest native PyTorch loop"} for row in best), *others[first:]]


def _how_measured(record: dict[str, Any]) -> str:
    networks = record["networks"].values()
    devices = ", ".join(dict.fromkeys(str(result["device"]) for result in networks))
    threads = next(iter(networks))["threads"]
    names = ("keras", *(name for backend in BACKENDS.values() for name in backend.packages))
    versions = ", ".join(f"{name} {record['versions'][name]}" for name in names if name in record["versions"])
    return (
        f"Seconds per epoch (median of {record['epochs']}; {record['dataset']}, batch size {record['batch_size']}, "
        f"{record['precision']}), and in brackets the ratio to the fastest native PyTorch loop, all measured in one "
        f"run on {record['machine']} ({devices}, {threads} threads), {record['date']}: {versions}."
    )


def _cell(rows: Sequence[dict[str, Any]], label: str) -> str:
    for row in rows:
        if row["label"] == label and row["median_seconds"] is not None:
            ratio = "" if row["against_native"] is None else f" (×{row['against_native']:.2f})"
            return format_seconds(row["median_seconds"]) + ratio
    return MISSING if not any(row["label"] == label for row in rows) else "failed"
