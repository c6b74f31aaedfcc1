"""Classic mistakes, found before the first step: a loss that doesn't fit the outputs, and PyTorch's objects.

What can't be meant is an error. What may be meant is a warning, once per model: a stock Keras model with a stock Keras
loss trains as stock Keras would.
"""

import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import keras

from kerasnets import losses
from kerasnets._internal import keras_private
from kerasnets._internal.arguments import name_torch_object
from kerasnets.engine.fallback import frames_to_the_user


class LikelyMistakeWarning(UserWarning):
    """Emitted once per model for what is probably a mistake, such as softmax before ``CrossEntropyLoss``."""


_said: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


def warn_of(model: keras.Model, text: str) -> None:
    """Emit a :class:`LikelyMistakeWarning`, unless this model has had the same one."""
    said = _said.setdefault(model, set())
    if text not in said:
        said.add(text)
        warnings.warn(text, LikelyMistakeWarning, stacklevel=frames_to_the_user())


# PyTorch's objects

#: Functions of torch.nn.functional → the class here.
_FUNCTIONS = {
    "binary_cross_entropy": "BCELoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
    "cross_entropy": "CrossEntropyLoss",
    "huber_loss": "HuberLoss",
    "kl_div": "KLDivLoss",
    "l1_loss": "L1Loss",
    "mse_loss": "MSELoss",
    "nll_loss": "NLLLoss",
    "smooth_l1_loss": "SmoothL1Loss",
}


def refuse_torch_objects(loss, optimizer=None) -> None:
    """Raise a TypeError if a loss or the optimizer that ``compile`` got is PyTorch's.

    Keras would call a PyTorch loss with the targets first, and without a word.
    """
    for each in keras.tree.flatten(loss):
        if type(each).__name__ == "TorchModuleWrapper":  # what Keras's torch backend makes of a module
            each = each.module
        if name := name_torch_object(each):
            short = name.rpartition(".")[2]
            short = _FUNCTIONS.get(short, short)
            ours = f"kerasnets.losses.{short}()" if hasattr(losses, short) else "one of kerasnets.losses"
            raise TypeError(f"The loss is PyTorch's {name}; expected a Keras loss, here {ours}.")
    if name := name_torch_object(optimizer):
        short = name.rpartition(".")[2]
        raise TypeError(
            f"The optimizer is PyTorch's {name}; expected a Keras optimizer, here kerasnets.optimizers.{short}(…). It "
            "takes no parameters: fit passes it the model's."
        )


# Loss and outputs

#: Keras's losses of probabilities, each also a function; with ``from_logits=True`` they take logits.
_OF_PROBABILITIES = (
    "SparseCategoricalCrossentropy", "CategoricalCrossentropy", "CategoricalFocalCrossentropy",
    "BinaryCrossentropy", "BinaryFocalCrossentropy",
)  # fmt: skip
_FUNCTION_NAMES = {
    "sparse_categorical_crossentropy", "categorical_crossentropy", "categorical_focal_crossentropy",
    "binary_crossentropy", "binary_focal_crossentropy",
}  # fmt: skip

#: What the last function of a network returns. None of the other activations returns probabilities or their logarithms.
_RETURNS = {
    "linear": "logits",
    "softmax": "probabilities",
    "sigmoid": "probabilities",
    "log_softmax": "log-probabilities",
    "log_sigmoid": "log-probabilities",
}
#: Operations that leave values as they are.
_PASS = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Permute, keras.layers.Dropout, keras.layers.Identity)


def check_loss_fits(model: keras.Model, *, strict: bool) -> None:
    """Compare the compiled loss with the last function of the network.

    Args:
        model: a compiled model.
        strict: whether a loss of stock Keras that doesn't fit is an error, not a warning.

    Raises:
        TypeError: the loss is PyTorch's.
        ValueError: the loss takes log-probabilities, probabilities or logits, and the network returns something else.
    """
    refuse_torch_objects(model.loss)
    for function, loss in _outputs_and_losses(model):
        returned = _RETURNS.get(function, f"the values of {function}")
        problem = _find_misfit(loss, function, returned)
        if problem is None:
            continue
        text, is_error, is_ours = problem
        if is_error and (strict or is_ours):
            raise ValueError(text)
        warn_of(model, text)


