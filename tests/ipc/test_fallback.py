"""Backends fail; the request goes on, or says clearly that it cannot."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import anyio
import pytest

from routerd_client import Delta, Done, InterruptedAnswerError, RequestFailedError, Retracted, Routed
from routerd_client.protocol import ErrorCode, Event
from routerd_client.records import BreakerState, FailureKind, Outcome, Residency
from tests.support.daemon import alive, fake, routes, running_daemon
from tests.support.wait import until

GOOD = fake("--echo")

FAILURES = {
    "it dies as the request comes": (fake("--die-after-load"), FailureKind.WORKER_DIED),
    "it dies before the first token": (fake("--die-after 0"), FailureKind.WORKER_DIED),
    "it exits while it loads": (fake("--exit-code 1"), FailureKind.WORKER_DIED),
    "its model cannot be loaded": (fake("--refuse-load broken"), FailureKind.LOAD_FAILED),
    "its load takes too long": (fake("--hang-load", load_timeout="300ms"), FailureKind.LOAD_FAILED),
    "it is silent": (fake("--stall-after 0", stall_timeout="300ms"), FailureKind.STALLED),
    "it sends garbage": (fake("--garbage"), FailureKind.MALFORMED),
    "it says that it is overloaded": (fake("--fail overloaded"), FailureKind.OVERLOADED),
    "the prompt is too long for it": (fake("--fail context_overflow"), FailureKind.CONTEXT_OVERFLOW),
}
each_failure = pytest.mark.parametrize(("bad", "kind"), FAILURES.values(), ids=list(FAILURES))


@each_failure
async def test_the_next_backend_answers_a_whole_request(tmp_path: Path, bad: str, kind: FailureKind) -> None:
    async with running_daemon(tmp_path, routes(bad=bad, good=GOOD)) as running, running.client() as client:
        done = await client.chat("hello")
        assert (done.text, done.backend, done.attempt) == ("hello", "good", 2)
        assert [(a.backend, a.outcome, a.failure) for a in done.attempts] == [
            ("bad", Outcome.FAILED, kind),
            ("good", Outcome.OK, None),
        ]


@each_failure
async def test_the_next_backend_answers_a_stream_that_has_not_begun(
    tmp_path: Path, bad: str, kind: FailureKind
) -> None:
    async with running_daemon(tmp_path, routes(bad=bad, good=GOOD)) as running, running.client() as client:
        events: list[Event] = [event async for event in client.stream("hello")]
        assert [e.backend for e in events if isinstance(e, Routed)] == ["bad", "good"]
        assert not any(isinstance(e, Retracted) for e in events), "nothing had been released"
        assert "".join(e.text for e in events if isinstance(e, Delta)) == "hello"
        assert {e.attempt for e in events if isinstance(e, Delta)} == {2}
        assert isinstance(events[-1], Done)


async def test_a_stuck_process_is_gone_before_the_next_answers(tmp_path: Path) -> None:
    text = routes(bad=fake("--stall-after 0", stall_timeout="300ms"), good=GOOD)
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        await client.models("load", "bad")
        stuck = running.model("bad").pid
        assert stuck
        await client.chat("hello")
        assert not alive(stuck)
        await until(lambda: running.model("bad").residency is Residency.BACKOFF, "the model backs off")
        assert "stall_timeout" in running.model("bad").error


async def test_where_nobody_can_the_caller_is_told_of_each(tmp_path: Path) -> None:
    text = routes(first=fake("--refuse-load broken"), second=fake("--fail overloaded"))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        with pytest.raises(RequestFailedError) as caught:
            await client.chat("hello")
        assert "no backend of primary could answer" in str(caught.value)
        assert "first: broken" in str(caught.value)
        assert "second: made to fail: overloaded" in str(caught.value)
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.OVERLOADED, True)
        assert [a.backend for a in caught.value.attempts] == ["first", "second"]


async def test_what_is_the_callers_own_fault_is_not_tried_elsewhere(tmp_path: Path) -> None:
    async with (
        running_daemon(tmp_path, routes(bad=fake("--fail bad_request"), good=GOOD)) as running,
        running.client() as client,
    ):
        with pytest.raises(RequestFailedError) as caught:
            await client.chat("hello")
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.BAD_REQUEST, False)
        assert running.backend("bad").failures == 0


async def test_a_server_error_is_tried_once_more_in_place(tmp_path: Path) -> None:
    text = routes(bad=fake("--fail server_error"), good=GOOD)
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        done = await client.chat("hello")
        assert [a.backend for a in done.attempts] == ["bad", "bad", "good"]


async def test_a_stream_that_nobody_goes_on_with_raises_with_the_text_so_far(tmp_path: Path) -> None:
    text = routes(bad=fake("--die-after 2 --tokens 5"))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        got = StringIO()

        async def read() -> None:
            async for event in client.stream("hello"):
                got.write(event.text)

        with pytest.raises(InterruptedAnswerError, match="killed by signal 9") as caught:
            await read()
        assert got.getvalue() == caught.value.partial == "t0 t1"
        assert caught.value.code is ErrorCode.INTERRUPTED
        assert caught.value.retryable


async def test_a_client_that_allows_restarts_gets_the_next_ones_answer(tmp_path: Path) -> None:
    text = routes(bad=fake("--die-after 2 --tokens 5"), good=GOOD)
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        answer: dict[int, str] = {}
        order: list[str] = []
        async for event in client.stream("hello", restarts=True):
            order.append(type(event).__name__)
            if isinstance(event, Delta):
                answer[event.attempt] = answer.get(event.attempt, "") + event.text
            elif isinstance(event, Retracted):
                assert answer.pop(event.attempt) == "t0 t1"
        assert answer == {2: "hello"}
        assert order.index("Retracted") < len(order) - 1 - order[::-1].index("Routed"), "first back, then anew"


async def test_a_whole_answer_never_shows_a_broken_one(tmp_path: Path) -> None:
    text = routes(bad=fake("--die-after 2 --tokens 5"), good=GOOD)
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        assert (await client.chat("hello")).text == "hello"


HEALTH = "health: {allowed_fails: 3, cooldown: 500ms}"


async def test_the_breaker_opens_lets_one_probe_through_and_closes(tmp_path: Path) -> None:
    sick, hold = tmp_path / "sick", tmp_path / "hold"
    sick.touch()
    hold.touch()
    text = routes(only=fake(f"--fail malformed --fail-while {sick} --hold {hold}"), rest=HEALTH)
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        for _ in range(3):
            with pytest.raises(RequestFailedError, match="made to fail"):
                await client.chat("hello")
        assert running.backend("only").breaker is BreakerState.OPEN
        with pytest.raises(RequestFailedError, match="breaker open") as caught:
            await client.chat("hello")
        assert caught.value.code is ErrorCode.UNAVAILABLE
        assert caught.value.attempts == []
        assert caught.value.retry_after == pytest.approx(0.5, abs=0.5)

        await until(lambda: running.backend("only").breaker is BreakerState.HALF_OPEN, "the cooldown passes")
        sick.unlink()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.chat, "the probe")
            await until(lambda: running.backend("only").in_flight, "the probe is under way")
            with pytest.raises(RequestFailedError, match="a probe is under way"):
                await client.chat("hello")
            hold.unlink()
        assert running.backend("only").breaker is BreakerState.CLOSED


async def test_an_open_breaker_is_skipped_without_a_try(tmp_path: Path) -> None:
    text = routes(bad=fake("--fail malformed"), good=GOOD, rest="health: {allowed_fails: 1, cooldown: 20s}")
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        await client.chat("hello")
        assert [a.backend for a in (await client.chat("hello")).attempts] == ["good"]
        decision = await client.route("hello")
        assert decision.skipped[0].backend == "bad"
        assert "breaker open for" in decision.skipped[0].reason
        status = await client.status()
        bad = next(b for b in status.backends if b.name == "bad")
        assert (bad.breaker, bad.last_failure, bad.failures) == (BreakerState.OPEN, FailureKind.MALFORMED, 1)
        assert 0 < bad.retry_in_s <= 20
