"""The table of reproduced results, and its bounds."""

import pytest

from kerasnets.verify import reproduction

pytestmark = pytest.mark.once

ROW = reproduction.ROWS[-1]


def runs(*accuracies, loss=0.264, **changes):
    row = {"network": ROW.network, "dataset": ROW.dataset, "backend": "jax", "device": "cpu", **changes}
    return [{**row, "test_accuracy": accuracy, "train_loss": [1.0, loss]} for accuracy in accuracies]


def test_a_row_has_the_tutorial_native_pytorch_and_each_backend():
    line = reproduction.make_table(runs(87.0, 88.0) + runs(10.0, device="gpu"))[-1]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "FashionNetwork, fashion_mnist, 10",
        "loss 0.2596",
        "87.40 ± 0.12 (3), loss 0.264",
        "not measured",
        "87.50 ± 0.71 (2), loss 0.264",
        "not measured",
    ]
    short = reproduction.make_table(runs(87.0, 88.0), short=True)[-1]
    assert [cell.strip() for cell in short.strip("|").split("|")][1:] == [
        "–",
        "87.40 ± 0.12",
        "not measured",
        "87.50 ± 0.71",
        "not measured",
    ]


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        (runs(87.3, 87.4, 87.5), None),
        (runs(86.3, 86.4, 86.5), "1.00 points apart"),
        (runs(84.0, 86.0, 88.0), "1.40 points apart"),  # more than a point, if less than 3 standard errors
        (runs(87.3, 87.4, 87.5, loss=0.275), "training loss 0.2750"),
    ],
)
def test_bounds(found, broken):
    lines = reproduction.find_broken(found)
    assert len(lines) == (broken is not None)
    for line in lines:
        assert line.startswith("FashionNetwork, fashion_mnist, jax: ")
        assert broken in line
