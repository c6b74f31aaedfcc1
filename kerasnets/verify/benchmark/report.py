"""What the measurement came to: tables on the console, the bars, a picture, the README's table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasnets.backend import BACKENDS
from kerasnets.verify.benchmark.targets import BARS

MISSING = "–"


#: Key of a row → what it is, in the table of the bars.
QUANTITIES = {
    "against_native": "epoch × native",
    "against_document": "epoch × document",
    "against_stock": "epoch × stock Keras",
    "median_seconds": "epoch in seconds",
    "one_image_against_native": "image × native",
    "memory_against_native": "memory × native",
    "median_import_seconds": "seconds",
}


def number(value: float | None, digits: int = 2) -> str:
    """A number for a table, with a dash for what wasn't measured."""
    return MISSING if value is None else f"{value:.{digits}f}"


def seconds(value: float | None) -> str:
    """Seconds with three significant digits, since an epoch takes from hundredths of a second to a minute."""
    return MISSING if value is None else f"{value:#.3g}"


def print_report(record: dict[str, Any]) -> None:
    """Print two tables a network, the bars, and why programs ended early."""
    from kerasnets import cli

    for network, result in record["networks"].items():
        rows = result["rows"]
        rate = number(result["matrix_rate"] and result["matrix_rate"] / 1e9, 0)
        cli.print_table(
            f"{network} on {result['device']}: an epoch of {result['images']:,} images of {record['dataset']}, "
            f"batch size {record['batch_size']}, median of {record['epochs']}; fastest matrix product {rate} GFLOP/s",
            ("program", "seconds", "× native", "× document", "share"),
            [
                (
                    name(row, result),
                    seconds(row["median_seconds"]),
                    number(row["against_native"]),
                    number(row["against_document"]),
                    MISSING if row["share"] is None else f"{100 * row['share']:.0f} %",
                )
                for row in rows
            ],
        )
        cli.print_table(
            f"{network}: start, memory, and one image",
            ("program", "first step s", "warm-up s", "MiB", "image µs"),
            [
                (
                    name(row, result),
                    number(row["first_step_seconds"], 1),
                    seconds(row["warm_up_seconds"]),
                    _memory(row),
                    number(row["median_microseconds"], 0),
                )
                for row in rows
            ],
        )
    if record["bars"]:
        cli.print_table(
            "Bars: for 2 cores or an H200, batch size 64, fp32, the full Fashion-MNIST",
            ("kerasnets", "what", "measured", "bar", "met"),
            [_held(bar) for bar in record["bars"]],
        )
    for error in errors(record):
        print(error)


def _held(bar: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """A row of the table of bars."""
    return (
        f"{bar['network']} on {bar['backend']}" if bar["backend"] else "import kerasnets",
        QUANTITIES[bar["quantity"]],
        number(bar["value"], 3),
        f"≤ {bar['bound']:.3g}",
        {None: MISSING, True: "yes", False: "NO"}[bar["met"]],
    )


def bars_lines(record: dict[str, Any]) -> list[str]:
    """The table of the bars, those of devices that were not in reach included, for a Markdown page."""
    measured = [(bar["device"], _held(bar)) for bar in record["bars"]]
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
    head = ("device", "kerasnets", "what", "measured", "bar", "met")
    return ["| " + " | ".join(cells) + " |" for cells in (head, ("---",) * len(head), *rows)]


def name(row: dict[str, Any], result: dict[str, Any]) -> str:
    """A row's label, with what sets it apart from the others."""
    elsewhere = row["device"] not in (None, result["device"])
    return row["label"] + (f" ({row['device']})" if elsewhere else "") + (" (failed)" if row["error"] else "")


def _memory(row: dict[str, Any]) -> str:
    on_gpu = "" if row["gpu_memory_mib"] is None else f" + {row['gpu_memory_mib']:.0f}"
    return number(row["memory_mib"], 0) + on_gpu


def errors(record: dict[str, Any]) -> list[str]:
    """Why programs ended early."""
    found = [result["matrix_error"] for result in record["networks"].values()]
    found += [row["error"] for result in record["networks"].values() for row in result["rows"]]
    return [error for error in found if error]


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw the seconds of an epoch of each program, a panel a network, into the PNG file `path`."""
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
    plots.bars({network: values for network, values in groups.items() if values}, marked=ours).savefig(path, dpi=100)


def readme_lines(record: dict[str, Any]) -> list[str]:
    """The README's speed table: seconds an epoch by program and network, with the machine named.

    In each cell stand the median and, behind it, what it is of the best native loop's.
    """
    networks = record["networks"]
    labels = list(dict.fromkeys(row["label"] for result in networks.values() for row in result["rows"]))
    lines = [
        "| program | " + " | ".join(f"{name}, {networks[name]['images']:,} images" for name in networks) + " |",
        "|---|" + "---|" * len(networks),
    ]
    for label in labels:
        cells = [_cell(result["rows"], label) for result in networks.values()]
        lines.append("| " + " | ".join([label, *cells]) + " |")
    threads = next(iter(networks.values()))["threads"]
    devices = ", ".join(dict.fromkeys(str(result["device"]) for result in networks.values()))
    names = ("keras", *(name for backend in BACKENDS.values() for name in backend.packages))
    versions = ", ".join(f"{name} {record['versions'][name]}" for name in names if name in record["versions"])
    lines += [
        "",
        f"Seconds an epoch ({record['dataset']}, batch size {record['batch_size']}, "
        f"{record['precision']}; median of {record['epochs']}), and in brackets the quotient by the fastest native",
        f"PyTorch loop's, in one run on {record['machine']} ({devices}, {threads} threads), {record['date']}: "
        f"{versions}.",
    ]
    return lines


def _cell(rows: Sequence[dict[str, Any]], label: str) -> str:
    for row in rows:
        if row["label"] == label and row["median_seconds"] is not None:
            quotient = "" if row["against_native"] is None else f" (×{row['against_native']:.2f})"
            return seconds(row["median_seconds"]) + quotient
    return MISSING if not any(row["label"] == label for row in rows) else "failed"
