"""The table of PyTorch's rules, the classes here and Keras's own: docs/rules.md.

Run it as: python -m kerasnets.verify.rules_table > docs/rules.md
"""

from collections.abc import Iterator, Sequence

import keras

from kerasnets import layers, losses, optimizers, schedules
from kerasnets.verify.markdown import format_table

_FAN_IN = "initial values: Glorot uniform and zeros"
#: Module of PyTorch → rows of its class, the class here ("" where Keras's is used), Keras's ("" where it has none), and
#: what differs in Keras's.
RULES: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "nn": (
        ("Linear", "Linear", "Dense", _FAN_IN),
        ("Conv1d", "Conv1D", "Conv1D", f"{_FAN_IN}; no padding by a number"),
        ("Conv2d", "Conv2D", "Conv2D", f"{_FAN_IN}; no padding by a number"),
        ("Conv3d", "", "Conv3D", f"{_FAN_IN}; no padding by a number. Not here"),
        ("ConvTranspose2d", "Conv2DTranspose", "Conv2DTranspose", f"{_FAN_IN}; other crops; no groups"),
        (
            "BatchNorm1d, BatchNorm2d",
            "BatchNormalization",
            "BatchNormalization",
            "ε 1e-3; momentum 0.99, in the opposite meaning; biased running variance",
        ),
        ("LayerNorm", "LayerNormalization", "LayerNormalization", "ε 1e-3"),
        ("GroupNorm", "GroupNormalization", "GroupNormalization", "ε 1e-3"),
        (
            "InstanceNorm2d",
            "GroupNormalization",
            "GroupNormalization",
            "ε 1e-3; `groups=-1, center=False, scale=False`",
        ),
        ("Embedding", "Embedding", "Embedding", "initial values: U(±0.05); no `padding_idx`"),
        ("LSTM", "LSTM", "LSTM", "one bias instead of two; initial values: Glorot, orthogonal, forget bias 1"),
        ("GRU", "GRU", "GRU", "initial values: Glorot, orthogonal, zeros; gates in another order"),
        (
            "MultiheadAttention",
            "MultiHeadAttention",
            "MultiHeadAttention",
            "initial values: Glorot uniform for each projection; three matrices instead of a packed one",
        ),
        ("PReLU", "PReLU", "PReLU", "slopes start from 0 (PyTorch 0.25), one per feature"),
        ("LeakyReLU", "LeakyReLU", "LeakyReLU", "slope 0.3"),
        ("GELU", "", "Activation", 'the same as `"gelu"`; `keras.ops.gelu` is the tanh approximation by default'),
        ("SiLU", "", "Activation", 'the same: `"silu"`'),
        ("Hardswish", "", "Activation", 'the same: `"hard_silu"`'),
        ("Hardsigmoid", "", "Activation", 'the same: `"hard_sigmoid"`'),
        ("ReLU", "", "ReLU", "the same"),
        ("ReLU6", "", "ReLU", "the same: `max_value=6`"),
        ("Sigmoid", "", "Activation", 'the same: `"sigmoid"`'),
        ("Tanh", "", "Activation", 'the same: `"tanh"`'),
        ("Softmax", "", "Softmax", "the same, over the last axis"),
        ("Dropout", "", "Dropout", "the same rule, other masks"),
        ("MaxPool2d", "", "MaxPooling2D", "no padding by a number: ZeroPadding2D before it is the same after a ReLU"),
        ("AvgPool2d", "", "AveragePooling2D", "no padding by a number"),
        (
            "AdaptiveAvgPool2d",
            "",
            "AdaptiveAveragePooling2D",
            "the same, but on JAX (Keras 3.15: NaN for some sizes, such as 7 of 7); for size 1 also "
            "`GlobalAveragePooling2D` with `keepdims=True`",
        ),
        ("Flatten", "Flatten", "Flatten", "transposes an image without channels under `channels_first`"),
        ("Identity", "", "Identity", "the same"),
        ("CrossEntropyLoss", "CrossEntropyLoss", "SparseCategoricalCrossentropy", "takes probabilities by default"),
        ("NLLLoss", "NLLLoss", "", ""),
        ("MSELoss", "MSELoss", "MeanSquaredError", "the same, but for the reduction"),
        ("L1Loss", "L1Loss", "MeanAbsoluteError", "the same, but for the reduction"),
        ("SmoothL1Loss", "SmoothL1Loss", "Huber", "β times PyTorch's with δ = β; and the reduction"),
        ("HuberLoss", "HuberLoss", "Huber", "the same, but for the reduction"),
        ("KLDivLoss", "KLDivLoss", "KLDivergence", "takes probabilities as predictions; clips them"),
        ("BCELoss", "BCELoss", "BinaryCrossentropy", "clips probabilities to 1e-7 instead of logarithms to −100"),
        ("BCEWithLogitsLoss", "BCEWithLogitsLoss", "BinaryCrossentropy", "no `pos_weight`; `from_logits=True`"),
    ),
    "optim": (
        ("SGD", "SGD", "SGD", "the velocity holds steps that are multiplied by the rate"),
        ("Adam", "Adam", "Adam", "ε before the bias correction, 1e-7; decoupled weight decay"),
        ("AdamW", "AdamW", "AdamW", "ε as in Adam; weight decay 0.004"),
        ("NAdam", "NAdam", "Nadam", "ε 1e-7; no `momentum_decay`; decoupled weight decay"),
        ("RAdam", "RAdam", "", ""),
        ("Adamax", "Adamax", "Adamax", "ε after the maximum, 1e-7; decoupled weight decay"),
        ("RMSprop", "RMSprop", "RMSprop", "ε within the root; the momentum holds steps; ρ 0.9"),
        ("Adagrad", "Adagrad", "Adagrad", "ε within the root; accumulators start from 0.1"),
        ("Adadelta", "Adadelta", "Adadelta", "rate 0.001, ρ 0.95"),
        ("Muon", "Muon", "Muon", "another momentum and other defaults; Adam for what isn't a matrix"),
        ("LBFGS", "", "", "`kerasnets.lbfgs.minimize`"),
    ),
    "optim.lr_scheduler": (
        ("StepLR", "StepLR", "ExponentialDecay", "counts steps; smooth unless `staircase=True`"),
        ("MultiStepLR", "MultiStepLR", "PiecewiseConstantDecay", "counts steps; a drop is one step later"),
        ("ExponentialLR", "ExponentialLR", "ExponentialDecay", "counts steps"),
        ("LinearLR", "LinearLR", "PolynomialDecay", "counts steps; takes the last rate instead of factors"),
        ("ConstantLR", "ConstantLR", "PiecewiseConstantDecay", "counts steps; a change is one step later"),
        ("PolynomialLR", "PolynomialLR", "PolynomialDecay", "counts steps; ends at 1e-4 by default"),
        ("LambdaLR", "LambdaLR", "", ""),
        ("MultiplicativeLR", "MultiplicativeLR", "", ""),
        ("CosineAnnealingLR", "CosineAnnealingLR", "CosineDecay", "counts steps; stays at the end instead of rising"),
        ("CosineAnnealingWarmRestarts", "CosineAnnealingWarmRestarts", "CosineDecayRestarts", "counts steps"),
        ("CyclicLR", "CyclicLR", "", ""),
        ("OneCycleLR", "OneCycleLR", "", ""),
        ("SequentialLR", "SequentialLR", "", ""),
        ("ReduceLROnPlateau", "ReduceLROnPlateau", "", "the callback of this name acts one epoch earlier"),
    ),
}
_OURS = {"layers": layers, "losses": losses, "optimizers": optimizers, "schedules": schedules}
_STOCK = {
    "layers": keras.layers,
    "losses": keras.losses,
    "optimizers": keras.optimizers,
    "optimizers.schedules": keras.optimizers.schedules,
}


