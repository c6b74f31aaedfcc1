"""Tables of vectors."""

from typing import Any

import keras

from kerasnets import initializers
from kerasnets._internal.arguments import check_integer
from kerasnets.layers.base import Named


@keras.saving.register_keras_serializable(package="kerasnets")
class Embedding(Named, keras.layers.Embedding):
    """``torch.nn.Embedding``: the rows of a table, which start from N(0, 1).

    Keras's own layer starts from U(±0.05). Source: the page ``torch.nn.Embedding``.

    Args:
        input_dim: the number of rows, PyTorch's ``num_embeddings``.
        output_dim: the size of a row, PyTorch's ``embedding_dim``.
        padding_idx: the index of a row that starts from 0 and gets no gradient; None for none.
        embeddings_initializer: a Keras initializer; None means :class:`kerasnets.initializers.StandardNormal`.
        torch_name: the attribute path in the original, such as ``"embedding"``; None means the layer's name.
        **kwargs: ``mask_zero``, ``name``, ``dtype`` and others as in ``keras.layers.Embedding``.

    Input shape: integers ``(batch, …)``. Output shape: ``(batch, …, output_dim)``.

    Raises:
        ValueError: `padding_idx` is not the index of a row.

    Examples:
        >>> layer = kerasnets.layers.Embedding(10, 4)
        >>> tuple(layer(np.zeros((2, 7))).shape)
        (2, 7, 4)
    """

    embeddings_initializer: Any
    padding_idx: int | None = None  # Keras's constructor may build the layer

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        padding_idx: int | None = None,
        embeddings_initializer: Any = None,
        **kwargs: Any,
    ):
        if padding_idx is not None:
            padding_idx = check_integer("padding_idx", padding_idx, 0, input_dim - 1)
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer=initializers.StandardNormal()
            if embeddings_initializer is None
            else embeddings_initializer,
            **kwargs,
        )
        self.padding_idx = padding_idx

    def build(self, input_shape=None):
        """Create the table."""
        given = self.embeddings_initializer

        def draw(shape, dtype=None):
            ops, table = keras.ops, given(shape, dtype)
            is_padding = ops.expand_dims(ops.arange(shape[0]) == self.padding_idx, -1)
            return ops.where(is_padding, ops.zeros_like(table), table)

        if self.padding_idx is not None and isinstance(given, initializers.StandardNormal):
            self.embeddings_initializer = draw  # only during build: the config keeps the one given
        super().build(input_shape)
        self.embeddings_initializer = given

    def call(self, inputs):
        """Return the rows of `inputs`."""
        rows = super().call(inputs)
        if self.padding_idx is None:
            return rows
        ops = keras.ops
        is_padding = ops.expand_dims(ops.equal(inputs, self.padding_idx), -1)
        return ops.where(is_padding, ops.stop_gradient(rows), rows)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "padding_idx": self.padding_idx}
