"""One model and its process: the way from a folder to a ready worker, and to its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import structlog

from routerd_client.records import FailureKind, ModelStatus, Residency

from .. import wire
from ..config.schema import MlxSpec
from .child import Worker
from .effects import Effects
from .errors import Failure, ProcessFailedError, own_mistake
from .evict import Uses
from .loading import Loading
from .schedule import Slot
from .sizing import Size
from .state import Event, State, may_start, settled, step
from .waiting import News

log = structlog.get_logger()

STOP_GRACE_S = 2.0
"""How long a worker that was asked to stop may take before it is killed."""


class ModelProcess:
    """One model's process, or the lack of one; all of it runs on one event loop.

    The supervisor decides who is served and what is loaded; this carries it out. Only the task `_run`
    moves a living process; everybody else sets a wish and wakes it. ``predecessors`` are older
    processes of the same model, which must be gone first.
    """

    def __init__(
        self, name: str, spec: MlxSpec, effects: Effects, *, predecessors: Sequence[ModelProcess] = ()
    ) -> None:
        self.name = name
        self.spec = spec
        self.pinned = spec.pin
        self.kept = False
        """Whether its load goes on although nobody waits for it."""
        self.worker: Worker | None = None
        self.uses = Uses()
        self.load_s = 0.0
        """Seconds that its last load took, in an earlier daemon perhaps; 0 where none is known."""
        self.context: int | None = None
        """Tokens that a prompt and its answer may have together; None where nobody knows yet."""
        self.tools = True
        """Whether it can call tools, as far as is known."""
        self.template_words: frozenset[str] | None = None
        """Names in the code of its chat template; None where they are not known."""
        self.needs = 0
        """Bytes that it will claim, by its files; 0 where nobody has looked."""
        self.alone = ""
        """Why the model answers one request at a time, as its last worker found; ``""`` where it answers several."""
        self._effects = effects
        self._predecessors = predecessors
        self._state = State()
        self._failure = _STOPPED
        self._leases = 0
        self._lone = False  # the one request it answers is to have no other beside it
        self._idle_since = 0.0
        self._restarts = 0
        self._served = False  # whether its last life came to be ready
        self._stop_wanted = False
        self._loading: Loading | None = None
        self._changed = anyio.Event()  # for those who wait for a state, or for an idle moment
        self._news = News()  # for `_run` alone

    def __repr__(self) -> str:
        return f"<ModelProcess {self.name} {self.residency.value} {self._leases} leases>"

    @property
    def residency(self) -> Residency:
        return self._state.residency

    @property
    def in_flight(self) -> int:
        """Requests that were taken in and have not ended."""
        return self._leases

    @property
    def concurrency(self) -> int:
        """How many requests it answers at a time, as far as is known."""
        return 1 if self.alone else self.spec.concurrency

    @property
    def busy(self) -> bool:
        return self._leases > 0

    @property
    def size(self) -> Size | None:
        """What it claims, or asks for; None where that is not known yet, or nothing is loaded."""
        return self._loading.size if self._loading else None

    @property
    def peak(self) -> int:
        """The most memory, in bytes, that its process was seen to have."""
        return self.worker.peak if self.worker else 0

    @property
    def asking(self) -> bool:
        """Whether its load waits for memory."""
        return self._loading is not None and self._loading.asking

    @property
    def progress(self) -> tuple[str, float | None]:
        """The phase of its load and how much of it is done (0..1, None where unknown)."""
        if self.worker:
            return ("loading", self.worker.loading.fraction)
        return self._loading.progress if self._loading else ("", None)

    @property
    def unavailable(self) -> Failure | None:
        """Why it may not be started now; None where it may, or runs."""
        now, failure = anyio.current_time(), self._failure
        if not settled(self._state) or may_start(self._state, now):
            return None
        wait = self._state.retry_at - now
        return Failure(failure.kind, failure.message, failure.hint, wait, permanent=failure.permanent)

    @property
    def pauses_s(self) -> float | None:
        """Seconds until it may be started again after it died as it served; None where it runs, or failed to load."""
        failure = self.unavailable
        return failure.retry_after_s if failure and self._served else None

    def configure(self, spec: MlxSpec) -> None:
        """Take over settings that need no new process (keep_alive, timeouts, pin)."""
        self.pinned = self.pinned if spec.pin == self.spec.pin else spec.pin
        self.spec = spec
        self._news.tell()

    def expect(self, context: int, load_s: float, *, needs: int = 0, tools: bool = True) -> None:
        """Take over what its files say, where it has not said better itself."""
        self.needs = needs
        if self.context is None:
            self.context, self.load_s, self.tools = context, load_s, tools

    def slot(self, name: str) -> Slot:
        """What the scheduler needs to know of it, under ``name``."""
        held = self.size.claim if self.size and not self.asking and not settled(self._state) else 0
        return Slot(
            name=name,
            residency=self.residency,
            in_flight=self._leases,
            limit=0 if self.worker and self.worker.gone.is_set() else self.concurrency,
            claim=max(held, self.peak) if held else 0,
            need=self.size.claim if self.size and self.asking else None,
            pinned=self.pinned and self.residency is Residency.READY,
            kept=self.kept,
            since=self._state.since,
            idle_since=self._idle_since,
            load_s=self.load_s,
            uses=self.uses.at(anyio.current_time()),
            lone=self._lone,
        )

    def status(self, now: float) -> ModelStatus:
        """What it is at ``now``, seconds of the event loop's clock."""
        worker, ready = self.worker, self.worker.ready if self.worker else None
        due = self._unload_due() if self.residency is Residency.READY else None
        return ModelStatus(
            backend=self.name,
            model=self.spec.model,
            residency=self.residency,
            pid=worker.pid if worker and not worker.gone.is_set() else None,
            in_flight=self._leases,
            context=self.context,
            load_s=ready.load_s if ready else None,
            idle_unload_s=max(0.0, due - now) if due is not None else None,
            memory_bytes=worker.memory.active + worker.memory.cache if worker and worker.memory else None,
            reserved_bytes=self.slot(self.name).claim or None,
            pinned=self.pinned,
            restarts=self._restarts,
            error=self._state.error,
            notice=self._notice(),
        )

    def _notice(self) -> str:
        alone = f"answers one request at a time: {self.alone}" if self.alone else ""
        return "; ".join(filter(None, (alone, "" if self.tools else "does not support tools")))

    def nudge(self) -> None:
        """Somebody who waited for it waits no more."""
        self._news.tell()

    # Wishes: each takes effect on its own time, and announces it

    def start(self, *, kept: bool = False) -> None:
        """Begin to load, where nothing stands against it (see `unavailable`); ``kept`` without waiters, too."""
        self.kept = self.kept or kept
        if may_start(self._state, anyio.current_time()):
            self._restarts += self._state.crashes > 0
            self._loading = Loading(self.spec, self._effects, self._predecessors_gone, self._announce)
            self._served = False
            self._step(Event.START)
            self._effects.tasks.start(f"model {self.name}", self._run)

    def grant(self) -> None:
        """Its load has its memory."""
        if self._loading:
            self._loading.grant()

    def admit(self, *, alone: bool = False) -> Worker:
        """Take a request in; it ends with `release`. The process is ready, and idle where it is to be ``alone``."""
        assert self.worker
        self._leases += 1
        self._lone = alone
        self.uses.add(anyio.current_time())
        return self.worker

    def release(self) -> None:
        """The end of one `admit`."""
        self._leases -= 1
        self._lone = False
        self._idle_since = anyio.current_time()
        self._news.tell()
        self._announce()

    def drain(self) -> None:
        """Say that it takes nobody new."""
        if self.residency is Residency.READY:
            self._step(Event.DRAIN)

    def stop(self, reason: Failure | None = None) -> None:
        """End it: politely where it is idle; what it answers is cut, and fails with ``reason``, where it is busy."""
        if settled(self._state):
            self._step(Event.STOP)  # ends a back-off: the next request starts at once
            return
        self._stop_wanted = True
        self._step(Event.STOP)  # at once, so that nobody is taken in any more
        self._news.tell()
        if self._loading:
            self._loading.cancel()
        if self.busy and self.worker and reason:
            self.worker.condemn(reason)

    async def gone(self) -> None:
        """Wait until there is no process."""
        while not settled(self._state):
            await self._changed.wait()

    async def idle(self) -> None:
        """Wait until nobody is being answered."""
        while self.busy:
            await self._changed.wait()

    async def measure(self) -> None:
        """Ask the worker for its memory figures; nothing where none is ready."""
        if self.worker and self.worker.ready:
            await self.worker.ping()

    # The process's own life

    def _step(self, event: Event, error: str = "") -> None:
        before = self.residency
        self._state = step(self._state, event, anyio.current_time(), error)
        if before is not self.residency:
            why = {"error": self._state.error} if self._state.error else {}
            log.info(f"model.{self.residency.value}", backend=self.name, **why)
            self._effects.moved(self)
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
        self._effects.changed()

    async def _run(self) -> None:
        """From LOADING to a settled state, whatever happens on the way."""
        self._failure = _STOPPED
        try:
            self._failure = await self._live() or self._failure
        except ProcessFailedError as error:
            self._failure = error.failure
        except OSError as error:
            self._failure = Failure(FailureKind.LOAD_FAILED, str(error))
        except Exception as error:
            # One model's trouble, whatever it is, must not end the daemon and with it all the others.
            log.exception("model.internal_error", backend=self.name)
            self._failure = own_mistake(error)
        finally:
            try:
                self._effects.ended(self)
            except Exception:  # what is learned of an end is not worth another
                log.exception("model.internal_error", backend=self.name)
            self.worker = self._loading = None
            self.kept = self._stop_wanted = False
            refused = self._failure.kind is FailureKind.LOAD_FAILED
            self._step(Event.REFUSED if refused else Event.DIED, str(self._failure))

    async def _live(self) -> Failure | None:
        """One life; returns how its process died, None where there was none."""
        assert self._loading
        found = await self._loading.run()
        if found is None:
            return None
        self.worker = worker = await self._spawn(*found)
        worker.news = self._news
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            try:
                await self._effects.recorded(worker.pid, self.name, True)
                await self._load(worker)
                await self._serve(worker)
                await self._end(worker)
            except Exception as error:  # ours, and no death of the model
                log.exception("model.internal_error", backend=self.name)
                worker.condemn(own_mistake(error))
        await self._effects.recorded(worker.pid, self.name, False)
        return worker.death()

    async def _predecessors_gone(self) -> None:
        for process in self._predecessors:
            await process.gone()
        self._predecessors = ()

    async def _spawn(self, folder: Path, size: Size) -> Worker:
        try:
            return await self._effects.spawn(self.spec, folder, size, self.name)
        except OSError as error:
            message = f"the model process could not be started: {error}"
            raise ProcessFailedError(FailureKind.SPAWN_FAILED, message, hint=_SPAWN_HINT) from error

    async def _load(self, worker: Worker) -> None:
        deadline = anyio.current_time() + self.spec.load_timeout
        while not worker.settled.is_set() and not self._stop_wanted and anyio.current_time() < deadline:
            await self._news.wait(deadline)
            self._announce()
        if worker.ready and not worker.gone.is_set() and not self._stop_wanted:
            self._idle_since = anyio.current_time()
            self.load_s, self.context = worker.ready.load_s, _context(worker.ready, self.spec)
            self.alone, self.tools = worker.ready.alone, worker.ready.tools
            words = worker.ready.template_words
            self.template_words = None if words is None else frozenset(words)
            if self.alone:
                log.warning("model.one_by_one", backend=self.name, reason=self.alone)
            self._served = True
            self._step(Event.READY)

    async def _serve(self, worker: Worker) -> None:
        """Until it should stop, or is gone, or is stuck."""
        while worker.ready and not worker.gone.is_set() and not self._stop_wanted:
            due = self._next_due(worker)
            if due is not None and anyio.current_time() >= due:
                return
            await self._news.wait(due)

    def _next_due(self, worker: Worker) -> float | None:
        if worker.in_flight:
            return worker.last_sign + self.spec.stall_timeout
        return self._unload_due()

    def _unload_due(self) -> float | None:
        if self.busy or self.pinned or self.spec.keep_alive == "forever" or self._effects.wanted(self):
            return None
        return self._idle_since + float(self.spec.keep_alive)

    async def _end(self, worker: Worker) -> None:
        """Bring it to its end: by asking where it is idle or unwanted, by force where it is stuck."""
        if not (worker.gone.is_set() or worker.refused or self._stop_wanted):
            if not worker.ready:
                worker.condemn(_stuck(FailureKind.LOAD_FAILED, "load_timeout", self.spec.load_timeout))
            elif worker.in_flight:
                worker.condemn(_stuck(FailureKind.STALLED, "stall_timeout", self.spec.stall_timeout))
        if not (worker.gone.is_set() or worker.refused or worker.condemned) or self._stop_wanted:
            self._step(Event.STOP)
            worker.send(wire.Stop())
        with anyio.move_on_after(STOP_GRACE_S):
            await worker.gone.wait()
        worker.kill()
        await worker.gone.wait()


def _context(ready: wire.Ready, spec: MlxSpec) -> int:
    # A group does not count what its ranks' caches hold into its own.
    return min(ready.context, spec.kv_tokens) if spec.hosts else ready.context


def _stuck(kind: FailureKind, setting: str, seconds: float) -> Failure:
    what = "it was still loading" if kind is FailureKind.LOAD_FAILED else "it had work and showed no progress"
    return Failure(kind, f"the model process was killed: {what} after {seconds:g} s ({setting})")


_STOPPED = Failure(FailureKind.WORKER_DIED, "it was stopped")
_SPAWN_HINT = "is routerd's own Python still there, and are processes, memory and open files left?"
