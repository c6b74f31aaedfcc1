"""Causes by rule: which settings of a matched pair differ, and the line that mends each."""

from collections.abc import Mapping
from typing import Any

from kerasnets.verify.compare.calls import Call
from kerasnets.verify.compare.finding import write_number

#: Settings that make another function, or another training, wherever they differ. The others may differ without
#: effect, and are a cause only of a difference that was measured.
ALWAYS = {
    "epsilon",
    "momentum",
    "running variance",
    "approximation",
    "bias",
    "scale",
    "center",
    "rate",
    "always on",
    "dropout",
    "negative slope",
    "alpha",
    "reset gate",
    "recurrent activation",
    "activation",
    "groups",
    "heads",
    "size of a head",
    "directions",
    "go backwards",
    "filters",
    "units",
    "kernel size",
    "strides",
    "dilation",
    "words",
    "features",
    "padding_idx",
    "merge_mode",
}
#: Settings that number a part instead of describing it.
_IGNORED = {"layer", "axis of the channels"}


def compare_settings(theirs: Mapping[str, Any], ours: Mapping[str, Any], measured: bool) -> list[str]:
    """The names of the settings that differ.

    Args:
        theirs: PyTorch's settings.
        ours: Keras's.
        measured: whether the outputs differ.
    """
    found = []
    for name in theirs:
        if name in _IGNORED or name not in ours or not (measured or name in ALWAYS):
            continue
        if not _is_same(theirs[name], ours[name]):
            found.append(name)
    if theirs.get("always on") is None and ours.get("always on"):
        found.append("always on")
    return found


def _is_same(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, float) and isinstance(ours, float | int):
        return abs(theirs - ours) <= 1e-9 + 1e-6 * abs(theirs)
    if isinstance(theirs, list | tuple) and isinstance(ours, list | tuple):
        return tuple(theirs) == tuple(ours)
    return bool(theirs == ours)


def name_cause(kind: str, setting: str, theirs: Any, ours: Any) -> str:
    """A setting that differs, in words."""
    if setting == "bias":
        return "the bias is missing, PyTorch has one" if theirs else "has a bias, PyTorch has none"
    if setting in ("scale", "center"):
        what = {"scale": "scale (PyTorch's weight)", "center": "offset (PyTorch's bias)"}[setting]
        return f"the {what} is missing" if theirs else f"has a {what}, PyTorch has none"
    if setting == "always on":
        return (
            "dropout is on in inference as well (training=True), PyTorch's is off"
            if ours
            else ("dropout is off in inference, PyTorch's is always on (F.dropout without training=self.training)")
        )
    if setting == "approximation":
        names = {"none": "exact (erf)", "tanh": "the tanh approximation"}
        return f"GELU is {names.get(ours, ours)}, PyTorch's is {names.get(theirs, theirs)}"
    if setting == "running variance":
        return "the running variance is updated with the biased variance, PyTorch's with the unbiased one"
    if setting == "rate":
        return f"the dropout rate is {write_number(float(ours))}, PyTorch's is {write_number(float(theirs))}"
    if setting == "padding":
        return f"padding is {_write_padding(ours)}, PyTorch's is {_write_padding(theirs)} (before, after)"
    if setting == "padding_idx":
        given = f"the port's is {ours}" if ours is not None else "the port has none"
        return (
            f"PyTorch's padding_idx is {theirs}: a row without a gradient; {given}"
            if theirs is not None
            else (f"padding_idx is {ours}: a row without a gradient; PyTorch has none")
        )
    if setting == "reset gate":
        return f"the reset gate is applied {ours}, PyTorch applies it {theirs}"
    if setting == "momentum" and kind == "batch norm":
        keras_own = 1.0 - ours if isinstance(ours, float) else ours
        return (
            f"momentum is {write_number(ours)} in PyTorch's meaning (Keras's {write_number(keras_own)}), PyTorch's is "
            f"{write_number(theirs)}"
        )
    return f"{setting} is {write_number(ours)}, PyTorch's is {write_number(theirs)}"


def _write_padding(padding: Any) -> str:
    return write_number(tuple(tuple(p) for p in padding)) if isinstance(padding, tuple) else str(padding)


