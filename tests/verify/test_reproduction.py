"""The table of reproduced results, and its bounds."""

import runpy

import pytest
from processes import ROOT

import kerasnets
from kerasnets.verify import reproduction

pytestmark = pytest.mark.once

ROW, WITHOUT_NATIVE = (
    next(row for row in reproduction.ROWS if (row.network, row.dataset) == key)
    for key in (("FashionNetwork", "fashion_mnist"), ("ConvNeuralNetwork", "cifar10"))
)


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def runs(*accuracies, loss=0.264, **changes):
    row = {"network": ROW.network, "dataset": ROW.dataset, "backend": "jax", "device": "cpu", **changes}
    return [{**row, "test_accuracy": accuracy, "train_loss": [1.0, loss]} for accuracy in accuracies]


def test_a_row_has_the_tutorial_native_pytorch_and_each_backend():
    table = reproduction.make_table(runs(87.0, 88.0) + runs(10.0, device="gpu"))
    assert cells(table[2 + reproduction.ROWS.index(ROW)]) == [
        "FashionNetwork, fashion_mnist, 10",
        "loss 0.2596",
        "87.40 ± 0.12 (3), loss 0.264",
        "not measured",
        "87.50 ± 0.71 (2), loss 0.264",
        "not measured",
    ]
    short = reproduction.make_table(runs(87.0, 88.0), short=True)
    assert cells(short[2 + reproduction.ROWS.index(ROW)])[1:] == [
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


def test_a_row_without_native_results_is_shown_and_has_no_bounds():
    ours = {"network": "ConvNeuralNetwork", "dataset": "cifar10"}
    for found, shown in (([], "not measured"), (runs(70.0, 71.0, **ours), "70.50 ± 0.71 (2), loss 0.264")):
        line = cells(reproduction.make_table(found)[2 + reproduction.ROWS.index(WITHOUT_NATIVE)])
        assert line == ["ConvNeuralNetwork, cifar10, 5", "–", "not measured", "not measured", shown, "not measured"]
        assert reproduction.find_broken(found) == []


def test_a_row_without_its_data_is_left_out(monkeypatch, tmp_path, capsys):
    def not_there(name):
        raise kerasnets.data.DataNotFoundError(f"no {name}")

    monkeypatch.setattr(kerasnets.data, "load_data", not_there)
    script = runpy.run_path(str(ROOT / "experiments" / "reproduce.py"))
    script["train_row"](WITHOUT_NATIVE, tmp_path / "results.json")
    assert capsys.readouterr().err == "ConvNeuralNetwork, cifar10: left out. no cifar10\n"
    assert not (tmp_path / "results.json").exists()
