"""What a client can raise: few classes, each one a caller can act on."""

from __future__ import annotations

from .protocol import Error, ErrorCode
from .records import Attempt


class RouterdError(Exception):
    """Anything this client raises on purpose."""


class DaemonUnavailableError(RouterdError):
    """No daemon answered on the socket, or it went away before the request ended.

    ``sent`` is true where the request had been written, so that it may have been carried out.
    """

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class ProtocolMismatchError(RouterdError):
    """The daemon speaks another protocol: update the older of the two."""


class RequestFailedError(RouterdError):
    """The daemon answered with an error.

    ``code`` says what kind, ``retryable`` whether the same request may succeed later, ``retry_after``
    (seconds, or None) when, ``hint`` what to do next.
    """

    def __init__(self, error: Error) -> None:
        super().__init__(error.message + (f" ({error.hint})" if error.hint else ""))
        self.code: ErrorCode = error.code
        self.hint = error.hint
        self.retryable = error.retryable
        self.retry_after = error.retry_after
        self.request_id = error.request_id
        self.attempts: list[Attempt] = error.attempts


class InterruptedAnswerError(RequestFailedError):
    """The answer broke off after some of it had been handed out; ``partial`` is that text."""

    def __init__(self, error: Error, partial: str) -> None:
        super().__init__(error)
        self.partial = partial


def dial_hint(path: object, error: OSError) -> str:
    """What to tell a person whose call found no daemon."""
    what = {
        "FileNotFoundError": "the daemon is not running",
        "ConnectionRefusedError": "the daemon is not running (it left its socket behind)",
        "PermissionError": "the socket belongs to another user",
    }.get(type(error).__name__, f"the socket cannot be reached ({error})")
    return f"{what}: nothing answers at {path}. Start it with: routerctl install, or routerd serve"
