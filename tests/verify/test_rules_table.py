"""docs/rules.md: up to date, and complete."""

import pytest
import torch
from processes import ROOT

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
