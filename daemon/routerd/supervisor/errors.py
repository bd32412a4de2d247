"""How a model process can fail the ones who wait for it."""

from __future__ import annotations

from routerd_client.records import FailureKind


class ProcessFailedError(Exception):
    """A model process did not do what was asked. Raised by `ModelProcess.acquire` and by an answer's
    stream; ``retry_after_s`` is when it may be started again, None where nothing says so."""

    def __init__(self, kind: FailureKind, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.retry_after_s = retry_after_s
