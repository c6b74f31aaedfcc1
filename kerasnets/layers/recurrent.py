"""Recurrent layers."""

from typing import Any

import keras

from kerasnets import initializers
from kerasnets._internal import keras_private
from kerasnets._internal.arguments import check_integer
from kerasnets.layers.base import Named, multiply


class _Cell(keras.Layer):
    """Mix-in for a Keras cell: the two biases of PyTorch, ``bias_ih`` and ``bias_hh``, as variables of their own."""

    #: For each of the gates, in Keras's order, its place in PyTorch.
    gates: tuple[int, ...]
    kernel_initializer: Any
    recurrent_initializer: Any
    bias_initializer: Any

    def build(self, input_shape):
        size = self.units * len(self.gates)
        for name, shape, initializer in (
            ("kernel", (input_shape[-1], size), "kernel"),
            ("recurrent_kernel", (self.units, size), "recurrent"),
            ("bias_ih", (size,), "bias"),
            ("bias_hh", (size,), "bias"),
        ):
            if initializer == "bias" and not self.use_bias:
                continue
            settings = {what: getattr(self, f"{initializer}_{what}") for what in ("regularizer", "constraint")}
            draw = self._in_order(getattr(self, f"{initializer}_initializer"))
            setattr(self, name, self.add_weight(shape=shape, name=name, initializer=draw, **settings))

    def _in_order(self, initializer):
        """PyTorch's numbers, drawn in its order of the gates."""
        if not isinstance(initializer, initializers.FanInUniform) or self.gates == tuple(range(len(self.gates))):
            return initializer

        def draw(shape, dtype=None):
            parts = keras.ops.split(initializer(shape, dtype), len(self.gates), axis=-1)
            return keras.ops.concatenate([parts[place] for place in self.gates], axis=-1)

        return draw

    @property
    def _is_plain(self) -> bool:
        """Whether a step is float64, which Keras's torch backend would multiply in float32."""
        return self.compute_dtype == "float64" and not self.dropout and not self.recurrent_dropout

    def _activate(self, x):
        """Return the activation of a float64 tensor; Keras's tanh returns float32 for it on JAX."""
        is_tanh = self.activation is keras.activations.tanh
        return 2.0 * keras.ops.sigmoid(2.0 * x) - 1.0 if is_tanh else self.activation(x)


class _LSTMCell(_Cell, keras.layers.LSTMCell):
    gates = (0, 1, 2, 3)  # i, f, g, o in both

    @property
    def bias(self):
        """The sum of the two biases, which is all that counts in a step."""
        return keras.ops.add(self.bias_ih, self.bias_hh) if self.use_bias else None

    def call(self, inputs, states, training=False):
        if not self._is_plain:
            return super().call(inputs, states, training=training)
        h, c = states
        z = multiply(inputs, self.kernel) + multiply(h, self.recurrent_kernel)
        if self.use_bias:
            z = z + self.bias
        i, f, g, o = keras.ops.split(z, 4, axis=-1)
        c = self.recurrent_activation(f) * c + self.recurrent_activation(i) * self._activate(g)
        h = self.recurrent_activation(o) * self._activate(c)
        return h, [h, c]


class _GRUCell(_Cell, keras.layers.GRUCell):
    gates = (1, 0, 2)  # z, r, n; PyTorch's order is r, z, n

    @property
    def bias(self):
        """Both biases, as Keras has them: ``(2, 3·units)``."""
        if not self.use_bias:
            return None
        ops = keras.ops  # whose stack doesn't take variables on TensorFlow
        return ops.concatenate([ops.expand_dims(bias, 0) for bias in (self.bias_ih, self.bias_hh)])

    def call(self, inputs, states, training=False):
        if not self._is_plain:
            return super().call(inputs, states, training=training)
        (h,) = states if isinstance(states, list | tuple) else (states,)
        new, old = multiply(inputs, self.kernel), multiply(h, self.recurrent_kernel)
        if self.use_bias:
            new, old = new + self.bias_ih, old + self.bias_hh
        (x_z, x_r, x_n), (h_z, h_r, h_n) = (keras.ops.split(part, 3, axis=-1) for part in (new, old))
        z, r = self.recurrent_activation(x_z + h_z), self.recurrent_activation(x_r + h_r)
        h = z * h + (1.0 - z) * self._activate(x_n + r * h_n)
        return h, [h] if isinstance(states, list | tuple) else h


