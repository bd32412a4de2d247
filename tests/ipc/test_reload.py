"""A new routes.yaml: taken over whole or not at all, under running requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from routerd_client import Done, RequestFailedError
from routerd_client.protocol import ErrorCode
from routerd_client.records import Residency
from tests.support.daemon import alive, fake, routes, running_daemon
from tests.support.wait import until

from .raw import chat, connected

SMALL, LARGE = fake("--tokens 1"), fake("--tokens 2")
FIRST = routes(small=SMALL, large=LARGE, default="small")
SECOND = routes(small=SMALL, large=LARGE, default="large")


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """While this file is there, answers stop after their first token."""
    file = tmp_path / "hold"
    file.touch()
    return file


def release(file: Path) -> None:
    """Let those go on who wait while ``file`` is there."""
    file.unlink()


async def test_a_changed_file_is_in_force_when_the_reload_returns(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, FIRST) as running, running.client() as client:
        running.write(SECOND)
        result = await client.reload()
        assert (result.changed, result.generation, result.errors) == (True, 2, [])
        assert result.plan
        assert result.plan.changes == ["default changed"]
        assert (await client.chat("hello")).backend == "large"
        status = await client.status()
        assert (status.generation, status.default, status.last_reload) == (2, "large", result.plan)


async def test_an_unchanged_file_changes_nothing(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, FIRST) as running, running.client() as client:
        result = await client.reload()
        assert (result.changed, result.generation, result.plan) == (False, 1, None)


async def test_a_wrong_file_leaves_the_last_good_one_in_force(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, FIRST) as running, running.client() as client:
        running.write(FIRST + "\ndefalt: small")
        result = await client.reload()
        assert (result.changed, result.generation) == (False, 1)
        (error,) = result.errors
        assert (error.file, error.line, error.column) == (str(running.places.config), FIRST.count("\n") + 2, 1)
        status = await client.status()
        assert status.config_errors == result.errors
        assert (await client.chat("hello")).backend == "small"

        running.write(FIRST)
        assert (await client.reload()).errors == []
        assert running.status().config_errors == []


async def test_a_missing_file_changes_nothing(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, FIRST) as running, running.client() as client:
        running.remove()
        (error,) = (await client.reload()).errors
        assert str(error) == f"{running.places.config}: {error.message} ({error.hint})"
        assert (await client.chat("hello")).backend == "small"


async def test_a_file_that_is_deleted_is_told_until_it_is_back(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, FIRST, watch=True) as running, running.client() as client:
        running.remove()
        (error,) = await until(lambda: running.status().config_errors, "it is missed")
        assert error.message == "there is no such file"
        assert (await client.chat("hello")).backend == "small"
        running.write(FIRST)
        await until(lambda: not running.status().config_errors, "it is back")
        assert running.status().generation == 1


async def test_check_validates_without_using(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, FIRST) as running, running.client() as client:
        (error,) = (await client.check("version: 1\nbackends: {}\ndefault: x", file="mine.yaml")).errors[:1]
        assert (error.file, error.line) == ("mine.yaml", 2)
        assert (await client.check()).errors == []
        assert running.status().generation == 1


async def test_an_open_request_ends_on_the_generation_it_began_with(tmp_path: Path, hold: Path) -> None:
    text = routes(small=fake(f"--hold {hold}"), large=LARGE, default="small")
    async with running_daemon(tmp_path, text) as running, running.client() as client, connected(running.socket) as raw:
        await raw.send(chat(1))
        await until(lambda: running.model("small").residency is Residency.READY, "the request is under way")
        running.write(text.replace("default: small", "default: large"))
        assert (await client.reload()).changed
        assert (await client.chat("hello")).backend == "large"
        release(hold)
        done = (await raw.answer(1))[-1]
        assert isinstance(done, Done)
        assert (done.backend, len(done.attempts)) == ("small", 1)


async def test_an_unchanged_model_keeps_its_process(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, FIRST) as running, running.client() as client:
        await client.models("load", "small")
        before = running.model("small").pid
        running.write(SECOND.replace('"fake:--tokens 1"', '"fake:--tokens 1", "keep_alive": "1h"'))
        assert (await client.reload()).changed
        assert running.model("small").pid == before
        assert (running.model("small").idle_unload_s or 0) > 3000, "the new keep_alive holds"


async def test_a_changed_model_is_replaced_after_its_requests_ended(tmp_path: Path, hold: Path) -> None:
    text = routes(small=fake(f"--tokens 2 --hold {hold}"))
    async with running_daemon(tmp_path, text) as running, running.client() as client, connected(running.socket) as raw:
        await raw.send(chat(1))
        await until(lambda: running.model("small").residency is Residency.READY, "the request is under way")
        old = running.model("small").pid
        assert old
        running.write(text.replace("--tokens 2", "--tokens 4"))
        result = await client.reload()
        assert result.plan
        assert result.plan.restart == ["small"]
        assert [(m.residency, m.pid) for m in running.status().models] == [
            (Residency.STOPPED, None),
            (Residency.DRAINING, old),
        ]
        release(hold)
        assert isinstance((await raw.answer(1))[-1], Done)
        assert (await client.chat("hello")).text == "t0 t1 t2 t3"
        assert not alive(old)
        assert [m.backend for m in running.status().models] == ["small"]


async def test_a_removed_model_drains(tmp_path: Path, hold: Path) -> None:
    text = routes(small=fake(f"--hold {hold}"), large=LARGE)
    async with running_daemon(tmp_path, text) as running, running.client() as client, connected(running.socket) as raw:
        await raw.send(chat(1))
        await until(lambda: running.model("small").residency is Residency.READY, "the request is under way")
        old = running.model("small").pid
        assert old
        running.write(routes(large=LARGE))
        result = await client.reload()
        assert result.plan
        assert result.plan.drain == ["small"]
        with pytest.raises(RequestFailedError) as caught:
            await client.chat("hello", model="small")
        assert caught.value.code is ErrorCode.NOT_FOUND
        release(hold)
        assert isinstance((await raw.answer(1))[-1], Done)
        await until(lambda: not alive(old), "the removed model's process ends")


async def test_a_request_that_waits_for_a_load_survives_a_change_of_the_model(tmp_path: Path) -> None:
    gate = tmp_path / "loading"
    gate.touch()
    text = routes(small=fake(f"--load-while {gate}"))
    async with running_daemon(tmp_path, text) as running, running.client() as client, connected(running.socket) as raw:
        await raw.send(chat(1))
        await until(lambda: running.model("small").pid, "the model loads")
        running.write(text.replace("--load-while", "--tokens 5 --load-while"))
        assert (await client.reload()).changed
        release(gate)
        end = (await raw.answer(1))[-1]
        assert isinstance(end, Done), end


async def test_a_saved_file_is_taken_over_by_itself(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, FIRST, watch=True) as running:
        running.write(SECOND)
        await until(lambda: running.status().generation == 2, "the daemon sees the edit")
        assert running.status().default == "large"


async def test_a_file_saved_wrong_shows_in_status_and_heals_by_itself(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, FIRST, watch=True) as running:
        running.write("version: [")
        await until(lambda: running.status().config_errors, "the daemon sees the mistake")
        assert running.status().generation == 1
        running.write(FIRST)
        await until(lambda: not running.status().config_errors, "the daemon sees that it is mended")
        assert running.status().generation == 1
