"""PyTorch's update rules as Keras optimizers.

Each class has the formula, the defaults and the meanings of its namesake in ``torch.optim``, under Keras's argument
names (``learning_rate`` for ``lr``, ``beta_1`` and ``beta_2`` for ``betas``, ``epsilon`` for ``eps``, ``rho`` for
``alpha``).

>>> model.compile(optimizer=SGD(0.01, momentum=0.9), loss=…)
>>> AdamW(1e-3, weight_decay=0.05, param_groups=no_weight_decay())         # none on biases and batch norm
>>> SGD(schedules.OneCycleLR(0.1, total_steps=4690), momentum=0.9)         # moves the momentum, too

Arguments that all of them take:

- ``learning_rate``: γ ≥ 0, a schedule of :mod:`kerasnets.schedules` or of Keras, or a callable without arguments.
- ``weight_decay``: λ ≥ 0. Added to the gradient as λ·θ (AdamW: see there), not what Keras's base class does with it.
- ``maximize``: whether to climb, not to descend.
- ``param_groups``: settings for some of the variables: a list of ``{"params": regex, "learning_rate": …,
  "weight_decay": …}``. The regular expression is searched in the variable's path, such as ``"conv1/bias"`` (begin it
  with ``(^|/)``, not with ``^``: Keras puts the model's name before the path, or not); the first entry that matches
  counts, and what an entry leaves out is the optimizer's. A group's rate follows the schedule from its own base; when
  ``optimizer.learning_rate`` is set, it moves by the same ratio.
- ``clip_grad_norm``: all gradients times min(1, clip_grad_norm/(‖g‖₂ + 1e-6)), as ``torch.nn.utils.clip_grad_norm_``
  does; ``clip_grad_value``: every component into ± that, as ``clip_grad_value_`` does. Keras's ``clipnorm``,
  ``clipvalue``, ``global_clipnorm`` keep Keras's meanings; one of the five at most.
- Keras's own: ``use_ema``, ``ema_momentum``, ``ema_overwrite_frequency``, ``loss_scale_factor``,
  ``gradient_accumulation_steps`` (a schedule counts batches, not updates), ``name``.

Numbers that may change while training (the learning rate, momentum, β₁, β₂) are variables of Keras's float type, part
of the compiled step and of the ``.keras`` file: ``keras.config.set_floatx("float64")`` before the optimizer is made
gives float64 throughout.
"""

from kerasnets.optimizers.adadelta import Adadelta
from kerasnets.optimizers.adagrad import Adagrad
from kerasnets.optimizers.adam import Adam, AdamW
from kerasnets.optimizers.base import no_weight_decay
from kerasnets.optimizers.rmsprop import RMSprop
from kerasnets.optimizers.sgd import SGD

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "RMSprop", "no_weight_decay"]
