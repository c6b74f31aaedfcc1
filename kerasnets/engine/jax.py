"""Many training steps on JAX as one compiled loop.

Stock Keras dispatches every step separately and copies a batch from the host. Here the data lies on the device, and
one dispatch runs any number of steps of Keras's own ``train_step``, each gathering its batch by an index order.

On a CPU XLA's convolutions compute on one thread inside a loop. There they are replaced by matrix products. A step with
one that can't be replaced, or with narrow ones alone, is dispatched on its own, with XLA's convolutions.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from kerasnets import layers
from kerasnets._internal import keras_private
from kerasnets.engine.labels import check_batch
from kerasnets.engine.layer_patches import view
from kerasnets.engine.source import Arrays
from kerasnets.engine.stream import Stream

#: From this many channels on both sides, matrix products in a loop are faster than XLA's convolutions outside it.
WIDE = 64


class Engine:
    """Runs a model's steps; between two calls the variables hold their state.

    Args:
        model: a compiled Functional or Sequential model; for predictions it need not be compiled.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._programs: dict[str, tuple] = {}

    @staticmethod
    def why_not(model: keras.Model) -> str | None:
        """What of `model` this engine can't run; None if it can."""
        return None if model.jit_compile else "jit_compile is off"

    @staticmethod
    def put(array: np.ndarray) -> jax.Array:
        """`array` on the device."""
        return jax.device_put(array)

    @staticmethod
    def collects() -> bool:
        """Whether batches that come one by one are collected. On a GPU stock Keras sends the next batch ahead."""
        return jax.default_backend() == "cpu"

    def block(self, kind: str, source: Arrays | Stream, stock: Callable) -> Callable:
        """A ``train_function``, ``test_function`` or ``predict_function`` that runs the source's next block."""

        def run(state, _ticks):
            rows, begin, end = source.rows_of_block(self.put)
            data = source.pack(source.leaves(self.put))
            program = self._program(f"{kind} block", kind, stock)
            with _state_given_back(self.model, state) as kept:
                if kind == "predict":
                    return program(state, data, rows, begin)
                # Keras may share one array between variables, such as a zero; a donated buffer must be given once.
                kept.state = _distinct(state)
                for steps in program.split(kept.state, data, rows, begin, end):
                    logs, kept.state = program(kept.state, data, rows, *steps)
                return logs, kept.state

        return run

    def batches(self, kind: str, stock: Callable) -> Callable | None:
        """The same for data that comes batch by batch; None where stock Keras's function does as well."""
        if kind == "predict" or not self._has_patches():
            return None

        def run(state, iterator):
            batch = next(iterator)
            check_batch(self.model, batch)
            with _state_given_back(self.model, state):
                return self._program(kind, kind, stock)(_distinct(state), batch)

        return run

    def stream(self, kind: str, stream: Stream, stock: Callable) -> Callable:
        """The same for data that comes batch by batch and is collected."""
        block, one = self.block(kind, stream, stock), self.batches(kind, stock) or stock

        def run(state, iterator):
            logs = None
            with _state_given_back(self.model, state) as kept:
                for batch, joined in stream.groups(iterator):
                    check_batch(self.model, batch)
                    if joined:
                        logs, kept.state = block(kept.state, None)
                    else:
                        logs, kept.state = one(kept.state, iter([batch]))
            if logs is None:
                raise StopIteration
            return logs, kept.state

        return run

    def forward(self) -> Callable:
        """A function of a NumPy batch of inputs to the NumPy outputs, compiled for each shape at its first use."""
        model = self.model
        changed: list[int] = []

        def run(state, x):
            outputs, new = view(model, _call_of_here()).stateless_call(*state, x, training=False)
            changed[:] = [i for i, (a, b) in enumerate(zip(state[1], new, strict=True)) if a is not b]
            return outputs, [new[i] for i in changed]

        compiled = jax.jit(run)

        def forward(images):
            outputs, new = _with_weights_of_now(model, lambda state: compiled(state, images))
            for index, value in zip(changed, new, strict=True):  # random generators, mostly
                model.non_trainable_variables[index].assign(value)
            return np.asarray(outputs)

        return forward

    def _program(self, name: str, kind: str, stock: Callable) -> Any:
        """The compiled function of this name, made when stock Keras's was made."""
        if name not in self._programs or self._programs[name][0] is not stock:
            self._programs[name] = stock, self._made(name, kind)
        return self._programs[name][1]

    def _made(self, name: str, kind: str) -> Callable:
        model = self.model

        def make_step(call_of: Callable) -> Callable:
            def step(state, batch):
                outputs, new = getattr(view(model, call_of), f"{kind}_step")(state, batch)
                return outputs, (state[0], new) if kind == "predict" else new

            # Jitted separately: its trace is kept for each shape of a batch, so that it takes Python's attributes as
            # constants when stock Keras does, however many steps the loop around it has.
            return jax.jit(step)

        step = make_step(_call_of_here())
        if kind == "predict":
            return jax.jit(lambda state, data, rows, i: step(state, _take(data, rows, i)))
        if name == f"{kind} block":
            return _Block(model, make_step(_call_of_here(in_loop=True)), step)
        return jax.jit(step, donate_argnums=0)

    def _has_patches(self) -> bool:
        call_of = _call_of_here()
        return any(call_of(layer) is not None for layer in keras_private.all_layers(self.model))


