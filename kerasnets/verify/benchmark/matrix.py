"""The fastest matrix product: the rate that all programs are compared with, and the operations they need."""

import time
from collections.abc import Callable
from typing import Any

import torch

from kerasnets.verify import originals
from kerasnets.verify.benchmark.native import Program

#: Sides of the square matrices, smallest first.
SIZES = (512, 1024, 2048, 4096)
#: Seconds spent on each size.
SECONDS = 0.2


def count_flops(network: str, images: int) -> int:
    """Count the floating-point operations of products and convolutions in training on a number of images.

    Forward and backward, two per multiply-add, as PyTorch's FlopCounterMode counts them on the original. The images get
    no gradient.
    """
    from torch.utils.flop_counter import FlopCounterMode

    batch = 64  # batch normalisation doesn't take a single image
    with torch.device("meta"):
        model = originals.build(network)
        batch_of = torch.empty(batch, 28, 28)
    with FlopCounterMode(display=False) as counter:
        model(batch_of).sum().backward()
    return counter.get_total_flops() // batch * images


class Matrix(Program):
    """The fastest fp32 product of two square matrices, in operations per second."""

    def facts(self) -> dict[str, Any]:
        """Operations per image, and the number of threads."""
        return {"flops_per_image": count_flops(self.job.network, 1), "threads": torch.get_num_threads()}

    def train(self, epochs: int, epoch_done: Callable[..., None]) -> None:
        """Measure all sizes in each "epoch"."""
        for _ in range(epochs):
            epoch_done(rate=max(self._rate(size) for size in (SIZES if self.device == "gpu" else SIZES[:-1])))

    def _rate(self, size: int) -> float:
        a, b = torch.randn(2, size, size, device=self.torch_device)
        best, end = float("inf"), time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            begin = self._now()
            torch.mm(a, b)
            best = min(best, self._now() - begin)
        return 2 * size**3 / best

    def _now(self) -> float:
        if self.device == "gpu":
            torch.cuda.synchronize()
        return time.perf_counter()
