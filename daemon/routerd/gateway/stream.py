"""Answers on their way to a caller over HTTP: collected, or streamed as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
from aiohttp import web

from routerd_client.chat import Message, TokenLogprob, ToolCall, Usage
from routerd_client.protocol import Delta, Done, Error, Event, Progress, Routed

from .format import Writer, in_one

PING_S = 10.0
"""A stream that has begun is silent for no longer than this: agents give up on silent ones."""
WAIT_S = 20.0
"""So long a stream waits for its answer's first piece; then it begins without one, for the same reason."""

Headers = dict[str, str]


class Collected:
    """An answer that is not streamed. A route may have it streamed all the same; then its pieces come here."""

    def __init__(self) -> None:
        self.routed: Routed | None = None
        """The newest attempt."""
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCall] = []
        self._logprobs: list[TokenLogprob] = []

    async def emit(self, event: Event) -> None:
        match event:
            case Routed():
                self.routed = event
            case Delta():
                self._text.append(event.text)
                self._reasoning.append(event.reasoning)
                self._calls += event.tool_calls
                self._logprobs += event.logprobs

    def message(self) -> Message:
        """What the pieces came to."""
        text, reasoning = "".join(self._text), "".join(self._reasoning)
        content = text if text or not self._calls else None
        return Message(role="assistant", content=content, tool_calls=self._calls, reasoning=reasoning or None)

    @property
    def logprobs(self) -> list[TokenLogprob]:
        return self._logprobs


class Streamed:
    """A streamed answer. Its head is sent when an attempt's first piece comes, so that a failure before that still
    has its status; or after ``wait_s`` seconds."""

    def __init__(
        self,
        request: web.BaseRequest,
        writer: Writer,
        head: Callable[[Routed], Headers],
        *,
        ping_s: float = PING_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self.routed: Routed | None = None
        """The newest attempt."""
        self.response: web.StreamResponse | None = None
        """None as long as nothing was sent."""
        self._request = request
        self._writer = writer
        self._head = head
        self._attempts: dict[int, Routed] = {}
        self._prompts: dict[int, Usage] = {}
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._ping_s = ping_s
        self._wait_s = wait_s
        self._timer = self._loop.call_later(ping_s, self._tick)
        self._pings: set[asyncio.Task[None]] = set()

    async def emit(self, event: Event) -> None:
        if type(event) is Delta:
            await self._send(self._writer.delta(event) if self.response else await self._begin(event))
        elif type(event) is Routed:
            self.routed = self._attempts[event.attempt] = event
        elif type(event) is Progress and event.prompt_tokens is not None and not self.response:
            self._prompts[event.attempt] = Usage(event.prompt_tokens, cached_tokens=event.cached_tokens)

    async def done(self, done: Done) -> web.StreamResponse:
        """End it normally."""
        rest = in_one(done) if done.message else Delta(id=0, attempt=done.attempt)  # a route may have it not streamed
        end = self._written(rest) if self.response else await self._begin(rest)
        return await self._end(end + self._writer.done(done))

    async def failed(self, error: Error) -> web.StreamResponse:
        """It broke off."""
        return await self._end(self._writer.failed(error))

    async def _begin(self, delta: Delta) -> bytes:
        routed = self._attempts[delta.attempt]  # not always the newest: an earlier answer may have been no worse
        headers = {"content-type": "text/event-stream", "cache-control": "no-cache", **self._head(routed)}
        self.response = web.StreamResponse(headers=headers)
        await self.response.prepare(self._request)
        return self._writer.begin(routed, self._prompts.get(delta.attempt, Usage())) + self._written(delta)

    def _written(self, delta: Delta) -> bytes:
        empty = not (delta.text or delta.reasoning or delta.tool_calls or delta.logprobs)
        return b"" if empty else self._writer.delta(delta)

    async def _send(self, data: bytes) -> None:
        assert self.response
        if not data:
            return
        self._last = self._loop.time()
        try:
            await self.response.write(data)
        except ConnectionError:
            await anyio.sleep_forever()  # the caller is gone, and the cancellation that follows on its way

    async def _end(self, data: bytes) -> web.StreamResponse:
        assert self.response
        self.close()
        await self.response.write_eof(data)
        return self.response

    def close(self) -> None:
        """No more pings."""
        self._timer.cancel()
        for ping in self._pings:
            ping.cancel()

    def _tick(self) -> None:
        silent = self._loop.time() - self._last
        if silent >= (self._ping_s if self.response else self._wait_s):
            self._last += silent
            silent = 0.0
            ping = self._loop.create_task(self._ping())
            self._pings.add(ping)
            ping.add_done_callback(self._pings.discard)
        until = self._ping_s if silent < self._ping_s else self._wait_s
        self._timer = self._loop.call_later(until - silent, self._tick)

    async def _ping(self) -> None:
        try:
            if self.response:
                await self._send(self._writer.ping())
            elif self.routed:
                await self._send(await self._begin(Delta(id=0, attempt=self.routed.attempt)))
        except ConnectionError:
            pass  # the caller is gone; its request is cancelled for that
