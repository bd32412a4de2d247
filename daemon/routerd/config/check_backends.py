"""Backends: one kind each, secrets that can be found, addresses that can be asked."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from .http import HTTP_KINDS, is_near
from .report import Report
from .schema import BACKEND_KINDS
from .yamltree import Node, select

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = {"connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"}
_SECRETS = ("env", "file", "keychain", "command")


def check_backends(tree: Node, report: Report) -> None:
    """Report backends of no kind or several, and what is wrong with those over HTTP."""
    for path, backend in select(tree, ("backends", "*")):
        kinds = [key for key, child in backend.items() if key in BACKEND_KINDS and child.value is not None]
        if isinstance(backend.value, dict) and len(kinds) != 1:
            what = f"one kind is needed, not {' and '.join(kinds)}" if kinds else "a kind is needed"
            report.add(backend, f"{path}: {what}", f"one of {', '.join(BACKEND_KINDS)}")
    for kind in HTTP_KINDS:
        for path, http in select(tree, ("backends", "*", kind)):
            _check_http(http, path, report)
    for path, quota in select(tree, ("backends", "*", "quota", "*")):
        given = [key for key in ("tokens", "requests", "usd") if (child := quota.get(key)) and child.value is not None]
        if isinstance(quota.value, dict) and len(given) != 1:
            report.add(quota, f"{path}: give one of tokens, requests and usd")


def _check_http(http: Node, path: str, report: Report) -> None:
    model, base_url, secret = http.get("model"), http.get("base_url"), http.get("api_key")
    if model and isinstance(model.value, str) and not model.value.strip():
        report.add(model, f"{path}.model: a model is needed", "the name the API knows it by")
    if base_url and isinstance(base_url.value, str):
        check_url(base_url, f"{path}.base_url", report)
    local = http.get("local")
    if local and local.value is True and not (base_url and is_near(str(base_url.value))):
        what = f"'{base_url.value}' is another machine" if base_url else "the maker's API is another machine"
        report.add(local, f"{path}.local: {what}, and local is for servers on this one", "take it out")
    if secret:
        check_secret(secret, f"{path}.api_key", report)
    if headers := http.get("headers"):
        _check_headers(headers, f"{path}.headers", report)


def _check_headers(headers: Node, path: str, report: Report) -> None:
    """Report what is no header, or would change where a request ends."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            report.add(value, f"{path}: {name!r} is not the name of a header", "letters, digits and hyphens")
        elif name.lower() in _FRAMING:
            report.add(value, f"{path}.{name}: routerd sets that itself", "leave it out")
        elif isinstance(value.value, str) and not value.value.isprintable():
            report.add(value, f"{path}.{name}: a header cannot carry a line's end or other control characters")


def check_url(node: Node, path: str, report: Report) -> None:
    """Report an address that nobody could ask."""
    url = str(node.value)
    if url.startswith("unix:"):
        if not url.removeprefix("unix:").startswith(("/", "~")):
            report.add(node, f"{path}: the path of the socket must be absolute", "unix:/path/of.sock")
        elif not url.isprintable():
            report.add(node, f"{path}: a socket's path has no control characters", "unix:/path/of.sock")
        else:
            _check_home(node, path, report)
        return
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fine = False
    if not fine:
        report.add(
            node, f"{path}: '{url}' is not an address", "https://host/v1, http://127.0.0.1:8080/v1 or unix:/path"
        )
    elif parts.username or parts.password:
        report.add(node, f"{path}: a password does not belong into an address", "use api_key")


def _check_home(node: Node, path: str, report: Report) -> None:
    try:
        Path(str(node.value).removeprefix("unix:")).expanduser()
    except RuntimeError as error:
        report.add(node, f"{path}: {node.value} leads nowhere: {error}", "unix:/path/of.sock")


def check_secret(node: Node, path: str, report: Report) -> None:
    """Report a reference to a secret that names no place, or several."""
    if not isinstance(node.value, dict):
        return
    given = [key for key, child in node.items() if key in (*_SECRETS, "inline") and child.value]
    if len(given) != 1:
        report.add(node, f"{path}: give one of {', '.join(_SECRETS)}")
