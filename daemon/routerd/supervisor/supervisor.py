"""All model processes of the daemon, and everybody who waits for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path

import anyio
import anyio.abc
import structlog
from anyio import to_thread

from routerd_client.chat import Priority
from routerd_client.records import FailureKind, ModelStatus, Residency

from ..config.plan import needs_restart
from ..config.schema import MemorySpec, MlxSpec
from .child import Command, Worker, worker_command
from .errors import ProcessFailedError
from .learned import LearnedFile
from .leftovers import WorkerFile
from .machine import Machine, this_machine
from .process import Effects, ModelProcess, Prepare
from .schedule import Actions, Policy, Waiter, order, schedule
from .sizing import Size, size_of
from .ticket import OnProgress, Ticket
from .waiting import wait_any

log = structlog.get_logger()

DRAIN_S = 30.0
"""How long the open requests of a removed or changed model may go on."""
MEASURE_S = 5.0
"""How often the memory of loaded processes is looked at."""
MAX_PATIENCE = 30.0

Sizing = Callable[[MlxSpec, Path], Awaitable[Size]]


class Supervisor:
    """The one owner of model processes, of the memory they claim, and of the admission queue.

    Use it as an async context: leaving it ends every process. Whatever happens, `_look` decides anew
    what to do about it (see `schedule`), so there is one place where requests are taken in, models are
    loaded, and models give way.
    """

    def __init__(
        self,
        state_dir: Path,
        prepare: Prepare,
        *,
        on_change: Callable[[ModelStatus], None] = lambda _status: None,
        command: Command = worker_command,
        sizing: Sizing | None = None,
        machine: Machine | None = None,
    ) -> None:
        self._file = WorkerFile(state_dir / "workers.json")
        self._learned_file = LearnedFile(state_dir / "learned.json")
        self._prepare = prepare
        self._on_change = on_change
        self._command = command
        self._sizing = sizing
        self._machine = machine or this_machine()
        self._policy = Policy(budget=None)
        self._processes: dict[str, ModelProcess] = {}
        self._retiring: dict[str, ModelProcess] = {}
        self._tickets: dict[int, Ticket] = {}
        self._numbers = count(1)
        self._closing = False
        self._one_writer = anyio.CapacityLimiter(1)
        self._look_wanted = anyio.Event()
        self._tasks: anyio.abc.TaskGroup
        self._effects: Effects

    def __repr__(self) -> str:
        waiting = sum(1 for ticket in self._tickets.values() if ticket.open)
        return f"<Supervisor {list(self._processes.values())} {len(self._retiring)} retiring {waiting} waiting>"

    async def __aenter__(self) -> Supervisor:
        for leftover in await to_thread.run_sync(self._file.reap):
            log.warning("worker.reaped", backend=leftover.backend, pid=leftover.pid)
        self._learned = await to_thread.run_sync(self._learned_file.read)
        self._tasks = await anyio.create_task_group().__aenter__()
        self._effects = Effects(
            tasks=self._tasks,
            prepare=self._prepare,
            size=self._sizing or self._size,
            spawn=partial(Worker.spawn, command=self._command),
            recorded=self._recorded,
            wanted=lambda process: any(t.open and t.waiter.model == process.name for t in self._tickets.values()),
            changed=self._want_look,
            moved=lambda process: self._on_change(process.status(anyio.current_time())),
            ended=self._learn,
        )
        self._tasks.start_soon(self._watch)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    # What there is

    def reconcile(self, wanted: dict[str, MlxSpec], memory: MemorySpec | None = None) -> None:
        """Make the processes those of a new generation: unchanged ones are not touched, removed and
        changed ones drain, those that are to be preloaded and were not before start. Returns at once; the
        work goes on."""
        memory = memory or MemorySpec()
        budget = self._machine.budget() if memory.budget is None else memory.budget
        self._policy = Policy(budget=budget, max_wait=memory.max_wait)
        preloaded = {name for name, process in self._processes.items() if process.spec.preload}
        for name in list(self._processes):
            if name not in wanted or needs_restart(self._processes[name].spec, wanted[name]):
                self._retire(self._processes.pop(name))
            else:
                self._processes[name].configure(wanted[name])
        for name, spec in wanted.items():
            if name not in self._processes:
                before = [p for p in self._retiring.values() if p.name == name]
                self._processes[name] = ModelProcess(name, spec, self._effects, predecessors=before)
                preloaded.discard(name)
            if spec.preload and name not in preloaded:
                self._processes[name].start(kept=True)
        self._want_look()

    def statuses(self, now: float) -> list[ModelStatus]:
        """All processes, those that are still draining last."""
        return [p.status(now) for p in (*self._processes.values(), *self._retiring.values())]

    def status(self, name: str) -> ModelStatus | None:
        process = self._processes.get(name)
        return process.status(anyio.current_time()) if process else None

    def refusal(self, name: str) -> ProcessFailedError | None:
        """Why a request for the model would fail at once; None where it would not."""
        process = self._processes.get(name)
        return process.unavailable if process else self._missing(name)

    @property
    def budget(self) -> int | None:
        """Bytes that all models may claim together."""
        return self._policy.budget

    # What is asked

    @asynccontextmanager
    async def lease(
        self, name: str, on_progress: OnProgress, *, priority: Priority = Priority.NORMAL, patient: bool = True
    ) -> AsyncIterator[Worker]:
        """A ready worker of model ``name``, kept loaded for as long as the ``with`` lasts.

        Waits in the admission queue, where ``on_progress`` is awaited with each change: for a load, for
        memory, for its turn. Not ``patient``, it waits for no other request. A reload that changes the
        model hurts no waiter. Raises `ProcessFailedError`.
        """
        ticket = self._enqueue(name, priority, patient=patient)
        try:
            process = await ticket.wait(on_progress)
            assert process.worker
            yield process.worker
        finally:
            del self._tickets[ticket.waiter.number]
            if ticket.process:
                ticket.process.release()
            elif name in self._processes:
                self._processes[name].nudge()
            self._want_look()

    def _enqueue(self, name: str, priority: Priority, *, patient: bool) -> Ticket:
        process = self._processes.get(name)
        if process is None:
            raise self._missing(name)
        waiting = sum(1 for t in self._tickets.values() if t.open and t.waiter.model == name)
        if waiting >= process.spec.max_queue:
            raise ProcessFailedError(
                FailureKind.OVERLOADED,
                f"{waiting} requests wait for {name} already (max_queue)",
                retry_after_s=min(MAX_PATIENCE, 1.0 + waiting / process.spec.concurrency),
            )
        waiter = Waiter(number=next(self._numbers), model=name, priority=priority, arrived=anyio.current_time())
        if refusal := process.unavailable:
            # Its failure was told to those who waited for it; this one has not tried it.
            raise ProcessFailedError(FailureKind.OVERLOADED, str(refusal), retry_after_s=refusal.retry_after_s)
        ticket = self._tickets[waiter.number] = Ticket(waiter, patient=patient)
        self._look()
        return ticket

    async def load(self, name: str, on_progress: OnProgress) -> None:
        """Return when the model is ready. Raises `ProcessFailedError`."""
        async with self.lease(name, on_progress):
            pass

    async def unload(self, name: str, *, force: bool) -> bool:
        """Stop the process and wait for its end; false, and nothing done, where it is busy and not ``force``.

        Forced, those it answers and those who wait for it fail. An unknown name is ``KeyError``.
        """
        process = self._processes[name]
        waiting = [t for t in self._tickets.values() if t.open and t.waiter.model == name]
        if (process.busy or waiting) and not force:
            return False
        for ticket in waiting:
            ticket.fail(_UNLOADED)
        process.stop(_UNLOADED)
        await process.gone()
        return True

    def pin(self, name: str, *, pinned: bool) -> None:
        """Keep the model loaded, against idleness and other loads, or no longer. An unknown name is ``KeyError``."""
        self._processes[name].pinned = pinned
        if pinned:
            self._processes[name].start(kept=True)
        self._want_look()

    async def measure(self) -> None:
        """Refresh the memory figures of all ready workers, waiting at most a second for them."""
        with anyio.move_on_after(1.0):
            async with anyio.create_task_group() as tasks:
                for process in self._processes.values():
                    tasks.start_soon(process.measure)

    async def drain(self, seconds: float) -> int:
        """Take nobody new, let open requests end for ``seconds``; returns how many were cut then."""
        self._closing = True
        for process in self._processes.values():
            self._retire(process, seconds)
        self._processes.clear()
        for ticket in self._tickets.values():
            if ticket.open:
                ticket.fail(_CLOSING)
        cut = 0
        with anyio.move_on_after(seconds):
            for process in list(self._retiring.values()):
                await process.idle()
        for process in list(self._retiring.values()):
            cut += process.in_flight
            await process.gone()
        return cut

    # Deciding and doing

    def _want_look(self) -> None:
        self._look_wanted.set()

    async def _watch(self) -> None:
        """Look again whenever something has happened, or time may have changed the answer."""
        measured = anyio.current_time()
        while True:
            self._look_wanted = anyio.Event()
            soonest = self._look()
            due = measured + MEASURE_S if any(p.worker for p in self._processes.values()) else None
            times = [t for t in (soonest, due) if t is not None]
            await wait_any(self._look_wanted, until=min(times, default=None))
            if due and anyio.current_time() >= due:
                measured = anyio.current_time()
                await self._measure_peaks()

    def _look(self) -> float | None:
        """Decide what to do about all processes and waiters, and do it; returns when to look again."""
        self._start_wanted()
        tickets = {t.waiter.number: t for t in self._tickets.values() if t.open}
        slots = [p.slot(name) for name, p in (*self._processes.items(), *self._retiring.items())]
        now = anyio.current_time()
        waiters = [t.waiter for t in tickets.values()]
        actions = schedule(slots, waiters, self._policy, now)
        self._carry_out(actions, tickets)
        self._tell(order((t.waiter for t in tickets.values() if t.open), now, self._policy), actions)
        return actions.look_again

    def _start_wanted(self) -> None:
        for ticket in self._tickets.values():
            if not ticket.open:
                continue
            process = self._processes.get(ticket.waiter.model)
            if process is None:
                ticket.fail(self._missing(ticket.waiter.model))
            elif failure := process.unavailable:
                ticket.fail(failure)
            else:
                process.start()

    def _carry_out(self, actions: Actions, tickets: dict[int, Ticket]) -> None:
        for name, message in actions.refuse.items():
            log.warning("model.refused", backend=name, reason=message)
            refusal = ProcessFailedError(FailureKind.OVERLOADED, message, hint="unpin a model, or raise memory.budget")
            for ticket in tickets.values():
                if ticket.waiter.model == name:
                    ticket.fail(refusal)
            self._named(name).stop()
        for name in (*actions.abandon, *actions.evict):
            log.info("model.gives_way", backend=name)
            self._named(name).stop()
        for name in actions.grant:
            self._named(name).grant()
        for number in actions.admit:
            ticket = tickets[number]
            process = self._processes[ticket.waiter.model]
            process.admit()
            ticket.admit(process)

    def _named(self, name: str) -> ModelProcess:
        return self._processes.get(name) or self._retiring[name]

    def _tell(self, waiters: list[Waiter], actions: Actions) -> None:
        """Tell those who still wait what for; refuse those who do not want to."""
        places: dict[str, int] = {}
        for waiter in waiters:
            process, ticket = self._processes.get(waiter.model), self._tickets[waiter.number]
            if process is None:
                continue
            places[waiter.model] = places.get(waiter.model, 0) + 1
            loading = process.residency is Residency.LOADING
            queued = not loading or (process.asking and waiter.model not in actions.grant and not actions.evict)
            if queued and not ticket.patient:
                ticket.fail(ProcessFailedError(FailureKind.OVERLOADED, f"{waiter.model} would have to wait for others"))
            elif loading and not queued:
                ticket.tell((*process.progress, None))
            else:
                ticket.tell(("queued", None, places[waiter.model]))

    def _retire(self, process: ModelProcess, drain_s: float = DRAIN_S) -> None:
        self._retiring[f"{process.name} (old {next(self._numbers)})"] = process
        process.drain()
        self._tasks.start_soon(self._end, process, drain_s)

    async def _end(self, process: ModelProcess, drain_s: float) -> None:
        with anyio.move_on_after(drain_s):
            await process.idle()
        cut = process.in_flight
        process.stop(ProcessFailedError(FailureKind.OVERLOADED, f"{process.name} was removed or changed by a reload"))
        await process.gone()
        self._retiring = {name: p for name, p in self._retiring.items() if p is not process}
        log.info("model.retired", backend=process.name, cut=cut)
        self._want_look()

    def _missing(self, name: str) -> ProcessFailedError:
        if self._closing:
            return _CLOSING
        return ProcessFailedError(FailureKind.NOT_FOUND, f"{name} was removed by a reload")

    # Files and figures

    async def _size(self, spec: MlxSpec, folder: Path) -> Size:
        return await to_thread.run_sync(size_of, spec, folder, self._learned)

    async def _measure_peaks(self) -> None:
        for process in (*self._processes.values(), *self._retiring.values()):
            if process.worker and not process.worker.gone.is_set():
                found = await to_thread.run_sync(self._machine.process_memory, process.worker.pid)
                process.peak = max(process.peak, found or 0)

    def _learn(self, process: ModelProcess) -> None:
        size = process.size
        if size and size.footprint and process.peak:
            self._learned.record(size.key, size.footprint, peak=process.peak, load_s=process.load_s)
            self._tasks.start_soon(self._write, partial(self._learned_file.write, self._learned.encode()))

    async def _recorded(self, pid: int, name: str, alive: bool) -> None:
        await self._write(partial(self._file.add, pid, name) if alive else partial(self._file.remove, pid))

    async def _write(self, change: Callable[[], None]) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(change, limiter=self._one_writer)
        except OSError as error:
            # Both files are a second line of defence; the models themselves must go on.
            log.warning("state.unwritable", path=str(self._file.path.parent), error=str(error))


_UNLOADED = ProcessFailedError(FailureKind.OVERLOADED, "the model was unloaded while it was wanted")
_CLOSING = ProcessFailedError(FailureKind.OVERLOADED, "the daemon is shutting down", hint="ask again when it is back")
