"""The fast path on PyTorch."""

from kerasnets.engine.torch.step import Engine

__all__ = ["Engine"]
