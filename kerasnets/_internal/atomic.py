"""Atomic file writes: however a write ends, the file is the old one or the new one, complete."""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replaced(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path to write to; it becomes the file `path` at the end of the block.

    >>> with replaced("model.keras") as unfinished:
    ...     model.save(unfinished)

    The temporary file is in the same folder, has the same suffixes, and is removed if the block raises. Like ``open``,
    this follows links, keeps the permissions of an existing file, and refuses one that is read-only.

    Raises:
        OSError: the file can't be written.
    """
    path = Path(os.path.realpath(path))
    if path.exists():
        path.open("r+b").close()
    unfinished = path.with_name(f".unfinished-{secrets.token_hex(4)}{''.join(path.suffixes)}")
    try:
        yield unfinished
        with unfinished.open("r+b") as file:
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, unfinished)
        unfinished.replace(path)
    except OSError as error:
        if error.errno and error.filename in (None, str(unfinished)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, content: bytes | memoryview) -> None:
    """Write `content` to the file `path`."""
    with replaced(path) as unfinished:
        unfinished.write_bytes(content)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write `content` as JSON to the file `path`."""
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


def replace_marked(path: Path, mark: str, lines: Sequence[str]) -> None:
    """Put `lines` between the lines ``<!-- mark -->`` and ``<!-- /mark -->`` of the text file `path`.

    Raises:
        ValueError: the file has no such two lines.
    """
    text = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->\n"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} has no lines {begin.strip()} and {end.strip()} to write between.")
    write_bytes(path, (head + begin + "\n".join(lines) + "\n" + end + tail).encode())
