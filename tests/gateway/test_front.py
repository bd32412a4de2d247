"""The HTTP front as raw HTTP: what is sent on, what comes back, and what is not answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from routerd.gateway.chat_completions import read
from routerd.gateway.connection import MAX_BODY
from routerd.gateway.format import BadRequestError
from routerd.gateway.pages import places
from routerd.gateway.web import Front
from routerd.selftest.fake_api import FakeApi, fake_api
from routerd.selftest.fake_formats import Knobs
from tests.support.daemon import Running, fake, routes, running_daemon
from tests.support.wait import until

HELLO: Any = [{"role": "user", "content": "Hello?"}]
CHAT = "/v1/chat/completions"


def at(api: FakeApi, **settings: Any) -> str:
    return json.dumps({"openai": {"model": "m", "base_url": api.base_url, **settings}})


@asynccontextmanager
async def over_unix(running: Running) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(running.socket))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session


async def events(answer: aiohttp.ClientResponse) -> list[Any]:
    """The data of a stream, decoded; ``[DONE]`` as it is."""
    *found, rest = (await answer.read()).decode().split("\n\n")
    assert rest == ""
    data = [event.removeprefix("data: ") for event in found]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


async def test_everything_a_request_can_say_reaches_a_backend_of_the_same_format(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    said: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        "tool_choice": "required",
        "temperature": 0,
        "seed": 7,
        "stop": ["END"],
        "max_completion_tokens": 9,
        "logit_bias": {"5": -1},
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {"type": "json_object"},
    }  # fmt: skip
    never = {"api_base": "http://elsewhere", "fallbacks": ["dear"], "api_key": "sk-theirs", "mock_response": "Hi."}
    unknown = {"service_tier": "flex", "user": "somebody", "some_future_field": {"a": [1]}}
    async with (
        fake_api() as api,
        running_daemon(tmp_path, routes(cloud=at(api))) as running,
        over_unix(running) as http,
        http.post(CHAT, json=said | unknown | never | {"model": "primary"}) as answer,
    ):
        assert answer.status == 200
        assert all(f"the field {name}" in answer.headers["x-routerd-left-out"] for name in never)
    (asked,) = api.asked
    expected = said | unknown | {"model": "m", "max_tokens": 9, "stream": True}
    del expected["max_completion_tokens"]
    assert {name: asked.body[name] for name in expected} == expected
    assert not never.keys() & asked.body.keys()


async def test_embeddings_leave_the_same_fields_out(tmp_path: Path) -> None:
    async with (
        fake_api() as api,
        running_daemon(tmp_path, routes(cloud=at(api))) as running,
        over_unix(running) as http,
        http.post("/v1/embeddings", json={"input": "Hello?", "user": "me", "api_base": "x", "api\nkey": "y"}) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["x-routerd-left-out"] == "the field api_base; the field api?key"
    assert api.asked[0].body == {"model": "m", "input": "Hello?", "user": "me"}


async def test_whole_and_streamed_bring_the_same(tmp_path: Path) -> None:
    knobs = Knobs(reasoning="hm", calls=[("look", '{"at": 1}'), ("see", "{}")])
    async with (
        fake_api(knobs) as api,
        running_daemon(tmp_path, routes(cloud=at(api))) as running,
        over_unix(running) as http,
    ):
        asked = {"model": "primary", "messages": HELLO, "stream_options": {"include_usage": True}}
        async with http.post(CHAT, json=asked) as answer:
            whole, heads = await answer.json(), answer.headers
        async with http.post(CHAT, json=asked | {"stream": True}) as answer:
            assert answer.content_type == "text/event-stream"
            streamed, streamed_heads = await events(answer), answer.headers

    message, usage = whole["choices"][0]["message"], whole["usage"]
    assert (message["content"], message["reasoning_content"]) == ("Hello, world!", "hm")
    assert [call["function"] for call in message["tool_calls"]] == [
        {"name": "look", "arguments": '{"at": 1}'},
        {"name": "see", "arguments": "{}"},
    ]
    assert (whole["model"], whole["object"], whole["choices"][0]["finish_reason"]) == (
        "primary",
        "chat.completion",
        "tool_calls",
    )
    assert usage["prompt_tokens_details"] == {"cached_tokens": 7}
    assert whole["routerd"]["backend"] == "cloud"

    *chunks, finish, last, done = streamed
    assert done == "[DONE]"
    assert (last["choices"], last["usage"]) == ([], usage)
    assert finish["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content", "") for delta in deltas) == "Hello, world!"
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "hm"
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [call.pop("index") for call in calls] == [0, 1]
    assert [call["function"] for call in calls] == [call["function"] for call in message["tool_calls"]]
    assert len({chunk["id"] for chunk in (*chunks, finish, last)}) == 1

    for found in (heads, streamed_heads):
        assert found["x-routerd-backend"] == "cloud"
        assert found["x-routerd-attempts"] == "1"
        assert found["x-routerd-request-id"]
        assert found["x-routerd-route"] == ""


async def test_who_asks_decides_the_route(tmp_path: Path) -> None:
    rest = """\
