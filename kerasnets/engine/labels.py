"""Class labels are checked on the host before a step sees them.

A label out of range raises deep inside PyTorch on a CPU, kills the CUDA context on a GPU, and is clipped silently
on JAX.
"""

import keras

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
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if loss is keras.losses.sparse_categorical_crossentropy:
        return losses.NLLLoss()
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        ignored = loss.get_config()["ignore_class"]  # Keras 3.16 has no attribute of this name
        return losses.NLLLoss(ignore_index=-100 if ignored is None else ignored)
    return loss


def check_batch(model: keras.Model, batch) -> None:
    """Check the class labels of a batch, for a model with one output.

    Args:
        model: a compiled model.
        batch: what Keras's step gets: inputs, targets and weights.

    Raises:
        ValueError: a label is out of range; the message names it.
    """
    _, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    targets, outputs = keras.tree.flatten(y), getattr(model, "outputs", None) or []
    given = keras.tree.flatten(getattr(model, "loss", None))
    if y is None or not len(targets) == len(outputs) == len(given) == 1 or isinstance(given[0], type):
        return
    loss = loss_with_check(model)
    if isinstance(loss, losses.CrossEntropyLoss | losses.NLLLoss) and outputs[0].shape:
        loss.check_targets(targets[0], outputs[0].shape[-1])
