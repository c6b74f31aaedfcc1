"""How often a callback looks at a training, and step numbers that are true when a block of steps runs at once."""

import math

import keras

from kerasnets.engine.source import Arrays

#: How often a progress bar moves per epoch.
_BAR_MOVES = 50

_EPOCH_ONLY = (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)


def steps_between_looks(
    callbacks: list[keras.callbacks.Callback], phase: str, steps: int | None, in_fit: bool
) -> int | None:
    """How many steps may run before a callback wants to look.

    Args:
        callbacks: all callbacks, the progress bar included.
        phase: ``"train"``, ``"test"`` or ``"predict"``.
        steps: the number of steps per epoch, if it is known.
        in_fit: whether this is part of ``fit``, where the progress bar ignores the validation.

    Returns:
        The number of steps, or None if no callback looks before the epoch ends.
    """
    strides = []
    for callback in callbacks:
        if type(callback) is keras.callbacks.ProgbarLogger:
            if steps and callback.verbose not in (0, 2) and not (in_fit and phase == "test"):
                strides.append(max(1, steps // _BAR_MOVES))
        elif "looks_every" in vars(type(callback)):  # not one that it inherits: a subclass may look more often
            if phase == "train":
                strides.append(callback.looks_every)
        elif type(callback) in _EPOCH_ONLY:
            if callback.save_freq != "epoch" and phase == "train":
                strides.append(1)
        elif _looks_at_batches(callback, phase):
            strides.append(1)
    return math.gcd(*strides) or None


def _looks_at_batches(callback: keras.callbacks.Callback, phase: str) -> bool:
    names = (f"on_{phase}_batch_begin", f"on_{phase}_batch_end", "on_batch_begin", "on_batch_end")
    return any(getattr(getattr(callback, name), "__func__", None) is not vars(_NOTHING)[name] for name in names)


_NOTHING = keras.callbacks.Callback


class BlockCallbacks(keras.callbacks.CallbackList):
    """Keras's list of callbacks, which translates the number of a block into the numbers of its steps.

    Args:
        callbacks: the user's callbacks.
        train: the source of the training, if it runs in blocks; likewise `test` and `predict`.
        options: further arguments of ``keras.callbacks.CallbackList``.
    """

    def __init__(self, callbacks, train=None, test=None, predict=None, **options):
        self.sources = {"train": train, "test": test, "predict": predict}
        super().__init__(callbacks, **options)
        if isinstance(train, Arrays):
            for callback in self.callbacks:
                if hasattr(callback, "expect_examples"):
                    callback.expect_examples(train.n, train.batch_size)

    def _first(self, phase: str, block: int) -> int:
        source = self.sources[phase]
        return block if source is None else source.first(block)

    def _last(self, phase: str, block: int) -> int:
        source = self.sources[phase]
        return block if source is None else source.last(block)

    def _begin(self, phase: str, block: int) -> None:
        if self.sources[phase] is not None:
            self.sources[phase].begin(block)

    def on_epoch_begin(self, epoch, logs=None):
        """Tell the source which epoch this is: BackupAndRestore chooses the first one after ``fit`` has begun."""
        if self.sources["train"] is not None:
            self.sources["train"].epoch = epoch
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        """Pass on the number of the block's first step."""
        super().on_train_batch_begin(self._first("train", batch), logs)
        self._begin("train", batch)

    def on_train_batch_end(self, batch, logs=None):
        """Pass on the number of the block's last step."""
        super().on_train_batch_end(self._last("train", batch), logs)

    def on_test_batch_begin(self, batch, logs=None):
        """Pass on the number of the block's first step."""
        super().on_test_batch_begin(self._first("test", batch), logs)
        self._begin("test", batch)

    def on_test_batch_end(self, batch, logs=None):
        """Pass on the number of the block's last step."""
        super().on_test_batch_end(self._last("test", batch), logs)

    def on_predict_batch_begin(self, batch, logs=None):
        """Pass on the number of the block's first step."""
        super().on_predict_batch_begin(self._first("predict", batch), logs)
        self._begin("predict", batch)

    def on_predict_batch_end(self, batch, logs=None):
        """Pass on the number of the block's last step."""
        super().on_predict_batch_end(self._last("predict", batch), logs)
