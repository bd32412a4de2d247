"""Answers over real sockets, in every format."""

from __future__ import annotations

import anyio
from msgspec.structs import replace

from routerd.backends.base import News, Piece
from routerd.backends.http import Http
from routerd.backends.transport import STALE_S
from routerd.routing.terms import Terms
from routerd.selftest.fake_api import FORMATS, FakeApi
from routerd.selftest.fake_formats import Knobs
from routerd_client.chat import FinishReason, Message, Usage
from routerd_client.records import FailureKind
from tests.support.wait import until
from tests.unit.chats import TOOLS

from .asking import KEY, Heard, ask, backend, chat, each_kind, failure


@each_kind
async def test_an_answer_is_streamed_and_whole(http: Http, api: FakeApi, kind: str) -> None:
    api.knobs.reasoning = "let me think"

    heard = await ask(backend(http, kind, api.base_url))

    assert heard.text == "Hello, world!"
    assert heard.reasoning == "let me think"
    assert heard.end
    assert heard.end.finish_reason is FinishReason.STOP
    written = 5 if kind == "anthropic" else 0
    assert heard.end.usage == Usage(20, 9, 7, 3, cache_write_tokens=written)
    assert heard.end.refusal == ""
    assert api.asked[0].body["stream"] is True
    assert FORMATS[api.asked[0].path] == kind


@each_kind
async def test_a_server_that_cannot_stream_answers_all_the_same(http: Http, api: FakeApi, kind: str) -> None:
    api.knobs.whole = True
    api.knobs.calls = [("look", '{"at": 1}')]

    heard = await ask(backend(http, kind, api.base_url))

    assert heard.text == "Hello, world!"
    assert [name for name, _ in heard.calls] == ["look"]
    assert heard.end
    assert heard.end.finish_reason is FinishReason.TOOL_CALLS
    assert heard.end.usage.completion_tokens == 9


@each_kind
async def test_tool_calls_come_whole(http: Http, api: FakeApi, kind: str) -> None:
    api.knobs.calls = [("look", '{"at": "the door"}'), ("walk", "{}")]

    heard = await ask(backend(http, kind, api.base_url))

    assert heard.calls == [("look", '{"at": "the door"}'), ("walk", "{}")]
    assert [call.index for piece in heard.pieces for call in piece.tool_calls] == [0, 1]
    assert heard.end
    assert heard.end.finish_reason is FinishReason.TOOL_CALLS


@each_kind
async def test_a_typed_refusal_is_told(http: Http, api: FakeApi, kind: str) -> None:
    api.knobs.pieces, api.knobs.refusal = [], "I will not help with that."

    heard = await ask(backend(http, kind, api.base_url))

    assert heard.end
    assert heard.end.refusal == "I will not help with that."
    assert heard.text == ""


@each_kind
async def test_an_answer_without_usage_is_still_one(http: Http, api: FakeApi, kind: str) -> None:
    api.knobs.usage = False

    heard = await ask(backend(http, kind, api.base_url))

    assert heard.end
    assert (heard.text, heard.end.usage) == ("Hello, world!", Usage())


@each_kind
async def test_the_key_and_own_headers_are_sent(http: Http, api: FakeApi, kind: str) -> None:
    api.knobs.key = KEY

    heard = await ask(backend(http, kind, api.base_url, headers={"X-Team": "blue"}))

    assert heard.text == "Hello, world!"
    assert api.asked[0].headers["x-team"] == "blue"


@each_kind
async def test_terms_override_model_and_times(http: Http, api: FakeApi, kind: str) -> None:
    there = backend(http, kind, api.base_url, first_token=10.0)

    await ask(there, terms=Terms(model="other"))
    api.knobs.before_headers = 30.0
    error = await failure(there, terms=Terms(first_token=0.1))

    assert api.asked[0].body["model"] == "other"
    assert "0.1 s" in error.message


@each_kind
async def test_connections_are_used_again(http: Http, api: FakeApi, kind: str) -> None:
    there = backend(http, kind, api.base_url)

    for _ in range(5):
        await ask(there)

    assert (len(api.asked), api.connections) == (5, 1)


