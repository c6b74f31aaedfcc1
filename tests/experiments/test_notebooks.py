"""The notebooks as they are committed: valid, without outputs, true to kerasnets' names; nox runs them."""

import ast
import importlib
import inspect

import nbformat
import pytest
from processes import ROOT

import kerasnets

pytestmark = pytest.mark.once

NOTEBOOKS = sorted((ROOT / "experiments" / "notebooks").glob("*.ipynb"))

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_of(notebook) -> ast.Module:
    return ast.parse("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"))


def member(parent, name: str):
    """The attribute `name` of `parent`, or its submodule of that name."""
    try:
        return getattr(parent, name)
    except AttributeError:
        if not inspect.ismodule(parent):
            raise
        return importlib.import_module(f"{parent.__name__}.{name}")


def uses_of_kerasnets(tree: ast.Module):
    """For each use: the imported object, the names after it, and the keywords of a call."""
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            if any(alias.name == "kerasnets" for alias in node.names):
                imported["kerasnets"] = kerasnets
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "kerasnets":
            module = importlib.import_module(node.module)
            imported |= {a.asname or a.name: member(module, a.name) for a in node.names}
    keywords = {id(node.func): {k.arg for k in node.keywords} for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or id(node) in inner:
            continue
        given, names = keywords.get(id(node), set()), []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id in imported:
            yield imported[node.id], names, given


def test_there_are_four():
    assert [path.name[:2] for path in NOTEBOOKS] == ["1_", "2_", "3_", "4_"]


@each
def test_format_and_no_outputs(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@each
def test_text_before_code_and_no_chosen_backend(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    assert notebook.cells[0].cell_type == "markdown"
    chosen = [node.attr for node in ast.walk(code_of(notebook)) if isinstance(node, ast.Attribute)]
    assert "set_backend" not in chosen  # only in a comment: KERAS_BACKEND decides


@each
def test_names_of_kerasnets_exist(path):
    uses = list(uses_of_kerasnets(code_of(nbformat.read(path, as_version=nbformat.NO_CONVERT))))
    assert uses
    for found, names, keywords in uses:
        for name in names:
            found = member(found, name)
        if keywords:
            parameters = inspect.signature(found).parameters
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                assert keywords <= set(parameters), names
