"""A traced step as a CUDA graph: one launch per step."""

import threading
from collections.abc import Callable

import keras
import torch


def captured(forward: Callable, examples: list[torch.Tensor], values: list[torch.Tensor]) -> Callable:
    """`forward` as a CUDA graph, a function of `examples`; state and random numbers are left as they were.

    Of the examples the rows and single batches are copied to where the graph reads them, and data sets are not.
    The first calls outside the capture let cuDNN and cuBLAS choose their algorithms and allocate, as the notes on CUDA
    graphs in PyTorch's documentation ask for.
    """
    before, generator = [value.clone() for value in values], torch.cuda.get_rng_state()
    size = len(examples[0])
    own = [example.clone() if len(example) == size else example for example in examples]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(stream):
        for _ in range(3):
            forward(*own, *values)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad():
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may go on allocating
            outputs = forward(*own, *values)
        for value, old in zip(values, before, strict=True):
            value.copy_(old)
    torch.cuda.set_rng_state(generator)

    lock = threading.Lock()  # all threads use one stream, and the graph has one place for its inputs and outputs

    def replay(*given):
        with lock:
            for kept, new in zip(own, given, strict=True):
                if len(kept) == size:
                    kept.copy_(new)
            graph.replay()
            return keras.tree.map_structure(lambda output: output.clone(), outputs)

    return replay
