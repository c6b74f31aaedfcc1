"""Checks of the options that the networks share."""

import keras


def check_sizes(name: str, values, count: int | None = None) -> tuple[int, ...]:
    """`values` as a tuple of positive ints, `count` of them where given; a ValueError names option and value if not."""
    sizes = tuple(values) if isinstance(values, list | tuple) else (values,)
    right = sizes and all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes)
    if not right or (count is not None and len(sizes) != count):
        expected = f"{count} positive whole numbers" if count and count > 1 else "positive whole numbers"
        raise ValueError(f"{name}={values!r}: expected {'one positive whole number' if count == 1 else expected}.")
    return sizes


def check_rate(name: str, value: float) -> float:
    """`value` as a dropout rate in [0, 1); a ValueError names option and value if it isn't."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1.0:
        raise ValueError(f"{name}={value!r}: expected a number from 0 to below 1.")
    return float(value)


def check_choice(name: str, value: str, choices) -> str:
    """`value`, if it is one of `choices`; a ValueError lists them if not."""
    if value not in choices:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, choices))}.")
    return value


def check_data_format(value: str | None) -> str:
    """The image data format: `value`, or Keras's configured one for None."""
    if value is None:
        return keras.config.image_data_format()
    return check_choice("data_format", value, ("channels_last", "channels_first"))


def channel_shape(input_shape: tuple[int, int], data_format: str) -> tuple[int, int, int]:
    """The shape of a grey image with its channel axis where `data_format` wants it."""
    return (1, *input_shape) if data_format == "channels_first" else (*input_shape, 1)
