"""JAX, as :mod:`kerasnets.backend.active` asks for it."""

import jax
import keras

from kerasnets.backend.choice import BACKENDS

GPU_ADVICE = f"JAX with CUDA: pip install '{BACKENDS['jax'].gpu}'"
ONNX_PACKAGES = ("tf2onnx", "tensorflow")


def devices() -> list[str]:
    """By Keras."""
    return [name.replace("cuda", "gpu") for name in keras.distribution.list_devices()]


def device_of(tensor: jax.Array) -> str:
    """The kind of device that holds `tensor`."""
    return next(iter(tensor.devices())).platform


def cuda_version() -> str:
    """Empty: JAX doesn't say."""
    return ""


def peak_gpu_memory() -> int | None:
    """Of what JAX's allocator gave to arrays; None for an allocator that keeps no statistics."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def seed_global_generator(seed: int) -> None:
    """JAX has no such generator."""


def enable_float64(on: bool) -> None:
    """For the whole process."""
    jax.config.update("jax_enable_x64", on)


def enable_tf32(on: bool) -> None:
    """For products and convolutions."""
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if on else "float32")


def value_and_gradients(model, value_of, x, training: bool):
    """By ``jax.value_and_grad`` of the model as a function of its variables."""

    def stateless(trainable, non_trainable):
        outputs, non_trainable = model.stateless_call(trainable, non_trainable, x, training=training)
        return value_of(outputs), non_trainable

    state = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
    (value, non_trainable), gradients = jax.value_and_grad(stateless, has_aux=True)(*state)
    for variable, new in zip(model.non_trainable_variables, non_trainable, strict=True):
        variable.assign(new)
    return value, gradients
