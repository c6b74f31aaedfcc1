"""docs/rules.md: up to date, and complete."""

import re

import pytest
import torch
import torchvision
from processes import ROOT
from torch import nn
from torch.overrides import TorchFunctionMode

from kerasnets import layers, losses, optimizers, schedules
from kerasnets.verify.rules_table import RULES, make_page

pytestmark = pytest.mark.once


def test_the_page_is_what_the_command_prints():
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == make_page()


@pytest.mark.parametrize("module", [layers, losses, optimizers, schedules])
def test_every_class_has_a_row(module):
    ours = {row[1] for rows in RULES.values() for row in rows}
    assert set(module.__all__) - ours <= {"Optimizer", "no_weight_decay", "LRSchedule"}


@pytest.mark.parametrize("name", RULES)
def test_pytorch_has_the_classes(name):
    place = {"nn": torch.nn, "optim": torch.optim, "optim.lr_scheduler": torch.optim.lr_scheduler}[name]
    for names, *_ in RULES[name]:
        for each in names.split(", "):
            assert hasattr(place, each), each


class WithoutValues(TorchFunctionMode):
    """Inside, parameters have shapes only, but a network may compute its widths."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **{**(kwargs or {}), **({"device": "meta"} if func is torch.empty else {})})


def test_every_class_of_torchvisions_classification_models_has_a_row():
    known = [getattr(nn, name) for names, *_ in RULES["nn"] for name in names.split(", ")]
    known += [nn.Sequential, nn.ModuleList, nn.ModuleDict]
    missing = {}
    names = sorted(torchvision.models.list_models(module=torchvision.models), reverse=True)
    with WithoutValues():
        # Networks whose names differ by numbers alone have the same kinds of layers.
        for name in {re.sub(r"\d+", "", name): name for name in names}.values():
            options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            for module in torchvision.models.get_model(name, **options).modules():
                is_own = type(module).__module__.startswith("torchvision")
                if not is_own and not isinstance(module, tuple(known)):
                    missing[type(module).__name__] = name
    assert missing == {}
