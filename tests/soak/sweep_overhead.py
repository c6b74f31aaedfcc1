"""What a sweep costs beyond its trainings: the tutorial's grid as a sweep, and as calls of train one after another.

Both are programs of their own, which import Keras once, and are measured in turns: wall-clock time, and processor time
of all their processes, which other programs on the machine disturb less.

Examples:
  python tests/soak/sweep_overhead.py
  KERAS_BACKEND=jax python tests/soak/sweep_overhead.py --epochs 20 --rounds 5
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Annotated

import typer

START = """
import runpy, sys
import kerasnets
from kerasnets.training.sweeps import plan, space
script = runpy.run_path("experiments/sweep.py")
recipe = script["make_recipe"]("NeuralNetwork", sys.argv[1], int(sys.argv[2]), None, is_tutorial=True)
"""
SWEEP = START + 'kerasnets.sweep(recipe, script["TUTORIAL"], out=sys.argv[3], progress=False)'
SERIAL = (
    START
    + """
for cell, trial in enumerate(plan.Plan(recipe, script["TUTORIAL"], None, 0, 0).trials):
    images = 6000 if sys.argv[1].endswith("_sample") else 60000
    changed = space.add_schedule(space.apply(recipe, trial.params), trial.params["schedule"], images)
    kerasnets.train(changed, out=f"{sys.argv[3]}/{cell}", verbose=0, test_each_epoch=True)
"""
)


def measure(program: str, dataset: str, epochs: int) -> tuple[float, float]:
    """Wall-clock and processor seconds of a program and its processes."""
    with tempfile.TemporaryDirectory() as folder:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-c", program, dataset, str(epochs), folder], check=True)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(
    dataset: Annotated[str, typer.Option(help="Data set.")] = "fashion_mnist_sample",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="How often to measure.")] = 3,
) -> None:
    """Print the seconds and the ratios of the medians."""
    found: dict[str, list[tuple[float, float]]] = {"serial": [], "sweep": []}
    for _ in range(rounds):
        for name, program in (("serial", SERIAL), ("sweep", SWEEP)):
            found[name].append(measure(program, dataset, epochs))
            print(f"{name:6}  wall {found[name][-1][0]:6.1f} s, processor {found[name][-1][1]:6.1f} s", flush=True)
    for index, kind in enumerate(("wall", "processor")):
        serial, sweep = (statistics.median(each[index] for each in found[name]) for name in ("serial", "sweep"))
        print(f"{kind}: {100 * (sweep / serial - 1):+.1f} %")


if __name__ == "__main__":
    typer.run(main)
