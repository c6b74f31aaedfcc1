"""The reference's pages, from the packages' lists of public names: one page per module and one per name."""

import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from contents import MODULES


def public_names(module: str) -> list[str]:
    """The public names of a module: its ``__all__``, or what it defines without an underscore."""
    found = importlib.import_module(module)
    if hasattr(found, "__all__"):
        return [name for name in found.__all__ if not isinstance(getattr(found, name), ModuleType)]
    return [
        name
        for name, value in vars(found).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module
    ]


def documented() -> dict[str, tuple[str, Any]]:
    """Public name with its module → the name under which the reference documents it, and the object.

    An object that several modules offer is documented once, in the first of :data:`contents.MODULES`.
    """
    first: dict[int, str] = {}
    found = {}
    for module in MODULES:
        for name in public_names(module):
            value = getattr(importlib.import_module(module), name)
            shared = inspect.isclass(value) or inspect.isfunction(value)
            full = f"{module}.{name}"
            found[full] = (first.setdefault(id(value), full) if shared else full, value)
    return found


def pages() -> dict[str, str]:
    """Path in the site → reStructuredText, of the whole reference."""
    names = documented()
    written = {"reference/index.rst": _index()}
    for module in MODULES:
        written[f"reference/{module}.rst"] = _module_page(module, names)
    for full, (documented_as, value) in names.items():
        if documented_as == full and not _is_constant(value):
            written[f"reference/{full}.rst"] = _name_page(full, value)
    return written


def _is_constant(value: Any) -> bool:
    return not (inspect.isclass(value) or inspect.isfunction(value))


def _index() -> str:
    text = (
        "Every public name of kerasnets, from the docstrings of the code. Shapes are given as ``(batch, …)``. The "
        "examples begin with ``import keras, kerasnets`` and ``import numpy as np``, and run as tests, on PyTorch."
    )
    entries = "\n".join(f"   {module}" for module in MODULES)
    return f"{_heading('Reference')}\n{text}\n\n.. toctree::\n   :maxdepth: 1\n\n{entries}\n"


def _module_page(module: str, names: dict[str, tuple[str, Any]]) -> str:
    parts = [_heading(module)]
    if MODULES[module]:
        parts.append(f"Also as ``{MODULES[module]}``.\n")
    parts.append(f".. automodule:: {module}\n")
    mine = {full: entry for full, entry in names.items() if full.rpartition(".")[0] == module}
    listed = [there.removeprefix(f"{module}.") for there, value in mine.values() if not _is_constant(value)]
    if listed:
        parts.append(".. autosummary::\n   :nosignatures:\n\n" + "".join(f"   {name}\n" for name in listed))
    aliases = [f"``{full}`` is :obj:`{there}`." for full, (there, _) in mine.items() if there != full]
    parts += [f"{alias}\n" for alias in aliases]
    parts += [_constant(full, value) for full, (_, value) in mine.items() if _is_constant(value)]
    own = [full for full, (there, value) in mine.items() if there == full and not _is_constant(value)]
    if own:
        entries = "".join(f"   {full.rpartition('.')[2]} <{full}>\n" for full in own)
        parts.append(f".. toctree::\n   :hidden:\n\n{entries}")
    return "\n".join(parts)


def _constant(full: str, value: Any) -> str:
    module, _, name = full.rpartition(".")
    text = " ".join(_comment_above(importlib.import_module(module), name)) or "A constant."
    listed = ", ".join(f"``{key!r}``" for key in value) if isinstance(value, dict | tuple) else f"``{value!r}``"
    return f".. py:data:: {name}\n\n   {text.replace('`', '``')}\n\n   {listed}\n"


def _comment_above(module: ModuleType, name: str) -> Iterator[str]:
    """The lines of the comment that begins with ``#:`` above the definition of a constant."""
    for source in (module, *(value for value in vars(module).values() if isinstance(value, ModuleType))):
        if not source.__name__.startswith("kerasnets"):
            continue
        found = re.search(rf"((?:^#:.*\n)+)^{name}\b.*=", inspect.getsource(source), re.MULTILINE)
        if found:
            yield from (line.removeprefix("#:").strip() for line in found[1].splitlines())
            return


def _name_page(full: str, value: Any) -> str:
    module, _, name = full.rpartition(".")
    directive = f".. autoclass:: {name}\n   :members:\n" if inspect.isclass(value) else f".. autofunction:: {name}\n"
    return f"{_heading(name)}\n.. currentmodule:: {module}\n\n{directive}"


def _heading(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n"
