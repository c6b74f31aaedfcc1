"""What kerasnets uses of Keras that isn't public: a small function each, and a check that it is all still there.

Keras may rename or change any of it. :func:`find_missing` names what is gone, and the fast path then leaves everything
to stock Keras. The three hooks of Keras's optimizers that ours override are in :mod:`kerasnets.optimizers.base`.
"""

import contextlib
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

try:
    from keras.src.backend.common import global_state
    from keras.src.backend.common.stateless_scope import in_stateless_scope
    from keras.src.models.functional import Functional
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR, global_seed_generator
    from keras.src.trainers.data_adapters import array_slicing, get_data_adapter
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter, can_convert_arrays
    from keras.src.trainers.data_adapters.data_adapter import DataAdapter
    from keras.src.trainers.data_adapters.generator_data_adapter import GeneratorDataAdapter
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter
    from keras.src.trainers.data_adapters.tf_dataset_adapter import TFDatasetAdapter
    from keras.src.trainers.trainer import model_supports_jit
    from keras.src.utils import module_utils
    from keras.src.utils.rng_utils import GLOBAL_RANDOM_SEED, get_random_seed
except ImportError as error:
    _IMPORT_ERROR: str | None = str(error)
    DataAdapter = object  # which ours derives from
    Functional = GeneratorDataAdapter = PyDatasetAdapter = TFDatasetAdapter = None
    array_slicing = get_data_adapter = ArrayDataAdapter = can_convert_arrays = None
    module_utils = model_supports_jit = get_random_seed = global_seed_generator = None

    def in_stateless_scope():
        return False

else:
    _IMPORT_ERROR = None

__all__ = [
    "ArrayDataAdapter",
    "DataAdapter",
    "Functional",
    "GeneratorDataAdapter",
    "PyDatasetAdapter",
    "TFDatasetAdapter",
    "array_slicing",
    "can_convert_arrays",
    "get_data_adapter",
    "global_seed_generator",
    "in_stateless_scope",
    "model_supports_jit",
]

#: Attributes of a compiled model, of its graph, and of its layers.
_MODEL = ("_assert_compile_called", "_compile_config", "_compile_loss", "_flatten_layers", "_loss_tracker")
_GRAPH = ("_operations", "_losses_override", "_call_has_training_arg")
_LAYER = ("_inbound_nodes", "_outbound_nodes")
_BY_BACKEND = {
    "jax": ("jax_state_sync", "_jax_state_synced", "_purge_model_variables"),
    "tensorflow": ("_distribute_strategy",),
    "torch": (),
}
#: Methods, and the arguments that they are called with here.
_METHODS = {
    "_run_through_graph": ("inputs", "operation_fn", "call_fn"),
    "_symbolic_build": ("data_batch",),
    "_compute_loss": ("x", "y", "y_pred", "sample_weight", "training"),
}


@functools.cache
def find_missing() -> str | None:
    """What the installed Keras lacks, in words; None if everything is there."""
    if _IMPORT_ERROR:
        return f"Keras {keras.__version__} has changed ({_IMPORT_ERROR})"
    inputs = keras.Input((1,), name="probe_input")  # all named: Keras counts the names that it gives
    model = keras.Model(inputs, keras.layers.ReLU(name="probe_layer")(inputs), name="probe")
    model.compile(keras.optimizers.SGD(name="probe_optimizer"), "mse")
    owners = {
        model: (*_MODEL, *_GRAPH, *_BY_BACKEND[keras.config.backend()]),
        model.layers[-1]: _LAYER,
        model.outputs[0]: ("_keras_history",),
        model.optimizer: ("_learning_rate",),
        keras.Sequential([inputs, model.layers[-1]], name="probe_sequential"): ("_functional",),
    }
    missing = [name for owner, names in owners.items() for name in names if not hasattr(owner, name)]
    for name, arguments in _METHODS.items():
        method = getattr(model, name, None)
        if method is None or not set(arguments) <= set(inspect.signature(method).parameters):
            missing.append(name)
    return f"Keras {keras.__version__} has changed ({', '.join(missing)})" if missing else None


# The graph


def operations_of(model: keras.Model) -> list:
    """The operations of a Functional model, each once."""
    return model._operations


def replace_layer(owner: keras.Layer, name: str, layer: keras.Layer) -> None:
    """Set the attribute `name` of `owner` to another layer, and stop Keras from tracking the old one."""
    owner._tracker.untrack(getattr(owner, name))
    setattr(owner, name, layer)


def all_layers(model: keras.Model) -> list[keras.Layer]:
    """The model and every layer in it, those of nested models included."""
    return model._flatten_layers()


def calls_of(operation) -> list:
    """A node for each time that `operation` was called."""
    return operation._inbound_nodes


def readers_of(operation) -> list:
    """The operations that read an output of `operation`."""
    return [node.operation for node in operation._outbound_nodes]


def outputs_made_by(model: keras.Model, operation) -> bool:
    """Whether an output of the model comes straight from `operation`."""
    return any(operation is tensor._keras_history.operation for tensor in model.outputs)


def graph_of(model: keras.Sequential) -> keras.Model | None:
    """The Functional model inside a built Sequential one; None if its inputs are nested or it isn't built."""
    return model._functional


def run_graph(model: keras.Model, inputs, operation_fn: Callable, call_fn: Callable | None = None):
    """The outputs of a Functional model, each operation replaced by what `operation_fn` makes of it."""
    return model._run_through_graph(inputs, operation_fn=operation_fn, call_fn=call_fn)


