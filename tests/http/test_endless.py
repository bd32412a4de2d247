"""APIs that never stop saying nothing: their time is bounded, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from routerd.backends.format import MOST_CALLS
from routerd.backends.http import Http
from routerd.selftest.fake_api import FakeApi
from routerd_client.records import FailureKind

from .asking import ask, backend, each_kind, failure

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
NOTHING = {
    "comments": b": still here\n",
    "empty lines": b"\n\n",
    "lines without an end of their event": b"id: 1\n",
    "events without a meaning": b'data: {"type": "ping", "choices": []}\n\n',
    "named events": b'event: ping\ndata: {"type": "ping"}\n\n',
}
EMPTY: dict[str, dict[str, Any]] = {
    "openai": {"choices": [{"index": 0, "delta": {"content": "", "reasoning_content": ""}}]},
    "anthropic": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ""}},
    "responses": {"type": "response.output_text.delta", "delta": ""},
}


@asynccontextmanager
async def endless(first: bytes, again: bytes) -> AsyncIterator[str]:
    """An API that answers ``first``, and then ``again`` as fast as it is read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD + first)
            while True:
                writer.write(again * (2**16 // len(again) + 1))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


async def others_are_answered(http: Http, api: FakeApi, kind: str, url: str, expected: FailureKind) -> None:
    """An endless answer fails as ``expected``; others come and go in the meantime."""
    answered = 0
    async with anyio.create_task_group() as tasks:

        async def others() -> None:
            nonlocal answered
            while True:
                await ask(backend(http, kind, api.base_url))
                answered += 1

        tasks.start_soon(others)
        with anyio.fail_after(30):
            error = await failure(backend(http, kind, url, first_token=0.5, stall=0.5))
        tasks.cancel_scope.cancel()

    assert error.kind in (expected, FailureKind.MALFORMED)  # or it reached the most that an answer may have first
    assert answered


@each_kind
@pytest.mark.parametrize("again", NOTHING.values(), ids=NOTHING)
async def test_nothing_without_end(http: Http, api: FakeApi, kind: str, again: bytes) -> None:
    async with endless(b"", again) as url:
        await others_are_answered(http, api, kind, url, FailureKind.TIMEOUT_FIRST_TOKEN)


@each_kind
async def test_pieces_of_nothing_without_end(http: Http, api: FakeApi, kind: str) -> None:
    again = f"data: {json.dumps(EMPTY[kind])}\n\n".encode()
    async with endless(b"", again) as url:
        await others_are_answered(http, api, kind, url, FailureKind.TIMEOUT_FIRST_TOKEN)


@each_kind
async def test_an_answer_without_end(http: Http, api: FakeApi, kind: str) -> None:
    text = json.dumps(EMPTY[kind]).replace('""', f'"{"x" * 1000}"')
    async with endless(b"", f"data: {text}\n\n".encode()) as url:
        await others_are_answered(http, api, kind, url, FailureKind.MALFORMED)


@each_kind
async def test_tool_calls_without_end(http: Http, api: FakeApi, kind: str) -> None:
    made = {
        "openai": [
            {"choices": [{"delta": {"tool_calls": [{"index": n, "id": f"c{n}"}]}}]} for n in range(MOST_CALLS + 2)
        ],
        "anthropic": [
            {
                "type": "content_block_start",
                "index": n,
                "content_block": {"type": "tool_use", "id": f"c{n}", "name": "f"},
            }
            for n in range(MOST_CALLS + 2)
        ],
        "responses": [
            {"type": "response.output_item.done", "item": {"type": "function_call", "call_id": f"c{n}"}}
            for n in range(MOST_CALLS + 2)
        ],
    }[kind]
    calls = "".join(f"data: {json.dumps(event)}\n\n" for event in made).encode()
    async with endless(calls, b": \n") as url:
        error = await failure(backend(http, kind, url))

    assert error.kind is FailureKind.MALFORMED
    assert "tool calls" in error.message
