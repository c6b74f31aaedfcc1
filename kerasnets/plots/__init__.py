"""Pictures of images, predictions, trainings and networks, drawn with matplotlib.

>>> figure = kerasnets.plots.confusion_matrix(labels, model.predict(images))
>>> figure.savefig("confusion_matrix.png")

Every function returns the matplotlib Figure and never shows it. The Figure isn't registered with pyplot, so nothing
has to be closed, no backend is chosen, and no display is needed; a notebook shows it when it is the last value of a
cell (else: ``display(figure)``). Every function takes ``ax=`` to draw into an Axes of a figure of yours instead, for
instance one of ``plt.subplots()``, which ``plt.show()`` then brings to the screen. A picture with several panels
puts them where that Axes was, and removes it. ``lang="zh"`` labels the picture in Chinese.
"""

from .activations import activation
from .bars import bars
from .diagrams import gradient_descent, layered_network, neuron
from .images import predictions, show_images, view_classify
from .networks import architecture, weights
from .results import confusion_matrix, learning_curves

__all__ = [
    "activation",
    "architecture",
    "bars",
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
