"""Many training steps on JAX as one compiled loop.

Stock Keras dispatches every step by itself and hands it a batch from the host. Here the data lies on the device, and
one dispatch runs any number of steps of Keras's own ``train_step``, each gathering its batch by an index order.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import keras
import numpy as np

from kerasnets import layers
from kerasnets.accelerate.layers import in_place_of_layers, pools_before_relu
from kerasnets.accelerate.programs import Programs, parts


class Engine:
    """Runs a model's steps; between two calls the variables hold their state.

    Args:
        model: a compiled Functional or Sequential model; for :meth:`predict` it need not be compiled.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._programs = Programs()

    @staticmethod
    def why_not(model: keras.Model) -> str | None:
        """What of `model` this engine can't run; None: it can."""
        return None if model.jit_compile else "jit_compile is off"

    def put(self, array) -> jax.Array:
        """`array` on the device; floats in Keras's float type, as in stock ``fit``."""
        array = keras.ops.convert_to_numpy(array)
        dtype = keras.config.floatx() if array.dtype.kind == "f" else None
        return jax.device_put(array if dtype is None else array.astype(dtype, copy=False))

    def train(self, data: Sequence, rows: jax.Array, begin: int, end: int) -> None:
        """Take training steps.

        Args:
            data: images, labels and weights of the examples (or None), as :meth:`put` gives them, each a nest.
            rows: int ``(steps, batch)``: which examples each step sees.
            begin: the first step.
            end: the step after the last.
        """
        model = self.model
        groups = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )

        def step(state, batch):
            return self._replaced(lambda: model.train_step(state, batch))[1]

        self._loop("train", step, groups, data, rows, begin, end)

    def test(self, data: Sequence, rows: jax.Array, begin: int, end: int) -> None:
        """Update the metrics by the batches `begin` to `end` (exclusive)."""
        model = self.model
        groups = (model.trainable_variables, model.non_trainable_variables, model.metrics_variables)

        def step(state, batch):
            return self._replaced(lambda: model.test_step(state, batch))[1]

        self._loop("test", step, groups, data, rows, begin, end)

    def predict(self, data: Sequence, rows: jax.Array, index: int):
        """The outputs for batch number `index`."""
        model = self.model
        groups = (model.trainable_variables, model.non_trainable_variables)
        state = tuple([v.value for v in group] for group in groups)

        def run(state, data, chosen):
            batch = jax.tree.map(lambda a: a[chosen], data)
            return self._replaced(lambda: model.predict_step(state, batch))[0]

        program = self._programs.get("predict", *parts(model, "predict"), lambda: jax.jit(run))
        return program(state, (data[0],), rows[index])

    def forward(self) -> Callable:
        """A function of a NumPy batch of inputs to the NumPy outputs, compiled for each shape at its first use."""
        model = self.model

        def run(state, x):
            return self._replaced(lambda: model.stateless_call(*state, x, training=False))[0]

        compiled = jax.jit(run)

        def forward(images):
            state = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
            return np.asarray(compiled(state, images))

        return forward

    def _loop(self, kind, step, groups, data, rows, begin, end) -> None:
        def run(state, data, rows, begin, end):
            def body(i, state):
                return step(state, jax.tree.map(lambda a: a[rows[i]], data))

            return jax.lax.fori_loop(begin, end, body, state)

        program = self._programs.get(kind, *parts(self.model, kind), lambda: jax.jit(run, donate_argnums=0))
        state = tuple([v.value for v in group] for group in groups)
        # Keras may share one array between variables, such as a zero; a donated buffer must be given once.
        state = _distinct(state)
        new = program(state, tuple(data), rows, begin, end)
        for group, values in zip(groups, new, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)

    def _replaced(self, function):
        """`function` with the layers' slow parts replaced, on a CPU."""
        if jax.default_backend() != "cpu":
            return function()
        with in_place_of_layers(self.model, _call_of, pools_before_relu(self.model)):
            return function()


def _distinct(state):
    seen = set()

    def one(value):
        pointer = value.unsafe_buffer_pointer()
        if pointer in seen:
            return jnp.array(value, copy=True)
        seen.add(pointer)
        return value

    return jax.tree.map(one, state)


def _call_of(layer: keras.Layer) -> Callable | None:
    """A function that does what ``layer.call`` does, faster on a CPU; None: the layer's own will do."""
    kind = type(layer)
    if kind in (layers.Conv2D, keras.layers.Conv2D):
        border = getattr(layer, "_border", None)
        odd = all(size % 2 for size in layer.kernel_size)
        simple = layer.strides == layer.dilation_rate == (1, 1) and layer.groups == 1 and not layer.lora_enabled
        if simple and odd and border is None and layer.data_format == "channels_last":
            return lambda x: _conv(layer, x)
    if kind is keras.layers.MaxPooling2D and layer.padding == "valid" and layer.pool_size == layer.strides:
        return (lambda x: _max_pool(x, layer.pool_size)) if layer.data_format == "channels_last" else None
    return None


def _conv(layer, x):
    """The convolution as shifted slices and one matrix product: XLA's own on a CPU is several times slower."""
    height, width = layer.kernel_size
    kernel = layer.kernel.value
    if layer.padding == "same":
        x = jnp.pad(x, ((0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)))
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    patches = jnp.concatenate(
        [x[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)], axis=-1
    )
    y = patches @ kernel.reshape(-1, kernel.shape[-1])
    if layer.bias is not None:
        y = y + layer.bias.value
    return y if layer.activation is None else layer.activation(y)


def _max_pool(x, size):
    """Max-pooling whose gradient goes to the first of equal values, as XLA's and PyTorch's does."""
    height, width = size
    rows, columns = x.shape[1] // height, x.shape[2] // width
    parts = [x[:, i : rows * height : height, j : columns * width : width] for i in range(height) for j in range(width)]
    return _first_max(*parts)


@jax.custom_vjp
def _first_max(*parts):
    largest = parts[0]
    for part in parts[1:]:
        largest = jnp.maximum(largest, part)
    return largest


def _first_max_forward(*parts):
    largest = _first_max(*parts)
    return largest, (parts, largest)


def _first_max_backward(saved, gradient):
    parts, largest = saved
    taken, gradients = jnp.zeros(largest.shape, bool), []
    for part in parts:
        chosen = (part == largest) & ~taken
        gradients.append(jnp.where(chosen, gradient, 0))
        taken |= chosen
    return tuple(gradients)


_first_max.defvjp(_first_max_forward, _first_max_backward)
