"""The site's pages, without Sphinx: the reference has every public name, its examples run, and links lead somewhere."""

import contextlib
import doctest
import importlib
import io
import sys

import keras
import numpy as np
import pytest
from processes import ROOT

import kerasnets

sys.path.append(str(ROOT / "docs" / "site"))
import contents
import pages
import reference

pytestmark = pytest.mark.once


def test_the_reference_has_every_public_module():
    of_package = (getattr(kerasnets, name) for name in kerasnets.__all__)
    assert {value.__name__ for value in of_package if hasattr(value, "__spec__")} <= set(contents.MODULES)


def test_the_reference_has_every_public_name():
    written = reference.pages()
    for module in contents.MODULES:
        for name in reference.public_names(module):
            documented_as, value = reference.documented()[f"{module}.{name}"]
            if callable(value):
                assert f"reference/{documented_as}.rst" in written
            listed = written[f"reference/{module}.rst"]
            assert f"   {name}\n" in listed or f"`{documented_as}`" in listed or f":: {name}\n" in listed


@pytest.mark.parametrize("module", contents.MODULES)
def test_examples_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = importlib.import_module(module)
    texts = {module: found.__doc__}
    for full, (documented_as, value) in reference.documented().items():
        if documented_as == full and full.rpartition(".")[0] == module and callable(value):
            assert ">>>" in value.__doc__, f"{full} has no example"
            texts[full] = value.__doc__
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        failed = sum(run_examples(name, text) for name, text in texts.items())
    assert not failed, printed.getvalue()


def run_examples(name: str, text: str) -> int:
    """Run the examples of a docstring; returns how many failed."""
    names = {"kerasnets": kerasnets, "keras": keras, "np": np}
    test = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    return runner.run(test).failed


def test_links_lead_somewhere():
    written = pages.all_pages()
    assert {f"{name}.md" for name in contents.SECTIONS} | {"index.md", "zh/index.md"} <= written.keys()
    assert not [name for name, text in written.items() if isinstance(text, str) and "](../kerasnets" in text]


def test_a_section_has_every_page():
    shown = {path for name in contents.SECTIONS for path in contents.pages_of(name)}
    written = {path.relative_to(ROOT) for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/zh/*.md")]}
    assert written <= shown


def test_the_citation_has_the_version():
    assert f"\nversion: {kerasnets.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[models.py](../kerasnets/models.py)", "`kerasnets/models.py`"),
        ("[the engine](../kerasnets/engine)", "the engine (`kerasnets/engine`)"),
        ("[to add](../CONTRIBUTING.md#tests)", "[to add](contributing.md#tests)"),
        ("[zh](zh/guide.md)", "[zh](zh/guide.md)"),
        ("[here](https://example.org)", "[here](https://example.org)"),
        ("```\n[x](nowhere)\n```", "```\n[x](nowhere)\n```"),
    ],
)
def test_links_of_a_page(text, expected):
    assert pages.adapt_links(text, contents.Path("docs/guide.md")) == expected


def test_a_link_to_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"docs/guide.md: the link nothing.md"):
        pages.adapt_links("[x](nothing.md)", contents.Path("docs/guide.md"))
