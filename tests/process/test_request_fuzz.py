"""Whatever one caller sends, it is answered, and nobody else loses anything: a real model behind a real daemon.

``ROUTERD_FUZZ_SECONDS`` says how long; `make soak` takes an hour.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routerd_client import protocol
from routerd_client.framing import MAX_FRAME, FrameBuffer, LineBuffer, pack
from tests.support.daemon import Standalone, standalone_daemon
from tests.support.requests import PACKED, Request, requests
from tests.support.tiny_model import make_tiny_model

SECONDS = float(os.environ.get("ROUTERD_FUZZ_SECONDS", "15"))
DEADLINE = 60.0
OURS = {"internal", "unavailable"}
"""Codes that would say that the daemon or a model is at fault."""


class Neighbour:
    """Another caller, who asks the same all the time and must get the same all the time."""

    def __init__(self, daemon: Standalone) -> None:
        self.wrong: list[object] = []
        self.answers = 0
        self._daemon = daemon
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.expected = self._text()

    def __enter__(self) -> Neighbour:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE)

    def _text(self) -> str:
        with self._daemon.client() as client:
            return client.chat("the quick brown fox", max_tokens=24, temperature=0.0).text

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                text = self._text()
            except Exception as error:  # whatever it is, it is wrong
                text = repr(error)
            self.answers += 1
            if text != self.expected:
                self.wrong.append(text)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    folder = tmp_path_factory.mktemp("fuzz")
    model = make_tiny_model(folder / "tiny", tools=True, context=512)
    text = f"version: 1\nbackends:\n  demo: {{mlx: {{model: {model}, keep_alive: forever}}}}\ndefault: demo\n"
    with standalone_daemon(folder, text) as daemon:
        yield daemon


@contextmanager
def unharmed(daemon: Standalone) -> Iterator[None]:
    """Check that a neighbour's answers stay exact meanwhile, and that daemon and model process stay the same."""
    with Neighbour(daemon) as neighbour:
        before = model_of(daemon)
        yield
        assert model_of(daemon) == before
        assert daemon.process.poll() is None, daemon.stderr
    assert neighbour.wrong == []
    assert neighbour.answers > 0


def model_of(daemon: Standalone) -> tuple[int, int | None, int]:
    with daemon.client() as client:
        status = client.status()
    return status.pid, status.models[0].pid, status.models[0].restarts


@contextmanager
def connected(daemon: Standalone) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(os.fspath(daemon.socket))
        yield sock


def over_http(daemon: Standalone, path: str, body: bytes) -> int:
    """The status of the answer, which is JSON or a stream of it."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    received = bytearray()
    with connected(daemon) as sock:
        try:
            sock.sendall(head.encode() + body)
        except OSError:
            pass  # it was refused before it was read
        while chunk := sock.recv(1 << 20):
            received += chunk
    head_, _, rest = bytes(received).partition(b"\r\n\r\n")
    status = int(head_.split()[1])
    if status != 200:
        assert json.loads(rest)["error"]["message"], rest
    return status


FRAMES = (FrameBuffer, msgspec.msgpack.decode)
LINES = (LineBuffer, msgspec.json.decode)


def over_socket(daemon: Standalone, body: bytes, form: tuple[Callable[[], Any], Callable[[bytes], Any]]) -> Any:
    """The terminal event, in one of the socket's two forms."""
    buffer, read = form[0](), form[1]
    with connected(daemon) as sock:
        sock.sendall(body)
        while chunk := sock.recv(1 << 20):
            for one in map(read, buffer.feed(chunk)):
                if one["type"] in ("done", "error"):
                    return one
    return {"type": "closed"}


def check(daemon: Standalone, request: Request) -> None:
    if request.front == "lines":
        end = over_socket(daemon, request.body, LINES)
        assert end["type"] in ("done", "error"), (end, request.body[:500])
        assert end.get("code") not in OURS, (end, request.body[:500])
    else:
        status = over_http(daemon, request.front, request.body)
        assert status < 500, (status, request.front, request.body[:500])


ENDLESS = settings(
    max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
)


def fuzz(test: Callable[[], None]) -> None:
    """Run ``test``, which plays some examples, over and over until the time is up."""
    end = time.monotonic() + SECONDS / 2
    while True:
        test()
        if time.monotonic() >= end:
            return


def test_json_of_any_kind_harms_nobody(daemon: Standalone) -> None:
    @ENDLESS
    @given(request=requests())
    def play(request: Request) -> None:
        check(daemon, request)

    with unharmed(daemon):
        fuzz(play)


def test_frames_of_any_kind_harm_nobody(daemon: Standalone) -> None:
    places = ["tools", "template_args", "extra", "sampling", "max_tokens", "messages", "response_format", "session"]

    @ENDLESS
    @given(
        fields=st.dictionaries(st.sampled_from(places), PACKED, max_size=2),
        arguments=st.dictionaries(st.text(max_size=8), PACKED, max_size=2),
        depth=st.sampled_from([0, 0, 0, 100, 300, 900, 2000, 100_000]),
    )
    def play(fields: dict[str, Any], arguments: dict[str, Any], depth: int) -> None:
        chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, "template_args": arguments, **fields}
        body = msgspec.msgpack.encode(
            {"type": "chat", "id": 1, "chat": chat | {"extra": {"deep": "HERE"}} if depth else chat}
        )
        body = body.replace(b"\xa4HERE", b"\x91" * depth + b"\xc0")
        end = over_socket(daemon, pack(body), FRAMES)
        assert end["type"] in ("done", "error"), (end, body[:500])
        assert end.get("code") not in OURS, (end, body[:500])

    with unharmed(daemon):
        fuzz(play)


LARGE = {
    "a text of 60 MB": b'{"messages": [{"role": "user", "content": "' + b"x " * 30_000_000 + b'"}]}',
    "70 MB": b'{"messages": [{"role": "user", "content": "' + b"x" * 70_000_000 + b'"}]}',
    "36 MB of numbers": b'{"messages": [{"role": "user", "content": "hi"}], "chat_template_kwargs": {"n": ['
    + b"0.5," * 9_000_000
    + b"1]}}",
}


@pytest.mark.parametrize("name", LARGE)
def test_large_bodies_harm_nobody(daemon: Standalone, name: str) -> None:
    with unharmed(daemon):
        assert over_http(daemon, "/v1/chat/completions", LARGE[name]) in (200, 400, 413)


def test_a_frame_over_the_limit_harms_nobody(daemon: Standalone) -> None:
    with unharmed(daemon):
        end = over_socket(daemon, (MAX_FRAME + 1).to_bytes(4, "big") + b"\x00" * 1024, FRAMES)
        assert (end["type"], end["code"]) == ("error", protocol.ErrorCode.BAD_REQUEST.value)
