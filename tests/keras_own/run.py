"""Keras's own tests, once with stock Keras and once with kerasnets' fast path; fails where only the fast path fails.

The tests come with Keras's wheel. Arguments that aren't named here go to pytest, such as ``-n auto`` or ``-k fit``.
"""

import argparse
import collections
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kerasnets.backend import BACKENDS

HERE = Path(__file__).parent.resolve()
ROOMS = ("trainers", "models", "callbacks")


def run(way: str, results: Path, arguments: list[str]) -> dict[str, dict]:
    """Run the tests one way (``stock`` or ``fast``); returns test → outcome, which `results` keeps, too."""
    packages = Path(importlib.util.find_spec("keras").origin).parent.parent
    tests = sorted(str(path) for room in ROOMS for path in (packages / "keras/src" / room).rglob("*_test.py"))
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH")))),
            "KERAS_OWN_WAY": way,
            "KERAS_OWN_RESULTS": str(results),
            "KERAS_HOME": home,  # the user's keras.json is not for the tests
            "KERAS_TORCH_DEVICE": "cpu",
            "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "-1",
        }
        command = [sys.executable, "-m", "pytest", "-p", "plugin", "-c", str(HERE / "pytest.ini")]
        command += ["--rootdir", str(packages), "--continue-on-collection-errors", "-q", "--tb", "short"]
        begun = time.perf_counter()
        subprocess.run([*command, *arguments, *tests], env=environment, cwd=home, check=False)
    if not results.exists():
        raise SystemExit(f"The run with way {way!r} did not finish.")
    print(f"{way}: {time.perf_counter() - begun:.0f} s", flush=True)
    return json.loads(results.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", choices=tuple(BACKENDS), default=os.environ.get("KERAS_BACKEND"))
    parser.add_argument("--trust", action="store_true", help="accelerate with trust=True, as KERASNETS_TRUST=1 does")
    parser.add_argument("--results", type=Path, help="folder for stock.json and fast.json; a stock.json is used again")
    options, arguments = parser.parse_known_args()
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    if options.trust:
        os.environ["KERASNETS_TRUST"] = "1"

    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.results or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        kept, file = folder / "stock.json", folder / "fast.json"
        stock = json.loads(kept.read_text()) if kept.exists() else run("stock", kept, arguments)
        file.unlink(missing_ok=True)
        fast = run("fast", file, arguments)
    sys.exit(report(stock, fast))


def report(stock: dict[str, dict], fast: dict[str, dict]) -> int:
    """Print how the runs differ, and how much of them was fast; returns the exit status."""
    calls, reasons = collections.Counter(), collections.Counter()
    for outcome in fast.values():
        calls.update(outcome["calls"])
        reasons.update(outcome["reasons"])
    print("\nCalls of fit, evaluate and predict in the fast run:")
    for what, count in sorted(calls.items()):
        print(f"{count:6} {what}")
    print("Why some went through stock Keras:")
    for reason, count in reasons.most_common():
        print(f"{count:6} {reason}")

    for way, outcomes in (("stock", stock), ("fast", fast)):
        counts = collections.Counter(outcome["outcome"] for outcome in outcomes.values())
        print(f"{way}: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    missing = {"outcome": "failed", "why": "it was not run"}
    both = [test for test, outcome in stock.items() if outcome["outcome"] == "failed"]
    print(f"{len(both)} fail with stock Keras already, and don't count.")
    worse = [
        test
        for test, outcome in stock.items()
        if outcome["outcome"] == "passed" and fast.get(test, missing)["outcome"] != "passed"
    ]
    print(f"{len(worse)} fail with the fast path only.")
    for test in worse:
        print(f"  {test}\n      {fast.get(test, missing)['why']}")
    if not any(" fast" in what for what in calls):
        print("No call was fast: the plugin doesn't reach the fast path.")
        return 1
    return 1 if worse else 0


if __name__ == "__main__":
    main()
