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

# ruff: noqa: D102 (a method that overrides one is documented there)

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


def _plain(variable, given: float) -> float:
    """The scalar `variable` as the shortest Python float: `given` itself while it still holds that."""
    current = ops.convert_to_numpy(variable)[()]
    return given if current == current.dtype.type(given) else float(str(current))


@dataclasses.dataclass(frozen=True)
class _Group:
    """One entry of ``param_groups``; None stands for the optimizer's own value."""

    params: str
    learning_rate: float | None = None
    weight_decay: float | None = None

    @classmethod
    def of(cls, entry) -> "_Group":
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


class _Optimizer(keras.optimizers.Optimizer):
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
        self._groups = tuple(_Group.of(entry) for entry in param_groups or ())
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
        if _moves_momentum(learning_rate) and self._cycled is None:
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
        if name == self._cycled and _moves_momentum(self._learning_rate):
            return self._learning_rate.momentum(self._iterations)
        return None

    def _check_settable(self, name: str):
        if name == self._cycled and _moves_momentum(self._learning_rate):
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

    def _group(self, variable) -> _Group | None:
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
        grads = [_dense(g) for g in grads]
        if self.clip_grad_norm is not None:
            # Squares of 16-bit gradients are summed in float32, as PyTorch's norm does it.
            norm = ops.sqrt(sum(ops.sum(ops.square(ops.cast(g, _at_least_float32(g.dtype)))) for g in grads))
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
        gradient = ops.cast(_dense(gradient), dtype)
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
            rate = _plain(self._learning_rate, self._base_learning_rate)
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


def _dense(gradient):
    """`gradient` as a tensor; TensorFlow gives an embedding's as slices of rows, where a row can come twice."""
    sliced = hasattr(gradient, "dense_shape")
    return ops.add(gradient, ops.zeros((), gradient.dtype)) if sliced else ops.convert_to_tensor(gradient)


