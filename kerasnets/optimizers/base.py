"""What the optimizers share: argument checks, parameter groups, clipping, and momentum that a schedule moves."""

import dataclasses
import numbers
import re

import keras
from keras import ops

from kerasnets import schedules
from kerasnets._internal.arguments import check_number

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


def no_weight_decay(params: str = r"(^|/)(bias|gamma|beta)$") -> list[dict]:
    """Parameter groups without weight decay on the biases and the scales and shifts of normalisation layers.

    Args:
        params: regular expression of the variables to leave alone.

    Returns:
        A list for an optimizer's ``param_groups``; entries of your own go before it.
    """
    return [{"params": params, "weight_decay": 0.0}]


def as_given(variable, given: float) -> float:
    """The scalar `variable` as the shortest Python float: `given` itself while it still holds that."""
    current = ops.convert_to_numpy(variable)[()]
    return given if current == current.dtype.type(given) else float(str(current))


@dataclasses.dataclass(frozen=True)
class Group:
    """One entry of ``param_groups``; None stands for the optimizer's own value."""

    params: str
    learning_rate: float | None = None
    weight_decay: float | None = None

    @classmethod
    def of(cls, entry) -> "Group":
        fields = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(entry, dict) or "params" not in entry or not set(entry) <= set(fields):
            raise ValueError(f"Invalid entry of param_groups: {entry!r}; expected a dict of {', '.join(fields)}.")
        try:
            re.compile(entry["params"])
        except (re.error, TypeError) as error:
            raise ValueError(f"Invalid params in {entry!r}; expected a regular expression ({error}).") from None
        given = {key: check_number(key, entry[key]) for key in fields[1:] if entry.get(key) is not None}
        return cls(entry["params"], **given)

    def to_dict(self, ratio: float = 1.0) -> dict:
        entry = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        if "learning_rate" in entry:
            entry["learning_rate"] *= ratio
        return entry


class Optimizer(keras.optimizers.Optimizer):
    """What the rules share: checks, parameter groups, clipping, momentum that a schedule moves, configuration."""

    #: Name of the property that a OneCycleLR moves, if the rule has one.
    _cycled: str | None = None
    #: Whether the weight decay acts on the variable and not on the gradient.
    _decoupled = False

    def __init__(
        self, learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, keras_arguments
    ):
        for name in sorted(set(keras_arguments) - _KERAS_ARGUMENTS):
            hint = f"; it is called {_PYTORCH_NAMES[name]} here" if name in _PYTORCH_NAMES else ""
            raise TypeError(f"{type(self).__name__} has no argument {name!r}{hint}.")
        if not callable(learning_rate):
            learning_rate = check_number("learning_rate", learning_rate)
        super().__init__(learning_rate, weight_decay=check_number("weight_decay", weight_decay), **keras_arguments)
        self._base_learning_rate = learning_rate if isinstance(learning_rate, float) else None
        self._groups = tuple(Group.of(entry) for entry in param_groups or ())
        self._check_learning_rate(learning_rate)
        self.maximize = bool(maximize)
        for name, value in (("clip_grad_norm", clip_grad_norm), ("clip_grad_value", clip_grad_value)):
            setattr(self, name, None if value is None else check_number(name, value))
        clips = ("clip_grad_norm", "clip_grad_value", "clipnorm", "clipvalue", "global_clipnorm")
        given = {name: getattr(self, name) for name in clips if getattr(self, name) is not None}
        if len(given) > 1:
            raise ValueError(f"Only one way of clipping can be used; got {given}.")

    # Learning rate, momentum, groups

    @property
    def learning_rate(self):
        """The current learning rate: the variable, or the schedule's value at this iteration."""
        return super().learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        if not callable(value) and isinstance(value, numbers.Real):
            value = check_number("learning_rate", value)
        self._check_learning_rate(value)
        keras.optimizers.Optimizer.learning_rate.fset(self, value)

    def _check_learning_rate(self, learning_rate):
        """Raise where a schedule asks for what this optimizer lacks, or a group's rate has nothing to follow."""
        if moves_momentum(learning_rate) and self._cycled is None:
            raise ValueError(
                f"{type(learning_rate).__name__} moves the momentum or beta_1, and {type(self).__name__} has neither; "
                "expected cycle_momentum=False."
            )
        if any(group.learning_rate is not None for group in self._groups):
            if callable(learning_rate) and not isinstance(learning_rate, schedules.LRSchedule):
                raise ValueError(
                    "Groups with their own learning_rate follow a number or a schedule of kerasnets.schedules; got "
                    f"learning_rate={learning_rate!r}."
                )
            if self._base_learning_rate == 0.0 and not callable(learning_rate):
                raise ValueError("Groups with their own learning_rate need an optimizer's learning_rate > 0; got 0.")

    def _add_scalar(self, name: str, value: float):
        """A variable of this optimizer that holds one number in Keras's float type."""
        with keras.name_scope(self.name):
            variable = keras.Variable(
                value,
                dtype=keras.config.floatx(),
                trainable=False,
                aggregation="only_first_replica",
                name=name,
            )
        self._track_variable(variable)
        return variable

    def _scheduled(self, name: str):
        """The schedule's value for the property `name` at this iteration, or None where no schedule moves it."""
        if name == self._cycled and moves_momentum(self._learning_rate):
            return self._learning_rate.momentum(self._iterations)
        return None

    def _check_settable(self, name: str):
        if name == self._cycled and moves_momentum(self._learning_rate):
            raise TypeError(f"{name} can't be set: {type(self._learning_rate).__name__} moves it.")

    def _move(self, value):
        """Set the variable behind the property that a schedule moves."""
        raise NotImplementedError

    def learning_rate_of(self, variable, learning_rate=None):
        """The rate that `variable` is updated with, a scalar tensor: its group's, or the optimizer's.

        Args:
            variable: a variable that the optimizer was built with.
            learning_rate: the optimizer's current rate, where it is already known.
        """
        rate = self.learning_rate if learning_rate is None else learning_rate
        group = self._group(variable)
        if group is None or group.learning_rate is None:
            return rate
        if isinstance(self._learning_rate, schedules.LRSchedule):
            return self._learning_rate.rebase(group.learning_rate)(self._iterations)
        return ops.convert_to_tensor(rate) * (group.learning_rate / self._base_learning_rate)

    def weight_decay_of(self, variable) -> float:
        """The weight decay of `variable`: its group's, or the optimizer's, or 0 where Keras's exclusion names it."""
        group = self._group(variable)
        if self._excluded[self._get_variable_index(variable)]:
            return 0.0
        return self.weight_decay if group is None or group.weight_decay is None else group.weight_decay

    def _group(self, variable) -> Group | None:
        return self._group_of[self._get_variable_index(variable)]

    def build(self, variables):
        """Create the state for `variables`; raises ValueError for an entry of ``param_groups`` that matches none."""
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
        self._state = {
            name: self.add_optimizer_variables(variables, name, initializer=self._begin) for name in self._state_names()
        }

    def _state_names(self) -> list[str]:
        """PyTorch's names of the tensors that the rule keeps for each variable, in the order of the file."""
        raise NotImplementedError

    def _begin(self, shape, dtype=None):
        """The state before the first step."""
        return ops.zeros(shape, dtype)

    def state_of(self, variable) -> dict:
        """The state kept for `variable`: PyTorch's name (``"exp_avg"``) → a variable of the same shape."""
        index = self._get_variable_index(variable)
        return {name: variables[index] for name, variables in self._state.items()}

    # The step

    def _apply_weight_decay(self, variables):
        """Nothing: PyTorch's weight decay is part of the update rule."""

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
        if self._cycled is not None and (value := self._scheduled(self._cycled)) is not None:
            self._move(value)
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _start(self, gradient, variable, learning_rate):
        """The value, gradient (with its weight decay) and learning rate of `variable`, in its dtype."""
        dtype = variable.dtype
        value = ops.convert_to_tensor(variable)
        gradient = ops.cast(dense(gradient), dtype)
        if self.maximize:
            gradient = -gradient
        rate = ops.cast(self.learning_rate_of(variable, learning_rate), dtype)
        if decay := self.weight_decay_of(variable):
            if self._decoupled:
                value = value * (1.0 - rate * decay)
            else:
                gradient = gradient + value * decay
        return value, gradient, rate

    # Configuration

    def get_config(self):
        """The arguments of the constructor, as plain Python values, with the current learning rate."""
        config = super().get_config()
        ratio = 1.0
        if self._base_learning_rate is not None and not callable(self._learning_rate):
            rate = as_given(self._learning_rate, self._base_learning_rate)
            if any(group.learning_rate is not None for group in self._groups):
                # Groups keep their ratio; from 0 there is none, and the rate is in the saved variables.
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


