"""What the optimizers share: argument checks, parameter groups, clipping, and momentum that a schedule moves.

The optimizers' reaches into Keras's private parts are all here: the attribute behind the learning rate, and the three
methods of Keras's optimizer that are overridden (a test checks that Keras still calls them on every backend).
"""

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import keras
from keras import ops

from kerasnets._internal.arguments import check_number, is_real
from kerasnets._internal.arrays import to_numpy
from kerasnets._internal.show import as_call
from kerasnets.optimizers.groups import Group
from kerasnets.schedules.base import LRSchedule

#: What an optimizer takes as its learning rate.
LearningRate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule | Callable[[], Any]

_KERAS_ARGUMENTS = {
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
    "name",
}
_PYTORCH_NAMES = {"lr": "learning_rate", "betas": "beta_1 and beta_2", "eps": "epsilon", "alpha": "rho"}
#: The settings that all of PyTorch's optimizers share, besides ``lr``; see ``Optimizer.torch_settings``.
_COMMON_SETTINGS = {"weight_decay": "weight_decay", "maximize": "maximize"}


def as_given(variable, given: float) -> float:
    """Return the scalar `variable` as a short Python float: `given` if it still holds that value."""
    current = to_numpy(variable)[()]
    return given if current == current.dtype.type(given) else float(str(current))


