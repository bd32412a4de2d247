"""One request takes down nothing: what cannot be sent is its own failure, and a deadly one is kept from models."""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import socket
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import anyio
import anyio.abc
import pytest
from msgspec.structs import replace

from routerd.selftest.fake_api import fake_api
from routerd.server.services import Services
from routerd.server.session import Session
from routerd.supervisor.errors import ProcessFailedError
from routerd.supervisor.outgoing import Outgoing
from routerd.supervisor.supervisor import Supervisor
from routerd.wire import Generate
from routerd_client import RequestFailedError, protocol
from routerd_client.chat import ChatRequest, Message
from routerd_client.framing import MAX_FRAME, pack
from routerd_client.protocol import ErrorCode
from routerd_client.records import FailureKind, Residency
from tests.support.daemon import Running, fake, routes, running_daemon
from tests.support.supervising import MadeUpMachine, spec, supervising
from tests.support.wait import until

from .raw import Raw, connected, recorded

U128 = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 2**128 - 1}}}
HELLO: list[Any] = [{"role": "user", "content": "hi"}]


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"items": value}
    return value


def named(parameters: Any) -> list[Any]:
    """Anthropic's tools."""
    return [{"name": "f", "input_schema": parameters}]


def flat(parameters: Any) -> list[Any]:
    """The tools of the responses API."""
    return [{"type": "function", "name": "f", "parameters": parameters}]


def called(arguments: str) -> list[Any]:
    """A history with a call of a tool."""
    call = {"id": "1", "function": {"name": "f", "arguments": arguments}}
    return [*HELLO, {"role": "assistant", "tool_calls": [call]}]


def function(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "reserve", "parameters": parameters}}


PASSED: dict[str, tuple[str, dict[str, Any]]] = {
    "schema": ("/v1/chat/completions", {"messages": HELLO, "tools": [function(U128)]}),
    "unknown field": ("/v1/chat/completions", {"messages": HELLO, "trace": 10**25}),
    "template": ("/v1/chat/completions", {"messages": HELLO, "chat_template_kwargs": {"n": 2**70}}),
    "metadata": ("/v1/chat/completions", {"messages": HELLO, "metadata": {"n": 2**70}}),
    "messages": ("/v1/messages", {"messages": HELLO, "max_tokens": 9, "tools": named(U128)}),
    "count": ("/v1/messages/count_tokens", {"messages": HELLO, "tools": named(U128)}),
    "responses": ("/v1/responses", {"input": "hi", "tools": flat(U128)}),
}
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "seed": ("/v1/chat/completions", {"messages": HELLO, "seed": 2**64}),
    "max_tokens": ("/v1/chat/completions", {"messages": HELLO, "max_tokens": 2**64}),
    "bias": ("/v1/chat/completions", {"messages": HELLO, "logit_bias": {str(2**64): 1}}),
    "deep schema": ("/v1/chat/completions", {"messages": HELLO, "tools": [function(nested(300))]}),
    "deepest schema": ("/v1/chat/completions", {"messages": HELLO, "tools": [function(nested(5000))]}),
    "deep template": ("/v1/chat/completions", {"messages": HELLO, "chat_template_kwargs": nested(300)}),
    "deep field": ("/v1/chat/completions", {"messages": HELLO, "trace": nested(900)}),
    "deep messages": ("/v1/messages", {"messages": HELLO, "max_tokens": 9, "tools": named(nested(300))}),
    "deep count": ("/v1/messages/count_tokens", {"messages": HELLO, "tools": named(nested(900))}),
    "tokens": ("/v1/messages", {"messages": HELLO, "max_tokens": 2**64}),
    "deep responses": ("/v1/responses", {"input": "hi", "tools": flat(nested(900))}),
    "deep format": (
        "/v1/chat/completions",
        {"messages": HELLO, "response_format": {"type": "json_schema", "json_schema": {"schema": nested(300)}}},
    ),
    "deep arguments": (
        "/v1/chat/completions",
        {"messages": called("[" * 900 + "]" * 900)},
    ),
}  # fmt: skip


