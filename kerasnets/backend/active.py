"""The active backend: its devices, seeds, precision and gradients.

These functions do what is the same on every backend, and document what each backend's module does. Those modules
(``torch.py``, ``jax.py``, ``tensorflow.py``) all have the same names, import their framework, and are loaded at first
use.
"""

import os
import sys
from importlib import import_module

from kerasnets._internal.arguments import check_known
from kerasnets.backend.choice import BACKENDS, backend, check_backend

DEVICES = ("auto", "cpu", "gpu")
PRECISIONS = ("float32", "tf32", "bfloat16", "float64")


def _module():
    """The module of the active backend."""
    name = backend()
    check_backend(name)
    return import_module(f"kerasnets.backend.{name}")


def devices() -> list[str]:
    """The devices that the active backend sees, as ``"cpu:0"``, ``"gpu:0"`` …; imports the backend.

    Examples:
        >>> kerasnets.backend.devices()[0]
        'cpu:0'
    """
    return _module().devices()


def device() -> str:
    """The kind of device that the active backend computes on: ``"cpu"``, ``"gpu"`` or ``"mps"``. Imports Keras.

    Examples:
        >>> kerasnets.backend.device() in ("cpu", "gpu", "mps")
        True
    """
    import keras

    return _module().device_of(keras.ops.zeros(1))


def set_device(device: str) -> None:
    """Choose where the active backend computes, before the first use of Keras.

    Args:
        device: ``"auto"`` (a GPU where the backend sees one, else the CPU), ``"cpu"`` or ``"gpu"``.

    Raises:
        ValueError: `device` is none of these.
        RuntimeError: a GPU was asked for and the backend sees none, or the device was chosen too late.

    Examples:
        >>> kerasnets.set_device("auto")
    """
    check_known("device", device, DEVICES)
    if device == "auto":
        return
    if device == "cpu":
        if "keras" in sys.modules and any(not name.startswith("cpu") for name in devices()):
            raise RuntimeError(
                "Keras is already imported and has a GPU in use. Call kerasnets.set_device('cpu') before the first use "
                "of Keras."
            )
        for known in BACKENDS.values():  # of all backends: set_backend may still follow
            os.environ.update(known.on_cpu)
        return
    # Keras on torch would stay on the CPU, although PyTorch sees the GPU.
    if os.environ.get("KERAS_TORCH_DEVICE") == "cpu" and "keras" not in sys.modules:
        del os.environ["KERAS_TORCH_DEVICE"]
    seen = devices()
    if all(name.startswith("cpu") for name in seen):
        raise RuntimeError(
            f"The device 'gpu' was asked for, but the backend {backend()!r} sees only: {', '.join(seen)}. Use "
            "device 'cpu' or 'auto', or see `python -m kerasnets info` for what is missing."
        )


def cuda() -> str:
    """What the active backend says of CUDA: the version it was built with, and whether it can use it here.

    Examples:
        >>> text = kerasnets.backend.cuda()  # such as "built with CUDA 13.2, usable"
    """
    usable = "usable" if any(name.startswith("gpu") for name in devices()) else "not usable here"
    built_with = _module().cuda_version()
    if built_with is None:
        return "built without CUDA"
    return f"built with CUDA {built_with}, {usable}" if built_with else usable


def gpu_advice() -> str:
    """A sentence on what the active backend needs to compute on an NVIDIA GPU.

    Examples:
        >>> kerasnets.backend.gpu_advice().startswith("an NVIDIA GPU")
        True
    """
    return f"an NVIDIA GPU, its driver (nvidia-smi lists it), and {_module().GPU_ADVICE}."


def peak_gpu_memory() -> int | None:
    """The most memory of the first GPU that the active backend has held so far, in bytes; None if it doesn't say.

    Examples:
        >>> size = kerasnets.backend.peak_gpu_memory()
    """
    return _module().peak_gpu_memory()


def onnx_packages() -> tuple[str, ...]:
    """The packages that Keras's export to ONNX needs on the active backend.

    Examples:
        >>> packages = kerasnets.backend.onnx_packages()
    """
    return _module().ONNX_PACKAGES


def seed_global_generator(seed: int) -> None:
    """Seed the generator that unseeded random layers draw from, if the active backend has one.

    Keras's unseeded Dropout draws from its own SeedGenerator on JAX and TensorFlow, but on torch from PyTorch's global
    generator, which is much faster there than a seeded mask.

    Examples:
        >>> kerasnets.backend.seed_global_generator(0)
    """
    _module().seed_global_generator(seed)


def set_dtype(dtype: str) -> None:
    """Choose the type that everything made from now on computes in: layers, losses, optimizers and their state.

    Call it before the first layer is made; what exists keeps its type. Imports Keras. On JAX, 64-bit numbers are
    switched on or off for the whole process.

    Args:
        dtype: ``"float32"`` or ``"float64"``.

    Raises:
        ValueError: `dtype` is neither.

    Examples:
        >>> kerasnets.backend.set_dtype("float32")
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"Unknown dtype {dtype!r}; expected 'float32' or 'float64'.")
    import keras

    keras.config.set_floatx(dtype)
    # Keras keeps the policy of the first layer ever made, whatever floatx becomes.
    keras.config.set_dtype_policy(dtype)
    _module().enable_float64(dtype == "float64")


def set_precision(name: str) -> None:
    """Choose what matrix products and convolutions are computed in, before the first layer is made. Imports Keras.

    Args:
        name: ``"float32"`` (the default on a CPU); ``"tf32"``: the factors of products are rounded to 10 bits of
            mantissa where the device has that (NVIDIA GPUs from Ampere on), and the rest is float32; ``"bfloat16"``:
            layers compute in bfloat16 on float32 weights, Keras's policy ``mixed_bfloat16``; ``"float64"``: as
            :func:`set_dtype`. On such a GPU the backends differ until this is called: PyTorch takes TF32 for
            convolutions, JAX and TensorFlow for products as well.

    Raises:
        ValueError: `name` is none of these.

    Examples:
        >>> kerasnets.backend.set_precision("float32")
    """
    check_known("precision", name, PRECISIONS)
    import keras

    set_dtype("float64" if name == "float64" else "float32")
    if name == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    _module().enable_tf32(name == "tf32")


def value_and_gradients(model, value_of, x, training: bool = False):
    """A number computed from the outputs of `model`, and its gradient with respect to each trainable variable.

    This is the first half of a training step of your own; ``optimizer.apply(gradients, model.trainable_variables)`` is
    the other.

    Args:
        model: a built ``keras.Model``.
        value_of: function from the outputs for `x` to a scalar tensor, such as ``lambda out: loss(y, out)``.
        x: inputs of the model, array or tensor.
        training: whether dropout and batch normalisation act as in training, where they change their own variables.

    Returns:
        The scalar, and the list of gradients in the order of ``model.trainable_variables``, zeros for a variable that
        the scalar doesn't depend on; all as tensors of the active backend.

    Examples:
        >>> model = kerasnets.build("Network2")
        >>> loss = kerasnets.losses.NLLLoss(from_probabilities=True)
        >>> x, y = np.zeros((4, 28, 28)), np.array([1, 2, 3, 4])
        >>> value, gradients = kerasnets.backend.value_and_gradients(model, lambda out: loss(y, out), x)
        >>> len(gradients) == len(model.trainable_variables)
        True
    """
    return _module().value_and_gradients(model, value_of, x, training)
