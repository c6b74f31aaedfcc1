"""The pages of the site, from the repository's own: links between them stay, links to source files become text."""

import os
import re
from pathlib import Path

import contents
import nbformat
from contents import ROOT

_BLOCK = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def adapt_links(text: str, path: Path) -> str:
    """The text of the page `path` with the links that the site needs.

    Raises:
        ValueError: a link leads to nothing.
    """
    parts = _BLOCK.split(text)
    parts[::2] = [_LINK.sub(lambda link: _adapt(link, path), prose) for prose in parts[::2]]
    return "".join(parts)


def _adapt(link: re.Match, path: Path) -> str:
    picture, text, target = link.groups()
    if "://" in target or target.startswith("#"):
        return link[0]
    file, _, anchor = target.partition("#")
    found = Path(os.path.normpath(path.parent / file))
    if not (ROOT / found).exists():
        raise ValueError(f"{path}: the link {target} leads to nothing.")
    there = contents.site_path(found)
    if there is None:
        name = found.as_posix()
        return f"`{name}`" if name.endswith(text.strip("`")) else f"{text} (`{name}`)"
    relative = os.path.relpath(there, Path(contents.site_path(path) or "").parent)
    return f"{picture}[{text}]({relative}{'#' if anchor else ''}{anchor})"


def cut_start(text: str) -> str:
    """The first sections of a README."""
    return "".join(re.split(r"^(?=## )", text, flags=re.MULTILINE)[: contents.START_SECTIONS + 1])


def toctree(entries: list[str], *, hidden: bool = False) -> str:
    """A table of contents with these pages, each its place in the site or ``title </place>``."""
    options = [":maxdepth: 1", *([":hidden:"] if hidden else [])]
    places = [entry if "<" in entry else f"/{entry}" for entry in entries]
    return "\n".join(["```{toctree}", *options, *places, "```", ""])


def page(path: Path) -> str:
    """The site's version of a page of the repository."""
    text = (ROOT / path).read_text(encoding="utf-8")
    top = contents.TOP.get(contents.site_path(path) or "")
    if top is None:
        return adapt_links(text, path)
    return f"{adapt_links(cut_start(text), path)}\n{toctree(top, hidden=True)}"


def section(name: str) -> str:
    """The page of a section: a few words and its pages."""
    heading, introduction, _ = contents.SECTIONS[name]
    entries = [Path(contents.site_path(path) or "").with_suffix("").as_posix() for path in contents.pages_of(name)]
    return f"# {heading}\n\n{introduction}\n\n{toctree(entries)}"


def notebook(path: Path) -> str:
    """A stored notebook whose pictures have an alternative text: the heading above and the call that draws."""
    read = nbformat.read(ROOT / path, as_version=4)
    heading = ""
    for cell in read.cells:
        if cell.cell_type == "markdown":
            cell.source = adapt_links(cell.source, path)
            heading = (re.findall(r"^#+ (.*)$", cell.source, re.MULTILINE) or [heading])[-1]
        elif any("image/png" in output.get("data", {}) for output in cell.outputs):
            drawn = re.findall(r"plots\.(\w+)", cell.source)
            cell.metadata["mystnb"] = {"image": {"alt": f"{heading} ({', '.join(dict.fromkeys(drawn))})"}}
    return nbformat.writes(read)


def title(path: Path) -> str:
    """The heading of a page, or of a notebook."""
    if path.suffix == ".ipynb":
        return re.search(r"^# (.*)$", nbformat.read(ROOT / path, as_version=4).cells[0].source, re.MULTILINE)[1]
    return re.search(r"^# (.*)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)[1]


def untranslated() -> str:
    """The list of pages that only English has, for the readers of Chinese."""
    shown = [path for name in contents.SECTIONS if not name.startswith("zh/") for path in contents.pages_of(name)]
    missing = [path for path in (*shown, Path("CHANGELOG.md")) if not _in_chinese(path).exists()]
    lines = [f"- [{title(path)}](../{contents.site_path(path)})" for path in missing]
    lines.append("- {doc}`/reference/index`")
    introduction = "以下页面只有英文版。本页在构建网站时自动生成：英文页面有了中文版，就从这里消失。"
    return "\n".join(["# 尚未翻译的页面", "", introduction, "", *lines, ""])


def _in_chinese(path: Path) -> Path:
    return ROOT / path.parent / "zh" / path.name


def all_pages() -> dict[str, str | bytes]:
    """Path in the site → contents, of everything but the reference."""
    renamed = [ROOT / name for name in contents.RENAMED]
    files = [*renamed, *sorted(ROOT.glob("docs/*.*")), *sorted(ROOT.glob("docs/zh/*.md"))]
    written: dict[str, str | bytes] = {f"{name}.md": section(name) for name in contents.SECTIONS}
    for file in files:
        path = file.relative_to(ROOT)
        if (there := contents.site_path(path)) is not None:
            written[there] = page(path) if path.suffix == ".md" else file.read_bytes()
    for name in ("tutorials", "zh/tutorials"):
        written |= {contents.site_path(path) or "": notebook(path) for path in contents.pages_of(name)}
    written["zh/untranslated.md"] = untranslated()
    return written