def text_of(body: dict[str, Any]) -> bytes:
    """JSON of any depth; Python's own writer has a limit."""
    try:
        return json.dumps(body).encode()
    except RecursionError:
        flat, deep = json.dumps(body | {"tools": [function("DEEP")]}), '{"items":' * 5000 + "{}" + "}" * 5000
        return flat.replace('"DEEP"', deep).encode()


@asynccontextmanager
async def http(running: Running) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession("http://x", connector=aiohttp.UnixConnector(str(running.socket))) as session:
        yield session


async def test_no_request_harms_another_answer(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    text = routes(demo=fake(f"--hold {hold} --tokens 4", concurrency=4))
    async with running_daemon(tmp_path, text) as running, http(running) as session, running.client() as client:
        await client.chat("load it")
        hold.touch()
        pid, answers = running.model("demo").pid, list[str]()

        async def neighbour() -> None:
            answers.append((await client.chat("a long one")).text)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(neighbour)
            await until(lambda: running.model("demo").in_flight, "the neighbour is answered")
            for name, (path, body) in REFUSED.items():
                async with session.post(path, data=text_of({"model": "demo"} | body)) as answer:
                    assert answer.status == 400, (name, await answer.text())
                    assert answer.headers.get("x-should-retry") == "false", name
            hold.unlink()
        for name, (path, body) in PASSED.items():
            async with session.post(path, json={"model": "demo"} | body) as answer:
                assert answer.status == 200, (name, await answer.text())

        assert answers == ["t0 t1 t2 t3"]
        assert (running.model("demo").pid, running.model("demo").restarts) == (pid, 0)
        assert not running.status().requests["open"]


async def test_a_model_that_is_not_loaded_counts_any_schema(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with running_daemon(tmp_path, routes(demo=fake(f"--record {record}"))) as running, http(running) as session:
        path, body = PASSED["count"]
        async with session.post(path, json=body) as answer:
            assert (answer.status, await answer.json()) == (200, {"input_tokens": 1})
        async with session.post(path, json=body | {"messages": [{"role": "user", "content": "a b c"}]}) as answer:
            assert (answer.status, await answer.json()) == (200, {"input_tokens": 3})
        assert len({line["pid"] for line in recorded(record, "count")}) == 1, "one counter, and it lives"


async def test_what_is_too_large_for_a_frame_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "SOUL.md").write_text("Be brief. " * 400)
    text = routes(rest=f"persona: {tmp_path / 'SOUL.md'}", demo=fake("--count 5", concurrency=2))
    async with running_daemon(tmp_path, text) as running, http(running) as session:
        said = [{"role": "user", "content": "x" * (MAX_FRAME - 2000)}]  # with the persona it is over the limit
        body = io.BytesIO(json.dumps({"messages": said}).encode())
        async with session.post("/v1/chat/completions", data=body) as answer:
            assert answer.status == 400, await answer.text()
            assert "too large for a model process" in (await answer.json())["error"]["message"]
        async with session.post("/v1/chat/completions", json={"messages": HELLO}) as answer:
            assert answer.status == 200, await answer.text()
        assert running.model("demo").restarts == 0


@pytest.mark.parametrize("field", ["template_args", "extra"])
async def test_json_lines_take_any_integer(tmp_path: Path, field: str) -> None:
    chat = ChatRequest(messages=[Message("user", "hi")], **{field: {"openai": {"n": 2**128 - 1}}})
    async with running_daemon(tmp_path, routes(demo=fake())) as running, connected(running.socket) as raw:
        await raw.stream.send(protocol.json_encoder.encode(protocol.Chat(id=1, chat=chat)) + b"\n")
        received = b""
        while b'"done"' not in received and b'"error"' not in received:
            received += await raw.bytes()
        done = protocol.json_event_decoder.decode(received.splitlines()[-1])
        assert isinstance(done, protocol.Done), done
        seed = replace(chat, sampling=replace(chat.sampling, seed=2**64))
        for ask in (protocol.Chat(id=2, chat=seed), protocol.Route(id=3, chat=seed)):
            await raw.stream.send(protocol.json_encoder.encode(ask) + b"\n")
            error = protocol.json_event_decoder.decode((await raw.bytes()).strip())
            assert isinstance(error, protocol.Error), error
            assert (error.id, error.code) == (ask.id, ErrorCode.BAD_REQUEST)
            assert "seed is 18446744073709551616; it must be below 2^64" in error.message


async def test_the_client_says_what_a_frame_cannot_carry(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(demo=fake())) as running, running.client() as client:
        with pytest.raises(ValueError, match="over 64 bits"):
            await client.chat("hi", tools=[function(U128)])
        with pytest.raises(ValueError, match="surrogate"):
            await client.chat("\ud800")
        with pytest.raises((ValueError, TypeError), match="nested too deeply"):
            await client.chat("hi", template_args={"a": nested(100_000)})
        with pytest.raises(RequestFailedError, match="is nested deeper than 128 levels") as caught:
            await client.chat("hi", template_args={"a": nested(200)})
        assert caught.value.code is ErrorCode.BAD_REQUEST
        assert (await client.chat("hi")).text == "t0 t1 t2"


class Figures:
    """Services whose answers have numbers that no frame can carry."""

    def routes(self) -> protocol.RoutesResult:
        return protocol.RoutesResult(id=0, routes=[], default=2**70)

    async def reload(self) -> protocol.ReloadResult:
        return protocol.ReloadResult(id=0, generation=2**70)


async def test_an_answer_that_cannot_be_sent_ends_its_request_alone() -> None:
    ours, theirs = socket.socketpair()
    stream = await anyio.abc.UNIXSocketStream.from_socket(theirs)
    hello = pack(protocol.encoder.encode(protocol.Hello(id=1)))
    mine = await anyio.abc.UNIXSocketStream.from_socket(ours)
    async with stream, mine, anyio.create_task_group() as tasks:
        tasks.start_soon(Session(stream, cast(Services, Figures()), hello).run)
        raw = Raw(mine)
        assert isinstance(await raw.event(), protocol.Welcome)
        for number, request in enumerate((protocol.Routes(id=2), protocol.Reload(id=3)), start=2):
            await raw.send(request)
            error = await raw.event()
            assert isinstance(error, protocol.Error), error
            assert (error.id, error.code) == (number, ErrorCode.INTERNAL)
            assert "cannot be sent over this connection" in error.message
        await raw.send(protocol.Hello(id=4))
        assert isinstance(await raw.event(), protocol.Welcome), "the connection goes on"
        tasks.cancel_scope.cancel()


DEADLY = "--die-on poison"


async def test_an_innocent_is_answered_when_two_models_die_of_another(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    text = routes(
        first=fake(f"{DEADLY} --hold {hold}", concurrency=4), second=fake(f"{DEADLY} --delay 0.01", concurrency=4)
    )
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        found: dict[str, Any] = {}

        async def ask(prompt: str) -> None:
            try:
                found[prompt] = await client.chat(prompt)
            except RequestFailedError as error:
                found[prompt] = error

        async with anyio.create_task_group() as tasks:
            for prompt in ("innocent", "harmless"):
                tasks.start_soon(ask, prompt)
            await until(lambda: running.model("first").in_flight == 2, "both are answered")
            tasks.start_soon(ask, "poison")
        assert [found[one].text for one in ("innocent", "harmless")] == ["t0 t1 t2"] * 2
        assert [found[one].backend for one in ("innocent", "harmless")] == ["second"] * 2
        assert found["poison"].code is ErrorCode.BAD_REQUEST
        assert [attempt.backend for attempt in found["poison"].attempts] == ["first", "second"]
        assert "2 model processes died while they answered this request" in str(found["poison"])


async def test_identical_requests_are_answered_when_their_process_is_killed_from_outside(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    text = routes(first=fake(f"--hold {hold}", concurrency=8), second=fake(concurrency=8))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        answers: list[tuple[str, str]] = []

        async def ask() -> None:
            done = await client.chat("ping")
            answers.append((done.backend, done.text))

        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(ask)
            await until(lambda: running.model("first").in_flight == 6, "all are answered")
            pid = running.model("first").pid
            assert pid
            os.kill(pid, signal.SIGKILL)
        assert answers == [("second", "t0 t1 t2")] * 6


async def test_one_more_owned_model_is_tried_and_then_only_apis(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with fake_api() as api:
        cloud = json.dumps({"openai": {"model": "m", "base_url": api.base_url}, "billing": "local"})
        text = routes(
            first=fake(DEADLY),
            second=fake("--fail server_error"),
            third=fake(f"--record {record}"),
            cloud=cloud,
        )
        async with running_daemon(tmp_path, text) as running, running.client() as client:
            done = await client.chat("poison")
        assert [attempt.backend for attempt in done.attempts] == ["first", "second", "second", "cloud"]
        assert not record.exists(), "two owned models are enough"


async def test_a_caller_who_sends_it_again_kills_no_third_process(tmp_path: Path) -> None:
    record = tmp_path / "record"
    text = routes(rest="health: {allowed_fails: 9}", only=fake(f"{DEADLY} --record {record}"))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        codes = []
        for _ in range(3):
            with pytest.raises(RequestFailedError) as caught:
                await client.chat("poison")
            codes.append(caught.value.code)
            await until(lambda: running.model("only").residency is not Residency.READY, "its end is seen")
            await until(lambda: running.daemon.supervisor.refusal("only") is None, "its back-off is over")
        assert codes == [ErrorCode.UNAVAILABLE, ErrorCode.BAD_REQUEST, ErrorCode.BAD_REQUEST]
        assert (await client.chat("hello")).text == "t0 t1 t2", "others are answered as before"
    assert len([line for line in recorded(record, "generate") if line["text"] == "poison"]) == 2


class Prompt(str):
    """A text whose end can be seen."""

    __slots__ = ("__weakref__",)


async def test_a_failure_that_many_wait_for_keeps_none_of_their_prompts(tmp_path: Path) -> None:
    prompts: list[weakref.ref[Prompt]] = []
    failed: list[FailureKind] = []

    async def ask(supervisor: Supervisor) -> None:
        prompt = Prompt("a long prompt")
        prompts.append(weakref.ref(prompt))

        async def ignore(_phase: str, _fraction: float | None, _place: int | None) -> None:
            await anyio.lowlevel.checkpoint()

        try:
            async with supervisor.lease("held", ignore) as worker:
                with worker.generate(ChatRequest(messages=[Message("user", str(prompt))])) as stream:
                    async for _ in stream:
                        pass
        except ProcessFailedError as error:
            failed.append(error.kind)

    hold = tmp_path / "hold"
    hold.touch()
    model = spec(f"--size 1000000 --hold {hold}", concurrency=2)
    async with supervising(tmp_path, MadeUpMachine(tmp_path / "machine"), measure_s=5.0, held=model) as supervisor:
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(ask, supervisor)
                await until(lambda: supervisor.busy("held") == 1.5, "they are answered, or wait")
                await supervisor.unload("held", force=True)
    gc.collect()
    assert failed == [FailureKind.OVERLOADED] * 6
    assert [prompt() for prompt in prompts] == [None] * 6


def test_a_frame_is_made_when_it_is_asked_for() -> None:
    outgoing = Outgoing()
    with pytest.raises(ProcessFailedError, match="too large for a model process") as caught:
        outgoing.put(Generate(id=1, chat=ChatRequest(messages=[Message("user", "x" * MAX_FRAME)])))
    assert caught.value.kind is FailureKind.BAD_REQUEST
    assert outgoing.unsent == frozenset(), "nothing of it waits to be sent"
