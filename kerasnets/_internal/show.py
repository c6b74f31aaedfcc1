"""How optimizers, losses and schedules print: as the call that makes them."""

import inspect
import reprlib
from collections.abc import Mapping
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxother = _SHORT.maxstring = 300  # a schedule in an optimizer is shown whole


def as_call(thing: Any, values: Mapping[str, Any]) -> str:
    """``SGD(learning_rate=0.01, momentum=0.9, …)``.

    Args:
        thing: an object.
        values: its arguments by name. Those that its constructor doesn't name, None and False are left out.
    """
    known = inspect.signature(type(thing).__init__).parameters
    shown = [
        f"{name}={_SHORT.repr(values[name])}"
        for name in known
        if name in values and name not in ("name", "dtype") and values[name] is not None and values[name] is not False
    ]
    return f"{type(thing).__name__}({', '.join(shown)})"