class Optimizer(keras.optimizers.Optimizer):
    """Base class of the optimizers; each subclass is one update rule of ``torch.optim``.

    A subclass defines `state_names`, `update_step` and `get_config`, and the class attribute `torch_settings` if
    ``kerasnets.optimizer_state_dict`` should serve it. ``kerasnets/optimizers/adagrad.py`` is a short example.

    Args:
        learning_rate: γ ≥ 0, a schedule, or a function without arguments.
        weight_decay: λ ≥ 0.
        maximize: maximize instead of minimize.
        param_groups: settings for some of the variables, see :mod:`kerasnets.optimizers`.
        clip_grad_norm: maximum global gradient norm.
        clip_grad_value: maximum absolute value of a gradient's components.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    Raises:
        ValueError: an argument is out of range.
        TypeError: an argument is unknown.

    Examples:
        >>> class SignSGD(kerasnets.optimizers.Optimizer):
        ...     state_names = ()
        ...
        ...     def update_step(self, gradient, variable, learning_rate):
        ...         value, gradient, rate = self.prepare(gradient, variable, learning_rate)
        ...         self.assign(variable, value - rate * keras.ops.sign(gradient))
        >>> variable = keras.Variable([1.0])
        >>> SignSGD(0.25).apply([keras.ops.array([2.0])], [variable])
        >>> float(variable.numpy()[0])
        0.75
    """

    #: PyTorch's names of the rule's own settings → the names here, as arguments or attributes (several for a tuple).
    #: ``lr``, ``weight_decay`` and ``maximize`` are left out. Not inherited: a subclass may have another rule.
    torch_settings: ClassVar[Mapping[str, str | tuple[str, ...]]]
    #: Whether the PyTorch optimizer keeps the number of steps, as ``step`` in the state of every parameter.
    torch_counts_steps: ClassVar[bool] = True
    #: Whether the PyTorch optimizer creates its state before the first step.
    torch_state_at_start: ClassVar[bool] = False
    #: The argument that a schedule such as OneCycleLR moves, if the rule has one (momentum or beta_1).
    cycled: ClassVar[str | None] = None
    #: Whether weight decay shrinks the variable (AdamW) instead of being added to the gradient.
    decoupled_weight_decay: bool = False

    def __init__(
        self,
        learning_rate: LearningRate,
        weight_decay: float = 0.0,
        maximize: bool = False,
        param_groups: list[dict[str, Any]] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs: Any,
    ):
        for name in sorted(set(kwargs) - _KERAS_ARGUMENTS):
            hint = f"; it is called {_PYTORCH_NAMES[name]} here" if name in _PYTORCH_NAMES else ""
            raise TypeError(f"{type(self).__name__} has no argument {name!r}{hint}.")
        if not callable(learning_rate):
            learning_rate = check_number("learning_rate", learning_rate)
        super().__init__(learning_rate, weight_decay=check_number("weight_decay", weight_decay), **kwargs)
        self._base_learning_rate = learning_rate if isinstance(learning_rate, float) else None
        self._groups = tuple(Group.from_dict(entry) for entry in param_groups or ())
        self._excluded: tuple[bool, ...] = ()
        self._check_learning_rate(learning_rate)
        self.maximize = bool(maximize)
        for name, value in (("clip_grad_norm", clip_grad_norm), ("clip_grad_value", clip_grad_value)):
            setattr(self, name, None if value is None else check_number(name, value))
        clips = ("clip_grad_norm", "clip_grad_value", "clipnorm", "clipvalue", "global_clipnorm")
        given = {name: getattr(self, name) for name in clips if getattr(self, name) is not None}
        if len(given) > 1:
            raise ValueError(f"Only one way of clipping can be used; got {given}.")

    def __repr__(self):
        source = self.learning_rate_source
        rate = {"learning_rate": source} if callable(source) else {}
        with warnings.catch_warnings(action="ignore"):  # that a lambda can't be saved safely
            return as_call(self, {**self.get_config(), **rate})

    # Learning rate and schedule

    @property
    def learning_rate(self):
        """The current learning rate, which is a variable, or the schedule's value at this iteration."""
        return super().learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        if not callable(value) and is_real(value):
            value = check_number("learning_rate", value)
        self._check_learning_rate(value)
        keras.optimizers.Optimizer.learning_rate.fset(self, value)

    @property
    def learning_rate_source(self):
        """The source of the learning rate (variable, schedule or function), for which Keras has no public name."""
        return self._learning_rate

    @property
    def schedule(self) -> LRSchedule | None:
        """The schedule of :mod:`kerasnets.schedules` that the learning rate follows, if it follows one."""
        source = self.learning_rate_source
        return source if isinstance(source, LRSchedule) else None

    @property
    def is_momentum_scheduled(self) -> bool:
        """Whether the schedule moves `cycled` (momentum or beta_1), too."""
        return moves_momentum(self.learning_rate_source)

    def _check_learning_rate(self, learning_rate: Any) -> None:
        """Raise ValueError if a schedule moves what this rule lacks, or group rates have nothing to follow."""
        if moves_momentum(learning_rate) and self.cycled is None:
            raise ValueError(
                f"{type(learning_rate).__name__} moves the momentum or beta_1, and {type(self).__name__} has neither; "
                "expected cycle_momentum=False."
            )
        if any(group.learning_rate is not None for group in self._groups):
            if callable(learning_rate) and not isinstance(learning_rate, LRSchedule):
                raise ValueError(
                    "Groups with their own learning_rate follow a number or a schedule of kerasnets.schedules; got "
                    f"learning_rate={learning_rate!r}."
                )
            if self._base_learning_rate == 0.0 and not callable(learning_rate):
                raise ValueError("Groups with their own learning_rate need an optimizer's learning_rate > 0; got 0.")

    # What a schedule moves

    def add_scalar(self, name: str, value: float) -> keras.Variable:
        """Add a variable that holds one number in Keras's float type."""
        # Not keras.initializers.Constant, which rounds to float32 on TensorFlow.
        return self.add_variable(
            (),
            initializer=lambda shape, dtype: ops.full(shape, value, dtype),
            dtype=keras.config.floatx(),
            aggregation="only_first_replica",
            name=name,
        )

    def scheduled_value(self):
        """The schedule's value for `cycled` at this iteration; None if no schedule moves it."""
        schedule = self.schedule
        return schedule.momentum(self._iterations) if schedule is not None and self.is_momentum_scheduled else None

    def check_not_scheduled(self) -> None:
        """Raise TypeError if a schedule moves `cycled`, which then can't be set."""
        if self.is_momentum_scheduled:
            raise TypeError(f"{self.cycled} can't be set: {type(self.schedule).__name__} moves it.")

    def set_scheduled_value(self, value) -> None:
        """Set the variable behind `cycled`; called before each step with what the schedule says."""
        raise NotImplementedError(f"{type(self).__name__} must implement set_scheduled_value(value).")

    # Variables and groups

    def build(self, variables) -> None:
        """Create the state of `variables`; raises ValueError if an entry of ``param_groups`` matches none of them."""
        if self.built:
            return
        paths = [getattr(variable, "path", variable.name) for variable in variables]
        found = [next((group for group in self._groups if re.search(group.params, path)), None) for path in paths]
        for group in self._groups:
            if group not in found:
                raise ValueError(
                    f"The entry {group.to_dict()} of param_groups matches no variable that an earlier entry doesn't "
                    f"take. The variables are: {', '.join(paths)}."
                )
        self._group_of = tuple(found)
        super().build(variables)
        self._excluded = tuple(not self._use_weight_decay(variable) for variable in variables)
        self._state = {name: self.create_state(name, variables) for name in self.state_names}

    @property
    def state_names(self) -> list[str]:
        """PyTorch's names of the tensors kept for each variable, in the order in which they are saved."""
        raise NotImplementedError(f"{type(self).__name__} must define state_names.")

    def create_state(self, name: str, variables) -> list[keras.Variable]:
        """Create the state called `name`: one variable for each of `variables`, by default of the same shape."""
        return self.add_optimizer_variables(variables, name, initializer=self.initial_state)

    def initial_state(self, shape, dtype=None):
        """Return the value of a state tensor before the first step."""
        return ops.zeros(shape, dtype)

    def first_value(self, name: str, slot: keras.Variable):
        """Return the value that the state `slot`, called `name`, has before the first step."""
        return self.initial_state(slot.shape, slot.dtype)

    def is_built_for(self, variable) -> bool:
        """Whether `variable` is one of those that the optimizer was built with."""
        return any(variable is known for known in self._trainable_variables)

    def state_of(self, variable) -> dict[str, keras.Variable]:
        """Return the state kept for `variable`: PyTorch's name (``"exp_avg"``) → a variable of the same shape."""
        index = self._get_variable_index(variable)
        return {name: variables[index] for name, variables in self._state.items()}

    def group_of(self, variable) -> Group | None:
        """Return the entry of ``param_groups`` that applies to `variable`."""
        return self._group_of[self._get_variable_index(variable)]

    @property
    def is_uniform(self) -> bool:
        """Whether all variables have the same learning rate and weight decay."""
        return not self._groups and not any(self._excluded)

    def schedule_of(self, variable) -> LRSchedule | None:
        """Return the schedule for `variable`, which starts from its group's base rate; None without a schedule."""
        schedule, group = self.schedule, self.group_of(variable)
        if schedule is None or group is None or group.learning_rate is None:
            return schedule
        return schedule.rebase(group.learning_rate)

    def learning_rate_of(self, variable, learning_rate=None):
        """Return the rate for `variable`, a scalar tensor: its group's, or the optimizer's.

        Args:
            variable: a variable that the optimizer was built with.
            learning_rate: the optimizer's current rate, if it is already known.
        """
        rate = self.learning_rate if learning_rate is None else learning_rate
        group = self.group_of(variable)
        if group is None or group.learning_rate is None:
            return rate
        if (schedule := self.schedule_of(variable)) is not None:
            return schedule(self._iterations)
        assert self._base_learning_rate is not None  # _check_learning_rate: a number where there is no schedule
        return ops.convert_to_tensor(rate) * (group.learning_rate / self._base_learning_rate)

    def weight_decay_of(self, variable) -> float:
        """Return the weight decay of `variable`: its group's, the optimizer's, or 0 if Keras's exclusion names it."""
        group = self.group_of(variable)
        if self._excluded[self._get_variable_index(variable)]:
            return 0.0
        own = None if group is None else group.weight_decay
        return (self.weight_decay if own is None else own) or 0.0

    # The step

    def _apply_weight_decay(self, variables):
        """Do nothing: PyTorch's weight decay is part of the update rule."""

    def _clip_gradients(self, grads):
        if self.clip_grad_norm is None and self.clip_grad_value is None:
            return super()._clip_gradients(grads)
        # Written with where: Keras's minimum, maximum and clip may return float32 for float64.
        grads = [dense(g) for g in grads]
        if self.clip_grad_norm is not None:
            # Squares of 16-bit gradients are summed in float32, as PyTorch's norm does it.
            norm = ops.sqrt(sum(ops.sum(ops.square(ops.cast(g, at_least_float32(g.dtype)))) for g in grads))
            scale = self.clip_grad_norm / (norm + 1e-6)
            scale = ops.where(scale > 1.0, ops.ones_like(scale), scale)
            return [g * ops.cast(scale, g.dtype) for g in grads]
        high = [ops.full_like(g, self.clip_grad_value) for g in grads]
        grads = [ops.where(g > bound, bound, g) for g, bound in zip(grads, high, strict=True)]
        return [ops.where(g < -bound, -bound, g) for g, bound in zip(grads, high, strict=True)]

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if (value := self.scheduled_value()) is not None:
            self.set_scheduled_value(value)
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def prepare(self, gradient, variable, learning_rate):
        """Return the value, the gradient and the learning rate of `variable` in its dtype, with weight decay applied.

        An `update_step` begins with it.
        """
        dtype = variable.dtype
        value = ops.convert_to_tensor(variable)
        gradient = ops.cast(dense(gradient), dtype)
        if self.maximize:
            gradient = -gradient
        rate = ops.cast(self.learning_rate_of(variable, learning_rate), dtype)
        if decay := self.weight_decay_of(variable):
            if self.decoupled_weight_decay:
                value = value * (1.0 - rate * decay)
            else:
                gradient = gradient + value * decay
        return value, gradient, rate

    # Configuration

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor as plain Python values, with the current learning rate."""
        config = super().get_config()
        ratio = 1.0
        if self._base_learning_rate is not None and not callable(self.learning_rate_source):
            rate = as_given(self.learning_rate_source, self._base_learning_rate)
            if any(group.learning_rate is not None for group in self._groups):
                # At rate 0 the groups' ratio would be lost; the rate itself is in the saved variables.
                rate = rate or self._base_learning_rate
                ratio = rate / self._base_learning_rate
            config["learning_rate"] = rate
        config.update(
            maximize=self.maximize,
            param_groups=[group.to_dict(ratio) for group in self._groups] or None,
            clip_grad_norm=self.clip_grad_norm,
            clip_grad_value=self.clip_grad_value,
        )
        return config

    def get_torch_settings(self, cycled: float | None = None) -> dict[str, Any]:
        """Return the settings that a parameter group of the PyTorch optimizer has, without ``lr``.

        Args:
            cycled: the value that the schedule has for `cycled` (momentum or beta_1), instead of the initial one.
        """
        config = {**self.get_config(), "weight_decay": self.weight_decay or 0.0}
        if cycled is not None and self.cycled is not None:
            config[self.cycled] = cycled

        def value_of(key):
            if isinstance(key, tuple):
                return tuple(value_of(part) for part in key)
            return config[key] if key in config else getattr(self, key)

        return {name: value_of(key) for name, key in {**self.torch_settings, **_COMMON_SETTINGS}.items()}


def dense(gradient):
    """Return `gradient` as a tensor; TensorFlow gives an embedding's as slices of rows, which may repeat."""
    sliced = hasattr(gradient, "dense_shape")
    return ops.add(gradient, ops.zeros((), gradient.dtype)) if sliced else ops.convert_to_tensor(gradient)


def at_least_float32(dtype) -> str:
    """Return `dtype`, or float32 if it has 16 bits."""
    dtype = keras.backend.standardize_dtype(dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def moves_momentum(learning_rate: Any) -> bool:
    """Whether a learning rate is a schedule that also moves the momentum or beta_1."""
    return isinstance(learning_rate, LRSchedule) and learning_rate.cycle_momentum
