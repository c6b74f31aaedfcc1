"""Which parameters a PyTorch optimizer numbers, and in which order: its parameter groups, as entries of the model."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from kerasnets.interop.layer_weights import BUFFERS, Entry
from kerasnets.interop.weights import entries, strip_prefixes
from kerasnets.optimizers import Optimizer

#: The parameters' names in PyTorch's order: one list, or one list per parameter group of the optimizer.
Names = Sequence[str] | Sequence[Sequence[str]]


def find_groups(
    model: keras.Model, optimizer: Optimizer, names: Names | None, count: int | None = None
) -> list[list[Entry]]:
    """Return the entries of each parameter group, in PyTorch's order; builds the optimizer.

    Without `names` there is one group: of the trained parameters if there are `count` of them, otherwise of all.

    Raises:
        ValueError: `names` contain a name twice, lack a trained parameter, or have one that the model lacks.
        TypeError: `names` are not strings.
    """
    known = {e.name: e for e in entries(model) if e.name.rpartition(".")[2] not in BUFFERS}
    optimizer.build(model.trainable_variables)
    trained = [name for name, entry in known.items() if optimizer.is_built_for(entry.variable)]
    if names is None:
        names = trained if len(trained) == count else list(known)
    groups = _to_lists(names)
    given = [name for group in groups for name in group]
    if repeated := [name for name, times in Counter(given).items() if times > 1]:
        raise ValueError(f"`names` contain {repeated} more than once.")
    given = list(strip_prefixes(dict.fromkeys(given), known))
    missing, unexpected = [n for n in trained if n not in given], [n for n in given if n not in known]
    if missing or unexpected:
        raise ValueError(f"`names` are not the model's parameters: missing {missing}, unexpected {unexpected}.")
    rest = iter(given)
    return [[known[next(rest)] for _ in group] for group in groups]


def trained_variables(optimizer: Optimizer, group: Iterable[Entry]) -> list[keras.Variable]:
    """Return the variables of a group that the optimizer trains."""
    return [e.variable for e in group if e.variable is not None and optimizer.is_built_for(e.variable)]


def _to_lists(names: Any) -> list[list[str]]:
    """Return `names` as one list per group."""

    def to_list(value):
        return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value

    names = to_list(names)
    several = isinstance(names, list) and not all(isinstance(name, str) for name in names)
    groups = [to_list(group) for group in names] if several else [names]
    for group in groups:
        wrong = [name for name in group if not isinstance(name, str)] if isinstance(group, list) else [group]
        if wrong:
            raise TypeError(
                "Expected `names` as a list of strings, [name for name, _ in original.named_parameters()], or a list "
                f"of such lists; instead of a {'string' if isinstance(group, list) else 'list'} there is a "
                f"{type(wrong[0]).__name__}."
            )
    return groups