def dense(gradient):
    """`gradient` as a tensor; TensorFlow gives an embedding's as slices of rows, where a row can come twice."""
    sliced = hasattr(gradient, "dense_shape")
    return ops.add(gradient, ops.zeros((), gradient.dtype)) if sliced else ops.convert_to_tensor(gradient)


def at_least_float32(dtype) -> str:
    """`dtype`, or float32 where it has 16 bits."""
    dtype = keras.backend.standardize_dtype(dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def moves_momentum(learning_rate) -> bool:
    """Whether a learning rate is a schedule that moves the momentum or beta_1 as well."""
    return isinstance(learning_rate, schedules.LRSchedule) and learning_rate.cycle_momentum


class MomentumOptimizer(Optimizer):
    """A rule with a buffer that exists if momentum isn't 0 from the start, or a schedule moves it."""

    _cycled = "momentum"

    def _add_momentum(self, momentum):
        self._given_momentum = momentum
        self._momentum = self._add_scalar("momentum", momentum)
        self._has_buffers = momentum != 0.0 or moves_momentum(self._learning_rate)

    def _check_learning_rate(self, learning_rate):
        super()._check_learning_rate(learning_rate)
        if moves_momentum(learning_rate) and not getattr(self, "_has_buffers", True):
            raise ValueError(
                f"{type(learning_rate).__name__} moves the momentum, and this {type(self).__name__} was made with "
                "momentum=0: it has no momentum buffers."
            )

    @property
    def momentum(self):
        """The momentum μ: a variable, or the schedule's value at this iteration.

        It can be set to another value > 0, where it was not 0 at construction. (In PyTorch 0 would freeze the buffers.)
        """
        scheduled = self._scheduled("momentum")
        return self._momentum if scheduled is None else scheduled

    @momentum.setter
    def momentum(self, value):
        self._check_settable("momentum")
        value = check_number("momentum", value)
        if (value != 0.0) != self._has_buffers:
            was = "not 0" if self._has_buffers else "0"
            raise ValueError(
                f"Invalid momentum: {value!r}; it was {was} when the optimizer was made, which decides whether there "
                "are momentum buffers."
            )
        self._momentum.assign(value)

    def _move(self, value):
        self._momentum.assign(value)

    def get_config(self):
        given = self._given_momentum
        moved = moves_momentum(self._learning_rate)
        return {**super().get_config(), "momentum": given if moved else as_given(self._momentum, given)}
