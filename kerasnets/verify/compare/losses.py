"""The two losses on PyTorch's output: how far apart, and why."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import torch
from torch.nn import functional

from kerasnets import losses
from kerasnets._internal.arrays import to_numpy
from kerasnets.verify.compare.finding import Finding, write_number
from kerasnets.verify.compare.inputs import to_tensor
from kerasnets.verify.compare.port import Target
from kerasnets.verify.compare.runs import convert_targets, copy_loss

#: Largest relative difference of two losses of one output.
BOUND = 1e-5

#: Settings of PyTorch's losses, which have the same names here, and their defaults.
_SETTINGS = {
    "weight": None,
    "pos_weight": None,
    "ignore_index": -100,
    "label_smoothing": 0.0,
    "reduction": "mean",
    "beta": 1.0,
    "delta": 1.0,
    "log_target": False,
}


def find_loss_causes(target: Target, output: np.ndarray, keras_output: np.ndarray) -> list[Finding]:
    """Compare the losses of the same output, in float64.

    Args:
        target: the output's losses and targets.
        output: PyTorch's output.
        keras_output: the same numbers in Keras's layout.

    Returns:
        A finding if the losses differ.
    """
    if target.losses is None or target.y is None:
        return []
    theirs, ours = target.losses
    tensor, y = torch.from_numpy(output.astype("float64")), to_tensor(target.y, torch.float64)
    expected = _to_double(theirs)(tensor, y).detach().numpy()
    try:
        outputs = keras.ops.convert_to_tensor(keras_output, dtype="float64")
        actual = to_numpy(copy_loss(ours)(convert_targets(target, "float64"), outputs))
    except Exception as error:  # of any loss, on any backend
        text = f"Keras's loss doesn't take these outputs and targets: {error}"
        return [Finding("loss", target.loss, text, _mend(theirs), difference=float("inf"))]
    if not isinstance(ours, keras.losses.Loss):
        actual = actual.mean()  # as compile() does with a name or a function
    names = [name for name, value in (("PyTorch's", expected), ("Keras's", actual)) if value.ndim]
    if len(names) == 1:
        shape = (actual if actual.ndim else expected).shape
        text = f"{names[0]} loss has no reduction, its values have the shape {shape}"
        return [Finding("loss", target.loss, f"reduction: {text}", _mend(theirs), difference=float("inf"))]
    number = float(actual.mean())
    if target.weight != 1.0 and abs(number - expected.mean()) <= BOUND * abs(expected.mean()):
        text = f"its weight in compile(loss_weights=…) is {target.weight:g}, PyTorch's loss has none"
        return [Finding("loss", target.loss, text, "weigh both or neither", difference=abs(target.weight - 1.0))]
    number *= target.weight
    difference = float(np.abs(number - expected.mean()) / (np.abs(expected.mean()) or 1.0))
    causes = [] if difference <= BOUND else _name_causes(target.losses, tensor, y, number, expected.mean())
    known = bool(causes)
    if not known and difference > BOUND:
        causes = [f"is {write_number(number)}, PyTorch's is {write_number(float(expected.mean()))}"]
    return [
        Finding("loss", target.loss, cause, _mend(theirs), type(theirs).__name__, difference, known=known)
        for cause in causes
    ]


def _to_double(loss: Any) -> Any:
    return copy.deepcopy(loss).double() if isinstance(loss, torch.nn.Module) else loss


def _mend(loss: Any) -> str:
    name = type(loss).__name__
    if name not in losses.__all__:
        return f"write PyTorch's {name} with its settings" if isinstance(loss, torch.nn.Module) else ""
    given = [
        f"{setting}={_write(value)}"
        for setting, default in _SETTINGS.items()
        if (value := getattr(loss, setting, default)) is not None and not _equal(value, default)
    ]
    return f"use kerasnets.losses.{name}({', '.join(given)})"


def _equal(value: Any, default: Any) -> bool:
    return not isinstance(value, torch.Tensor) and value == default


def _write(value: Any) -> str:
    return repr([round(v, 6) for v in value.tolist()] if isinstance(value, torch.Tensor) else value)


def _name_causes(
    pair: tuple[Any, Any], output: torch.Tensor, y: torch.Tensor, actual: float, expected: float
) -> list[str]:
    """What Keras's loss computes instead: the first variants of PyTorch's loss that give its number."""
    for text, value in _variants(pair[0], output, y):
        if np.isfinite(value) and abs(value - actual) <= 1e-5 * max(abs(actual), 1e-12):
            return [text]
    ratio = actual / expected if expected else 0.0
    for number, what in ((len(output), "the batch size"), (output.numel(), "the number of outputs")):
        for factor, text in (
            (number, "sums where PyTorch's takes the mean"),
            (1 / number, "takes the mean where PyTorch's sums"),
        ):
            if abs(ratio - factor) <= 1e-5 * factor:
                return [f"reduction: it {text} (the ratio is {what}, {number})"]
    if abs(ratio - round(ratio)) < 1e-6 and round(ratio) > 1:
        return [f"it is {round(ratio)} times PyTorch's: another reduction or factor"]
    if ratio and abs(1 / ratio - round(1 / ratio)) < 1e-6 and round(1 / ratio) > 1:
        return [f"it is a {round(1 / ratio)}th of PyTorch's: another reduction or factor"]
    return _compare_configs(*pair)


def _compare_configs(theirs: Any, ours: Any) -> list[str]:
    """Settings of the two losses that differ, where no variant gives Keras's number."""
    config = ours.get_config() if isinstance(ours, keras.losses.Loss) else {}
    smoothing = getattr(theirs, "label_smoothing", 0.0)
    found = []
    if smoothing != config.get("label_smoothing", 0.0):
        found.append(f"label_smoothing is {config.get('label_smoothing', 0.0)}, PyTorch's is {smoothing}")
    reduction = {"sum_over_batch_size": "mean"}.get(
        str(config.get("reduction", "mean")), config.get("reduction", "mean")
    )
    if reduction != getattr(theirs, "reduction", "mean"):
        found.append(f"reduction is {reduction!r}, PyTorch's is {theirs.reduction!r}")
    if getattr(theirs, "weight", None) is not None and config.get("weight") is None:
        found.append("the class weights are missing")
    for setting in ("beta", "delta", "log_target"):
        value = getattr(theirs, setting, None)
        if value is not None and config.get(setting, value) != value:
            found.append(f"{setting} is {write_number(config[setting])}, PyTorch's is {write_number(value)}")
    kinds = {
        "CrossEntropyLoss": "CategoricalCrossentropy",
        "NLLLoss": "CategoricalCrossentropy",
        "MSELoss": "MeanSquaredError",
    }
    logits = config.get("from_logits")
    if logits is False and type(theirs).__name__ in ("CrossEntropyLoss", "BCEWithLogitsLoss"):
        found.append("from_logits is False, PyTorch's loss takes logits")
    if type(theirs).__name__ in kinds and not found and isinstance(ours, keras.losses.Loss):
        found.append(f"it is another loss, {type(ours).__name__} instead of PyTorch's {type(theirs).__name__}")
    return found


