"""Many training steps on TensorFlow as one loop in a compiled function.

Stock Keras dispatches every step separately and feeds it through ``tf.data``. Here the data lies on the device,
and one dispatch runs any number of steps of Keras's own ``train_step``, each gathering its batch by an index order.
XLA compiles the loop, except for networks with convolutions on a CPU: TensorFlow's own are faster there. What that
costs in memory is kept small by :mod:`~kerasnets.engine.tensorflow_memory`.
"""

import contextlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kerasnets import layers
from kerasnets._internal import keras_private
from kerasnets.engine.fallback import warn_once
from kerasnets.engine.labels import check_batch
from kerasnets.engine.layer_patches import view
from kerasnets.engine.source import Arrays
from kerasnets.engine.stream import Stream
from kerasnets.engine.tensorflow_memory import by_xla, forget_gradients_with


class Engine:
    """Runs a model's steps; the variables hold their state at any time.

    Args:
        model: a compiled Functional or Sequential model; for predictions it need not be compiled.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._programs: dict[tuple, tuple] = {}
        self._reason = ""

    @staticmethod
    def why_not(model: keras.Model) -> str | None:
        """What of `model` this engine can't run; None if it can."""
        used = tf.distribute.has_strategy() or keras_private.strategy_of(model) is not None
        if used:
            return "a tf.distribute strategy is in use"
        optimizer = getattr(model, "optimizer", None)
        if isinstance(optimizer, keras.optimizers.ScheduleFreeAdamW) and not optimizer.built:
            return "ScheduleFreeAdamW begins with other momenta when Keras's compiled step builds it"
        return None

    @staticmethod
    def put(array: np.ndarray) -> tf.Tensor:
        """`array` on the device."""
        return tf.convert_to_tensor(array)

    @staticmethod
    def collects() -> bool:
        """Whether batches that come one by one are collected into blocks."""
        return True

    def block(self, kind: str, source: Arrays | Stream, stock: Callable) -> Callable:
        """A ``train_function``, ``test_function`` or ``predict_function`` that runs the source's next block."""

        def run(_ticks):
            rows, begin, end = source.rows_of_block(self.put)
            leaves = source.leaves(self.put)
            program = self._program(kind, source, leaves, rows, stock)
            if program is not None:
                return program(leaves, rows, tf.constant(begin), tf.constant(end))
            for chosen in rows[begin:end]:
                batch = [source.pack([tf.gather(leaf, chosen) for leaf in leaves])]
                outputs = stock(batch if kind == "predict" else iter(batch))
            warn_once(f"the step can't be compiled ({self._reason})")  # now that stock Keras could run it
            return outputs

        return run

    def batches(self, kind: str, stock: Callable) -> None:
        """None: for data that comes batch by batch stock Keras's function does as well."""

    def stream(self, kind: str, stream: Stream, stock: Callable) -> Callable:
        """The same for data that comes batch by batch and is collected."""
        block = self.block(kind, stream, stock)

        def run(iterator):
            logs = None
            for batch, joined in stream.groups(iterator):
                if joined:
                    check_batch(self.model, batch)
                logs = block(None) if joined else stock(iter([batch]))
            if logs is None:
                raise StopIteration
            return logs

        return run

    def forward(self) -> Callable:
        """A function of a NumPy batch of inputs to the NumPy outputs, compiled for each shape at its first use."""

        def run(x):
            return view(self.model, _call_of)(x, training=False)

        programs = {}

        def forward(images):
            x = tf.constant(images)
            if images.shape not in programs:
                function = tf.function(run, jit_compile=False, autograph=False).get_concrete_function(x)
                programs[images.shape] = by_xla(function, x) or function
            return programs[images.shape](x).numpy()

        return forward

    def _program(self, kind: str, source: Arrays | Stream, leaves: list, rows, stock: Callable) -> Callable | None:
        """The compiled function for data of this structure and these shapes, or None if it can't be compiled.

        It is made when stock Keras's was made. As there, the step doesn't know the batch size if the last batch is
        smaller.
        """
        batch = None if source.has_partial_batch else rows.shape[1]
        nest = repr(keras.tree.map_structure(lambda leaf: leaf is None, source.inputs))
        key = (kind, nest, batch, *((tuple(leaf.shape), leaf.dtype.name) for leaf in leaves))
        if key not in self._programs or self._programs[key][0] is not stock:
            kept = {k: entry for k, entry in self._programs.items() if k[0] != kind or entry[0] is stock}
            self._programs = {**kept, key: (stock, self._compiled(kind, source, leaves, rows, batch))}
        return self._programs[key][1]

    def _compiled(self, kind: str, source: Arrays | Stream, leaves: list, rows, batch: int | None) -> Callable | None:
        """By XLA where that pays, else without, else None; a block of no steps tells whether it compiles."""
        make = self._predict if kind == "predict" else self._loop
        number = tf.TensorSpec([], tf.int32)
        nothing = leaves, rows, tf.constant(0), tf.constant(0)
        try:
            if kind != "predict":
                self._build(source.example())
            function = tf.function(make(kind, source), jit_compile=self.model.jit_compile, autograph=False)
            program = function.get_concrete_function(leaves, tf.TensorSpec([None, batch], rows.dtype), number, number)
            forget_gradients_with(program)
            if self._pays_with_xla() and (compiled := by_xla(program, *nothing)) is not None:
                return compiled
            if kind != "predict":
                program(*nothing)
        except (tf.errors.OpError, NotImplementedError, TypeError, ValueError) as error:
            self._reason = str(error).strip().partition("\n")[0]
            return None
        return program

    def _build(self, example) -> None:
        """Build what stock Keras builds in its first step: a loop can't make variables."""
        optimizer = self.model.optimizer
        if self.model.built and optimizer is not None and not optimizer.built:
            # As in their apply, for the variables' paths.
            several = isinstance(optimizer, keras.optimizers.MultiOptimizer)
            with contextlib.nullcontext() if several else keras.name_scope(optimizer.name, caller=optimizer):
                optimizer.build(self.model.trainable_variables)
        parts = example if isinstance(example, tuple) else (example,)
        keras_private.build_from(self.model, tuple(part for part in parts if part is not None))

    def _loop(self, kind: str, source: Arrays | Stream) -> Callable:
        model = self.model

        def run(leaves, rows, begin, end):
            def body(i):
                batch = source.pack([tf.gather(leaf, rows[i]) for leaf in leaves])
                logs = getattr(view(model, _call_of), f"{kind}_step")(batch)
                with tf.control_dependencies(tf.nest.flatten(logs)):
                    return i + 1

            tf.while_loop(lambda i: i < end, body, [begin])
            return model.get_metrics_result()

        return run

    def _predict(self, kind: str, source: Arrays | Stream) -> Callable:
        def run(leaves, rows, begin, end):
            batch = source.pack([tf.gather(leaf, rows[begin]) for leaf in leaves])
            return view(self.model, _call_of).predict_step(batch)

        return run

    def _pays_with_xla(self) -> bool:
        """Whether XLA is chosen here; stock Keras takes "auto" for False on a CPU, where a loop gains by it."""
        model = self.model
        # A stock Keras model doesn't say what it was given.
        if model.jit_compile or getattr(model, "given_jit_compile", "auto") != "auto":
            return False
        if tf.config.get_visible_devices("GPU"):
            return False
        # XLA draws other random numbers than TensorFlow from the same seed.
        draws = any(variable.name == "seed_generator_state" for variable in model.non_trainable_variables)
        convolves = any(isinstance(layer, _CONVOLUTIONS) for layer in keras_private.all_layers(model))
        return not draws and not convolves and keras_private.model_supports_jit(model)


