"""What makes ``fit`` fast: engines that run many training steps a call, one a backend, behind Keras's own methods.

What :func:`kerasnets.build` returns uses them by itself; :func:`accelerate` gives them to any Functional or Sequential
model. Without this package everything works as well, only slower.
"""

import functools

import keras

from kerasnets import backend, models
from kerasnets.accelerate import trainer
from kerasnets.accelerate.predictor import predictor

__all__ = ["accelerate", "predictor"]


def accelerate(model: keras.Model) -> keras.Model:
    """Make ``fit``, ``evaluate`` and ``predict`` of any Functional or Sequential Keras model fast.

    Signature, callbacks and results stay stock Keras's. ``fit`` takes ``seed=`` besides, of the batches' order.
    All three take ``accelerate=False`` for stock Keras, as does the variable ``KERASNETS_ACCELERATE=0``. What the fast
    path doesn't handle (a generator as data, a ``train_step`` of the model's own) runs through stock Keras, and a
    warning says so once. A model that :func:`kerasnets.build` made is fast already.

    On TensorFlow without a GPU stock Keras keeps ``jit_compile=False`` for ``"auto"``, too: there the fast way of a
    stock model goes through XLA in either case (not with convolutions, which are faster outside). kerasnets' models
    remember what they were given.

    Args:
        model: the model, compiled or not yet.

    Returns:
        The same model.

    Raises:
        TypeError: `model` is no Functional or Sequential model.
    """
    if not trainer.is_graph(model):
        raise TypeError(f"accelerate got a {type(model).__name__}; expected a Functional or Sequential keras.Model.")
    if not isinstance(model, models.Model | models.Sequential):
        for name in ("fit", "evaluate", "predict"):
            model.__dict__[name] = _method(name, model, getattr(type(model), name).__get__(model))
    return model


def _method(name: str, model: keras.Model, stock):
    @functools.wraps(stock)
    def run(*args, accelerate: bool | None = None, **options):
        if backend.accelerated() if accelerate is None else accelerate:
            return getattr(trainer, name)(model, stock, *args, **options)
        options.pop("seed", None)
        return stock(*args, **options)

    return run
