"""Schedules by a function of the user's own, whose values are kept in a table."""

import itertools
from collections.abc import Callable, Sequence

import keras
from keras import ops

from kerasnets._internal.arguments import check_integer, check_number
from kerasnets.schedules.base import LRSchedule


class _Table(LRSchedule):
    """Base class: calls the function in advance; a subclass says what its values are."""

    #: The first epoch that the function is called for.
    first = 0

    def __init__(
        self,
        learning_rate: float,
        lr_lambda: Callable[[int], float] | Sequence[float],
        epochs: int | None = None,
        steps_per_epoch: int = 1,
    ):
        super().__init__(learning_rate, steps_per_epoch)
        name = type(self).__name__
        if callable(lr_lambda):
            if epochs is None:
                raise ValueError(f"{name} needs epochs=…: the number of epochs to call lr_lambda for.")
            called = range(self.first, check_integer("epochs", epochs))
            self.factors = [check_number(f"lr_lambda({t})", lr_lambda(t)) for t in called]
        else:
            self.factors = [check_number(f"factor {t} of lr_lambda", factor) for t, factor in enumerate(lr_lambda)]
            count = len(self.factors) + self.first
            if count == 0 or (epochs is not None and epochs != count):
                wanted = epochs - self.first if epochs else "at least 1"
                raise ValueError(f"lr_lambda has {len(self.factors)} factors; expected {wanted}.")

    def rates(self) -> list[float]:
        """Return the learning rates of the epochs from 0."""
        raise NotImplementedError

    def rate(self, epoch):
        rates = self.rates()
        table = ops.convert_to_tensor(rates, keras.config.floatx())
        return ops.take(table, ops.minimum(epoch, len(rates) - 1))

    def get_config(self):
        return {**super().get_config(), "lr_lambda": self.factors}


@keras.saving.register_keras_serializable(package="kerasnets")
class LambdaLR(_Table):
    """Multiply the base rate by a function of the epoch: ηₜ = η₀·λ(t) (``torch.optim.lr_scheduler.LambdaLR``).

    The function is called in advance for the epochs 0 … `epochs` − 1, and its values are kept, so that the schedule can
    be compiled and saved. Later epochs have the last value.

    Args:
        learning_rate: η₀.
        lr_lambda: λ, a function of the epoch (an int), or a sequence of its values.
        epochs: the number of epochs to call `lr_lambda` for (epochs of `steps_per_epoch` optimizer steps).
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range, or a factor is negative or not finite.

    Examples:
        >>> schedule = kerasnets.schedules.LambdaLR(0.1, lambda epoch: 1 / (1 + epoch), epochs=4)
        >>> [round(float(schedule(step)), 4) for step in range(4)]
        [0.1, 0.05, 0.0333, 0.025]
    """

    def rates(self):
        return [self.learning_rate * factor for factor in self.factors]


@keras.saving.register_keras_serializable(package="kerasnets")
class MultiplicativeLR(_Table):
    """Multiply the rate by a function of the epoch, each time: ηₜ = ηₜ₋₁·λ(t) (``lr_scheduler.MultiplicativeLR``).

    The function is called in advance for the epochs 1 … `epochs` − 1, and its values are kept, so that the schedule can
    be compiled and saved. Later epochs have the last rate.

    Args:
        learning_rate: η₀.
        lr_lambda: λ, a function of the epoch (an int, from 1), or a sequence of its values.
        epochs: the number of epochs that are to differ (of `steps_per_epoch` optimizer steps).
        steps_per_epoch: optimizer steps per ``scheduler.step()``.

    Raises:
        ValueError: an argument is out of range, or a factor is negative or not finite.

    Examples:
        >>> schedule = kerasnets.schedules.MultiplicativeLR(0.4, lambda epoch: 0.5, epochs=3)
        >>> [round(float(schedule(step)), 4) for step in range(3)]
        [0.4, 0.2, 0.1]
    """

    first = 1

    def rates(self):
        return list(itertools.accumulate(self.factors, float.__mul__, initial=self.learning_rate))
