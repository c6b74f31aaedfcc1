"""The report of the zoo: a table on the console and in Markdown, and the rows in which the fast fit is behind."""

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from kerasnets import cli
from kerasnets.verify.markdown import format_table

COLUMNS = ("model", "batch size", "epoch", "noise", "first epoch", "predict", "memory", "losses", "noise of losses")
#: A relative difference of losses that rounding makes in any other order of sums; the second is for bfloat16.
ROUNDING, ROUNDING_OF_BFLOAT16 = 1e-6, 1e-3


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    name = (row["model"], str(row["batch_size"]))
    if row["error"]:
        return (*name, "failed", *["–"] * (len(COLUMNS) - 3))
    ratios = (f"{row[key]:.2f}" for key in ("epoch", "noise", "first_epoch", "predict", "memory"))
    return (*name, *ratios, f"{row['loss_difference']:.0e}", f"{row['loss_noise']:.0e}")


def print_report(record: dict[str, Any]) -> None:
    """Print one table per backend, the rows in which the fast fit is behind, and the errors."""
    for backend in record["backends"]:
        rows = [row for row in record["rows"] if row["backend"] == backend]
        cli.print_table(f"The fast fit on {backend}, as ratios to stock Keras", COLUMNS, map(_cells, rows))
    for line in [*find_behind(record), *(row["error"] for row in record["rows"] if row["error"])]:
        print(line)


def find_behind(record: dict[str, Any]) -> list[str]:
    """A sentence for each row in which the fast fit is slower, larger or has other losses, beyond the noise."""
    found = []
    for row in record["rows"]:
        if reasons := [] if row["error"] else list(_list_reasons(row)):
            found.append(f"{row['model']} on {row['backend']}, batch size {row['batch_size']}: {'; '.join(reasons)}")
    return found


def _list_reasons(row: dict[str, Any]) -> Iterator[str]:
    if row["epoch"] > _noise(row, lambda measured: median(measured["epochs"][1:])):
        yield f"an epoch takes {row['epoch']:.2f} times as long"
    first = _noise(row, lambda measured: measured["epochs"][0])
    if row["first_epoch"] > 1.2 * first and row["first_epoch_more"] > 1:
        yield f"the first epoch takes {row['first_epoch_more']:.1f} s more"
    if row["predict"] > _noise(row, lambda measured: median(measured["predictions"])):
        yield f"predict takes {row['predict']:.2f} times as long"
    if row["memory"] > 1.1:
        yield f"{row['memory']:.2f} times the memory"
    rounding = ROUNDING_OF_BFLOAT16 if row["model"] == "bfloat16" else ROUNDING
    if row["loss_difference"] > 10 * row["loss_noise"] + rounding:
        yield f"losses differ by {row['loss_difference']:.0e}"


def _noise(row: dict[str, Any], of: Callable[[dict[str, Any]], float]) -> float:
    """How far stock Keras is from itself in a figure, as a ratio of at least 1."""
    stock, again = (of(row["measured"][program]) for program in ("stock", "stock again"))
    return max(stock / again, again / stock)


def page_lines(record: dict[str, Any]) -> list[str]:
    """The tables as Markdown, with what the columns are, and where the fast fit is behind."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items() if name != "python")
    lines = [f"{record['machine']}, {record['date']}: {versions}. Median of {record['epochs']} epochs.", ""]
    for backend in record["backends"]:
        rows = [_cells(row) for row in record["rows"] if row["backend"] == backend]
        lines += [f"On {backend}:", "", *format_table(COLUMNS, rows), ""]
    behind = find_behind(record)
    lines += ["Where the fast fit is behind, beyond the noise:", "", *(f"- {line}" for line in behind or ["nowhere"])]
    return lines
