"""Keras's two kinds of model, with the checks that every backend should make before the first step.

:class:`Model` and :class:`Sequential` are ``keras.Model`` (Functional) and ``keras.Sequential``; only their ``fit``,
``evaluate`` and ``predict`` look at the arrays first. Without this an image of the wrong shape fails in a backend's own
words, and a label out of range fails on the CPU, kills the context on a GPU, and is silently clipped on JAX.
"""

import inspect
import math
from pathlib import Path

import keras
import numpy as np

from kerasnets import layers, losses


def is_array(value) -> bool:
    """Whether `value` is one array or tensor of a data set, not a generator or a loader."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__getitem__")


class _Checked:
    """Checks the arrays given to ``fit``, ``evaluate`` and ``predict``; data in other forms goes through unchecked."""

    def fit(self, x=None, y=None, *args, **kwargs):
        """``keras.Model.fit``, after a check of the arrays.

        Args:
            x: images, float ``(n, height, width)`` as the model's ``input_shape`` says, or any data ``fit`` takes.
            y: labels, int ``(n,)``, or what the loss takes.
            *args: further arguments of ``keras.Model.fit``, by position.
            **kwargs: further arguments of ``keras.Model.fit``, by name.

        Returns:
            The ``keras.callbacks.History``.

        Raises:
            ValueError: the number of epochs is below 1, or shapes, lengths or label values don't fit the model.
            TypeError: the images are no numbers, or not yet scaled floats.
        """
        given = inspect.signature(keras.Model.fit).bind(self, x, y, *args, **kwargs)
        given.apply_defaults()
        options = given.arguments
        if options["epochs"] < 1:
            raise ValueError(f"epochs={options['epochs']}: expected at least 1.")
        held_out = options["validation_split"] if options["validation_data"] is None else 0.0
        self.check(x, y, batch_size=options["batch_size"] or 32, validation_split=held_out)
        validation = options["validation_data"]
        if isinstance(validation, tuple) and len(validation) >= 2:
            self.check(*validation[:2])
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """``keras.Model.evaluate``, after the same check of the arrays as in :meth:`fit`."""
        self.check(x, y)
        return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """``keras.Model.predict``, after the same check of the images as in :meth:`fit`."""
        self.check(x)
        return super().predict(x, *args, **kwargs)

    def check(self, x, y=None, batch_size: int | None = None, validation_split: float = 0.0) -> None:
        """Check that images and labels fit the compiled model, as ``fit`` and ``evaluate`` do before they begin.

        Args:
            x: images ``(n, *input_shape[1:])``; what is no array (a generator, a loader) is not looked at.
            y: labels ``(n,)`` or what the loss takes; None: images only.
            batch_size: images a training step, to find a last batch too small for batch normalisation; None: no
                training is meant.
            validation_split: share of the images that training holds out.

        Raises:
            ValueError: shapes, lengths or label values don't fit the model; the message names them.
            TypeError: the images are no floats.
        """
        if not is_array(x):
            return
        check_images(x, self.input_shape)
        if is_array(y):
            if len(y) != len(x):
                raise ValueError(f"{len(x)} images and {len(y)} labels: expected one label an image.")
            self._check_labels(y)
        if batch_size is not None:
            self._check_last_batch(math.floor(len(x) * (1.0 - validation_split)), batch_size)

    def _check_labels(self, y) -> None:
        loss = getattr(self, "loss", None)
        if loss == "sparse_categorical_crossentropy" or isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
            # Stock Keras's own has no check, and JAX would clip the labels silently.
            ignored = getattr(loss, "ignore_class", None)
            loss = losses.NLLLoss(ignore_index=-100 if ignored is None else ignored)
        if hasattr(loss, "check_targets"):
            loss.check_targets(y, self.output_shape[-1])

    def _check_last_batch(self, n: int, batch_size: int) -> None:
        """A batch of one image has no variance: say so now, not at the end of the first epoch."""
        if n % batch_size != 1:
            return
        for layer in self.layers:
            if isinstance(layer, layers.BatchNormalization) and math.prod(layer.input.shape[1:-1]) == 1:
                raise ValueError(
                    f"{n} images in batches of {batch_size} leave one image for the last batch, of which the batch "
                    f"normalisation {layer.name!r} can't take a variance. Leave one image out, or choose another "
                    "batch_size."
                )


def check_images(x, input_shape: tuple[int | None, ...]) -> None:
    """Check that `x` is an array of images that a model with `input_shape` takes.

    Args:
        x: array or tensor ``(n, *input_shape[1:])`` of floats.
        input_shape: the model's, with None for the batch axis.

    Raises:
        TypeError: `x` holds no floats (raw 0…255 pixels, text, objects).
        ValueError: `x` has another shape, or no image at all.
    """
    expected = tuple(input_shape[1:])
    shape = tuple(x.shape)
    text = "(n, " + ", ".join(map(str, expected)) + ")"
    if shape[1:] != expected:
        hint = ""
        if shape == expected:
            hint = " A single image needs the batch axis, too: x[None]."
        elif len(shape) == len(expected) + 2 and 1 in (shape[1], shape[-1]):
            hint = " Leave the channel axis out: the network adds its own."
        raise ValueError(f"The images have shape {shape}; expected {text}.{hint}")
    if shape[0] == 0:
        raise ValueError(f"The images have shape {shape}: there is none. Expected {text} with n of at least 1.")
    dtype = keras.backend.standardize_dtype(x.dtype) if not isinstance(x, np.ndarray) else x.dtype.name
    if "float" not in dtype:
        hint = " Pixels 0…255 become such by x.astype('float32') / 127.5 - 1." if dtype == "uint8" else ""
        raise TypeError(f"The images are of type {dtype}; expected floats in [-1, 1], as load_data gives them.{hint}")


@keras.saving.register_keras_serializable(package="kerasnets")
class Model(_Checked, keras.Model):
    """A Functional ``keras.Model`` that checks its arrays; what :func:`kerasnets.build` returns.

    Made as ``keras.Model(inputs, outputs, name=None)`` is. ``fit`` and ``evaluate`` check images and labels before the
    first step; everything else is Keras's own.
    """


@keras.saving.register_keras_serializable(package="kerasnets")
class Sequential(_Checked, keras.Sequential):
    """A ``keras.Sequential`` that checks its arrays; see :class:`Model`."""


def load_model(path, **kwargs) -> keras.Model:
    """Read a ``.keras`` file, written on any backend.

    Args:
        path: the file.
        **kwargs: further arguments of ``keras.models.load_model``.

    Returns:
        The model, compiled as it was saved, with its optimizer's state.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no ``.keras`` file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no model file {str(path)!r}.")
    return keras.models.load_model(path, **kwargs)
