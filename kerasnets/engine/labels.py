"""Class labels are checked on the host before a step sees them.

A label that is no class raises deep inside PyTorch on a CPU, kills the CUDA context on a GPU, and is clipped silently
on JAX.
"""

import keras
import numpy as np

from kerasnets import losses


def loss_with_check(model: keras.Model):
    """The compiled loss, or for a loss of stock Keras's, which checks no labels, one of kerasnets' that does.

    Returns None if the model has no loss. With several outputs, returns what was given to ``compile``.

    Raises:
        TypeError: the loss is a class instead of an object.
    """
    loss = getattr(model, "loss", None)
    if isinstance(loss, list | tuple | dict) and len(loss) == 1:
        loss = next(iter(loss.values() if isinstance(loss, dict) else loss))
    if isinstance(loss, type):
        raise TypeError(f"The loss is the class {loss.__name__}; expected an object of it: {loss.__name__}().")
    return _with_check(loss)


def _with_check(loss):
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if loss is keras.losses.sparse_categorical_crossentropy:
        return losses.NLLLoss()
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        ignored = loss.get_config()["ignore_class"]  # Keras 3.16 has no attribute of this name
        return losses.NLLLoss(ignore_index=-100 if ignored is None else ignored)
    return loss


def check_batch(model: keras.Model, batch) -> None:
    """Check the class labels of a batch.

    Args:
        model: a compiled model.
        batch: what Keras's step gets: inputs, targets and weights.

    Raises:
        ValueError: a label is no class of the model; the message names it.
    """
    _, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    if y is None or not getattr(model, "outputs", None):
        return
    targets, outputs = keras.tree.flatten(y), model.outputs
    given = loss_with_check(model)
    named = given if isinstance(given, list | tuple | dict) else [given] * len(outputs)
    each = [_with_check(loss) for loss in keras.tree.flatten(named)]
    if not len(targets) == len(outputs) == len(each):
        return
    for target, output, loss in zip(targets, outputs, each, strict=True):
        if isinstance(loss, losses.CrossEntropyLoss | losses.NLLLoss) and target is not None and output.shape:
            loss.check_targets(_array(target), output.shape[-1])


def _array(value) -> np.ndarray:
    return keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else np.asarray(value)
