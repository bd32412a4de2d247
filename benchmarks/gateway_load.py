"""The load of `gateway`: raw sockets, so that the clients cost as little as Python can."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from typing import Literal, cast

from msgspec import Struct

TOKENS = 256
PACE_S = 0.01
PROMPT = (
    "Which of these two libraries parses faster, and by how much? Say it in a few words, and say how sure you are. " * 2
)


Model = Literal["whole", "fast", "paced"]


class Place(Struct, frozen=True):
    """Where requests are sent, host and port or a socket's path, the headers they need there, and what stands there
    before the models' names."""

    address: tuple[str, int] | str
    headers: str
    path: str = "/v1/chat/completions"
    prefix: str = ""

    def request(self, model: Model) -> bytes:
        """Of the upstream's models, all but ``whole`` are streamed."""
        asked = {
            "model": self.prefix + model,
            "messages": [{"role": "user", "content": PROMPT}],
            "stream": model != "whole",
        }
        body = json.dumps(asked)
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"{self.headers}content-length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()

    def connect(self) -> socket.socket:
        if isinstance(self.address, str):
            connection = socket.socket(socket.AF_UNIX)
        else:
            connection = socket.socket()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect(self.address)
        return connection


_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_END = b"0\r\n\r\n"


def round_trips(place: Place, count: int) -> list[float]:
    """Microseconds of each, one in flight."""
    request, times = place.request("whole"), []
    with place.connect() as connection:
        for _ in range(count):
            began = time.perf_counter_ns()
            connection.sendall(request)
            data = connection.recv(65536)
            while not _whole(data):
                data += connection.recv(65536)
            times.append((time.perf_counter_ns() - began) / 1000)
            assert data.startswith(b"HTTP/1.1 200"), data
    return times


def _whole(data: bytes) -> bool:
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return False
    length = _LENGTH.search(data, 0, head)
    return len(data) >= head + 4 + int(length[1]) if length else data.endswith(_END)


class _Closed(asyncio.Protocol):
    """Sends the next request when the answer to the last is whole. ``first`` are milliseconds from request to first
    token, ``delays`` from a token's being sent to its being here."""

    def __init__(self, request: bytes, *, paced: bool) -> None:
        self.answers = 0
        self.tokens = 0
        self.first: list[float] = []
        self.delays: list[float] = []
        self._request = request
        self._paced = paced
        self._data = b""
        self._began = 0.0
        self._waiting = False
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._ask()

    def _ask(self) -> None:
        self._began, self._waiting, self._data = time.perf_counter(), True, b""
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._paced:
            now = time.perf_counter()
            for sent in _SENT.findall(data):
                if self._waiting:
                    self.first.append((now - self._began) * 1000)
                    self._waiting = False
                self.delays.append((now - int(sent) / 1e9) * 1000)
        self.tokens += data.count(b"tok")
        self._data = self._data + data if len(self._data) < 4096 else self._data[-8:] + data
        if _whole(self._data) or self._data.endswith(_END):
            assert b"HTTP/1.1 200" in self._data or self._paced or self.tokens, self._data
            self.answers += 1
            self._ask()


_SENT = re.compile(rb"tok(\d+) ")


async def _load(place: Place, model: Model, at_once: int, seconds: float) -> list[_Closed]:
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(at_once):
        connection = place.connect()
        connection.setblocking(False)
        client = _Closed(place.request(model), paced=model == "paced")
        if isinstance(place.address, str):
            await loop.create_unix_connection(lambda client=client: client, sock=connection)
        else:
            await loop.create_connection(lambda client=client: client, sock=connection)
        clients.append(client)
    await asyncio.sleep(seconds)
    for client in clients:
        client._transport.abort()
    return clients


async def requests(place: Place, at_once: int, seconds: float) -> float:
    """Answers a second."""
    clients = await _load(place, "whole", at_once, seconds)
    return sum(client.answers for client in clients) / seconds


async def streams(place: Place, at_once: int, seconds: float) -> float:
    """Tokens a second, of streams that come as fast as they can."""
    clients = await _load(place, "fast", at_once, seconds)
    return sum(client.tokens for client in clients) / seconds


async def paced(place: Place, at_once: int, seconds: float) -> tuple[list[float], list[float]]:
    """Milliseconds to the first token, and each token's delay, of streams with a token every `PACE_S`."""
    clients = await _load(place, "paced", at_once, max(seconds, 3.0))
    return [t for c in clients for t in c.first], [t for c in clients for t in c.delays]
