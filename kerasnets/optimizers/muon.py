"""Muon."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from kerasnets._internal.arguments import check_choice, check_integer, check_number
from kerasnets.optimizers.base import LearningRate
from kerasnets.optimizers.momentum import MomentumOptimizer

_ADJUSTMENTS = ("original", "match_rms_adamw", "spectral_unclamped")


@keras.saving.register_keras_serializable(package="kerasnets")
class Muon(MomentumOptimizer):
    """Momentum whose steps are made orthogonal, for matrices (``torch.optim.Muon``).

    With gradient g::

        b ← μ·b + (1 − μ)·g
        u = (1 − μ)·g + μ·b       with Nesterov's momentum, b without
        o = u/max(‖u‖, ε), then k times: A = o·oᵀ, o ← a·o + (b·A + c·A²)·o
        θ ← θ·(1 − γ·λ) − γ·r·o

    The iteration is computed in bfloat16, as in PyTorch, so that its numbers are the same to two digits. With a kernel
    of (in, out), r is √max(1, out/in) (``"original"``), 0.2·√max(in, out) (``"match_rms_adamw"``) or √(out/in)
    (``"spectral_unclamped"``). Keras's ``Muon`` has another momentum and other defaults, and takes Adam's steps for
    what isn't a matrix.

    PyTorch's takes matrices only, and so does this one: use layers with ``use_bias=False``, or set ``trainable =
    False`` for the others.

    Args:
        learning_rate: γ.
        weight_decay: λ, decoupled.
        momentum: μ in [0, 1].
        nesterov: use Nesterov's momentum.
        ns_coefficients: (a, b, c) of the Newton–Schulz iteration.
        epsilon: ε, the least norm.
        ns_steps: k < 100.
        adjust_lr_fn: the name of r; None means ``"original"``.
        maximize: maximize instead of minimize.
        param_groups: settings for some of the variables, see :mod:`kerasnets.optimizers`.
        clip_grad_norm: maximum global gradient norm.
        clip_grad_value: maximum absolute value of a gradient's components.
        **kwargs: arguments of ``keras.optimizers.Optimizer``.

    Raises:
        ValueError: an argument is out of range, or a variable is not a matrix.
        TypeError: an argument is unknown.

    Examples:
        >>> variable = keras.Variable(np.eye(2))
        >>> optimizer = kerasnets.optimizers.Muon(0.1, weight_decay=0.0)
        >>> optimizer.apply([keras.ops.array([[2.0, 0.0], [0.0, 2.0]])], [variable])
        >>> bool(variable.numpy()[0, 0] < 1)
        True
    """

    torch_settings: ClassVar = {
        "momentum": "momentum",
        "nesterov": "nesterov",
        "ns_coefficients": "ns_coefficients",
        "eps": "epsilon",
        "ns_steps": "ns_steps",
        "adjust_lr_fn": "adjust_lr_fn",
    }
    torch_counts_steps = False
    decoupled_weight_decay = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: Sequence[float] = (3.4445, -4.7750, 2.0315),
        epsilon: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        maximize: bool = False,
        param_groups: list[dict[str, Any]] | None = None,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        **kwargs: Any,
    ):
        epsilon, ns_steps = check_number("epsilon", epsilon), check_integer("ns_steps", ns_steps, 0, 99)
        if adjust_lr_fn is not None:
            check_choice("adjust_lr_fn", adjust_lr_fn, _ADJUSTMENTS)
        coefficients = tuple(float(c) for c in ns_coefficients)
        if len(coefficients) != 3:
            raise ValueError(f"`ns_coefficients` must be three numbers; received {ns_coefficients!r}.")
        super().__init__(
            learning_rate,
            momentum,
            weight_decay=weight_decay,
            maximize=maximize,
            param_groups=param_groups,
            clip_grad_norm=clip_grad_norm,
            clip_grad_value=clip_grad_value,
            **kwargs,
        )
        self.nesterov = bool(nesterov)
        self.ns_coefficients = coefficients
        self.epsilon = epsilon
        self.ns_steps = ns_steps
        self.adjust_lr_fn = adjust_lr_fn

    def build(self, variables):
        if others := [f"{v.path} {tuple(v.shape)}" for v in variables if len(v.shape) != 2]:
            raise ValueError(
                f"Muon takes steps of matrices only; {', '.join(others)} of the model's variables are none. Use layers "
                "without a bias, or set trainable = False."
            )
        super().build(variables)

    @property
    def state_names(self):
        return ["momentum_buffer"]

    def update_step(self, gradient, variable, learning_rate):
        value, gradient, rate = self.prepare(gradient, variable, learning_rate)
        slot = self.state_of(variable)["momentum_buffer"]
        momentum = self.momentum_as(variable.dtype)
        buffer = ops.convert_to_tensor(slot)
        buffer = buffer + (1.0 - momentum) * (gradient - buffer)
        self.assign(slot, buffer)
        update = gradient + momentum * (buffer - gradient) if self.nesterov else buffer
        # An embedding's rows are PyTorch's as well; a kernel is the transpose of PyTorch's weight.
        is_kernel = "embedding" not in variable.name
        update = self._orthogonalize(ops.transpose(update) if is_kernel else update)
        rows, columns = tuple(update.shape)
        step = rate * self._adjustment(rows, columns) * ops.cast(update, variable.dtype)
        self.assign(variable, value - (ops.transpose(step) if is_kernel else step))

    def _adjustment(self, rows: int, columns: int) -> float:
        if self.adjust_lr_fn == "match_rms_adamw":
            return 0.2 * math.sqrt(max(rows, columns))
        ratio = rows / columns
        return math.sqrt(ratio if self.adjust_lr_fn == "spectral_unclamped" else max(1.0, ratio))

    def _orthogonalize(self, update):
        """Return `update` with singular values near 1, float32 of the same shape ``(rows, columns)``."""

        def rounded(x):
            # Each result is rounded to bfloat16, sums are not, as in PyTorch's products.
            return ops.cast(ops.cast(x, "bfloat16"), "float32")

        tall = update.shape[0] > update.shape[1]
        o = rounded(ops.transpose(update) if tall else update)
        norm = rounded(ops.sqrt(ops.sum(ops.square(o))))
        o = rounded(o / ops.where(norm < self.epsilon, self.epsilon, norm))
        a, b, c = self.ns_coefficients
        for _ in range(self.ns_steps):
            gram = rounded(ops.matmul(o, ops.transpose(o)))
            polynomial = rounded(b * gram + c * ops.matmul(gram, gram))
            o = rounded(a * o + ops.matmul(polynomial, o))
        return ops.transpose(o) if tall else o

    def get_config(self):
        return {
            **super().get_config(),
            "nesterov": self.nesterov,
            "ns_coefficients": self.ns_coefficients,
            "epsilon": self.epsilon,
            "ns_steps": self.ns_steps,
            "adjust_lr_fn": self.adjust_lr_fn,
        }
