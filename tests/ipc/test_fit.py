"""A prompt whose bytes leave it open whether it fits is counted by the model's own tokenizer before anyone is asked."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from routerd.config.schema import MlxSpec
from routerd.supervisor.child import Worker
from routerd.supervisor.counters import Counters
from routerd.supervisor.learned import Learned
from routerd.supervisor.sizing import Size, size_of
from routerd.supervisor.supervisor import UNMEASURED_LOAD_S, Supervisor
from routerd.tasks import BackgroundTasks, FailureLog
from routerd_client import RequestFailedError
from routerd_client.chat import ChatRequest, Message
from routerd_client.protocol import ErrorCode
from routerd_client.records import Residency
from tests.support.daemon import Running, alive, fake, fake_command, fake_counter, routes, running_daemon
from tests.support.supervising import ask, spec
from tests.support.tiny_model import make_tiny_model
from tests.support.wait import until

from .raw import recorded

LONG = "word " * 1000
"""Surely fits into 32768 tokens, perhaps into 2048."""


def small(record: Path, options: str = "") -> str:
    return fake(f"--echo --record {record} {options}", context=2048)


def large(record: Path, options: str = "") -> str:
    return fake(f"--echo --record {record} --context 32768 {options}", context=32768)


async def test_what_does_not_fit_the_small_model_goes_to_the_large_one(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    text = routes(small=small(a, "--count 2048"), large=large(b))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        done = await client.chat(LONG)

        assert (done.backend, done.attempt) == ("large", 1)
        assert len(recorded(a, "count")) == 1
        assert recorded(a, "generate") == []
        assert running.model("small").residency is Residency.STOPPED, "it was counted for without being loaded"
        assert recorded(b, "count") == [], "its bytes were enough to know"


async def test_what_fits_by_its_tokens_stays_with_the_small_model(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    text = routes(small=small(a, "--count 2047"), large=large(b))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        assert (await client.chat(LONG)).backend == "small"
        assert running.model("large").residency is Residency.STOPPED


async def test_a_loaded_model_counts_by_itself(tmp_path: Path) -> None:
    a = tmp_path / "a"
    text = routes(small=small(a, "--count 2048"), large=large(tmp_path / "b"))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        await client.models("load", "small")
        assert (await client.chat(LONG)).backend == "large"
        assert [line["pid"] for line in recorded(a, "count")] == [running.model("small").pid]


async def test_what_fits_nobody_is_refused_with_the_numbers(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    text = routes(small=small(a, "--count 3000"), medium=fake(f"--record {b} --count 2999", context=2500))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        with pytest.raises(RequestFailedError) as caught:
            await client.chat(LONG)

        for number in ("3000 tokens", "2048", "2999 tokens", "2500"):
            assert number in str(caught.value)
        assert caught.value.code is ErrorCode.CONTEXT_OVERFLOW
        assert [model.residency for model in running.status().models] == [Residency.STOPPED] * 2
        assert recorded(a, "generate") + recorded(b, "generate") == []


async def test_without_a_count_the_request_goes_on(tmp_path: Path) -> None:
    a = tmp_path / "a"
    text = routes(small=small(a, "--die-counting"), large=large(tmp_path / "b"))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        assert (await client.chat(LONG)).backend == "small"
        assert len(recorded(a, "generate")) == 1


async def test_a_counter_is_recorded_and_ends_with_the_daemon(tmp_path: Path) -> None:
    a = tmp_path / "a"
    text = routes(small=small(a, "--count 2048"), large=large(tmp_path / "b"))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        await client.chat(LONG)
        (counted,) = recorded(a, "count")
        assert alive(counted["pid"])
        assert counted["pid"] in recorded_pids(running)
    assert not alive(counted["pid"])


def recorded_pids(running: Running) -> list[int]:
    return [record["pid"] for record in json.loads((running.places.state / "workers.json").read_bytes())]


# The counters by themselves

CHAT = ChatRequest(messages=[Message("user", "three words long")])


class Alone:
    """Counters whose processes are fake, and the pids of those that live and of those that are gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.living: list[int] = []
        self.gone: list[int] = []
        self.counters: Counters

    async def ask(self, model: MlxSpec) -> int | None:
        return await self.counters.count("small", model, CHAT)

    async def find(self, reference: str) -> Path | None:
        await anyio.lowlevel.checkpoint()
        return None if "--nowhere" in reference else self.folder / reference

    async def spawn(self, model: MlxSpec, folder: Path, name: str) -> Worker:
        command = ["/no/such/program"] if "--no-program" in model.model else None
        return await Worker.spawn(
            lambda fd: command or fake_counter(model, folder, fd), name, Size(claim=0), oom_killed=self.not_oom
        )

    async def not_oom(self) -> bool:
        await anyio.lowlevel.checkpoint()
        return False

    async def record(self, pid: int, _name: str, living: bool) -> None:
        await anyio.lowlevel.checkpoint()
        (self.living if living else self.gone).append(pid)


