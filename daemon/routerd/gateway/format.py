"""What a format of chats over HTTP is to the front: a pure translation, both ways. A new one is one module that has
these, and its line in `formats.FORMATS`.

The opposite direction of the same formats stands in backends/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routerd_client.chat import (
    LONGEST_NAME,
    MOST_CONTEXT,
    MOST_MESSAGES,
    MOST_PARTS,
    MOST_STOPS,
    MOST_TOOLS,
    ChatRequest,
    Usage,
)
from routerd_client.contexts import texts
from routerd_client.protocol import Delta, Done, Error, ErrorCode, Routed
from routerd_client.records import FailureKind

from ..routing.sentinels import NO_LIMIT
from .steering import steers

T = TypeVar("T")

encode = msgspec.json.Encoder().encode


def check_counts(chat: ChatRequest) -> None:
    """Raise `BadRequestError` for a request with more of something than the daemon takes, however it came."""
    for name, most in (
        ("messages", MOST_MESSAGES),
        ("tools", MOST_TOOLS),
        ("stop", MOST_STOPS),
        ("context", MOST_CONTEXT),
    ):
        if (count := len(getattr(chat, name))) > most:
            raise BadRequestError(f"{name} has {count} entries; the most is {most}", name)
    for name in ("model", "session"):
        if len(getattr(chat, name)) > LONGEST_NAME:
            raise BadRequestError(f"{name} is longer than {LONGEST_NAME} characters", name)
    for at, message in enumerate(chat.messages):
        if isinstance(message.content, list) and len(message.content) > MOST_PARTS:
            raise BadRequestError(f"messages[{at}].content has more than {MOST_PARTS} parts", f"messages[{at}].content")


class BadRequestError(Exception):
    """The request is wrong. ``param`` is where: ``messages[0].content``, or ``""`` for the body as a whole."""

    def __init__(self, message: str, param: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class Refusal(Struct, frozen=True):
    """A request that gets no answer: the HTTP status, and what the caller is told."""

    status: int
    error: Error
    param: str = ""


class Writer(Protocol):
    """Writes the answer to one request: `whole`, or, streamed, `begin`, any number of `delta` and `ping`, and `done`
    or `failed`. What they return is sent as it is, ``b""`` is not sent."""

    def begin(self, routed: Routed, usage: Usage) -> bytes:
        """The stream's beginning. ``routed`` is the attempt that answers, or the one under way where the answer is
        long in coming; ``usage`` has the prompt's tokens where they are known by now. From now on it can only end or
        break off."""
        ...

    def delta(self, delta: Delta) -> bytes:
        """More of the answer. Tool calls are whole, each with its ``index``."""
        ...

    def ping(self) -> bytes:
        """What keeps the connection alive where nothing comes for a while."""
        ...

    def done(self, done: Done) -> bytes:
        """The stream's end, all of it. ``done.message`` is None: the deltas brought it."""
        ...

    def failed(self, error: Error) -> bytes:
        """The answer broke off, ``interrupted`` or by a deadline: never what a client takes for a normal end."""
        ...

    def whole(self, done: Done) -> bytes:
        """The body of an answer that is not streamed. ``done.message`` is all of it."""
        ...


TOO_DEEP = "the body is nested too deeply to be read: send it flatter"
LEFT_OUT = "x-routerd-left-out"
MOST_FIELDS = 200
_EXACT = 2.0**53
"""Below it, floats stand for one whole number each."""
ROUTE = "x-routerd-route"
"""The header that says what `Asked.left_out` does."""


class Asked(Struct, frozen=True):
    """One request as its format read it, and who writes its answer.

    In ``chat`` are ``stream``, ``model`` as it was sent, ``context`` and ``session`` as far as the body says them
    (see `told`), and what the format does not know in ``extra[KIND]``, ``KIND`` being the key of the backends of the
    same format. Headers that mean the same in every format are laid on it afterwards; they win. ``left_out`` names
    what no backend will be told, ``read`` the fields of ``extra`` whose meaning ``chat`` has too.
    """

    chat: ChatRequest
    writer: Writer
    left_out: list[str] = []
    read: frozenset[str] = frozenset()


