"""The report of a measurement: tables on the console and in Markdown, and a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasnets import cli
from kerasnets.backend import BACKENDS
from kerasnets.verify.benchmark.targets import BARS
from kerasnets.verify.markdown import format_table

MISSING = "–"


#: Key of a row → its name in the table of the targets.
QUANTITIES = {
    "against_native": "epoch × native",
    "against_document": "epoch × tutorial",
    "against_stock": "epoch × stock Keras",
    "median_seconds": "epoch in seconds",
    "one_image_against_native": "image × native",
    "memory_against_native": "memory × native",
    "median_import_seconds": "seconds",
}


def format_number(value: float | None, digits: int = 2) -> str:
    """A number for a table; a dash if it wasn't measured."""
    return MISSING if value is None else f"{value:.{digits}f}"


def format_seconds(value: float | None) -> str:
    """Seconds with three significant digits, because epochs take from hundredths of a second to a minute."""
    return MISSING if value is None else f"{value:#.3g}"


def print_report(record: dict[str, Any]) -> None:
    """Print two tables per network, the targets, and the errors of programs that ended early."""
    for network, result in record["networks"].items():
        _print_epochs(network, result, record)
        _print_start(network, result)
    if record["bars"]:
        cli.print_table(
            "Targets, for 2 cores or an H200, batch size 64, fp32, the full Fashion-MNIST",
            ("kerasnets", "what", "measured", "target", "met"),
            [_target_row(bar) for bar in record["bars"]],
        )
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


def _print_start(network: str, result: dict[str, Any]) -> None:
    cli.print_table(
        f"{network}: start, memory, and one image",
        ("program", "first step s", "warm-up s", "MiB", "image µs"),
        [
            (
                label_of(row, result),
                format_number(row["first_step_seconds"], 1),
                format_seconds(row["warm_up_seconds"]),
                _format_memory(row),
                format_number(row["median_microseconds"], 0),
            )
            for row in result["rows"]
        ],
    )


def _target_row(bar: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """A row of the table of targets."""
    return (
        f"{bar['network']} on {bar['backend']}" if bar["backend"] else "import kerasnets",
        QUANTITIES[bar["quantity"]],
        format_number(bar["value"], 3),
        f"≤ {bar['bound']:.3g}",
        {None: MISSING, True: "yes", False: "NO"}[bar["met"]],
    )


def bars_lines(record: dict[str, Any]) -> list[str]:
    """The table of targets in Markdown, including those for devices that were not available."""
    measured = [(bar["device"], _target_row(bar)) for bar in record["bars"]]
    devices = {device for device, _ in measured}
    others = [bar for bar in BARS if bar.device not in devices]
    rows = [(device, *cells) for device, cells in measured]
    rows += [
        (
            bar.device,
            f"{bar.network or 'every network'} on {bar.backend}",
            QUANTITIES[bar.quantity],
            "not measured",
            f"≤ {bar.bound:.3g}",
            MISSING,
        )
        for bar in others
    ]
    return format_table(("device", "kerasnets", "what", "measured", "target", "met"), rows)


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
    """The README's speed table, and below it the machine and the versions.

    Each cell has the median seconds per epoch and their ratio to the best native loop's.
    """
    networks = record["networks"]
    labels = list(dict.fromkeys(row["label"] for result in networks.values() for row in result["rows"]))
    head = ("program", *(f"{name}, {result['images']:,} images" for name, result in networks.items()))
    rows = [(label, *(_cell(result["rows"], label) for result in networks.values())) for label in labels]
    threads = next(iter(networks.values()))["threads"]
    devices = ", ".join(dict.fromkeys(str(result["device"]) for result in networks.values()))
    names = ("keras", *(name for backend in BACKENDS.values() for name in backend.packages))
    versions = ", ".join(f"{name} {record['versions'][name]}" for name in names if name in record["versions"])
    return [
        *format_table(head, rows),
        "",
        f"Seconds per epoch ({record['dataset']}, batch size {record['batch_size']}, {record['precision']}; median of "
        f"{record['epochs']}), and in brackets",
        "the ratio to the fastest native PyTorch loop, all measured in one run on "
        f"{record['machine']} ({devices}, {threads} threads), {record['date']}: {versions}.",
    ]


def _cell(rows: Sequence[dict[str, Any]], label: str) -> str:
    for row in rows:
        if row["label"] == label and row["median_seconds"] is not None:
            ratio = "" if row["against_native"] is None else f" (×{row['against_native']:.2f})"
            return format_seconds(row["median_seconds"]) + ratio
    return MISSING if not any(row["label"] == label for row in rows) else "failed"
