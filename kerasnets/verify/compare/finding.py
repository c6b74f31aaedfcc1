"""What a comparison finds: one figure per tensor, and one finding per cause."""

import dataclasses

#: Checks in the order in which their findings are given: a difference early on explains later ones.
CHECKS = (
    "structure",
    "loaded weights",
    "outputs",
    "training mode",
    "loss",
    "gradients",
    "buffers",
    "optimizer",
    "learning rate",
    "initial weights",
)


@dataclasses.dataclass(frozen=True)
class Figure:
    """How far Keras is from PyTorch in one tensor, and PyTorch from itself.

    Attributes:
        check: one of :data:`CHECKS`.
        name: the tensor, by PyTorch's name.
        float64: the difference in float64, relative to the tensor's largest value; None if not measured.
        float32: the same in float32.
        noise64: PyTorch's noise floor in float64.
        noise32: PyTorch's noise floor in float32.
        differs: whether both types are beyond their bounds.

    Examples:
        >>> figure = kerasnets.verify.compare.Figure("outputs", "fc1", 1e-16, 1e-7, 1e-16, 1e-7, differs=False)
        >>> figure.differs
        False
    """

    check: str
    name: str
    float64: float | None
    float32: float | None
    noise64: float | None
    noise32: float | None
    differs: bool


@dataclasses.dataclass(frozen=True)
class Finding:
    """A difference, its cause, and the line that mends it.

    Attributes:
        check: one of :data:`CHECKS`.
        where: the layer, by Keras's name; or ``"loss"`` (of several outputs, ``"loss of kind"``),
            ``"optimizer"``, ``"learning rate"``.
        cause: what differs, such as ``"epsilon is 1e-3, PyTorch's is 1e-5"``.
        mend: what to write instead; empty if it isn't known.
        torch_name: the module's name in PyTorch, if there is one.
        difference: the relative difference that shows it; None if it is in the settings alone.
        place: position in the network, for the order.
        known: whether the cause was found, or only the place.

    Examples:
        >>> print(kerasnets.verify.compare.Finding("settings", "bn1", cause="epsilon is 1e-3", mend="epsilon=1e-5"))
        bn1: epsilon is 1e-3; epsilon=1e-5
    """

    check: str
    where: str
    cause: str
    mend: str = ""
    torch_name: str = ""
    difference: float | None = None
    place: int = 0
    known: bool = True

    def __str__(self) -> str:
        """The finding as one line."""
        return f"{self.where}: {self.cause}" + (f"; {self.mend}" if self.mend else "")


def order_findings(findings: list[Finding]) -> list[Finding]:
    """Findings by check and place, each once; of a layer's weights, one finding for all of its variables."""
    weights = ("loaded weights", "initial weights")
    unique = {(f.check, f.where, "" if f.check in weights else f.cause): f for f in reversed(findings)}
    return sorted(unique.values(), key=lambda f: (CHECKS.index(f.check), f.place))


def write_number(value: object) -> str:
    """A setting as a person writes it: ``1e-3``, ``0.9``, ``(1, 1)``."""
    if isinstance(value, float) and value and not 0.01 <= abs(value) < 1e4:
        mantissa, _, exponent = f"{value:.3e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        return f"({', '.join(map(write_number, value))}{',' if len(value) == 1 else ''})"
    return str(value)
