"""The servers of `gateway`: the upstream that all ways lead to, and the relay that does nothing else."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import suppress
from typing import cast

import aiohttp
import uvloop
from aiohttp import web

from .gateway_load import PACE_S, TOKENS

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: "
_MESSAGE = {"role": "assistant", "content": "The first one, by a factor of three; I am as sure as one can be. " * 4}
_CHOICES = [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}]
_USAGE = {"prompt_tokens": 40, "completion_tokens": 50, "total_tokens": 90}
_BODY = json.dumps(
    {"id": "1", "object": "chat.completion", "model": "m", "choices": _CHOICES, "usage": _USAGE}
).encode()
_WHOLE = _HEAD + b"application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
_CHUNK = (
    '{{"id":"1","object":"chat.completion.chunk","model":"m","choices":[{{"index":0,"delta":{},"finish_reason":{}}}]}}'
)


def _chunk(delta: str, finish: str = "null") -> bytes:
    data = b"data: " + _CHUNK.format(delta, finish).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


_STREAM = (
    _HEAD + b"text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + _chunk('{"role":"assistant","content":""}')
)
_TOKEN = _chunk('{"content":"token "}')
_DONE = b"data: [DONE]\n\n"
_END = _chunk("{}", '"stop"') + b"%x\r\n%b\r\n0\r\n\r\n" % (len(_DONE), _DONE)


class Upstream(asyncio.Protocol):
    """Answers at once, as the model's name says: ``whole`` in one piece, asked for a stream or not; ``fast`` a token
    each turn of its loop, ``paced`` one every `PACE_S`, each of which bears the time at which it was sent."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._data = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._data.endswith((b"}", b"0\r\n\r\n")):
            return
        asked, self._data = self._data, b""
        if b"whole" in asked:
            self._transport.write(_WHOLE)
        else:
            self._transport.write(_STREAM)
            self._token(TOKENS, paced=b"paced" in asked)

    def _fast(self, left: int) -> None:
        self._token(left, paced=False)

    def _paced(self, left: int) -> None:
        self._token(left, paced=True)

    def _token(self, left: int, *, paced: bool) -> None:
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(_END)
            return
        if paced:
            self._transport.write(_chunk(f'{{"content":"tok{time.perf_counter_ns()} "}}'))
            self._loop.call_later(PACE_S, self._paced, left - 1)
        else:
            self._transport.write(_TOKEN)
            self._loop.call_soon(self._fast, left - 1)


async def serve_upstream() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def serve_relay(port: int) -> None:
    """An aiohttp server in front of an aiohttp client."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as session:

        async def relay(request: web.Request) -> web.StreamResponse:
            url, body = f"http://127.0.0.1:{port}{request.path}", await request.read()
            async with session.post(url, data=body, headers={"content-type": "application/json"}) as answer:
                if "content-length" in answer.headers:
                    return web.Response(body=await answer.read(), content_type="application/json")
                response = web.StreamResponse(headers={"content-type": "text/event-stream"})
                await response.prepare(request)
                with suppress(ConnectionError):  # the load has what it wants
                    async for piece in answer.content.iter_any():
                        await response.write(piece)
                    await response.write_eof()
                return response

        app = web.Application()
        app.router.add_post("/v1/chat/completions", relay)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve-upstream", action="store_true")
    parser.add_argument("--serve-relay", type=int, metavar="PORT")
    options = parser.parse_args()
    uvloop.run(serve_upstream() if options.serve_upstream else serve_relay(options.serve_relay))


if __name__ == "__main__":
    main()
