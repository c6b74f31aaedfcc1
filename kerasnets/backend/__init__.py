"""Keras's backend: which one (``choice``), and what it does (``active``).

>>> import kerasnets
>>> kerasnets.set_backend("torch")  # before the first use of Keras
>>> kerasnets.backend.devices()
['cpu:0']
"""

from kerasnets.backend.active import (
    DEVICES,
    PRECISIONS,
    cuda,
    device,
    devices,
    gpu_advice,
    onnx_packages,
    peak_gpu_memory,
    seed_global_generator,
    set_device,
    set_dtype,
    set_precision,
    value_and_gradients,
)
from kerasnets.backend.choice import (
    BACKENDS,
    DEFAULT_BACKEND,
    accelerated,
    backend,
    check_backend,
    install_command,
    installed_backends,
    is_installed,
    set_backend,
    use_default_backend,
)
from kerasnets.backend.system import machine, versions

__all__ = [
    "BACKENDS",
    "DEFAULT_BACKEND",
    "DEVICES",
    "PRECISIONS",
    "accelerated",
    "backend",
    "check_backend",
    "cuda",
    "device",
    "devices",
    "gpu_advice",
    "install_command",
    "installed_backends",
    "is_installed",
    "machine",
    "onnx_packages",
    "peak_gpu_memory",
    "seed_global_generator",
    "set_backend",
    "set_device",
    "set_dtype",
    "set_precision",
    "use_default_backend",
    "value_and_gradients",
    "versions",
]


def __dir__() -> list[str]:
    return __all__
