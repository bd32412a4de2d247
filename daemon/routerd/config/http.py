"""What routes.yaml may say of a backend that is asked over HTTP."""

from __future__ import annotations

from functools import cache
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from .types import Duration, Secret, SecretSpec

MESSAGES_MAX_TOKENS = 4096
"""Anthropic's messages must bound the answer: by this where nobody does."""


class TimeoutSpec(Struct, frozen=True, kw_only=True):
    """How long each step may take. None where only the request's own deadline bounds it."""

    connect: Duration = 5.0
    first_token: Duration = 60.0
    """From the request sent to the first piece of the answer."""
    stall: Duration = 60.0
    """Between two pieces."""
    total: Duration | None = None


class HttpSpec(Struct, frozen=True, kw_only=True):
    """An API that answers chats over HTTP, on this machine or elsewhere."""

    model: str
    """The name the API knows it by."""
    base_url: str = ""
    """With the version (``https://api.openai.com/v1``), or ``unix:/path/of.sock``; the maker's own where absent."""
    api_key: Secret | None = None
    headers: dict[str, str] = {}
    """Sent with each request."""
    max_tokens: int | None = None
    """The answer's cap where neither the request nor a route gives one."""
    context: int | None = None
    """Prompt and answer together, in tokens, where it is known."""
    concurrency: int | None = None
    """Requests at a time; further ones wait."""
    tools: bool = True
    vision: bool = True
    prefill: bool = False
    """Whether it goes on from an answer's beginning, sent as the last message."""
    local: bool | None = None
    """True for a server that answers by itself, on this machine. Where absent, one on this machine may forward
    requests: those that must stay here go to it only if it is another routerd, which keeps them here too."""
    routerd: bool = False
    """True for another routerd on another machine: context, session, priority and deadline go on to it. A server on
    this machine gets them anyway."""
    timeouts: TimeoutSpec = TimeoutSpec()

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"HttpSpec({told})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """A header may be a key, so of headers only the names are shown."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return list((fields | {"headers": list(self.headers)}).items())

    @property
    def near(self) -> bool:
        """True where its address is on this machine. It may still forward requests."""
        return is_near(self.base_url)


@cache
def is_near(base_url: str) -> bool:
    """Return whether ``base_url`` is an address on this machine: a Unix socket, or loopback."""
    if base_url.startswith("unix:"):
        return True
    name = host(base_url)
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


@cache
def host(base_url: str) -> str:
    """The name or address in it; ``""`` for none."""
    return urlsplit(base_url).hostname or ""


HttpKind = Literal["openai", "anthropic", "responses"]
HTTP_KINDS: tuple[HttpKind, ...] = ("openai", "anthropic", "responses")

__all__ = ["HTTP_KINDS", "MESSAGES_MAX_TOKENS", "HttpKind", "HttpSpec", "SecretSpec", "TimeoutSpec"]
