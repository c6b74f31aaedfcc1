"""The stored notebooks: true to their sources and to kerasnets' names, small, whole; nox runs them to their ends."""

import ast
import contextlib
import importlib
import inspect
import io
import re
import runpy
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from processes import ROOT

import kerasnets

pytestmark = pytest.mark.once

make = SimpleNamespace(**runpy.run_path(str(ROOT / "experiments" / "notebooks" / "make.py")))

each_source = pytest.mark.parametrize("source", make.SOURCES, ids=lambda path: path.stem)
each_language = pytest.mark.parametrize("lang", make.LANGUAGES)


def read(source, lang):
    return nbformat.read(make.stored(source, lang), as_version=nbformat.NO_CONVERT)


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
    keywords = {
        id(node.func): {k.arg for k in node.keywords if k.arg} for node in ast.walk(tree) if isinstance(node, ast.Call)
    }
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


def test_there_are_five():
    assert [path.name[:2] for path in make.SOURCES] == ["1_", "2_", "3_", "4_", "5_"]


@each_language
@each_source
def test_it_is_what_its_source_makes(source, lang):
    notebook = read(source, lang)
    nbformat.validate(notebook)
    built = make.build(source, lang)
    command = "python experiments/notebooks/make.py"
    assert [(c.id, c.source) for c in notebook.cells] == [(c.id, c.source) for c in built.cells], f"run {command}"
    assert notebook.metadata.kernelspec == built.metadata.kernelspec
    # Of the code that gave the outputs.
    assert notebook.metadata.kerasnets.code == make.digest(notebook), f"run {command}"


@each_language
@each_source
def test_its_outputs_are_small_and_whole(source, lang):
    assert make.stored(source, lang).stat().st_size < 320_000
    cells = make.code_cells(read(source, lang))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        kinds = {output.output_type for output in cell.outputs}
        assert kinds <= {"stream", "display_data", "execute_result"}
        assert all(output.name == "stdout" for output in cell.outputs if output.output_type == "stream")
        called = [node for node in ast.parse(cell.source).body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert "print(" not in "".join(map(ast.unparse, called)) or "stream" in kinds
        assert ("plots." not in cell.source) or any("image/png" in output.get("data", {}) for output in cell.outputs)
        assert not re.search(r"/(work|home|root|tmp|usr)/", str(cell.outputs))


@each_source
def test_both_languages_have_the_same_cells(source):
    english, chinese = (make.build(source, lang) for lang in make.LANGUAGES)
    assert [cell.cell_type for cell in english.cells] == [cell.cell_type for cell in chinese.cells]
    for ours, theirs in zip(english.cells, chinese.cells, strict=True):
        if ours.cell_type == "code":
            assert '"zh"' not in ours.source
        else:
            assert re.search("[\u4e00-\u9fff]", theirs.source)
            assert re.findall("^#+ ", ours.source, re.M) == re.findall("^#+ ", theirs.source, re.M)
            assert re.findall("^- ", ours.source, re.M) == re.findall("^- ", theirs.source, re.M)


@each_source
def test_every_picture_has_a_language(source):
    tree = code_of(make.build(source, "zh"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    pictures = [call for call in calls if ast.unparse(call.func).startswith("plots.")]
    assert pictures
    for call in pictures:
        assert [k.value.value for k in call.keywords if k.arg == "lang"] == ["zh"], ast.unparse(call)


@each_source
def test_what_is_printed_before_the_first_training(source):
    cells = make.code_cells(read(source, "en"))
    end = next(i for i, cell in enumerate(cells) if ".fit(" in cell.source)
    space: dict = {}
    compared = 0
    with np.printoptions():
        for cell in cells[:end]:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(cell.source, source.name, "exec"), space)
            if "summary()" in cell.source:  # which isn't printed in a notebook
                continue
            shown = "".join(output.text for output in cell.outputs if output.output_type == "stream")
            assert make.without_numbers(printed.getvalue()) == make.without_numbers(shown)
            compared += bool(shown)
    if "plt" in space:
        space["plt"].close("all")
    assert compared >= 2


@each_source
def test_text_before_code_and_no_chosen_backend(source):
    notebook = make.build(source, "en")
    assert notebook.cells[0].cell_type == "markdown"
    chosen = [node.attr for node in ast.walk(code_of(notebook)) if isinstance(node, ast.Attribute)]
    assert "set_backend" not in chosen  # only in a comment: KERAS_BACKEND decides


@each_language
@each_source
def test_names_of_kerasnets_exist(source, lang):
    uses = list(uses_of_kerasnets(code_of(make.build(source, lang))))
    assert uses
    for found, names, keywords in uses:
        for name in names:
            found = member(found, name)
        if keywords:
            parameters = inspect.signature(found).parameters
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                assert keywords <= set(parameters), names
