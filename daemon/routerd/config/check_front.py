"""The address for HTTP: one that can be listened on, and that others reach only where that is said."""

from __future__ import annotations

from .front import is_loopback
from .report import Report
from .yamltree import Node


def check_front(tree: Node, report: Report) -> None:
    """Report what is wrong with ``http``."""
    http = tree.get("http")
    listen, remote = (http.get("listen"), http.get("remote")) if http else (None, None)
    if not listen or not isinstance(listen.value, str):
        return
    try:
        local = is_loopback(listen.value)
    except ValueError:
        report.add(listen, f"http.listen: '{listen.value}' is not an address and a port", "write 127.0.0.1:8765")
        return
    if not local and not (remote and remote.value is True):
        hint = "write 127.0.0.1, or `remote: true` if you mean it: nothing is encrypted"
        report.add(listen, f"http.listen: other machines could ask at {listen.value}", hint)
