"""What a way of writing chats over HTTP is: a pure translation, both ways. A new one is one file that has these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import msgspec
import structlog
from msgspec import to_builtins

from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind

from ..config.http import HttpSpec
from ..routing.terms import Terms
from .base import BackendError, End, Piece
from .failures import Said, said
from .sse import Event

log = structlog.get_logger()

T = TypeVar("T")

MOST_CALLS = 10_000
"""Tool calls of one answer."""
_PLAIN = (str, int, float)


class Reader(Protocol):
    """Reads one answer, event by event."""

    done: bool
    """Whether its end marker has come; what the server sends after it does not matter."""

    def feed(self, event: Event) -> Piece | None:
        """What ``event`` brings; None where it only keeps the connection alive, an empty piece where something
        comes that is given on later (the arguments of a tool call).

        Raises `ErrorInStreamError`, and `BackendError` where the event is not what it must be.
        """
        ...

    def whole(self, body: bytes) -> Piece | None:
        """The same, of an answer that a server which cannot stream gave in one piece."""
        ...

    def end(self) -> End:
        """How the answer ended. Raises `BackendError` where it never said so: it was cut."""
        ...


class Format(Protocol):
    """A module with these."""

    BASE_URL: str
    """The maker's own."""
    PATH: str

    def headers(self, key: str, spec: HttpSpec) -> dict[str, str]:
        """Those that carry ``key`` (``""`` for none) and name the version; names in lower case."""
        ...

    def encode(self, chat: ChatRequest, spec: HttpSpec, terms: Terms) -> dict[str, Any]:
        """The request's body, asking for a stream. Raises `BackendError` for what the format cannot say."""
        ...

    def reader(self) -> Reader: ...


class ErrorInStreamError(Exception):
    """The server sent an error instead of more of the answer."""

    def __init__(self, error: Said) -> None:
        super().__init__(error.message)
        self.said = error

    @classmethod
    def of(cls, body: bytes) -> ErrorInStreamError:
        return cls(said(body))


def decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Decode one event's data. Raises `BackendError`."""
    try:
        return decoder.decode(data)
    except RecursionError:
        raise BackendError(FailureKind.MALFORMED, "the API sent JSON that is nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackendError(FailureKind.MALFORMED, f"the API sent what is not of its format: {error}") from None


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Have any exception of those who read what ``place`` sent be its failure, with the traceback in the log.

    Raises `BackendError`, or `ErrorInStreamError`.
    """
    try:
        yield
    except (BackendError, ErrorInStreamError):
        raise
    except Exception as error:
        log.exception("backend.unreadable", place=place)
        message = f"{place} sent what cannot be read: {type(error).__name__}"
        raise BackendError(FailureKind.MALFORMED, message) from None


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are an opinion, in plain types: None, ``""``, ``[]`` and ``{}`` are none, 0 and False are."""
    return {
        name: value if isinstance(value, _PLAIN) else to_builtins(value)
        for name, value in fields.items()
        if value is not None and value not in ("", [], {})
    }


def spelled(token: str, raw: Any) -> list[int]:
    """Return the bytes ``raw`` that a server sent for ``token``, empty if they are just the text's."""
    if not isinstance(raw, list) or raw == list(token.encode(errors="replace")):
        return []
    return [byte for byte in raw if isinstance(byte, int) and 0 <= byte < 256]


def limit_calls(count: int) -> None:
    """Raise `BackendError` where an answer has ``count`` tool calls and no honest one can."""
    if count > MOST_CALLS:
        raise BackendError(FailureKind.MALFORMED, f"the API sent more than {MOST_CALLS} tool calls in one answer")


def cut() -> BackendError:
    return BackendError(FailureKind.CUT, "the answer broke off: the stream ended without a reason to finish")


def bad_image(url: str) -> BackendError:
    message = f"an image must be an https: or a data: URL, not {url[:20]!r}"
    return BackendError(FailureKind.BAD_REQUEST, message)
