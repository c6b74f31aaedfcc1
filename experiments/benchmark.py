"""Time an epoch of the tutorial's program, native PyTorch, stock Keras and kerasnets, in turn on one machine.

Prints seconds, ratios, time to the first step, memory and the time for one image, and writes benchmark.json and
epochs.png to --out. Uses the full Fashion-MNIST if it is on this machine, otherwise the bundled sample. Two networks,
three backends and 5 epochs take an estimated half an hour on two cores; the machine should be idle. Backends that are
not installed are left out. Ends with exit code 1 if a program failed.

With --zoo it compares the fast fit with stock Keras on models in the manner of Keras's and PyTorch's examples instead,
and writes zoo.json: 20 models at three batch sizes take about half a minute each on each backend.

Examples:
  python experiments/benchmark.py --out out/benchmark
  python experiments/benchmark.py --images 60000,6400
  python experiments/benchmark.py --network NeuralNetwork --backends torch,jax --images 6400 --epochs 3
  python experiments/benchmark.py --no-compile --device gpu --precision bfloat16
  python experiments/benchmark.py --no-measure --readme README.md --readme README.zh-CN.md --page docs/speed.md
  python experiments/benchmark.py --zoo --backends torch --batch-sizes 32 --models residual,lstm
"""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from kerasnets import backend as backends, cli
from kerasnets._internal import atomic
from kerasnets.verify import benchmark


def main(
    network: Annotated[
        Literal["NeuralNetwork", "NeuralNetwork_v1", "ConvNeuralNetwork"] | None,
        typer.Option(help="Measure this network only.  [default: NeuralNetwork and ConvNeuralNetwork]"),
    ] = None,
    order: Annotated[str, typer.Option("--backends", help="Keras backends.")] = ",".join(backends.BACKENDS),
    device: cli.Device = "auto",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs after the warm-up.")] = 5,
    images: Annotated[
        str | None,
        typer.Option(
            help="Train on this many images: a number, or one for each network.  [default: all]",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        Literal["float32", "tf32", "bfloat16"], typer.Option(help="Precision of kerasnets' own fit.")
    ] = "float32",
    compile: Annotated[bool, typer.Option(help="Measure native PyTorch through torch.compile as well.")] = True,
    measure: Annotated[bool, typer.Option(help="Measure, or only show the results in --out.")] = True,
    readme: Annotated[
        list[Path] | None,
        typer.Option(help="Write the short table between the marks of this file; can be repeated.", exists=True),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write all tables between the marks of this file.", exists=True)
    ] = None,
    zoo: Annotated[bool, typer.Option("--zoo", help="Measure the zoo instead.")] = False,
    models: Annotated[str, typer.Option(help="Models of the zoo.  [default: all]", show_default=False)] = "",
    batch_sizes: Annotated[str, typer.Option(help="Batch sizes of the zoo.")] = "1,32,256",
    out: cli.Out = Path("out/benchmark"),
) -> None:
    """Measure, print the tables, draw the picture."""
    if zoo:
        measure_zoo(order, models, batch_sizes, epochs, device, measure, page, out)
        return
    result = out / "benchmark.json"
    try:
        if measure:
            settings = benchmark.Settings(
                networks=(network,) if network else ("NeuralNetwork", "ConvNeuralNetwork"),
                backends=tuple(dict.fromkeys(cli.choose_backends(order))),
                device=device,
                epochs=epochs,
                images=None if images is None else parse_images(images),
                precision=precision,
                compiled=compile,
            )
            out.mkdir(parents=True, exist_ok=True)
            benchmark.measure(settings, keep=lambda record: atomic.write_json(result, record))
        record = json.loads(result.read_text())
        benchmark.print_report(record)
        benchmark.draw(record, out / "epochs.png")
        for path in readme or []:
            atomic.replace_marked(path, "speed", benchmark.readme_lines(record))
        if page is not None:
            atomic.replace_marked(page, "speed", benchmark.page_lines(record))
    except (ValueError, OSError) as error:
        cli.fail(error)
    cli.print_written(out, ["benchmark.json", "epochs.png"])
    raise typer.Exit(1 if benchmark.errors(record) else 0)


def measure_zoo(
    order: str, models: str, batch_sizes: str, epochs: int, device: str, measure: bool, page: Path | None, out: Path
) -> None:
    """Measure the zoo, print its tables."""
    from kerasnets.verify import zoo

    result = out / "zoo.json"
    try:
        if measure:
            settings = zoo.Settings(
                models=tuple(filter(None, models.split(","))),
                backends=tuple(dict.fromkeys(cli.choose_backends(order))),
                batch_sizes=tuple(parse_numbers("--batch-sizes", batch_sizes)),
                epochs=epochs,
                device=device,
            )
            out.mkdir(parents=True, exist_ok=True)
            zoo.measure(settings, keep=lambda record: atomic.write_json(result, record))
        record = json.loads(result.read_text())
        zoo.print_report(record)
        if page is not None:
            atomic.replace_marked(page, "zoo", zoo.page_lines(record))
    except (ValueError, OSError) as error:
        cli.fail(error)
    cli.print_written(out, ["zoo.json"])
    raise typer.Exit(1 if any(row["error"] for row in record["rows"]) else 0)


def parse_images(text: str) -> int | list[int]:
    """The number or numbers given as --images."""
    found = parse_numbers("--images", text)
    return found[0] if len(found) == 1 else found


def parse_numbers(option: str, text: str) -> list[int]:
    """The numbers given as an option, with commas between them."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} {text!r}: expected a number, or several as in 60000,6400.") from None


if __name__ == "__main__":
    cli.run(main, __doc__)
