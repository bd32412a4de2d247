"""A hub on a port of this machine: what huggingface_hub asks of the real one, and everything that can go wrong."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 20_000
"""Files from this size on are kept as the hub keeps large ones: named by their sha256, served from elsewhere."""
BLOCK = 4096


@dataclass
class Asked:
    """One request for a file's content."""

    file: str
    start: int
    authorization: str | None
    sent: int = 0


@dataclass
class Repo:
    """``files`` by name, all of one commit. ``listed_more`` makes listed sizes lie."""

    files: dict[str, bytes]
    listed_more: int = 0
    token: str = ""
    gated: bool = False

    @property
    def commit(self) -> str:
        return hashlib.sha1(b"".join(self.files.values()), usedforsecurity=False).hexdigest()


@dataclass
class FakeHub:
    """Its behaviour may be changed at any time; what it was asked for is in ``asked``."""

    repos: dict[str, Repo] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    listings: int = 0
    address: str = ""

    refusals: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    """Statuses and headers of the next answers; then it is well again."""
    cuts: deque[int] = field(default_factory=deque)
    """After how many bytes the next large files break off."""
    damage: bytes = b""
    """What large files begin with instead of their own first bytes."""
    short: int = 0
    """How many bytes large files lack, with headers that say so."""
    ranges: bool = True
    """Whether it goes on where it is asked to."""
    hold_after: int | None = None
    """Large files stop here until `release` is set, or the other side goes."""
    release: Event = field(default_factory=Event)

    def add(self, name: str, folder: Path, **settings: Any) -> Repo:
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.repos[name] = Repo(files, **settings)
        return self.repos[name]

    def environment(self, home: Path) -> dict[str, str]:
        """What makes a process use this hub, and caches under ``home``."""
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home / "hf"),
            "ROUTERD_CACHE_DIR": str(home / "cache"),
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def sent(self, file: str) -> int:
        """Bytes of ``file`` that went out, over all requests."""
        return sum(asked.sent for asked in self.asked if asked.file == file)


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, hub))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: FakeHub, *arguments: Any) -> None:
        self.hub = hub
        super().__init__(*arguments)

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.hub.refusals and not path.startswith("/api/agent"):
            status, headers = self.hub.refusals.popleft()
            self._answer(status, headers)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(?:revision|tree)/(.+)", path):
            self._with_repo(match[1], match[2], self._tree if "/tree/" in path else self._info)
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._with_repo(match[1], match[2], lambda name, repo: self._resolve(name, repo, match[3]))
        elif match := re.fullmatch(r"/elsewhere/([^/]+/[^/]+)/(.+)", path):
            self._send(match[2], self.hub.repos[match[1]].files[match[2]], {})
        else:
            self._answer(404, {})

    def _with_repo(self, name: str, revision: str, serve: Any) -> None:
        repo = self.hub.repos.get(name)
        authorization = self.headers.get("Authorization", "")
        if authorization not in ("", f"Bearer {repo.token}" if repo else authorization):
            self._answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repo is None or (repo.token and not authorization):
            self._answer(401, {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", "v1", repo.commit):
            self._answer(404, {"X-Error-Code": "RevisionNotFound"})
        else:
            serve(name, repo)

    def _info(self, name: str, repo: Repo) -> None:
        self.hub.listings += 1
        siblings = []
        for file, content in repo.files.items():
            size = len(content) + repo.listed_more
            sibling: dict[str, Any] = {"rfilename": file, "size": size, "blobId": _git_hash(content)}
            if len(content) >= LARGE:
                sibling["lfs"] = {"sha256": _sha256(content), "size": size, "pointerSize": 134}
            siblings.append(sibling)
        self._json({"id": name, "sha": repo.commit, "siblings": siblings, "private": False, "tags": []})

    def _tree(self, _name: str, repo: Repo) -> None:
        entries = []
        for file, content in repo.files.items():
            entry: dict[str, Any] = {"type": "file", "path": file, "size": len(content), "oid": _git_hash(content)}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 134}
            entries.append(entry)
        self._json(entries)

    def _resolve(self, name: str, repo: Repo, file: str) -> None:
        if repo.gated:
            self._answer(403, {"X-Error-Code": "GatedRepo"})
            return
        content, common = repo.files[file], {"X-Repo-Commit": repo.commit}
        if len(content) < LARGE:
            self._send(file, content, {**common, "ETag": f'"{_git_hash(content)}"'})
            return
        # Another host name is another origin, as that of the real hub's storage is.
        elsewhere = f"http://localhost:{self.server.server_address[1]}/elsewhere/{name}/{file}"
        linked = {"X-Linked-ETag": f'"{_sha256(content)}"', "X-Linked-Size": str(len(content))}
        self._answer(302, {**common, **linked, "Location": elsewhere})

    def _send(self, file: str, content: bytes, headers: dict[str, str]) -> None:
        large = len(content) >= LARGE
        if large:
            content = (self.hub.damage + content[len(self.hub.damage) :])[: len(content) - self.hub.short]
        start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if "Range" in self.headers else 0
        if not self.hub.ranges:
            start = 0
        if start and start >= len(content):
            self._answer(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        if start:
            headers = {**headers, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self._head(206 if start else 200, {**headers, "Content-Length": str(len(content) - start)})
        if self.command == "GET":
            asked = Asked(file, start, self.headers.get("Authorization"))
            self.hub.asked.append(asked)
            self._write(content[start:], asked, large=large)

    def _write(self, content: bytes, asked: Asked, *, large: bool) -> None:
        cut = self.hub.cuts.popleft() if large and self.hub.cuts else len(content)
        for begin in range(0, cut, BLOCK):
            block = content[begin : min(begin + BLOCK, cut)]
            if large and self.hub.hold_after is not None and asked.start + asked.sent >= self.hub.hold_after:
                self.hub.release.wait()
            try:
                self.wfile.write(block)
            except OSError:
                break  # the other side was killed
            asked.sent += len(block)
        self.close_connection = cut < len(content)

    def _json(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(content))})
        self.wfile.write(content)

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self._head(status, {**headers, "Content-Length": "0"})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def clean_environment() -> dict[str, str]:
    """That of this process without what would steer a download."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