class Format(Protocol):
    """A module with these."""

    OVERLOADED: int
    """The HTTP status that says: all are busy. 429 says that a rate limit was met."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> Asked:
        """The request in ``body``; names in ``headers`` are found in any case. Raises `BadRequestError`, and nothing
        else, whatever the bytes are."""
        ...

    def refuse(self, refusal: Refusal) -> bytes:
        """The body that says so. Its JSON also has what `about` tells."""
        ...


STATUS: dict[ErrorCode, int] = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.CONTEXT_OVERFLOW: 400,
    ErrorCode.CONTENT_FILTERED: 400,
    ErrorCode.BUDGET: 402,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.BUSY: 409,
    ErrorCode.OVERLOADED: 429,
    ErrorCode.CANCELLED: 499,
    ErrorCode.CONFIG: 502,
    ErrorCode.INTERRUPTED: 502,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.SHUTTING_DOWN: 503,
    ErrorCode.DEADLINE: 504,
}
"""The HTTP status of an error; 500 for the rest."""


def refusal(error: Error) -> Refusal:
    return Refusal(STATUS.get(error.code, 500), error)


def spoken_in(refusal: Refusal, format_: Format) -> Refusal:
    """``refusal`` with the status that the format has for it."""
    limited = refusal.error.failure is FailureKind.RATE_LIMITED
    return replace(refusal, status=format_.OVERLOADED) if refusal.status == 429 and not limited else refusal


def bad_request(error: BadRequestError) -> Refusal:
    return Refusal(400, Error(id=0, code=ErrorCode.BAD_REQUEST, message=error.message), error.param)


def words(error: Error) -> str:
    """All that a person should read of it."""
    return f"{error.message} ({error.hint})" if error.hint else error.message


def about(end: Done | Error) -> dict[str, Any]:
    """What is told of every answer and error beside what its format has, under the key ``routerd``: who answered,
    what was tried before, what it cost, what is wrong with it. Nothing that has its default value."""
    told: dict[str, Any] = {"request_id": end.request_id}
    if isinstance(end, Done):
        told |= {"backend": end.backend, "model": end.model, "endpoint": end.endpoint, "route": end.route}
        told |= {"cost_microusd": end.cost_microusd, "flaw": end.flaw, "flaw_message": end.flaw_message}
        told["dropped"] = end.dropped
    else:
        told |= {"code": end.code, "retryable": end.retryable, "retry_after": end.retry_after}
    told["attempts"] = end.attempts
    return {name: value for name, value in told.items() if value not in (None, "", [], 0, False)}


def in_one(done: Done) -> Delta:
    """An answer that was not streamed, as a stream of one piece."""
    assert done.message
    said = done.message
    return Delta(
        id=0,
        attempt=done.attempt,
        text=said.text,
        reasoning=said.reasoning or "",
        tool_calls=said.tool_calls,
        logprobs=done.logprobs,
    )


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The body as a struct. Raises `BadRequestError` with the place of what is wrong."""
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            if not str(error).startswith("Expected `int"):
                raise
            return decoder.decode(encode(with_whole_numbers(_ANYTHING.decode(body))))
    except msgspec.ValidationError as error:
        raise wrong_type(error) from None
    except RecursionError:
        raise BadRequestError(TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(f"the body is not JSON: {error}") from None


_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_FIELDS: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


_PLACE = re.compile(r" - at (?P<inner>`(?:key|value)` in )?`\$(?P<path>[^`]*)`$")
_TYPES = re.compile(r"^Expected `(?P<wanted>[^`]+)`(?:, got `(?P<got>[^`]+)`)?$")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}


def wrong_type(error: msgspec.ValidationError, place: str = "") -> BadRequestError:
    """Say in plain words what is wrong and where; ``place`` is where the checked value itself stands."""
    message = str(error)
    if found := _PLACE.search(message):
        message = message[: found.start()]
    param = (place + (found["path"] if found else "")).removeprefix(".")
    message = _plainly(message)
    if found and found["inner"] and "key" in found["inner"]:
        message = f"a key is wrong: {message}"
    return BadRequestError(f"{param}: {message}" if param else message, param)


def _plainly(message: str) -> str:
    """Put Python's names of types into the words of JSON."""
    if not (found := _TYPES.match(message)):
        return message
    *others, last = [_WORDS.get(name, name) for name in found["wanted"].split(" | ")]
    wanted = f"{', '.join(others)} or {last}" if others else last
    if not found["got"]:
        return f"expected {wanted}"
    whole = found["got"] == "float" and "int" in found["wanted"].split(" | ")
    got = "a number with a fraction" if whole else _WORDS.get(found["got"], found["got"])
    return f"expected {wanted}, got {got}"


def with_whole_numbers(fields: Any) -> Any:
    """``fields`` of a request with ``64`` for each ``64.0``, as some clients write whole numbers."""
    if not isinstance(fields, dict):
        return fields
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value
        for name, value in fields.items()
    }


def unknown(body: bytes, known: frozenset[str]) -> tuple[dict[str, Any], list[str]]:
    """The fields of ``body``, which was decoded before, that are not ``known`` and not null: those that are passed
    on, and the names of those that are not, since they are for a proxy (see `steering`).

    Raises `BadRequestError` for an ``extra_body``, by which some proxies take any field at all.
    """
    fields = decode(_FIELDS, body)
    if len(fields) > MOST_FIELDS:
        raise BadRequestError(f"{len(fields)} fields: no request has more than {MOST_FIELDS}")
    given = {name: decode(_ANYTHING, raw) for name, raw in fields.items() if name not in known}
    if given.pop("extra_body", None) is not None:
        raise BadRequestError("extra_body: send its fields beside the others, as SDKs do", "extra_body")
    found = {name: value for name, value in given.items() if value is not None}
    steering = [name for name in found if steers(name)]
    return {name: found[name] for name in found.keys() - set(steering)}, [f"the field {name}" for name in steering]


def max_tokens_of(number: int | None, field: str) -> int | None:
    """Return the answer's cap: at least 1, or one of `NO_LIMIT`. Raises `BadRequestError` for anything else."""
    if number is not None and number < 1 and number not in NO_LIMIT:
        raise BadRequestError(f"{field} is {number}; it must be at least 1, or -1 for no limit", field)
    return number


def told(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """The caller's context as a request's ``metadata`` tells it: its texts, numbers and booleans, but for ``user_id``,
    a session's name."""
    plain = {key: value for key, value in (metadata or {}).items() if isinstance(value, str | int | float)}
    return texts({key: value for key, value in plain.items() if key != "user_id"})


def session_of(cache_key: str | None, metadata: Mapping[str, Any] | None) -> str:
    """The conversation as a body of OpenAI's formats names it."""
    user = (metadata or {}).get("user_id")
    return cache_key or (user if isinstance(user, str) else "")
