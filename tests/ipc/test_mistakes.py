"""Mistakes of the daemon's own code around a process: none is its death, and none ends anything else."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from routerd.config.schema import MlxSpec
from routerd.selftest.workers import fake_command, fake_counter
from routerd.supervisor.child import Worker
from routerd.supervisor.counters import Counters
from routerd.supervisor.effects import Effects
from routerd.supervisor.errors import ProcessFailedError
from routerd.supervisor.process import ModelProcess
from routerd.supervisor.sizing import Size
from routerd.supervisor.stream import Stream
from routerd.supervisor.waiting import News
from routerd.tasks import BackgroundTasks, FailureLog
from routerd_client.chat import ChatRequest, Message
from routerd_client.records import FailureKind, Residency
from tests.support.supervising import spec
from tests.support.wait import until

CHAT = ChatRequest(messages=[Message("user", "three words long")])


class OwnMistakeError(Exception):
    """Raised by what these tests give the supervisor."""


async def broken(*_arguments: object) -> bool:
    await anyio.lowlevel.checkpoint()
    raise OwnMistakeError("on purpose")


async def nothing(*_arguments: object) -> None:
    await anyio.lowlevel.checkpoint()


async def no(*_arguments: object) -> bool:
    await anyio.lowlevel.checkpoint()
    return False


async def test_a_counter_that_fails_in_our_own_code_ends_nothing_else(tmp_path: Path) -> None:
    records = 0

    async def record(pid: int, name: str, alive: bool) -> None:
        nonlocal records
        records += 1
        if records == 1:
            await broken(pid, name, alive)

    async def find(_reference: str) -> Path:
        await anyio.lowlevel.checkpoint()
        return tmp_path

    async def start(model: MlxSpec, folder: Path, name: str) -> Worker:
        return await Worker.spawn(lambda fd: fake_counter(model, folder, fd), name, Size(claim=0), oom_killed=no)

    async with BackgroundTasks(FailureLog()) as tasks:
        counters = Counters(tasks, find, start, record, idle_s=0.05)
        assert await counters.count("small", spec(), CHAT) is None
        await until(lambda: "Path" not in repr(counters) and records >= 1, "it is over")
        counts: list[int] = []

        async def counted() -> bool:
            counts.extend(filter(None, [await counters.count("small", spec(), CHAT)]))
            return bool(counts)

        await until(counted, "another counter counts")
        assert counts == [3]
        tasks.cancel()


@asynccontextmanager
async def worker_of(
    options: str, folder: Path, oom_killed: Callable[[], Awaitable[bool]] = no
) -> AsyncIterator[Worker]:
    """A fake worker that is read."""
    model = spec(options)
    worker = await Worker.spawn(
        lambda fd: fake_command(model, folder, fd, Size(claim=0)), "held", Size(claim=0), oom_killed=oom_killed
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        yield worker
        tasks.cancel_scope.cancel()


class BrokenNews(News):
    """Fails whoever has something to say."""

    def tell(self) -> None:
        super().tell()
        raise OwnMistakeError("on purpose")


async def test_a_message_that_we_fail_at_ends_neither_the_reader_nor_the_process(tmp_path: Path) -> None:
    async with worker_of("", tmp_path) as worker:
        worker.news = BrokenNews()  # told of each step of the load
        await until(lambda: worker.ready, "it is ready all the same")
        worker.news = News()
        with worker.generate(CHAT) as stream:
            items = [item async for item in stream]
        assert len(items) > 1
        assert not worker.gone.is_set()


async def rest_of(stream: Stream) -> None:
    async for _ in stream:
        pass


async def test_an_end_is_told_also_where_nobody_can_say_whether_memory_was_short(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    async with worker_of(f"--hold {hold}", tmp_path, oom_killed=broken) as worker:
        await until(lambda: worker.ready, "it is ready")
        with worker.generate(CHAT) as stream:
            await anext(stream)
            os.kill(worker.pid, signal.SIGKILL)
            with pytest.raises(ProcessFailedError) as caught:
                await rest_of(stream)
        assert caught.value.kind is FailureKind.WORKER_DIED
        assert caught.value.failure.died


@pytest.mark.parametrize("also_at_its_end", [False, True])
async def test_a_mistake_around_a_model_is_not_its_failure(tmp_path: Path, also_at_its_end: bool) -> None:
    def ended(_process: ModelProcess) -> None:
        if also_at_its_end:
            raise OwnMistakeError("on purpose")

    async def size(_model: MlxSpec, _folder: Path) -> Size:
        await anyio.lowlevel.checkpoint()
        return Size(claim=1)

    async def prepare(_reference: str, _on_phase: object) -> Path:
        await anyio.lowlevel.checkpoint()
        return tmp_path

    async def start(model: MlxSpec, folder: Path, size: Size, name: str) -> Worker:
        return await Worker.spawn(lambda fd: fake_command(model, folder, fd, size), name, size, oom_killed=no)

    async def record(pid: int, name: str, alive: bool) -> None:
        await (broken if alive else nothing)(pid, name, alive)

    async with BackgroundTasks(FailureLog()) as tasks:
        effects = Effects(
            tasks=tasks,
            prepare=prepare,
            size=size,
            spawn=start,
            recorded=record,
            wanted=lambda _process: True,
            changed=lambda: None,
            moved=lambda _process: None,
            ended=ended,
        )
        process = ModelProcess("held", spec(), effects)
        process.start()
        process.grant()
        await until(lambda: process.residency is Residency.BACKOFF, "it may soon be started again")
        assert process.unavailable
        assert process.unavailable.kind is FailureKind.OVERLOADED, "no failure that speaks of the model"
        assert "the daemon made a mistake: OwnMistakeError: on purpose" in str(process.unavailable)
        tasks.cancel()