@each_kind
async def test_a_connection_that_the_server_gave_up_is_no_failure(http: Http, api: FakeApi, kind: str) -> None:
    api.knobs.stale = True
    there = backend(http, kind, api.base_url)

    for _ in range(3):
        assert (await ask(there)).text == "Hello, world!"

    assert api.connections == 3


async def test_a_server_that_breaks_off_while_it_thinks_is_not_asked_again_unasked(http: Http, api: FakeApi) -> None:
    """It may charge for what it thought, though the connection was one that was used before."""
    there = backend(http, "openai", api.base_url)
    await ask(there)
    api.knobs.stale, api.knobs.before_headers = True, STALE_S + 0.1

    broken = await failure(there)

    assert (broken.kind, broken.billed) == (FailureKind.CONNECT_FAILED, True)
    assert len(api.asked) == 2


@each_kind
async def test_an_answer_that_drips_is_put_together(http: Http, api: FakeApi, kind: str) -> None:
    api.knobs.drip = 0.0001

    heard = await ask(backend(http, kind, api.base_url))

    assert heard.text == "Hello, world!"


@each_kind
async def test_leaving_stops_the_server(http: Http, api: FakeApi, kind: str) -> None:
    api.knobs.stall_after = 2
    there = backend(http, kind, api.base_url)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, there)
        await until(lambda: api.asked, "the request came")
        tasks.cancel_scope.cancel()

    await until(lambda: api.asked[0].gone, "the server saw that its client left")


async def test_a_slow_caller_is_no_stall(http: Http, api: FakeApi) -> None:
    api.knobs.between = 0.05
    there = backend(http, "openai", api.base_url, stall=0.2, total=1.0)
    read: list[str] = []

    async def slowly(event: News) -> None:
        if isinstance(event, Piece):
            await anyio.sleep(0.4)
            read.append(event.text)

    await there.answer(chat(), slowly, Terms())

    assert "".join(read) == "Hello, world!"


async def test_large_requests_are_sent_whole(http: Http, api: FakeApi) -> None:
    long = "word " * 600_000

    heard = await ask(backend(http, "openai", api.base_url), chat(messages=[Message("user", long)]))

    assert heard.text == "Hello, world!"
    assert api.asked[0].body["messages"][0]["content"] == long


async def test_what_came_while_the_caller_was_slow_is_handed_on_at_once(http: Http, api: FakeApi) -> None:
    api.knobs.pieces = ["word "] * 200
    heard = Heard()

    async def slow_once(event: News) -> None:
        await heard.take(event)
        if isinstance(event, Piece):
            await until(lambda: api.asked[0].ended, "the server had sent everything")

    end = await backend(http, "openai", api.base_url).answer(chat(), slow_once, Terms())

    assert heard.text == "word " * 200
    assert len(heard.pieces) < 20
    assert end.decode_s is not None


async def test_a_conversation_goes_on_with_another_format(http: Http, api: FakeApi) -> None:
    messages = [Message("system", "Be brief."), Message("user", "Look around.")]
    for number, kind in enumerate(FORMATS.values()):
        api.knobs = Knobs(pieces=[f"Looking {number}."], calls=[("look", f'{{"at": {number}}}')])
        heard = await ask(backend(http, kind, api.base_url), chat(messages=messages, tools=TOOLS))
        [call] = [call for piece in heard.pieces for call in piece.tool_calls]
        call = replace(call, id=f"{call.id}_{number}")
        messages.append(Message("assistant", heard.text, tool_calls=[call]))
        messages.append(Message("tool", f"a cat {number}", tool_call_id=call.id))

    told = [str(asked.body) for asked in api.asked]
    for number, body in enumerate(told):
        assert "Be brief." in body
        assert [f"Looking {n}." in body for n in range(3)] == [n < number for n in range(3)]
        assert [f"a cat {n}" in body for n in range(3)] == [n < number for n in range(3)]
        assert [body.count(f"call_0_{n}") for n in range(3)] == [2 if n < number else 0 for n in range(3)]
