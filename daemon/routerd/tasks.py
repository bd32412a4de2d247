"""Background tasks: the one contained way to start work that outlives its caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc
import structlog

from routerd_client.records import TaskFailure

log = structlog.get_logger()

Work = Callable[..., Awaitable[object]]

SHORTEST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
"""The pause before a failed task begins again doubles between these, unless it ran for long before."""
MOST_NAMES = 100
"""Names of failed tasks that are remembered; the oldest is forgotten first."""


class FailureLog:
    """The failures of background tasks, counted by the task's name, for `status`."""

    def __init__(self) -> None:
        self._failures: dict[str, TaskFailure] = {}

    def __repr__(self) -> str:
        return f"<FailureLog {sum(failure.count for failure in self._failures.values())} failures>"

    def add(self, name: str, error: BaseException, again_in_s: float | None = None) -> None:
        """Count a failure of the task ``name`` and log its traceback; ``again_in_s`` is when it begins again."""
        before = self._failures.pop(name, None)
        count = before.count + 1 if before else 1
        self._failures[name] = TaskFailure(task=name, count=count, error=f"{type(error).__name__}: {error}"[:500])
        while len(self._failures) > MOST_NAMES:
            del self._failures[next(iter(self._failures))]
        log.error("task.failed", task=name, failures=count, again_in_s=again_in_s, exc_info=error)

    def records(self) -> list[TaskFailure]:
        """Return one record for each task that has failed, the latest last."""
        return list(self._failures.values())


class BackgroundTasks:
    """A group of tasks of which none, however it fails, ends another, nor the daemon.

    Use it as an async context; leaving it cancels all tasks and waits for them. A failure is logged with its
    traceback and counted in ``failures``. `SystemExit` raised by a library counts as a failure too.
    """

    def __init__(self, failures: FailureLog) -> None:
        self.failures = failures
        self._group: anyio.abc.TaskGroup

    def __repr__(self) -> str:
        return f"<BackgroundTasks {self.failures}>"

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        self.cancel()
        return await self._group.__aexit__(kind, error, tb)

    def cancel(self) -> None:
        """Cancel all tasks, and whoever is inside the context."""
        self._group.cancel_scope.cancel()

    def start(self, name: str, work: Work, *arguments: object) -> None:
        """Run ``work`` once in the background. Return at once."""
        self._group.start_soon(self._once, name, work, arguments, name=name)

    def keep(self, name: str, work: Work, *arguments: object, fatal: tuple[type[Exception], ...] = ()) -> None:
        """Run ``work`` in the background and begin it again, after a pause, each time it fails. Return at once.

        It ends where ``work`` returns. A ``fatal`` exception is no failure but meant for whoever entered the context:
        it is raised there, and cancels the others.
        """
        self._group.start_soon(self._kept, name, work, arguments, fatal, name=name)

    async def started(self, name: str, work: Work) -> None:
        """Run ``work`` as `keep` does, and return once it has called ``task_status.started()`` for the first time.

        Raises what ``work`` raises before that.
        """
        await self._group.start(self._begun, name, work, name=name)

    async def _once(self, name: str, work: Work, arguments: tuple[Any, ...]) -> None:
        try:
            await work(*arguments)
        except (Exception, SystemExit) as error:
            self.failures.add(name, error)

    async def _kept(
        self, name: str, work: Work, arguments: tuple[Any, ...], fatal: tuple[type[Exception], ...] = ()
    ) -> None:
        pause = 0.0
        while True:
            began = anyio.current_time()
            try:
                await anyio.sleep(pause)
                await work(*arguments)
                return
            except fatal:
                raise
            except (Exception, SystemExit) as error:
                lasted = anyio.current_time() - began
                pause = SHORTEST_PAUSE_S if lasted >= 2 * LONGEST_PAUSE_S else _longer(pause)
                self.failures.add(name, error, pause)

    async def _begun(self, name: str, work: Work, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        signal = _Once(task_status)
        try:
            await work(task_status=signal)
        except (Exception, SystemExit) as error:
            if not signal.given:
                raise
            self.failures.add(name, error, 0.0)
            await self._kept(name, work, ())


def _longer(pause: float) -> float:
    return min(max(SHORTEST_PAUSE_S, 2 * pause), LONGEST_PAUSE_S)


class _Once(anyio.abc.TaskStatus[None]):
    """A task status that remembers whether it was reported."""

    def __init__(self, status: anyio.abc.TaskStatus[None]) -> None:
        self._status = status
        self.given = False

    def started(self, value: None = None) -> None:
        self.given = True
        self._status.started(value)
