"""PyTorch's fused optimizer kernels, on the variables of kerasnets' optimizers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from kerasnets import optimizers

#: Options of Keras's optimizers that the kernels lack.
_KERAS_OPTIONS = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)


def constants_of(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Return the arguments that a fused step takes as constants: all but the learning rate, which is a variable.

    Empty for optimizers without a fused step, and if a schedule can't be serialized.
    """
    if type(optimizer) not in _FUSED:
        return {}
    try:
        config = optimizer.get_config()
    except NotImplementedError:
        return {}
    return config if isinstance(config["learning_rate"], dict) else {**config, "learning_rate": None}


def fused_update(
    optimizer: keras.optimizers.Optimizer,
    constants: Mapping[str, Any],
    gradients: Sequence[torch.Tensor | None],
    variables: Sequence[keras.Variable],
) -> bool:
    """Take a step with PyTorch's fused kernels, in the optimizer's own variables; False if they can't take it."""
    kernel = _FUSED.get(type(optimizer))
    present = [gradient for gradient in gradients if gradient is not None]
    if kernel is None or not constants or len(present) < len(gradients) or not _has_plain_rule(optimizer):
        return False
    if any(v.constraint is not None for v in variables):
        return False
    kernel(
        optimizer,
        constants,
        [v.value for v in variables],
        # The kernels read memory from end to end, so that a gradient needs the layout of its variable.
        [gradient.contiguous() for gradient in present],
        [optimizer.state_of(v) for v in variables],
        weight_decay=optimizer.weight_decay,
        maximize=optimizer.maximize,
        lr=keras.ops.convert_to_tensor(optimizer.learning_rate),
        fused=True,
    )
    optimizer.iterations.value.add_(1)
    return True


def _has_plain_rule(optimizer) -> bool:
    """Whether the optimizer has none of the options that the kernels lack."""
    return (
        optimizer.is_uniform
        and optimizer.clip_grad_norm is None
        and optimizer.clip_grad_value is None
        and not optimizer.is_momentum_scheduled
        and not getattr(optimizer, "dampening", 0.0)
        and not any(getattr(optimizer, name) for name in _KERAS_OPTIONS)
    )


def _tensors(states: Sequence[Mapping[str, keras.Variable]], name: str) -> list[torch.Tensor]:
    return [state[name].value for state in states] if name in states[0] else []


def _sgd(optimizer, constants, values, gradients, states, **common) -> None:
    buffers: list[torch.Tensor | None] = [*_tensors(states, "momentum_buffer")] or [None] * len(values)
    sgd(
        values,
        gradients,
        buffers,
        momentum=constants["momentum"],
        dampening=0.0,
        nesterov=optimizer.nesterov,
        **common,
    )


def _adam(optimizer, constants, values, gradients, states, **common) -> None:
    step = optimizer.iterations.value.to(torch.float32)
    adam(
        values,
        gradients,
        _tensors(states, "exp_avg"),
        _tensors(states, "exp_avg_sq"),
        _tensors(states, "max_exp_avg_sq"),
        list(step.expand(len(values)).clone().unbind()),
        amsgrad=optimizer.amsgrad,
        beta1=constants["beta_1"],
        beta2=constants["beta_2"],
        eps=optimizer.epsilon,
        decoupled_weight_decay=optimizer.decoupled_weight_decay,
        **common,
    )


#: Optimizer class → the function that takes its step. Others run Keras's code.
_FUSED: dict[type, Callable[..., None]] = {optimizers.SGD: _sgd, optimizers.Adam: _adam, optimizers.AdamW: _adam}
