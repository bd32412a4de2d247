"""All model processes of the daemon, by backend name: which there are, and what is asked of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import structlog

from routerd_client.records import FailureKind, ModelStatus

from ..config.plan import needs_restart
from ..config.schema import MlxSpec
from .errors import ProcessFailedError, RetiredError
from .leftovers import WorkerFile
from .memory import MemoryBook
from .process import Effects, ModelProcess, OnProgress, Prepare
from .worker import Command, Worker, worker_command

log = structlog.get_logger()

DRAIN_S = 30.0
"""How long the open requests of a removed or changed model may go on."""


class Supervisor:
    """The one owner of model processes. Use it as an async context: leaving it ends every process."""

    def __init__(
        self,
        state_dir: Path,
        prepare: Prepare,
        *,
        on_change: Callable[[ModelStatus], None] = lambda _status: None,
        command: Command = worker_command,
    ) -> None:
        self._file = WorkerFile(state_dir / "workers.json")
        self._prepare = prepare
        self._on_change = on_change
        self._command = command
        self._book = MemoryBook()
        self._processes: dict[str, ModelProcess] = {}
        self._retiring: set[ModelProcess] = set()
        self._tasks: anyio.abc.TaskGroup
        self._effects: Effects

    def __repr__(self) -> str:
        return f"<Supervisor {list(self._processes.values())} {len(self._retiring)} retiring>"

    async def __aenter__(self) -> Supervisor:
        for leftover in await anyio.to_thread.run_sync(self._file.reap):
            log.warning("worker.reaped", backend=leftover.backend, pid=leftover.pid)
        self._tasks = await anyio.create_task_group().__aenter__()
        self._effects = Effects(
            tasks=self._tasks,
            prepare=self._prepare,
            on_change=lambda process: self._on_change(process.status(anyio.current_time())),
            recorded=self._recorded,
            book=self._book,
            spawn=partial(Worker.spawn, command=self._command),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    def reconcile(self, wanted: dict[str, MlxSpec]) -> None:
        """Make the processes those of a new generation: unchanged ones are not touched, removed and
        changed ones drain, ``preload`` ones start. Returns at once; the work goes on."""
        for name in list(self._processes):
            old = self._processes[name]
            if name not in wanted:
                del self._processes[name]
                self._retire(old)
            elif needs_restart(old.spec, wanted[name]):
                self._processes[name] = ModelProcess(name, wanted[name], self._effects, predecessor=old)
                self._retire(old)
            else:
                old.configure(wanted[name])
        for name, spec in wanted.items():
            if name not in self._processes:
                self._processes[name] = ModelProcess(name, spec, self._effects)
            if spec.preload:
                self._tasks.start_soon(self._preload, name)

    def statuses(self, now: float) -> list[ModelStatus]:
        """All processes, those that are still draining last."""
        return [p.status(now) for p in (*self._processes.values(), *self._retiring)]

    def status(self, name: str) -> ModelStatus | None:
        process = self._processes.get(name)
        return process.status(anyio.current_time()) if process else None

    @asynccontextmanager
    async def lease(self, name: str, on_progress: OnProgress) -> AsyncIterator[Worker]:
        """A ready worker of the process that has this name, kept loaded for as long as the ``with`` lasts.

        A request that waits for a load is not hurt by a reload: it waits on for the process that takes
        the old one's place. See `ModelProcess.acquire`.
        """
        process, worker = await self._acquire(name, on_progress)
        try:
            yield worker
        finally:
            process.release()

    async def _acquire(self, name: str, on_progress: OnProgress) -> tuple[ModelProcess, Worker]:
        while process := self._processes.get(name):
            try:
                return process, await process.acquire(on_progress)
            except RetiredError:
                continue
        raise ProcessFailedError(FailureKind.NOT_FOUND, f"{name} was removed by a reload")

    async def load(self, name: str, on_progress: OnProgress) -> None:
        """Return when the model is ready. Raises `ProcessFailedError`."""
        async with self.lease(name, on_progress):
            pass

    async def unload(self, name: str, *, force: bool) -> bool:
        """See `ModelProcess.unload`; an unknown name is ``KeyError``."""
        return await self._processes[name].unload(force=force)

    async def measure(self) -> None:
        """Refresh the memory figures of all idle or busy workers, waiting at most a second for them."""
        with anyio.move_on_after(1.0):
            async with anyio.create_task_group() as tasks:
                for process in self._processes.values():
                    tasks.start_soon(process.measure)

    async def drain(self, seconds: float) -> int:
        """Retire every process; returns how many requests were cut when ``seconds`` had passed."""
        cut = 0
        processes = [*self._processes.values(), *self._retiring]
        self._processes.clear()
        self._retiring.update(processes)

        async def retire(process: ModelProcess) -> None:
            nonlocal cut
            cut += await process.retire(seconds)

        async with anyio.create_task_group() as tasks:
            for process in processes:
                tasks.start_soon(retire, process)
        return cut

    def _retire(self, process: ModelProcess) -> None:
        self._retiring.add(process)
        self._tasks.start_soon(self._drain_one, process)

    async def _drain_one(self, process: ModelProcess) -> None:
        cut = await process.retire(DRAIN_S)
        self._retiring.discard(process)
        log.info("model.retired", backend=process.name, cut=cut)

    async def _preload(self, name: str) -> None:
        async def nobody(_phase: str, _fraction: float | None) -> None: ...

        try:
            await self.load(name, nobody)
        except ProcessFailedError as error:
            log.warning("model.preload_failed", backend=name, error=str(error))

    async def _recorded(self, pid: int, name: str, alive: bool) -> None:
        change = partial(self._file.add, pid, name) if alive else partial(self._file.remove, pid)
        try:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(change)
        except OSError as error:
            # The record is the second line of defence; the models themselves must go on.
            log.warning("workers_file.unwritable", path=str(self._file.path), error=str(error))
