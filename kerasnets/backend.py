"""Which Keras backend, and which device: the one place that decides, and the only reader of those variables.

Keras reads its backend once, when it is first imported. Importing :mod:`kerasnets` therefore does not import Keras: it
chooses PyTorch unless ``KERAS_BACKEND`` says otherwise, and :func:`set_backend` may change that until the first use.
"""

import contextlib
import importlib.util
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Backend name → the extra of this project that installs it (``None``: always installed).
BACKENDS = {"torch": None, "jax": "jax", "tensorflow": "tensorflow"}
DEFAULT_BACKEND = "torch"
DEVICES = ("auto", "cpu", "gpu")


def is_installed(name: str) -> bool:
    """Whether the backend `name` can be imported here (found, not imported)."""
    return name in sys.modules or importlib.util.find_spec(name) is not None


def installed_backends() -> list[str]:
    """The names of the backends that can be imported here."""
    return [name for name in BACKENDS if is_installed(name)]


def _check(name: str) -> None:
    if name not in BACKENDS:
        raise ValueError(f"Unknown backend {name!r}; expected one of {', '.join(map(repr, BACKENDS))}.")
    if not is_installed(name):
        raise ModuleNotFoundError(f"The backend {name!r} is not installed. {install_command(name)}", name=name)


def install_command(name: str) -> str:
    """A sentence with the pip command that installs the backend `name`."""
    extra = f"[{BACKENDS[name]}]" if BACKENDS[name] else ""
    return f"Install it with: pip install 'kerasnets{extra}' (in a checkout: pip install '.{extra}')."


def backend() -> str:
    """The active backend: ``"torch"``, ``"jax"`` or ``"tensorflow"``.

    Before Keras is imported this is the one that will be used; it does not import Keras.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"].config.backend()
    return os.environ.get("KERAS_BACKEND") or DEFAULT_BACKEND


def set_backend(name: str) -> None:
    """Choose the Keras backend, before the first use of Keras.

    Args:
        name: ``"torch"`` (the default of kerasnets), ``"jax"`` or ``"tensorflow"``.

    Raises:
        ValueError: `name` is no backend of kerasnets.
        ModuleNotFoundError: the backend is not installed; the message has the pip command.
        RuntimeError: Keras is already imported with another backend, which can't be changed in a running process.
    """
    _check(name)
    if "keras" in sys.modules:
        if backend() != name:
            raise RuntimeError(
                f"Keras is already imported with the backend {backend()!r} and can't be switched to {name!r} in this "
                f"process. Call kerasnets.set_backend({name!r}) before the first use of Keras (in a notebook: restart "
                f"the kernel), or start Python with KERAS_BACKEND={name}."
            )
        return
    os.environ["KERAS_BACKEND"] = name


def use_default_backend() -> None:
    """Choose PyTorch unless the user chose another backend; called once, when kerasnets is imported."""
    if "keras" not in sys.modules and not os.environ.get("KERAS_BACKEND"):
        os.environ["KERAS_BACKEND"] = DEFAULT_BACKEND
    sys.meta_path.insert(0, _ImportGuard())


class _ImportGuard:
    """Looks at two imports before they happen: Keras's, and Triton's after TensorFlow's.

    - Keras with a backend that is unknown or not installed: an error that says what to do.
    - TensorFlow and Triton, which torchvision and torch.optim import where it is installed, each bring an LLVM, and the
      second one aborts the process ("inconsistency in registered CommandLine options") if it is Triton's. PyTorch does
      without Triton where its import fails, so it fails here.
    """

    def find_spec(self, name, path=None, target=None):
        """Raise what must not be imported; leave the finding to the others."""
        if name == "keras":
            _check(backend())
        if name == "triton" and "tensorflow" in sys.modules:
            raise ModuleNotFoundError(
                "Triton can't be imported after TensorFlow: the two abort the process together. To use Triton, import "
                "torchvision before TensorFlow.",
                name=name,
            )


def devices() -> list[str]:
    """The devices that the active backend sees, as ``"cpu:0"``, ``"gpu:0"`` …; imports the backend."""
    if backend() == "torch":
        # Keras has no list of devices for torch.
        import torch

        found = ["cpu:0", *(f"gpu:{i}" for i in range(torch.cuda.device_count()))]
        return [*found, "mps:0"] if torch.backends.mps.is_available() else found
    import keras

    return [name.replace("cuda", "gpu") for name in keras.distribution.list_devices()]


def device() -> str:
    """The kind of device that the active backend computes on: ``"cpu"``, ``"gpu"`` or ``"mps"``. Imports Keras."""
    import keras

    tensor = keras.ops.zeros(1)
    if backend() == "torch":
        return tensor.device.type.replace("cuda", "gpu")
    if backend() == "jax":
        return next(iter(tensor.devices())).platform
    return "gpu" if "GPU" in tensor.device else "cpu"


def cuda() -> str:
    """What the active backend says of CUDA: the version it was built with, and whether it can use it here."""
    usable = "usable" if any(name.startswith("gpu") for name in devices()) else "not usable here"
    if backend() == "torch":
        import torch

        return f"built with CUDA {torch.version.cuda}, {usable}" if torch.version.cuda else "built without CUDA"
    if backend() == "tensorflow":
        import tensorflow

        built_with = tensorflow.sysconfig.get_build_info().get("cuda_version")
        return f"built with CUDA {built_with}, {usable}" if built_with else "built without CUDA"
    return usable


def gpu_advice() -> str:
    """A sentence on what the active backend needs to compute on an NVIDIA GPU."""
    needs = {
        "torch": "torch with CUDA (PyTorch's install page has the command for your driver)",
        "jax": "JAX with CUDA: pip install 'jax[cuda13]'",
        "tensorflow": "TensorFlow with CUDA, Linux only: pip install 'tensorflow[and-cuda]'",
    }
    return f"an NVIDIA GPU, its driver (nvidia-smi lists it), and {needs[backend()]}."


def versions() -> dict[str, str]:
    """Versions of Python, Keras and what computes here, of the installed packages; imports none of them."""
    found = {"python": platform.python_version()}
    for name in ("keras", "torch", "torchvision", "jax", "jaxlib", "tensorflow", "tensorflow-cpu", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def machine() -> str:
    """The machine in a few words: processor and number of cores, for tables of results."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {os.cpu_count()} cores"


