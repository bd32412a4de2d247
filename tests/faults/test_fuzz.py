"""Whatever an API answers and a caller sends, the daemon goes on, and whoever comes next is answered.

``ROUTERD_FUZZ_SECONDS`` is for how long each surface is tried.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from routerd.backends.build import FORMATS
from routerd.gateway.formats import FORMATS as FRONTS
from routerd.selftest.fake_api import fake_api
from routerd.selftest.fake_formats import SPEAKERS, Knobs
from routerd_client import AsyncClient, RequestFailedError
from routerd_client.protocol import Done, ErrorCode, StatusResult
from tests.support.daemon import Running, routes, running_daemon
from tests.support.odd import damaged, seeds, written, wrong

KNOBS = Knobs(reasoning="hm", refusal="no", calls=[("look", '{"at": 1}')])
WELL = {"type": "status", "id": 1}
SHORT = {"connect": "2s", "first_token": "200ms", "stall": "200ms", "total": "2s"}
ENOUGH_S = 20.0
"""More than any one of these takes on a busy machine."""
WAIT_S = 0.5
PIECE = 2**16


def answer(kind: str, chance: random.Random) -> bytes:
    """All that an API says: a head, and a body that is nearly an answer of its format."""
    speak = SPEAKERS[kind]
    if chance.random() < 0.3:
        body, content = written(wrong(speak.whole(KNOBS), chance), chance), "application/json"
    else:
        events = [*speak.head(KNOBS), *speak.pieces(KNOBS), *speak.tail(KNOBS)]
        at = chance.randrange(len(events))
        name, _, data = events[at].rpartition("data: ")
        if data.startswith("{"):
            changed = written(wrong(json.loads(data), chance), chance).decode()
            events[at] = f"{name}data: {changed}\n\n"
        body, content = "".join(events).encode(), "text/event-stream"
    body = damaged(body, chance) if chance.random() < 0.4 else body
    status = chance.choice([*[200] * 12, 100, 103, 204, 302, 400, 429, 500, 999])
    heads = [f"HTTP/1.1 {status} Well", f"content-type: {content}", chance.choice(HEADERS)]
    if chance.random() < 0.3:
        size = chance.choice([1, 7, 1000])
        heads.append("transfer-encoding: chunked")
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        heads.append(f"content-length: {len(body) + chance.choice([0, 0, 0, 5, -5])}")
    head = "\r\n".join([*filter(None, heads), "", ""]).encode()
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" * chance.choice([0, 0, 0, 1, 50_000])
    return interim + (damaged(head, chance) if chance.random() < 0.2 else head) + body


HEADERS = [
    *("", "", "", "retry-after: 1e400", "retry-after: -5", "x-ratelimit-reset-tokens: 99999999999999d"),
    *("date: Mon, 01 Jan 2001 00:00:00 +9999999999999", "retry-after: Mon, 99 Foo 0000", "content-encoding: gzip"),
    *(
        "x-ratelimit-limit-tokens: 1e308\r\nx-ratelimit-remaining-tokens: -1e308",
        "x" * 5000 + ": y",
        "a: b\r\n" * 200 + "c: d",
    ),
]
ENDLESS = [
    b":\n",
    b"\n",
    b"data:\n",
    b"event: x\n\n",
    b"data: {}\n\n",
    b"HTTP/1.1 102 Wait\r\n\r\n",
    b"1;x=y\r\nz\r\n",
    b"a: b\r\n",
]


@asynccontextmanager
async def odd_api(kind: str) -> AsyncIterator[tuple[str, Callable[[int], None]]]:
    """An API, its address, and what sets the seed of its next answers."""
    current = random.Random(0)

    def use(seed: int) -> None:
        nonlocal current
        current = random.Random(seed)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            data = answer(kind, current)
            for at in range(0, len(data), PIECE):
                writer.write(data[at : at + PIECE])
                await writer.drain()
            while current.random() < 0.2:
                piece = current.choice(ENDLESS) * 1000
                for _ in range(200):
                    writer.write(piece)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", use
    finally:
        server.close()


def backend(kind: str, url: str, **settings: Any) -> str:
    return json.dumps({kind: {"model": "m", "base_url": url, **settings}, "billing": "local"})


async def well(running: Running, seed: int) -> None:
    """The daemon says how it is, and answers by a backend that is well."""
    with anyio.fail_after(ENOUGH_S):
        async with running.client() as client:
            assert isinstance(await client.status(), StatusResult), seed
            assert (await client.chat("Hello?", model="sound")).text == "Hello, world!", seed


@pytest.mark.parametrize("kind", list(FORMATS))
async def test_an_api_that_answers_oddly_costs_nobody_else_an_answer(tmp_path: Path, kind: str) -> None:
    found: list[Done | RequestFailedError] = []
    health = {"allowed_fails": 1_000_000, "cooldown": "1ms", "cooldown_max": "1ms"}
    async with fake_api() as sound, odd_api(kind) as (url, use):
        text = routes(odd=backend(kind, url, timeouts=SHORT), sound=backend(kind, sound.base_url))
        async with running_daemon(tmp_path, f"{text}\nhealth: {json.dumps(health)}") as running:
            for seed in seeds():
                use(seed)
                with anyio.fail_after(ENOUGH_S):
                    async with running.client() as client:
                        found.append(await ended(client, "odd", seed))
                        other = await ended(client, "primary", seed)
                        assert isinstance(other, Done) or other.code in CALLERS, (seed, other)
                if seed % 20 == 0:
                    await well(running, seed)
            await well(running, -1)
    assert {Done, RequestFailedError} <= {type(one) for one in found}


CALLERS = (ErrorCode.BAD_REQUEST, ErrorCode.CONTENT_FILTERED)
"""Errors that an API calls the caller's own: no other backend is asked."""


