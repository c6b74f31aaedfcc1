"""docs/versions.md says what pyproject.toml allows and constraints.txt pins."""

import re
import tomllib

import pytest
from processes import ROOT

pytestmark = pytest.mark.once

TEXT = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\| \w[^`]*?\|$", TEXT, re.MULTILINE)
]
PACKAGES = {name: (allowed, pinned) for name, allowed, pinned, _ in (row for row in ROWS if len(row) == 4)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def bounded():
    """Each requirement of the package and of its backends that has an upper bound."""
    extras = PROJECT["optional-dependencies"]
    for requirement in (*PROJECT["dependencies"], *extras["jax"], *extras["tensorflow"][:1]):
        name, bounds = re.fullmatch(r"([\w-]+)([^;]*).*", requirement).groups()
        if "<" in bounds:
            yield name, bounds


def test_the_table_has_the_bounds_and_the_pins():
    pins = dict(re.findall(r"^([\w-]+)==(.*)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
    expected = {name: (bounds, pins[name]) for name, bounds in bounded()}
    assert {"keras", "torch", "jax", "tensorflow-cpu", "numpy"} <= set(expected)
    expected["python"] = (
        PROJECT["requires-python"],
        re.search(r"Python (\d\.\d+)", (ROOT / "constraints.txt").read_text())[1],
    )
    assert {name: cells for name, cells in PACKAGES.items() if name != "package"} == expected
