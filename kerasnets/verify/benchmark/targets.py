"""The targets for kerasnets' own fit (the bars of the record and of docs/speed.md), and whether they are met."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Bar:
    """A target for a kerasnets row.

    Attributes:
        network: name of the network; None for every network.
        backend: the Keras backend; None for ``import kerasnets``.
        quantity: key of the row.
        bound: the largest value that meets the target.
        device: the device that the target is for.
    """

    network: str | None
    backend: str | None
    quantity: str
    bound: float
    device: str = "cpu"


#: For 2 CPU cores or an H200, with batch size 64, fp32 and the full Fashion-MNIST.
BARS = (
    Bar("NeuralNetwork", "jax", "against_native", 0.50),
    Bar("NeuralNetwork", "jax", "against_document", 0.22),
    Bar("NeuralNetwork", "tensorflow", "against_native", 0.65),
    Bar("NeuralNetwork", "tensorflow", "against_document", 0.30),
    Bar("NeuralNetwork", "torch", "against_native", 0.95),
    Bar("NeuralNetwork", "torch", "against_document", 0.45),
    Bar("ConvNeuralNetwork", "torch", "against_native", 0.85),
    Bar("ConvNeuralNetwork", "torch", "against_document", 0.60),
    Bar("ConvNeuralNetwork", "tensorflow", "against_native", 1.0),
    Bar("ConvNeuralNetwork", "tensorflow", "against_document", 0.75),
    Bar("ConvNeuralNetwork", "jax", "against_native", 1.8),
    Bar(None, "torch", "one_image_against_native", 1.5),
    Bar(None, "jax", "one_image_against_native", 3.0),
    Bar(None, "tensorflow", "one_image_against_native", 3.0),
    Bar(None, "torch", "memory_against_native", 1.2),
    Bar(None, None, "median_import_seconds", 0.2),
    Bar("NeuralNetwork", "torch", "median_seconds", 0.15, "gpu"),
    Bar("NeuralNetwork", "jax", "median_seconds", 0.15, "gpu"),
    Bar("ConvNeuralNetwork", "torch", "median_seconds", 0.6, "gpu"),
    Bar("ConvNeuralNetwork", "jax", "median_seconds", 0.6, "gpu"),
    Bar(None, "torch", "against_stock", 1 / 8, "gpu"),
    Bar(None, "jax", "against_stock", 1 / 3, "gpu"),
)


def judge(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare a measurement with the targets.

    Args:
        record: the result of :func:`kerasnets.verify.benchmark.measure`. The targets are for float32; in another
            precision there are none.

    Returns:
        One dict per target: ``network``, ``backend``, ``device``, ``quantity``, ``bound``, ``value`` and ``met`` (both
        None if not measured).
    """
    found: list[dict[str, Any]] = []
    for bar in BARS if record["precision"] == "float32" else ():
        if bar.backend is None:
            cases = [(None, record)]
        else:
            cases = [
                (network, row)
                for network, result in record["networks"].items()
                if bar.network in (None, network)
                for row in result["rows"]
                if (row["program"], row["backend"]) == ("kerasnets", bar.backend)
                and (row["device"] or result["device"] or "cpu") == bar.device
            ]
        for network, row in cases:
            value = row[bar.quantity]
            met = None if value is None else value <= bar.bound
            found.append({**dataclasses.asdict(bar), "network": network, "value": value, "met": met})
    return found
