"""The zoo: its models train, and its report says where the fast fit is behind. No times are asserted."""

import keras
import numpy as np
import pytest
from processes import ROOT

from kerasnets.verify import zoo
from kerasnets.verify.zoo import measurement, models, report

BACKEND = keras.config.backend()
ROW = {
    "model": "conv",
    "backend": "torch",
    "batch_size": 32,
    "error": None,
    "epoch": 0.5,
    "noise": 1.05,
    "first_epoch": 1.3,
    "first_epoch_more": 0.5,
    "predict": 0.9,
    "memory": 1.0,
    "loss_difference": 1e-7,
    "loss_noise": 1e-8,
    "measured": {
        "stock": {"epochs": [2.0, 1.0, 1.0], "predictions": [0.100, 0.100]},
        "stock again": {"epochs": [2.2, 1.05, 1.05], "predictions": [0.110, 0.110]},
    },
}


@pytest.mark.once
@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_is_built_compiled_and_fits_its_data(name):
    model, x, y = models.MODELS[name](4)
    loss = model.evaluate(x, y, batch_size=2, verbose=0, return_dict=True)["loss"]
    assert np.isfinite(loss)


def test_the_shares_are_of_models_that_exist():
    assert set(models.SHARES) <= set(models.MODELS)
    assert len(models.MODELS) >= 16


@pytest.mark.once
def test_a_measured_row():
    settings = zoo.Settings(models=("tabular",), backends=(BACKEND,), batch_sizes=(256,), epochs=2, device="cpu")
    kept = []
    record = zoo.measure(settings, say=lambda line: None, keep=kept.append)
    (row,) = record["rows"]
    assert row["error"] is None
    assert kept == [record]
    fast, stock, again = (row["measured"][program] for program in measurement.PROGRAMS)
    for program in (fast, stock, again):
        assert [len(program[key]) for key in ("epochs", "losses", "predictions")] == [3, 3, 2]
    # The same seed, batches and framework: stock Keras repeats itself exactly.
    assert stock["losses"] == again["losses"]
    np.testing.assert_allclose(fast["losses"], stock["losses"], rtol=1e-5)
    assert row["memory"] == fast["memory"] / stock["memory"]
    assert "tabular" in "\n".join(zoo.page_lines(record))


@pytest.mark.once
def test_a_model_that_fails_is_reported(monkeypatch):
    monkeypatch.setitem(models.MODELS, "broken", None)  # the child doesn't know it
    settings = zoo.Settings(models=("broken",), backends=(BACKEND,), batch_sizes=(256,), epochs=2)
    (row,) = zoo.measure(settings, say=lambda line: None)["rows"]
    assert "KeyError: 'broken'" in row["error"]
    assert report.find_behind({"rows": [row]}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"epoch": 1.04}, None),
        ({"epoch": 1.1}, "an epoch takes 1.10 times"),
        ({"first_epoch_more": 2.0, "first_epoch": 1.31}, None),
        ({"first_epoch_more": 2.0, "first_epoch": 1.33}, "the first epoch takes 2.0 s more"),
        ({"predict": 1.09}, None),
        ({"predict": 1.2}, "predict takes 1.20 times"),
        ({"memory": 1.2}, "1.20 times the memory"),
        ({"loss_difference": 1e-3}, "losses differ by 1e-03"),
        ({"loss_difference": 1e-3, "loss_noise": 2e-4}, None),
        ({"loss_difference": 9e-4, "model": "bfloat16"}, None),
        ({"error": "died"}, None),
    ],
)
def test_where_the_fast_fit_is_behind(changes, words):
    found = report.find_behind({"rows": [{**ROW, **changes}]})
    assert len(found) == (words is not None)
    if words:
        assert found[0].startswith(f"conv on torch, batch size 32: {words}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_sizes": (7,)}, "batch size 7: expected one of 1, 32, 256"),
        ({"epochs": 1}, "epochs: 1; expected a whole number ≥ 2"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        zoo.Settings(**options)


def test_an_unknown_model_gets_a_suggestion():
    with pytest.raises(ValueError, match="residual"):
        zoo.measure(zoo.Settings(models=("residul",)))


def test_the_experiment_says_what_is_wrong(monkeypatch, capsys, tmp_path):
    import runpy
    import sys

    for option, message in {"--models": "residual", "--batch-sizes": "expected a number"}.items():
        command = ["benchmark.py", "--zoo", "--out", str(tmp_path), "--backends", BACKEND, option, "residul"]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "experiments" / "benchmark.py"), run_name="__main__")
        assert ended.value.code == 1
        assert message in capsys.readouterr().err
