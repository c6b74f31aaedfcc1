"""The graph of a model: its calls, and their places in a diagram."""

from typing import Any

import numpy as np

from kerasnets._internal import keras_private


def list_calls(model: Any) -> list:
    """The calls of layers in a model's graph, with each call after those whose outputs it takes.

    Raises:
        ValueError: the model is neither Functional nor Sequential, or is not built.
    """
    nodes = keras_private.list_calls(model)
    if not nodes:
        raise ValueError(
            f"Expected a built Functional or Sequential model, whose layers form a known graph; got a "
            f"{type(model).__name__}. Give a Sequential model an Input, or call it once."
        )
    return nodes


def list_parents(node: Any) -> list:
    """The calls whose outputs a call takes, without repetitions."""
    if node.is_input:
        return []
    return list(dict.fromkeys(map(keras_private.node_behind, node.input_tensors)))


def place_calls(nodes: list) -> dict[Any, tuple[int, float]]:
    """The row of each call, one below its lowest parent, and its place in the row, in boxes from the middle."""
    level: dict[Any, int] = {}
    for node in nodes:  # parents come first
        level[node] = 1 + max((level[parent] for parent in list_parents(node)), default=-1)
    places: dict[Any, tuple[int, float]] = {}
    for row in range(max(level.values()) + 1):
        members = [node for node in nodes if level[node] == row]
        # Below the parents, so that arrows cross little.
        members.sort(key=lambda node: np.mean([places[parent][1] for parent in list_parents(node)] or [0]))
        for i, node in enumerate(members):
            places[node] = (row, i - (len(members) - 1) / 2)
    return places
