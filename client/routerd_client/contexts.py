"""Contexts of common callers, as ``context=`` takes them, and the texts that routes match."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

ContextValue = str | int | float | bool | None
"""A value of a caller's context: a text, or what has a text in JSON. None is an absent one."""

_json = msgspec.json.Encoder()


def cli() -> dict[str, str]:
    """The owner at a terminal."""
    return {"platform": "cli", "source_kind": "owner"}


def cron() -> dict[str, str]:
    """A job that starts by the clock."""
    return {"platform": "cron", "source_kind": "cron"}


def gateway(platform: str, source_kind: str = "") -> dict[str, str]:
    """A message from a chat platform. Without a ``source_kind`` one from the platform ``hub`` is an agent's
    (``hub_peer``), and any other a ``stranger``'s: who knows the sender to be the owner says ``owner``."""
    return {"platform": platform, "source_kind": source_kind or ("hub_peer" if platform == "hub" else "stranger")}


def texts(context: Mapping[str, ContextValue]) -> dict[str, str]:
    """Return ``context`` as routes see it: numbers and booleans as their JSON text, None left out.

    Raises ``TypeError`` for a value of any other type, naming its key.
    """
    return {key: text for key, value in context.items() if (text := _text(key, value)) is not None}


def _text(key: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        text = _json.encode(value).decode()
        return None if text == "null" else text  # not a number, or infinite
    raise TypeError(f"context[{key!r}] is of type {type(value).__name__}; write a text, a number or a boolean")