@asynccontextmanager
async def counting(folder: Path, *, idle_s: float = 60.0, count_s: float = 10.0) -> AsyncIterator[Alone]:
    alone = Alone(folder)
    async with BackgroundTasks(FailureLog()) as tasks:
        alone.counters = Counters(tasks, alone.find, alone.spawn, alone.record, idle_s=idle_s, count_s=count_s)
        yield alone


async def test_one_process_counts_for_all_that_ask(tmp_path: Path) -> None:
    counts: list[int | None] = []

    async with counting(tmp_path) as alone:

        async def ask() -> None:
            counts.append(await alone.ask(spec()))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
        assert counts == [3] * 5
        assert len(alone.living) == 1
    assert not alive(alone.living[0])


async def test_an_idle_counter_ends_and_the_next_question_gets_another(tmp_path: Path) -> None:
    async with counting(tmp_path, idle_s=0.1) as alone:
        assert await alone.ask(spec()) == 3
        await until(lambda: alone.gone, "the idle one ends")
        assert not alive(alone.gone[0])
        assert await alone.ask(spec()) == 3
        assert len(set(alone.living)) == 2


async def test_a_killed_counter_gives_none_and_rests(tmp_path: Path) -> None:
    async with counting(tmp_path, idle_s=3600) as alone:
        assert await alone.ask(spec()) == 3
        os.kill(alone.living[0], signal.SIGKILL)
        await until(lambda: alone.gone, "it is gone")
        assert await alone.ask(spec()) is None
        assert len(alone.living) == 1


async def test_a_counter_killed_over_a_question_gives_none_and_is_started_again_later(tmp_path: Path) -> None:
    async with counting(tmp_path, idle_s=0.1) as alone:
        assert await alone.ask(spec("--die-counting")) is None
        await until(lambda: alone.gone, "it is gone")

        while len(alone.living) < 2:
            assert await alone.ask(spec("--die-counting")) is None


async def test_a_counter_that_does_not_answer_is_killed(tmp_path: Path) -> None:
    async with counting(tmp_path, count_s=0.5) as alone:
        assert await alone.ask(spec("--deaf")) is None
        await until(lambda: alone.gone, "it is killed")
        assert not alive(alone.gone[0])


@pytest.mark.parametrize("options", ["--nowhere", "--no-program"])
async def test_where_no_counter_can_be_started_nothing_is_counted(tmp_path: Path, options: str) -> None:
    async with counting(tmp_path) as alone:
        assert await alone.ask(spec(options)) is None
        assert await alone.ask(spec(options)) is None
        assert alone.living == []


# What is known of a model that was never loaded


@asynccontextmanager
async def supervising_a_model_in(folder: Path | None, state: Path) -> AsyncIterator[Supervisor]:
    """With one model ``small``, whose files are in ``folder``, or nowhere."""

    async def prepare(_reference: str, _on_phase: object) -> Path:
        return folder or state

    async def find(_reference: str) -> Path | None:
        await anyio.lowlevel.checkpoint()
        return folder

    async with Supervisor(state, prepare, find=find, command=fake_command) as supervisor:
        supervisor.reconcile({"small": spec("--context 999 --load-seconds 0.1")})
        yield supervisor


async def test_its_context_and_its_load_are_known_from_its_folder_and_from_earlier(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model", context=1500)
    size = size_of(spec("--context 999 --load-seconds 0.1"), folder, Learned())
    learned = Learned()
    assert size.footprint
    learned.record(size.key, size.footprint, peak=1, load_s=77.0)
    (tmp_path / "learned.json").write_bytes(learned.encode())

    async with supervising_a_model_in(folder, tmp_path) as supervisor:
        await until(lambda: supervisor.context("small") == 1500, "it is known")
        assert supervisor.wait("small") == 77.0
        assert supervisor.status("small").residency is Residency.STOPPED
        await ask(supervisor, "small")
        assert supervisor.context("small") == 999, "what the process says is better"
        await supervisor.unload("small", force=True)
        assert supervisor.context("small") == 999
        assert supervisor.wait("small") == 0.1


async def test_nothing_is_known_of_a_model_whose_files_are_not_here(tmp_path: Path) -> None:
    async with supervising_a_model_in(None, tmp_path) as supervisor:
        assert supervisor.context("small") is None
        assert await supervisor.count("small", CHAT) is None
        assert supervisor.wait("small") == UNMEASURED_LOAD_S
        assert supervisor.context("unheard of") is None
        assert await supervisor.count("unheard of", CHAT) is None
