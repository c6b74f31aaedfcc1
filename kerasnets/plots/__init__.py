"""Pictures of images, predictions, trainings and networks, drawn with matplotlib.

>>> figure = kerasnets.plots.confusion_matrix([0, 1, 1], [0, 1, 0])  # labels, predicted classes
>>> figure.savefig("confusion_matrix.png")

Every function returns a matplotlib Figure and never shows it. The Figure isn't registered with pyplot: it needs no
closing, no matplotlib backend and no display. A notebook shows it as the last value of a cell, or with
``display(figure)``. With ``ax=`` every function draws into an Axes of your own figure instead, such as one of
``plt.subplots()``, which ``plt.show()`` then displays. A picture with several panels replaces the Axes with them.
``lang="zh"`` labels the picture in Chinese.
"""

from .activations import activation
from .bar_chart import bars
from .comparisons import comparison
from .diagrams import gradient_descent, layered_network, neuron
from .filters import weights
from .images import predictions, show_images, view_classify
from .layer_diagram import architecture
from .results import confusion_matrix, learning_curves

__all__ = [
    "activation",
    "architecture",
    "bars",
    "comparison",
    "confusion_matrix",
    "gradient_descent",
    "layered_network",
    "learning_curves",
    "neuron",
    "predictions",
    "show_images",
    "view_classify",
    "weights",
]


def __dir__() -> list[str]:
    return __all__
