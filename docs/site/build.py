"""Build the site into out/site/html, where it can be read from the file system, without a server or a connection.

Needs: pip install '.[docs]'. The pages are written from the repository's own into out/site/pages first; everything
after the options of this program goes to sphinx-build.

Examples:
  python docs/site/build.py
  python docs/site/build.py -E        # from nothing
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import contents
import pages
import reference


def write_pages(folder: Path) -> None:
    """Write the source of the site, leaving files alone that are as they were."""
    written: dict[str, str | bytes] = {**pages.all_pages(), **reference.pages()}
    for name, content in written.items():
        new = content.encode() if isinstance(content, str) else content
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != new:
            path.write_bytes(new)
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in written:
            path.unlink()


def main(options: list[str]) -> int:
    """Write the pages and run Sphinx; returns its exit code."""
    from sphinx.cmd.build import main as sphinx_build

    out = contents.ROOT / "out" / "site"
    write_pages(out / "pages")
    here = str(Path(__file__).parent)
    strict = ["-n", "-W", "--keep-going", "-q"]
    places = ["-c", here, "-d", str(out / "doctrees"), str(out / "pages"), str(out / "html")]
    return sphinx_build([*strict, "-b", "html", *options, *places])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