routes:
  - {name: plans, match: {platform: cli, task: plan}, use: second}
  - {name: numbers, match: {level: 3, deep: true, share: 0.5}, use: second}
  - {name: agents, match: {client: claude-code}, use: second}
aliases: {gpt-4o: second, "claude-*": routed}
"""
    async with (
        fake_api(Knobs(pieces=["one"])) as one,
        fake_api(Knobs(pieces=["two"])) as two,
        running_daemon(tmp_path, routes(first=at(one), second=at(two), rest=rest, default="first")) as running,
        over_unix(running) as http,
    ):  # fmt: skip

        async def ask(model: str = "", headers: dict[str, str] | None = None, **fields: Any) -> tuple[str, str]:
            asked = {"model": model, "messages": HELLO, **fields}
            async with http.post(CHAT, json=asked, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                text = (await answer.json())["choices"][0]["message"]["content"]
                return text, answer.headers["x-routerd-route"]

        assert await ask() == ("one", "")
        assert await ask("second") == ("two", "")
        assert await ask("gpt-4o") == ("two", "")
        assert await ask("claude-anything") == ("one", "")
        assert await ask(headers={"x-routerd-context": "platform=cli, task=plan"}) == ("two", "plans")
        assert await ask(metadata={"platform": "cli", "task": "plan", "n": 1}) == ("two", "plans")
        numbers = {"level": 3, "deep": True, "share": 0.5, "none": None, "list": []}
        assert await ask(metadata=numbers) == ("two", "numbers")
        assert await ask(metadata={"platform": "cli"}, headers={"x-routerd-context": "task=plan"}) == ("two", "plans")
        assert await ask(headers={"user-agent": "claude-cli/2.1.197 (external, cli)"}) == ("two", "agents")
        async with http.post(CHAT, json={"model": "thrid", "messages": HELLO}) as answer:
            error = (await answer.json())["error"]
            assert (answer.status, error["code"]) == (404, "model_not_found")
            assert answer.headers["x-should-retry"] == "false"


async def test_a_failure_has_its_status_and_when_to_ask_again(tmp_path: Path) -> None:
    knobs = Knobs(status=429, headers={"retry-after": "30"})
    async with (
        fake_api(knobs) as api,
        running_daemon(tmp_path, routes(cloud=at(api))) as running,
        over_unix(running) as http,
    ):
        # all but the first find the backend at rest, without having asked it
        asked = {"messages": HELLO, "max_tokens": 9}
        for path, body in (
            (CHAT, asked),
            (CHAT, asked | {"stream": True}),
            ("/v1/messages", asked),
            ("/v1/responses", {"input": "Hello?"}),
            ("/v1/embeddings", {"input": "Hello?"}),
        ):
            async with http.post(path, json=body) as answer:
                assert (answer.status, (await answer.json())["error"]["type"]) == (429, "rate_limit_error"), path
                assert 20 <= int(answer.headers["retry-after"]) <= 30
                assert "x-should-retry" not in answer.headers
        assert len(api.asked) == 1


async def test_an_answer_that_breaks_off_never_looks_whole(tmp_path: Path) -> None:
    knobs = Knobs(pieces=["The answer is "] * 30, cut_after=25)
    async with (
        fake_api(knobs) as api,
        running_daemon(tmp_path, routes(cloud=at(api))) as running,
        over_unix(running) as http,
    ):
        async with http.post(CHAT, json={"messages": HELLO, "stream": True}) as answer:
            assert answer.status == 200
            *chunks, last = await events(answer)
        assert last["routerd"]["code"] == "interrupted"
        assert last["error"]["message"]
        assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)


async def test_who_leaves_stops_the_answer(tmp_path: Path) -> None:
    async with (
        fake_api(Knobs(pieces=["word "] * 10_000, between=0.01)) as api,
        running_daemon(tmp_path, routes(cloud=at(api))) as running,
    ):
        for stream in (True, False):
            async with over_unix(running) as http:
                if stream:
                    async with http.post(CHAT, json={"messages": HELLO, "stream": True}) as answer:
                        await answer.content.readany()
                else:
                    asking = asyncio.ensure_future(http.post(CHAT, json={"messages": HELLO}).__aenter__())
                    await until(lambda: len(api.asked) == 2, "the request comes")
                    asking.cancel()
            await until(lambda: not api.in_flight, "the API works no longer", deadline=60)
        assert [asked.gone for asked in api.asked] == [True, True]
        requests = await until(
            lambda: found if not (found := running.status().requests)["open"] else None, "both ended"
        )
        assert requests["cancelled"] == 2


async def test_the_daemon_stops_in_the_middle_of_answers(tmp_path: Path) -> None:
    async with fake_api(Knobs(pieces=["word "] * 10_000, between=0.01)) as api:
        async with AsyncExitStack() as left:
            async with running_daemon(tmp_path, routes(cloud=at(api))) as running:
                http = await left.enter_async_context(over_unix(running))
                answer = await left.enter_async_context(http.post(CHAT, json={"messages": HELLO, "stream": True}))
                await answer.content.readany()
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        await until(lambda: not api.in_flight, "the API works no longer", deadline=60)


async def test_a_route_may_have_it_streamed_or_not(tmp_path: Path) -> None:
    rest = """\
