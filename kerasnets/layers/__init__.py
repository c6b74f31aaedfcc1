"""PyTorch's rules for layers as Keras classes: initial values, padding, normalization, the order of features.

If PyTorch's rule is the same as Keras's, use Keras's layer: ``keras.layers.Dropout`` (it scales by 1/(1 − rate) in
training, like ``nn.Dropout``), ``MaxPooling2D``, ``ReLU``, ``Softmax``, ``Activation("log_softmax")``.
"""

from kerasnets.layers.activations import LeakyReLU, PReLU
from kerasnets.layers.attention import MultiHeadAttention
from kerasnets.layers.convolution import Conv1D, Conv2D, Conv2DTranspose
from kerasnets.layers.embedding import Embedding
from kerasnets.layers.linear import Flatten, Linear
from kerasnets.layers.normalization import BatchNormalization, GroupNormalization, LayerNormalization
from kerasnets.layers.recurrent import GRU, LSTM

__all__ = [
    "GRU",
    "LSTM",
    "BatchNormalization",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Embedding",
    "Flatten",
    "GroupNormalization",
    "LayerNormalization",
    "LeakyReLU",
    "Linear",
    "MultiHeadAttention",
    "PReLU",
]


def __dir__() -> list[str]:
    return __all__
