"""A task that fails ends nothing but its own work: not the daemon, nor another's answer."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

import routerd
from routerd.tasks import BackgroundTasks, FailureLog
from routerd_client import AsyncClient, DaemonUnavailableError, RequestFailedError, RouterdError
from tests.support.daemon import Running, fake, routes, running_daemon
from tests.support.throwing import ThrownError, late_results_ignored, throw_into, waiting_tasks
from tests.support.wait import until

ALWAYS = (
    "listen",
    "accept connections",
    "listen for HTTP",
    "keep reachable",
    "expire records",
    "watch routes.yaml",
    "watch personas",
    "supervisor",
)
"""The tasks of a daemon that has nothing to do."""

NAME = re.compile(r"[a-z]+( [A-Za-z.]+)*")
"""Tasks that were given a name; the others are called after their function."""

SOURCE = Path(routerd.__file__).parent

BUSY = routes(slow=fake("--echo --delay 0.01"), other=fake("--echo"), rest="persona: SOUL.md")


@asynccontextmanager
async def busy(folder: Path) -> AsyncIterator[Running]:
    (folder / "SOUL.md").write_text("Be brief.")
    with late_results_ignored():
        async with running_daemon(folder, BUSY, watch=True) as running:
            yield running


async def failures_of(client: AsyncClient, name: str) -> int:
    return sum(failure.count for failure in (await client.status()).task_failures if failure.task == name)


async def reachable(running: Running) -> bool:
    try:
        async with running.client() as newcomer:
            await answers(newcomer)
    except (DaemonUnavailableError, RequestFailedError):
        return False  # not yet again
    return True


async def answers(client: AsyncClient) -> None:
    with anyio.fail_after(10):
        assert (await client.chat("hello", model="other")).text == "hello"


@pytest.mark.parametrize("name", [name for name in ALWAYS if name != "watch routes.yaml"])  # see the next test
async def test_a_task_that_fails_begins_again_and_ends_nothing_else(tmp_path: Path, name: str) -> None:
    async with busy(tmp_path) as running, running.client() as client:
        await answers(client)
        (task,) = waiting_tasks()[name]
        await until(lambda: throw_into(task), "it waits for something")

        async def failed() -> bool:
            return await failures_of(client, name) == 1

        await until(failed, "its failure is counted")
        await answers(client)
        await until(lambda: reachable(running), "a newcomer is answered")
        assert [t.get_name() for t in waiting_tasks()[name]] == [name]


async def test_a_watch_that_failed_sees_the_next_change(tmp_path: Path) -> None:
    async with busy(tmp_path) as running, running.client() as client:
        for name in ("watch routes.yaml", "watch personas"):
            (task,) = waiting_tasks()[name]
            await until(partial(throw_into, task), f"{name} waits for something")
        running.write(BUSY + "\nbudgets: {daily_usd: 5}\n")

        await until(lambda: running.status().generation == 2, "the new file is in force")
        await answers(client)


async def test_the_idle_tasks_are_those_that_are_tested(tmp_path: Path) -> None:
    async with busy(tmp_path) as running:
        await until(lambda: {name for name in waiting_tasks() if NAME.fullmatch(name)} == set(ALWAYS), "it is at rest")

        assert running.status().task_failures == []


async def test_whatever_task_fails_the_daemon_answers(tmp_path: Path) -> None:
    """Into each task of a busy daemon, one after the other: readers, writers, sessions, models, watches."""
    done: set[str] = set()
    ours = set(waiting_tasks())  # those of the test itself
    async with busy(tmp_path) as running:
        async with anyio.create_task_group() as asking:
            asking.start_soon(keep_asking, running)
            await until(lambda: running.model("slow").in_flight > 0, "it answers")
            for _ in range(60):
                left = {n: ts for n, ts in waiting_tasks().items() if n not in ours | done and "keep_asking" not in n}
                if not left:
                    break
                name, tasks = left.popitem()
                done.add(name)
                throw_into(tasks[0])
                await until(lambda: reachable(running), f"an answer after {name} failed")
            asking.cancel_scope.cancel()
        async with running.client() as client:
            await answers(client)
    assert len(done) > len(ALWAYS)


async def keep_asking(running: Running) -> None:
    while True:
        try:
            async with running.client() as client:
                async for _ in client.stream("a long answer " * 200, model="slow"):
                    pass
        except (RouterdError, OSError, ThrownError, ExceptionGroup):
            await anyio.sleep(0.01)


async def test_a_library_that_exits_is_a_failure_too() -> None:
    async def exits() -> None:
        raise SystemExit(1)

    failures = FailureLog()
    async with BackgroundTasks(failures) as tasks:
        tasks.start("exits", exits)
        await until(failures.records, "it is counted")

    assert [(f.task, f.count) for f in failures.records()] == [("exits", 1)]


async def test_a_fatal_error_reaches_whoever_entered() -> None:
    async def fails() -> None:
        raise LookupError("taken")

    async def host() -> None:
        async with BackgroundTasks(FailureLog()) as tasks:
            tasks.keep("fails", fails, fatal=(LookupError,))
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await host()
    assert isinstance(caught.value.exceptions[0], LookupError)


async def test_the_names_of_failed_tasks_are_bounded() -> None:
    failures = FailureLog()
    for number in range(1000):
        failures.add(f"model {number}", ValueError("x"))

    assert len(failures.records()) == 100
    assert failures.records()[-1].task == "model 999"


STRUCTURED = {
    "tasks.py": "the contained way itself",
    "gateway/stream.py": "a ping of one stream: an asyncio task of its own, in no group",
    "server/session.py": "a connection's own group: its tasks contain what they do, and it ends with the connection",
    "server/refusing.py": "contained by BackgroundTasks.started; each connection contains what it does",
    "worker": "another process: its end is a model's end, which the supervisor sees",
    "selftest": "a test program",
}
"""Rooms and files that start tasks in a group which they were given, and why they may."""


def test_long_lived_work_is_started_by_background_tasks_alone() -> None:
    """A group whose tasks outlive the function that started them must contain their failures, as
    `routerd.tasks.BackgroundTasks` does. A group of one function, ``async with``, fails in its caller."""
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE)
        if not (str(place) in STRUCTURED or place.parts[0] in STRUCTURED):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
                    strange = set(_starts(node)) - _groups_of(node)
                    assert not strange, f"{place}:{node.lineno} starts a task in a group that is not its own: {strange}"


def _groups_of(function: ast.AsyncFunctionDef | ast.FunctionDef) -> set[str]:
    """The names that the function's own ``async with anyio.create_task_group() as NAME`` bind."""
    return {
        ast.unparse(item.optional_vars)
        for node in ast.walk(function)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if item.optional_vars and ast.unparse(item.context_expr) == "anyio.create_task_group()"
    }


def _starts(function: ast.AsyncFunctionDef | ast.FunctionDef) -> list[str]:
    """What each ``X.start_soon(...)`` or ``X.create_task(...)`` in the function is called on."""
    return [
        ast.unparse(node.func.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("start_soon", "create_task", "ensure_future", "spawn_task")
    ]
