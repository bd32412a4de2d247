"""What is asked once and answered at once, anything but chats: a page is one function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

from routerd_client.protocol import Error, ErrorCode

from .format import Refusal, encode
from .services import Services


class Ask(Struct, frozen=True, kw_only=True):
    """A request. ``rest`` is the path's end, behind the page's own; names in ``headers`` are found in any case."""

    request_id: str
    headers: Mapping[str, str]
    rest: str = ""
    body: bytes = b""


class Reply(Struct, frozen=True, kw_only=True):
    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = {}


class RefusedError(Exception):
    """What a page, or the front itself, will not answer."""

    def __init__(self, refusal: Refusal, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(refusal.error.message)
        self.refusal = refusal
        self.headers = dict(headers or {})


SHUTTING_DOWN = Error(
    id=0,
    code=ErrorCode.SHUTTING_DOWN,
    message="the daemon is shutting down",
    hint="ask again when it is back",
    retryable=True,
)

Page = Callable[[Services, Ask], Awaitable[Reply]]
"""Raises `RefusedError` or `format.BadRequestError`; the answer is then written by the path's format."""


def json(value: Any) -> Reply:
    return Reply(body=encode(value))


def refused(
    status: int, message: str, hint: str = "", code: ErrorCode = ErrorCode.BAD_REQUEST, **headers: str
) -> RefusedError:
    """``headers`` with underscores for hyphens."""
    error = Error(id=0, code=code, message=message, hint=hint)
    return RefusedError(Refusal(status, error), {name.replace("_", "-"): value for name, value in headers.items()})
