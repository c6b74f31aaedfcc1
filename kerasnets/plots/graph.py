"""The graph of a model: its calls, and their places in a diagram.

Keras has no public way to walk a graph: this reads the nodes as its own ``summary`` does.
"""

from typing import Any

import numpy as np


def list_calls(model: Any) -> list:
    """The calls of layers in a model's graph, with each call after those whose outputs it takes.

    Raises:
        ValueError: the model is neither Functional nor Sequential, or is not built.
    """
    graph = getattr(model, "_functional", None) or model
    by_depth = getattr(graph, "_nodes_by_depth", None)  # inputs have the largest depth
    if not by_depth:
        raise ValueError(
            f"Expected a built Functional or Sequential model, whose layers form a known graph; got a "
            f"{type(model).__name__}. Give a Sequential model an Input, or call it once."
        )
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def list_parents(node: Any) -> list:
    """The calls whose outputs a call takes, without repetitions."""
    histories = [tensor._keras_history for tensor in node.input_tensors]
    return list(dict.fromkeys(h.operation._inbound_nodes[h.node_index] for h in histories if not node.is_input))


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
