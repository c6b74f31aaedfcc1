"""What runs through stock Keras, why, and the one warning that says so.

The fast path takes what is known to act alike in every step: layers, losses, metrics, optimizers and functions that are
Keras's own or kerasnets'. A user's Python code may count, draw from NumPy or look at a value, all of which a trace
freezes; it runs through stock Keras unless the user vouches for it by ``accelerate(model, trust=True)``.
"""

import sys
import types
import warnings
from collections.abc import Iterator

import keras

from kerasnets._internal import keras_private
from kerasnets.backend import BACKENDS

#: Attributes that don't act in a step: the graph, what is called when a layer is built, and bookkeeping.
_NOT_IN_A_STEP = {
    "_tracker", "_layers", "_modules", "_parameters", "_buffers", "_torch_params", "_inbound_nodes", "_outbound_nodes",
    "_nodes", "_operations", "_operations_by_depth", "_nodes_by_depth", "_layers_by_depth", "_inputs", "_outputs",
    "_inputs_struct", "_outputs_struct", "_call_signature", "build", "quantize", "_metrics", "_losses", "_loss_ids",
    "_functional", "_auto_config", "_parent_path", "_trainable_variables", "_non_trainable_variables", "_variables",
    "_trainable_variables_indices", "_seed_generators", "_called", "built", "_lock", "_path", "_saved_model_arg_spec",
    "_self_tracked_trackables", "_obj_reference_counts_dict", "_self_setattr_tracking", "_build_shapes_dict",
    "_is_graph_network", "_self_unconditional_checkpoint_dependencies", "_call_context_args", "history",
    "_call_has_context_arg", "call_signature_parameters", "_losses_override", "_non_persistent_buffers_set",
}  # fmt: skip

_OURS = ("keras", "kerasnets")
_WRAPPERS = ("TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer")

#: Methods of keras.Model that make up a step.
_STEP = {
    "train_step", "test_step", "predict_step", "compute_loss", "_compute_loss", "compute_metrics", "get_metrics_result",
    "metrics", "metrics_variables", "reset_metrics", "call", "__call__", "stateless_call", "losses", "add_loss",
    "make_train_function", "make_test_function", "make_predict_function", "trainable_variables", "trainable_weights",
    "non_trainable_variables", "compute_loss_and_updates", "stateless_compute_loss", "compute_mask", "_get_own_metrics",
}  # fmt: skip


class StockFitWarning(UserWarning):
    """Emitted once per reason for falling back to stock Keras."""


_said: set[str] = set()


def warn_once(reason: str) -> None:
    """Warn that something runs through stock Keras, unless this reason was given before."""
    if reason in _said:
        return
    _said.add(reason)
    warnings.warn(
        f"This runs through stock Keras, which is slower: {reason}. Pass accelerate=False to silence this warning.",
        StockFitWarning,
        stacklevel=frames_to_the_user(),
    )


def frames_to_the_user() -> int:
    """How many frames lie between the function that warns and the code that called Keras or kerasnets."""
    frame: types.FrameType | None = sys._getframe(2)
    level = 2
    while frame is not None and _root(frame.f_globals.get("__name__", "")) in _OURS:
        frame, level = frame.f_back, level + 1
    return level


def is_graph(model) -> bool:
    """Whether `model` is a Functional or Sequential Keras model."""
    return isinstance(model, keras.Sequential) or (
        isinstance(model, keras.Model) and bool(getattr(model, "inputs", None))
    )


def why_not(model: keras.Model, kind: str) -> str | None:
    """The reason why a model must run through stock Keras; None if it need not.

    Args:
        model: a compiled model; for ``"predict"`` it need not be compiled.
        kind: ``"train"``, ``"test"`` or ``"predict"``.
    """
    if not is_graph(model):
        return f"{type(model).__name__} is neither Functional nor Sequential"
    if name := _own_method(model):
        return f"{type(model).__name__} has its own {name}"
    if getattr(model, "run_eagerly", False):
        return "run_eagerly is on"
    if getattr(model, "steps_per_execution", 1) != 1:
        return f"steps_per_execution={model.steps_per_execution} was chosen"
    if keras.distribution.distribution() is not None:
        return "a keras.distribution is in use"
    if not model.__dict__.get("_kerasnets_trust"):
        for part in parts(model, kind):
            if reason := _foreign(part):
                return f"{reason} (kerasnets.accelerate(model, trust=True) takes it, see its documentation)"
    return None


