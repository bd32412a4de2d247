"""What a request's headers say of its caller, in every format alike."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from msgspec.structs import replace

from routerd_client.chat import ChatRequest, Priority

from ..backends.http import HOPS
from ..backends.peer import CONTEXT, DEADLINE, LOCAL_ONLY, PRIORITY, SESSION
from .format import BadRequestError

CLIENT = "x-routerd-client"
"""For agents that cannot set their ``User-Agent``."""

MOST_HOPS = 5
"""Routers that a request may come through: more are a circle."""

SESSIONS = ("x-claude-code-session-id", "session-id", "x-session-id", "x-session-affinity")
"""Headers by which agents name their conversation, the surest first."""

_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no", "")
_NAMES = {
    "claude-cli": "claude-code",
    "codex_cli_rs": "codex",
    "codex_exec": "codex",
    "codex-tui": "codex",
    "hermesagent": "hermes",
}
_MAX_NAME = 64


def laid_on(chat: ChatRequest, headers: Mapping[str, str]) -> ChatRequest:
    """``chat`` with what the headers say of its caller; they win over the body. Raises `BadRequestError`."""
    said: dict[str, Any] = {}
    if text := headers.get(CONTEXT):
        said["context"] = chat.context | _context(text)
    if (text := headers.get(LOCAL_ONLY)) is not None:
        said["local_only"] = _truth(text)
    if text := headers.get(PRIORITY):
        said["priority"] = _priority(text)
    if text := headers.get(DEADLINE):
        said["deadline_s"] = _seconds(text)
    if text := headers.get(HOPS):
        said["hops"] = _hops(text)
    if text := headers.get(SESSION):
        said["session"] = _unicode(unquote(text))
    elif session := next((value for name in SESSIONS if (value := headers.get(name))), ""):
        said["session"] = _unicode(session)
    return replace(chat, **said) if said else chat


def client_name(headers: Mapping[str, str]) -> str:
    """Who asks: an agent by its own name (``claude-code``), any other program as it calls itself (``curl``,
    ``openai-python``), or by what the header `CLIENT` says; ``""`` where it does not say."""
    if named := _unicode(headers.get(CLIENT, "")).strip().lower():
        return named[:_MAX_NAME]
    product, _, version = _unicode(headers.get("user-agent", "")).partition(" ")[0].lower().partition("/")
    if version and not version[0].isdigit():
        product = f"{product.removeprefix('async')}-{version}"  # the SDKs: OpenAI/Python 3.1, AsyncOpenAI/Python 3.1
    return _NAMES.get(product, product)[:_MAX_NAME]


def _context(text: str) -> dict[str, str]:
    """``platform=cli,task=plan``; both may be percent-encoded, as what is no ASCII and commas have to be."""
    context: dict[str, str] = {}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not (equals and key.strip()):
            raise BadRequestError(
                f"{CONTEXT}: {pair.strip()!r} is not key=value; write platform=cli,task=plan", CONTEXT
            )
        context[_unicode(unquote(key.strip()))] = _unicode(unquote(value.strip()))
    return context


def _unicode(text: str) -> str:
    """Replace the bytes of a header that are no UTF-8; they stand in ``text`` as halves of characters."""
    return text if text.isascii() else text.encode(errors="surrogateescape").decode(errors="replace")


def _truth(text: str) -> bool:
    value = text.strip().lower()
    if value not in _TRUE + _FALSE:
        raise BadRequestError(f"{LOCAL_ONLY} is {text!r}; it must be true or false", LOCAL_ONLY)
    return value in _TRUE


def _priority(text: str) -> Priority:
    try:
        return Priority(text.strip().lower())
    except ValueError:
        known = ", ".join(priority.value for priority in Priority)
        raise BadRequestError(f"{PRIORITY} is {text!r}; it must be one of {known}", PRIORITY) from None


def _hops(text: str) -> int:
    hops = int(text) if re.fullmatch(r"[0-9]{1,4}", text) else 0
    if hops > MOST_HOPS:
        raise BadRequestError(
            f"the request came through {hops} routers: does a base_url in routes.yaml lead back to where it stands?",
            HOPS,
        )
    return hops


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise BadRequestError(f"{DEADLINE} is {text!r}; it must be a number of seconds above 0", DEADLINE)
    return seconds
