"""Model processes: started when needed, put down when idle, never under a request."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from routerd_client import RequestFailedError
from routerd_client.protocol import ErrorCode
from routerd_client.records import Residency
from tests.support.daemon import alive, fake, routes, running_daemon
from tests.support.wait import until

from .raw import chat, connected, recorded


async def test_a_model_is_loaded_by_its_first_request(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(small=fake())) as running, running.client() as client:
        assert running.model("small").residency is Residency.STOPPED
        await client.chat("hello")
        model = running.model("small")
        assert (model.residency, model.context, model.in_flight) == (Residency.READY, 2048, 0)
        assert model.pid
        assert alive(model.pid)


async def test_requests_that_come_during_a_load_share_it(tmp_path: Path) -> None:
    record = tmp_path / "record"
    text = routes(small=fake(f"--load-seconds 0.2 --record {record}"))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(client.chat, f"number {number}")
        assert len({line["pid"] for line in recorded(record, "generate")}) == 1


async def test_preload_loads_at_start(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(small=fake(preload=True))) as running:
        await until(lambda: running.model("small").residency is Residency.READY, "the model is loaded")


@pytest.mark.parametrize("keep_alive", ["0", "200ms"])
async def test_an_idle_model_is_unloaded_and_loaded_again(tmp_path: Path, keep_alive: str) -> None:
    async with (
        running_daemon(tmp_path, routes(small=fake(keep_alive=keep_alive))) as running,
        running.client() as client,
    ):
        assert (await client.chat("hello")).text == "t0 t1 t2"
        first = running.model("small").pid
        assert first
        await until(lambda: running.model("small").residency is Residency.STOPPED, "the idle model is unloaded")
        assert not alive(first)
        assert (await client.chat("hello")).text == "t0 t1 t2"


async def test_a_busy_model_is_not_idle(tmp_path: Path) -> None:
    text = routes(small=fake("--tokens 5 --delay 0.1", keep_alive="100ms"))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        assert (await client.chat("hello")).text == "t0 t1 t2 t3 t4"


async def test_forever_counts_nothing_down(tmp_path: Path) -> None:
    async with (
        running_daemon(tmp_path, routes(small=fake(keep_alive="forever"))) as running,
        running.client() as client,
    ):
        (model,) = (await client.models("load", "small")).models
        assert (model.residency, model.idle_unload_s) == (Residency.READY, None)


async def test_load_and_unload_on_demand(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(small=fake())) as running, running.client() as client:
        (loaded,) = (await client.models("load", "small")).models
        assert loaded.residency is Residency.READY
        assert loaded.memory_bytes == 1_500_000
        (unloaded,) = (await client.models("unload", "small")).models
        assert (unloaded.residency, unloaded.pid) == (Residency.STOPPED, None)
        assert loaded.pid
        assert not alive(loaded.pid)


async def test_unloading_a_busy_model_is_refused_unless_forced(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    text = routes(small=fake(f"--hold {hold}"))
    async with running_daemon(tmp_path, text) as running, running.client() as client, connected(running.socket) as raw:
        await raw.send(chat(1))
        await until(lambda: running.model("small").residency is Residency.READY, "the model answers")
        with pytest.raises(RequestFailedError, match="is answering requests") as caught:
            await client.models("unload", "small")
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.BUSY, True)
        (model,) = (await client.models("unload", "small", force=True)).models
        assert model.residency is Residency.STOPPED


async def test_forcing_an_unload_ends_a_load_that_somebody_waits_for(tmp_path: Path) -> None:
    text = routes(small=fake("--hang-load"))
    async with running_daemon(tmp_path, text) as running, running.client() as client, connected(running.socket) as raw:
        await raw.send(chat(1))
        await until(lambda: running.model("small").pid, "the model loads")
        with anyio.fail_after(5):
            await client.models("unload", "small", force=True)
            assert (await raw.answer(1))[-1].id == 1


async def test_a_model_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    async with (
        running_daemon(tmp_path, routes(small=fake("--refuse-load broken"))) as running,
        running.client() as client,
    ):
        with pytest.raises(RequestFailedError, match="small: broken"):
            await client.models("load", "small")
        assert running.model("small").residency is Residency.FAILED
        assert running.model("small").error == "broken (choose another)"


async def test_the_last_words_of_a_process_are_told(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(small=fake("--exit-code 7"))) as running, running.client() as client:
        with pytest.raises(RequestFailedError, match=r"exited with code 7 while it loaded; .*the driver is on fire"):
            await client.models("load", "small")
        assert running.model("small").residency is Residency.BACKOFF


async def test_an_unknown_model_is_told_with_the_names_there_are(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(small=fake(), large=fake())) as running, running.client() as client:
        with pytest.raises(RequestFailedError, match="the backends are: small, large"):
            await client.models("load", "medium")


async def test_no_process_is_left_when_the_daemon_ends(tmp_path: Path) -> None:
    async with (
        running_daemon(tmp_path, routes(small=fake(), large=fake("--deaf"))) as running,
        running.client() as client,
    ):
        pids = [(await client.models("load", name)).models[n].pid for n, name in enumerate(["small", "large"])]
    assert [alive(pid) for pid in pids if pid] == [False, False]
