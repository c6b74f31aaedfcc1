"""The tutorials have names, and no numbers that only we know."""

import re

import pytest
from processes import ROOT

from kerasnets.training.recipes import RECIPES, TUTORIALS

pytestmark = pytest.mark.once

#: "tutorial 002", "document 002", "tutorials 000 and 002", "(002)", "002 §6".
NUMBERED = re.compile(r"(tutorials?|documents?|教程) 00\d\b|\b00[0-4] §|[(（]00[0-4][)）]|^#+ 00[0-4]\b", re.MULTILINE)
PLACES = (("kerasnets", "*.py"), ("experiments", "*.py"), ("experiments", "*.ipynb"), ("docs", "*.md"))
FILES = [path for folder, pattern in PLACES for path in sorted((ROOT / folder).rglob(pattern))]


def test_no_file_speaks_of_tutorials_by_number():
    assert len(FILES) > 100
    numbered = {str(path): NUMBERED.findall(path.read_text(encoding="utf-8")) for path in FILES}
    assert not {path: found for path, found in numbered.items() if found}


def test_every_recipe_names_its_tutorial():
    assert len(TUTORIALS) == 5
    for recipe in RECIPES:
        assert re.split("[ ,]", recipe.document)[0] in TUTORIALS


def test_each_title_is_a_heading_of_the_table_of_blocks():
    text = (ROOT / "docs" / "documents.md").read_text(encoding="utf-8")
    for title, _ in TUTORIALS.values():
        assert f"\n## {title}\n" in text
