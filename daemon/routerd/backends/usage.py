"""Token counts as an API reports them: bounded where they are read, whatever the API sends. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import astuple

from routerd_client.chat import Usage

from ..spend.tariff import MOST_TOKENS

NO_USAGE = msgspec.Raw(b"null")
_ABSURD = MOST_TOKENS + 1
_OBJECT: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


def fields(usage: msgspec.Raw) -> dict[str, Any]:
    """Decode an API's usage object; ``{}`` where it is none, which never costs the answer."""
    try:
        return _OBJECT.decode(usage)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}


def tokens(usage: Mapping[str, Any], *path: str) -> int:
    """Return the count at ``path`` in ``usage``: 0 for none, over `MOST_TOKENS` for what is no count."""
    value: Any = usage
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else _ABSURD


def believable(usage: Usage) -> Usage:
    """Return ``usage``, or an empty one (nobody knows) where one of its counts is beyond every model."""
    return usage if all(0 <= count <= MOST_TOKENS for count in astuple(usage)) else Usage()
