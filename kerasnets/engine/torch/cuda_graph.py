"""A traced step as a CUDA graph: one launch per step."""

import threading
from collections.abc import Callable

import keras
import torch

#: One capture at a time: those of two threads would share PyTorch's capture stream, and each would spoil the other.
_CAPTURING = threading.Lock()


def on_gpu_only(graph: torch.fx.Graph) -> bool:
    """Whether every tensor of a traced step is on a GPU; a capture can't copy between host and device."""
    tensors = [node.meta.get("val") for node in graph.nodes if node.op in ("placeholder", "call_function")]
    return all(value.is_cuda for value in keras.tree.flatten(tensors) if torch.is_tensor(value))


def captured(forward: Callable, examples: list[torch.Tensor], values: list[torch.Tensor]) -> Callable | None:
    """`forward` as a CUDA graph, a function of a batch; variables and random numbers are left as they were.

    The first calls outside the capture let cuDNN and cuBLAS choose their algorithms and allocate, as the notes on CUDA
    graphs in PyTorch's documentation ask for.

    Args:
        forward: function of a batch and the variables' values.
        examples: a batch; later ones are copied to where the graph reads it.
        values: the variables' values, which the graph changes in place.

    Returns:
        None if an operation of `forward` can't be captured.
    """
    batch = [example.clone() for example in examples]
    generator = torch.cuda.default_generators[values[0].device.index]
    numbers, unspoilt = generator.get_state(), generator.clone_state()
    graph = torch.cuda.CUDAGraph()
    # The outer stream context: where a capture ends in an error, torch.cuda.graph leaves its own stream current.
    with torch.no_grad(), _CAPTURING, torch.cuda.stream(torch.cuda.current_stream()):
        _warm_up(forward, [*batch, *(value.clone() for value in values)])
        generator.set_state(numbers)
        try:
            # Other threads may go on using the GPU.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                outputs = forward(*batch, *values)
        except RuntimeError:
            generator.graphsafe_set_state(unspoilt)  # a failed capture leaves its generator unusable
            return None

    lock = threading.Lock()  # all threads use one stream, and the graph has one place for its inputs and outputs

    def replay(*given, _reads=(forward, values)):  # the graph has their addresses: they must stay alive
        with lock:
            for kept, new in zip(batch, given, strict=True):
                kept.copy_(new)
            graph.replay()
            return keras.tree.map_structure(lambda output: None if output is None else output.clone(), outputs)

    return replay


def _warm_up(forward: Callable, arguments: list[torch.Tensor]) -> None:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            forward(*arguments)
    torch.cuda.current_stream().wait_stream(stream)
