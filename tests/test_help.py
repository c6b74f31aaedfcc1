"""What a user meets at the prompt: reprs, completion, help and the version."""

import importlib

import keras
import numpy as np
import pytest
from processes import run

import kerasnets
from kerasnets import losses, optimizers, schedules
from kerasnets.training import recipes

pytestmark = pytest.mark.once

STEP = "StepLR(learning_rate=0.1, step_size=10, gamma=0.1, steps_per_epoch=1)"


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (
            lambda: optimizers.SGD(0.01, momentum=0.9),
            "SGD(learning_rate=0.01, momentum=0.9, dampening=0.0, weight_decay=0.0)",
        ),
        (
            lambda: optimizers.Adam(schedules.StepLR(0.1, step_size=10)),
            f"Adam(learning_rate={STEP}, beta_1=0.9, beta_2=0.999, epsilon=1e-08, weight_decay=0.0)",
        ),
        (lambda: schedules.StepLR(0.1, step_size=10), STEP),
        (lambda: losses.NLLLoss(from_probabilities=True), "from_probabilities=True"),
        (lambda: losses.CrossEntropyLoss(weight=[1.0] * 10), "CrossEntropyLoss(weight=[1.0, 1.0, "),
        (lambda: losses.MSELoss("sum"), "MSELoss(reduction='sum')"),
        (lambda: recipes.find("Net"), "Recipe(name='Net', network='Net', dataset='mnist'"),
        (
            lambda: schedules.ReduceLROnPlateau(patience=3),
            "ReduceLROnPlateau(monitor='val_loss', mode='min', factor=0.1, patience=3, ",
        ),
    ],
)
def test_a_repr_is_the_call(thing, text):
    assert text in repr(thing())


def test_every_optimizer_loss_and_schedule_prints_its_values():
    for module in (optimizers, losses):
        for name in module.__all__:
            cls = getattr(module, name)
            if isinstance(cls, type) and name != "Optimizer":
                assert repr(cls()).startswith(f"{name}(")
                assert "=" in repr(cls())
    assert "learning_rate=<function" in repr(optimizers.SGD(lambda: 0.1))  # without Keras's warning about lambdas
    changed = optimizers.SGD(0.1)
    changed.learning_rate = 0.5
    assert "learning_rate=0.5" in repr(changed)


def test_a_result_prints_what_came_out():
    images, labels = np.zeros((20, 28, 28), "float32"), np.arange(20) % 10
    recipe = recipes.find("FashionNetwork", "fashion_mnist_sample").replace(epochs=1)
    result = kerasnets.train(recipe, arrays=((images, labels), (images, labels)), verbose=0)
    text = repr(result)
    assert text.startswith("Result(FashionNetwork on fashion_mnist_sample, 1 epoch, seed 0, torch on ")
    assert f"test accuracy {result.test_accuracy:.2f} %" in text
    assert len(text) < 200
    assert result.to_dict()["versions"]["kerasnets"] == kerasnets.__version__


@pytest.mark.parametrize(
    "name",
    [
        "", "backend", "batches", "data", "initializers", "layers", "lbfgs", "losses", "models", "networks",
        "optimizers", "plots", "schedules", "training", "training.callbacks", "training.recipes",
    ],
)  # fmt: skip
def test_modules_complete_to_their_public_names(name):
    module = importlib.import_module(f"kerasnets.{name}".rstrip("."))
    assert sorted(dir(module)) == sorted(module.__all__)
    for public in module.__all__:
        assert hasattr(module, public)
        assert not public.startswith("_")


def test_help_of_build_lists_the_networks_and_their_options():
    text = " ".join(kerasnets.build.__doc__.split())
    for name in kerasnets.list_networks():
        assert f"- {name}: {kerasnets.networks.options_of(name)}" in text


def test_the_version_is_the_same_everywhere():
    version = kerasnets.__version__
    assert run("-m", "kerasnets", "--version").stdout == f"kerasnets {version}\n"
    assert kerasnets.backend.versions()["kerasnets"] == version
    assert keras.__version__ == kerasnets.backend.versions()["keras"]
