"""The program that the type checker reads names everything that the package offers."""

import ast

import pytest
from processes import ROOT

import kerasnets

pytestmark = pytest.mark.once

TREE = ast.parse((ROOT / "tests" / "public_api.py").read_text(encoding="utf-8"))


def attributes_of(module: str) -> set[str]:
    return {
        node.attr
        for node in ast.walk(TREE)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", getattr(node.value, "attr", None)) == module
    }


def test_type_checkers_take_the_stubs_names_for_public():
    """A name that a stub imports without ``as`` is private to mypy and pyright."""
    stubs = sorted((ROOT / "kerasnets").rglob("*.pyi"))
    assert len(stubs) >= 3
    for stub in stubs:
        for node in ast.walk(ast.parse(stub.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert all(alias.asname == alias.name for alias in node.names), f"{stub}, line {node.lineno}"


def test_names_of_the_package():
    imported = {alias.name for node in ast.walk(TREE) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(kerasnets.__all__) <= attributes_of("kerasnets") | imported


@pytest.mark.parametrize("module", ["initializers", "layers", "losses", "optimizers", "plots", "schedules"])
def test_names_of_a_module(module):
    # Base classes are used through what is derived from them.
    assert set(getattr(kerasnets, module).__all__) - {"LRSchedule"} <= attributes_of(module)
