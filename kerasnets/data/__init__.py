"""Images and labels as NumPy arrays: torchvision's data sets, and a sample that comes with the package.

>>> import kerasnets
>>> (x, y), (x_test, y_test) = kerasnets.load_data("fashion_mnist_sample")
>>> x.shape, y.shape
((6000, 28, 28), (6000,))
"""

from kerasnets.data.cleanup import clear_cache
from kerasnets.data.datasets import NAMES, class_names
from kerasnets.data.errors import DamagedDataError, DataNotFoundError
from kerasnets.data.load import find_local_or_sample, load_arrays, load_data, locations

__all__ = [
    "NAMES",
    "DamagedDataError",
    "DataNotFoundError",
    "class_names",
    "clear_cache",
    "find_local_or_sample",
    "load_arrays",
    "load_data",
    "locations",
]


def __dir__() -> list[str]:
    return __all__
