"""Connections to servers that do not do what they should, on the wire itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from routerd.backends.base import BackendError
from routerd.backends.transport import Transport
from routerd_client.records import FailureKind
from tests.support.wait import until

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[tuple[Transport, str]]:
    """Connections to a server of ours, and its address."""
    writers: list[asyncio.StreamWriter] = []

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(taken, "127.0.0.1", 0)
    transport = Transport()
    try:
        yield transport, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        await transport.aclose()
        for writer in writers:
            writer.close()
        server.close()


async def read(reader: asyncio.StreamReader) -> bytes:
    """The body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
    return await reader.readexactly(int(length[16:]))


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def ask(transport: Transport, url: str, body: bytes) -> bytes:
    reply = await transport.post(url, {}, body, lambda: None, "there")
    try:
        return await reply.body(1000)
    finally:
        reply.close()


async def test_what_a_server_said_unasked_is_nobodys_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(whole(b"answer to " + await read(reader)))
            if not said.is_set():
                await extra.wait()
                writer.write(whole(b"EXTRA"))
                said.set()

    extra, said = anyio.Event(), anyio.Event()
    async with served(serve) as (transport, url):
        assert await ask(transport, url, b"one") == b"answer to one"
        extra.set()
        await said.wait()
        (kept, _), *_ = next(iter(transport._connector._conns.values()))
        await until(lambda: kept.should_close, "it has been heard")
        for word in (b"two", b"three"):
            assert await ask(transport, url, word) == b"answer to " + word


async def test_a_server_that_speaks_first_is_told_and_not_asked_for_ever() -> None:
    """SMTP, SSH and others do; by the time of the request its words may have come or not."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b"220 mail.test ESMTP\r\n")
        await reader.read()

    async with served(serve) as (transport, url):
        for _ in range(3):
            with anyio.fail_after(5), pytest.raises(BackendError) as failed:
                await ask(transport, url, b"one")
            assert failed.value.kind is FailureKind.MALFORMED

    assert connections == 3


async def test_a_request_of_whose_answer_the_first_line_came_is_not_sent_again() -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read(reader))
        writer.write(whole(b"well"))
        asked.append(await read(reader))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-")
        await writer.drain()

    async with served(serve) as (transport, url):
        await ask(transport, url, b"one")
        with pytest.raises(BackendError) as failed:
            await ask(transport, url, b"two")

    assert failed.value.kind is FailureKind.CONNECT_FAILED
    assert asked == [b"one", b"two"]


async def test_who_switches_protocols_is_no_server_of_answers() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
        await reader.read()

    async with served(serve) as (transport, url):
        with anyio.fail_after(5):
            reply = await transport.post(url, {}, b"one", lambda: None, "there")
        assert reply.status == 101
        reply.close()


async def test_a_request_that_is_not_read_is_not_kept() -> None:
    never = anyio.Event()

    async def serve(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await never.wait()

    async with served(serve) as (transport, url):
        before = descriptors()
        for _ in range(5):
            with anyio.move_on_after(0.05):
                await ask(transport, url, b"x" * 8_000_000)
        # the server's own ends stay: it looks away, and does not hear that nobody is there
        await until(lambda: descriptors() <= before + 5, "its connections are cut")
        never.set()


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


ENDLESS = {
    "interim answers": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "interim answers with headers": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\na: ", b"b"),
}


@pytest.mark.parametrize(("first", "again"), ENDLESS.values(), ids=ENDLESS)
async def test_what_comes_before_an_answer_has_an_end(first: bytes, again: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read(reader)
        writer.write(first)
        while True:
            writer.write(again * 10_000)
            await writer.drain()

    async with served(serve) as (transport, url):
        with anyio.fail_after(10), pytest.raises(BackendError) as failed:
            await ask(transport, url, b"one")

    assert failed.value.kind is FailureKind.MALFORMED


async def test_a_server_that_always_has_more_to_say_makes_nobody_wait() -> None:
    """Chunks of a byte: what is paid for each is paid in the loop."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\nx\r\n" * 50_000)
            await writer.drain()

    async with served(serve) as (transport, url):
        reply = await transport.post(url, {}, b"one", lambda: None, "there")
        turns, read_ = 0, 0
        while read_ < 1_000_000:
            read_ += len(await reply.chunk())
            turns += 1
        reply.close()

    assert turns > 5  # not all of it at once


async def test_a_few_interim_answers_are_none() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            body = await read(reader)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + whole(b"answer to " + body))

    async with served(serve) as (transport, url):
        for word in (b"one", b"two"):
            assert await ask(transport, url, word) == b"answer to " + word
