"""Files that are either the old one or the new one, whole, whenever the program is killed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON into the file `path`, which gets its name when it is complete."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    unfinished.replace(path)


def replace_marked(path: Path, mark: str, lines: Sequence[str]) -> None:
    """Put `lines` between the lines ``<!-- mark -->`` and ``<!-- /mark -->`` of the text file `path`.

    Raises:
        ValueError: the file has no such two lines.
    """
    text = path.read_text()
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->\n"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} has no lines {begin.strip()} and {end.strip()} to write between.")
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(head + begin + "\n".join(lines) + "\n" + end + tail)
    unfinished.replace(path)
