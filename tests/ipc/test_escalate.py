"""Answers that are none: who answers instead, and what the caller sees of it. Over real sockets, in every format."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Literal

import anyio
import pytest
from msgspec import Struct, field

from routerd.backends.build import FORMATS
from routerd.selftest.fake_api import FakeApi, fake_api
from routerd.selftest.fake_formats import Knobs
from routerd_client import AsyncClient, Delta, Done, InterruptedAnswerError, RequestFailedError, Retracted, Routed
from routerd_client.protocol import ErrorCode, Event
from routerd_client.records import BreakerState, FailureKind, Outcome
from tests.support.daemon import Running, fake, running_daemon
from tests.support.wait import until

Way = Literal["whole", "live", "safe"]
each_way = pytest.mark.parametrize("way", ["whole", "live", "safe"])
each_held = pytest.mark.parametrize("way", ["whole", "safe"])
each_kind = pytest.mark.parametrize("kind", list(FORMATS))

REFUSAL = ["I'm sorry, ", "but I can't ", "help with that. ", "Ask me ", "something else."]
ANSWER = ["Canberra is ", "the capital ", "of Australia."]
HEDGE = [
    "Whether this is right depends on many factors. It is important to remember that everybody's situation is "
    "different. ",
    "It is always best to consult a qualified professional before making any decision.",
]
LOOP = ["The river runs to the sea. "] * 60


def said(pieces: Sequence[str]) -> str:
    return "".join(pieces)


class Told(Struct):
    """What a caller was told of one request."""

    done: Done
    events: list[Event] = field(default_factory=list)

    @property
    def deltas(self) -> list[Delta]:
        return [event for event in self.events if isinstance(event, Delta)]

    @property
    def text(self) -> str:
        """What the caller has in the end."""
        if self.done.message:
            return self.done.text
        kept: list[str] = []
        for event in self.events:
            if isinstance(event, Retracted):
                kept.clear()
            elif isinstance(event, Delta):
                kept.append(event.text)
        return said(kept)

    @property
    def tried(self) -> list[tuple[str, Outcome, FailureKind | None]]:
        return [(attempt.backend, attempt.outcome, attempt.failure) for attempt in self.done.attempts]


async def told(client: AsyncClient, way: Way, **options: Any) -> Told:
    if way == "whole":
        options.pop("restarts", None)
        return Told(await client.chat("What is it?", **options))
    events: list[Event] = [event async for event in client.stream("What is it?", **options)]
    done = events.pop()
    assert isinstance(done, Done)
    return Told(done, events)


def config(way: Way, backends: dict[str, str], *, on: str, **endpoint: object) -> str:
    """All ``backends`` in one endpoint, in this order; streamed answers are safe where ``way`` is."""
    lines = ["version: 1", "backends:", *(f"  {name}: {backend}" for name, backend in backends.items())]
    more = "".join(f", {key}: {value}" for key, value in endpoint.items())
    lines.append(f"endpoints: {{primary: {{fallback: [{', '.join(backends)}], escalate_on: [{on}]{more}}}}}")
    if way == "safe":
        lines.append("routes: [{match: {}, use: primary, set: {stream_mode: safe}}]")
    return "\n".join([*lines, "default: primary"])


class Scene(Struct):
    """A daemon, a client of it, and the APIs behind it."""

    running: Running
    client: AsyncClient
    apis: list[FakeApi]

    @property
    def asked(self) -> list[int]:
        return [len(api.asked) for api in self.apis]


KINDS = list(FORMATS)
NAMES = ["first", "second", "third"]


@asynccontextmanager
async def scene(
    folder: Path, way: Way, *says: Knobs, on: str = "error, refusal", kind: str = "openai", **endpoint: object
) -> AsyncIterator[Scene]:
    """One API for each of ``says``; the first speaks ``kind``, the others the formats after it."""
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(fake_api(knobs)) for knobs in says]
        formats = [KINDS[(KINDS.index(kind) + number) % len(KINDS)] for number in range(len(apis))]
        backends = {
            name: json.dumps({each: {"model": f"{name}-model", "base_url": api.base_url}})
            for name, each, api in zip(NAMES, formats, apis, strict=False)
        }
        running = await stack.enter_async_context(running_daemon(folder, config(way, backends, on=on, **endpoint)))
        yield Scene(running, await stack.enter_async_context(running.client()), apis)


def refuses() -> Knobs:
    return Knobs(pieces=REFUSAL)


def answers() -> Knobs:
    return Knobs(pieces=ANSWER)


@each_kind
@each_way
async def test_a_refusal_is_passed_over_and_the_caller_sees_no_letter_of_it(
    tmp_path: Path, way: Way, kind: str
) -> None:
    async with scene(tmp_path, way, refuses(), answers(), kind=kind) as on:
        got = await told(on.client, way)
        assert got.text == said(ANSWER)
        assert {delta.attempt for delta in got.deltas} <= {2}
        assert not any(isinstance(event, Retracted) for event in got.events)
        assert (got.done.backend, got.done.model, got.done.attempt) == ("second", "second-model", 2)
        assert (got.done.flaw, got.done.flaw_message) == (None, "")
        assert got.tried == [
            ("first", Outcome.FAILED, FailureKind.REFUSAL),
            ("second", Outcome.OK, None),
        ]


@each_kind
@each_way
async def test_so_is_one_that_the_api_marks_itself(tmp_path: Path, way: Way, kind: str) -> None:
    async with scene(tmp_path, way, Knobs(pieces=[], refusal="No."), answers(), kind=kind) as on:
        got = await told(on.client, way)
        assert (got.text, got.done.attempt) == (said(ANSWER), 2)


@each_way
async def test_a_refusal_that_nobody_wants_passed_over_is_delivered_and_marked(tmp_path: Path, way: Way) -> None:
    async with scene(tmp_path, way, refuses(), answers(), on="error") as on:
        got = await told(on.client, way)
        assert (got.text, got.done.backend, got.done.flaw) == (said(REFUSAL), "first", FailureKind.REFUSAL)
        assert got.done.flaw_message == "the answer refuses the request"
        assert got.tried == [("first", Outcome.OK, None)]
        assert on.asked == [1, 0]


@each_kind
@each_way
async def test_where_all_refuse_the_first_refusal_is_the_answer(tmp_path: Path, way: Way, kind: str) -> None:
    late = Knobs(pieces=["I cannot ", "assist with ", "that request. "])
    async with scene(tmp_path, way, refuses(), late, kind=kind) as on:
        got = await told(on.client, way)
        assert (got.text, got.done.backend, got.done.model) == (said(REFUSAL), "first", "first-model")
        assert (got.done.attempt, got.done.flaw) == (1, FailureKind.REFUSAL)
        assert {delta.attempt for delta in got.deltas} <= {1}
        assert got.tried == [
            ("first", Outcome.FAILED, FailureKind.REFUSAL),
            ("second", Outcome.FAILED, FailureKind.REFUSAL),
        ]


@each_way
async def test_only_one_other_is_asked_for_a_refusal(tmp_path: Path, way: Way) -> None:
    async with scene(tmp_path, way, refuses(), Knobs(pieces=["I can't do that. "]), answers(), max_hops=5) as on:
        got = await told(on.client, way)
        assert (got.text, got.done.attempt) == (said(REFUSAL), 1)
        assert on.asked == [1, 1, 0]


@each_way
async def test_answers_are_passed_over_so_often_and_no_oftener(tmp_path: Path, way: Way) -> None:
    nothing = [Knobs(pieces=[]), Knobs(pieces=[" "])]
    for hops, asked, text in ((0, [1, 0, 0], ""), (1, [1, 1, 0], ""), (2, [1, 1, 1], said(ANSWER))):
        async with scene(tmp_path, way, *nothing, answers(), on="empty", max_hops=hops) as on:
            got = await told(on.client, way)
            assert (on.asked, got.text) == (asked, text)
            assert got.done.flaw is (None if text else FailureKind.EMPTY)


@each_way
@pytest.mark.parametrize("bad", [Knobs(status=503), Knobs(status=400), Knobs(cut_after=0)], ids=["503", "400", "cut"])
@pytest.mark.parametrize("listed", ["refusal", "error, refusal"])
async def test_a_refusal_is_better_than_a_failure(tmp_path: Path, way: Way, bad: Knobs, listed: str) -> None:
    async with scene(tmp_path, way, refuses(), bad, on=listed) as on:
        got = await told(on.client, way)
        assert (got.text, got.done.attempt, got.done.flaw) == (said(REFUSAL), 1, FailureKind.REFUSAL)
        assert on.asked[1] > 0


LOOKS = {"tools": [{"type": "function", "function": {"name": "look"}}]}
JSON = {"response_format": {"type": "json_object"}}
FAULTS: dict[str, tuple[str, Knobs, dict[str, Any], FailureKind | None]] = {
    "no text": ("empty", Knobs(pieces=[]), {}, FailureKind.EMPTY),
    "blanks": ("empty", Knobs(pieces=[" ", "\n"]), {}, FailureKind.EMPTY),
    "a short answer": ("short", Knobs(pieces=["Yes."]), {}, None),
    "no JSON": ("invalid_json", Knobs(pieces=["Here it is: {"]), JSON, FailureKind.DEGENERATE),
    "an unknown tool": ("degenerate", Knobs(pieces=[], calls=[("fly", "{}")]), LOOKS, FailureKind.DEGENERATE),
    "broken arguments": ("broken_call", Knobs(pieces=[], calls=[("look", "{at")]), LOOKS, FailureKind.DEGENERATE),
    "a loop": ("degenerate", Knobs(pieces=LOOP), {}, FailureKind.DEGENERATE),
    "a cut": ("length", Knobs(pieces=["The first of"], finish="length"), {}, None),
    "a filter": (
        "content_filter",
        Knobs(pieces=["Half an answer"], finish="content_filter"),
        {},
        FailureKind.CONTENT_FILTERED,
    ),
    "a hedge": ("hedged", Knobs(pieces=HEDGE), {}, FailureKind.REFUSAL),
}
NAMED = ["refusal", "hedged", "broken_call", "empty", "degenerate", "short", "invalid_json", "length", "content_filter"]
each_fault = pytest.mark.parametrize(("name", "knobs", "options", "flaw"), FAULTS.values(), ids=list(FAULTS))


@each_held
@each_fault
async def test_a_fault_is_passed_over_where_it_is_listed(
    tmp_path: Path, way: Way, name: str, knobs: Knobs, options: dict[str, Any], flaw: FailureKind | None
) -> None:
    good = Knobs(pieces=['{"capital": "Canberra"}'])
    async with scene(tmp_path, way, knobs, good, on=name, min_chars=10) as on:
        got = await told(on.client, way, **options)
        assert (got.text, got.done.attempt, got.done.flaw) == (said(good.pieces), 2, None)
        assert got.tried[0] == ("first", Outcome.FAILED, flaw or FailureKind.DEGENERATE)


@each_way
@each_fault
async def test_no_fault_is_passed_over_where_only_others_are_listed(
    tmp_path: Path, way: Way, name: str, knobs: Knobs, options: dict[str, Any], flaw: FailureKind | None
) -> None:
    wider = [("degenerate", "invalid_json"), ("degenerate", "broken_call")]
    others = [each for each in NAMED if each != name and (each, name) not in wider]
    text = "look({at)" if name == "broken_call" else said(knobs.pieces)
    async with scene(tmp_path, way, knobs, answers(), on=", ".join(others), min_chars=10) as on:
        got = await told(on.client, way, **options)
        assert (got.text, got.done.backend, got.done.flaw) == (text, "first", flaw)
        assert on.asked == [1, 0]


@each_way
async def test_a_filter_that_fails_the_request_is_passed_over_only_where_listed(tmp_path: Path, way: Way) -> None:
    filtered = Knobs(status=400, error={"message": "filtered", "code": "content_filter"})
    async with scene(tmp_path, way, filtered, answers(), on="error, content_filter") as on:
        got = await told(on.client, way)
        assert (got.text, got.tried[0]) == (said(ANSWER), ("first", Outcome.FAILED, FailureKind.CONTENT_FILTERED))
    async with scene(tmp_path, way, filtered, answers(), on="error, refusal") as on:
        with pytest.raises(RequestFailedError, match="filtered") as caught:
            await told(on.client, way)
        assert caught.value.code is ErrorCode.CONTENT_FILTERED
        assert on.asked == [1, 0]


@pytest.mark.parametrize("pieces", [HEDGE, LOOP], ids=["a hedge", "a loop"])
async def test_what_only_the_whole_shows_is_marked_where_the_answer_flows(tmp_path: Path, pieces: list[str]) -> None:
    async with scene(tmp_path, "live", Knobs(pieces=pieces), answers(), on="hedged, degenerate") as on:
        got = await told(on.client, "live")
        assert (got.text, got.done.backend) == (said(pieces), "first")
        assert got.done.flaw in (FailureKind.REFUSAL, FailureKind.DEGENERATE)
        assert got.tried == [("first", Outcome.OK, None)]


async def test_where_the_client_allows_restarts_it_is_taken_back(tmp_path: Path) -> None:
    async with scene(tmp_path, "live", Knobs(pieces=LOOP), answers(), on="degenerate") as on:
        got = await told(on.client, "live", restarts=True)
        [back] = [event for event in got.events if isinstance(event, Retracted)]
        assert (back.attempt, got.text, got.done.attempt) == (1, said(ANSWER), 2)
        assert "round in circles" in back.reason


async def test_and_comes_again_where_nobody_does_better(tmp_path: Path) -> None:
    worse = Knobs(pieces=["The sea runs to the river. "] * 60, reasoning="hm")
    async with scene(tmp_path, "live", Knobs(pieces=LOOP, reasoning="so"), worse, on="degenerate") as on:
        got = await told(on.client, "live", restarts=True)
        assert (got.text, got.done.attempt, got.done.flaw) == (said(LOOP), 1, FailureKind.DEGENERATE)
        assert [event.attempt for event in got.events if isinstance(event, Retracted)] == [1, 2]
        assert got.deltas[-1].attempt == 1
        assert got.deltas[-1].reasoning == "so"


@each_kind
async def test_an_answer_that_breaks_off_is_interrupted_or_taken_back(tmp_path: Path, kind: str) -> None:
    long = Knobs(pieces=["The capital of Australia is a matter ", "that was long ", "disputed", "."], cut_after=3)
    async with scene(tmp_path, "live", long, answers(), kind=kind) as on:
        with pytest.raises(InterruptedAnswerError) as caught:
            await told(on.client, "live")
        assert caught.value.partial
        assert said(long.pieces).startswith(caught.value.partial)
        assert on.asked == [1, 0]
        got = await told(on.client, "live", restarts=True)
        assert [event.attempt for event in got.events if isinstance(event, Retracted)] == [1]
        assert (got.text, got.done.attempt) == (said(ANSWER), 2)


async def test_nothing_is_asked_again_once_a_tool_call_went(tmp_path: Path) -> None:
    calls = Knobs(pieces=[], calls=[("look", '{"at": 1}'), ("look", '{"at": 2}')], cut_after=5)
    async with scene(tmp_path, "live", calls, answers(), kind="anthropic") as on:
        heard: list[Event] = []

        async def read() -> None:
            async for event in on.client.stream("What is it?", restarts=True, **LOOKS):
                heard.append(event)  # noqa: PERF401 - it raises, and what came before is wanted

        with pytest.raises(InterruptedAnswerError) as caught:
            await read()
        assert caught.value.code is ErrorCode.INTERRUPTED
        assert [len(event.tool_calls) for event in heard if isinstance(event, Delta)] == [1]
        assert not any(isinstance(event, Retracted) for event in heard)
        assert on.asked == [1, 0]


@each_way
async def test_refusals_lower_the_success_rate_and_open_no_breaker(tmp_path: Path, way: Way) -> None:
    async with scene(tmp_path, way, refuses(), answers()) as on:
        on.apis[0].knobs.pieces = ANSWER
        await told(on.client, way)
        on.apis[0].knobs.pieces = REFUSAL
        for _ in range(7):
            await told(on.client, way)
        first = on.running.backend("first")
        assert (first.breaker, first.success_rate) == (BreakerState.CLOSED, pytest.approx(1 / 8))
        assert on.running.backend("second").success_rate == 1.0
        assert on.asked == [8, 7]


@each_kind
async def test_a_beginning_is_let_go_in_time_though_the_model_pauses(tmp_path: Path, kind: str) -> None:
    events = {"anthropic": 2}.get(kind, 1)
    pauses = Knobs(pieces=["I think so", "."], stall_after=events)
    async with scene(tmp_path, "live", pauses, answers(), kind=kind) as on:
        got: list[str] = []

        async def read() -> None:
            async for event in on.client.stream("What is it?"):
                got.append(event.text)  # noqa: PERF401 - it never ends

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await until(lambda: said(got) == "I think so", "what there is comes, while the model says nothing more")
            assert not on.apis[0].asked[0].ended
            tasks.cancel_scope.cancel()
        await until(lambda: on.apis[0].asked[0].gone, "the model is told to stop")


def chunks(random: Random, text: str) -> list[str]:
    found = []
    while text:
        size = random.choice([1, 1, 2, 5, 40, 400])
        found.append(text[:size])
        text = text[size:]
    return found


OPENINGS = ["", "\n\n", "I", "I can't say that I dislike it. ", "No. ", "Sorry, I was away. ", "Well, ", "The answer: "]


@each_way
async def test_text_is_what_the_api_sent_once_and_in_order(tmp_path: Path, way: Way) -> None:
    random = Random(7)
    async with scene(tmp_path, way, answers(), on="error, refusal, empty") as on:
        for number in range(80):
            words = [f"word{n}" for n in range(random.randrange(60))]
            text = f"{random.choice(OPENINGS)}{' '.join(words)} {number}\n"
            knobs = Knobs(pieces=chunks(random, text), reasoning=random.choice(["", "hm"]))
            if number % 16 == 0:  # slow enough for the time to run out
                knobs.pieces, knobs.between = ["I think ", "that ", "it ", "is ", "so", "."], 0.15
            on.apis[0].knobs = knobs
            got = await told(on.client, way)
            assert got.text == said(knobs.pieces), f"request {number}"
            reasoning = said([delta.reasoning for delta in got.deltas])
            assert (got.done.message.reasoning if got.done.message else reasoning or None) == (knobs.reasoning or None)


async def test_a_deadline_ends_what_is_held_back(tmp_path: Path) -> None:
    async with scene(tmp_path, "safe", Knobs(pieces=ANSWER, stall_after=2), answers()) as on:
        heard: list[Event] = []

        async def read() -> None:
            async for event in on.client.stream("What is it?", deadline_s=0.5):
                heard.append(event)  # noqa: PERF401 - it raises, and what came before is wanted

        with pytest.raises(RequestFailedError) as caught:
            await read()
        assert caught.value.code is ErrorCode.DEADLINE
        assert [type(event) for event in heard] == [Routed]
        assert [(attempt.backend, attempt.outcome) for attempt in caught.value.attempts] == [
            ("first", Outcome.CANCELLED)
        ]
        await until(lambda: on.apis[0].asked[0].gone, "the API is told to stop")
        assert on.asked == [1, 0]


async def test_a_client_that_leaves_while_an_answer_is_held_back_stops_it(tmp_path: Path) -> None:
    async with scene(tmp_path, "safe", Knobs(pieces=ANSWER, stall_after=2), answers()) as on:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(told, on.client, "safe")
            await until(lambda: on.asked == [1, 0], "it is asked")
            tasks.cancel_scope.cancel()
        await until(lambda: on.apis[0].asked[0].gone, "the API is told to stop")
        assert on.asked == [1, 0]


@each_way
async def test_a_worker_answers_for_an_api_that_refuses(tmp_path: Path, way: Way) -> None:
    async with fake_api(refuses()) as api:
        there = json.dumps({"anthropic": {"model": "m", "base_url": api.base_url}})
        text = config(way, {"there": there, "here": fake("--echo", context=64)}, on="error, refusal")
        async with running_daemon(tmp_path, text) as running, running.client() as client:
            got = await told(client, way)
            assert (got.text, got.done.backend) == ("What is it?", "here")


@each_way
async def test_the_figures_are_those_of_the_one_that_answered(tmp_path: Path, way: Way) -> None:
    async with fake_api(refuses()) as api:
        there = json.dumps({"openai": {"model": "m", "base_url": api.base_url}})
        both = {"there": there, "here": fake("--tokens 5")}
        text = config(way, both, on="error, refusal")
        async with running_daemon(tmp_path, text) as running, running.client() as client:
            done = (await told(client, way)).done
            assert (done.backend, done.model) == ("here", "fake:--tokens 5")
            assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (7, 5)
            api.knobs.pieces = ANSWER
            done = (await told(client, way)).done
            assert (done.backend, done.model) == ("there", "m")
            assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (20, 9)
        api.knobs.pieces = []
        both = {"here": fake("--tokens 0"), "there": there}
        text = config(way, both, on="empty")
        async with running_daemon(tmp_path, text) as running, running.client() as client:
            done = (await told(client, way)).done
            assert (done.backend, done.model, done.attempt) == ("here", "fake:--tokens 0", 1)
            assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (7, 0)