routes:
  - {match: {how: streamed}, use: cloud, set: {stream: true}}
  - {match: {how: whole}, use: cloud, set: {stream: false}}
"""
    async with (
        fake_api(Knobs(calls=[("look", "{}")])) as api,
        running_daemon(tmp_path, routes(cloud=at(api), rest=rest)) as running,
        over_unix(running) as http,
    ):
        how = {"messages": HELLO, "metadata": {"how": "streamed"}}
        async with http.post(CHAT, json=how) as answer:
            message = (await answer.json())["choices"][0]["message"]
        how = {"messages": HELLO, "metadata": {"how": "whole"}, "stream": True}
        async with http.post(CHAT, json=how) as answer:
            _, one, *_ = await events(answer)
        delta = one["choices"][0]["delta"]
        assert message["content"] == delta["content"] == "Hello, world!"
        assert message["tool_calls"][0]["id"]
        assert delta["tool_calls"][0]["function"]["name"] == "look"


async def test_completions(tmp_path: Path) -> None:
    async with (
        fake_api() as api,
        running_daemon(tmp_path, routes(cloud=at(api))) as running,
        over_unix(running) as http,
    ):
        asked = {"model": "primary", "prompt": "Once", "max_tokens": 5, "stream_options": {"include_usage": True}}
        async with http.post("/v1/completions", json=asked) as answer:
            whole = await answer.json()
        async with http.post("/v1/completions", json=asked | {"stream": True}) as answer:
            *chunks, finish, usage, done = await events(answer)
        assert (whole["object"], whole["choices"][0]["text"]) == ("text_completion", "Hello, world!")
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "Hello, world!"
        assert (finish["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")
        assert usage["usage"] == whole["usage"]
        assert api.asked[0].body["messages"] == [{"role": "user", "content": "Once"}]
        for wrong in ({"prompt": ["a", "b"]}, {"prompt": [1, 2]}, {"echo": True}, {"best_of": 2}, {"suffix": "x"}):
            async with http.post("/v1/completions", json=asked | wrong) as answer:
                assert (answer.status, (await answer.json())["error"]["param"]) == (400, next(iter(wrong)))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello?"}, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
        ({"functions": []}, "functions"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"temperature": "hot"}, "temperature"),
        ({"extra_body": {"api_base": "http://elsewhere"}}, "extra_body"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_is_wrong_with_a_request_is_told_with_its_place(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        read(json.dumps({"messages": HELLO, **fields}).encode(), {})

    assert caught.value.param == param
    assert caught.value.message


def tagged(api: FakeApi) -> str:
    return json.dumps({"openai": {"model": "m", "base_url": api.base_url, "context": 8000}, "tags": ["far"]})


async def test_pages(tmp_path: Path) -> None:
    rest = "aliases: {gpt-4o: cloud, claude: routed, 'any-*': cloud}"
    async with (
        fake_api() as api,
        running_daemon(tmp_path, routes(cloud=tagged(api), small=fake(context=100), rest=rest)) as running,
        over_unix(running) as http,
    ):
        async with http.get("/v1/models") as answer:
            models = await answer.json()
        contexts = {model["id"]: model["context_length"] for model in models["data"]}
        assert list(contexts) == ["primary", "cloud", "small", "tag:far", "routed", "gpt-4o", "claude"]
        assert contexts == dict.fromkeys(contexts, 8000) | {"small": 100}
        assert (models["first_id"], models["last_id"], models["has_more"]) == ("primary", "claude", False)
        for name in ("gpt-4o", "tag:far"):
            async with http.get(f"/v1/models/{name}") as answer:
                assert (await answer.json())["id"] == name
        for method, path, status in [
            ("GET", "/v1/models/none", 404),
            ("GET", "/v1/chat/completions", 405),
            ("POST", "/v1/models", 405),
            ("GET", "/api/v1/models", 404),
            ("POST", "/v1/v1/messages", 404),
            ("HEAD", "/", 200),
            ("GET", "/", 200),
            ("GET", "/health", 200),
            ("OPTIONS", CHAT, 405),
        ]:
            async with http.request(method, path) as answer:
                body = await answer.read()
                assert answer.status == status, path
                assert method == "HEAD" or path in ("/", "/health") or json.loads(body)["error"]["message"]
                assert answer.headers["x-routerd-request-id"]


def test_only_what_is_there_is_offered() -> None:
    assert places("GET") == ["/", "/health", "/metrics", "/openapi.json", "/v1/models"]
    assert "/v1/messages/count_tokens" in places("POST")
    assert "/v1/chat/completions" in places("POST")
    assert set(places("PUT")) == {*places("GET"), *places("POST")}


async def test_bodies_have_a_size_and_a_time(tmp_path: Path, sockets: Path) -> None:
    async with (
        running_daemon(tmp_path, routes(small=fake())) as running,
        served(Front(running.daemon, body_s=0.2, idle_s=0.5), sockets) as path,
    ):
        head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ".encode()
        assert (await said(path, head + b"%d\r\n\r\n{" % (MAX_BODY + 1))).startswith(b"HTTP/1.1 413 ")
        assert (await said(path, head + b"20\r\n\r\n{")).startswith(b"HTTP/1.1 408 ")
        assert await said(path, head) == b""  # a head that never ends
        long = b"GET / HTTP/1.1\r\nx: " + b"y" * 10_000 + b"\r\n\r\n"
        packed = head + b"2\r\ncontent-encoding: br\r\n\r\n{}"
        for nonsense, status in ((long, b"431"), (packed, b"415"), (b"NONSENSE\r\n\r\n", b"400")):
            answer = await said(path, nonsense)
            assert answer.split()[1] == status, answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
            assert b"x-routerd-request-id: " in answer
        expects = head + b"2\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n{}"
        assert (await said(path, expects)).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 ")


@asynccontextmanager
async def served(front: Front, folder: Path) -> AsyncIterator[str]:
    """The front alone, at the path of a socket."""
    path = str(folder / "http.sock")
    server = await asyncio.get_running_loop().create_unix_server(front.server, path)
    try:
        yield path
    finally:
        server.close()
        await front.close()


async def said(path: str, data: bytes) -> bytes:
    """What comes until the front hangs up."""
    heard = b""
    async with await anyio.connect_unix(path) as stream:
        await stream.send(data)
        with anyio.fail_after(60):
            try:
                while True:
                    heard += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return heard


@pytest.mark.parametrize(
    "asked",
    [
        {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}]},
    ],
    ids=["tools", "images"],
)
async def test_what_no_backend_can_ever_answer_is_not_asked_for_again(tmp_path: Path, asked: Any) -> None:
    async with (
        fake_api() as api,
        running_daemon(tmp_path, routes(cloud=at(api, tools=False, vision=False))) as running,
        over_unix(running) as http,
        http.post(CHAT, json={"model": "primary", "messages": HELLO} | asked) as answer,
    ):
        body = await answer.json()
        assert (answer.status, answer.headers["x-should-retry"]) == (400, "false"), body
        assert "explain" in body["error"]["message"]
    assert api.asked == []


async def test_a_circle_of_routers_ends(tmp_path: Path) -> None:
    async with (
        running_daemon(tmp_path, routes(small=fake())) as running,
        over_unix(running) as http,
        running.client() as client,
    ):
        itself = json.dumps({"openai": {"model": "primary", "base_url": f"unix:{running.socket}"}})
        (tmp_path / "routes.yaml").write_text(routes(other=itself))
        await client.reload()
        for path, asked in ((CHAT, {"messages": HELLO}), ("/v1/embeddings", {"input": "Hello?"})):
            async with http.post(path, json=asked) as answer:
                assert answer.status >= 400
                assert "came through 6 routers" in (await answer.json())["error"]["message"]


async def test_a_schema_that_is_none_is_refused(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(small=fake())) as running, over_unix(running) as http:
        for schema in ({}, {"json_schema": {"name": "x"}}, {"json_schema": {"schema": "zz"}}):
            asked = {"messages": HELLO, "response_format": {"type": "json_schema", **schema}}
            async with http.post(CHAT, json=asked) as answer:
                assert answer.status == 400
                assert (await answer.json())["error"]["param"] == "response_format.json_schema.schema"