def _find_misfit(loss, function: str, returned: str) -> tuple[str, bool, bool] | None:
    """What to say of a loss behind a function, whether it is an error, and whether the loss is kerasnets'."""
    name = type(loss).__name__ if isinstance(loss, keras.losses.Loss) else getattr(loss, "__name__", "")
    if isinstance(loss, losses.NLLLoss):
        if not loss.from_probabilities and returned != "log-probabilities":
            remedy = (
                "Use kerasnets.losses.NLLLoss(from_probabilities=True)"
                if returned == "probabilities"
                else "End the network with log_softmax, or use kerasnets.losses.CrossEntropyLoss()"
            )
            return f"NLLLoss takes log-probabilities, but the network returns {returned}. {remedy}.", True, True
        if loss.from_probabilities and (returned in ("logits", "log-probabilities") or function == "tanh"):
            remedy = (
                "Use kerasnets.losses.NLLLoss()"
                if returned == "log-probabilities"
                else "End the network with softmax, or use kerasnets.losses.CrossEntropyLoss()"
            )
            text = (
                f"NLLLoss(from_probabilities=True) takes probabilities, but the network returns {returned}. {remedy}."
            )
            return text, True, True
    elif isinstance(loss, losses.CrossEntropyLoss):
        if returned == "probabilities":
            return (
                f"CrossEntropyLoss takes logits, but the network ends with {function}. CrossEntropyLoss has a softmax "
                f"of its own, and behind another one training is slow. Leave {function} out, or use "
                "kerasnets.losses.NLLLoss(from_probabilities=True).",
                False,
                True,
            )
    elif (takes_logits := _takes_logits(loss)) is not None:
        if not takes_logits and returned in ("logits", "log-probabilities"):
            remedy = "Pass from_logits=True to the loss" if returned == "logits" else "Use kerasnets.losses.NLLLoss()"
            return f"{name} takes probabilities, but the network returns {returned}. {remedy}.", True, False
        if takes_logits and returned == "probabilities":
            text = f"{name} with from_logits=True takes logits, but the network ends with {function}. Leave one out."
            return text, False, False
    return None


def _takes_logits(loss: Any) -> bool | None:
    """Whether a loss of Keras's takes logits (True) or probabilities (False); None for a loss of another kind."""
    classes: tuple[Any, ...] = tuple(getattr(keras.losses, name) for name in _OF_PROBABILITIES)
    if isinstance(loss, classes):
        return bool(loss.get_config().get("from_logits"))
    is_kerass = getattr(loss, "__module__", "").partition(".")[0] == "keras"
    return False if is_kerass and getattr(loss, "__name__", "") in _FUNCTION_NAMES else None


def _outputs_and_losses(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Each output's last function and its loss, where both are known."""
    loss, functions = model.loss, _last_functions(model)
    if isinstance(loss, dict):
        given = [loss.get(name) for name in getattr(model, "output_names", [])]
    elif isinstance(loss, list | tuple):
        given = list(loss)
    else:
        given = [loss] * len(functions)
    for function, each in zip(functions, given, strict=False):
        if function is not None and each is not None and not isinstance(each, type):
            yield function, keras.losses.get(each) if isinstance(each, str) else each


def _last_functions(model: keras.Model) -> list[str | None]:
    """The name of the last function of each output, such as ``"softmax"``; None where it is not known."""
    if outputs := getattr(model, "outputs", None):
        return [_function_behind(output) for output in outputs]
    if isinstance(model, keras.Sequential) and model.layers:  # not built yet
        return [_function_of(model.layers[-1])]
    return []


def _function_behind(tensor) -> str | None:
    node = keras_private.node_behind(tensor)
    while node is not None and isinstance(node.operation, _PASS):
        if not node.input_tensors:
            return None
        node = keras_private.node_behind(node.input_tensors[0])
    return None if node is None else _function_of(node.operation)


def _function_of(operation) -> str | None:
    """The name of the activation that `operation` is or ends with; None if it is something else."""
    if isinstance(operation, keras.Model):
        functions = _last_functions(operation)
        return functions[0] if len(functions) == 1 else None
    if type(operation).__module__.partition(".")[0] not in ("keras", "kerasnets"):
        return None  # a user's class may do anything to its activation's values
    if type(operation).__name__ in ("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid"):  # a layer, or one of keras.ops
        return {"LogSoftmax": "log_softmax", "LogSigmoid": "log_sigmoid"}.get(
            type(operation).__name__, type(operation).__name__.lower()
        )
    function = getattr(operation, "activation", None)
    if getattr(function, "__module__", "").partition(".")[0] != "keras":
        return None
    return getattr(function, "__name__", None)
