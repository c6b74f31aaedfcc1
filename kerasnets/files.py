"""Files that are either the old one or the new one, whole, whenever the program is killed."""

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON into the file `path`, which gets its name when it is complete."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    unfinished.replace(path)
