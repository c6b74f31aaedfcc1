"""Errors about data files."""


class DataNotFoundError(FileNotFoundError):
    """A data set was not found; the message says what was tried and what to do."""


class DamagedDataError(ValueError):
    """A data file was found, but is damaged or can't be read; the message names it."""
