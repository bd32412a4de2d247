"""How a model process can fail the ones who wait for it."""

from __future__ import annotations

from routerd_client.records import FailureKind

from ..models.errors import ModelError


class ProcessFailedError(Exception):
    """A model process did not do what was asked. Raised by `ModelProcess.acquire` and by an answer's
    stream; ``retry_after_s`` is when it may be started again, None where nothing says so. ``permanent``: the
    same again fails again, until somebody changes the model's files or the configuration."""

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        hint: str = "",
        retry_after_s: float | None = None,
        permanent: bool = False,
    ) -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.permanent = permanent


def load_failed(error: ModelError) -> ProcessFailedError:
    """``error`` as what ends a load."""
    return ProcessFailedError(FailureKind.LOAD_FAILED, str(error), hint=error.hint, permanent=error.permanent)
