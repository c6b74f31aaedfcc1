"""Files that kerasnets wrote before its modules moved (commit f2b2cbd, PyTorch backend) still load, on every backend.

``small.keras`` was compiled with AdamW, parameter groups and OneCycleLR, and trained for 8 steps.
"""

from pathlib import Path

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import layers, losses, models, optimizers, schedules

SAVED = Path(__file__).parents[1] / "saved"


@pytest.fixture
def expected():
    with np.load(SAVED / "small.npz") as file:
        return file["x"], file["outputs"]


def test_a_model_with_its_optimizer(expected):
    x, outputs = expected
    model = kerasnets.load_model(SAVED / "small.keras")
    np.testing.assert_allclose(model.predict(x, verbose=0), outputs, rtol=1e-4, atol=1e-5)
    assert type(model) is models.Sequential
    assert type(model.optimizer) is optimizers.AdamW
    assert type(model.loss) is losses.CrossEntropyLoss
    assert isinstance(model.optimizer.get_config()["learning_rate"]["config"], dict)
    assert int(model.optimizer.iterations) == 8
    averages = [model.optimizer.state_of(variable)["exp_avg"] for variable in model.trainable_variables]
    assert all(np.abs(keras.ops.convert_to_numpy(average)).max() > 0 for average in averages)
    rate = schedules.OneCycleLR(0.01, total_steps=40)(8)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), float(rate), rtol=1e-6)
    assert np.isfinite(model.fit(x, np.arange(len(x)) % 10, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_weights(suffix, expected):
    x, outputs = expected
    model = models.Sequential(
        [
            keras.Input((8, 8)),
            keras.layers.Reshape((8, 8, 1)),
            layers.Conv2D(3, 3, padding=1, name="conv"),
            layers.BatchNormalization(name="norm"),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Linear(10, name="linear"),
        ]
    )
    kerasnets.load_state_dict(model, SAVED / f"small.{suffix}")
    np.testing.assert_allclose(model.predict(x, verbose=0), outputs, rtol=1e-4, atol=1e-5)