def _path(name: str, places: dict, prefix: str) -> str:
    """Where a class lies, such as ``kerasnets.layers.Linear``; "–" for none.

    Raises:
        LookupError: the name belongs to no class.
    """
    if not name:
        return "–"
    for place, module in places.items():
        if hasattr(module, name):
            return f"`{prefix}{place}.{name}`"
    raise LookupError(f"There is no {name} in {', '.join(places)} of {prefix or 'kerasnets'}.")


def make_rows(module: str) -> Iterator[Sequence[str]]:
    """The rows of a table: PyTorch's class, the one here, Keras's, and what differs in Keras's."""
    places = {"nn": ("layers", "losses"), "optim": ("optimizers",), "optim.lr_scheduler": ("schedules",)}[module]
    for theirs, ours, stock, difference in RULES[module]:
        here = _path(ours, {place: _OURS[place] for place in places}, "")
        there = _path(stock, _STOCK, "keras.")
        yield f"`{module}.{theirs}`", here, there, difference or "no such class"


def make_page() -> str:
    """The text of docs/rules.md."""
    head = ("PyTorch", "kerasnets", "stock Keras", "how stock Keras differs")
    lines = [
        "# PyTorch's rules, here and in stock Keras",
        "",
        "Generated by `python -m kerasnets.verify.rules_table`. A dash in the second column means: use Keras's class.",
    ]
    titles = {"nn": "Layers and losses", "optim": "Optimizers", "optim.lr_scheduler": "Schedules"}
    for module, title in titles.items():
        lines += ["", f"## {title}", "", *format_table(head, make_rows(module))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(make_page(), end="")
