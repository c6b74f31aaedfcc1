"""Settings of the whole test run: import order, device, hypothesis, and the skips that need a reason."""

import os
import signal

# The oracle first: TensorFlow imported before torchvision (and its Triton) aborts the process.
import torchvision  # noqa: F401  # isort: skip

import hypothesis
import pytest

import kerasnets

# The same examples everywhere, so that a failure is a change; --hypothesis-profile=random looks for further ones.
hypothesis.settings.register_profile("fixed", deadline=None, max_examples=8, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None, max_examples=50)
hypothesis.settings.load_profile("fixed")


def pytest_addoption(parser):
    parser.addoption("--device", choices=("cpu", "gpu"), default="cpu", help="where the backend computes")


def pytest_configure(config):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in the background without it
    kerasnets.set_device(config.getoption("--device"))
    if config.getoption("--device") == "gpu":  # where PyTorch's convolutions and JAX's products are in TF32 by default
        kerasnets.backend.set_precision("float32")


def pytest_report_header(config):
    return f"kerasnets backend: {kerasnets.backend.backend()}, device: {config.getoption('--device')}"


def pytest_collection_modifyitems(config, items):
    if kerasnets.backend.backend() != "torch":
        config.hook.pytest_deselected(items=[item for item in items if "once" in item.keywords])
        items[:] = [item for item in items if "once" not in item.keywords]
    for item in items:
        if "gpu" in item.keywords and config.getoption("--device") != "gpu":
            item.add_marker(pytest.mark.skip(reason="needs a GPU: run with --device gpu"))
        if "full_data" in item.keywords and not os.environ.get("KERASNETS_DATA"):
            item.add_marker(pytest.mark.skip(reason="needs the full data sets: set KERASNETS_DATA to their folder"))


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random state."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def every_reason_is_said_again(monkeypatch):
    """A way through stock Keras warns as if for the first time, and thereby fails the test that doesn't expect it."""
    from kerasnets.engine import fallback

    monkeypatch.setattr(fallback, "_said", set())
