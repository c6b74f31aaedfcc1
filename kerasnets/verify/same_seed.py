"""The lines that a tutorial's PyTorch program prints, and those of kerasnets on each backend, from the same seed."""

import contextlib
import dataclasses
import io
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from kerasnets import backend as backends
from kerasnets.training import recipes

#: What the program in plain PyTorch is called among the backends.
TUTORIAL = "PyTorch"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every program trains.

    Attributes:
        recipe: the recipe; its epochs are all trained.
        seed: given to ``torch.manual_seed`` or ``keras.utils.set_random_seed``.
        log_every: batches per printed line.
        dtype: ``"float32"`` or ``"float64"``.
    """

    recipe: recipes.Recipe
    seed: int
    log_every: int = 100
    dtype: str = "float32"


def run(program: str, settings: Settings, device: str = "cpu") -> list[str]:
    """Run a program in a process of its own.

    Args:
        program: :data:`TUTORIAL` or the name of an installed backend.
        settings: what to train.
        device: where kerasnets computes; PyTorch's program runs on the CPU.

    Returns:
        The lines that it prints.

    Raises:
        concurrent.futures.process.BrokenProcessPool: the process died.
        DataNotFoundError: the data set is not on this machine.
    """
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, initializer=_begin, initargs=(program, device)) as pool:
        return pool.submit(run_tutorial if program == TUTORIAL else run_ours, settings).result()


def _begin(program: str, device: str) -> None:
    backends.set_backend("torch" if program == TUTORIAL else program)
    backends.set_device("cpu" if program == TUTORIAL else device)


def run_tutorial(settings: Settings) -> list[str]:
    """The tutorial's program in plain PyTorch, with a DataLoader and torchvision's transforms."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import transforms

    from kerasnets import data
    from kerasnets.verify import originals
    from kerasnets.verify.benchmark.tutorial import CIFAR10, FashionMNIST
    from kerasnets.verify.parity.original import build_criterion, build_optimizer

    recipe, lines = settings.recipe, []
    torch.set_default_dtype(getattr(torch, settings.dtype))
    x, y, _, _ = data.load_arrays(recipe.dataset, download=False)
    steps = [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
    if recipe.pad:
        steps.append(transforms.Pad(recipe.pad, fill=-1))
    kind = FashionMNIST if x.ndim == 3 else CIFAR10
    loader = DataLoader(kind(x, y, transforms.Compose(steps)), batch_size=recipe.batch_size, shuffle=True)

    torch.manual_seed(settings.seed)
    model = originals.build(recipe.network, **recipe.network_options)
    criterion, optimizer = build_criterion(recipe), build_optimizer(recipe, model)
    for epoch in range(recipe.epochs):
        running_loss = 0.0
        for step, (images, labels) in enumerate(loader, start=1):
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            if step % settings.log_every == 0:
                mean = running_loss / settings.log_every
                lines.append(f"Epoch [{epoch + 1}/{recipe.epochs}], Step [{step}/{len(loader)}], Loss: {mean:.4f}")
                running_loss = 0.0
    return lines


def run_ours(settings: Settings) -> list[str]:
    """The same training by ``model.fit``, in a process whose backend is chosen."""
    import keras

    from kerasnets import training
    from kerasnets.training.callbacks import StepLog

    backends.set_dtype(settings.dtype)
    (x, y), _ = training.load_recipe_data(settings.recipe)
    keras.utils.set_random_seed(settings.seed)
    model = training.compile_recipe(settings.recipe)
    options: dict[str, Any] = {"batch_size": settings.recipe.batch_size, "epochs": settings.recipe.epochs, "verbose": 0}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        model.fit(x, y, callbacks=[StepLog(settings.log_every)], **options)
    return printed.getvalue().splitlines()


def read_losses(lines: list[str]) -> list[float]:
    """The losses in lines of the form ``Epoch [1/5], Step [100/938], Loss: 1.1812``."""
    return [float(re.fullmatch(r"Epoch .*, Loss: (\S+)", line)[1]) for line in lines]  # type: ignore[index]


def first_difference(lines: dict[str, list[str]]) -> int | None:
    """The index of the first line that is not the same in all programs; None if all are."""
    rows = list(zip(*lines.values(), strict=True))
    return next((index for index, row in enumerate(rows) if len(set(row)) > 1), None)
