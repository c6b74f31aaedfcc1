"""Normalization: over the batch, over the features of an example, over groups of channels."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from kerasnets._internal.arguments import check_integer, check_number, is_real
from kerasnets.layers.base import Named


@keras.saving.register_keras_serializable(package="kerasnets")
class BatchNormalization(Named, keras.layers.BatchNormalization):
    """``torch.nn.BatchNorm1d`` and ``BatchNorm2d``: y = γ·(x − mean) / √(var + ε) + β for each channel.

    In training, mean and var are those of the batch, over all axes except the channels. var is the biased variance,
    (1/n)·Σ(x − mean)², and the running values are updated with PyTorch's momentum m:

        running_mean ← (1 − m)·running_mean + m·mean
        running_var  ← (1 − m)·running_var + m·var·n/(n − 1)

    n is the number of values per channel. In evaluation, the running values are used instead. Source: the page
    ``torch.nn.BatchNorm2d``. Keras's own layer has ε = 1e-3, counts momentum the other way (its 0.99 is PyTorch's
    0.01), and updates the running variance with the biased one.

    The statistics are computed at least in float32, whatever the dtype policy. With ``trainable = False`` the layer
    always uses the running values, as in Keras. (PyTorch would use the batch's statistics until ``.eval()``.)

    Args:
        axis: the axis of the channels: −1, or 1 after a convolution with ``data_format="channels_first"``.
        momentum: m, between 0 and 1; also in ``get_config``.
        epsilon: ε.
        center: add β. PyTorch's ``affine`` stands for both `center` and `scale`.
        scale: multiply by γ.
        torch_name: the attribute path in the original, such as ``"bn1"``; None means the layer's name.
        **kwargs: initializers, regularizers, constraints, ``name`` and ``dtype`` as in
            ``keras.layers.BatchNormalization``.

    Raises:
        ValueError: `momentum` is not within [0, 1]; or, in training, there is only one value per channel, which has no
            variance. If TensorFlow doesn't know the batch size while tracing, outputs and running values become NaN
            instead.

    Examples:
        >>> layer = kerasnets.layers.BatchNormalization(epsilon=0.0)
        >>> layer(np.array([[1.0], [3.0]]), training=True).tolist()
        [[-1.0], [1.0]]
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ):
        if not is_real(momentum) or not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be within [0, 1]; received {momentum!r}.")
        epsilon = check_number("epsilon", epsilon)
        if not isinstance(axis, list | tuple):
            check_integer("axis", axis, low=-100)
        # This rule lacks two options of Keras's layer.
        super().__init__(axis, momentum, epsilon, center, scale, renorm=False, synchronized=False, **kwargs)
        self.supports_masking = False

    def call(self, inputs, training=None):
        """Normalize `inputs`; in training, also update the running values."""
        ops = keras.ops
        # Not keras.backend.result_type, which turns float64 into float32 on all backends except TensorFlow.
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        x = ops.cast(inputs, "float32" if dtype in ("float16", "bfloat16") else dtype)
        channel = self.axis % len(x.shape)
        shape = [x.shape[axis] if axis == channel else 1 for axis in range(len(x.shape))]

        def spread(values):
            return ops.reshape(ops.cast(values, x.dtype), shape)

        if training and self.trainable:
            mean, variance = self.batch_statistics(x)
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale = ops.rsqrt(spread(variance) + self.epsilon)
        if self.scale:
            scale = scale * spread(self.gamma)
        x = (x - spread(mean)) * scale
        if self.center:
            x = x + spread(self.beta)
        return ops.cast(x, self.compute_dtype)

    def batch_statistics(self, x):
        """Return mean and biased variance per channel of `x`, shape ``(channels,)``, and update the running values."""
        ops = keras.ops
        axes = [axis for axis in range(len(x.shape)) if axis != self.axis % len(x.shape)]
        count = math.prod(ops.shape(x)[axis] for axis in axes)
        traced = not isinstance(count, int)  # TensorFlow traces the step without a batch size
        if traced:
            count = ops.cast(count, x.dtype)
        elif count == 1:
            raise ValueError(
                f"Batch normalization in training needs more than one value per channel, but the layer {self.name!r} "
                f"got an input of shape {tuple(x.shape)}. Use a larger batch, or drop a last batch of one."
            )

        def average(values):
            # Sums, because keras.ops.mean of float64 is computed in float32 on torch and JAX. First within each image:
            # TensorFlow adds numbers one by one, and adding 50,000 of them would lose two of float32's seven digits.
            if axes[1:]:
                values = ops.sum(values, axis=axes[1:], keepdims=True)
            return ops.sum(values, axis=axes[0], keepdims=True) / count

        mean = average(x)
        variance = ops.squeeze(average(ops.square(x - mean)), axis=axes)
        mean = ops.squeeze(mean, axis=axes)
        if traced:
            # A compiled step can't raise an error, but NaN is noticed.
            variance = ops.where(count > 1, variance, float("nan"))
        for running, batch in ((self.moving_mean, mean), (self.moving_variance, variance * (count / (count - 1)))):
            running.assign((1 - self.momentum) * ops.cast(running, batch.dtype) + self.momentum * batch)
        return mean, variance

    def get_config(self):
        """Return the arguments of the constructor."""
        config = super().get_config()
        for option in ("renorm", "renorm_clipping", "renorm_momentum", "synchronized"):
            del config[option]
        return config


