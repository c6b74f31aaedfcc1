"""What an engine has to offer; there is one per backend."""

from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np

from kerasnets.engine.source import Arrays
from kerasnets.engine.stream import Stream


class Engine(Protocol):
    """Runs the steps of one model. `kind` is ``"train"``, ``"test"`` or ``"predict"`` throughout.

    Args:
        model: a compiled Functional or Sequential model; for predictions it need not be compiled.
    """

    def __init__(self, model: keras.Model): ...

    @staticmethod
    def why_not(model: keras.Model) -> str | None:
        """What of `model` the engine can't run; None if it can."""

    @staticmethod
    def put(array: np.ndarray) -> Any:
        """`array` as a tensor on the device, in the type that stock ``fit`` gives it."""

    @staticmethod
    def collects() -> bool:
        """Whether batches that come one by one are collected into blocks."""

    def block(self, kind: str, source: Arrays | Stream, stock: Callable) -> Callable:
        """A function in place of Keras's ``{kind}_function`` that runs the source's next block of steps.

        `stock` is Keras's own: a compiled program is replaced when Keras has replaced this function. A step that
        turns out not to be traceable runs through it, in the same call.
        """

    def batches(self, kind: str, stock: Callable) -> Callable | None:
        """The same for data that comes batch by batch; None where stock Keras's function is as fast."""

    def stream(self, kind: str, stream: Stream, stock: Callable) -> Callable:
        """The same for such data where :meth:`collects` is true."""

    def forward(self) -> Callable[[np.ndarray], np.ndarray]:
        """A function from a batch of inputs to the outputs, compiled for each shape at its first use."""
