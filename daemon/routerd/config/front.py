"""What routes.yaml may say of HTTP: where the daemon takes requests over TCP, if anywhere."""

from __future__ import annotations

from ipaddress import ip_address

from msgspec import Struct

LOCALHOST = "127.0.0.1"


class FrontSpec(Struct, frozen=True, kw_only=True):
    """Requests over TCP need the token that ``routerctl token`` prints."""

    listen: str
    """Address and port, ``127.0.0.1:8765``."""
    remote: bool = False
    """Other machines may ask too, and what they send and get is not encrypted. Needed where ``listen`` is no
    address of this machine alone."""
    hosts: tuple[str, ...] = ()
    """Names by which it is asked, beside ``localhost`` and addresses."""

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        return parse_listen(self.listen)


def parse_listen(text: str) -> tuple[str, int]:
    """``127.0.0.1:8765``, ``localhost:8765`` or ``[::1]:8765`` as host and port. Raises ``ValueError``."""
    host, colon, port = text.rpartition(":")
    host = LOCALHOST if host == "localhost" else host.removeprefix("[").removesuffix("]")
    ip_address(host)
    if not (colon and port.isascii() and port.isdigit() and int(port) < 2**16):
        raise ValueError(f"no port in {text!r}")
    return host, int(port)


def is_loopback(text: str) -> bool:
    """Whether only this machine reaches the address. Raises ``ValueError``."""
    return ip_address(parse_listen(text)[0]).is_loopback
