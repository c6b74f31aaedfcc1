"""PyTorch, as :mod:`kerasnets.backend.active` asks for it."""

import torch

GPU_ADVICE = "torch with CUDA (PyTorch's install page has the command for your driver)"
ONNX_PACKAGES = ("onnx", "onnxscript")


def devices() -> list[str]:
    """By PyTorch: Keras has no list of devices for torch."""
    found = ["cpu:0", *(f"gpu:{i}" for i in range(torch.cuda.device_count()))]
    return [*found, "mps:0"] if torch.backends.mps.is_available() else found


def device_of(tensor: torch.Tensor) -> str:
    """The kind of device that holds `tensor`."""
    return tensor.device.type.replace("cuda", "gpu")


def cuda_version() -> str | None:
    """The CUDA version of the build, None for a build without CUDA."""
    return torch.version.cuda


def peak_gpu_memory() -> int:
    """Of what PyTorch's allocator gave to tensors."""
    return torch.cuda.max_memory_allocated()


def seed_global_generator(seed: int) -> None:
    """Seed the generator of unseeded dropout."""
    torch.manual_seed(seed)


def enable_float64(on: bool) -> None:
    """PyTorch always has it."""


def enable_tf32(on: bool) -> None:
    """For products and cuDNN's convolutions."""
    torch.set_float32_matmul_precision("high" if on else "highest")
    torch.backends.cudnn.allow_tf32 = on


def value_and_gradients(model, value_of, x, training: bool):
    """By ``torch.autograd.grad``, which leaves ``.grad`` alone."""
    value = value_of(model(x, training=training))
    variables = [variable.value for variable in model.trainable_variables]
    return value.detach(), list(torch.autograd.grad(value, variables, materialize_grads=True))