def _at_least_float32(dtype) -> str:
    dtype = keras.backend.standardize_dtype(dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def _moves_momentum(learning_rate) -> bool:
    return isinstance(learning_rate, schedules.LRSchedule) and learning_rate.cycle_momentum


class _MomentumOptimizer(_Optimizer):
    """A rule with a buffer that exists if momentum isn't 0 from the start, or a schedule moves it."""

    _cycled = "momentum"

    def _add_momentum(self, momentum):
        self._given_momentum = momentum
        self._momentum = self._add_scalar("momentum", momentum)
        self._has_buffers = momentum != 0.0 or _moves_momentum(self._learning_rate)

    def _check_learning_rate(self, learning_rate):
        super()._check_learning_rate(learning_rate)
        if _moves_momentum(learning_rate) and not getattr(self, "_has_buffers", True):
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
        moved = _moves_momentum(self._learning_rate)
        return {**super().get_config(), "momentum": given if moved else _plain(self._momentum, given)}


@keras.saving.register_keras_serializable(package="kerasnets")
class SGD(_MomentumOptimizer):
    """Stochastic gradient descent with momentum (``torch.optim.SGD``).

    With gradient g (and g + λθ where there is weight decay), momentum μ, dampening τ and learning rate γ::

        v ← g                     at the first step
        v ← μ·v + (1 − τ)·g       afterwards
        θ ← θ − γ·v               or θ − γ·(g + μ·v) with nesterov

    The velocity holds gradients, not steps (Keras's ``SGD``: v ← μ·v − γ·g): a changed γ acts at once on all of it.

    Args:
        learning_rate: γ.
        momentum: μ ≥ 0. Where it is 0 there is no velocity.
        dampening: τ.
        weight_decay: λ.
        nesterov: whether to look one step ahead.
        maximize: whether to climb.
        param_groups: settings for some of the variables.
        clip_grad_norm: bound of the norm of all gradients.
        clip_grad_value: bound of each component.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    Raises:
        ValueError: an argument is out of range, or Nesterov without momentum or with dampening.
        TypeError: an unknown argument.
    """

    def __init__(
        self,
        learning_rate=0.001,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
        param_groups: list[dict] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs,
    ):
        momentum = check_number("momentum", momentum)
        if not isinstance(dampening, numbers.Real):
            raise ValueError(f"Invalid dampening: {dampening!r}; expected a number.")
        if nesterov and (momentum == 0.0 or dampening != 0.0):
            raise ValueError(
                "Nesterov momentum requires a momentum and zero dampening; got "
                f"momentum={momentum!r}, dampening={dampening!r}."
            )
        super().__init__(learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, kwargs)
        self.dampening = float(dampening)
        self.nesterov = bool(nesterov)
        self._add_momentum(momentum)

    def _state_names(self):
        return ["momentum_buffer"] if self._has_buffers else []

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self._start(gradient, variable, learning_rate)
        if self._has_buffers:
            velocity = self.state_of(variable)["momentum_buffer"]
            momentum = ops.cast(self._momentum, variable.dtype)
            fresh = gradient
            if self.dampening:
                # From zero, μ·v + g is g; only dampening must be kept out of the first step.
                later = ops.cast(ops.greater(self.iterations, 0), variable.dtype)
                fresh = gradient * (1.0 - self.dampening * later)
            updated = momentum * ops.convert_to_tensor(velocity) + fresh
            self.assign(velocity, updated)
            gradient = gradient + momentum * updated if self.nesterov else updated
        self.assign(variable, value - rate * gradient)

    def get_config(self):
        return {**super().get_config(), "dampening": self.dampening, "nesterov": self.nesterov}


@keras.saving.register_keras_serializable(package="kerasnets")
class RMSprop(_MomentumOptimizer):
    """Steps over the root of a running mean of squared gradients (``torch.optim.RMSprop``).

    With gradient g (and g + λθ where there is weight decay)::

        s ← ρ·s + (1 − ρ)·g²
        d = √s + ε                or √(s − m²) + ε, m ← ρ·m + (1 − ρ)·g, if centered
        b ← μ·b + g/d             where there is momentum
        θ ← θ − γ·b               or θ − γ·g/d without

    Keras's ``RMSprop`` takes √(s + ε), and keeps steps in its momentum.

    Args:
        learning_rate: γ.
        rho: ρ, PyTorch's ``alpha``.
        epsilon: ε, outside the root.
        weight_decay: λ.
        momentum: μ ≥ 0. Where it is 0 there is no buffer.
        centered: whether to subtract the mean's square.
        maximize: whether to climb.
        param_groups: settings for some of the variables.
        clip_grad_norm: bound of the norm of all gradients.
        clip_grad_value: bound of each component.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    Raises:
        ValueError: an argument is out of range.
        TypeError: an unknown argument.
    """

    def __init__(
        self,
        learning_rate=0.01,
        rho: float = 0.99,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        maximize: bool = False,
        param_groups: list[dict] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs,
    ):
        rho, epsilon, momentum = (
            check_number("rho", rho),
            check_number("epsilon", epsilon),
            check_number("momentum", momentum),
        )
        super().__init__(learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, kwargs)
        self.rho = rho
        self.epsilon = epsilon
        self.centered = bool(centered)
        self._add_momentum(momentum)

    def _state_names(self):
        return ["square_avg"] + ["grad_avg"] * self.centered + ["momentum_buffer"] * self._has_buffers

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self._start(gradient, variable, learning_rate)
        state = self.state_of(variable)
        square_avg = state["square_avg"]
        mean = updated = ops.convert_to_tensor(square_avg) * self.rho + ops.square(gradient) * (1.0 - self.rho)
        self.assign(square_avg, updated)
        if self.centered:
            grad_avg = state["grad_avg"]
            average = ops.convert_to_tensor(grad_avg)
            average = average + (gradient - average) * (1.0 - self.rho)
            self.assign(grad_avg, average)
            mean = updated - ops.square(average)
        step = gradient / (ops.sqrt(mean) + self.epsilon)
        if self._has_buffers:
            buffer = state["momentum_buffer"]
            step = ops.cast(self._momentum, variable.dtype) * ops.convert_to_tensor(buffer) + step
            self.assign(buffer, step)
        self.assign(variable, value - rate * step)

    def get_config(self):
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon, "centered": self.centered}


