"""Which Keras backend: the list of backends, the choice between them, and the guard over Keras's import.

Keras reads its backend once, when it is first imported. Importing :mod:`kerasnets` therefore doesn't import Keras: it
chooses PyTorch unless ``KERAS_BACKEND`` says otherwise, and :func:`set_backend` may change that until the first use.
This file imports only the standard library, so that the noxfile can read :data:`BACKENDS` from it.
"""

import importlib.util
import os
import sys
from typing import NamedTuple


class Backend(NamedTuple):
    """What must be known of a backend before it is imported.

    Attributes:
        packages: the distributions that provide it, one of which is installed.
        extra: the extra of this project that installs it; None if it is always installed.
        gpu: the pip requirement that lets it use an NVIDIA GPU; None if the plain package does on Linux.
        on_cpu: the environment variables that keep it on the CPU.
    """

    packages: tuple[str, ...]
    extra: str | None
    gpu: str | None
    on_cpu: dict[str, str]


#: Every backend by name. The rest of a backend is in its modules kerasnets/backend/NAME.py and kerasnets/engine/NAME.
BACKENDS = {
    "torch": Backend(("torch",), None, None, {"KERAS_TORCH_DEVICE": "cpu"}),
    "jax": Backend(("jax",), "jax", "jax[cuda13]", {"JAX_PLATFORMS": "cpu"}),
    "tensorflow": Backend(
        # TensorFlow has no variable of its own.
        ("tensorflow", "tensorflow-cpu"), "tensorflow", "tensorflow[and-cuda]", {"CUDA_VISIBLE_DEVICES": "-1"}
    ),
}  # fmt: skip
DEFAULT_BACKEND = "torch"


def is_installed(name: str) -> bool:
    """Whether the backend `name` can be imported here (found, not imported).

    Examples:
        >>> kerasnets.backend.is_installed("torch")
        True
    """
    return name in sys.modules or importlib.util.find_spec(name) is not None


def installed_backends() -> list[str]:
    """The names of the backends that can be imported here.

    Examples:
        >>> "torch" in kerasnets.installed_backends()
        True
    """
    return [name for name in BACKENDS if is_installed(name)]


def check_backend(name: str) -> None:
    """Raise the error that :func:`set_backend` documents unless the backend `name` can be used.

    Examples:
        >>> kerasnets.backend.check_backend("torch")
    """
    from kerasnets._internal.arguments import check_known  # here: the noxfile runs this file by itself

    check_known("backend", name, BACKENDS)
    if not is_installed(name):
        raise ModuleNotFoundError(f"The backend {name!r} is not installed. {install_command(name)}", name=name)


def install_command(name: str) -> str:
    """A sentence with the pip commands that install the backend `name`.

    Examples:
        >>> "pip install" in kerasnets.backend.install_command("jax")
        True
    """
    known = BACKENDS[name]
    if known.extra is None:
        return "Install it with, in a clone of kerasnets: pip install -e ."
    return (
        f"Install it with, in a clone of kerasnets: pip install -e '.[{known.extra}]' (elsewhere: pip install "
        f"{known.packages[0]})."
    )


def backend() -> str:
    """The name of the active backend, such as ``"torch"``.

    Before Keras is imported this is the one that will be used; it does not import Keras.

    Examples:
        >>> kerasnets.backend.backend()
        'torch'
    """
    if "keras" in sys.modules:
        return sys.modules["keras"].config.backend()
    return os.environ.get("KERAS_BACKEND") or DEFAULT_BACKEND


def set_backend(name: str) -> None:
    """Choose the Keras backend, before the first use of Keras.

    Args:
        name: ``"torch"`` (the default of kerasnets), ``"jax"`` or ``"tensorflow"``.

    Raises:
        ValueError: `name` is not a backend of kerasnets.
        ModuleNotFoundError: the backend is not installed; the message has the pip command.
        RuntimeError: Keras is already imported with another backend, which can't be changed in a running process.

    Examples:
        >>> kerasnets.set_backend("torch")
    """
    check_backend(name)
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
    """Choose PyTorch unless the user chose another backend; called once, when kerasnets is imported.

    Examples:
        >>> kerasnets.backend.use_default_backend()
    """
    if "keras" not in sys.modules and not os.environ.get("KERAS_BACKEND"):
        os.environ["KERAS_BACKEND"] = DEFAULT_BACKEND
    sys.meta_path.insert(0, _ImportGuard())


class _ImportGuard:
    """Stops two imports before they happen.

    - Keras with a backend that is unknown or not installed: the error says what to do.
    - Triton after TensorFlow. Each brings an LLVM, and Triton's as the second one aborts the process ("inconsistency
      in registered CommandLine options"). torchvision and torch.optim import Triton where it is installed; PyTorch
      does without it where the import fails.
    """

    def find_spec(self, name, path=None, target=None):
        """Raise for what must not be imported; other finders find the rest."""
        if name == "keras":
            check_backend(backend())
        if name == "triton" and "tensorflow" in sys.modules:
            raise ModuleNotFoundError(
                "Triton can't be imported after TensorFlow: the two abort the process together. To use Triton, import "
                "torchvision before TensorFlow.",
                name=name,
            )


def accelerated() -> bool:
    """Whether ``fit`` and the like are to be fast: yes, unless ``KERASNETS_ACCELERATE`` is 0.

    Examples:
        >>> kerasnets.backend.accelerated()
        True
    """
    return os.environ.get("KERASNETS_ACCELERATE", "1") != "0"
