"""Recipes of the tutorials' trainings, and :func:`train`, which runs one.

Keras and the backend are loaded at the first use of a name that needs them.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