class _Recurrent(Named):
    """Mix-in for a layer whose weights and biases all start from U(±1/√units)."""

    _cell_class: type[keras.Layer]

    def __init__(
        self,
        units: int,
        *args: Any,
        kernel_initializer: Any = None,
        recurrent_initializer: Any = None,
        bias_initializer: Any = None,
        torch_layer: int = 0,
        **kwargs: Any,
    ):
        units = check_integer("units", units)
        given = {
            "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer,
            "bias_initializer": bias_initializer,
        }
        drawn = {name: initializers.FanInUniform(units) if each is None else each for name, each in given.items()}
        super().__init__(units, *args, **drawn, **kwargs)
        # Keras's constructor makes the cell itself, of more arguments than are worth repeating.
        keras_private.replace_layer(self, "cell", self._cell_class.from_config(self.cell.get_config()))
        self.torch_layer = check_integer("torch_layer", torch_layer, 0)

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Run the cell over the steps."""
        if self.compute_dtype != "float64":
            return super().inner_loop(sequences, initial_state, mask, training=training)
        # Not by the backend's own loop, which is float32 in part on JAX.
        return keras.layers.RNN.inner_loop(self, sequences, initial_state, mask, training=training)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "torch_layer": self.torch_layer}


@keras.saving.register_keras_serializable(package="kerasnets")
class LSTM(_Recurrent, keras.layers.LSTM):
    """``torch.nn.LSTM`` of one layer and direction: gates i, f, g, o, and two biases.

    All weights start from U(±1/√units). PyTorch adds two biases, ``bias_ih`` and ``bias_hh``. Both get the same
    gradient, so that their sum moves twice as fast as the one bias of Keras's own layer. (Keras's own also starts its
    kernels from Glorot uniform and orthogonal matrices, and the forget gate's bias from 1.) Several layers of PyTorch's
    are several of these; ``keras.layers.Bidirectional`` of one is ``bidirectional=True``. Source: the page
    ``torch.nn.LSTM``.

    Args:
        units: the size of the state, PyTorch's ``hidden_size``.
        kernel_initializer, recurrent_initializer, bias_initializer: Keras initializers; None means
            :class:`kerasnets.initializers.FanInUniform` with `units` as its fan-in.
        torch_name: the attribute path in the original, such as ``"lstm"``; None means the layer's name.
        torch_layer: the number in PyTorch's names: 1 for ``weight_ih_l1``, if the original has ``num_layers=2``.
        **kwargs: ``return_sequences``, ``return_state``, ``go_backwards``, ``name``, ``dtype`` and others as in
            ``keras.layers.LSTM``.

    Input shape: ``(batch, steps, features)``. Output shape: ``(batch, units)``, or ``(batch, steps, units)`` with
    ``return_sequences=True``. (PyTorch's default is ``(steps, batch, features)``.)

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> layer = kerasnets.layers.LSTM(8, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 8)
    """

    _cell_class = _LSTMCell

    def __init__(self, units: int, *args: Any, unit_forget_bias: bool = False, **kwargs: Any):
        if unit_forget_bias:
            raise ValueError("PyTorch's LSTM has no unit_forget_bias; expected False.")
        super().__init__(units, *args, unit_forget_bias=False, **kwargs)


@keras.saving.register_keras_serializable(package="kerasnets")
class GRU(_Recurrent, keras.layers.GRU):
    """``torch.nn.GRU`` of one layer and direction: the reset gate after the matrix product, and two biases.

    All weights start from U(±1/√units). Keras's own layer starts from Glorot uniform, orthogonal matrices and zeros.
    The gates are z, r, n here, as in Keras, and r, z, n in PyTorch; ``kerasnets.load_state_dict`` reorders them.
    Several layers of PyTorch's are several of these; ``keras.layers.Bidirectional`` of one is ``bidirectional=True``.
    Source: the page ``torch.nn.GRU``.

    Args:
        units: the size of the state, PyTorch's ``hidden_size``.
        kernel_initializer, recurrent_initializer, bias_initializer: Keras initializers; None means
            :class:`kerasnets.initializers.FanInUniform` with `units` as its fan-in.
        torch_name: the attribute path in the original, such as ``"lstm"``; None means the layer's name.
        torch_layer: the number in PyTorch's names: 1 for ``weight_ih_l1``, if the original has ``num_layers=2``.
        **kwargs: ``return_sequences``, ``return_state``, ``go_backwards``, ``name``, ``dtype`` and others as in
            ``keras.layers.GRU``.

    Input shape: ``(batch, steps, features)``. Output shape: ``(batch, units)``, or ``(batch, steps, units)`` with
    ``return_sequences=True``. (PyTorch's default is ``(steps, batch, features)``.)

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> layer = kerasnets.layers.GRU(8)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 8)
    """

    _cell_class = _GRUCell

    def __init__(self, units: int, *args: Any, reset_after: bool = True, **kwargs: Any):
        if not reset_after:
            raise ValueError(
                "PyTorch's GRU applies the reset gate after the matrix product; expected reset_after=True."
            )
        super().__init__(units, *args, reset_after=True, **kwargs)
