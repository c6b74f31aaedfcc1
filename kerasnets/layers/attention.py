"""Multi-head attention."""

from typing import Any

import keras

from kerasnets import initializers
from kerasnets._internal.arguments import check_integer, check_number
from kerasnets.layers.base import Named, multiply

#: Arguments of Keras's layer for what PyTorch's hasn't.
_NOT_IN_PYTORCH = ("value_dim", "output_shape", "attention_axes", "use_gate")


class _DrawnZeros(initializers.FanInUniform):
    """Zeros, after the draw that PyTorch overwrites with them."""

    def __call__(self, shape, dtype=None):
        return keras.ops.zeros_like(super().__call__(shape, dtype))


@keras.saving.register_keras_serializable(package="kerasnets")
class MultiHeadAttention(Named, keras.layers.MultiHeadAttention):
    """``torch.nn.MultiheadAttention``: the projections of queries, keys and values are one packed matrix.

    The packed matrix starts from Xavier uniform over its whole shape, the output projection's from U(±1/√embed_dim),
    and biases from 0. (Keras's own layer has a Glorot-uniform tensor for each projection.) If keys or values have
    another size than queries, the three projections are matrices of their own, as with PyTorch's ``kdim`` and ``vdim``.
    Source: the page ``torch.nn.MultiheadAttention``.

    Args:
        num_heads: the number of heads.
        key_dim: the size of a head; ``num_heads · key_dim`` is PyTorch's ``embed_dim``, the size of a query.
        dropout: the share of attention weights that are 0 in a step of training, in [0, 1).
        use_bias: whether the projections have biases.
        kernel_initializer: a Keras initializer for all matrices; None means PyTorch's.
        bias_initializer: a Keras initializer for all biases.
        torch_name: the attribute path in the original, such as ``"self_attn"``; None means the layer's name.
        **kwargs: ``seed``, ``name``, ``dtype`` and others as in ``keras.layers.MultiHeadAttention``.

    A call is Keras's: ``layer(query, value, key=None)``, with `value` for `key` by default, where PyTorch's is
    ``module(query, key, value)``. In an ``attention_mask``, True allows a position, where PyTorch's boolean masks
    exclude it.

    Input shapes: ``(batch, steps, num_heads · key_dim)`` for queries, ``(batch, other steps, features)`` for keys and
    values. Output shape: that of the queries. (PyTorch's default is ``(steps, batch, features)``.)

    Raises:
        ValueError: an argument is out of range, is one that PyTorch lacks, or doesn't fit the queries.

    Examples:
        >>> layer = kerasnets.layers.MultiHeadAttention(num_heads=2, key_dim=4)
        >>> x = np.ones((2, 5, 8))
        >>> tuple(layer(x, x).shape)
        (2, 5, 8)
    """

    in_proj_kernel: keras.Variable | None = None
    in_proj_bias: keras.Variable | None = None
    out_proj_bias: keras.Variable | None = None

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        *,
        dropout: float = 0.0,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        for name in _NOT_IN_PYTORCH:
            if kwargs.get(name):
                raise ValueError(f"PyTorch's MultiheadAttention has no {name}; received {kwargs[name]!r}.")
        super().__init__(
            check_integer("num_heads", num_heads),
            check_integer("key_dim", key_dim),
            dropout=check_number("dropout", dropout, below=1),
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **kwargs,
        )

    def build(self, query_shape, value_shape, key_shape=None):
        """Create the weights, in the order in which PyTorch draws them."""
        key_shape = value_shape if key_shape is None else key_shape
        shapes = (tuple(query_shape), tuple(key_shape), tuple(value_shape))
        size = self.num_heads * self.key_dim
        if any(len(shape) != 3 for shape in shapes) or query_shape[-1] != size:
            raise ValueError(
                f"The layer {self.name!r} has {self.num_heads} heads of size {self.key_dim}: expected queries of shape "
                f"(batch, steps, {size}), and keys and values of three axes; received {', '.join(map(str, shapes))}."
            )
        given = self._kernel_initializer
        xavier = initializers.XavierUniform() if given is None else given
        self.out_proj_initializer = initializers.FanInUniform() if given is None else given
        self.out_proj_kernel = self._add("out_proj_kernel", (size, size), self.out_proj_initializer)
        if self.use_bias:
            self.out_proj_bias_initializer = self._bias_initializer
            if given is None and isinstance(self._bias_initializer, keras.initializers.Zeros):
                self.out_proj_bias_initializer = _DrawnZeros(size)
            self.out_proj_bias = self._add("out_proj_bias", (size,), self.out_proj_bias_initializer)
        if {shape[-1] for shape in shapes} == {size}:
            self.in_proj_initializer = xavier
            self.in_proj_kernel = self._add("in_proj_kernel", (size, 3 * size), xavier)
        else:
            self.q_proj_initializer = self.k_proj_initializer = self.v_proj_initializer = xavier
            self.q_proj_kernel, self.k_proj_kernel, self.v_proj_kernel = (
                self._add(f"{part}_proj_kernel", (shape[-1], size), xavier)
                for part, shape in zip("qkv", shapes, strict=True)
            )
        if self.use_bias:
            self.in_proj_bias = self._add("in_proj_bias", (3 * size,), self._bias_initializer)
        self._build_attention(4)  # axes: batch, steps, heads, the features of a head
        if self.compute_dtype == "float64":  # not for all: Keras has a causal kernel for layers without a method of own
            self._compute_attention = self._attend_in_float64

    def _add(self, name: str, shape: tuple[int, ...], initializer: Any) -> keras.Variable:
        kind = "bias" if name.endswith("bias") else "kernel"
        settings = {what: getattr(self, f"_{kind}_{what}") for what in ("regularizer", "constraint")}
        return self.add_weight(name=name, shape=shape, initializer=initializer, **settings)

    def _part(self, number: int, x):
        """The projection of the queries (0), keys (1) or values (2), by heads."""
        size = self.num_heads * self.key_dim
        part = slice(number * size, (number + 1) * size)
        kernel = getattr(self, f"{'qkv'[number]}_proj_kernel", None)
        if self.in_proj_kernel is not None:
            kernel = keras.ops.convert_to_tensor(self.in_proj_kernel)[:, part]
        y = multiply(x, kernel)
        if self.in_proj_bias is not None:
            y = y + keras.ops.convert_to_tensor(self.in_proj_bias)[part]
        return keras.ops.reshape(y, (-1, *keras.ops.shape(y)[1:-1], self.num_heads, self.key_dim))

    # Keras's ``call`` projects with these, which are layers there.

    def _query_dense(self, x):
        return self._part(0, x)

    def _key_dense(self, x):
        return self._part(1, x)

    def _value_dense(self, x):
        return self._part(2, x)

    def _output_dense(self, x):
        y = keras.ops.reshape(x, (-1, *keras.ops.shape(x)[1:-2], self.num_heads * self.key_dim))
        y = multiply(y, self.out_proj_kernel)
        return y if self.out_proj_bias is None else y + self.out_proj_bias

    def _attend_in_float64(self, query, key, value, attention_mask=None, training=None, *scores, use_causal_mask=False):
        """Keras's computation without its fast kernels, which are float32 in part (keras issue 23704)."""
        if use_causal_mask:
            attention_mask = self._compute_causal_mask(query, value)
        weights = keras.ops.einsum(self._dot_product_equation, key, query * self._inverse_sqrt_key_dim)
        weights = self._masked_softmax(weights, attention_mask)
        dropped = self._dropout_layer(weights, training=training) if self._dropout else weights
        return keras.ops.einsum(self._combine_equation, dropped, value), weights

    def get_config(self):
        """Return the arguments of the constructor."""
        return {name: value for name, value in super().get_config().items() if name not in _NOT_IN_PYTORCH}
