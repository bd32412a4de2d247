"""The address for HTTP: one that can be listened on, and that others reach only where that is said."""

from __future__ import annotations

from urllib.parse import urlsplit

from .front import is_loopback, parse_listen
from .http import HTTP_KINDS
from .report import Report
from .yamltree import Node, select


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
    _check_circles(tree, listen.value, report)
    if not local and not (remote and remote.value is True):
        hint = "write 127.0.0.1, or `remote: true` if you mean it: nothing is encrypted"
        report.add(listen, f"http.listen: other machines could ask at {listen.value}", hint)


def _check_circles(tree: Node, listen: str, report: Report) -> None:
    """Report backends that are this daemon: a request would come back for ever."""
    own = {parse_listen(listen), ("127.0.0.1", parse_listen(listen)[1])}
    for kind in HTTP_KINDS:
        for path, url in select(tree, ("backends", "*", kind, "base_url")):
            if isinstance(url.value, str) and _place(url.value) in own:
                message = f"{path}: routerd itself listens there (http.listen)"
                report.add(url, message, "give the address of the server that is meant")


def _place(url: str) -> tuple[str, int] | None:
    try:
        return parse_listen(urlsplit(url).netloc)
    except ValueError:  # a name, or told elsewhere
        return None