@keras.saving.register_keras_serializable(package="kerasnets")
class Adam(_Optimizer):
    """Adaptive moments (``torch.optim.Adam``).

    With gradient g (and g + λθ where there is weight decay), at step t = 1, 2, …::

        m ← β₁·m + (1 − β₁)·g
        v ← β₂·v + (1 − β₂)·g²
        w = v, or the largest v so far with amsgrad
        θ ← θ − γ/(1 − β₁ᵗ)·m / (√(w/(1 − β₂ᵗ)) + ε)

    Keras's ``Adam`` adds its ε (1e-7) to √w before the bias correction, and takes a weight decay as AdamW does.

    Args:
        learning_rate: γ.
        beta_1: β₁ in [0, 1).
        beta_2: β₂ in [0, 1).
        epsilon: ε ≥ 0.
        weight_decay: λ.
        amsgrad: whether the second moment can only grow.
        maximize: whether to climb.
        param_groups: settings for some of the variables.
        clip_grad_norm: bound of the norm of all gradients.
        clip_grad_value: bound of each component.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    Raises:
        ValueError: an argument is out of range.
        TypeError: an unknown argument.
    """

    _cycled = "beta_1"

    def __init__(
        self,
        learning_rate=0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        maximize: bool = False,
        param_groups: list[dict] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs,
    ):
        beta_1, beta_2 = (
            check_number("beta_1", beta_1, below=1.0),
            check_number("beta_2", beta_2, below=1.0),
        )
        epsilon = check_number("epsilon", epsilon)
        super().__init__(learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, kwargs)
        self.epsilon = epsilon
        self.amsgrad = bool(amsgrad)
        # The variables hold 1 − β: float32 has the digits of 0.001 where it doesn't have those of 1 − 0.999.
        self._one_minus_beta_1 = self._add_scalar("one_minus_beta_1", 1.0 - beta_1)
        self._one_minus_beta_2 = self._add_scalar("one_minus_beta_2", 1.0 - beta_2)
        self._betas = (beta_1, beta_2)

    @property
    def beta_1(self):
        """β₁, a scalar tensor: what was last set, or the schedule's value at this iteration."""
        scheduled = self._scheduled("beta_1")
        return 1.0 - ops.convert_to_tensor(self._one_minus_beta_1) if scheduled is None else scheduled

    @beta_1.setter
    def beta_1(self, value):
        self._check_settable("beta_1")
        self._one_minus_beta_1.assign(1.0 - check_number("beta_1", value, below=1.0))

    @property
    def beta_2(self):
        """β₂, a scalar tensor: what was last set."""
        return 1.0 - ops.convert_to_tensor(self._one_minus_beta_2)

    @beta_2.setter
    def beta_2(self, value):
        self._one_minus_beta_2.assign(1.0 - check_number("beta_2", value, below=1.0))

    def _move(self, value):
        self._one_minus_beta_1.assign(1.0 - value)

    def _state_names(self):
        return ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * self.amsgrad

    @staticmethod
    def _plain_beta(given, one_minus_beta):
        current = _plain(one_minus_beta, 1.0 - given)
        return given if current == 1.0 - given else 1.0 - current

    def _bias_correction(self, one_minus_beta):
        """1 − βᵗ as −(exp(t·log(1 − (1 − β))) − 1), which keeps the digits of a small 1 − β."""
        step = ops.cast(self.iterations + 1, one_minus_beta.dtype)
        return -ops.expm1(step * ops.log1p(-ops.convert_to_tensor(one_minus_beta)))

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self._start(gradient, variable, learning_rate)
        state, dtype = self.state_of(variable), variable.dtype
        new_1, new_2 = ops.cast(self._one_minus_beta_1, dtype), ops.cast(self._one_minus_beta_2, dtype)
        mean, square = ops.convert_to_tensor(state["exp_avg"]), ops.convert_to_tensor(state["exp_avg_sq"])
        mean = mean + new_1 * (gradient - mean)
        square = (1.0 - new_2) * square + new_2 * ops.square(gradient)
        self.assign(state["exp_avg"], mean)
        self.assign(state["exp_avg_sq"], square)
        if self.amsgrad:
            largest = ops.convert_to_tensor(state["max_exp_avg_sq"])
            square = ops.where(largest > square, largest, square)
            self.assign(state["max_exp_avg_sq"], square)
        correction_1 = ops.cast(self._bias_correction(self._one_minus_beta_1), dtype)
        correction_2 = ops.cast(ops.sqrt(self._bias_correction(self._one_minus_beta_2)), dtype)
        self.assign(variable, value - rate / correction_1 * mean / (ops.sqrt(square) / correction_2 + self.epsilon))

    def get_config(self):
        moved = _moves_momentum(self._learning_rate)
        return {
            **super().get_config(),
            "beta_1": self._betas[0] if moved else self._plain_beta(self._betas[0], self._one_minus_beta_1),
            "beta_2": self._plain_beta(self._betas[1], self._one_minus_beta_2),
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
        }


@keras.saving.register_keras_serializable(package="kerasnets")
class AdamW(Adam):
    """Adam with decoupled weight decay (``torch.optim.AdamW``).

    θ ← θ·(1 − γ·λ), then Adam's step with the plain gradient. The arguments are Adam's, with λ = 0.01 by default
    (Keras's ``AdamW``: 0.004).
    """

    _decoupled = True

    def __init__(
        self,
        learning_rate=0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        maximize: bool = False,
        param_groups: list[dict] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            weight_decay,
            amsgrad,
            maximize,
            param_groups,
            clip_grad_norm,
            clip_grad_value,
            **kwargs,
        )


