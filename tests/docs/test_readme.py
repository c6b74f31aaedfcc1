"""The README and the pages in both languages: they say the same, what they name is there, and what they print runs."""

import ast
import functools
import importlib.util
import os
import re

import pytest
from processes import ROOT, run

import kerasnets
from kerasnets._internal import atomic
from kerasnets.verify import benchmark

pytestmark = pytest.mark.once

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
DOCS = ROOT / "docs"
#: A page in English and in Chinese.
PAIRS = [(ENGLISH, CHINESE), *((DOCS / page.name, page) for page in sorted((DOCS / "zh").glob("*.md")))]
in_both = pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda path: path.stem)
each = pytest.mark.parametrize("path", [ENGLISH, CHINESE, *sorted(DOCS.rglob("*.md"))], ids=lambda path: path.name)


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
    """The files that a page links to or shows."""
    prose = re.sub(r"```.*?```", "", text(path), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]
    return [os.path.normpath(path.parent / link) for link in links if link]


def constants(row: str) -> tuple[list[str], list[str]]:
    """What a translation leaves as it is: the code and the numbers, whose order may change."""
    return sorted(re.findall(r"`[^`]+`", row)), sorted(re.findall(r"\d+(?:\.\d+)*", row))


def experiment(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_has_two_commands():
    assert [kind for kind, _ in code_blocks(ENGLISH)].count("sh") == 2


@in_both
def test_code_is_the_same(english, chinese):
    assert code_blocks(chinese) == code_blocks(english)


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (ENGLISH, {"model.keras"}),
        (DOCS / "guide.md", {"model.keras"}),
        (DOCS / "coming-from-pytorch.md", {"weights.pt", "back.pt"}),
        (DOCS / "port-your-model.md", {"trained.pt"}),
    ],
    ids=lambda value: getattr(value, "stem", ""),
)
def test_python_runs_as_printed_and_in_order(path, written, tmp_path):
    """On torch, which is there after the first command; of the loops for each backend the one for torch."""
    blocks = re.findall(r"^```python\n(.*?)^```$", text(path), re.DOTALL | re.MULTILINE)
    others = tuple(f"# {name}\n" for name in kerasnets.backend.BACKENDS if name != "torch")
    script = tmp_path / "page.py"
    printed = "\n".join(block for block in blocks if not block.startswith(others))
    script.write_text(f"import os\n\nos.chdir({str(tmp_path)!r})\n{printed}")
    done = run(str(script), backend="torch")
    for shown in re.findall(r"^```text\n(.*?)^```$", text(path), re.DOTALL | re.MULTILINE):
        assert shown.startswith("$ ") or shown in done.stdout  # a command has a test of its own
    assert written <= {path.name for path in tmp_path.iterdir()}


def test_generated_blocks_are_the_same():
    english, chinese = (
        dict(re.findall(r"^<!-- (\w+) -->\n(.*?)^<!-- /\1 -->$", text(path), re.DOTALL | re.MULTILINE))
        for path in (ENGLISH, CHINESE)
    )
    assert english.keys() == {"results", "speed"}
    assert chinese == english


@in_both
def test_tables_have_the_same_rows(english, chinese):
    assert [len(table) for table in tables(chinese)] == [len(table) for table in tables(english)] != []
    for rows in zip(tables(english), tables(chinese), strict=True):
        for row, translated in zip(*rows, strict=True):
            assert constants(without_links(translated)) == constants(without_links(row))
            assert translated.count("|") == row.count("|")


def without_links(row: str) -> str:
    return re.sub(r"\]\([^)]*\)", "]", row).replace("docs/zh/", "docs/")


@in_both
def test_sections_and_links_are_the_same(english, chinese):
    levels = [re.findall(r"^#+(?= )", re.sub(r"```.*?```", "", text(path), flags=re.DOTALL), re.MULTILINE)
              for path in (english, chinese)]  # fmt: skip
    assert levels[0] == levels[1]
    assert relative_links(english)[0] == str(chinese)
    assert relative_links(chinese)[0] == str(english)
    in_english = {str(of_chinese): str(of_english) for of_english, of_chinese in PAIRS}
    links = [in_english.get(link, link) for link in relative_links(chinese)[1:]]
    assert links == relative_links(english)[1:]


@each
def test_what_is_linked_and_named_is_there(path):
    named = {*relative_links(path), *re.findall(r"\b(?:experiments|tests)/\w+\.py\b", text(path))}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_readme_leads_to_every_page():
    assert {str(page) for page in DOCS.glob("*.md")} <= set(relative_links(ENGLISH))
    assert {str(chinese) for _, chinese in PAIRS} <= {*relative_links(CHINESE), str(CHINESE)}


@pytest.mark.parametrize("path", [DOCS / "experiments.md", DOCS / "zh" / "experiments.md"], ids=["en", "zh"])
def test_every_experiment_is_named(path):
    named = re.findall(r"`python experiments/(\w+)\.py", text(path))
    assert {script.stem for script in (ROOT / "experiments").glob("*.py")} <= set(named)


@pytest.mark.parametrize("path", [path for pair in PAIRS for path in pair], ids=lambda path: path.name)
def test_every_name_of_kerasnets_exists(path):
    names = re.findall(r"(?<![\w./])(?:kerasnets|layers|losses|optimizers|schedules)(?:\.[A-Za-z]\w*)+", text(path))
    assert names
    for name in sorted(set(names)):
        functools.reduce(getattr, name.removeprefix("kerasnets.").split("."), kerasnets)


@pytest.fixture
def marked(tmp_path):
    """Two files with marks, in place of the READMEs."""
    paths = [tmp_path / ENGLISH.name, tmp_path / CHINESE.name]
    for path in paths:
        path.write_text(f"{path.name}\n<!-- results -->\n<!-- /results -->\n<!-- speed -->\n<!-- /speed -->\n")
    return paths


def test_reproduce_writes_both(marked, monkeypatch):
    reproduce = experiment("reproduce")
    assert reproduce.READMES == (ENGLISH, CHINESE)
    monkeypatch.setattr(reproduce, "READMES", marked)
    reproduce.write_readmes(["| a |", "|---|"])
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
