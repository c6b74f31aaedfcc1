"""The layout that docs/layout.md describes: imports run downwards, and modules keep to each other's public names."""

import ast
from pathlib import Path

import pytest

import kerasnets

pytestmark = pytest.mark.once

PACKAGE = Path(kerasnets.__file__).parent
LEVELS = [
    ("_internal", "backend", "batches"),
    ("data", "plots", "initializers", "schedules"),
    ("layers", "losses", "optimizers"),
    ("interop", "engine"),
    ("models",),
    ("networks", "lbfgs"),
    ("training", "cli"),
    ("verify",),
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.stem.startswith("__"))


def place(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(tree):
    """The names of what a file imports from kerasnets, as ``("optimizers.base", "Optimizer")``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "kerasnets":
            for alias in node.names:
                yield node.module.partition(".")[2], alias.name


@pytest.mark.parametrize("path", FILES, ids=place)
def test_a_module(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert text.count("\n") < 400
    here = place(path).partition(".")[0]
    for module, name in imports(tree):
        there = (module or name).partition(".")[0]
        assert not name.startswith("_") or not module, f"{module}.{name} is private"
        assert there == here or there not in LEVEL or LEVEL[there] <= LEVEL[here], f"{here} imports {there}, above it"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            # Without the examples, which are there for the reference.
            examples = (ast.get_docstring(node) or "").partition("\nExamples:\n")[2]
            lines = node.end_lineno - node.lineno - (len(examples.splitlines()) + 2 if examples else 0)
            assert lines < 60, f"{node.name} doesn't fit on a screen"
