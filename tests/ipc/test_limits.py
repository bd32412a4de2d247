"""Requests of more than anybody needs: said to be too many, and the connection's other requests go on."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest

from routerd.selftest.fake_api import fake_api
from routerd.selftest.fake_formats import Knobs
from routerd_client.chat import LONGEST_NAME, MOST_CONTEXT, MOST_MESSAGES, MOST_PARTS, MOST_STOPS, MOST_TOOLS
from routerd_client.framing import FrameBuffer, pack
from tests.support.daemon import Running, routes, running_daemon

HELLO = {"role": "user", "content": "Hello?"}
TOOL = {"type": "function", "function": {"name": "f"}}
MANY: dict[str, dict[str, Any]] = {
    "messages": {"messages": [HELLO] * (MOST_MESSAGES + 1)},
    "a million messages": {"messages": [{"role": "user", "content": "a"}] * 1_000_000},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * (MOST_PARTS + 1)}]},
    "tools": {"messages": [HELLO], "tools": [TOOL] * (MOST_TOOLS + 1)},
    "stops": {"messages": [HELLO], "stop": ["x"] * (MOST_STOPS + 1)},
    "context": {"messages": [HELLO], "context": {str(at): "" for at in range(MOST_CONTEXT + 1)}},
    "model": {"messages": [HELLO], "model": "x" * (LONGEST_NAME + 1)},
    "session": {"messages": [HELLO], "session": "x" * (LONGEST_NAME + 1)},
}


def cloud(url: str) -> str:
    return routes(cloud=json.dumps({"openai": {"model": "m", "base_url": url}, "billing": "local"}))


async def exchanged(running: Running, data: bytes, ends: int, *, framed: bool) -> list[dict[str, Any]]:
    """The terminal events that ``data`` brings on one connection."""
    found: list[dict[str, Any]] = []
    buffer, lines = FrameBuffer(), b""
    with anyio.fail_after(60):
        async with await anyio.connect_unix(running.socket) as stream, anyio.create_task_group() as tasks:
            tasks.start_soon(stream.send, data)
            while len(found) < ends:
                chunk = await stream.receive()
                if framed:
                    events = [msgspec.msgpack.decode(body) for body in buffer.feed(chunk)]
                else:
                    *whole, lines = (lines + chunk).split(b"\n")
                    events = [json.loads(line) for line in whole]
                found += [event for event in events if event["type"] in ("done", "error")]
    return found


@pytest.mark.parametrize("framed", [True, False], ids=["frames", "lines"])
@pytest.mark.parametrize("chat", MANY.values(), ids=MANY)
async def test_too_much_of_something(tmp_path: Path, chat: dict[str, Any], framed: bool) -> None:
    bodies = [{"type": "chat", "id": 1, "chat": {"messages": [HELLO]}}, {"type": "chat", "id": 2, "chat": chat}]
    data = (
        b"".join(pack(msgspec.msgpack.encode(body)) for body in bodies)
        if framed
        else b"".join(json.dumps(body).encode() + b"\n" for body in bodies)
    )
    async with fake_api() as api, running_daemon(tmp_path, cloud(api.base_url)) as running:
        found = {event["id"]: event for event in await exchanged(running, data, 2, framed=framed)}

    assert found[1]["type"] == "done"
    assert found[2]["code"] == "bad_request"


PAGES = {
    "/v1/chat/completions": lambda count: {"messages": [HELLO] * count},
    "/v1/messages": lambda count: {"messages": [HELLO] * count, "max_tokens": 9},
    "/v1/responses": lambda count: {"input": [HELLO] * count},
    "/v1/embeddings": lambda count: {"input": ["a"] * count},
    "/v1/messages/count_tokens": lambda count: {"messages": [HELLO] * count},
}


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("count", [MOST_MESSAGES + 1, 1_000_000])
async def test_too_much_over_http(tmp_path: Path, path: str, count: int) -> None:
    async with (
        fake_api() as api,
        running_daemon(tmp_path, cloud(api.base_url)) as running,
        aiohttp.ClientSession("http://x", connector=aiohttp.UnixConnector(str(running.socket))) as http,
    ):
        async with http.post(path, data=io.BytesIO(json.dumps(PAGES[path](count)).encode())) as answer:
            told = await answer.json()
        assert answer.status == 400
        assert told["error"]["message"]
        async with http.post(path, data=json.dumps(PAGES[path](1)).encode()) as answer:
            assert answer.status == 200


async def test_as_much_as_may_be_is_answered(tmp_path: Path) -> None:
    async with fake_api() as api, running_daemon(tmp_path, cloud(api.base_url)) as running, running.client() as client:
        done = await client.chat([HELLO] * MOST_MESSAGES)

    assert done.text == "Hello, world!"


@pytest.mark.parametrize("count", [2**62, 2**63, 2**70, -1])
async def test_absurd_usage_cuts_no_connection_and_no_statistics(tmp_path: Path, count: int) -> None:
    async with (
        fake_api(Knobs(count=count)) as api,
        running_daemon(tmp_path, cloud(api.base_url)) as running,
        running.client() as client,
    ):
        for _ in range(3):
            assert (await client.chat("Hello?")).usage.total_tokens == 0
        assert (await client.status()).requests["ok"] == 3
        assert await client.stats()


async def test_an_answer_too_large_for_a_frame_is_that_backends_failure(tmp_path: Path) -> None:
    """And the next one's turn."""
    huge = Knobs(pieces=["x" * 2**20] * 40)
    async with fake_api(huge) as api, fake_api() as other:
        text = routes(
            huge=json.dumps({"openai": {"model": "m", "base_url": api.base_url}, "billing": "local"}),
            other=json.dumps({"openai": {"model": "m", "base_url": other.base_url}, "billing": "local"}),
        )
        async with running_daemon(tmp_path, text) as running, running.client() as client:
            done = await client.chat("Hello?")

    assert (done.backend, done.text) == ("other", "Hello, world!")


@pytest.mark.parametrize("amount", [10**15 + 1, 2**62, 2**63, 2**70])
async def test_absurd_amounts_are_not_booked(tmp_path: Path, amount: int) -> None:
    bodies: list[dict[str, Any]] = [
        {"type": "record_spend", "id": 1, "provider": "openai", "model": "m", "cost_microusd": amount},
        {"type": "record_spend", "id": 2, "provider": "openai", "model": "m", "prompt_tokens": amount},
        {"type": "set_spent", "id": 3, "day_microusd": amount, "month_microusd": amount},
        {"type": "chat", "id": 4, "chat": {"messages": [HELLO]}},
    ]
    data = b"".join(json.dumps(body).encode() + b"\n" for body in bodies)
    async with fake_api() as api, running_daemon(tmp_path, cloud(api.base_url)) as running:
        found = {event["id"]: event for event in await exchanged(running, data, 4, framed=False)}

    assert [found[number].get("code") for number in (1, 2, 3)] == ["bad_request"] * 3
    assert found[4]["type"] == "done"
