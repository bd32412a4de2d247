"""All model processes of the daemon, and everybody who waits for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import structlog
from msgspec.structs import replace

from routerd_client.chat import ChatRequest, Priority
from routerd_client.records import FailureKind, MemoryStatus, ModelStatus, Residency

from .. import disk
from ..config.schema import MemorySpec, MlxSpec
from ..config.units import format_size
from ..tasks import BackgroundTasks, FailureLog
from .child import Worker
from .command import Command, CounterCommand, counter_command, worker_command
from .counters import COUNT_S, Counters
from .effects import Effects, Find, Prepare
from .errors import Failure, ProcessFailedError
from .evict import too_large
from .files import StateFiles
from .fleet import Fleet
from .gauge import Gauge
from .learned import Records, after_oom
from .machine import Machine, this_machine
from .outlook import Outlooks
from .process import ModelProcess
from .queue import OnProgress, Queue, Ticket
from .schedule import Actions, Policy, Waiter, order, relieve, schedule
from .sizing import SIZE_S, Size, size_of
from .waiting import News

log = structlog.get_logger()

MEASURE_S = 5.0
"""How often the memory of the machine and of loaded processes is looked at."""
MAX_PATIENCE = 30.0
UNMEASURED_LOAD_S = 10.0
"""What a load is expected to take that nobody has measured."""
BRIEF_S = 2.0
"""How long requests wait for a model to be started again that died of another request."""
TURN_S = 5.0
"""What an answer is expected to take."""

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
        find: Find | None = None,
        on_change: Callable[[ModelStatus], None] = lambda _status: None,
        command: Command = worker_command,
        counter: CounterCommand = counter_command,
        sizing: Sizing | None = None,
        machine: Machine | None = None,
        measure_s: float = MEASURE_S,
        records: Records | None = None,
        failures: FailureLog | None = None,
    ) -> None:
        self._files = StateFiles(state_dir, records)
        self._prepare = prepare
        self._find = find or _nowhere
        self._on_change = on_change
        self._command = command
        self._counter = counter
        self._sizing = sizing
        self._gauge = Gauge(machine or this_machine())
        self._measure_s = measure_s
        self._policy = Policy(budget=None)
        self._queue = Queue()
        self._closing = False
        self._news = News()  # for `_watch` alone
        self._tasks = BackgroundTasks(failures or FailureLog())
        self._fleet: Fleet
        self._counters: Counters
        self._outlooks: Outlooks

    def __repr__(self) -> str:
        return f"<Supervisor {self._fleet} {len(self._queue)} waiting>"

    async def __aenter__(self) -> Supervisor:
        await self._files.open()
        await self._tasks.__aenter__()
        self._counters = Counters(self._tasks, self._find, self._spawn_counter, self._files.record)
        self._outlooks = Outlooks(self._tasks, self._find, self._files)
        self._fleet = Fleet(
            Effects(
                tasks=self._tasks,
                prepare=self._prepare,
                size=self._sizing or self._size,
                spawn=self._spawn,
                recorded=self._files.record,
                wanted=lambda process: bool(self._queue.waiting(process.name)),
                changed=self._want_look,
                moved=lambda process: self._on_change(process.status(anyio.current_time())),
                ended=self._ended,
            )
        )
        self._tasks.keep("supervisor", self._watch)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._tasks.__aexit__(None, None, None)

    # What there is

    def reconcile(self, wanted: dict[str, MlxSpec], memory: MemorySpec | None = None) -> None:
        """Make the processes those of a new generation: unchanged ones are not touched, removed and
        changed ones drain, those that are to be preloaded and were not before start. Returns at once; the
        work goes on."""
        memory = memory or MemorySpec()
        budget = self._gauge.budget() if memory.budget is None else memory.budget
        self._policy = replace(self._policy, budget=budget, max_wait=memory.max_wait)
        self._fleet.reconcile(wanted)
        for name in wanted:
            self._outlooks.want(self._fleet[name])
        self._want_look()

    def statuses(self, now: float) -> list[ModelStatus]:
        """All processes, those that are still draining last."""
        return [process.status(now) for process in self._fleet]

    def status(self, name: str) -> ModelStatus | None:
        process = self._fleet.get(name)
        return process.status(anyio.current_time()) if process else None

    def memory(self) -> MemoryStatus:
        """What models may take, what they claim, and how short of memory the machine is."""
        pressure = self._gauge.pressure
        return MemoryStatus(
            budget=self._policy.budget,
            reserved=sum(slot.claim for slot in self._fleet.slots()),
            pressure=pressure.level,
            pressed=pressure.high,
        )

    def refusal(self, name: str) -> Failure | None:
        """Why a request for the model would fail at once; None where it would not."""
        process = self._fleet.get(name)
        if process is None:
            return self._missing(name)
        return process.unavailable or self._never_fits(process)

    def busy(self, name: str) -> float:
        """The model's requests, those that wait among them, per request it answers at a time; 0 for no such model."""
        process = self._fleet.get(name)
        return (process.in_flight + len(self._queue.waiting(name))) / process.concurrency if process else 0.0

    def wait(self, name: str) -> float:
        """Seconds until the model could begin another answer: its load, where it is not loaded, as long as the last
        one took, by an earlier daemon perhaps; and a turn for each full round of requests before it."""
        process = self._fleet.get(name)
        if process is None:
            return 0.0
        load = 0.0 if process.residency is Residency.READY else process.load_s or UNMEASURED_LOAD_S
        return load + int(self.busy(name)) * TURN_S

    def context(self, name: str) -> int | None:
        """Tokens that a prompt and its answer may have together, also of a model that is not loaded; None where
        nobody knows yet. Does not block."""
        process = self._fleet.get(name)
        if process is None:
            return None
        self._outlooks.want(process)
        return process.context

    def tools(self, name: str) -> bool:
        """Whether the model can call tools, as far as is known of it; True where nobody knows yet. Does not block."""
        process = self._fleet.get(name)
        if process is None:
            return True
        self._outlooks.want(process)
        return process.tools

    def template_words(self, name: str) -> frozenset[str] | None:
        """Names in the code of the model's chat template; None where they are not known, as before its first load."""
        process = self._fleet.get(name)
        return process.template_words if process else None

    async def count(self, name: str, chat: ChatRequest) -> int | None:
        """The tokens of the chat's prompt by the model's tokenizer, loaded or not; None where nobody can say.

        Waits `COUNT_S` at most, and no longer than the chat's deadline. Never loads or downloads a model.
        """
        process = self._fleet.get(name)
        if process is None:
            return None
        worker, spec = process.worker, process.spec
        with anyio.move_on_after(min(COUNT_S, chat.deadline_s or COUNT_S)):
            if worker and worker.ready and not spec.hosts:  # a group of machines does not count
                return await worker.count(chat)
            return await self._counters.count(name, spec, chat)
        return None

    @property
    def budget(self) -> int | None:
        """Bytes that all models may claim together."""
        return self._policy.budget

    # What is asked

    @asynccontextmanager
    async def lease(
        self,
        name: str,
        on_progress: OnProgress,
        *,
        priority: Priority = Priority.NORMAL,
        patient: bool = True,
        alone: bool = False,
    ) -> AsyncIterator[Worker]:
        """A ready worker of model ``name``, kept loaded for as long as the ``with`` lasts.

        Waits in the admission queue, where ``on_progress`` is awaited with each change: for a load, for
        memory, for its turn. Not ``patient``, it waits for no other request; ``alone``, the worker answers
        nobody else meanwhile. A reload that changes the model hurts no waiter. Raises `ProcessFailedError`.
        """
        ticket = self._enqueue(name, priority, patient=patient, alone=alone)
        try:
            process = await ticket.wait(on_progress)
            assert process.worker
            yield process.worker
        finally:
            self._queue.remove(ticket)
            if ticket.process:
                ticket.process.release()
            elif waited := self._fleet.get(name):
                waited.nudge()
            self._want_look()

    def _enqueue(self, name: str, priority: Priority, *, patient: bool, alone: bool) -> Ticket:
        process = self._fleet.get(name)
        if process is None:
            raise ProcessFailedError.of(self._missing(name))
        waiting = len(self._queue.waiting(name))
        if waiting >= process.spec.max_queue:
            raise ProcessFailedError(
                FailureKind.OVERLOADED,
                f"{waiting} requests wait for {name} already (max_queue)",
                retry_after_s=min(MAX_PATIENCE, 1.0 + waiting / process.concurrency),
            )
        refusal = self.refusal(name)
        if refusal and refusal.permanent:
            raise ProcessFailedError.of(refusal)
        if refusal:
            # Its failure was told to those who waited for it; this one has not tried it.
            raise ProcessFailedError(FailureKind.OVERLOADED, str(refusal), retry_after_s=refusal.retry_after_s)
        ticket = self._queue.add(name, priority, patient=patient, alone=alone)
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
        process = self._fleet[name]
        waiting = self._queue.waiting(name)
        if (process.busy or waiting) and not force:
            return False
        for ticket in waiting:
            ticket.fail(_UNLOADED)
        process.stop(_UNLOADED)
        await process.gone()
        return True

    def pin(self, name: str, *, pinned: bool) -> None:
        """Keep the model loaded, against idleness and other loads, or no longer. An unknown name is ``KeyError``."""
        process = self._fleet[name]
        process.pinned = pinned
        if pinned:
            process.start(kept=True)
        self._want_look()

    async def measure(self) -> None:
        """Refresh the memory figures of all ready workers, waiting at most a second for them."""
        with anyio.move_on_after(1.0):
            async with anyio.create_task_group() as tasks:
                for process in self._fleet:
                    tasks.start_soon(process.measure)

    async def drain(self, seconds: float) -> int:
        """Take nobody new, let open requests end for ``seconds``; returns how many were cut then."""
        self._closing = True
        self._fleet.retire(seconds)
        for ticket in self._queue.waiting():
            ticket.fail(_CLOSING)
        return await self._fleet.gone(seconds)

    # Deciding and doing

    def _want_look(self) -> None:
        self._news.tell()

    async def _watch(self) -> None:
        """Look again whenever something has happened, or time may have changed the answer."""
        measured = anyio.current_time()
        while True:
            soonest = self._look()
            # Without models there is nothing to measure; but pressure must be seen to end.
            measures = self._policy.pressed or any(process.worker for process in self._fleet)
            due = measured + self._measure_s if measures else None
            times = [t for t in (soonest, due) if t is not None]
            await self._news.wait(min(times, default=None))
            if due and anyio.current_time() >= due:
                measured = anyio.current_time()
                await self._round()

    def _look(self) -> float | None:
        """Decide what to do about all processes and waiters, and do it; returns when to look again."""
        restart = self._start_wanted()
        now, waiters = anyio.current_time(), self._queue.waiters()
        actions = schedule(self._fleet.slots(), waiters, self._policy, now)
        self._carry_out(actions)
        self._tell(order(self._queue.waiters(), now, self._policy), actions)
        return min((at for at in (restart, actions.look_again) if at is not None), default=None)

    def _start_wanted(self) -> float | None:
        """Start what is waited for, and fail those whose model may not be started now; returns when one of those that
        wait all the same may be."""
        restart: float | None = None
        for ticket in self._queue.waiting():
            process = self._fleet.get(ticket.waiter.model)
            if process is None:
                ticket.fail(self._missing(ticket.waiter.model))
            elif failure := process.unavailable:
                # Whoever waits was not answered by the process that died: it is no reason to send them away.
                pause = failure.retry_after_s if ticket.waiter.alone else process.pauses_s
                if pause is not None and pause < BRIEF_S:
                    restart = anyio.current_time() + pause
                else:
                    ticket.fail(failure)
            else:
                process.start()
        return restart

    def _carry_out(self, actions: Actions) -> None:
        for name, message in actions.refuse.items():
            log.warning("model.refused", backend=name, reason=message)
            process = self._fleet[name]
            process.needs = process.slot(name).need or 0
            refusal = self._never_fits(process) or Failure(
                FailureKind.OVERLOADED, message, hint="unpin a model, or raise memory.budget"
            )
            for ticket in self._queue.waiting(name):
                ticket.fail(refusal)
            process.stop()
        for name in (*actions.abandon, *actions.evict):
            log.info("model.gives_way", backend=name)
            self._fleet[name].stop()
        for name in actions.grant:
            self._fleet[name].grant()
        for number in actions.admit:
            ticket = self._queue[number]
            process = self._fleet[ticket.waiter.model]
            process.admit(alone=ticket.waiter.alone)
            ticket.admit(process)

    def _tell(self, waiters: list[Waiter], actions: Actions) -> None:
        """Tell those who still wait what for; refuse those who do not want to."""
        places: dict[str, int] = {}
        for waiter in waiters:
            process, ticket = self._fleet.get(waiter.model), self._queue[waiter.number]
            if process is None:
                continue
            places[waiter.model] = places.get(waiter.model, 0) + 1
            loading = process.residency is Residency.LOADING
            if loading and not (process.asking and waiter.model not in actions.grant and not actions.evict):
                ticket.tell((*process.progress, None))
            else:
                ticket.queued(places[waiter.model])

    def _never_fits(self, process: ModelProcess) -> Failure | None:
        """Why no room can ever be made for the model; None where it may fit, or nobody has measured it."""
        if not self._policy.budget or process.needs <= self._policy.budget or process.worker:
            return None
        return Failure(
            FailureKind.LOAD_FAILED,
            too_large(process.name, process.needs, self._policy.budget),
            hint="raise memory.budget, lower the model's kv_tokens or concurrency, or use a smaller one",
            permanent=True,
        )

    def _missing(self, name: str) -> Failure:
        if self._closing:
            return _CLOSING
        return Failure(FailureKind.NOT_FOUND, f"{name} was removed by a reload")

    # Processes, sizes and figures

    async def _spawn(self, spec: MlxSpec, folder: Path, size: Size, name: str) -> Worker:
        return await self._start(lambda fd: self._command(spec, folder, fd, size), name, size)

    async def _spawn_counter(self, spec: MlxSpec, folder: Path, name: str) -> Worker:
        return await self._start(lambda fd: self._counter(spec, folder, fd), name, Size(claim=0))

    async def _start(self, command: Callable[[int], list[str]], name: str, size: Size) -> Worker:
        return await Worker.spawn(command, name, size, oom_killed=self._gauge.oom_killed)

    async def _size(self, spec: MlxSpec, folder: Path) -> Size:
        return await disk.run(size_of, spec, folder, self._files.learned, what=folder, within=SIZE_S)

    async def _round(self) -> None:
        """Measure the machine and all workers; short of memory, one idle model gives way."""
        workers = [process.worker for process in self._fleet if process.worker and not process.worker.gone.is_set()]
        found = await self._gauge.read([worker.pid for worker in workers])
        for worker in workers:
            worker.peak = max(worker.peak, found.get(worker.pid, 0))
        pressure = self._gauge.pressure
        if pressure.high != self._policy.pressed:
            log.warning("memory.pressure" if pressure.high else "memory.relieved", percent=pressure.level)
            self._policy = replace(self._policy, pressed=pressure.high)
        if pressure.high and (name := relieve(self._fleet.slots(), self._queue.waiters())):
            process = self._fleet[name]
            claim = format_size(process.slot(name).claim)
            log.warning("model.gives_way", backend=name, reason="memory pressure", percent=pressure.level, frees=claim)
            process.stop()

    def _ended(self, process: ModelProcess) -> None:
        self._learn(process)
        if process.worker and (crash := process.worker.crash()):
            self._tasks.start("keep crash report", self._files.keep_crash, crash)

    def _learn(self, process: ModelProcess) -> None:
        worker, size = process.worker, process.size
        if not (worker and size and size.footprint):
            return
        peak = worker.peak
        if worker.oom_killed:
            peak = after_oom(size.claim, peak, self._policy.budget)
            log.warning("model.needs_more", backend=process.name, planned=size.claim, measured=worker.peak, next=peak)
        if peak:
            self._files.learned.record(size.key, size.footprint, peak=peak, load_s=process.load_s)
            self._tasks.start("keep measurements", self._files.write_learned, size.key)


async def _nowhere(_reference: str) -> None:
    await anyio.lowlevel.checkpoint()


_UNLOADED = Failure(FailureKind.OVERLOADED, "the model was unloaded while it was wanted")
_CLOSING = Failure(FailureKind.OVERLOADED, "the daemon is shutting down", hint="ask again when it is back")
