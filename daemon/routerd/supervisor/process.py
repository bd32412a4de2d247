"""One model and its process: started on first use, kept while used, put down when idle, stuck or unwanted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc
import structlog

from routerd_client.records import FailureKind, ModelStatus, Residency

from .. import wire
from ..config.schema import MlxSpec
from .errors import ProcessFailedError, RetiredError
from .memory import MemoryBook, MemoryFullError
from .state import Event, State, may_start, settled, step
from .waiting import wait_any
from .worker import Worker

log = structlog.get_logger()

OnPhase = Callable[[str, float | None], None]
Prepare = Callable[[str, OnPhase], Awaitable[Path]]
"""Turns a model reference into the folder a worker can load, reporting phases and fractions (0..1).

Raises `ProcessFailedError`, kind ``load_failed``; may take minutes."""

OnProgress = Callable[[str, float | None], Awaitable[None]]

STOP_GRACE_S = 2.0
"""How long a worker that was asked to stop may take before it is killed."""


@dataclass(frozen=True)
class Effects:
    """What model processes do to the world; given by the supervisor, so that a test can give its own.

    ``recorded(pid, name, alive)`` keeps the file of living workers. ``spawn`` starts a worker.
    """

    tasks: anyio.abc.TaskGroup
    prepare: Prepare
    on_change: Callable[[ModelProcess], None]
    recorded: Callable[[int, str, bool], Awaitable[None]]
    book: MemoryBook
    spawn: Callable[[MlxSpec, Path, str], Awaitable[Worker]]


class ModelProcess:
    """The single owner of one model's lifecycle; all of it runs on one event loop.

    Requests come through `acquire`. Only the task `_run` moves a living process; everybody else sets a
    wish and wakes it. ``predecessor`` is an older process of the same model that must be gone first.
    """

    def __init__(self, name: str, spec: MlxSpec, effects: Effects, *, predecessor: ModelProcess | None = None) -> None:
        self.name = name
        self.spec = spec
        self._effects = effects
        self._predecessor = predecessor
        self._state = State()
        self._worker: Worker | None = None
        self._preparing: tuple[str, float | None] = ("loading", None)
        self._leases = 0
        self._idle_since = 0.0
        self._restarts = 0
        self._retired = False
        self._stop_wanted = False
        self._changed = anyio.Event()  # for those who wait for a state, or for an idle moment
        self._wake = anyio.Event()  # for `_run` alone

    def __repr__(self) -> str:
        return f"<ModelProcess {self.name} {self.residency.value} {self._leases} leases>"

    @property
    def residency(self) -> Residency:
        return self._state.residency

    @property
    def busy(self) -> bool:
        return self._leases > 0

    def configure(self, spec: MlxSpec) -> None:
        """Take over settings that need no new process (keep_alive, timeouts)."""
        self.spec = spec
        self._wake.set()

    def status(self, now: float) -> ModelStatus:
        """What it is at ``now``, seconds of the event loop's clock."""
        worker, ready = self._worker, self._worker.ready if self._worker else None
        due = self._unload_due() if self.residency is Residency.READY else None
        return ModelStatus(
            backend=self.name,
            model=self.spec.model,
            residency=self.residency,
            pid=worker.pid if worker and not worker.gone.is_set() else None,
            in_flight=self._leases,
            context=ready.context if ready else None,
            load_s=ready.load_s if ready else None,
            idle_unload_s=max(0.0, due - now) if due is not None else None,
            memory_bytes=worker.memory.active + worker.memory.cache if worker and worker.memory else None,
            restarts=self._restarts,
            error=self._state.error,
        )

    async def acquire(self, on_progress: OnProgress) -> Worker:
        """A ready worker, kept loaded until `release`; starts it where it is not running.

        ``on_progress`` is awaited as the load goes on. Waits as long as the load takes; raises
        `ProcessFailedError` where the model cannot be had now, and `RetiredError` where this process
        takes no more requests.
        """
        self._leases += 1
        try:
            return await self._ready_worker(on_progress)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """The end of one `acquire`."""
        self._leases -= 1
        self._idle_since = anyio.current_time()
        self._wake.set()
        self._announce()

    async def measure(self) -> None:
        """Ask the worker for its memory figures; nothing where none is ready."""
        if self._worker and self._worker.ready:
            await self._worker.ping()

    async def unload(self, *, force: bool = False) -> bool:
        """Stop the process and wait for its end; false, and nothing done, where it is busy and not ``force``."""
        if self.busy and not force:
            return False
        self._stop_wanted = True
        self._wake.set()
        if self.busy and self._worker:
            self._worker.condemn(_UNLOADED)
        await self.gone()
        self._stop_wanted = False
        self._step(Event.STOP)  # also ends a back-off: the next request starts at once
        return True

    async def retire(self, drain_s: float) -> int:
        """Take no new requests, let open ones end for ``drain_s`` seconds, then stop.

        Returns when the process is gone, with the number of requests that were cut.
        """
        self._retired = True
        if self.residency is Residency.READY:
            self._step(Event.DRAIN)
        self._announce()
        with anyio.move_on_after(drain_s):
            while self.busy:
                await self._changed.wait()
        cut = self._leases
        await self.unload(force=True)
        return cut

    async def gone(self) -> None:
        """Wait until there is no process."""
        while not settled(self._state):
            await self._changed.wait()

    # What a request waits for

    async def _ready_worker(self, on_progress: OnProgress) -> Worker:
        told: tuple[str, float | None] | None = None
        while True:
            changed = self._changed
            if self._retired:
                raise RetiredError
            if self.residency is Residency.READY and self._worker:
                return self._worker
            now = anyio.current_time()
            if told and (self._stop_wanted or self.residency is Residency.STOPPED):
                raise _UNLOADED
            if self.residency in (Residency.BACKOFF, Residency.FAILED) and (told or now < self._state.retry_at):
                raise self._unavailable(now)  # of those who waited for this load, none starts the next
            if may_start(self._state, now) and not self._stop_wanted:
                self._start()
            progress = self._progress()
            if self.residency is Residency.LOADING and told != progress:
                told = progress
                await on_progress(*told)
                continue  # it may have moved on meanwhile
            await changed.wait()

    def _unavailable(self, now: float) -> ProcessFailedError:
        failed = self.residency is Residency.FAILED
        kind = FailureKind.LOAD_FAILED if failed else FailureKind.WORKER_DIED
        return ProcessFailedError(kind, self._state.error, retry_after_s=max(0.0, self._state.retry_at - now))

    def _progress(self) -> tuple[str, float | None]:
        return ("loading", self._worker.loading.fraction) if self._worker else self._preparing

    def _start(self) -> None:
        self._restarts += self._state.crashes > 0
        self._preparing = ("loading", None)
        self._step(Event.START)
        self._effects.tasks.start_soon(self._run, name=f"model {self.name}")

    def _step(self, event: Event, error: str = "") -> None:
        before = self.residency
        self._state = step(self._state, event, anyio.current_time(), error)
        if before is not self.residency:
            why = {"error": self._state.error} if self._state.error else {}
            log.info(f"model.{self.residency.value}", backend=self.name, **why)
            self._effects.on_change(self)
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # The process's own life

    async def _run(self) -> None:
        """From LOADING to a settled state, whatever happens on the way."""
        event, error = Event.DIED, "it was stopped"
        try:
            event, error = await self._live()
        except (ProcessFailedError, MemoryFullError, OSError) as failure:
            event, error = Event.REFUSED, str(failure)
        except Exception as failure:
            # One model's trouble, whatever it is, must not end the daemon and with it all the others.
            log.exception("model.internal_error", backend=self.name)
            event, error = Event.REFUSED, f"the daemon made a mistake: {type(failure).__name__}: {failure}"
        finally:
            self._worker = None
            self._step(event, error)

    async def _live(self) -> tuple[Event, str]:
        if self._predecessor:
            await self._predecessor.gone()
            self._predecessor = None
        folder = await self._effects.prepare(self.spec.model, self._on_prepare)
        with self._effects.book.reserve(self.name, await anyio.to_thread.run_sync(weights_size, folder)):
            self._worker = worker = await self._effects.spawn(self.spec, folder, self.name)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(worker.run)
                await self._effects.recorded(worker.pid, self.name, True)
                await self._load(worker)
                await self._serve(worker)
                await self._end(worker)
            await self._effects.recorded(worker.pid, self.name, False)
        death = worker.death()
        return (Event.REFUSED if death.kind is FailureKind.LOAD_FAILED else Event.DIED), str(death)

    def _on_prepare(self, phase: str, fraction: float | None) -> None:
        self._preparing = (phase, fraction)
        self._announce()

    async def _load(self, worker: Worker) -> None:
        deadline = anyio.current_time() + self.spec.load_timeout
        while not worker.settled.is_set() and not self._stop_wanted and anyio.current_time() < deadline:
            self._wake = anyio.Event()
            await wait_any(worker.news, worker.settled, self._wake, until=deadline)
            self._announce()
        if worker.ready and not worker.gone.is_set():
            self._idle_since = anyio.current_time()
            self._step(Event.READY)

    async def _serve(self, worker: Worker) -> None:
        """Until it should stop, or is gone, or is stuck."""
        while worker.ready and not worker.gone.is_set() and not self._stop_wanted:
            due = self._next_due(worker)
            if due is not None and anyio.current_time() >= due:
                return
            self._wake = anyio.Event()
            await wait_any(self._wake, worker.news, worker.gone, until=due)

    def _next_due(self, worker: Worker) -> float | None:
        if worker.in_flight:
            return worker.last_sign + self.spec.stall_timeout
        return self._unload_due()

    def _unload_due(self) -> float | None:
        if self.busy or self.spec.keep_alive == "forever":
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


_UNLOADED = ProcessFailedError(FailureKind.OVERLOADED, "the model was unloaded while it was wanted")


def _stuck(kind: FailureKind, setting: str, seconds: float) -> ProcessFailedError:
    what = "it was still loading" if kind is FailureKind.LOAD_FAILED else "it had work and showed no progress"
    return ProcessFailedError(kind, f"the model process was killed: {what} after {seconds:g} s ({setting})")


def weights_size(folder: Path) -> int:
    """Bytes of the model's weight files. Blocks on the disk."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