def set_device(device: str) -> None:
    """Choose where the active backend computes, before the first use of Keras.

    Args:
        device: ``"auto"`` (a GPU where the backend sees one, else the CPU), ``"cpu"`` or ``"gpu"``.

    Raises:
        ValueError: `device` is none of these.
        RuntimeError: a GPU was asked for and the backend sees none, or the device was chosen too late.
    """
    if device not in DEVICES:
        raise ValueError(f"Unknown device {device!r}; expected one of {', '.join(map(repr, DEVICES))}.")
    if device == "auto":
        return
    if device == "cpu":
        if "keras" in sys.modules and any(not name.startswith("cpu") for name in devices()):
            raise RuntimeError(
                "Keras is already imported and has a GPU in use. Call kerasnets.set_device('cpu') before the first use "
                "of Keras."
            )
        os.environ["KERAS_TORCH_DEVICE"] = os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # TensorFlow has no variable of its own
        return
    if os.environ.get("KERAS_TORCH_DEVICE") == "cpu" and "keras" not in sys.modules:
        del os.environ["KERAS_TORCH_DEVICE"]
    seen = devices()
    if all(name.startswith("cpu") for name in seen):
        raise RuntimeError(
            f"The device 'gpu' was asked for, but the backend {backend()!r} sees only: {', '.join(seen)}. Use "
            "device 'cpu' or 'auto', or see `python -m kerasnets info` for what is missing."
        )


