"""A chat from a client through the socket to a worker and back."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from routerd_client import Client, Delta, Done, RequestFailedError, Routed, Usage
from routerd_client.protocol import Error, ErrorCode, Event
from routerd_client.records import Outcome
from tests.support.daemon import fake, routes, running_daemon

from .raw import chat, connected

TWO = routes(small=fake("--tokens 3"), large=fake("--echo"))


async def test_a_whole_answer_says_who_gave_it_and_how(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        done = await client.chat("hello")
        assert done.text == "t0 t1 t2"
        assert (done.backend, done.model, done.endpoint, done.route) == ("small", "fake:--tokens 3", "primary", "")
        assert done.usage == Usage(prompt_tokens=7, completion_tokens=3)
        assert [(a.number, a.backend, a.outcome) for a in done.attempts] == [(1, "small", Outcome.OK)]
        assert done.ttft_s is not None
        assert running.status().requests == {"open": 0, "ok": 1, "failed": 0, "cancelled": 0}


async def test_a_stream_is_routed_then_deltas_then_done(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        events = [event async for event in client.stream("hello")]
        assert isinstance(events[0], Routed)
        assert (events[0].backend, events[0].reasons) == ("small", ["first choice", "not loaded"])
        assert isinstance(events[-1], Done)
        assert events[-1].message is None, "its text was streamed"
        assert "".join(e.text for e in events) == "t0 t1 t2"


async def test_every_event_carries_the_number_of_its_attempt(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        assert {event.attempt async for event in client.stream("hello")} == {1}


async def test_the_conversation_reaches_the_worker(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        assert (await client.chat("say it back", model="large")).text == "say it back"


async def test_a_route_decides_by_the_callers_context(tmp_path: Path) -> None:
    rest = "routes: [{match: {task: [plan, design]}, use: large, name: plans, set: {max_tokens: 2}}]"
    text = routes(small=fake("--tokens 3"), large=fake("--echo"), rest=rest)
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        done = await client.chat("one two three", context={"task": "plan"})
        assert (done.route, done.backend, done.text) == ("plans", "large", "one two")
        decision = await client.route("x", context={"task": "plan"}, trace=True)
        assert (decision.route, decision.overrides) == ("plans", {"max_tokens": "2"})
        assert "plans: match (task=plan) -> large" in decision.trace


async def test_an_unknown_model_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        with pytest.raises(RequestFailedError, match="did you mean 'small'") as caught:
            await client.chat("hello", model="smal")
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.NOT_FOUND, False)


async def test_many_requests_are_in_flight_on_one_connection(tmp_path: Path) -> None:
    """Each answer has its own id, and all its words in order, however the events interleave."""
    text = routes(small=fake("--echo --delay 0.002"))
    async with running_daemon(tmp_path, text) as running, connected(running.socket) as raw:
        questions = {id_: f"{id_} " * 10 + "end" for id_ in range(1, 41)}
        await raw.send(*(chat(id_, question) for id_, question in questions.items()))
        answers: dict[int, str] = dict.fromkeys(questions, "")
        ended: set[int] = set()
        while len(ended) < len(questions):
            event: Event = await raw.event()
            assert not isinstance(event, Error), event
            answers[event.id] += event.text if isinstance(event, Delta) else ""
            ended |= {event.id} if isinstance(event, Done) else set()
        assert answers == questions


async def test_an_id_that_is_open_is_refused(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    async with (
        running_daemon(tmp_path, routes(small=fake(f"--hold {hold}"))) as running,
        connected(running.socket) as raw,
    ):
        await raw.send(chat(1), chat(1))
        error = await raw.event()
        assert isinstance(error, Error)
        assert (error.code, error.id) == (ErrorCode.BAD_REQUEST, 1)


async def test_the_asynchronous_client_runs_many_calls_at_once(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        texts: list[str] = []

        async def ask(number: int) -> None:
            texts.append((await client.chat(f"number {number}", model="large")).text)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(ask, number)
        assert sorted(texts) == sorted(f"number {number}" for number in range(20))


async def test_the_blocking_client_does_the_same(tmp_path: Path) -> None:
    def use(socket: Path) -> None:
        with Client(socket, name="blocking") as client:
            assert client.chat("hello").text == "t0 t1 t2"
            assert "".join(event.text for event in client.stream("hello")) == "t0 t1 t2"
            assert client.route("hello").candidates[0].backend == "small"
            assert client.status().requests["ok"] == 2
            assert [m.backend for m in client.models().models] == ["small", "large"]
            assert client.check("version: 2").errors[0].line == 1
            assert client.reload().changed is False

    async with running_daemon(tmp_path, TWO) as running:
        await to_thread.run_sync(use, running.socket)


async def test_a_connection_is_used_again(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, TWO) as running, running.client() as client:
        for _ in range(3):
            await client.chat("hello")
        assert running.status().connections == 1