def mend_setting(kind: str, setting: str, theirs: Mapping[str, Any]) -> str:
    """The line that mends a setting that differs."""
    value = theirs.get(setting)
    if kind == "batch norm" and setting in ("epsilon", "momentum", "running variance", "scale", "center"):
        return f"use kerasnets.layers.BatchNormalization{_batch_norm_arguments(theirs)}"
    if setting == "epsilon" and kind in ("layer norm", "group norm"):
        name = "LayerNormalization" if kind == "layer norm" else "GroupNormalization"
        return f"use kerasnets.layers.{name}" + ("" if value == 1e-5 else f"(…, epsilon={write_number(value)})")
    if setting == "padding_idx":
        return f"use kerasnets.layers.Embedding(…, padding_idx={value})"
    if setting == "merge_mode":
        return "use keras.layers.Bidirectional(…, merge_mode='concat')"
    if setting == "padding":
        return _mend_padding(kind, value)
    if setting == "bias":
        return f"use_bias={bool(value)}"
    if setting in ("scale", "center"):
        return f"{setting}={bool(value)}"
    if setting == "always on":
        return "call the layer without training=True" if not value else "call the layer with training=True"
    if setting == "approximation":
        return f"use keras.layers.Activation(lambda x: keras.activations.gelu(x, approximate={value == 'tanh'}))"
    if setting == "negative slope":
        return f"use kerasnets.layers.LeakyReLU({value:g})"
    if setting == "reset gate":
        return "reset_after=True" if "after" in str(value) else "reset_after=False"
    words = {
        "kernel size": "kernel_size",
        "pool size": "pool_size",
        "recurrent activation": "recurrent_activation",
        "size of a head": "key_dim",
        "heads": "num_heads",
        "dilation": "dilation_rate",
        "words": "input_dim",
        "features": "output_dim",
    }
    if setting == "normalized axes":
        return f"axis={tuple(range(-value, 0)) if value and value > 1 else -1}"
    if setting == "directions":
        return "wrap it in keras.layers.Bidirectional" if value == 2 else "remove keras.layers.Bidirectional"
    if setting == "axis":
        return f"axis={value}" if value is not None else ""
    shown = repr(value) if isinstance(value, str) else write_number(value)
    return f"{words.get(setting, setting.replace(' ', '_'))}={shown}"


def _batch_norm_arguments(theirs: Mapping[str, Any]) -> str:
    given = []
    if theirs["momentum"] != 0.1:
        given.append(f"momentum={theirs['momentum']}")
    if theirs["epsilon"] != 1e-5:
        given.append(f"epsilon={write_number(theirs['epsilon'])}")
    if not theirs["scale"]:
        given.append("center=False, scale=False")
    return f"({', '.join(given)})" if given else ""


def _mend_padding(kind: str, value: Any) -> str:
    if kind == "convolution":
        if all(before == after for before, after in value):
            amounts = tuple(before for before, _ in value)
            shown = amounts[0] if len(set(amounts)) == 1 else amounts
            if len(amounts) == 2:
                return f"use kerasnets.layers.Conv2D(…, padding={shown})"
            return f"put a ZeroPadding{len(amounts)}D({shown}) before it, with padding='valid'"
        return f"put a ZeroPadding{len(value)}D({value}) before it, with padding='valid'"
    if kind == "transposed convolution":
        if len(value) == 2:
            front, added = tuple(a for a, _ in value), tuple(a - b for a, b in value)
            extra = f", output_padding={added}" if any(added) else ""
            return f"use kerasnets.layers.Conv2DTranspose(…, padding={front}{extra})"
        return f"use padding='valid' and Cropping{len(value)}D({value}) after it"
    return f"pad by {value} before it, with padding='valid'"


def compare_pair(theirs: Call, ours: Call, padding: tuple | None, measured: bool) -> list[tuple[str, str, str]]:
    """The settings of a pair that differ: name, cause, mend.

    Args:
        theirs: PyTorch's call.
        ours: Keras's call.
        padding: Keras's padding with that of the layers around it; None without padding.
        measured: whether their outputs differ.
    """
    settings = dict(ours.settings)
    if padding is not None and "padding" in settings:
        settings["padding"] = padding
    names = compare_settings(theirs.settings, settings, measured)
    if "running variance" in names and {"epsilon", "momentum"} & set(names):
        names.remove("running variance")  # the same line mends it
    return [
        (name, name_cause(theirs.kind, name, theirs.settings.get(name), settings.get(name)),
         mend_setting(theirs.kind, name, theirs.settings))
        for name in names
    ]  # fmt: skip
