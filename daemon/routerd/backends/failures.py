"""What an API's refusal to answer means: one table of codes, one of texts, one of statuses, for all makers. Pure.

docs/backends.md shows these tables; tests compare them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from routerd_client.records import FailureKind

from .base import BackendError
from .retry_after import retry_after

_K = FailureKind

CODES: dict[FailureKind, tuple[str, ...]] = {
    _K.CONTEXT_OVERFLOW: ("context_length_exceeded", "exceed_context_size_error", "request_too_large"),
    _K.QUOTA_SPENT: ("insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active"),
    _K.CONTENT_FILTERED: (
        "content_filter",
        "content_policy_violation",
        "ResponsibleAIPolicyViolation",
        "bio_policy",
        "misalignment_policy_violation",
    ),
    _K.RATE_LIMITED: ("rate_limit_exceeded", "rate_limit_error"),
    _K.OVERLOADED: ("overloaded_error", "unavailable_error", "server_overloaded", "slow_down"),
    _K.AUTH_FAILED: ("invalid_api_key", "authentication_error", "permission_error"),
    _K.NOT_FOUND: ("model_not_found", "not_found_error", "DeploymentNotFound"),
}
"""A maker's ``code`` or ``type``, whatever the status."""

TEXTS: dict[FailureKind, tuple[str, ...]] = {
    _K.QUOTA_SPENT: (
        "exceeded your current quota",
        "credit balance is too low",
        "insufficient balance",
        "reached your specified api usage limits",
    ),
    _K.CONTEXT_OVERFLOW: (
        "prompt is too long",
        "maximum context length",
        "maximum model length",
        "maximum prompt length",
        "exceed context limit",
        "exceeds the context window",
        "exceeds the available context size",
        "exceeds the maximum number of tokens",
        "greater than the context length",
        "when context the overflows",
    ),
    _K.CONTENT_FILTERED: ("content filtering policy", "content management policy"),
}
"""What a message says, where no code does; not looked for where the status says it already."""

STATUSES: dict[FailureKind, tuple[int, ...]] = {
    _K.AUTH_FAILED: (401, 403),
    _K.QUOTA_SPENT: (402,),
    _K.NOT_FOUND: (404, 405, 410),
    _K.SERVER_ERROR: (408, 409),
    _K.CONTEXT_OVERFLOW: (413,),
    _K.RATE_LIMITED: (429,),
    _K.OVERLOADED: (498, 503, 529),
}
"""Where neither code nor text is known. Any 3xx is `NOT_FOUND`, another 4xx `BAD_REQUEST`, 5xx `SERVER_ERROR`."""

HINTS: dict[FailureKind, str] = {
    _K.AUTH_FAILED: "check the backend's api_key",
    _K.NOT_FOUND: "check the backend's model and base_url",
    _K.QUOTA_SPENT: "look at your account with the maker",
}

_KIND_OF_CODE = {code: kind for kind, codes in CODES.items() for code in codes}
_KIND_OF_STATUS = {status: kind for kind, statuses in STATUSES.items() for status in statuses}
_SPEAKING = (401, 403, 404, 429)  # a message that mentions the context does not make these anything else
_MAX_MESSAGE = 500
_LOOKED_AT = 2**16
"""Characters of an error that are looked at."""
_SHORTEST_KEY = 8  # what is shorter guards nothing, and may be a word
_READ = 4 * _MAX_MESSAGE
_KEYS = re.compile(r"(?i)\b(?:sk|pk|rk|gsk|xai)[-_][\w*.-]{8,}|\bAIza[\w*-]{8,}|[\w-]*\*{3,}[\w*-]*|(?<=bearer )\S+")


class Said(Struct, frozen=True):
    """What an error's body says: the maker's words, its codes, and the HTTP status that it names itself."""

    message: str = ""
    codes: tuple[str, ...] = ()
    status: int | None = None


def said(body: bytes) -> Said:
    """Read an error's body in any of the makers' shapes; what is not JSON is a message itself."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Said(body[:_LOOKED_AT].decode(errors="replace"))
    root = value.get("error") or value if isinstance(value, dict) else value
    if not isinstance(root, dict):
        return Said(root[:_LOOKED_AT] if isinstance(root, str) else body[:_LOOKED_AT].decode(errors="replace"))
    inner = root.get("innererror")
    candidates = [root.get("code"), inner.get("code") if isinstance(inner, dict) else None, root.get("type")]
    status = next((code for code in candidates if isinstance(code, int) and 400 <= code < 600), None)
    message = next((text for key in ("message", "detail", "error") if (text := _text(root.get(key)))), "")
    return Said(message[:_LOOKED_AT], tuple(code for code in candidates if isinstance(code, str)), status)


def failed(
    place: str,
    status: int,
    error: Said,
    headers: Mapping[str, str],
    now: float,
    secrets: Iterable[str] = (),
) -> BackendError:
    """The failure of an API at ``place``, which answered ``status`` (200: inside a stream) with ``error``.

    ``headers`` have lower-case names; ``now`` is seconds since 1970; ``secrets`` never come into the message.
    """
    status = error.status or status if status == 200 else status
    kind = kind_of(status, error)
    words = redact(error.message, secrets) or "no reason given"
    code = "" if status == 200 else f" {status}"
    return BackendError(
        kind,
        f"{place} answered{code}: {words}",
        hint=HINTS.get(kind, ""),
        retry_after_s=retry_after(headers, now, limited=kind in (_K.RATE_LIMITED, _K.QUOTA_SPENT)),
    )


def kind_of(status: int, error: Said) -> FailureKind:
    """Codes first, then words, then the status."""
    for code in error.codes:
        if code in _KIND_OF_CODE:
            return _KIND_OF_CODE[code]
    words = error.message.lower()
    for kind, texts in TEXTS.items():
        if (kind is _K.QUOTA_SPENT or status not in _SPEAKING) and any(text in words for text in texts):
            return kind
    if status in _KIND_OF_STATUS:
        return _KIND_OF_STATUS[status]
    if 300 <= status < 400:
        return _K.NOT_FOUND
    callers = 400 <= status < 500 or (status == 200 and any(code.startswith("invalid_") for code in error.codes))
    return _K.BAD_REQUEST if callers else _K.SERVER_ERROR


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` on one line, not too long, without ``secrets`` and without anything that looks like a key."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_KEY:
            text = text.replace(secret, "[key]")
    text = " ".join(_KEYS.sub("[key]", text[:_READ]).split())
    text = "".join(c for c in text if c.isprintable())
    return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + "..."


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) and value else ""