def _standardize(x, axes, epsilon):
    """Return (x − mean)/√(var + ε) over `axes`; keras.ops.moments computes float64 in float32 on torch and JAX."""
    ops = keras.ops
    count = math.prod(ops.shape(x)[axis] for axis in axes)
    if not isinstance(count, int):  # TensorFlow traces with unknown sizes
        count = ops.cast(count, x.dtype)
    x = x - ops.sum(x, axis=axes, keepdims=True) / count
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=axes, keepdims=True) / count + epsilon)


@keras.saving.register_keras_serializable(package="kerasnets")
class LayerNormalization(Named, keras.layers.LayerNormalization):
    """``torch.nn.LayerNorm``: y = γ·(x − mean)/√(var + ε) + β over the last axes of each example.

    var is the biased variance. Keras's own layer has ε = 1e-3. Source: the page ``torch.nn.LayerNorm``.

    Args:
        axis: the axis or axes of PyTorch's ``normalized_shape``: −1 for one number, (−2, −1) for two, …
        epsilon: ε.
        center: add β (PyTorch's ``bias``).
        scale: multiply by γ. PyTorch's ``elementwise_affine`` stands for both.
        torch_name: the attribute path in the original, such as ``"norm1"``; None means the layer's name.
        **kwargs: initializers, regularizers, constraints, ``name`` and ``dtype`` as in
            ``keras.layers.LayerNormalization``.

    Input and output shape: ``(batch, …)``.

    Raises:
        ValueError: `epsilon` is not a number ≥ 0.

    Examples:
        >>> layer = kerasnets.layers.LayerNormalization(epsilon=0.0)
        >>> layer(np.array([[1.0, 3.0]])).tolist()
        [[-1.0, 1.0]]
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ):
        super().__init__(axis=axis, epsilon=check_number("epsilon", epsilon), center=center, scale=scale, **kwargs)

    def call(self, inputs):
        """Normalize `inputs`."""
        if self.compute_dtype != "float64":
            return super().call(inputs)
        ops, rank = keras.ops, len(inputs.shape)
        axes = [axis % rank for axis in (self.axis if isinstance(self.axis, list | tuple) else [self.axis])]
        x = _standardize(ops.cast(inputs, "float64"), axes, self.epsilon)
        shape = [x.shape[axis] if axis in axes else 1 for axis in range(rank)]
        if self.scale:
            x = x * ops.reshape(self.gamma, shape)
        return x + ops.reshape(self.beta, shape) if self.center else x


@keras.saving.register_keras_serializable(package="kerasnets")
class GroupNormalization(Named, keras.layers.GroupNormalization):
    """``torch.nn.GroupNorm``: y = γ·(x − mean)/√(var + ε) + β, over groups of channels of each example.

    var is the biased variance of a group of consecutive channels, over all positions. Keras's own layer has ε = 1e-3.
    ``torch.nn.InstanceNorm2d`` is this with one channel per group (``groups=-1``), without γ and β. Source: the page
    ``torch.nn.GroupNorm``.

    Args:
        groups: PyTorch's ``num_groups``; −1 means one channel per group.
        axis: the axis of the channels: −1, or 1 after a convolution with ``data_format="channels_first"``.
        epsilon: ε.
        center: add β. PyTorch's ``affine`` stands for both `center` and `scale`.
        scale: multiply by γ.
        torch_name: the attribute path in the original, such as ``"norm1"``; None means the layer's name.
        **kwargs: initializers, regularizers, constraints, ``name`` and ``dtype`` as in
            ``keras.layers.GroupNormalization``.

    Input and output shape: ``(batch, …, channels)``, or ``(batch, channels, …)`` with ``axis=1``.

    Raises:
        ValueError: `epsilon` is not a number ≥ 0, or the channels can't be divided into `groups`.

    Examples:
        >>> layer = kerasnets.layers.GroupNormalization(groups=2, epsilon=0.0)
        >>> layer(np.array([[1.0, 3.0, 5.0, 9.0]])).tolist()
        [[-1.0, 1.0, -1.0, 1.0]]
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ):
        super().__init__(
            groups=groups, axis=axis, epsilon=check_number("epsilon", epsilon), center=center, scale=scale, **kwargs
        )

    def call(self, inputs):
        """Normalize `inputs`."""
        if self.compute_dtype != "float64":
            return super().call(inputs)
        ops, shape = keras.ops, list(keras.ops.shape(inputs))
        axis = self.axis % len(shape)
        grouped = [*shape[:axis], self.groups, inputs.shape[axis] // self.groups, *shape[axis + 1 :]]
        x = ops.reshape(ops.cast(inputs, "float64"), grouped)
        x = _standardize(x, [a for a in range(1, len(grouped)) if a != axis], self.epsilon)
        x = ops.reshape(x, shape)
        spread = [inputs.shape[axis] if a == axis else 1 for a in range(len(shape))]
        if self.scale:
            x = x * ops.reshape(self.gamma, spread)
        return x + ops.reshape(self.beta, spread) if self.center else x