async def ended(client: AsyncClient, model: str, seed: int) -> Done | RequestFailedError:
    """How a request ends: never by a mistake of the daemon's."""
    try:
        done = await client.chat("Hello?", model=model)
    except RequestFailedError as error:
        assert error.code is not ErrorCode.INTERNAL, (seed, str(error))  # noqa: PT017
        return error
    assert 0 <= done.usage.total_tokens < 2**40, seed
    return done


GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "sound", "messages": [{"role": "user", "content": "Hello?"}], "stream": True},
    "/v1/completions": {"model": "sound", "prompt": "Hello?"},
    "/v1/responses": {"model": "sound", "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]},
    "/v1/messages": {"model": "sound", "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 9},
    "/v1/messages/count_tokens": {"model": "sound", "messages": [{"role": "user", "content": "Hello?"}]},
    "/v1/embeddings": {"model": "sound", "input": ["Hello?"]},
}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
MORE: dict[str, Any] = {
    "tools": TOOLS,
    "stop": ["x"],
    "metadata": {"a": "b"},
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"pattern": "["}}},
    "temperature": 0.5,
    "logit_bias": {"1": 1},
    "seed": 1,
}


def test_every_front_is_fuzzed() -> None:
    assert GOOD.keys() > FRONTS.keys()


@asynccontextmanager
async def sound_daemon(folder: Path) -> AsyncIterator[Running]:
    async with (
        fake_api() as sound,
        running_daemon(folder, routes(sound=backend("openai", sound.base_url))) as running,
    ):
        yield running


async def say(running: Running, data: bytes) -> bytes:
    """What the daemon answers to ``data``, its beginning; it may hang up, or wait for the rest of what is cut."""
    reader, writer = await asyncio.open_unix_connection(str(running.socket))
    try:
        writer.write(data)
        if not data[:1].isupper():
            writer.write_eof()
        with anyio.move_on_after(WAIT_S):
            return await reader.read(PIECE)
    except ConnectionError:
        pass
    finally:
        writer.close()
    return b""


def http_request(chance: random.Random) -> bytes:
    path = chance.choice(list(GOOD))
    asked = GOOD[path] | ({name: value for name, value in MORE.items() if chance.random() < 0.3})
    body = written(wrong(asked, chance) if chance.random() < 0.9 else asked, chance)
    names = [
        "x-routerd-context: a=b",
        "x-routerd-priority: \xff",
        "expect: 100-continue",
        "session-id: x",
        "x: y\r\n z",
    ]
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", chance.choice(names), "", ""]
    data = "\r\n".join(lines).encode("latin-1") + body
    return damaged(data, chance) if chance.random() < 0.4 else data


MESSAGES: list[dict[str, Any]] = [
    {
        "type": "chat",
        "id": 1,
        "chat": {"model": "sound", "messages": [{"role": "user", "content": "Hello?"}], "tools": TOOLS},
    },
    {
        "type": "chat",
        "id": 2,
        "chat": {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "stream": True},
    },
    {"type": "hello", "id": 3, "protocol": 1, "client": "x"},
    {"type": "cancel", "id": 4, "target": 1},
    {"type": "route", "id": 5, "chat": {"messages": [], "context": {"a": "b"}}},
    {"type": "status", "id": 6},
]


def packed(value: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(value)
    except (OverflowError, UnicodeEncodeError, RecursionError):
        return b"\xc1"


def framed(chance: random.Random) -> bytes:
    bodies = [packed(wrong(chance.choice(MESSAGES), chance)) for _ in range(chance.randrange(1, 4))]
    data = b"".join(struct.pack(">I", len(body) + chance.choice([0, 0, 0, 0, 1, -1])) + body for body in bodies)
    return damaged(data, chance) if chance.random() < 0.3 else data


def lines(chance: random.Random) -> bytes:
    bodies = [written(wrong(chance.choice(MESSAGES), chance), chance) for _ in range(chance.randrange(1, 4))]
    data = b"\n".join(bodies) + b"\n"
    return damaged(data, chance) if chance.random() < 0.3 else data


@pytest.mark.parametrize("make", [http_request, framed, lines])
async def test_whatever_is_sent_the_next_request_is_answered(
    tmp_path: Path, make: Callable[[random.Random], bytes]
) -> None:
    answers = 0
    async with sound_daemon(tmp_path) as running:
        for seed in seeds():
            said = await say(running, make(random.Random(seed)))
            answers += bool(said)
            assert b"the daemon made a mistake" not in said, (seed, said)
            if seed % 50 == 0:
                await well(running, seed)
        await well(running, -1)
    assert answers
