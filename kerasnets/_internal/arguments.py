"""Argument checks shared by several modules; each returns the argument as a plain Python value."""

import difflib
import math
import numbers
import os
import types
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any


def count(number: int, what: str) -> str:
    """``"1 epoch"``, ``"2 epochs"``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def check_number(name: str, value: Any, low: float = 0.0, *, above: bool = False, below: float = math.inf) -> float:
    """`value` as a Python float, once it is a number in [`low`, `below`), or in (`low`, `below`) where `above`.

    Raises:
        ValueError: it isn't; the message has `name`, the value and the range.
    """
    if not is_real(value) or not low <= value < below or (above and value == low):
        hint = ""
        if name == "learning_rate" and hasattr(value, "learning_rate"):
            hint = " A schedule takes the base rate, and is itself given to the optimizer as its learning_rate."
        upper = "" if below == math.inf else f" and < {below:g}"
        raise ValueError(
            f"Invalid {name}: {value!r}; expected a finite number {'>' if above else '≥'} {low:g}{upper}.{hint}"
        )
    return float(value)


def check_integer(name: str, value: Any, low: int = 1, most: float = math.inf) -> int:
    """`value` as a Python int, once it is a whole number from `low` to `most`.

    Raises:
        ValueError: it isn't; the message has `name`, the value and the range.
    """
    if not _is_whole(value) or not low <= value <= most:
        upper = "" if most == math.inf else f" and ≤ {most:,}"
        raise ValueError(f"Invalid {name}: {value!r}; expected a whole number ≥ {low}{upper}.")
    return int(value)


def is_real(value: Any) -> bool:
    """Whether `value` is a real number of any type: to a type checker, a float is not a ``numbers.Real``."""
    return isinstance(value, numbers.Real)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_path(name: str, value) -> Path:
    """`value` as a Path, if it is the name of a file or folder; else a TypeError with `name` and the value."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name}={value!r}: expected the path of a file or folder.")
    return Path(value)


def check_sizes(name: str, values, count: int | None = None) -> tuple[int, ...]:
    """`values`, one or several, as a tuple of positive ints, `count` of them where given; else a ValueError."""
    given = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else (values,)
    whole = all(_is_whole(size) and size > 0 for size in given)
    if not given or not whole or (count is not None and len(given) != count):
        many = f"{count} positive whole numbers" if count else "positive whole numbers"
        raise ValueError(f"{name}={values!r}: expected {'one positive whole number' if count == 1 else many}.")
    return tuple(map(int, given))


def check_image_shape(name: str, value) -> tuple[int, ...]:
    """`value` as a tuple, if it is (height, width), or (height, width, channels) of colour images; else a ValueError.

    PyTorch's order, with one or three channels before height and width, is an error, too.
    """
    shape = check_sizes(name, value)
    if len(shape) not in (2, 3):
        raise ValueError(f"{name}={value!r}: expected (height, width), or (height, width, channels) for colour images.")
    if len(shape) == 3 and shape[0] in (1, 3) and shape[2] > 4:
        channels, height, width = shape
        right = (height, width) if channels == 1 else (height, width, channels)
        raise ValueError(f"{name}={value!r}: expected the channels last, and none for grey images: {right!r}.")
    return shape


def check_rate(name: str, value) -> float:
    """`value` as a dropout rate in [0, 1); else a ValueError."""
    return check_number(name, value, below=1.0)


def check_choice(name: str, value, choices: Collection[str]) -> str:
    """`value`, if it is one of `choices`; else a ValueError lists them."""
    if value not in choices:
        raise ValueError(
            f"{name}={value!r}: expected one of {', '.join(map(repr, choices))}.{did_you_mean(value, choices)}"
        )
    return value


#: What other libraries call something → what it may be called here.
_ALIASES = {"cuda": "gpu", "tf": "tensorflow", "fashion": "fashion_mnist", "digits": "mnist", "half": "bfloat16"}


def find_near(value: Any, choices: Iterable[str], aliases: Mapping[str, str] = _ALIASES) -> str | None:
    """The one of `choices` that was probably meant by `value`; None if none is near."""
    if not isinstance(value, str):
        return None
    plain = {_plain(choice): choice for choice in choices}
    wanted = _plain(value)
    wanted = _plain(aliases.get(wanted.partition(":")[0], wanted))
    near = difflib.get_close_matches(wanted, plain, n=1, cutoff=0.6)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    """`name` without what differs between libraries: FashionMNIST, fashion-mnist and fashion_mnist are one."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def did_you_mean(value: Any, choices: Iterable[str]) -> str:
    """`` Did you mean 'torch'?``, to be added to a message; empty if nothing is near."""
    near = find_near(value, choices)
    return "" if near is None else f" Did you mean {near!r}?"


def check_known(kind: str, value: Any, choices: Collection[str]) -> None:
    """Raise a ValueError, with the choices and the nearest one, unless `value` is the name of a `kind`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"Unknown {kind} {value!r}; expected one of {', '.join(map(repr, choices))}.{did_you_mean(value, choices)}"
        )


_TORCH_CLASSES = {
    ("torch.nn.modules.module", "Module"): "torch.nn.Module",
    ("torch.optim.optimizer", "Optimizer"): "torch.optim.Optimizer",
    ("torch.utils.data.dataset", "Dataset"): "torch.utils.data.Dataset",
}


def name_torch_object(value: Any) -> str | None:
    """The name of a module, loss, optimizer, data set or ``functional`` of PyTorch's; None for anything else.

    Does not import PyTorch. Keras's layers on the torch backend derive from ``torch.nn.Module``; they are Keras's.
    """
    if isinstance(value, types.FunctionType) and value.__module__ == "torch.nn.functional":
        return f"torch.nn.functional.{value.__name__}"
    cls = value if isinstance(value, type) else type(value)
    bases = [(base.__module__, base.__name__) for base in cls.__mro__]
    if any(module.partition(".")[0] == "keras" for module, _ in bases):
        return None
    for base, name in _TORCH_CLASSES.items():
        if base in bases:
            package = name.rpartition(".")[0]
            known = cls.__module__.startswith(package) or base == (cls.__module__, cls.__name__)
            return f"{package}.{cls.__name__}" if known else f"{cls.__name__} (a {name})"
    return None


def refuse_torch_model(function: str, model: Any) -> None:
    """Raise a TypeError if `model`, which `function` got, is a PyTorch module."""
    if name := name_torch_object(model):
        raise TypeError(
            f"{function} got PyTorch's {name}; expected a Keras model. Build the network in Keras, as kerasnets.build "
            "does, and load the weights: kerasnets.load_state_dict(model, module.state_dict())."
        )
