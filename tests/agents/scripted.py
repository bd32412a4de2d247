"""A backend in OpenAI's format that calls one tool, once, and then says one sentence."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from routerd.selftest.fake_formats import SPEAKERS, Knobs


@dataclass
class Scripted:
    """``tool`` is called by name and arguments where a request offers it and no result has come yet."""

    says: str
    tool: tuple[str, dict[str, Any]] | None = None
    base_url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)

    def results(self) -> str:
        """What came back from tools, all of it."""
        told = [m["content"] for request in self.requests for m in request["messages"] if m["role"] == "tool"]
        return "\n".join(map(json.dumps, told))

    def offered(self) -> list[str]:
        """The names of the tools that requests offered."""
        return sorted({tool["function"]["name"] for request in self.requests for tool in request.get("tools") or []})

    def knobs(self, request: dict[str, Any]) -> Knobs:
        offered = {tool["function"]["name"] for tool in request.get("tools") or []}
        answered = any(message["role"] == "tool" for message in request["messages"])
        if self.tool is None or answered or self.tool[0] not in offered:
            return Knobs(pieces=[f"{word} " for word in self.says.split()])
        return Knobs(pieces=[], calls=[(self.tool[0], json.dumps(self.tool[1]))])


@asynccontextmanager
async def scripted(says: str) -> AsyncIterator[Scripted]:
    """One on a port of this machine."""
    backend = Scripted(says)

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        backend.requests.append(body)
        knobs, speaker = backend.knobs(body), SPEAKERS["openai"]
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        for event in [*speaker.head(knobs), *speaker.pieces(knobs), *speaker.tail(knobs)]:
            await stream.write(event.encode())
        await stream.write_eof()
        return stream

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        backend.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield backend
    finally:
        await runner.cleanup()
