"""What can be wrong with a model, each with a ``hint`` that says what to do."""

from __future__ import annotations


class ModelError(Exception):
    """The base of this package's errors. The text says what is wrong, ``hint`` what helps.

    ``permanent``: the same again fails again, until somebody changes the files or the configuration.
    """

    def __init__(self, message: str, hint: str = "", *, permanent: bool = True) -> None:
        super().__init__(message)
        self.hint = hint
        self.permanent = permanent


class ModelNotFoundError(ModelError):
    """The reference leads to no model on this machine. Raised by `resolve`."""


class BrokenModelError(ModelError):
    """The files are there and cannot be used. Raised by `check_folder` and by conversions."""


class PrepareError(ModelError):
    """A download or a conversion did not come to its end. Raised by `prepare`."""

    def __init__(self, message: str, hint: str = "", *, permanent: bool = False) -> None:
        super().__init__(message, hint, permanent=permanent)