def _own_method(model: keras.Model) -> str | None:
    """A method of the user's own that is part of a step."""
    users = [vars(cls) for cls in type(model).__mro__ if _root(cls.__module__) not in _LIBRARIES]
    return min(_STEP & set(model.__dict__).union(*users), default=None)


def parts(model: keras.Model, kind: str) -> Iterator[object]:
    """Every Keras object whose attributes a traced step takes as constants, each once.

    Args:
        model: a Functional or Sequential model.
        kind: ``"train"``, ``"test"`` or ``"predict"``.
    """
    waiting = []
    for layer in keras_private.all_layers(model):
        if layer is not model:
            waiting.append(layer)
        waiting.extend(getattr(layer, "_operations", ()))
        waiting.extend(getattr(getattr(layer, "_functional", None), "_operations", ()))
    for variable in model.trainable_variables:
        waiting += [variable.regularizer, variable.constraint]
    if kind != "predict":
        waiting += [keras_private.compiled_loss(model), *model.metrics]
    if kind == "train":
        waiting.append(model.optimizer)
    seen = set()
    while waiting:
        part = waiting.pop()
        if part is None or id(part) in seen or part is model:
            continue
        seen.add(id(part))
        yield part
        for name, value in vars(part).items():
            if acts_in_a_step(name):
                waiting.extend(leaf for leaf in _flat(value) if isinstance(leaf, _KERAS_OBJECTS))


_KERAS_OBJECTS = (
    keras.Operation, keras.losses.Loss, keras.metrics.Metric, keras.optimizers.Optimizer,
    keras.regularizers.Regularizer, keras.constraints.Constraint,
    keras.optimizers.schedules.LearningRateSchedule, keras.random.SeedGenerator,
)  # fmt: skip


def _flat(value) -> Iterator:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def acts_in_a_step(name: str) -> bool:
    """Whether an attribute of this name matters when a step runs."""
    return name not in _NOT_IN_A_STEP and not name.endswith("_initializer") and "_hooks" not in name


def _foreign(part) -> str | None:
    """Why `part` is code that isn't known; None if it is."""
    cls = type(part)
    if not is_ours(cls):
        return f"the {_kind(part)} {cls.__name__} is not one of Keras's"
    if cls.__name__ in _WRAPPERS:
        return f"the layer {part.name!r} wraps code of another library"
    for name, value in vars(part).items():
        if not acts_in_a_step(name):
            continue
        for leaf in _flat(value):
            if is_foreign_function(leaf):
                return f"the {_kind(part)} {getattr(part, 'name', cls.__name__)!r} calls a function that is not Keras's"
    return None


def is_foreign_function(value) -> bool:
    """Whether `value` is Python code from outside Keras, kerasnets and the backends."""
    while hasattr(value, "func") and hasattr(value, "keywords"):  # functools.partial
        value = value.func
    if isinstance(value, types.MethodType):
        return _root(type(value.__self__).__module__) not in _LIBRARIES
    if isinstance(value, types.FunctionType):
        return _root(value.__module__ or "") not in _LIBRARIES
    if callable(value) and not isinstance(value, type | types.BuiltinFunctionType | keras.Variable):
        return _root(type(value).__module__) not in _LIBRARIES
    return False


_LIBRARIES = (*_OURS, *BACKENDS, "jaxlib", "numpy", "builtins", "functools", "optree")


def is_ours(cls: type) -> bool:
    """Whether a class is Keras's or kerasnets'."""
    return _root(cls.__module__) in _OURS


def _root(module: str) -> str:
    return module.partition(".")[0]


def _kind(part) -> str:
    for kind, cls in (
        ("layer", keras.Layer), ("loss", keras.losses.Loss), ("metric", keras.metrics.Metric),
        ("optimizer", keras.optimizers.Optimizer), ("regularizer", keras.regularizers.Regularizer),
        ("constraint", keras.constraints.Constraint), ("schedule", keras.optimizers.schedules.LearningRateSchedule),
    ):  # fmt: skip
        if isinstance(part, cls):
            return kind
    return "operation"