class _Block:
    """The compiled program of a block: many steps as a loop, or one.

    Args:
        model: the model, for the metrics after the steps.
        in_loop: the jitted step for a loop, a function of a state and a batch.
        alone: the same for a dispatch of its own.
    """

    def __init__(self, model: keras.Model, in_loop: Callable, alone: Callable):
        self.model, self.in_loop, self.alone = model, in_loop, alone
        self._loop, self._single = (jax.jit(run, donate_argnums=0) for run in (self._run_loop, self._run_single))
        self._splits: dict[Any, bool] = {}  # shapes of a batch → whether its steps are dispatched one by one

    def split(self, state, data, rows, begin: int, end: int) -> list[tuple[int, ...]]:
        """The numbers of the steps of each dispatch: ``(begin, end)`` of a loop, or ``(step,)``."""
        shapes = rows.shape[1:], *(leaf.shape[1:] for leaf in jax.tree.leaves(data))
        if shapes not in self._splits:
            self._splits[shapes] = jax.default_backend() == "cpu" and (
                _is_narrow(self.model) or _convolves(jax.make_jaxpr(self.in_loop)(state, _take(data, rows, begin)))
            )
        return [(i,) for i in range(begin, end)] if self._splits[shapes] else [(begin, end)]

    def __call__(self, state, data, rows, *steps: int):
        """The logs and the state after the steps of a dispatch."""
        return (self._loop if len(steps) == 2 else self._single)(state, data, rows, *steps)

    def _run_loop(self, state, data, rows, begin, end):
        return self._measure(
            jax.lax.fori_loop(begin, end, lambda i, state: self.in_loop(state, _take(data, rows, i))[1], state)
        )

    def _run_single(self, state, data, rows, i):
        return self._measure(self.alone(state, _take(data, rows, i))[1])

    def _measure(self, state):
        with keras.StatelessScope(list(zip(self.model.metrics_variables, state[-1], strict=True))):
            return self.model.get_metrics_result(), state


def _take(data, rows, i):
    return jax.tree.map(lambda a: a[rows[i]], data)


def _is_narrow(model: keras.Model) -> bool:
    """Whether a model has convolutions that could be replaced, but no wide one."""
    found = [layer for layer in keras_private.all_layers(model) if _can_be_product(layer)]
    return bool(found) and max(min(layer.kernel.shape[-2:]) for layer in found) < WIDE


def _convolves(jaxpr) -> bool:
    """Whether a program has one of XLA's convolutions, also in the functions that it calls."""
    for equation in jaxpr.eqns:
        inner = (part for part in jax.tree.leaves(tuple(equation.params.values())) if hasattr(part, "eqns"))
        if equation.primitive is jax.lax.conv_general_dilated_p or any(map(_convolves, inner)):
            return True
    return False


class _state_given_back:  # noqa: N801 (a context manager)
    """Gives the variables their values back where a step fails: what they hold was deleted by an earlier one."""

    def __init__(self, model: keras.Model, state: tuple):
        self.model, self.state = model, state

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            return
        model = self.model
        groups = [model.trainable_variables, model.non_trainable_variables]
        if len(self.state) == 4:
            groups.append(model.optimizer.variables)
        if len(self.state) > 2:
            groups.append(model.metrics_variables)
        for variables, values in zip(groups, self.state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                if not value.is_deleted():
                    variable.assign(value)
        keras_private.forget_jax_state(model)  # Keras's loop only knows the state before this block


def _with_weights_of_now(model: keras.Model, function: Callable):
    """``function((trainable, non_trainable))`` of the weights after the last step, also while another thread trains."""
    give_up = time.monotonic() + 60
    while True:
        in_loop = keras_private.jax_state(model)
        state = tuple(
            list(in_loop.get(name) or (variable.value for variable in getattr(model, name)))
            for name in ("trainable_variables", "non_trainable_variables")
        )
        try:
            if not _is_deleted(state):
                return function(state)
        except (RuntimeError, ValueError):
            if not _is_deleted(state):
                raise
        # The loop has given these values to its next step, which deletes them; what it returns comes soon.
        if time.monotonic() > give_up:
            raise RuntimeError(f"The weights of the model {model.name!r} are deleted: a training took them.")
        time.sleep(0.001)


def _is_deleted(state) -> bool:
    return any(value.is_deleted() for value in jax.tree.leaves(state))


def _distinct(state):
    seen = set()

    def one(value):
        pointer = value.unsafe_buffer_pointer()
        if pointer in seen:
            return jnp.array(value, copy=True)
        seen.add(pointer)
        return value

    return jax.tree.map(one, state)


def _call_of_here(in_loop: bool = False) -> Callable:
    """What replaces layers on a CPU, alone or in a loop; elsewhere XLA's own operations are the fastest."""
    if jax.default_backend() != "cpu":
        return lambda layer: None
    return _call_in_loop if in_loop else _call_of


def _call_in_loop(layer: keras.Layer) -> Callable | None:
    """As :func:`_call_of`, with convolutions as matrix products."""
    return (lambda x: _conv(layer, x)) if _can_be_product(layer) else _call_of(layer)


def _can_be_product(layer: keras.Layer) -> bool:
    """Whether :func:`_conv` does what the layer does: a convolution of stride 1 and odd size, without groups."""
    if type(layer) not in (layers.Conv2D, keras.layers.Conv2D) or "call" in vars(layer):
        return False
    if getattr(layer, "_border", None) is not None or layer.groups != 1 or layer.lora_enabled:
        return False
    steady = layer.strides == layer.dilation_rate == (1, 1) and layer.data_format == "channels_last"
    return steady and all(size % 2 for size in layer.kernel_size)


def _call_of(layer: keras.Layer) -> Callable | None:
    """A function that does what ``layer.call`` does, faster on a CPU; None to keep the layer's own."""
    if type(layer) is not keras.layers.MaxPooling2D or "call" in vars(layer):
        return None
    if layer.padding == "valid" and layer.pool_size == layer.strides and layer.data_format == "channels_last":
        return lambda x: _max_pool(x, layer.pool_size)
    return None


def _conv(layer, x):
    """The convolution as shifted slices and one matrix product."""
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
