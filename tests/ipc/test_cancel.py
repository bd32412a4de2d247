"""Whoever stops waiting stops the work; whoever stops reading stops only itself."""

from __future__ import annotations

import os
import signal
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from routerd_client import Delta, Done, RequestFailedError
from routerd_client.protocol import Cancel, Error, ErrorCode
from tests.support.daemon import Running, fake, routes, running_daemon
from tests.support.wait import until

from .raw import chat, connected, recorded


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """While this file is there, answers stop after their first token."""
    file = tmp_path / "hold"
    file.touch()
    return file


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record"


@pytest.fixture
def held(hold: Path, record: Path) -> str:
    return routes(small=fake(f"--hold {hold} --record {record}"))


async def all_stopped(running: Running, record: Path) -> None:
    await until(lambda: recorded(record, "cancel"), "the worker is told to stop")
    await until(lambda: running.status().requests["open"] == 0, "the daemon forgets the request")
    assert running.status().requests["cancelled"] == 1
    assert running.model("small").in_flight == 0


async def test_cancel_ends_a_request_as_cancelled(tmp_path: Path, held: str, record: Path) -> None:
    async with running_daemon(tmp_path, held) as running, connected(running.socket) as raw:
        await raw.send(chat(1))
        while not isinstance(await raw.event(), Delta):
            pass
        await raw.send(Cancel(id=2, target=1))
        end = (await raw.answer(1))[-1]
        assert isinstance(end, Error)
        assert end.code is ErrorCode.CANCELLED
        await all_stopped(running, record)


async def test_cancelling_what_is_not_open_does_nothing(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(small=fake())) as running, connected(running.socket) as raw:
        await raw.send(Cancel(id=1, target=99), chat(2))
        assert isinstance((await raw.answer(2))[-1], Done)


async def test_a_request_is_cancelled_while_its_model_loads(tmp_path: Path) -> None:
    gate = tmp_path / "loading"
    gate.touch()
    text = routes(small=fake(f"--load-while {gate}"))
    async with running_daemon(tmp_path, text) as running, connected(running.socket) as raw:
        await raw.send(chat(1))
        await until(lambda: running.model("small").pid, "the model loads")
        await raw.send(Cancel(id=2, target=1))
        end = (await raw.answer(1))[-1]
        assert isinstance(end, Error)
        assert end.code is ErrorCode.CANCELLED


async def test_a_disconnect_cancels(tmp_path: Path, held: str, record: Path) -> None:
    async with running_daemon(tmp_path, held) as running:
        async with connected(running.socket) as raw:
            await raw.send(chat(1))
            while not isinstance(await raw.event(), Delta):
                pass
        await all_stopped(running, record)
        assert running.status().connections == 0


async def test_leaving_a_stream_cancels(tmp_path: Path, held: str, record: Path) -> None:
    async with running_daemon(tmp_path, held) as running, running.client() as client:
        async with aclosing(client.stream("hello")) as events:
            async for event in events:
                if event.text:
                    break
        await all_stopped(running, record)


async def test_cancelling_a_call_cancels_its_request(tmp_path: Path, held: str, record: Path) -> None:
    async with running_daemon(tmp_path, held) as running, running.client() as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.chat, "hello")
            await until(lambda: recorded(record, "generate"), "the worker begins")
            tasks.cancel_scope.cancel()
        await all_stopped(running, record)


async def test_a_deadline_ends_the_request_and_the_work(tmp_path: Path, held: str, record: Path) -> None:
    async with running_daemon(tmp_path, held) as running, running.client() as client:
        await client.models("load", "small")
        with pytest.raises(RequestFailedError, match=r"deadline of 0\.3 s") as caught:
            await client.chat("hello", deadline_s=0.3)
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.DEADLINE, True)
        await until(lambda: recorded(record, "cancel"), "the worker is told to stop")


async def test_a_deadline_bounds_the_load_too(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(small=fake("--hang-load"))) as running, running.client() as client:
        with pytest.raises(RequestFailedError) as caught:
            await client.chat("hello", deadline_s=0.3)
        assert caught.value.code is ErrorCode.DEADLINE


async def test_a_client_that_does_not_read_is_bounded_and_slows_nobody(tmp_path: Path, record: Path) -> None:
    """Its answer would be 20 MB. Another answer from the same worker comes meanwhile."""
    text = routes(small=fake(f"--tokens 4000 --piece 5000 --record {record}"))
    async with (
        running_daemon(tmp_path, text) as running,
        connected(running.socket) as silent,
        running.client() as client,
    ):
        await silent.send(chat(1))
        await until(lambda: recorded(record, "cancel"), "the worker is told to stop for the one that does not read")
        with anyio.fail_after(5):
            assert (await client.chat("hello", max_tokens=1)).text.startswith("t0")
        events = await silent.answer(1)
        assert sum(len(event.text) for event in events if isinstance(event, Delta)) < 4_000_000
        end = events[-1]
        assert isinstance(end, Error)
        assert end.code is ErrorCode.INTERRUPTED


async def test_a_stuck_worker_is_replaced_also_where_no_request_waits_for_long(tmp_path: Path) -> None:
    """Each request gives up before stall_timeout; together they have waited longer, and nothing came."""
    text = routes(small=fake("--deaf", stall_timeout="1s"))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        await client.models("load", "small")
        stuck = running.model("small").pid
        for _ in range(8):
            with pytest.raises(RequestFailedError):
                await client.chat("hello", deadline_s=0.4)
            if running.model("small").pid != stuck:
                break
        assert running.model("small").pid != stuck


async def test_a_worker_that_does_not_read_holds_up_no_deadline(tmp_path: Path) -> None:
    """The prompt is larger than what the pipe to the worker takes."""
    async with (
        running_daemon(tmp_path, routes(small=fake("--deaf --context 9000000"))) as running,
        running.client() as client,
    ):
        await client.models("load", "small")
        worker = running.model("small").pid
        assert worker
        try:
            with anyio.fail_after(5), pytest.raises(RequestFailedError) as caught:
                await client.chat("x" * 5_000_000, deadline_s=0.5)
        finally:
            os.kill(worker, signal.SIGKILL)  # whoever still writes to it ends now
        assert caught.value.code is ErrorCode.DEADLINE
