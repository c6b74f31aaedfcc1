"""What TensorFlow keeps until the process ends, and how to leave it less: custom gradients, and XLA's programs.

TensorFlow keeps every program that XLA has compiled (https://github.com/tensorflow/tensorflow/issues/64170), several
megabytes each. Networks of one architecture have the same graph and differ in the variables that it captures. So a
graph is compiled once, with its captures as arguments.
"""

import hashlib
import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf

try:  # TensorFlow's private parts: without them it keeps what it keeps, and nothing is compiled by XLA
    from tensorflow.python.eager import context as tf_context
    from tensorflow.python.framework.ops import gradient_registry

    _REGISTERED = gradient_registry._registry
except (ImportError, AttributeError):
    tf_context, _REGISTERED = None, {}

#: How many graphs XLA compiles per process. Further ones run without it: more slowly, and rounded otherwise.
LIMIT = 32

_programs: dict[str, Any] = {}


def forget_gradients_with(function) -> None:
    """Let TensorFlow forget the custom gradients in a concrete function, and so its graph, when the function goes.

    ``tf.custom_gradient`` registers them for good. Keras's optimizers use one in every step, in ``all_reduce``.
    """
    definition = function.graph.as_graph_def()
    library = {each.signature.name: each.node_def for each in definition.library.function}
    names = set(_custom_gradients(definition.node, library))

    def forget():
        for name in names:
            _REGISTERED.pop(name, None)

    weakref.finalize(function, forget).atexit = False


def _custom_gradients(nodes, library: dict):
    """Their names in a graph and in its loops and branches. A function that it calls may serve other graphs, too."""
    for node in nodes:
        name = node.attr["_gradient_op_type"].s.decode()
        if name.startswith("CustomGradient-"):
            yield name
        if "PartitionedCall" not in node.op:
            for attribute in node.attr.values():
                for each in _functions_of(attribute):
                    yield from _custom_gradients(library[each.name], library)


def _functions_of(attribute) -> list:
    return [attribute.func] if attribute.HasField("func") else attribute.list.func


def by_xla(function, *example) -> Callable | None:
    """A function that does what a concrete function does, compiled by XLA.

    Args:
        function: a ``tf.types.experimental.ConcreteFunction``; it isn't needed any longer.
        example: arguments that it may be called with, to see whether it compiles.

    Returns:
        The function; or None if XLA can't compile it, or has compiled :data:`LIMIT` graphs.
    """
    definition = function.graph.as_graph_def()
    key = _fingerprint(definition, function)
    captures, structure = function.captured_inputs, function.structured_outputs
    if key not in _programs:
        if tf_context is None or len(_programs) >= LIMIT:
            return None
        _programs[key] = _compiled(definition, function, [*tf.nest.flatten(example), *captures])
    program = _programs[key]

    def run(*arguments):
        # Past the check of each capture's type, which takes longer than a small network.
        outputs = program._call_flat([*tf.nest.flatten(arguments), *captures], [])
        return tf.nest.pack_sequence_as(structure, outputs)

    return run if hasattr(program, "_call_flat") else None


def _compiled(definition, function, example: list) -> Callable | None:
    """The graph as a function of its arguments and captures, which keeps no model alive."""
    inputs, outputs = ([tensor.name for tensor in each] for each in (function.inputs, function.outputs))
    placeholders = {name.removesuffix(":0") for name in inputs}  # which XLA doesn't know
    body = type(definition)(library=definition.library, versions=definition.versions)
    body.node.extend(node for node in definition.node if node.name not in placeholders)
    used = {name for node in body.node for name in node.input}

    def run(*tensors):
        given = {name: tensor for name, tensor in zip(inputs, tensors, strict=True) if name.removesuffix(":0") in used}
        return tf.graph_util.import_graph_def(body, input_map=given, return_elements=outputs, name="")

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in function.inputs]
    try:
        for each in definition.library.function:  # else they go with the function, and other shapes need them later
            tf_context.context().add_function_def(each)
        program = tf.function(run, jit_compile=True, autograph=False).get_concrete_function(*specs)
        program(*example)
    except (tf.errors.OpError, NotImplementedError, TypeError, ValueError):
        return None
    return program


def _fingerprint(definition, function) -> str:
    """A digest of all of a graph but the names in it, which count the layers that the process has made."""
    library = {each.signature.name: each for each in definition.library.function}
    ends = [tensor.name for tensor in (*function.inputs, *function.outputs)]
    # The graph holds the shapes of its arguments, but not those of its variables.
    variables = {id(each.handle): (each.shape.as_list(), each.dtype.name) for each in function.variables}
    captures = [variables.get(id(each)) for each in function.captured_inputs]
    parts = captures, _nameless(definition.node, ends, (), library)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _nameless(nodes, ends, arguments, library: dict) -> list:
    numbers = {name: index for index, name in enumerate((*arguments, *(node.name for node in nodes)))}

    def number(name: str) -> tuple:
        node, *rest = name.removeprefix("^").split(":")
        return name[0] == "^", numbers[node], *rest

    def value(attribute) -> object:
        functions = _functions_of(attribute)
        if not functions:
            return attribute.SerializeToString(deterministic=True)
        return [_nameless_function(library[each.name], library) for each in functions]

    found: list = [[number(end) for end in ends]]
    for node in nodes:
        attributes = [(name, value(a)) for name, a in sorted(node.attr.items()) if name not in _NAMES]
        found.append((node.op, node.device, [number(name) for name in node.input], attributes))
    return found


def _nameless_function(function, library: dict) -> list:
    signature = function.signature
    arguments = [each.name for each in signature.input_arg]
    ends = [function.ret[each.name] for each in signature.output_arg]
    ends += [function.control_ret[name] for name in signature.control_output]
    types = [each.type for each in (*signature.input_arg, *signature.output_arg)]
    return [types, _nameless(function.node_def, ends, arguments, library)]


#: Attributes that hold names: of a gradient in TensorFlow's registry, and of a node on the same device.
_NAMES = ("_gradient_op_type", "_class")
