"""What the socket accepts, and what it says to those who speak something else."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import msgspec
import pytest

from routerd_client import ProtocolMismatchError, protocol
from routerd_client._core import Answer
from routerd_client.framing import HEADER, MAX_FRAME, FrameBuffer, pack
from routerd_client.protocol import Error, ErrorCode, Hello, Status, StatusResult, Welcome
from tests.support.daemon import Running, fake, routes, running_daemon

from .raw import Raw, connected

ROUTES = routes(small=fake("--tokens 2"))
DEEP = b"\x91" * 100_000 + b"\x90"
NOT_UTF8 = b"\xa2\xff\xfe"


async def refusal(raw: Raw, body: bytes) -> Error:
    await raw.stream.send(body)
    error = await raw.event()
    assert isinstance(error, Error)
    return error


async def still_answers(running: Running) -> None:
    async with running.client() as client:
        assert (await client.status()).generation == 1


async def test_hello_is_answered_with_versions_and_pid(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        await raw.send(Hello(id=5, client="tests"))
        welcome = await raw.event()
        assert isinstance(welcome, Welcome)
        assert (welcome.id, welcome.protocol, welcome.pid) == (5, protocol.PROTOCOL, running.status().pid)


@pytest.mark.parametrize(("version", "older"), [(0, "client"), (99, "daemon")])
async def test_another_protocol_is_told_which_side_to_update(tmp_path: Path, version: int, older: str) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        await raw.send(Hello(id=1, protocol=version))
        error = await raw.event()
        assert isinstance(error, Error)
        assert (error.code, error.hint) == (ErrorCode.VERSION_MISMATCH, f"update the {older}")
        with pytest.raises(ProtocolMismatchError, match=f"update the {older}"):
            Answer().observe(error)


async def test_hello_is_optional(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        await raw.send(Status(id=1))
        assert isinstance(await raw.event(), StatusResult)


async def test_an_unknown_request_is_refused_under_its_own_id(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        error = await refusal(raw, pack(msgspec.msgpack.encode({"type": "invented", "id": 7, "x": [1]})))
        assert (error.id, error.code) == (7, ErrorCode.UNKNOWN_REQUEST)
        assert "'invented'" in error.message
        await raw.send(Status(id=8))
        assert isinstance(await raw.event(), StatusResult), "the connection goes on"


async def test_a_malformed_request_is_refused_with_its_place(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        error = await refusal(raw, pack(msgspec.msgpack.encode({"type": "cancel", "id": 7, "target": "x"})))
        assert (error.id, error.code) == (7, ErrorCode.BAD_REQUEST)
        assert "$.target" in error.message


async def test_bytes_that_are_no_messagepack_are_refused(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        error = await refusal(raw, pack(b"\xc1\xc1"))
        assert (error.id, error.code) == (-1, ErrorCode.BAD_REQUEST)


@pytest.mark.parametrize("line", [False, True], ids=["MessagePack", "JSON lines"])
async def test_a_context_of_numbers_and_booleans_is_taken_by_its_json_text(tmp_path: Path, *, line: bool) -> None:
    context = {"level": 3, "deep": True, "share": 0.5, "none": None, "who": "me"}
    asked = {"type": "route", "id": 3, "chat": {"messages": [], "context": context}}
    text = ROUTES + "routes: [{name: it, match: {level: 3, deep: true, share: 0.5, who: me}, use: small}]\n"
    body = msgspec.json.encode(asked) + b"\n" if line else pack(msgspec.msgpack.encode(asked))
    async with running_daemon(tmp_path, text) as running, connected(running.socket) as raw:
        await raw.stream.send(body)
        found = await raw.bytes()
        answer = msgspec.json.decode(found) if line else msgspec.msgpack.decode(found[HEADER.size :])
        assert answer["decision"]["route"] == "it"


def chat_with(field: bytes, value: bytes) -> bytes:
    """A chat's frame with one field more, its value as it is."""
    head = b"\x83" + b"".join(map(msgspec.msgpack.encode, ["type", "chat", "id", 3, "chat"]))
    return pack(head + b"\x82" + msgspec.msgpack.encode("messages") + b"\x90" + field + value)


@pytest.mark.parametrize(
    "body",
    [
        chat_with(b"\xa5extra", b"\x81\xa1a" + DEEP),
        chat_with(b"\xa5model", NOT_UTF8),
        b'{"type":"chat","id":3,"chat":{"messages":[],"extra":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}}\n",
    ],
    ids=["nested too deep", "text that is not UTF-8", "JSON nested too deep"],
)
async def test_what_breaks_the_decoder_is_refused_and_ends_nothing_else(tmp_path: Path, body: bytes) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        await raw.stream.send(body)
        assert b"bad_request" in await raw.bytes()
        await still_answers(running)


async def test_a_frame_too_long_is_refused_before_its_body(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        await raw.stream.send(HEADER.pack(MAX_FRAME + 1))
        (frame,) = FrameBuffer().feed(await raw.rest())
        error = protocol.event_decoder.decode(frame)
        assert isinstance(error, Error)
        assert (error.id, error.code) == (-1, ErrorCode.BAD_REQUEST)
        assert "the connection is closed" in error.message


async def test_http_is_answered_on_the_same_socket(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        await raw.stream.send(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await raw.rest()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b'"status":"ok"' in answer
        await still_answers(running)


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x00", b"{"], ids=repr)
async def test_a_peer_that_goes_at_once_ends_nothing_else(tmp_path: Path, said: bytes) -> None:
    async with running_daemon(tmp_path, ROUTES) as running:
        for _ in range(20):
            async with connected(running.socket) as raw:
                if said:
                    await raw.stream.send(said)
        await still_answers(running)


async def lines(raw: Raw, *requests: object) -> list[dict[str, object]]:
    """Ask in JSON lines; the answers up to as many terminal events."""
    await raw.stream.send(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
    answers: list[dict[str, object]] = []
    rest = b""
    with anyio.fail_after(15):
        while sum(a["type"] in ("done", "error", "status_result", "route_result") for a in answers) < len(requests):
            *whole, rest = (rest + await raw.bytes()).split(b"\n")
            answers += map(json.loads, whole)
    return answers


async def test_the_same_socket_speaks_lines_of_json(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        asked = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
        answers = await lines(raw, {"type": "chat", "id": 1, "chat": asked})
        assert answers[0]["type"] == "routed"
        assert "".join(str(a["text"]) for a in answers if a["type"] == "delta") == "t0 t1"
        assert answers[-1]["type"] == "done"


async def test_a_line_that_is_no_json_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        await raw.stream.send(b"{nonsense\n")
        (error,) = await lines(raw) or [json.loads(await raw.bytes())]
        assert (error["code"], error["id"]) == ("bad_request", -1)
        (status,) = await lines(raw, {"type": "status", "id": 2})
        assert status["id"] == 2


async def test_a_client_that_has_said_all_it_wants_still_gets_its_answers(tmp_path: Path) -> None:
    """``echo '...' | socat - UNIX-CONNECT:...`` closes its half when its input ends."""
    async with running_daemon(tmp_path, ROUTES) as running, connected(running.socket) as raw:
        await raw.stream.send(b'{"type": "status", "id": 1}\n')
        await raw.stream.send_eof()
        assert json.loads(await raw.rest())["type"] == "status_result"
