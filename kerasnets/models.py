"""Keras's two kinds of model, with the checks that every backend should make before the first step.

:class:`Model` and :class:`Sequential` are ``keras.Model`` (Functional) and ``keras.Sequential``; only their ``fit``,
``evaluate``, ``predict`` and the like look at the arrays first. Without this an image of the wrong shape fails in a
backend's own words, and a label out of range fails on the CPU, kills the context on a GPU, and is silently clipped on
JAX.
"""

import functools
import inspect
import math
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from kerasnets import backend, engine, layers, losses
from kerasnets._internal import keras_private
from kerasnets._internal.arguments import check_integer, check_number, check_path, refuse_torch_model
from kerasnets.engine.fallback import is_graph
from kerasnets.engine.inputs import as_array, check_form, check_images, check_scale, check_type, is_empty
from kerasnets.engine.labels import loss_with_check
from kerasnets.engine.mistakes import check_loss_fits, refuse_torch_objects
from kerasnets.losses.base import ElementLoss

__all__ = ["Model", "Sequential", "accelerate", "load_model"]


def __dir__() -> list[str]:
    return __all__


#: What the checks are mixed into.
_Base: Any = keras.Model if TYPE_CHECKING else object


def _fast(accelerate: bool | None) -> bool:
    return backend.accelerated() if accelerate is None else accelerate


