"""Arrays as a source of batches: the one owner of their order, and a Keras ``DataAdapter``.

Keras's loop takes an adapter and asks it for batches. This one serves two readers. An engine that runs whole blocks of
steps gathers the batches on the device; Keras's loop then gets one empty tick per block. Keras's own step gets real
batches in the same order.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from kerasnets._internal import keras_private
from kerasnets._internal.keras_private import ArrayDataAdapter, DataAdapter, array_slicing, can_convert_arrays

#: From the number of examples and the number of the epoch.
OrderOf: TypeAlias = Callable[[int, int], np.ndarray | None]


class Blocks(DataAdapter):
    """An adapter whose steps an engine can run in blocks: Keras's loop then counts blocks.

    Attributes:
        in_blocks: whether an engine runs the steps.
        blocks: first step of each block, and the step after its last.
        epoch: the number of the epoch; ``fit`` sets it, since a callback may begin at a later one.
        may_change: whether arrays are read again in each epoch, because a callback may have changed them.
    """

    def __init__(self):
        self.in_blocks = self.may_change = self._turn = False
        self.blocks: list[tuple[int, int]] = []
        self.epoch = self._position = 0

    def first(self, block: int) -> int:
        """The first step of a block."""
        return self.blocks[block][0] if self.in_blocks else block

    def last(self, block: int) -> int:
        """The last step of a block that has run."""
        return self.blocks[block][1] - 1 if self.in_blocks else block

    def begin(self, block: int) -> None:
        """Keras's loop is about to run this block."""
        self._position, self._turn = block, True

    def take_turn(self) -> bool:
        """Whether Keras's loop is about to run a block: each :meth:`begin` gives one turn."""
        turn, self._turn = self._turn, False
        return turn


