"""PyTorch's fused optimizer kernels on the variables of kerasnets' optimizers."""

import keras
import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from kerasnets import optimizers
from kerasnets.optimizers.base import moves_momentum


def constants_of(optimizer) -> dict:
    """What a fused step has as constants: the arguments but the learning rate, which is a variable.

    Empty for optimizers that have no fused step, and where a schedule can't tell its settings.
    """
    if type(optimizer) not in _FUSED:
        return {}
    try:
        config = optimizer.get_config()
    except NotImplementedError:
        return {}
    return config if isinstance(config["learning_rate"], dict) else {**config, "learning_rate": None}


_FUSED = (optimizers.SGD, optimizers.Adam, optimizers.AdamW)


_KERAS_OPTIONS = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)


def fused_update(optimizer, constants, gradients, variables) -> bool:
    """Take a step by PyTorch's fused kernels in the optimizer's own variables; False where it has rules they lack."""
    kind = type(optimizer)
    if kind not in _FUSED or not constants or any(g is None for g in gradients):
        return False
    if any(getattr(optimizer, name) for name in _KERAS_OPTIONS) or optimizer._groups or any(optimizer._excluded):
        return False
    if optimizer.clip_grad_norm is not None or optimizer.clip_grad_value is not None:
        return False
    if moves_momentum(optimizer._learning_rate) or any(v.constraint is not None for v in variables):
        return False
    rate = keras.ops.convert_to_tensor(optimizer.learning_rate)
    # The kernels go through memory from end to end: a kernel's gradient has to lie there as the kernel does.
    gradients = [gradient.contiguous() for gradient in gradients]
    values = [v.value for v in variables]
    states = [optimizer.state_of(v) for v in variables]

    def state(name):
        return [s[name].value for s in states] if name in states[0] else []

    common = {"weight_decay": optimizer.weight_decay, "maximize": optimizer.maximize, "lr": rate, "fused": True}
    if kind is optimizers.SGD:
        if optimizer.dampening:
            return False
        sgd(
            values,
            gradients,
            state("momentum_buffer") or [None] * len(values),
            momentum=constants["momentum"],
            dampening=0.0,
            nesterov=optimizer.nesterov,
            **common,
        )
    else:
        step = optimizer.iterations.value.to(torch.float32)
        adam(
            values,
            gradients,
            state("exp_avg"),
            state("exp_avg_sq"),
            state("max_exp_avg_sq"),
            list(step.expand(len(values)).clone().unbind()),
            amsgrad=optimizer.amsgrad,
            beta1=constants["beta_1"],
            beta2=constants["beta_2"],
            eps=optimizer.epsilon,
            decoupled_weight_decay=kind is optimizers.AdamW,
            **common,
        )
    optimizer.iterations.value.add_(1)
    return True
