"""How a model process can fail the ones who wait for it."""

from __future__ import annotations

from msgspec import Struct

from routerd_client.records import FailureKind

from ..models.errors import ModelError


class Failure(Struct, frozen=True):
    """The reason why a model process did not do what was asked: a value, which may be kept and shared.

    An exception is never kept: each raise would add the frames it passes to its traceback, and with them their
    prompts. ``retry_after_s`` is when the process may be started again, None where nothing says so. ``died`` names
    the process that ended while it held the request, ``""`` where none did. ``permanent``: the same again fails again,
    until somebody changes the model's files or the configuration.
    """

    kind: FailureKind
    message: str
    hint: str = ""
    retry_after_s: float | None = None
    died: str = ""
    permanent: bool = False

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def own_mistake(error: BaseException) -> Failure:
    """Describe an unexpected exception in the daemon's own code around a model process: nothing the model did."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    message = f"the daemon made a mistake: {type(error).__name__}: {error}"
    return Failure(FailureKind.OVERLOADED, message, "routerd's log has the details; please report it")


class ProcessFailedError(Exception):
    """A model process did not do what was asked. Raised by `Supervisor.lease` and by an answer's stream; ``failure``
    says why."""

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        hint: str = "",
        retry_after_s: float | None = None,
        permanent: bool = False,
    ) -> None:
        self.failure = Failure(kind, message, hint, retry_after_s, permanent=permanent)
        super().__init__(str(self.failure))

    @classmethod
    def of(cls, failure: Failure) -> ProcessFailedError:
        """Make a new exception for one raise of ``failure``."""
        error = cls(failure.kind, failure.message, hint=failure.hint, retry_after_s=failure.retry_after_s)
        error.failure = failure
        return error

    @property
    def kind(self) -> FailureKind:
        return self.failure.kind

    @property
    def message(self) -> str:
        return self.failure.message

    @property
    def hint(self) -> str:
        return self.failure.hint

    @property
    def retry_after_s(self) -> float | None:
        return self.failure.retry_after_s

    @property
    def permanent(self) -> bool:
        return self.failure.permanent


def load_failed(error: ModelError) -> ProcessFailedError:
    """Return the error that ends a load for what is wrong with the model."""
    return ProcessFailedError(FailureKind.LOAD_FAILED, str(error), hint=error.hint, permanent=error.permanent)