@keras.saving.register_keras_serializable(package="kerasnets")
class Adagrad(_Optimizer):
    """Steps over the root of the sum of squared gradients (``torch.optim.Adagrad``).

    With gradient g (and g + λθ where there is weight decay), at step t = 1, 2, …::

        s ← s + g²                from initial_accumulator_value
        θ ← θ − γ/(1 + (t − 1)·η)·g/(√s + ε)

    Keras's ``Adagrad`` begins at 0.1, takes √(s + ε), and has no η.

    Args:
        learning_rate: γ.
        lr_decay: η.
        weight_decay: λ.
        initial_accumulator_value: where the sum begins.
        epsilon: ε ≥ 0.
        maximize: whether to climb.
        param_groups: settings for some of the variables.
        clip_grad_norm: bound of the norm of all gradients.
        clip_grad_value: bound of each component.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    Raises:
        ValueError: an argument is out of range.
        TypeError: an unknown argument.
    """

    def __init__(
        self,
        learning_rate=0.01,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        epsilon: float = 1e-10,
        maximize: bool = False,
        param_groups: list[dict] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs,
    ):
        lr_decay, epsilon = check_number("lr_decay", lr_decay), check_number("epsilon", epsilon)
        initial_accumulator_value = check_number("initial_accumulator_value", initial_accumulator_value)
        super().__init__(learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, kwargs)
        self.lr_decay = lr_decay
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def _state_names(self):
        return ["sum"]

    def _begin(self, shape, dtype=None):
        # Not keras.initializers.Constant, which rounds to float32 on TensorFlow.
        return ops.full(shape, self.initial_accumulator_value, dtype)

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self._start(gradient, variable, learning_rate)
        accumulator = self.state_of(variable)["sum"]
        total = ops.convert_to_tensor(accumulator) + ops.square(gradient)
        self.assign(accumulator, total)
        if self.lr_decay:
            rate = rate / (ops.cast(self.iterations, variable.dtype) * self.lr_decay + 1.0)
        self.assign(variable, value - rate * gradient / (ops.sqrt(total) + self.epsilon))

    def get_config(self):
        return {
            **super().get_config(),
            "lr_decay": self.lr_decay,
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }


@keras.saving.register_keras_serializable(package="kerasnets")
class Adadelta(_Optimizer):
    """Steps in the ratio of running means of squared steps and squared gradients (``torch.optim.Adadelta``).

    With gradient g (and g + λθ where there is weight decay)::

        s ← ρ·s + (1 − ρ)·g²
        d = √(u + ε)/√(s + ε)·g
        u ← ρ·u + (1 − ρ)·d²
        θ ← θ − γ·d

    Keras's ``Adadelta`` has the same formula with γ = 0.001, ρ = 0.95, ε = 1e-7 by default.

    Args:
        learning_rate: γ.
        rho: ρ in [0, 1].
        epsilon: ε ≥ 0.
        weight_decay: λ.
        maximize: whether to climb.
        param_groups: settings for some of the variables.
        clip_grad_norm: bound of the norm of all gradients.
        clip_grad_value: bound of each component.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    Raises:
        ValueError: an argument is out of range.
        TypeError: an unknown argument.
    """

    def __init__(
        self,
        learning_rate=1.0,
        rho: float = 0.9,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
        maximize: bool = False,
        param_groups: list[dict] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs,
    ):
        if not isinstance(rho, numbers.Real) or not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho: {rho!r}; expected a number between 0 and 1.")
        epsilon = check_number("epsilon", epsilon)
        super().__init__(learning_rate, weight_decay, maximize, param_groups, clip_grad_norm, clip_grad_value, kwargs)
        self.rho = float(rho)
        self.epsilon = epsilon

    def _state_names(self):
        return ["square_avg", "acc_delta"]

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self._start(gradient, variable, learning_rate)
        state = self.state_of(variable)
        square_avg, acc_delta = state["square_avg"], state["acc_delta"]
        square = ops.convert_to_tensor(square_avg) * self.rho + ops.square(gradient) * (1.0 - self.rho)
        deltas = ops.convert_to_tensor(acc_delta)
        delta = ops.sqrt(deltas + self.epsilon) / ops.sqrt(square + self.epsilon) * gradient
        self.assign(square_avg, square)
        self.assign(acc_delta, deltas * self.rho + ops.square(delta) * (1.0 - self.rho))
        self.assign(variable, value - rate * delta)

    def get_config(self):
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}
