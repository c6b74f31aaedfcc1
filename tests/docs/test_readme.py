"""The two READMEs: they say the same, what they name is there, and the scripts keep the tables of both up to date."""

import ast
import functools
import importlib.util
import re

import pytest
from processes import ROOT, run

import kerasnets
from kerasnets._internal import atomic
from kerasnets.verify import benchmark

pytestmark = pytest.mark.once

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
each = pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)


def text(path) -> str:
    return path.read_text(encoding="utf-8")


def code_blocks(path) -> list[tuple[str, str]]:
    """Language and code of each block; Python without its comments, which are translated."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text(path), re.DOTALL | re.MULTILINE)
    return [(kind, ast.unparse(ast.parse(code)) if kind == "python" else code) for kind, code in found]


def tables(path) -> list[list[str]]:
    """The rows of each table."""
    return [table.splitlines() for table in re.findall(r"(?:^\|.*\n)+", text(path), re.MULTILINE)]


def relative_links(path) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text(path)) if "://" not in link]


def constants(row: str) -> tuple[list[str], list[str]]:
    """What a translation leaves as it is: the code and the numbers, whose order may change."""
    return sorted(re.findall(r"`[^`]+`", row)), sorted(re.findall(r"\d+(?:\.\d+)*", row))


def experiment(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_code_is_the_same():
    blocks = code_blocks(ENGLISH)
    assert [kind for kind, _ in blocks].count("sh") == 2  # the two commands
    assert code_blocks(CHINESE) == blocks


def test_python_runs_as_printed_and_in_order(tmp_path):
    """On torch, which is there after the first command; of the loops for each backend the one for torch."""
    blocks = re.findall(r"^```python\n(.*?)^```$", text(ENGLISH), re.DOTALL | re.MULTILINE)
    others = tuple(f"# {name}\n" for name in kerasnets.backend.BACKENDS if name != "torch")
    script = tmp_path / "readme.py"
    printed = "\n".join(block for block in blocks if not block.startswith(others))
    script.write_text(f"import os\n\nos.chdir({str(tmp_path)!r})\n{printed}")
    run(str(script), backend="torch")
    assert {"model.keras", "weights.pt", "back.pt"} <= {path.name for path in tmp_path.iterdir()}


def test_generated_blocks_are_the_same():
    english, chinese = (
        dict(re.findall(r"^<!-- (\w+) -->\n(.*?)^<!-- /\1 -->$", text(path), re.DOTALL | re.MULTILINE))
        for path in (ENGLISH, CHINESE)
    )
    assert english.keys() == {"results", "speed"}
    assert chinese == english


def test_tables_have_the_same_rows():
    english, chinese = tables(ENGLISH), tables(CHINESE)
    assert english
    assert [len(table) for table in chinese] == [len(table) for table in english]
    for rows in zip(english, chinese, strict=True):
        for row, translated in zip(*rows, strict=True):
            assert constants(translated) == constants(row)
            assert translated.count("|") == row.count("|")


def test_sections_and_links_are_the_same():
    levels = [re.findall(r"^#+(?= )", re.sub(r"```.*?```", "", text(path), flags=re.DOTALL), re.MULTILINE)
              for path in (ENGLISH, CHINESE)]  # fmt: skip
    assert levels[0] == levels[1]
    assert relative_links(ENGLISH)[0] == CHINESE.name
    assert relative_links(CHINESE)[0] == ENGLISH.name
    assert relative_links(CHINESE)[1:] == relative_links(ENGLISH)[1:]


@each
def test_what_is_linked_and_named_is_there(path):
    named = {*relative_links(path), *re.findall(r"\b(?:experiments|tests)/\w+\.py\b", text(path))}
    assert {"experiments/quickstart.py", "docs/results.md"} <= named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@each
def test_every_experiment_is_named(path):
    named = re.findall(r"`python experiments/(\w+)\.py", text(path))
    assert {script.stem for script in (ROOT / "experiments").glob("*.py")} <= set(named)


@each
def test_every_name_of_kerasnets_exists(path):
    names = re.findall(r"(?<![\w./])(?:kerasnets|layers|losses|optimizers|schedules)(?:\.[A-Za-z]\w*)+", text(path))
    assert {"kerasnets.build", "layers.Linear"} <= set(names)
    for name in sorted(set(names)):
        functools.reduce(getattr, name.removeprefix("kerasnets.").split("."), kerasnets)


@pytest.fixture
def marked(tmp_path):
    """Two files with marks, in place of the READMEs."""
    paths = [tmp_path / ENGLISH.name, tmp_path / CHINESE.name]
    for path in paths:
        path.write_text(f"{path.name}\n<!-- results -->\n<!-- /results -->\n<!-- speed -->\n<!-- /speed -->\n")
    return paths


def test_reproduce_writes_both(marked, tmp_path, monkeypatch):
    reproduce = experiment("reproduce")
    assert reproduce.READMES == (ENGLISH, CHINESE)
    monkeypatch.setattr(reproduce, "READMES", marked)
    reproduce.write_tables(["| a |", "|---|"], [], [], tmp_path)
    for path in marked:
        assert path.read_text().startswith(f"{path.name}\n<!-- results -->\n| a |\n|---|\n<!-- /results -->\n")


def test_benchmark_writes_all_that_are_named(marked, tmp_path, monkeypatch):
    for name in ("print_report", "draw", "errors"):
        monkeypatch.setattr(benchmark, name, lambda *_: None)
    monkeypatch.setattr(benchmark, "readme_lines", lambda record: [record["line"]])
    atomic.write_json(tmp_path / "benchmark.json", {"line": "| b |"})
    options = [word for path in marked for word in ("--readme", str(path))]
    monkeypatch.setattr("sys.argv", ["benchmark.py", "--no-measure", "--out", str(tmp_path), *options])
    script = experiment("benchmark")
    with pytest.raises(SystemExit) as end:
        script.cli.run(script.main, script.__doc__)
    assert end.value.code == 0
    for path in marked:
        assert path.read_text().endswith("<!-- speed -->\n| b |\n<!-- /speed -->\n")
