"""Each public module can be the first that a program imports, before Keras."""

import pytest
from processes import run

pytestmark = pytest.mark.once

MODULES = ["schedules", "optimizers", "losses", "interop.weights", "verify.benchmark", "training.callbacks"]

CODE = """
import importlib, os, sys
import h5py, matplotlib.pyplot, torch, torchvision  # what takes most of the time, once

for name in sys.argv[1:]:
    if not (child := os.fork()):
        importlib.import_module(f"kerasnets.{name}")
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"kerasnets.{name} can't be the first import")
"""


@pytest.mark.skipif("not hasattr(__import__('os'), 'fork')", reason="processes are forked here")
def test_first_import():
    run("-c", CODE, *MODULES)
