"""Who waits for whom, and for how much memory. Claims are what the fake models say: ``--size``."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from routerd_client import Done, Progress, RequestFailedError
from routerd_client.protocol import Error, ErrorCode
from routerd_client.records import FailureKind, Residency
from tests.support.daemon import Running, alive, fake, routes, running_daemon
from tests.support.wait import until

from .raw import chat, connected, recorded

SIX = "--size 6000000000"
MEMORY = "memory: {budget: 10GB, max_wait: 300ms}"


def ready(running: Running, name: str) -> bool:
    return running.model(name).residency is Residency.READY


async def test_an_idle_model_gives_way_to_one_that_does_not_fit_beside_it(tmp_path: Path) -> None:
    text = routes(small=fake(SIX), large=fake(SIX), rest=MEMORY)
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        await client.chat("hello", model="small")
        first = running.model("small").pid
        assert first
        await client.chat("hello", model="large")
        assert not alive(first)
        assert running.model("small").residency is Residency.STOPPED
        assert running.model("large").reserved_bytes == 6_000_000_000


async def test_two_loads_at_once_never_count_on_the_same_memory(tmp_path: Path) -> None:
    text = routes(small=fake(f"{SIX} --load-seconds 0.3"), large=fake(f"{SIX} --load-seconds 0.3"), rest=MEMORY)
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        most = 0

        async def ask(name: str) -> None:
            await client.chat("hello", model=name)
            done.append(name)

        done: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "small")
            tasks.start_soon(ask, "large")
            while len(done) < 2:
                most = max(most, sum(1 for m in running.status().models if m.pid))
                await anyio.lowlevel.checkpoint()
        assert most == 1


async def test_a_busy_model_is_waited_for_and_the_wait_is_told(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    text = routes(small=fake(f"{SIX} --hold {hold}"), large=fake(SIX), rest=MEMORY)
    async with running_daemon(tmp_path, text) as running, connected(running.socket) as raw:
        await raw.send(chat(1, model="small", stream=True), chat(2, model="large"))
        while not (isinstance(event := await raw.event(), Progress) and event.id == 2 and event.phase == "queued"):
            pass
        assert event.position == 1
        await until(lambda: running.model("small").in_flight == 1, "the small model is busy")
        assert not ready(running, "large")
        hold.unlink()
        assert isinstance((await raw.answer(2))[-1], Done)


async def test_an_overdue_load_is_not_starved_by_a_model_that_never_rests(tmp_path: Path) -> None:
    text = routes(small=fake(f"{SIX} --tokens 3 --delay 0.02"), large=fake(SIX), rest=MEMORY)
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        stop = anyio.Event()

        async def keep_asking() -> None:
            while not stop.is_set():
                await client.chat("hello", model="small")

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(keep_asking)
            await until(lambda: ready(running, "small"), "the small model is busy")
            with anyio.fail_after(10):
                assert (await client.chat("hello", model="large")).backend == "large"
            stop.set()


async def test_a_pinned_model_stays_and_what_does_not_fit_beside_it_is_refused_with_the_numbers(tmp_path: Path) -> None:
    text = routes(small=fake(SIX), large=fake(SIX), rest=MEMORY)
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        await client.models("pin", "small")
        await until(lambda: ready(running, "small"), "the pinned model is loaded")
        with pytest.raises(RequestFailedError, match=r"large needs 6.* 10.* pinned by small") as caught:
            await client.chat("hello", model="large")
        assert caught.value.code is ErrorCode.OVERLOADED
        await client.models("unpin", "small")
        assert (await client.chat("hello", model="large")).backend == "large"


async def test_when_full_says_whether_to_wait_to_go_on_or_to_fail(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    text = routes(small=fake(f"--hold {hold}", concurrency=1), large=fake())
    async with running_daemon(tmp_path, text) as running, running.client() as client, connected(running.socket) as raw:
        await raw.send(chat(1, model="small"))
        await until(lambda: running.model("small").in_flight == 1, "the small model is busy")
        done = await client.chat("hello", when_full="next")
        assert (done.backend, done.attempts[0].failure) == ("large", FailureKind.OVERLOADED)
        with pytest.raises(RequestFailedError, match="would have to wait") as caught:
            await client.chat("hello", when_full="refuse")
        assert [a.backend for a in caught.value.attempts] == ["small"]
        assert running.backend("small").breaker.value == "closed"


async def test_the_urgent_is_taken_in_before_those_who_came_earlier(tmp_path: Path) -> None:
    hold, record = tmp_path / "hold", tmp_path / "record"
    hold.touch()
    text = routes(small=fake(f"--hold {hold} --record {record}", concurrency=1))
    async with running_daemon(tmp_path, text) as running, connected(running.socket) as raw:
        await raw.send(chat(1, "first"))
        await until(lambda: running.model("small").in_flight == 1, "the model is busy")
        await raw.send(chat(2, "background", priority="background"), chat(3, "interactive", priority="interactive"))
        while not (isinstance(event := await raw.event(), Progress) and event.id == 2 and event.position == 2):
            pass
        hold.unlink()
        await raw.answer(2)
        assert [line["text"] for line in recorded(record, "generate")] == ["first", "interactive", "background"]


async def test_a_full_queue_refuses_with_a_time(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    text = routes(small=fake(f"--hold {hold}", concurrency=1, max_queue=1))
    async with running_daemon(tmp_path, text) as running, connected(running.socket) as raw:
        await raw.send(chat(1))
        await until(lambda: running.model("small").in_flight == 1, "the model is busy")
        await raw.send(chat(2))
        while not (isinstance(event := await raw.event(), Progress) and event.phase == "queued"):
            pass
        await raw.send(chat(3))
        end = (await raw.answer(3))[-1]
        assert isinstance(end, Error)
        assert (end.code, end.retryable) == (ErrorCode.OVERLOADED, True)
        assert "max_queue" in end.message
        assert end.retry_after is not None


async def test_a_load_is_given_up_when_its_last_waiter_leaves(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(small=fake("--hang-load"))) as running:
        async with connected(running.socket) as one, connected(running.socket) as two:
            await one.send(chat(1))
            await two.send(chat(1))
            loading = await until(lambda: running.model("small").pid, "the model loads")
            await one.stream.aclose()
            assert running.model("small").residency is Residency.LOADING
        await until(lambda: running.model("small").residency is Residency.STOPPED, "the load is given up")
        assert not alive(loading)


async def test_unloading_a_model_ends_its_back_off(tmp_path: Path) -> None:
    gate = tmp_path / "broken"
    gate.touch()
    text = routes(small=fake("--exit-code 7"))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        with pytest.raises(RequestFailedError):
            await client.chat("hello")
        assert running.model("small").residency is Residency.BACKOFF
        with pytest.raises(RequestFailedError, match=r"exited with code 7.*tried again in") as caught:
            await client.chat("hello")
        assert caught.value.retry_after
        await client.models("unload", "small")
        assert running.model("small").residency is Residency.STOPPED


async def test_a_model_that_takes_one_request_at_a_time_says_so_and_is_asked_so(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    text = routes(slow=fake(f"--hold {hold} --alone 'the architecture is odd'"))
    async with running_daemon(tmp_path, text) as running, connected(running.socket) as raw, running.client() as client:
        await raw.send(chat(1, model="slow"))
        await until(lambda: running.model("slow").in_flight == 1, "the model is busy")
        await raw.send(chat(2, model="slow"))
        while not (isinstance(event := await raw.event(), Progress) and event.id == 2 and event.phase == "queued"):
            pass
        assert running.model("slow").in_flight == 1
        hold.unlink()
        assert isinstance((await raw.answer(2))[-1], Done)
        await client.models("unload", "slow")
        assert running.model("slow").notice == "answers one request at a time: the architecture is odd"
