"""Where the ranks run: from the names of routes.yaml to what `mlx.launch` wants to know."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec
from msgspec import Struct

from ...models.errors import BrokenModelError

THIS_MACHINE = "127.0.0.1"
"""The name under which `mlx.launch` starts a rank by itself; all others it starts over ssh."""


class Host(Struct, frozen=True):
    """A rank's place: its name in routes.yaml, what ssh calls it, and the address the other ranks reach it by."""

    name: str
    ssh: str
    ip: str

    @property
    def local(self) -> bool:
        return self.ssh == THIS_MACHINE


def address(name: str) -> str:
    """The IPv4 address of ``name``, without the user that ssh logs in as. Raises ``OSError``; blocks on the network."""
    host = name.rpartition("@")[2]
    found = socket.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    return str(found[0][4][0])


def is_ours(ip: str) -> bool:
    """Whether this machine has the address ``ip``."""
    with socket.socket() as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
        return True


def locate(
    names: list[str], address: Callable[[str], str] = address, is_ours: Callable[[str], bool] = is_ours
) -> list[Host]:
    """The places of all ranks, in order. Raises `BrokenModelError` where they cannot work together."""
    hosts = []
    for name in names:
        try:
            ip = address(name)
        except OSError as exc:
            hint = "write it as ssh and this machine's resolver know it, or as an IPv4 address"
            message = f"hosts: {name} has no address: {exc.strerror or exc}"
            raise BrokenModelError(message, hint=hint, permanent=False) from exc
        hosts.append(Host(name, THIS_MACHINE if is_ours(ip) else name, ip))
    if not hosts[0].local:
        raise BrokenModelError(
            f"hosts: {hosts[0].name} ({hosts[0].ip}) is another machine",
            hint="the first of hosts is this machine: requests come in there",
        )
    unreachable = next((host for host in hosts if host.ip.startswith("127.")), None)
    if unreachable and not all(host.local for host in hosts):
        raise BrokenModelError(
            f"hosts: {unreachable.name} ({unreachable.ip}) cannot be reached from the other machines",
            hint="write this machine as the others call it",
        )
    return hosts


def hostfile(hosts: list[Host]) -> str:
    """``hosts`` in `mlx.launch`'s own form."""
    return msgspec.json.encode([{"ssh": host.ssh, "ips": [host.ip]} for host in hosts]).decode()
