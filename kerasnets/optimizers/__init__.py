"""PyTorch's update rules as Keras optimizers.

Each class has the formula, the defaults and the meanings of the class of that name in ``torch.optim``, with Keras's
argument names (``learning_rate`` for ``lr``, ``beta_1`` and ``beta_2`` for ``betas``, ``epsilon`` for ``eps``, ``rho``
for ``alpha``).

>>> from kerasnets import schedules
>>> from kerasnets.optimizers import SGD, AdamW, no_weight_decay
>>> optimizer = SGD(0.01, momentum=0.9)  # for model.compile(optimizer=optimizer, …)
>>> optimizer = AdamW(1e-3, weight_decay=0.05, param_groups=no_weight_decay())  # none on biases and batch norm
>>> optimizer = SGD(schedules.OneCycleLR(0.1, total_steps=4690), momentum=0.9)  # moves the momentum, too

Arguments of all of them:

- ``learning_rate``: γ ≥ 0, a schedule of :mod:`kerasnets.schedules` or of Keras, or a function without arguments.
- ``weight_decay``: λ ≥ 0. It adds λ·θ to the gradient (except in AdamW and Muon), unlike the one of Keras's base class.
- ``maximize``: maximize instead of minimize.
- ``param_groups``: settings for some of the variables: a list of ``{"params": regex, "learning_rate": …,
  "weight_decay": …}``. The regular expression is searched in the variable's path, such as ``"conv1/bias"``. (Begin it
  with ``(^|/)``, not with ``^``: the path may start with the model's name.) The first matching entry applies, and what
  it leaves out is the optimizer's. A group's rate follows the schedule from its own base; setting
  ``optimizer.learning_rate`` changes it by the same ratio.
- ``clip_grad_norm``: the maximum global gradient norm, as in ``torch.nn.utils.clip_grad_norm_``: all gradients are
  multiplied by min(1, clip_grad_norm/(‖g‖₂ + 1e-6)).
- ``clip_grad_value``: the maximum absolute value of a gradient's components, as in ``clip_grad_value_``. Keras's
  ``clipnorm``, ``clipvalue`` and ``global_clipnorm`` keep Keras's meanings. Only one of the five can be used.
- Keras's own: ``use_ema``, ``ema_momentum``, ``ema_overwrite_frequency``, ``loss_scale_factor``,
  ``gradient_accumulation_steps`` (a schedule counts batches, not updates), ``name``.

Numbers that may change during training (the learning rate, momentum, β₁, β₂) are variables of Keras's float type, part
of the compiled step and of the ``.keras`` file. Call ``keras.config.set_floatx("float64")`` before making the optimizer
to have float64 throughout.

To add a rule, subclass :class:`Optimizer` in a file of its own; nothing else needs to change.
"""

from kerasnets.optimizers.adadelta import Adadelta
from kerasnets.optimizers.adagrad import Adagrad
from kerasnets.optimizers.adam import Adam, AdamW
from kerasnets.optimizers.adamax import Adamax
from kerasnets.optimizers.base import Optimizer
from kerasnets.optimizers.groups import no_weight_decay
from kerasnets.optimizers.muon import Muon
from kerasnets.optimizers.nadam import NAdam
from kerasnets.optimizers.radam import RAdam
from kerasnets.optimizers.rmsprop import RMSprop
from kerasnets.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "no_weight_decay",
]


def __dir__() -> list[str]:
    return __all__