def _variants(loss: Any, output: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[str, float]]:
    """What a port may compute instead of the loss: a cause and the number that it gives."""
    classes = y.dtype == torch.int64 and output.ndim > 1
    weight = getattr(loss, "weight", None)
    weight = weight.double() if weight is not None else None
    smoothing = getattr(loss, "label_smoothing", 0.0)
    ignored = getattr(loss, "ignore_index", -100)
    if classes:
        yield from _class_variants(loss, output, y, weight, smoothing, ignored)
    if output.shape == y.shape:
        y = y.double()
        yield from _regression_variants(loss, output, y)
    n = len(output)
    for reduction in ("mean", "sum"):
        if getattr(loss, "reduction", reduction) != reduction:
            other = _to_double(loss)
            other.reduction = reduction
            value = float(other(output, y))
            yield f"reduction is {reduction!r}, PyTorch's is {loss.reduction!r}", value
            if reduction == "sum":
                yield (
                    "reduction: it sums over the features and takes the mean over the batch, PyTorch's is 'mean'",
                    value / n,
                )


def _class_variants(loss: Any, output, y, weight, smoothing, ignored) -> Iterator[tuple[str, float]]:
    log_p = functional.log_softmax(output, 1)
    kind = type(loss).__name__
    if kind == "NLLLoss":
        yield (
            "it takes the outputs as logits, PyTorch's NLLLoss takes logarithms of probabilities",
            float(functional.cross_entropy(output, y, weight)),
        )
        yield (
            "it takes the outputs as probabilities, PyTorch's NLLLoss takes their logarithms",
            float(
                functional.nll_loss(
                    torch.log(output.clamp(1e-7, 1 - 1e-7) / output.clamp(1e-7, 1).sum(1, keepdim=True)), y, weight
                )
            ),
        )
        return
    for value in (0.0, 0.1, 0.2, 0.05, 0.01, 0.3):
        if value != smoothing:
            text = f"label_smoothing is {value:g}, PyTorch's is {smoothing:g}"
            yield text, float(functional.cross_entropy(output, y, weight, label_smoothing=value, ignore_index=ignored))
    if weight is not None:
        plain = functional.cross_entropy(output, y, label_smoothing=smoothing, ignore_index=ignored)
        yield "the class weights are missing", float(plain)
        total = functional.cross_entropy(
            output, y, weight, label_smoothing=smoothing, ignore_index=ignored, reduction="sum"
        )
        yield (
            "the weighted sum is divided by the number of examples, PyTorch's by the sum of the weights",
            float(total / len(y)),
        )
    if ignored >= 0:
        text = f"ignore_index is not given, PyTorch's is {ignored}"
        yield text, float(functional.cross_entropy(output, y, weight, label_smoothing=smoothing))
        total = functional.cross_entropy(
            output, y, weight, label_smoothing=smoothing, ignore_index=ignored, reduction="sum"
        )
        yield "the mean counts the ignored targets (ignore_index), PyTorch's doesn't", float(total / y.numel())
    text = "it applies a softmax before the softmax of the loss: the outputs are taken as logits twice"
    yield text, float(functional.cross_entropy(functional.softmax(output, 1), y, weight, label_smoothing=smoothing))
    clipped = output.clamp(1e-7, 1 - 1e-7)
    logits = "from_logits is False: it takes the logits as probabilities"
    for p in (output / output.sum(1, keepdim=True), output):
        yield logits, float(functional.nll_loss(torch.log(p.clamp(1e-7, 1 - 1e-7)), y, weight))
    yield logits, float(functional.nll_loss(torch.log(clipped), y, weight))
    for value in (smoothing, 0.0):
        single = functional.nll_loss(log_p, y, weight, reduction="sum")
        yield "reduction is 'sum', PyTorch's is 'mean'", float(single)
        yield (
            "reduction is 'sum', PyTorch's is 'mean'",
            float(functional.cross_entropy(output, y, weight, label_smoothing=value, reduction="sum")),
        )