def list_calls(model: keras.Model) -> list:
    """The nodes of a Functional or built Sequential model, each after those whose outputs it takes.

    Empty for other models.
    """
    graph = getattr(model, "_functional", None) or model
    by_depth = getattr(graph, "_nodes_by_depth", {})  # inputs have the largest depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def node_behind(tensor: keras.KerasTensor) -> Any:
    """The node that has a symbolic tensor as an output; None if the tensor is not part of a graph."""
    history = getattr(tensor, "_keras_history", None)
    return None if history is None else history.operation._inbound_nodes[history.node_index]


def takes_training(model: keras.Model) -> bool:
    """Whether the model's ``call`` has an argument `training`."""
    return model._call_has_training_arg


# The training step


def assert_compiled(model: keras.Model, method: str) -> None:
    """Raise Keras's ValueError unless the model is compiled."""
    model._assert_compile_called(method)


def compile_record(model: keras.Model) -> Any:
    """An object that every ``compile`` replaces, with the arguments in its ``config``; None before the first."""
    return getattr(model, "_compile_config", None)


def compiled_loss(model: keras.Model) -> Any:
    """The object that computes the compiled loss or losses; None before the first ``compile``."""
    return model._compile_loss


def loss_tracker(model: keras.Model) -> keras.metrics.Mean:
    """The mean of the loss, which the log shows."""
    return model._loss_tracker


def compute_loss(model: keras.Model, **arguments):
    """Keras's loss of one batch, regularization included."""
    return model._compute_loss(**arguments)


def build_from(model: keras.Model, batch: tuple) -> None:
    """Build the model, its metrics and its losses from one batch."""
    model._symbolic_build(data_batch=batch)


def learning_rate_of(optimizer) -> Any:
    """What the optimizer was given: a variable, a schedule or a function; None if there is no optimizer."""
    return getattr(optimizer, "_learning_rate", None)


def strategy_of(model: keras.Model) -> Any:
    """The ``tf.distribute`` strategy that the model was made under; None if there was none."""
    return model._distribute_strategy


def set_jax_state(model: keras.Model, state: dict[str, Iterable]) -> None:
    """Give the variables the values that Keras's JAX loop holds outside of them."""
    model._jax_state, model._jax_state_synced = state, False
    model.jax_state_sync()


def forget_jax_state(model: keras.Model) -> None:
    """The values that Keras's JAX loop holds outside of the variables are no longer the newest."""
    model._jax_state_synced = True


def jax_state(model: keras.Model) -> dict[str, Iterable]:
    """The values that Keras's JAX loop holds outside of the variables, by the name of their group."""
    return (not model._jax_state_synced and getattr(model, "_jax_state", None)) or {}


@contextlib.contextmanager
def variables_not_emptied(model: keras.Model) -> Iterator[None]:
    """Inside, Keras's JAX loop leaves the values in the variables until JAX deletes them."""

    def leave(**groups):
        model._jax_state = None  # it is older than what a callback has set

    outermost = model.__dict__.setdefault("_purge_model_variables", leave) is leave
    try:
        yield
    finally:
        if outermost:
            del model.__dict__["_purge_model_variables"]


def is_emptied(variable: keras.Variable) -> bool:
    """Whether a variable is without a value on JAX: Keras's loop has taken it out, or a step has used it up."""
    return variable._value is None or variable._value.is_deleted()


# Data


def batch_arrays(adapter: Any) -> Any:
    """What Keras's adapter of arrays takes its batches from, in the structure of a batch; None if it is empty."""
    return adapter._inputs if adapter._num_samples else None


# Random numbers


def global_attribute(name: str) -> Any:
    """A value in Keras's global state, which is each thread's own and which ``clear_session`` empties; or None."""
    return None if _IMPORT_ERROR else global_state.get_global_attribute(name)


def set_global_attribute(name: str, value: Any) -> None:
    """Keep a value in Keras's global state."""
    if not _IMPORT_ERROR:
        global_state.set_global_attribute(name, value)


@contextlib.contextmanager
def tensorflow_left_out() -> Iterator[None]:
    """Inside, Keras on another backend doesn't look whether TensorFlow is installed, unless it is imported already.

    ``set_random_seed`` and ``model.save`` import it to ask, which takes seconds and writes lines to the terminal.
    """
    lazy = vars(getattr(module_utils, "tensorflow", object))
    if keras.config.backend() == "tensorflow" or "tensorflow" in sys.modules or "_available" not in lazy:
        yield
        return
    known, module_utils.tensorflow._available = lazy["_available"], False
    try:
        yield
    finally:
        module_utils.tensorflow._available = known


def set_random_seed(seed: int) -> None:
    """``keras.utils.set_random_seed``, without importing TensorFlow on another backend."""
    with tensorflow_left_out():
        keras.utils.set_random_seed(seed)


def global_seed() -> int | None:
    """The seed of ``keras.utils.set_random_seed``; None before the first call."""
    return None if _IMPORT_ERROR else get_random_seed()


def replace_global_seed(seed: int) -> None:
    """Put an equal seed, of a class of ours, in the place of that one: the next ``set_random_seed`` removes it."""
    set_global_attribute(GLOBAL_RANDOM_SEED, seed)


def global_generator() -> keras.random.SeedGenerator | None:
    """The generator that unseeded random operations draw from, once there is one."""
    return global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)


def torch_seeding_code() -> types.CodeType:
    """The code in which Keras's torch backend makes a generator from a seed."""
    from keras.src.backend.torch import random

    function = random.torch_seed_generator
    return getattr(function, "__wrapped__", function).__code__


def forget_global_generator() -> None:
    """Make Keras create that generator again when it is next needed."""
    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, None)
