"""Counting prompts for models that are not loaded: a small process each, with the tokenizer alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import structlog

from routerd_client.chat import ChatRequest
from routerd_client.records import FailureKind

from ..config.schema import MlxSpec
from ..tasks import BackgroundTasks
from .child import Worker
from .effects import Find
from .errors import Failure

log = structlog.get_logger()

IDLE_S = 60.0
"""A counter ends after this long without questions, and one that has failed is not started again for as long."""
COUNT_S = 10.0
"""How long a request waits for a count, the start of the counter included."""


class Counters:
    """The counters, at most one for each folder.

    They claim no memory: one takes 75 MB and 14 bytes for each byte of tokenizer.json (130 MB measured with one of
    3.5 MB), for a minute. ``find`` says where a model's files are, ``spawn`` starts a counter, and ``recorded`` keeps
    the file of living processes.
    """

    def __init__(
        self,
        tasks: BackgroundTasks,
        find: Find,
        spawn: Callable[[MlxSpec, Path, str], Awaitable[Worker]],
        recorded: Callable[[int, str, bool], Awaitable[None]],
        *,
        idle_s: float = IDLE_S,
        count_s: float = COUNT_S,
    ) -> None:
        self._tasks = tasks
        self._find = find
        self._spawn = spawn
        self._recorded = recorded
        self._idle_s = idle_s
        self._count_s = count_s
        self._counters: dict[Path, _Counter] = {}

    def __repr__(self) -> str:
        return f"<Counters {list(map(str, self._counters))}>"

    async def count(self, name: str, spec: MlxSpec, chat: ChatRequest) -> int | None:
        """The tokens of the chat's prompt for the model of backend ``name``; None where its files are not here, or
        nobody could count them in time. Never downloads."""
        folder = await self._find(spec.model)
        if folder is None:
            return None
        counter = self._counters.get(folder)
        if counter is None:
            counter = self._counters[folder] = _Counter()
            self._tasks.start(f"counter {name}", self._live, counter, name, spec, folder)
        with anyio.move_on_after(self._count_s):
            return await counter.count(chat)
        if counter.worker:
            why = f"it did not count a prompt within {self._count_s:g} s"
            counter.worker.condemn(Failure(FailureKind.STALLED, why))
        return None

    async def _live(self, counter: _Counter, name: str, spec: MlxSpec, folder: Path) -> None:
        """One counter from its start to its end. Its failure, whatever it is, ends nothing else: for a while prompts
        of this folder are not counted."""
        try:
            await self._run(counter, name, spec, folder)
        except OSError as error:
            log.warning("counter.failed", backend=name, error=str(error))
        except Exception:
            log.exception("counter.internal_error", backend=name)
        finally:
            counter.started.set()
        if self._counters.get(folder) is counter:
            await anyio.sleep(self._idle_s)
            del self._counters[folder]

    async def _run(self, counter: _Counter, name: str, spec: MlxSpec, folder: Path) -> None:
        counter.worker = worker = await self._spawn(spec, folder, name)
        counter.started.set()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await self._recorded(worker.pid, name, True)
            if await counter.idle(worker, self._idle_s):
                del self._counters[folder]  # the next question gets another
                worker.kill()
        await self._recorded(worker.pid, name, False)
        if self._counters.get(folder) is counter:
            log.warning("counter.failed", backend=name, error=str(worker.death()))


class _Counter:
    """One counter: starting, alive, or failed. ``worker`` is None before its start, and where there was none."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.started = anyio.Event()
        self._open = 0
        self._idle_since = anyio.current_time()

    async def count(self, chat: ChatRequest) -> int | None:
        self._open += 1
        try:
            await self.started.wait()
            return await self.worker.count(chat) if self.worker else None
        finally:
            self._open -= 1
            self._idle_since = anyio.current_time()

    async def idle(self, worker: Worker, seconds: float) -> bool:
        """Wait until nobody has asked it for so long; false where it has ended before."""
        while not worker.gone.is_set():
            now = anyio.current_time()
            due = (now if self._open else self._idle_since) + seconds
            if now >= due:
                return True
            with anyio.CancelScope(deadline=due):
                await worker.gone.wait()
        return False
