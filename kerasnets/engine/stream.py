"""Batches that come one by one, collected into blocks: of a ``tf.data.Dataset``, a ``PyDataset`` or a generator.

Keras's own adapter yields the batches, and the engine's function pulls them, as stock Keras's does: none before its
block begins, none beyond the epoch. Neighbours of the usual shape are joined and run in one call of the engine; any
other batch runs through stock Keras's step.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from kerasnets._internal.keras_private import (
    DataAdapter,
    GeneratorDataAdapter,
    PyDatasetAdapter,
    TFDatasetAdapter,
    can_convert_arrays,
    get_data_adapter,
)
from kerasnets.engine.source import Blocks, leaves_of, pack_like

_ADAPTERS = (TFDatasetAdapter, PyDatasetAdapter, GeneratorDataAdapter)

#: The most batches that are joined, and the most bytes: with larger batches the calls don't matter.
_MOST_BATCHES = 16
_MOST_BYTES = 2**23


class Stream(Blocks):
    """Keras's adapter of data that comes batch by batch, whose steps an engine runs in blocks.

    Args:
        adapter: Keras's own.
        steps: batches per epoch, or None for all that `adapter` yields.

    Attributes:
        steps: batches per epoch; None where only the end of the data tells.
        inputs: the joined batches, in the form of one; beyond the last of them it holds any values.
    """

    #: The step must not take the batch size for known.
    has_partial_batch = True
    partial_batch_size = None

    def __init__(self, adapter: DataAdapter, steps: int | None = None):
        super().__init__()
        self.adapter = adapter
        self.total = adapter.num_batches
        self.steps = int(steps) if steps else self.total
        self.inputs: Any = None
        self._usual: tuple | None = None  # the shape of the batches that are joined
        self._rows = np.empty((0, 0), np.int64)
        self._joined = 0
        self._pulled = 0

    # Keras's side

    @property
    def num_batches(self) -> int | None:
        """Blocks until the data ends; None where only the end of the data tells."""
        if self.total is None or not self.in_blocks:
            return self.total
        epochs, rest = divmod(self.total, self.steps)
        return epochs * len(self.blocks) + sum(begin < rest for begin, _ in self.blocks)

    @property
    def batch_size(self) -> int | None:
        """Examples per batch, where the adapter knows."""
        return self.adapter.batch_size

    def on_epoch_begin(self) -> None:
        """Begin at the first block."""
        if self.steps is None:
            self.blocks = []
        self.adapter.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tell the adapter."""
        self.adapter.on_epoch_end()

    def get_numpy_iterator(self, **kwargs) -> Iterator:
        """The adapter's batches."""
        return self.adapter.get_numpy_iterator(**kwargs)

    def get_jax_iterator(self, **kwargs) -> Iterator:
        """The adapter's batches."""
        return self.adapter.get_jax_iterator(**kwargs)

    def get_tf_dataset(self, **kwargs):
        """The adapter's batches."""
        return self.adapter.get_tf_dataset(**kwargs)

    # The engine's side

    def run_in_blocks(self, stride: int | None) -> None:
        """Let an engine run the steps in blocks that end at multiples of `stride`.

        The last step of an epoch is a block of its own: so Keras notices data that ends too soon where it would
        without blocks.
        """
        self.in_blocks, self._stride, self.blocks = True, stride or _MOST_BATCHES, []
        while self.steps is not None and self._end() < self.steps:
            self._add_block()

    def _end(self) -> int:
        return self.blocks[-1][1] if self.blocks else 0

    def _add_block(self) -> None:
        begin = self._end()
        end = begin + min(_MOST_BATCHES, self._stride - begin % self._stride)
        if self.steps is not None:
            end = max(min(end, self.steps - 1), begin + 1)
        self.blocks.append((begin, end))

    def first(self, block: int) -> int:
        """The first step of a block."""
        if block == len(self.blocks):
            self._add_block()
        return super().first(block)

    def last(self, block: int) -> int:
        """The last step of a block that has run, in which the data may have ended."""
        return self.blocks[block][0] + self._pulled - 1

    def groups(self, iterator: Iterator) -> Iterator[tuple[Any, bool]]:
        """Pull the block's batches: pairs of data and whether they are several batches joined, for the engine.

        One batch that isn't joined is for stock Keras's step. Yields nothing where the data has ended.
        """
        begin, end = self.blocks[self._position]
        waiting: list = []
        self._pulled, form, error = 0, None, None
        while self._pulled < end - begin:
            try:
                batch = next(iterator)
            except StopIteration:
                break
            except BaseException as raised:  # the steps before it come first
                error = raised
                break
            self._pulled += 1
            new = _form(batch)
            if new != form:
                yield from self._ready(waiting, form)
                waiting, form = [], new
            waiting.append(batch)
            if len(waiting) == self._most(form):
                yield from self._ready(waiting, form)
                waiting = []
        yield from self._ready(waiting, form)
        if error is not None:
            raise error

    def _ready(self, batches: list, form: tuple | None) -> Iterator[tuple[Any, bool]]:
        if self._usual is None and form is not None and len(batches) > 1:
            self._usual = form
        if form is None or form != self._usual:
            yield from ((batch, False) for batch in batches)
        elif batches:
            yield self._join(batches, self._most(form)), True

    def _join(self, batches: list, most: int):
        """Join batches of the usual form, in arrays for `most` of them; returns them in the form of one batch."""
        columns = list(zip(*map(leaves_of, batches), strict=True))
        size = len(columns[0][0])
        joined = []
        for column in columns:
            parts = [np.asarray(leaf) for leaf in column]
            joined.append(np.zeros((most * size, *parts[0].shape[1:]), parts[0].dtype))
            np.concatenate(parts, out=joined[-1][: len(parts) * size])
        self.inputs, self._joined = pack_like(batches[0], joined), len(batches)
        self._rows = np.arange(most * size).reshape(most, size)
        return pack_like(batches[0], [array[: len(batches) * size] for array in joined])

    def _most(self, form: tuple | None) -> int:
        """How many batches of this form are joined at most."""
        if form is None:
            return 1
        size = sum(math.prod(shape) * np.dtype(dtype).itemsize for _, shape, dtype in form)
        return max(1, min(_MOST_BATCHES, self._stride, _MOST_BYTES // max(1, size)))

    def rows_of_block(self, put: Callable) -> tuple[Any, int, int]:
        """As :meth:`Arrays.rows_of_block`, of the joined batches."""
        return put(self._rows), 0, self._joined

    def leaves(self, put: Callable) -> list:
        """The joined batches on the device, without None, in the order of ``keras.tree.flatten``."""
        return [put(leaf) for leaf in leaves_of(self.inputs)]

    def pack(self, leaves: list):
        """As :meth:`Arrays.pack`."""
        return pack_like(self.inputs, leaves)

    def example(self):
        """As :meth:`Arrays.example`."""
        return self.pack([leaf[: self._rows.shape[1]].copy() for leaf in leaves_of(self.inputs)])


def _form(batch) -> tuple | None:
    """The paths, shapes and types of a batch's arrays; None if it isn't made of dense numbers alone."""
    form, sizes = [], set()
    for path, leaf in keras.tree.flatten_with_path(batch):
        if leaf is None:
            continue
        if type(leaf).__name__ not in _DENSE or not len(leaf.shape) or not leaf.dtype.name.startswith(_NUMBERS):
            return None
        sizes.add(leaf.shape[0])
        form.append((path, tuple(leaf.shape), leaf.dtype.name))
    return tuple(form) if len(sizes) == 1 else None


_DENSE = ("ndarray", "ArrayImpl", "EagerTensor")
_NUMBERS = ("float", "int", "uint", "bool")


def stream_of(x, y=None, sample_weight=None, *, steps_per_epoch: int | None = None, **options) -> Stream | None:
    """The stream of data that comes batch by batch; None for arrays, loaders and the like.

    Args:
        x: the data; `y` and `sample_weight` are None then.
        y: see `x`.
        sample_weight: see `x`.
        steps_per_epoch: batches per epoch; None for all.
        **options: further arguments of Keras's ``get_data_adapter``.

    Raises:
        ValueError: what Keras says of data and arguments that don't fit together.
    """
    wrong_steps = steps_per_epoch is not None and not steps_per_epoch > 0
    if x is None or wrong_steps or can_convert_arrays((x, y, sample_weight)):
        return None
    adapter = get_data_adapter(x, y, sample_weight, steps_per_epoch=steps_per_epoch, **options)
    return Stream(adapter, steps_per_epoch) if type(adapter) in _ADAPTERS and adapter.num_batches != 0 else None
