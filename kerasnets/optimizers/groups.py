"""Parameter groups: settings for some of the variables, found by a regular expression."""

import dataclasses
import re
from typing import Any

from kerasnets._internal.arguments import check_number


@dataclasses.dataclass(frozen=True)
class Group:
    """One entry of ``param_groups``; None stands for the optimizer's own value."""

    params: str
    learning_rate: float | None = None
    weight_decay: float | None = None

    @classmethod
    def from_dict(cls, entry: Any) -> "Group":
        """Check an entry of ``param_groups``; raises ValueError if it is not valid."""
        fields = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(entry, dict) or "params" not in entry or not set(entry) <= set(fields):
            raise ValueError(f"Invalid entry of param_groups: {entry!r}; expected a dict of {', '.join(fields)}.")
        try:
            re.compile(entry["params"])
        except (re.error, TypeError) as error:
            raise ValueError(f"Invalid params in {entry!r}; expected a regular expression ({error}).") from None
        given = {key: check_number(key, entry[key]) for key in fields[1:] if entry.get(key) is not None}
        return cls(entry["params"], **given)

    def to_dict(self, ratio: float = 1.0) -> dict[str, Any]:
        """Return the entry, with its learning rate multiplied by `ratio`."""
        entry = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        if "learning_rate" in entry:
            entry["learning_rate"] *= ratio
        return entry


def no_weight_decay(params: str = r"(^|/)(bias|gamma|beta)$") -> list[dict[str, Any]]:
    """Make parameter groups without weight decay on biases and on the scales and shifts of normalization layers.

    Args:
        params: regular expression that matches the variables to exclude.

    Returns:
        A list for an optimizer's ``param_groups``. Put your own entries before it.

    Examples:
        >>> kerasnets.optimizers.no_weight_decay()
        [{'params': '(^|/)(bias|gamma|beta)$', 'weight_decay': 0.0}]
        >>> optimizer = kerasnets.optimizers.AdamW(1e-3, param_groups=kerasnets.optimizers.no_weight_decay())
    """
    return [{"params": params, "weight_decay": 0.0}]
