"""The classic PyTorch beginners' networks as Keras 3 models, with PyTorch's numbers on every backend.

>>> import kerasnets
>>> kerasnets.list_networks()
['NeuralNetwork', 'NeuralNetwork_v1', 'ConvNeuralNetwork', 'Net', 'FashionNetwork', 'Network', 'Network2']

Importing this package is cheap: Keras, the backend and the submodules are loaded at first use.
"""

import lazy_loader as _lazy
import wrapt as _wrapt

from kerasnets import backend as _backend

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
__version__ = "0.1.0"

_backend.use_default_backend()


@_wrapt.when_imported("keras")
def _register(_keras):
    """Register kerasnets' classes as soon as Keras is there, so that ``keras.models.load_model`` knows them."""
    from importlib import import_module

    for name in ("initializers", "layers", "losses", "schedules", "optimizers", "models"):
        import_module(f"kerasnets.{name}")
