"""The programs without Keras and torchvision: native PyTorch's loop, and the matrix product that all are held to."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kerasnets import data
from kerasnets.verify import originals
from kerasnets.verify.benchmark.parent import Job

#: Sides of the square matrices, smallest first.
SIZES = (512, 1024, 2048, 4096)
#: Seconds for which each size is tried.
MATRIX_SECONDS = 0.2


def flops_of(network: str, images: int) -> int:
    """Floating-point operations of products and convolutions in a training on `images` images.

    Forward and backward, two for a multiply-add, as PyTorch's FlopCounterMode counts them on the original. The images
    get no gradient.
    """
    from torch.utils.flop_counter import FlopCounterMode

    batch = 64  # batch normalisation takes no single image
    with torch.device("meta"):
        model = originals.build(network)
        batch_of = torch.empty(batch, 28, 28)
    with FlopCounterMode(display=False) as counter:
        model(batch_of).sum().backward()
    return counter.get_total_flops() // batch * images


class Program:
    """What the programs without Keras share: the device, the model, the optimizer."""

    reading = 0.0

    def __init__(self, job: Job):
        self.job = job
        cuda = job.device != "cpu" and torch.cuda.is_available()
        self.device, self.torch_device = ("gpu", torch.device("cuda")) if cuda else ("cpu", torch.device("cpu"))

    def facts(self) -> dict[str, Any]:
        """What else is to be known of the program."""
        return {}

    def first_step(self) -> None:
        """Train on the first batch alone."""

    def gpu_memory(self) -> float | None:
        """The most GPU memory held so far, in MiB; None: no GPU is used."""
        return torch.cuda.max_memory_allocated() / 2**20 if self.device == "gpu" else None

    def one_image(self) -> Callable[[], object] | None:
        """What predicts one image; None: not measured here."""
        return None

    def prepare(self, **options: Any) -> None:
        """Make the original network, the loss and the optimizer, with further `options` for the latter."""
        self.model = originals.build(self.job.network).to(self.torch_device)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, **options)


class Native(Program):
    """A training loop written for speed."""

    def __init__(self, job: Job):
        super().__init__(job)
        begin = time.perf_counter()
        (x, y), _ = data.load_data(job.dataset, download=False)
        self.reading = time.perf_counter() - begin
        self.x = torch.from_numpy(x[: job.images, None]).to(self.torch_device)
        self.y = torch.from_numpy(y[: job.images]).to(self.torch_device)
        self.prepare(fused=True)
        if job.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.x = self.x.to(memory_format=torch.channels_last)
        self.loss_of = self._loss_of
        if job.compiled:
            # Two static shapes, the last batch's being the second. On CUDA the launches are what takes the time.
            mode = "reduce-overhead" if self.device == "gpu" else "default"
            self.loss_of = torch.compile(self._loss_of, dynamic=False, mode=mode)

    def _loss_of(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.criterion(self.model(images), labels)

    def first_step(self) -> None:
        """Train on the first batch alone."""
        self._epoch(min(self.job.batch_size, len(self.x)))

    def _epoch(self, n: int) -> float:
        self.model.train()
        total = torch.zeros((), device=self.torch_device)
        batches = torch.randperm(n, device=self.torch_device).split(self.job.batch_size)
        for rows in batches:
            self.optimizer.zero_grad()
            loss = self.loss_of(self.x[rows], self.y[rows])
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return total.item() / len(batches)

    def train(self, epochs: int, epoch_done: Callable[..., None]) -> None:
        """Train, with a call after each epoch."""
        for _ in range(epochs):
            epoch_done(loss=self._epoch(len(self.x)))

    def one_image(self) -> Callable[[], object] | None:
        """The plain eager model's forward; the other variants aren't asked."""
        if self.job.compiled or self.job.channels_last:
            return None
        self.model.eval()
        image = self.x[:1]

        @torch.inference_mode()
        def call() -> torch.Tensor:
            return self.model(image).cpu()

        return call


class Matrix(Program):
    """The fastest fp32 product of two square matrices, in operations a second."""

    def facts(self) -> dict[str, Any]:
        """Operations for one image, and the number of threads."""
        return {"flops_per_image": flops_of(self.job.network, 1), "threads": torch.get_num_threads()}

    def train(self, epochs: int, epoch_done: Callable[..., None]) -> None:
        """Measure all sizes in each "epoch"."""
        for _ in range(epochs):
            epoch_done(rate=max(self._rate(size) for size in (SIZES if self.device == "gpu" else SIZES[:-1])))

    def _rate(self, size: int) -> float:
        a, b = torch.randn(2, size, size, device=self.torch_device)
        best, end = float("inf"), time.perf_counter() + MATRIX_SECONDS
        while time.perf_counter() < end:
            begin = self._now()
            torch.mm(a, b)
            best = min(best, self._now() - begin)
        return 2 * size**3 / best

    def _now(self) -> float:
        if self.device == "gpu":
            torch.cuda.synchronize()
        return time.perf_counter()