class Arrays(Blocks):
    """Batches of arrays.

    Args:
        given: what a batch is made of, as Keras packs it: a nest of arrays and None, the examples on the first axis.
        batch_size: examples per batch; the last batch may be smaller.
        order: function of the number of examples and of the epoch's number to the order of the examples, called once
            per epoch; it returns None as long as a batch only serves to build the model. None: the arrays' own order.
        epoch: the number of the first epoch, from 0.

    Attributes:
        building: whether Keras may still ask for a real batch, to build the model and its metrics from.
    """

    def __init__(self, given, batch_size: int, order: OrderOf | None = None, epoch: int = 0):
        super().__init__()
        self._given = given
        self.inputs = keras.tree.map_structure(_as_numpy, given)
        self._batch_size = batch_size = int(batch_size)
        self._order_of = order
        self._orders: tuple[int, np.ndarray] | None = None
        self.epoch = epoch
        self.n = len(leaves_of(self.inputs)[0])
        self.steps = -(-self.n // batch_size)
        self._full = self.n // batch_size
        self._device_leaves: list | None = None
        self._device_rows: tuple[Any, list] = (None, [])
        self.building = True

    # Keras's side

    @property
    def num_batches(self) -> int:
        """Batches per epoch; in blocks, the number of blocks."""
        return len(self.blocks) if self.in_blocks else self.steps

    @property
    def batch_size(self) -> int:
        """Examples per batch."""
        return self._batch_size

    @property
    def has_partial_batch(self) -> bool:
        """Whether the last batch is smaller."""
        return self._full < self.steps

    @property
    def partial_batch_size(self) -> int | None:
        """Examples in a smaller last batch."""
        return self.n % self._batch_size or None

    def on_epoch_begin(self) -> None:
        """Read arrays that may have changed again."""
        if self.may_change and keras.config.backend() != "tensorflow":  # where stock Keras reads them once
            self.inputs = keras.tree.map_structure(_as_numpy, self._given)
            self._device_leaves = None

    def on_epoch_end(self) -> None:
        """From now on ticks: Keras resets its iterator after it has built the model from a batch."""
        self.building = False

    def get_numpy_iterator(self, **kwargs) -> Iterator:
        """The batches of this epoch."""
        return (self.batch(index) for index in range(self.steps))

    def get_jax_iterator(self, **kwargs) -> Iterator:
        """The batches of this epoch."""
        return self.get_numpy_iterator()

    def get_torch_dataloader(self, **kwargs):
        """The batches of this epoch as tensors on the device; in blocks ticks, after an example to build from.

        A ``DataLoader``, since each iteration over one takes a number from PyTorch's global generator: dropout then
        draws the same masks as in stock Keras.
        """
        import torch

        if not self.in_blocks:
            items: Any = _Batches(self)
        elif self.building:
            items = [keras.tree.map_structure(lambda a: None if a is None else torch.from_numpy(a), self.example())]
        else:
            items = [()] * len(self.blocks)
        return torch.utils.data.DataLoader(items, batch_size=None, collate_fn=lambda item: item)

    def get_tf_dataset(self, **kwargs):
        """Ticks, or the batches of this epoch."""
        import tensorflow as tf

        if self.in_blocks:
            return tf.data.Dataset.range(len(self.blocks))
        leaves = [tf.constant(leaf) for leaf in leaves_of(self.inputs)]

        def rows():
            order = self._order()
            for begin in range(0, self.n, self._batch_size):
                yield order[begin : begin + self._batch_size]

        indices = tf.data.Dataset.from_generator(rows, output_signature=tf.TensorSpec([None], tf.int64))
        return indices.map(lambda chosen: self.pack([tf.gather(leaf, chosen) for leaf in leaves]))

    def batch(self, index: int):
        """Batch number `index` of this epoch as NumPy arrays."""
        rows = self._order()[index * self._batch_size : (index + 1) * self._batch_size]
        return self.pack([leaf[rows] for leaf in leaves_of(self.inputs)])

    # The engine's side

    def run_in_blocks(self, stride: int | None) -> None:
        """Let an engine run the steps, `stride` at a time, or None for an epoch at once.

        Blocks end at multiples of `stride`, and before a smaller last batch: all batches of a block have one size.
        """
        self.in_blocks, self.blocks = True, []
        for begin, end in ((0, self._full), (self._full, self.steps)):
            while begin < end:
                stop = end if stride is None else min(end, begin + stride - begin % stride)
                self.blocks.append((begin, stop))
                begin = stop

    def rows_of_block(self, put: Callable) -> tuple[Any, int, int]:
        """The block: row numbers ``(steps, batch)`` on the device, the first of its steps, and the one after."""
        begin, end = self.blocks[self._position]
        if self._device_rows[0] != self.epoch:
            order = self._order()
            full = self._full * self._batch_size
            groups = [order[:full].reshape(-1, self._batch_size), order[None, full:]]
            self._device_rows = self.epoch, [put(group) if group.size else None for group in groups]
        full_rows, last_rows = self._device_rows[1]
        if begin < self._full:
            return full_rows, begin, end
        return last_rows, 0, 1

    def leaves(self, put: Callable) -> list:
        """The arrays on the device, without None, in the order of ``keras.tree.flatten``."""
        if self._device_leaves is None:
            self._device_leaves = [put(leaf) for leaf in leaves_of(self.inputs)]
        return self._device_leaves

    def pack(self, leaves: list):
        """A batch, structured as Keras structures it, from its arrays in the order of :meth:`leaves`."""
        return pack_like(self.inputs, leaves)

    def example(self):
        """A batch as NumPy arrays, for what is built from its shapes and types."""
        return self.pack([leaf[: self._batch_size].copy() for leaf in leaves_of(self.inputs)])

    def _order(self) -> np.ndarray:
        if self._orders is None or self._orders[0] != self.epoch:
            order = None if self._order_of is None else self._order_of(self.n, self.epoch)
            if order is None:
                return np.arange(self.n)
            self._orders = self.epoch, order
        return self._orders[1]


class _Batches:
    """The batches of an epoch as a sequence of tensors."""

    def __init__(self, source: Arrays):
        self.source = source

    def __len__(self) -> int:
        return self.source.steps

    def __getitem__(self, index: int):
        batch = self.source.batch(index)
        return keras.tree.map_structure(lambda a: None if a is None else keras.ops.convert_to_tensor(a), batch)


def leaves_of(data) -> list:
    """The arrays of a nest, without None."""
    return [leaf for leaf in keras.tree.flatten(data) if leaf is not None]


def pack_like(structure, leaves: Sequence):
    """`leaves` in the nest `structure`, whose None leaves stay."""
    rest = iter(leaves)
    flat = [None if leaf is None else next(rest) for leaf in keras.tree.flatten(structure)]
    return keras.tree.pack_sequence_as(structure, flat)


def arrays_source(
    x,
    y=None,
    sample_weight=None,
    *,
    batch_size=None,
    class_weight=None,
    order: OrderOf | None = None,
    epoch: int = 0,
) -> Arrays | None:
    """The source of a data set that is given as arrays; None if it isn't, or if the arrays aren't dense numbers.

    Raises:
        ValueError: what Keras says of arrays, weights and lengths that don't fit together.
    """
    if x is None or not can_convert_arrays((x, y, sample_weight)):
        return None
    adapter = ArrayDataAdapter(
        x, y, sample_weight=sample_weight, class_weight=class_weight, batch_size=batch_size, shuffle=False
    )
    try:
        given = keras_private.batch_arrays(adapter)
        return None if given is None else Arrays(given, adapter.batch_size, order, epoch)
    except _NotDenseError:
        return None


def split(arrays: tuple, share: float):
    """Keras's own split of images, labels and weights into a training and a validation part."""
    return array_slicing.train_validation_split(arrays, validation_split=share)


class _NotDenseError(Exception):
    """Sparse or ragged arrays, text, or numbers in foreign byte order."""


_DENSE = (
    "NumpySliceable",
    "TorchSliceable",
    "TensorflowSliceable",
    "PandasDataFrameSliceable",
    "PandasSeriesSliceable",
)


def _as_numpy(leaf):
    """An array of any library as Keras would slice it, floats in Keras's float type."""
    if leaf is None:
        return None
    sliceable = array_slicing.convert_to_sliceable(leaf, target_backend="numpy")
    if type(sliceable).__name__ not in _DENSE or getattr(leaf, "is_sparse", False):
        raise _NotDenseError
    array = np.asarray(sliceable.convert_to_numpy(sliceable[:]))
    if array.dtype.kind not in "biuf" or not array.dtype.isnative:
        raise _NotDenseError
    return array
