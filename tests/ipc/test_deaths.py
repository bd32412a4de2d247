"""Every way in which a model process can die: what its users are told, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from routerd.config.schema import MlxSpec
from routerd.supervisor.errors import ProcessFailedError
from routerd.supervisor.learned import after_oom
from routerd.supervisor.sizing import Size
from routerd_client import AsyncClient, RequestFailedError
from routerd_client.records import FailureKind, ModelStatus, Residency
from tests.support.daemon import alive, fake, routes, running_daemon
from tests.support.supervising import MadeUpMachine, ask, learned, spec, supervising
from tests.support.wait import until

WAYS = {
    "it hangs in its load": (fake("--hang-load", load_timeout="2s"), "load_failed", "still loading after 2 s"),
    "it exits while it loads": (fake("--exit-code 0"), "worker_died", "exited with code 0 while it loaded"),
    "it exits while it answers": (fake("--exit-after 1"), "worker_died", "exited with code 0 while it answered"),
    "it says nothing": (fake("--stall-after 1", stall_timeout="300ms"), "stalled", "no progress after 0.3 s"),
    "it only computes": (fake("--spin-after 1", stall_timeout="300ms"), "stalled", "no progress after 0.3 s"),
    "it is killed": (fake("--die-after 1"), "worker_died", "killed by signal 9 (SIGKILL) while it answered"),
    "it crashes": (fake("--die-after 1 --die-by SIGSEGV"), "worker_died", "killed by signal 11 (SIGSEGV)"),
    "it hangs up": (fake("--hang-up-after 1"), "worker_died", "closed its socket, and was killed, while it answered"),
    "it sends garbage": (fake("--garbage"), "malformed", "sent garbage"),
    "it nests without end": (fake("--deep"), "malformed", "sent garbage"),
}


@pytest.mark.parametrize(("bad", "kind", "words"), WAYS.values(), ids=list(WAYS))
async def test_a_death_is_told_by_its_kind_and_leaves_nothing(tmp_path: Path, bad: str, kind: str, words: str) -> None:
    child = tmp_path / "child"
    text = routes(bad=bad.replace("fake:", f"fake:--child {child} "))
    async with running_daemon(tmp_path, text) as running, running.client() as client:
        with pytest.raises(RequestFailedError) as caught:
            await client.chat("hello")
        (attempt,) = caught.value.attempts
        assert attempt.failure is FailureKind(kind)
        assert words in attempt.message
        wanted = Residency.FAILED if kind == "load_failed" else Residency.BACKOFF
        await until(lambda: running.model("bad").residency is wanted, "the model is given a rest")
        assert words in running.model("bad").error
        assert running.model("bad").pid is None
        await until(lambda: not alive(int(child.read_text())), "its whole group is gone")


async def test_an_exit_while_it_is_idle_is_no_clean_end(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(bad=fake("--exit-idle"))) as running, running.client() as client:
        await client.chat("hello")
        await until(lambda: running.model("bad").residency is Residency.BACKOFF, "the model is given a rest")
        assert "exited with code 0 while it was idle" in running.model("bad").error


def no_such_program(_spec: MlxSpec, _model: Path, _fd: int, _size: Size) -> list[str]:
    return ["/nowhere/python", "-m", "routerd.worker"]


async def test_a_process_that_cannot_be_started(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, routes(bad=fake()), command=no_such_program) as running:
        async with running.client() as client:
            with pytest.raises(RequestFailedError, match=r"could not be started: .*No such file") as caught:
                await client.chat("hello")
        assert caught.value.attempts[0].failure is FailureKind.SPAWN_FAILED
        assert "own Python" in str(caught.value)
        assert running.model("bad").residency is Residency.BACKOFF


async def test_a_program_that_is_no_worker(tmp_path: Path) -> None:
    def says_no(_spec: MlxSpec, _model: Path, _fd: int, _size: Size) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('there is no such module')"]

    async with running_daemon(tmp_path, routes(bad=fake()), command=says_no) as running, running.client() as client:
        with pytest.raises(RequestFailedError, match=r"code 1 while it loaded.*no such module") as caught:
            await client.chat("hello")
        assert caught.value.attempts[0].failure is FailureKind.WORKER_DIED


# The kernel's own killer is met in tests/process/test_memory.py.

MEASURED = 4_394_531 * 1024


async def killed_while_it_answers(folder: Path, *, oom_kills: int) -> tuple[ProcessFailedError, ModelStatus]:
    """What the caller and the status say of a model, planned at 4 GB and measured at more, that was killed."""
    machine, hold, told = MadeUpMachine(folder / "machine"), folder / "hold", list[ProcessFailedError]()
    hold.touch()

    async def asking() -> None:
        with pytest.raises(ProcessFailedError) as caught:
            await ask(supervisor, "big")
        told.append(caught.value)

    def status() -> ModelStatus:
        (found,) = supervisor.statuses(anyio.current_time())
        return found

    model = spec(f"--size 4000000000 --hold {hold}")
    # A round must be longer than a death takes to be seen.
    async with supervising(folder, machine, measure_s=1.0, big=model) as supervisor, anyio.create_task_group() as tasks:
        tasks.start_soon(asking)
        await until(lambda: status().in_flight, "the model answers")
        pid = status().pid
        assert pid
        assert status().reserved_bytes == 4_000_000_000
        machine.set_memory(pid, MEASURED)
        await until(lambda: status().reserved_bytes == MEASURED, "the claim grows to what was measured")
        machine.set_oom_kills(oom_kills)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: told and learned(folder), "the death is told, and what was learned is written")
        after = status()
    return told[0], after


async def test_a_kill_for_want_of_memory_is_told_with_the_numbers_and_makes_the_next_plan_larger(
    tmp_path: Path,
) -> None:
    told, status = await killed_while_it_answers(tmp_path, oom_kills=1)
    assert told.kind is FailureKind.OOM_KILLED
    assert "while it answered, for want of memory: it was planned at 4GB and seen to have 4.5GB" in told.message
    assert "kv_tokens" in told.hint
    assert "memory.budget" in told.hint
    assert (status.residency, status.error) == (Residency.BACKOFF, str(told))
    assert learned(tmp_path)["the model"]["peak"] == after_oom(4_000_000_000, MEASURED, None) > MEASURED


async def test_a_kill_by_somebody_else_is_no_matter_of_memory(tmp_path: Path) -> None:
    told, status = await killed_while_it_answers(tmp_path, oom_kills=0)
    assert told.kind is FailureKind.WORKER_DIED
    assert (status.residency, status.error) == (Residency.BACKOFF, str(told))
    assert learned(tmp_path)["the model"]["peak"] == MEASURED


async def test_who_only_waited_for_a_model_is_answered_after_its_death(tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    text = routes(only=fake(f"--hold {hold} --echo", concurrency=1))
    done: list[str] = []
    failed: list[str] = []
    async with running_daemon(tmp_path, text) as running:

        async def ask(client: AsyncClient, word: str) -> None:
            try:
                done.append((await client.chat(word)).text)
            except RequestFailedError as error:
                failed.append(str(error))

        async with running.client() as client, anyio.create_task_group() as tasks:
            tasks.start_soon(ask, client, "the first one")
            await until(lambda: running.model("only").in_flight == 1, "it is answered")
            for number in range(4):
                tasks.start_soon(ask, client, f"it waits {number}")
            await until(lambda: running.status().requests["open"] == 5, "they wait")
            pid = running.model("only").pid
            assert pid
            os.kill(pid, signal.SIGKILL)
            await until(lambda: bool(failed), "the first has failed")
            hold.unlink()
    assert len(failed) == 1
    assert sorted(done) == [f"it waits {number}" for number in range(4)]
