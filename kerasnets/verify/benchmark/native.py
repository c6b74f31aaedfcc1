"""Native PyTorch's training loop, and the base of all programs without Keras."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kerasnets import data
from kerasnets.verify import originals
from kerasnets.verify.benchmark.parent import Job


class Program:
    """The base of the programs without Keras: device, model and optimizer."""

    reading = 0.0

    def __init__(self, job: Job):
        self.job = job
        cuda = job.device != "cpu" and torch.cuda.is_available()
        self.device, self.torch_device = ("gpu", torch.device("cuda")) if cuda else ("cpu", torch.device("cpu"))

    def facts(self) -> dict[str, Any]:
        """Further entries of the program's row."""
        return {}

    def first_step(self) -> None:
        """Train on the first batch alone."""

    def gpu_memory(self) -> float | None:
        """Peak GPU memory so far, in MiB; None without a GPU."""
        return torch.cuda.max_memory_allocated() / 2**20 if self.device == "gpu" else None

    def predictor(self) -> Callable[[], object] | None:
        """A function that predicts one image; None if that isn't measured."""
        return None

    def prepare(self, **options: Any) -> None:
        """Make network, loss and optimizer; `options` are further ones of the optimizer."""
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
            # Two static shapes: the last batch has the second. On CUDA most of the time goes into kernel launches.
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

    def predictor(self) -> Callable[[], object] | None:
        """The forward pass of the plain eager model; None for the other variants."""
        if self.job.compiled or self.job.channels_last:
            return None
        self.model.eval()
        image = self.x[:1]

        @torch.inference_mode()
        def call() -> torch.Tensor:
            return self.model(image).cpu()

        return call
