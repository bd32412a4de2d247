"""Who may ask over TCP. Pure. Over the Unix socket the kernel's word for the peer's user is enough."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from routerd_client.protocol import ErrorCode

from .page import refused

OPEN = ("/", "/health")
"""Paths that tell nothing, and need no token."""


class Guard:
    """``hosts`` are names, beside this machine's own, by which it may be asked; ``token`` gives the one of now."""

    def __init__(self, hosts: tuple[str, ...], token: Callable[[], str]) -> None:
        self._hosts = {"localhost", *map(str.lower, hosts)}
        self._token = token

    def check(self, path: str, headers: Mapping[str, str]) -> None:
        """Raises `RefusedError` for what no program of this machine's user would send.

        A page in a browser can make it send requests to any address, and with a name of its own that it points
        here (DNS rebinding) even read the answers: its ``Host`` or ``Origin`` gives it away.
        """
        host = headers.get("host", "")
        if not self._is_ours(_without_port(host)):
            hint = "ask by the address in `http: listen`, or add the name to `http: hosts`"
            raise refused(421, f"this is not the host {host!r}", hint)
        if "origin" in headers or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise refused(403, "requests from web pages are refused", "ask from a program, not from a page")
        if path not in OPEN and not self._knows(headers):
            raise refused(
                401,
                "the token is missing or wrong",
                "send `Authorization: Bearer` with what `routerctl token` prints",
                ErrorCode.BAD_REQUEST,
                www_authenticate='Bearer realm="routerd"',
            )

    def _is_ours(self, name: str) -> bool:
        if name.lower().rstrip(".") in self._hosts:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True  # an address was not looked up, so nobody has redirected it

    def _knows(self, headers: Mapping[str, str]) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip() if scheme.lower() == "bearer" and key else headers.get("x-api-key", "")
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token().encode())


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host
