"""A stream whose answer is long in coming begins all the same, and says so that it lives, in every format."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from routerd.gateway.web import Front
from tests.support.daemon import fake, routes, running_daemon

HELLO: Any = [{"role": "user", "content": "Hello?"}]
PLACES: list[tuple[str, dict[str, Any], str, str]] = [
    ("/v1/chat/completions", {"messages": HELLO}, ": still at it", "[DONE]"),
    ("/v1/messages", {"messages": HELLO, "max_tokens": 9}, "event: ping", "event: message_stop"),
    ("/v1/responses", {"input": "Hello?"}, "event: response.in_progress", "event: response.completed"),
]
each_format = pytest.mark.parametrize(("path", "body", "sign", "end"), PLACES, ids=[place[0] for place in PLACES])


@asynccontextmanager
async def hurried(folder: Path, sockets: Path, text: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A front that waits for a blink."""
    path = str(sockets / "http.sock")
    async with running_daemon(folder, text) as running:
        front = Front(running.daemon, ping_s=0.02, wait_s=0.05)
        server = await asyncio.get_running_loop().create_unix_server(front.server, path)
        transport = httpx2.AsyncHTTPTransport(uds=path)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http:
            yield http
        server.close()
        await front.close()


@each_format
async def test_it_lives(tmp_path: Path, sockets: Path, path: str, body: Any, sign: str, end: str) -> None:
    loads = tmp_path / "loads"
    loads.touch()
    text = routes(small=fake(f"--load-while {loads}"))
    async with (
        hurried(tmp_path, sockets, text) as http,
        http.stream("POST", path, json={"model": "primary", "stream": True, **body}) as answer,
    ):
        signs, heard = 0, ""
        with anyio.fail_after(60):
            async for line in answer.aiter_lines():
                heard += line + "\n"
                signs += line == sign
                if signs == 5 and loads.exists():
                    loads.unlink()  # only now the model may come up

    assert answer.status_code == 200
    assert signs >= 5
    assert end in heard
    assert "t0" in heard


@each_format
async def test_an_answer_that_a_route_has_whole_comes_after_the_beginning(
    tmp_path: Path, sockets: Path, path: str, body: Any, sign: str, end: str
) -> None:
    loads = tmp_path / "loads"
    loads.touch()
    rest = "routes: [{match: {}, use: primary, set: {stream: false}}]"
    text = routes(small=fake(f"--load-while {loads}"), rest=rest)
    async with (
        hurried(tmp_path, sockets, text) as http,
        http.stream("POST", path, json={"model": "routed", "stream": True, **body}) as answer,
    ):
        heard = ""
        with anyio.fail_after(60):
            async for line in answer.aiter_lines():
                heard += line + "\n"
                if line == sign:
                    loads.unlink(missing_ok=True)

    assert "t0 t1 t2" in heard
    assert end in heard


@each_format
async def test_a_failure_after_that_is_seen(
    tmp_path: Path, sockets: Path, path: str, body: Any, sign: str, end: str
) -> None:
    loads = tmp_path / "loads"
    loads.touch()
    text = routes(small=fake(f"--load-while {loads} --fail server_error"))
    async with (
        hurried(tmp_path, sockets, text) as http,
        http.stream("POST", path, json={"model": "primary", "stream": True, **body}) as answer,
    ):
        heard = ""
        with anyio.fail_after(60):
            async for line in answer.aiter_lines():
                heard += line + "\n"
                if line == sign:
                    loads.unlink(missing_ok=True)

    assert "made to fail" in heard
    assert end not in heard
