"""PyTorch's side: a module's calls, recorded while it runs on a batch."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from kerasnets.verify.compare.calls import Call
from kerasnets.verify.compare.port import Arrange
from kerasnets.verify.compare.torch_settings import describe_function, describe_module

#: Modules of ``torch.nn`` that only call others.
_COMPOSED = (
    nn.Sequential,
    nn.ModuleList,
    nn.ModuleDict,
    nn.TransformerEncoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoder,
    nn.TransformerDecoderLayer,
    nn.Transformer,
)
#: What reads a number out of a tensor, so that Python can branch on it.
_READS = ("__bool__", "item", "__int__", "__float__", "__index__", "tolist", "numpy", "__len__")


class ControlFlowError(TypeError):
    """The module's ``forward`` depends on the values of its tensors."""


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is one call: those of ``torch.nn`` that don't only call others."""
    return type(module).__module__.startswith("torch.nn") and not isinstance(module, _COMPOSED)


class Recorder(TorchFunctionMode):
    """Records every call of a leaf module, and every function that is called outside of them.

    Args:
        module: the module that will run.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.calls: list[Call] = []
        self._made: dict[int, int] = {}  # id of a tensor → the call that made it
        self._parameters: dict[int, tuple[str, ...]] = {id(p): (name,) for name, p in module.named_parameters()}
        self._parameters |= {id(b): (name,) for name, b in module.named_buffers()}
        self._alive: list[Any] = []  # ids stay unique as long as the tensors live
        self._inside = 0

    def start(self, *inputs: torch.Tensor) -> None:
        """Name the module's inputs: −1, −2 and so on."""
        self._made.update((id(x), -1 - i) for i, x in enumerate(inputs))
        self._alive.extend(inputs)

    def maker_of(self, tensor: torch.Tensor) -> int:
        """The call that made a tensor; −1, −2 … for an input."""
        return self._made.get(id(tensor), len(self.calls) - 1)

    def enter(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """A leaf module begins."""
        self._inside += 1

    def leave(self, name: str, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        """A leaf module ends."""
        if self._inside == 1:  # still inside: what follows is not the module's
            self._record_leaf(name, module, args, kwargs, output)
        self._inside -= 1

    def _record_leaf(self, name: str, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor)]
        first = tensors[0]
        if isinstance(module, nn.RNNBase) and module.num_layers > 1:
            self._add_layers(name, module, tensors, output)
            return
        kind, settings = describe_module(module, first.ndim, tuple(first.shape[2:]))
        shapes = tuple(sorted(tuple(sorted(p.shape)) for p in module.parameters()))
        self._add(Call(name, kind, settings, module, shapes=shapes), tensors, output)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call a function, and record it if it takes something computed from the input."""
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        tensors = list(_tensors((*args, *kwargs.values())))
        known = [x for x in tensors if id(x) in self._made]
        name = getattr(func, "__name__", "")
        if known and name in _READS and name != "__len__":
            raise ControlFlowError(
                f"The module's forward reads a number out of a tensor ({name.strip('_')}), on which it can branch."
            )
        is_dropout = bool(known) and "dropout" in name
        output = args[0] * 1 if is_dropout else func(*args, **kwargs)  # what it drops is compared by its rate
        results = list(_tensors([output]))
        used = tuple(dict.fromkeys(n for x in tensors for n in self._parameters.get(id(x), ())))
        if name == "__setitem__":
            results = [args[0]]
        if not known:
            self._parameters.update((id(x), used) for x in results if used)
            self._alive.extend(results)
        elif results:
            kind, settings = describe_function(func, args, kwargs)
            if is_dropout:
                settings["always on"] = kwargs.get("training", args[2] if len(args) > 2 else True) is not False
            call = Call(name, kind, settings, func, parameters=used)
            if used:
                call.kind, call.name = "parameter", used[0]
            self._add(call, known, results if len(results) > 1 else results[0])
        return output

    def _add_layers(self, name: str, module: Any, tensors: list[torch.Tensor], output: Any) -> None:
        """Record a call for each layer of a recurrent module; Keras has a layer for each."""
        steps: Any = tensors[0]
        for layer in range(module.num_layers):
            single = _single_layer(module, layer)
            following = output if layer == module.num_layers - 1 else single(steps)
            kind, settings = describe_module(module, 3, ())
            shapes = tuple(sorted(tuple(sorted(p.shape)) for p in single.parameters()))
            call = Call(name, kind, {**settings, "layer": layer}, module, shapes=shapes)
            self._add(call, [steps], following)
            steps = following[0]

    def _add(self, call: Call, tensors: list[torch.Tensor], output: Any) -> None:
        call.sources = tuple(dict.fromkeys(self._made[id(x)] for x in tensors if id(x) in self._made))
        results = list(_tensors([output]))
        if not results:
            return
        call.inputs, call.value = to_array(tensors[0]), to_array(results[0])
        if getattr(call.target, "batch_first", True) is False:
            call.inputs, call.value = call.inputs.swapaxes(0, 1), call.value.swapaxes(0, 1)
        self._made.update((id(x), len(self.calls)) for x in results)
        self._alive.extend(results)
        self.calls.append(call)


def _single_layer(module: Any, layer: int) -> Any:
    """One layer of a recurrent module as a module of its own."""
    size = module.input_size if layer == 0 else module.hidden_size * (2 if module.bidirectional else 1)
    options = {"bias": module.bias, "batch_first": module.batch_first, "bidirectional": module.bidirectional}
    single = type(module)(size, module.hidden_size, **options).to(module.weight_ih_l0.dtype)
    state = module.state_dict()
    single.load_state_dict({name: state[name.replace("_l0", f"_l{layer}")] for name in single.state_dict()})
    return single


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple) and type(value) is not torch.Size:
            yield from _tensors(value)


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """A copy of a tensor as an array."""
    return tensor.detach().clone().contiguous().numpy()


def copy_module(module: nn.Module, dtype: str) -> nn.Module:
    """A copy of a module in another float type."""
    return copy.deepcopy(module).to(getattr(torch, dtype))


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A run's calls in their order.

    Attributes:
        calls: the calls.
        outputs: name → tensor with its gradient's graph; the name of a single output is empty.
        makers: the call that made each output.
    """

    calls: list[Call]
    outputs: dict[str, torch.Tensor]
    makers: list[int]


def record(module: nn.Module, x: Sequence[torch.Tensor], arrange: Arrange, training: bool) -> Recorded:
    """Run a module and record its calls.

    Args:
        module: the module; its mode is as before afterwards.
        x: its inputs in its layout, in the order of the port's.
        arrange: how ``forward`` takes them.
        training: the mode to run in.

    Raises:
        ControlFlowError: the module's ``forward`` reads a number out of a tensor.
        TypeError: it returns something else than tensors.
    """
    before = {m: m.training for m in module.modules()}
    module.train(training)
    recorder = Recorder(module)
    handles = []
    for name, child in module.named_modules():
        if is_leaf(child):
            handles.append(child.register_forward_pre_hook(recorder.enter, with_kwargs=True))
            handles.append(child.register_forward_hook(_leave(recorder, name), with_kwargs=True))
    recorder.start(*x)
    args, kwargs = arrange(x)
    try:
        with recorder:
            output = module(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
        for m, mode in before.items():
            m.training = mode
    outputs = dict(name_outputs(output))
    return Recorded(recorder.calls, outputs, [recorder.maker_of(tensor) for tensor in outputs.values()])


def name_outputs(value: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """What a module returns as names and tensors: the keys of a dict or named tuple, or numbers.

    Raises:
        TypeError: there is something else than tensors in it.
    """
    if isinstance(value, torch.Tensor):
        yield prefix, value
        return
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping) or not value:
        raise TypeError(
            f"The module's forward returns a {type(value).__name__}; expected a tensor, or a list, tuple or dict of "
            "tensors."
        )
    for key, part in value.items():
        if part is not None:  # an auxiliary output that is left out in evaluation mode
            yield from name_outputs(part, f"{prefix}.{key}".lstrip("."))


def _leave(recorder: Recorder, name: str):
    return lambda module, args, kwargs, output: recorder.leave(name, module, args, kwargs, output)


def remove_dropout(module: nn.Module) -> None:
    """Set every dropout's rate to 0, so that a step in training mode can be compared."""
    for child in module.modules():
        if "Dropout" in type(child).__name__ and hasattr(child, "p"):
            setattr(child, "p", 0.0)  # noqa: B010 (to a type checker it is a tensor)
        elif isinstance(child, nn.RNNBase | nn.MultiheadAttention):
            child.dropout = 0.0


class WithoutDropout(TorchFunctionMode):
    """Inside, the dropout functions change nothing."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call a function; return the input of a dropout."""
        if "dropout" in getattr(func, "__name__", "") and args:
            return args[0]
        return func(*args, **(kwargs or {}))