def value_and_gradients(model, value_of, x, training: bool = False):
    """A number that the outputs of `model` give, and its gradient with respect to each trainable variable.

    It is the first half of a training step of one's own; ``optimizer.apply(gradients, model.trainable_variables)`` is
    the other.

    Args:
        model: a built ``keras.Model``.
        value_of: function from the outputs for `x` to a scalar tensor, such as ``lambda out: loss(y, out)``.
        x: inputs of the model, array or tensor.
        training: whether dropout and batch normalisation act as in training, where they change their own variables.

    Returns:
        The scalar, and the list of gradients in the order of ``model.trainable_variables``, zeros where a variable has
        no part in it; all as tensors of the active backend.
    """
    if backend() == "torch":
        import torch

        value = value_of(model(x, training=training))
        variables = [variable.value for variable in model.trainable_variables]
        return value.detach(), list(torch.autograd.grad(value, variables, materialize_grads=True))
    if backend() == "jax":
        import jax

        def stateless(trainable, non_trainable):
            outputs, non_trainable = model.stateless_call(trainable, non_trainable, x, training=training)
            return value_of(outputs), non_trainable

        state = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
        (value, non_trainable), gradients = jax.value_and_grad(stateless, has_aux=True)(*state)
        for variable, new in zip(model.non_trainable_variables, non_trainable, strict=True):
            variable.assign(new)
        return value, gradients
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = value_of(model(x, training=training))
    zeros = tf.UnconnectedGradients.ZERO
    variables = [variable.value for variable in model.trainable_variables]
    return value, tape.gradient(value, variables, unconnected_gradients=zeros)


def accelerated() -> bool:
    """Whether ``fit`` and the like are to be fast: yes, unless ``KERASNETS_ACCELERATE`` is 0."""
    return os.environ.get("KERASNETS_ACCELERATE", "1") != "0"


def seed_global_generator(seed: int) -> None:
    """Seed the generator that unseeded random layers draw from, where the active backend has such a thing.

    Keras's unseeded Dropout draws from its own SeedGenerator on JAX and TensorFlow, but on torch from PyTorch's global
    generator, which is much faster there than a seeded mask.
    """
    if backend() == "torch":
        import torch

        torch.manual_seed(seed)


def set_dtype(dtype: str) -> None:
    """Choose the type that everything made from now on computes in: layers, losses, optimizers and their state.

    Call it before the first layer is made; what exists keeps its type. Imports Keras. On JAX, 64-bit numbers are
    switched on or off for the whole process.

    Args:
        dtype: ``"float32"`` or ``"float64"``.

    Raises:
        ValueError: `dtype` is neither.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"Unknown dtype {dtype!r}; expected 'float32' or 'float64'.")
    import keras

    keras.config.set_floatx(dtype)
    # Keras keeps the policy of the first layer ever made, whatever floatx becomes.
    keras.config.set_dtype_policy(dtype)
    if backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", dtype == "float64")


PRECISIONS = ("float32", "tf32", "bfloat16")


def set_precision(name: str) -> None:
    """Choose what matrix products and convolutions are computed in, before the first layer is made. Imports Keras.

    Args:
        name: ``"float32"`` (the default on a CPU); ``"tf32"``: the factors of products are rounded to 10 bits of
            mantissa where the device has that (NVIDIA GPUs from Ampere on), and the rest is float32; ``"bfloat16"``:
            layers compute in bfloat16 on float32 weights, Keras's policy ``mixed_bfloat16``. On such a GPU the backends
            differ until this is called: PyTorch takes TF32 for convolutions, JAX and TensorFlow for products as well.

    Raises:
        ValueError: `name` is none of these.
    """
    if name not in PRECISIONS:
        raise ValueError(f"Unknown precision {name!r}; expected one of {', '.join(map(repr, PRECISIONS))}.")
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16" if name == "bfloat16" else "float32")
    rounded = name == "tf32"
    if backend() == "torch":
        import torch

        torch.set_float32_matmul_precision("high" if rounded else "highest")
        torch.backends.cudnn.allow_tf32 = rounded
    elif backend() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if rounded else "float32")
    else:
        import tensorflow

        tensorflow.config.experimental.enable_tensor_float_32_execution(rounded)
