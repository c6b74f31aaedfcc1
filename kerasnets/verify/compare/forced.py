"""Each layer on PyTorch's own input: the place of a difference, whatever went wrong before it.

Keras's graph runs call by call. At each matched layer its input is compared with the module's, which judges the
functions between the two last layers; then the layer runs on the module's input, which judges the layer itself; and the
run goes on with the module's output.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasnets._internal.arrays import to_numpy
from kerasnets._internal.feature_order import Layout
from kerasnets.verify.compare.calls import Call
from kerasnets.verify.compare.keras_side import KerasCall, run_call, run_calls
from kerasnets.verify.compare.match import Match
from kerasnets.verify.differences import relative_difference

#: Largest relative difference of one layer or a few functions: Keras computes some of float64 in float32 (keras issue
#: 23704), so that it is some hundred roundings of that type.
LOCAL = 3e-5


@dataclasses.dataclass(frozen=True)
class Local:
    """The differences at one pair.

    Attributes:
        torch, keras: positions of the calls; −1, −2 … for the outputs of the two networks.
        before: difference of the inputs; infinite if the shapes differ, None if there is nothing to compare.
        own: difference of the layer's outputs for the same input; the same.
        shapes: PyTorch's and Keras's shapes, if they don't fit; of the inputs or the outputs.
        moved: whether the inputs have the same values in another order.
        swapped: for an output that differs, the number of PyTorch's output that has these values; −1 if none has.
    """

    torch: int
    keras: int
    before: float | None
    own: float | None
    shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    moved: bool = False
    swapped: int = -1


def fit_layout(
    value: np.ndarray, shape: Sequence[int], layout: Layout = None, both_ways: bool = False
) -> list[np.ndarray]:
    """PyTorch's value in Keras's layout: every arrangement that has the shape.

    Args:
        value: PyTorch's, ``(batch, channels, …)``.
        shape: Keras's.
        layout: the order of the features of a vector.
        both_ways: whether the last step of a sequence is that of a bidirectional layer.
    """
    shape = tuple(shape)
    found = []
    if isinstance(layout, np.ndarray) and layout.ndim == 1 and value.ndim == 2 and layout.size == value.shape[1]:
        found.append(value[:, layout])
    if value.ndim > 2:
        moved = np.moveaxis(value, 1, -1)
        found.append(moved)
        if value.ndim == len(shape) + 1:
            half = value.shape[2] // 2
            ends = np.concatenate([value[:, -1, :half], value[:, 0, half:]], -1)
            found.append(ends if both_ways else value[:, -1])
    found.append(value)
    fitting = [v for v in found if v.shape == shape]
    if not fitting and value.size == np.prod(shape) and value.ndim != len(shape):
        fitting = [v.reshape(shape) for v in found if v.size == value.size]
    return fitting


def nearest(
    value: np.ndarray, actual: np.ndarray, layout: Layout = None, both_ways: bool = False
) -> tuple[np.ndarray | None, float]:
    """PyTorch's value in the arrangement nearest to Keras's, and the difference; None and infinity if none fits."""
    fitting = fit_layout(value, actual.shape, layout, both_ways)
    if not fitting:
        return None, float("inf")
    differences = [relative_difference(actual, v.astype("float64")) for v in fitting]
    differences = [d if d == d else float("inf") for d in differences]
    best = int(np.argmin(differences))
    return fitting[best], differences[best]


def chain_of(ours: Sequence[KerasCall], index: int) -> list[int]:
    """A layer's call with the padding before it and the cropping after it, which PyTorch does inside the module."""
    chain = [index]
    while ours[chain[0]].kind != "linear" and (sources := ours[chain[0]].sources) and sources[0] >= 0:
        if len(sources) != 1 or ours[sources[0]].kind != "pad":
            break
        chain.insert(0, sources[0])
    if ours[index].kind == "transposed convolution":
        readers = [i for i, c in enumerate(ours) if c.sources == (chain[-1],)]
        if len(readers) == 1 and ours[readers[0]].kind == "crop":
            chain.append(readers[0])
    return chain


def head_of(theirs: Sequence[Call], index: int) -> int:
    """PyTorch's call, or the padding module before it."""
    while (sources := theirs[index].sources) and len(sources) == 1 and sources[0] >= 0:
        if theirs[sources[0]].kind != "pad":
            break
        index = sources[0]
    return index


