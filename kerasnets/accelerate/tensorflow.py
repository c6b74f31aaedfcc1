"""Many training steps on TensorFlow as one loop in a compiled function.

Stock Keras dispatches every step by itself and hands it a batch through ``tf.data``. Here the data lies on the device,
and one dispatch runs any number of steps of Keras's own ``train_step``, each gathering its batch by an index order.
XLA compiles the loop, but for networks with convolutions on a CPU: TensorFlow's own are faster there.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from kerasnets import layers
from kerasnets.accelerate.layers import in_place_of_layers, pools_before_relu
from kerasnets.accelerate.programs import Programs, parts


class Engine:
    """Runs a model's steps; the variables hold their state at any time.

    Args:
        model: a compiled Functional or Sequential model; for :meth:`predict` it need not be compiled.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._programs = Programs()

    @staticmethod
    def why_not(model: keras.Model) -> str | None:
        """What of `model` this engine can't run; None: it can."""
        return "a tf.distribute strategy is in use" if tf.distribute.has_strategy() else None

    def put(self, array) -> tf.Tensor:
        """`array` on the device; floats in Keras's float type, as in stock ``fit``."""
        array = keras.ops.convert_to_numpy(array)
        return tf.convert_to_tensor(
            array.astype(keras.config.floatx(), copy=False) if array.dtype.kind == "f" else array
        )

    def train(self, data: Sequence, rows: tf.Tensor, begin: int, end: int) -> None:
        """Take training steps.

        Args:
            data: images, labels and weights of the examples (or None), as :meth:`put` gives them, each a nest.
            rows: int ``(steps, batch)``: which examples each step sees.
            begin: the first step.
            end: the step after the last.
        """
        self._loop("train", self.model.train_step, data, rows, begin, end)

    def test(self, data: Sequence, rows: tf.Tensor, begin: int, end: int) -> None:
        """Update the metrics by the batches `begin` to `end` (exclusive)."""
        self._loop("test", self.model.test_step, data, rows, begin, end)

    def predict(self, data: Sequence, rows: tf.Tensor, index: int):
        """The outputs for batch number `index`."""

        def run(x, chosen):
            batch = tf.nest.map_structure(lambda a: tf.gather(a, chosen), x)
            return self._replaced(lambda: self.model.predict_step((batch,)))

        program = self._programs.get("predict", *parts(self.model, "predict"), lambda: self._compiled(run))
        return program(data[0], rows[index])

    def forward(self) -> Callable:
        """A function of a NumPy batch of inputs to the NumPy outputs, compiled for each shape at its first use."""

        def run(x):
            return self._replaced(lambda: self.model(x, training=False))

        compiled, concrete = tf.function(run, jit_compile=True, autograph=False), {}

        def forward(images):
            x = tf.constant(images)
            if images.shape not in concrete:
                concrete[images.shape] = compiled.get_concrete_function(x)
            return concrete[images.shape](x).numpy()

        return forward

    def _loop(self, kind, step, data, rows, begin, end) -> None:
        def run(data, rows, begin, end):
            def body(i):
                batch = tf.nest.map_structure(lambda a: tf.gather(a, rows[i]), data)
                with tf.control_dependencies(tf.nest.flatten(self._replaced(lambda: step(batch)))):
                    return i + 1

            return tf.while_loop(lambda i: i < end, body, [begin])

        program = self._programs.get(kind, *parts(self.model, kind), lambda: self._compiled(run))
        program(tuple(part for part in data if part is not None), rows, tf.constant(begin), tf.constant(end))

    def _compiled(self, function):
        model = self.model
        jit = model.jit_compile
        # A stock Keras model doesn't say what it was given.
        chosen_here = not jit and getattr(model, "given_jit_compile", "auto") == "auto"
        if chosen_here and not tf.config.get_visible_devices("GPU"):
            # Here stock Keras takes "auto" for False, which pays where every step is a dispatch; a loop gains by XLA.
            convolves = any(isinstance(layer, _CONVOLUTIONS) for layer in model._flatten_layers())
            jit = not convolves and keras.src.trainers.trainer.model_supports_jit(model)
        return tf.function(function, jit_compile=jit, autograph=False)

    def _replaced(self, function):
        """`function` with the layers' slow parts replaced."""
        with in_place_of_layers(self.model, _call_of, pools_before_relu(self.model)):
            return function()


_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def _call_of(layer: keras.Layer) -> Callable | None:
    """A function that does what ``layer.call`` does, by TensorFlow's fused operations; None: its own will do."""
    if layer.compute_dtype != "float32":
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
