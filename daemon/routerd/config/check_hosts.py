"""Models over several machines: hosts that can be meant, and what cannot be had together with them."""

from __future__ import annotations

import re

from .report import Report
from .yamltree import Node, select

_HOST = re.compile(r"([\w.-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*", re.ASCII)


def check_hosts(tree: Node, report: Report) -> None:
    """Report ``hosts`` that name no machines, and an adapter next to them."""
    for path, mlx in select(tree, ("backends", "*", "mlx")):
        hosts, adapter = mlx.get("hosts"), mlx.get("adapter")
        if not hosts or not isinstance(hosts.value, list) or not hosts.value:
            continue
        if len(hosts.value) < 2:
            report.add(hosts, f"{path}.hosts: at least two are needed, this machine first", "or remove it")
        for host in hosts.elements():
            if isinstance(host.value, str) and not _HOST.fullmatch(host.value):
                report.add(
                    host, f"{path}.hosts: '{host.value}' is no machine", "write a name, an IPv4 address, or user@name"
                )
        if adapter:
            fuse = "mlx_lm.fuse makes one model of both"
            report.add(adapter, f"{path}.adapter: there are none over several machines", fuse)