class ForcedRun:
    """A run of Keras's calls that goes on with PyTorch's outputs.

    Args:
        theirs: PyTorch's calls, with values.
        ours: Keras's calls, with PyTorch's weights.
        match: the pairs.
        layouts: id of a layer → the order of its input's features in PyTorch.

    Attributes:
        locals: the differences, in the order of Keras's calls.
        values: where → value, of the run.
    """

    def __init__(self, theirs: Sequence[Call], ours: Sequence[KerasCall], match: Match, layouts: Mapping[int, Layout]):
        self.theirs, self.ours, self.layouts = theirs, ours, layouts
        self.chains = {chain_of(ours, pair.keras)[-1]: pair for pair in match.pairs}
        self.locals: list[Local] = []
        self.values: dict[tuple[int, int], np.ndarray] = {}

    def run(self, x: Sequence[np.ndarray], outputs: Sequence[np.ndarray], places: Sequence[tuple[int, int]]) -> None:
        """Run on a batch.

        Args:
            x: the batch in Keras's layout, one array for each input.
            outputs: PyTorch's outputs.
            places: where Keras's outputs are, in the same order.
        """
        tensors = [keras.ops.convert_to_tensor(array) for array in x]
        self.values = run_calls(list(self.ours), tensors, replace=self._replace)
        for i, (output, place) in enumerate(zip(outputs, places, strict=True)):
            actual = self.values[place]
            fitted, before = nearest(output, actual)
            shapes = None if fitted is not None else (output.shape, actual.shape)
            others = [k for k, other in enumerate(outputs) if before > LOCAL and nearest(other, actual)[1] <= LOCAL]
            swapped = others[0] if others else -1
            self.locals.append(Local(-1 - i, -1 - i, before, None, shapes, _is_moved(output, actual), swapped))

    def _replace(self, index: int, call: KerasCall, outputs: list[Any], values: dict) -> list[Any]:
        if index not in self.chains:
            return outputs
        pair = self.chains[index]
        their, chain = self.theirs[pair.torch], chain_of(self.ours, pair.keras)
        head = self.theirs[head_of(self.theirs, pair.torch)]
        if their.value is None or head.inputs is None:
            return outputs
        first = self.ours[chain[0]]
        place = next(iter(first.places.values()), (first.sources[0], 0))
        actual = to_numpy(values[place])
        given, before = nearest(head.inputs, actual, self.layouts.get(id(first.layer)))
        if their.parameters and head.sources:
            given, before = self._input_of_parameter(their, actual)
        tried: list[np.ndarray | None] = [given]
        if before > LOCAL and not their.parameters:  # the nearest of wrong inputs says nothing about the layout
            tried = [*fit_layout(head.inputs, actual.shape, self.layouts.get(id(first.layer)))] or [None]
        runs = [self._run_chain(chain, place, value, before, outputs, values, their) for value in tried]
        own, fitted = min(runs, key=lambda run: float("inf") if run[0] is None else run[0])
        shapes = None
        if given is None:
            shapes = (head.inputs.shape, actual.shape)
        elif fitted is None and own is not None:
            shapes = (their.value.shape, tuple(outputs[0].shape))
        moved = before > LOCAL and _is_moved(head.inputs, actual)
        self.locals.append(Local(pair.torch, pair.keras, before, own, shapes, moved))
        if fitted is None:
            return outputs
        return [keras.ops.convert_to_tensor(fitted, dtype=outputs[0].dtype), *outputs[1:]]

    def _input_of_parameter(self, their: Call, actual: np.ndarray) -> tuple[np.ndarray | None, float]:
        """The input of a function that takes a parameter: any of its tensors may be the layer's."""
        given = [self.theirs[i].value for i in their.sources if i >= 0] + [their.inputs]
        return min((nearest(value, actual) for value in given if value is not None), key=lambda pair: pair[1])

    def _run_chain(self, chain, place, given, before, outputs, values, their) -> tuple[float | None, Any]:
        """The difference of the outputs for PyTorch's input, and PyTorch's output in Keras's layout."""
        if given is not None and before > 0.0:
            local = dict(values)
            tensor = keras.ops.convert_to_tensor(given, dtype=values[place].dtype)
            same = {p for p in local if local[p] is values[place]}
            local.update(dict.fromkeys(same, tensor))
            for index in chain:
                results = run_call(self.ours[index], local, training=False)
                local.update(((index, i), result) for i, result in enumerate(results))
            outputs = results
        both_ways = their.settings.get("directions") == 2
        fitted, own = nearest(their.value, to_numpy(outputs[0]), both_ways=both_ways)
        return (None if given is None else own), fitted


def _is_moved(theirs: np.ndarray, actual: np.ndarray) -> bool:
    """Whether two tensors have the same values in another order."""
    if theirs.size != actual.size:
        return False
    return relative_difference(np.sort(actual, axis=None), np.sort(theirs, axis=None).astype("float64")) < LOCAL