class _Checked(_Base):
    """Checks the arrays given to ``fit``, ``evaluate`` and the like; data in other forms goes through unchecked."""

    #: Tells the engine that its own checks have been made here.
    checks_arrays = True

    def compile(self, *args, **kwargs):
        """``keras.Model.compile``; a saved model keeps ``jit_compile`` as given here, ``"auto"`` by default.

        Keras saves what ``"auto"`` resolved to: a model from JAX, where that is True, would run through
        ``torch.compile`` on torch, where it is False, and a model from torch would run uncompiled on JAX.
        """
        given = inspect.signature(keras.Model.compile).bind(self, *args, **kwargs)
        refuse_torch_objects(given.arguments.get("loss"), given.arguments.get("optimizer"))
        super().compile(*args, **kwargs)
        self.given_jit_compile = given.arguments.get("jit_compile", "auto")
        keras_private.compile_record(self).config["jit_compile"] = self.given_jit_compile

    def compile_from_config(self, config):
        """``keras.Model.compile_from_config``, which would not call a ``compile`` that is overridden."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, *args, accelerate: bool | None = None, seed: int | None = None, **kwargs):
        """``keras.Model.fit``, after a check of the arrays, and fast where it can be.

        Args:
            x: images, float ``(n, height, width)`` as the model's ``input_shape`` says, or any data ``fit`` takes. The
                labels of a generator or loader are looked at batch by batch on the fast path; without it a label out of
                range makes kerasnets' losses NaN.
            y: labels, int ``(n,)``, or what the loss takes.
            *args: further arguments of ``keras.Model.fit``, by position.
            accelerate: False for stock Keras's own steps. By default the fit is fast, unless the environment variable
                ``KERASNETS_ACCELERATE`` is 0. What the fast path doesn't handle runs through stock Keras, with one
                warning per reason.
            seed: seed of the order of batches, which depends on (seed, epoch) alone and is the same on every backend,
                also with ``accelerate=False``. Defaults to the seed given to ``keras.utils.set_random_seed``, on the
                fast path. Only for arrays: a loader or generator has an order of its own.
            **kwargs: further arguments of ``keras.Model.fit``, by name.

        Returns:
            The ``keras.callbacks.History``.

        Raises:
            ValueError: epochs or batch size are below 1, or shapes, lengths or label values don't fit the model.
            TypeError: the images are not numbers, or are not scaled to floats.
        """
        given = inspect.signature(keras.Model.fit).bind(self, x, y, *args, **kwargs)
        given.apply_defaults()
        options = given.arguments
        keras_private.assert_compiled(self, "fit")
        check_options(options)
        if self.optimizer is None:
            raise ValueError("The model was compiled with optimizer=None; fit needs an optimizer.")
        training = None
        if options["steps_per_epoch"] is None:
            held_out = options["validation_split"] if options["validation_data"] is None else 0.0
            training = (options["batch_size"] or 32, held_out)
        self.check(x, y, training=training, needs_labels=True)
        validation = options["validation_data"]
        if isinstance(validation, tuple | list) and len(validation) >= 2:
            self.check(*validation[:2], needs_labels=True)
        try:
            return engine.fit(self, super().fit, x, y, *args, fast=_fast(accelerate), seed=seed, **kwargs)
        except BaseException:
            self.train_function = None  # TensorFlow would go on with a half-traced function
            raise

    def evaluate(self, x=None, y=None, *args, accelerate: bool | None = None, **kwargs):
        """``keras.Model.evaluate``, after the same check of the arrays as in :meth:`fit`, and as fast."""
        keras_private.assert_compiled(self, "evaluate")
        _check_given("evaluate", keras.Model.evaluate, self, x, y, *args, **kwargs)
        self.check(x, y, needs_labels=True)
        return engine.evaluate(self, super().evaluate, x, y, *args, fast=_fast(accelerate), **kwargs)

    def predict(self, x, *args, accelerate: bool | None = None, **kwargs):
        """``keras.Model.predict``, after the same check of the images as in :meth:`fit`, and as fast."""
        _check_given("predict", keras.Model.predict, self, x, *args, **kwargs)
        self.check(x)
        return engine.predict(self, super().predict, x, *args, fast=_fast(accelerate), **kwargs)

    def train_on_batch(self, x, y=None, *args, **kwargs):
        """``keras.Model.train_on_batch``, after the same check of the arrays as in :meth:`fit`."""
        self.check(x, y, needs_labels=True)
        return super().train_on_batch(x, y, *args, **kwargs)

    def test_on_batch(self, x, y=None, *args, **kwargs):
        """``keras.Model.test_on_batch``, after the same check of the arrays as in :meth:`fit`."""
        self.check(x, y, needs_labels=True)
        return super().test_on_batch(x, y, *args, **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """``keras.Model.compute_loss``; without a loss an error on JAX as well, where Keras takes it for 0."""
        if self._compile_loss is None and not self.losses:
            raise ValueError("No loss to compute. Provide a `loss` argument in `compile()`.")  # Keras's words
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def check(self, x, y=None, *, training: tuple[int, float] | None = None, needs_labels: bool = False) -> None:
        """Check that images and labels fit the compiled model, as ``fit`` and ``evaluate`` do before they begin.

        Args:
            x: images ``(n, *input_shape[1:])``; data in other forms (a generator, a loader) is not checked.
            y: labels ``(n,)`` or what the loss takes; None: images only.
            training: batch size and held-out share of a training, to find a last batch too small for batch
                normalization; None if this is not a training run.
            needs_labels: whether images without labels are an error.

        Raises:
            ValueError: shapes, lengths, label values or the loss don't fit the model; the message names them.
            TypeError: the images are not floats, or images or labels are not an array.
        """
        if x is None:
            raise TypeError("The images are None; expected an array or a data set.")
        if is_empty(x):
            raise ValueError(f"The {type(x).__name__} of images is empty; expected an array or a data set.")
        check_form(self, x, y)
        if needs_labels:
            check_loss_fits(self, strict=True)
        images, labels = as_array(x), as_array(y)
        if images is None:
            return
        check_images(images, self.input_shape)
        check_scale(self, images)
        loss = loss_with_check(self)
        if labels is None:
            if y is not None:
                raise TypeError(f"The labels are a {type(y).__name__}; expected an array, as np.asarray(labels) gives.")
            if needs_labels and loss is not None:
                raise ValueError(f"{len(images)} images and no labels: expected y, one label per image.")
        else:
            if len(labels) != len(images):
                raise ValueError(f"{len(images)} images and {len(labels)} labels: expected one label per image.")
            if hasattr(loss, "check_targets"):
                self._check_labels(loss, labels)
        if training is not None:
            batch_size, held_out = training
            self._check_last_batch(math.floor(len(images) * (1.0 - held_out)), batch_size)

    def _check_labels(self, loss, labels) -> None:
        shape, classes = tuple(labels.shape), self.output_shape[-1]
        whole = f"({len(labels)},)"
        if isinstance(loss, ElementLoss):
            whole = str((len(labels), *self.output_shape[1:]))
            right = str(shape) == whole
        else:
            # Class probabilities have the outputs' shape; the loss says whether it takes them.
            right = shape[1:] in ((), (1,)) or (shape[1:] == (classes,) and isinstance(loss, losses.CrossEntropyLoss))
        if not right:
            raise ValueError(f"The labels have shape {shape}; expected {whole} for {type(loss).__name__}.")
        check_type("labels", labels)
        loss.check_targets(labels, classes)

    def _check_last_batch(self, n: int, batch_size: int) -> None:
        """A batch of one image has no variance: say so now, not at the end of the first epoch."""
        if n % batch_size != 1:
            return
        for layer in self.layers:
            if isinstance(layer, layers.BatchNormalization) and layer.input_spec.ndim == 2:
                raise ValueError(
                    f"{n} images in batches of {batch_size} leave one image for the last batch, of which the batch "
                    f"normalisation {layer.name!r} can't take a variance. Leave one image out, or choose another "
                    "batch_size."
                )


def _check_given(name: str, method, model: keras.Model, *args, **kwargs) -> None:
    check_options(inspect.signature(method).bind(model, *args, **kwargs).arguments)


def check_options(options: dict) -> None:
    """Check the arguments of ``fit``, ``evaluate`` and ``predict`` that are numbers, callbacks or dicts.

    Args:
        options: arguments by name.

    Raises:
        ValueError: a number is out of range.
        TypeError: a callback or ``class_weight`` is something else.
    """
    for name in ("epochs", "batch_size", "steps_per_epoch", "steps", "validation_batch_size", "validation_steps"):
        if options.get(name) is not None or (name == "epochs" and name in options):
            check_integer(name, options[name])
    check_integer("initial_epoch", options.get("initial_epoch", 0), low=0)
    check_number("validation_split", options.get("validation_split") or 0.0, below=1.0)
    if not isinstance(options.get("validation_freq", 1), Collection):
        check_integer("validation_freq", options.get("validation_freq", 1))
    if not isinstance(options.get("class_weight"), Mapping | None):
        raise TypeError(f"class_weight={options['class_weight']!r}: expected a dict from class to weight.")
    check_callbacks(options.get("callbacks"))


def check_callbacks(callbacks) -> None:
    """Raise a TypeError unless `callbacks` is one, a list of them, a ``CallbackList`` or None."""
    if callbacks is None or isinstance(callbacks, keras.callbacks.Callback | keras.callbacks.CallbackList):
        return
    each = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    for callback in keras.tree.flatten(each):
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(f"callbacks has {callback!r} in it; expected keras.callbacks.Callback objects.")


@keras.saving.register_keras_serializable(package="kerasnets")
class Model(_Checked, keras.Model):
    """A Functional ``keras.Model`` that checks its arrays; what :func:`kerasnets.build` returns.

    Made as ``keras.Model(inputs, outputs, name=None)`` is. ``fit`` and ``evaluate`` check images and labels before the
    first step; everything else is Keras's own.

    Examples:
        >>> inputs = keras.Input((2,))
        >>> model = kerasnets.models.Model(inputs, kerasnets.layers.Linear(1)(inputs))
        >>> model.count_params()
        3
    """


@keras.saving.register_keras_serializable(package="kerasnets")
class Sequential(_Checked, keras.Sequential):
    """A ``keras.Sequential`` that checks its arrays; see :class:`Model`.

    Examples:
        >>> model = kerasnets.models.Sequential([keras.Input((2,)), kerasnets.layers.Linear(1)])
        >>> model.count_params()
        3
    """


def accelerate(model: keras.Model, *, trust: bool = False) -> keras.Model:
    """Make ``fit``, ``evaluate`` and ``predict`` of any Functional or Sequential Keras model fast.

    Keras's own loop keeps running: signature, callbacks and results are stock Keras's. ``fit`` also takes ``seed=``,
    the seed of the order of batches. All three take ``accelerate=False`` for stock Keras's steps, as does the
    environment variable ``KERASNETS_ACCELERATE=0``. A model from :func:`kerasnets.build` is fast by default.

    Layers, losses, metrics, optimizers and functions of Keras and kerasnets run on the fast path. A class or function
    of your own runs through stock Keras, with one warning per reason, because a trace would freeze what its Python code
    does. Set `trust` if your code only computes with tensors. On PyTorch such a step is recorded once; the recording

    - keeps what Python code decided: an ``if``, a loop, the value of an attribute, a counter;
    - repeats numbers from NumPy, ``random`` or the clock (draw from a ``keras.random.SeedGenerator`` instead);
    - leaves out what Python code does besides, such as printing or writing a summary.

    JAX and TensorFlow do the same in stock Keras. A model with its own ``train_step``, ``compute_metrics`` or the like
    always runs through stock Keras.

    On TensorFlow without a GPU, stock Keras resolves ``jit_compile="auto"`` to False, and the model doesn't tell the
    two apart: there the fast path uses XLA in both cases, unless the model has convolutions. Models of kerasnets
    remember what they were given. TensorFlow keeps what XLA compiled until the process ends, so models of one
    architecture share a program, and after 32 programs further ones run without XLA: more slowly, to other rounding.

    Args:
        model: the model, compiled or not yet.
        trust: whether code of your own may be traced.

    Returns:
        The same model.

    Raises:
        TypeError: `model` is not a Functional or Sequential model.

    Examples:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model = kerasnets.accelerate(model)
        >>> model.compile(keras.optimizers.SGD(0.1), keras.losses.MeanSquaredError())
        >>> history = model.fit(np.eye(2), np.ones((2, 1)), epochs=2, verbose=0)
    """
    if not is_graph(model):
        refuse_torch_model("accelerate", model)
        raise TypeError(f"accelerate got a {type(model).__name__}; expected a Functional or Sequential keras.Model.")
    model.__dict__["_kerasnets_trust"] = bool(trust)
    if not isinstance(model, _Checked):
        for name in ("fit", "evaluate", "predict"):
            model.__dict__[name] = _method(name, model, getattr(type(model), name).__get__(model))
    return model


def _method(name: str, model: keras.Model, stock):
    @functools.wraps(stock)
    def run(*args, accelerate: bool | None = None, **options):
        return getattr(engine, name)(model, stock, *args, fast=_fast(accelerate), **options)

    return run


def load_model(path, **kwargs) -> keras.Model:
    """Read a ``.keras`` file, written on any backend.

    Args:
        path: the file.
        **kwargs: further arguments of ``keras.models.load_model``.

    Returns:
        The model, compiled as it was saved, with its optimizer's state.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, is not a model file, or contains a class that Keras doesn't know.

    Examples:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.keras"
        >>> kerasnets.build("Net").save(path)
        >>> kerasnets.load_model(path).name
        'Net'
    """
    path = check_path("path", path)
    if not path.exists():
        raise FileNotFoundError(f"There is no model file {str(path)!r}.")
    try:
        if path.suffix == ".keras":
            _check_zip(path)
        return keras.models.load_model(path, **kwargs)
    except (MemoryError, PermissionError):
        raise
    except Exception as error:  # damage comes out as BadZipFile, KeyError, OSError, UnboundLocalError, …
        # Keras's messages have the whole configuration in them, and the reason before or behind it.
        reason = re.split(r"Exception encountered: |Example error message .*\n+", str(error))[-1]
        reason = reason.partition("\n")[0].partition(" Full object config:")[0]
        raise ValueError(f"The model {str(path)!r} can't be loaded ({type(error).__name__}: {reason})") from error


def _check_zip(path: Path) -> None:
    """Compare the checksums: where they differ, Keras reads on, and Python ≥ 3.12 then no longer compares them."""
    with zipfile.ZipFile(path) as archive:
        if name := archive.testzip():
            raise zipfile.BadZipFile(f"{name} in it is damaged")
