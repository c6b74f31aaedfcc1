"""TensorFlow, as :mod:`kerasnets.backend.active` asks for it."""

import keras
import tensorflow as tf

from kerasnets.backend.choice import BACKENDS

GPU_ADVICE = f"TensorFlow with CUDA, Linux only: pip install '{BACKENDS['tensorflow'].gpu}'"
ONNX_PACKAGES = ("tf2onnx",)


def devices() -> list[str]:
    """By Keras."""
    return keras.distribution.list_devices()


def device_of(tensor: tf.Tensor) -> str:
    """The kind of device that holds `tensor`."""
    return "gpu" if "GPU" in tensor.device else "cpu"


def cuda_version() -> str | None:
    """The CUDA version of the build, None for a build without CUDA."""
    return tf.sysconfig.get_build_info().get("cuda_version")


def peak_gpu_memory() -> int:
    """Of what TensorFlow's allocator gave to tensors."""
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def seed_global_generator(seed: int) -> None:
    """Keras draws from its own generators here."""


def enable_float64(on: bool) -> None:
    """TensorFlow always has it."""


def enable_tf32(on: bool) -> None:
    """For products and convolutions."""
    tf.config.experimental.enable_tensor_float_32_execution(on)


def value_and_gradients(model, value_of, x, training: bool):
    """By ``tf.GradientTape``."""
    with tf.GradientTape() as tape:
        value = value_of(model(x, training=training))
    variables = [variable.value for variable in model.trainable_variables]
    return value, tape.gradient(value, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