_CONVOLUTIONS = tuple(
    getattr(keras.layers, name)
    for name in dir(keras.layers)
    if name.startswith(("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv", "SeparableConv"))
)


def _call_of(layer: keras.Layer) -> Callable | None:
    """A function that does what ``layer.call`` does, by TensorFlow's fused operations; None to keep its own."""
    if "call" in vars(layer) or layer.compute_dtype != "float32":
        return None
    kind = type(layer)
    if kind is layers.Conv2D and layer.data_format == "channels_last" and layer.use_bias and not layer.lora_enabled:
        return lambda x: _conv(layer, x)
    if (
        kind is layers.BatchNormalization
        and layer.scale
        and layer.center
        and layer.axis in (-1, layer.input_spec.ndim - 1)
        and not tf.config.get_visible_devices("GPU")  # where cuDNN's kernels keep other things for the gradient
    ):
        return lambda x, training=None: _batch_norm(layer, x, training)
    return None


def _conv(layer, x):
    x = tf.nn.bias_add(layer.convolution_op(x, layer.kernel), layer.bias.value)
    return x if layer.activation is None else layer.activation(x)


def _batch_norm(layer, x, training):
    if len(x.shape) not in (2, 4):
        return type(layer).call(layer, x, training)
    # Their values, since tf.custom_gradient wants to be told of variables.
    gamma, beta, mean, variance = (
        tf.convert_to_tensor(variable.value)
        for variable in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    )
    in_training = bool(training and layer.trainable)
    if in_training:
        # The layer's own sums: those of FusedBatchNormV3 add up one number after the other, a hundred roundings off.
        mean, variance = layer.batch_statistics(tf.stop_gradient(x))

    @tf.custom_gradient
    def normalised(x, gamma, beta):
        def gradient(upstream):
            return tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream,
                x=x,
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=tf.constant([], x.dtype),
                epsilon=layer.epsilon,
                is_training=in_training,
            )[:3]

        # Not tf.nn's function of this name, which takes no epsilon below 1.001e-5.
        y = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=layer.epsilon, is_training=False
        ).y
        return y, gradient

    four = x if len(x.shape) == 4 else x[:, None, None, :]
    return tf.reshape(normalised(four, gamma, beta), tf.shape(x))
