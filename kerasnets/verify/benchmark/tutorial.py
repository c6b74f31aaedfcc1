"""The program of "How to create a neural network with PyTorch".

It alone needs torchvision, which takes seconds to import.
"""

import time
from collections.abc import Callable

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from kerasnets import data
from kerasnets.verify.benchmark.native import Program
from kerasnets.verify.benchmark.parent import Job


class FashionMNIST(datasets.FashionMNIST):
    """torchvision's data set, with its own ``__getitem__``, on arrays that have been read already."""

    def __init__(self, images, labels, transform):
        self.data, self.targets = torch.from_numpy(images), torch.from_numpy(labels)
        self.transform, self.target_transform = transform, None


class CIFAR10(datasets.CIFAR10):
    """The same for colour images ``(n, 32, 32, 3)``."""

    def __init__(self, images, labels, transform):
        self.data, self.targets = images, labels.tolist()
        self.transform, self.target_transform = transform, None


class Tutorial(Program):
    """The tutorial's program, without the lines that it prints."""

    def __init__(self, job: Job):
        super().__init__(job)
        begin = time.perf_counter()
        x, y, _, _ = data.load_arrays(job.dataset, download=False)
        self.reading = time.perf_counter() - begin
        transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
        images, labels = x[: job.images], y[: job.images]
        self.first = self._loader(FashionMNIST(images[: job.batch_size], labels[: job.batch_size], transform))
        self.loader = self._loader(FashionMNIST(images, labels, transform))
        self.prepare()

    def _loader(self, dataset) -> DataLoader:
        return DataLoader(dataset, batch_size=self.job.batch_size, shuffle=True)

    def first_step(self) -> None:
        """Train on the first batch alone."""
        self._epoch(self.first)

    def _epoch(self, loader: DataLoader) -> float:
        self.model.train()
        running_loss = 0.0
        for images, labels in loader:
            images, labels = images.to(self.torch_device), labels.to(self.torch_device)
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            running_loss += loss.item()
        return running_loss / len(loader)

    def train(self, epochs: int, epoch_done: Callable[..., None]) -> None:
        """Train, with a call after each epoch."""
        for _ in range(epochs):
            epoch_done(loss=self._epoch(self.loader))
