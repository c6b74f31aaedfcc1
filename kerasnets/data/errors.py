"""Errors about data files."""


class DataNotFoundError(FileNotFoundError):
    """A data set was not found; the message says what was tried and what to do.

    Args:
        message: the message.
        for_commands: the message of a command, which has other options than `load_data`; default: `message`.

    Examples:
        >>> issubclass(kerasnets.data.DataNotFoundError, FileNotFoundError)
        True
    """

    def __init__(self, message: str, for_commands: str | None = None):
        super().__init__(message)
        self.for_commands = for_commands or message


class DamagedDataError(ValueError):
    """A data file was found, but is damaged or can't be read; the message names it.

    Examples:
        >>> issubclass(kerasnets.data.DamagedDataError, ValueError)
        True
    """
