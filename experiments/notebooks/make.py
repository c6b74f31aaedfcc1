"""Build the notebooks in English and Chinese, run them, and store them with what they show.

A source is a file of this folder: its cells begin with "# %% en" or "# %% zh" for text in one language, and "# %%" for
code, which both share. The English notebooks are without the code's lang="zh". A notebook whose text alone has changed
keeps its outputs.

With --check nothing is stored: the English notebooks are run, and on PyTorch the lines that they print are compared
with the stored ones, all but their numbers. Needs: pip install '.[notebooks]', and a Chinese font to store.

Examples:
  python experiments/notebooks/make.py
  python experiments/notebooks/make.py --name 1_first_network
  python experiments/notebooks/make.py --check
"""

import base64
import hashlib
import io
import re
from pathlib import Path
from typing import Annotated

import nbformat
import typer

from kerasnets import backend as backends, cli

FOLDER = Path(__file__).parent
SOURCES = sorted(FOLDER.glob("[1-9]_*.py"))
LANGUAGES = ("en", "zh")
#: Enough for the pictures' anti-aliased lines, grey images and colour bars.
COLORS = 64
#: The start of Keras's lines that depends on the machine.
_TIMES = re.compile(r"^\d+/\d+ - \d+m?s - .*?/step - ", re.MULTILINE)


def main(
    name: Annotated[str | None, typer.Option(help="Only this notebook.  [default: all]", show_default=False)] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare with the stored notebooks, store nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Run notebooks whose code is as stored, too.")] = False,
) -> None:
    """Run the notebooks one after the other."""
    found = [source for source in SOURCES if name in (None, source.stem)]
    if not found:
        cli.fail(f"No notebook {name!r}; there are {', '.join(source.stem for source in SOURCES)}.")
    if not check:
        from kerasnets.plots import canvas

        if canvas.find_undrawable("字"):
            cli.fail("No font has Chinese characters. On Debian and Ubuntu: apt-get install fonts-noto-cjk")
    changed = []
    for source in found:
        for lang in LANGUAGES[:1] if check else LANGUAGES:
            path = stored(source, lang)
            print(f"{path.relative_to(FOLDER)} …", flush=True)
            notebook, old = build(source, lang), nbformat.read(path, as_version=4) if path.exists() else None
            known = old is not None and old.metadata.get("kerasnets", {}).get("code") == digest(notebook)
            if check:
                run(notebook)
                if backends.backend() == "torch" and (old is None or lines(notebook) != lines(old)):
                    changed.append(path.name)
                continue
            take_outputs(notebook, old) if known and not again else run(notebook)
            path.parent.mkdir(exist_ok=True)
            nbformat.write(notebook, path)
    if changed:
        cli.fail(f"No longer what the code prints: {', '.join(changed)}. Run this without --check.")


def stored(source: Path, lang: str) -> Path:
    """The notebook of a source in a language."""
    return (FOLDER if lang == "en" else FOLDER / lang) / f"{source.stem}.ipynb"


def build(source: Path, lang: str) -> nbformat.NotebookNode:
    """The notebook of a source in a language, not run."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata.language_info = {"name": "python"}
    parts = re.split(r"^# %%(.*)\n", source.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for kind, text in zip(parts[1::2], parts[2::2], strict=True):
        if not kind:
            code = text if lang == "zh" else re.sub(r'(, )?(lang=)?"zh"', "", text)
            cell = nbformat.v4.new_code_cell(code.strip())
        elif kind.strip() == lang:
            cell = nbformat.v4.new_markdown_cell(re.sub("^# ?", "", text, flags=re.MULTILINE).strip())
        else:
            continue
        cell.id = f"cell-{len(notebook.cells)}"
        notebook.cells.append(cell)
    return notebook


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells of a notebook that are not text."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def take_outputs(notebook: nbformat.NotebookNode, old: nbformat.NotebookNode) -> None:
    """Give a notebook the outputs of one with the same code."""
    for cell, before in zip(code_cells(notebook), code_cells(old), strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    notebook.metadata.kerasnets = old.metadata.kerasnets


def run(notebook: nbformat.NotebookNode) -> None:
    """Fill a notebook with the outputs of its cells, made small, and note the digest of the code that gave them."""
    from nbclient import NotebookClient

    NotebookClient(notebook, timeout=1200, kernel_name="python3", coalesce_streams=True).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = shrink(output.data["image/png"])
            if output.output_type == "stream":
                output.text = _TIMES.sub("", output.text)
    notebook.metadata.language_info = {"name": "python"}
    notebook.metadata.kerasnets = {"code": digest(notebook)}


def shrink(png: str) -> str:
    """A base64-coded PNG with few colours."""
    from PIL import Image

    small = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    few = image.quantize(COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def digest(notebook: nbformat.NotebookNode) -> str:
    """A digest of a notebook's code."""
    return hashlib.sha256("\0".join(cell.source for cell in code_cells(notebook)).encode()).hexdigest()[:16]


def lines(notebook: nbformat.NotebookNode) -> list[str]:
    """What each code cell prints, without numbers and spaces, and the kinds of its other outputs."""
    return [
        " ".join(
            without_numbers(output.text) if output.output_type == "stream" else ",".join(sorted(output.get("data", {})))
            for output in cell.outputs
        )
        for cell in code_cells(notebook)
    ]


def without_numbers(text: str) -> str:
    """A text without numbers, signs and spaces, which may differ between machines."""
    return re.sub(r"\d\.?e[+-]|[\d\s.,+−-]", "", text)


if __name__ == "__main__":
    cli.run(main, __doc__)