def _regression_variants(loss: Any, output, y) -> Iterator[tuple[str, float]]:
    name = type(loss).__name__
    for setting in ("pos_weight", "weight"):
        if getattr(loss, setting, None) is not None:
            plain = _to_double(loss)
            setattr(plain, setting, None)
            yield f"{setting} is missing", float(plain(output, y).mean())
    functions: dict[str, Callable[..., torch.Tensor]] = {
        "the mean squared error": functional.mse_loss,
        "the mean absolute error": functional.l1_loss,
        "the Huber loss with delta 1": functional.huber_loss,
        "binary cross-entropy of logits": functional.binary_cross_entropy_with_logits,
    }
    for what, function in functions.items():
        for reduction in ("mean", "sum"):
            try:
                value = float(function(output, y, reduction=reduction))
            except (RuntimeError, ValueError):
                continue
            suffix = "" if reduction == getattr(loss, "reduction", "mean") else f" with reduction {reduction!r}"
            yield f"it is {what}{suffix}, PyTorch's is {name}", value
            if reduction == "sum":
                text = f"reduction: {what} is summed over the features and averaged over the batch, PyTorch's is {name}"
                yield text, value / len(output)
    clipped = output.clamp(1e-7, 1 - 1e-7)
    value = float(functional.binary_cross_entropy(clipped, y.clamp(0, 1)))
    yield "from_logits is False: it takes the logits as probabilities", value
    yield (
        "from_logits is True: it takes the probabilities as logits",
        float(functional.binary_cross_entropy_with_logits(output, y)),
    )
    for beta in (0.1, 0.5, 2.0):
        yield (
            f"it is the Huber loss with delta {beta}, PyTorch's is {name}",
            float(functional.huber_loss(output, y, delta=beta)),
        )
