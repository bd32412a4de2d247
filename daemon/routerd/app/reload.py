"""Reload as a transaction: read, validate, plan, swap, reconcile. A bad file changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import anyio
import structlog
from msgspec.structs import replace

from routerd_client.protocol import ReloadResult
from routerd_client.records import ConfigError, Plan

from ..backends.build import build
from ..backends.http import Http
from ..config.check_files import persona_files
from ..config.load import ConfigFailedError, digest
from ..config.places import Places
from ..config.plan import plan
from ..config.watch import changes
from ..dispatch.dispatcher import Dispatcher
from ..dispatch.generation import Generation
from ..health.tracker import Tracker
from ..logs import set_level
from ..supervisor.supervisor import Supervisor
from ..tasks import BackgroundTasks
from .compiled import Compiled, compiled_file

log = structlog.get_logger()


class _Pending:
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.result: ReloadResult | None = None


class Reloader:
    """The one owner of the generation. File change, SIGHUP and request all come through `reload`."""

    def __init__(
        self,
        places: Places,
        first: Compiled,
        dispatcher: Dispatcher,
        supervisor: Supervisor,
        http: Http,
        tracker: Tracker,
        on_change: Callable[[ReloadResult], None],
    ) -> None:
        self._places = places
        self._dispatcher = dispatcher
        self._supervisor = supervisor
        self._http = http
        self._tracker = tracker
        self._on_change = on_change
        self._lock = anyio.Lock()
        self._entered = anyio.Event()
        self._queued: _Pending | None = None
        self.errors: list[ConfigError] = []
        """Those of the newest file, where it was refused."""
        self.last_plan: Plan | None = None
        self.generation = self._enter(1, first)

    def __repr__(self) -> str:
        return f"<Reloader generation={self.generation.number} {len(self.errors)} errors>"

    async def reload(self, tasks: BackgroundTasks, reason: str) -> ReloadResult:
        """Read the file again and return what came of it; the work goes on in ``tasks`` if the caller leaves.

        A request during a reload waits for exactly one more, which all such requests share.
        """
        pending = self._queued
        if pending is None:
            pending = self._queued = _Pending()
            tasks.start("reload", self._carry_out, pending, reason)
        await pending.done.wait()
        assert pending.result
        return pending.result

    def watch(self, tasks: BackgroundTasks) -> None:
        """Reload whenever the content of the file, or of a persona it names, changes, for as long as ``tasks`` run."""
        tasks.keep("watch routes.yaml", self._watch_config, tasks)
        tasks.keep("watch personas", self._watch_personas, tasks)

    async def _watch_config(self, tasks: BackgroundTasks) -> None:
        await self._watch_one(self._places.config, tasks, self.generation.digest)

    async def _watch_personas(self, tasks: BackgroundTasks) -> None:
        while True:
            generation, entered = self.generation, self._entered
            async with anyio.create_task_group() as personas:
                for name, path in persona_files(generation.config, self._places.config.parent).items():
                    # What was read, and not what the watch finds first: it may have changed between.
                    known = digest(generation.personas[name].encode())
                    personas.start_soon(self._watch_one, path, tasks, known)
                await entered.wait()
                personas.cancel_scope.cancel()

    async def _watch_one(self, path: Path, tasks: BackgroundTasks, known: str) -> None:
        async with aclosing(changes(path, last=known)) as digests:
            async for found in digests:
                await self.reload(tasks, f"{path.name} changed" if found else f"{path.name} is gone")

    async def _carry_out(self, pending: _Pending, reason: str) -> None:
        async with self._lock:
            self._queued = None
            try:
                pending.result = await self._once(reason)
            except Exception as error:  # whoever waits is answered, and the last good generation stays
                log.exception("reload.internal_error", reason=reason)
                pending.result = self._refused(reason, [self._mistake(error)])
            finally:
                pending.done.set()

    async def _once(self, reason: str) -> ReloadResult:
        number = self.generation.number
        try:
            compiled = await compiled_file(self._places.config, self._places.state)
        except ConfigFailedError as error:
            return self._refused(reason, error.errors)
        loaded = compiled.loaded
        if loaded.digest == self.generation.digest:
            refused, self.errors = self.errors, []
            # What it names may be new: a persona, a classifier.
            self.generation = replace(self.generation, table=compiled.table, personas=compiled.personas)
            result = ReloadResult(id=0, generation=number)
            if refused:
                log.info("reload.unchanged", reason=reason, in_force=number)
                self._announce(result)
            return result
        planned = plan(self.generation.config, loaded.config)
        self.generation = self._replaced(number + 1, compiled)
        self.last_plan, self.errors = planned, []
        log.info("reload.done", reason=reason, generation=self.generation.number, plan=planned.summary)
        result = ReloadResult(id=0, generation=self.generation.number, changed=True, plan=planned)
        self._announce(result)
        return result

    def _refused(self, reason: str, errors: list[ConfigError]) -> ReloadResult:
        """Have ``status`` say that the newest file is not in force, and why."""
        self.errors = errors
        number = self.generation.number
        log.warning("reload.refused", reason=reason, errors=[str(e) for e in errors], in_force=number)
        result = ReloadResult(id=0, generation=number, errors=errors)
        self._announce(result)
        return result

    def _announce(self, result: ReloadResult) -> None:
        try:
            self._on_change(result)
        except Exception:  # whoever is told is not to undo what has happened
            log.exception("reload.internal_error")

    def _mistake(self, error: Exception) -> ConfigError:
        what = f"the daemon could not take it over: {type(error).__name__}: {error}"
        return ConfigError(str(self._places.config), 0, 0, what, "routerd's log has the details; please report it")

    def _replaced(self, number: int, compiled: Compiled) -> Generation:
        """Put the new generation in force; where that fails, put the old one in force again, and raise."""
        before = self._in_force
        try:
            return self._enter(number, compiled)
        except Exception:
            self._enter(self.generation.number, before)
            raise

    def _enter(self, number: int, compiled: Compiled) -> Generation:
        """Make ``compiled`` what is true. Synchronous, so that no request sees half of it."""
        loaded = compiled.loaded
        config = loaded.config
        generation = Generation(
            number=number,
            digest=loaded.digest,
            config=config,
            table=compiled.table,
            tariffs=compiled.tariffs,
            personas=compiled.personas,
            backends={name: build(name, spec, self._supervisor, self._http) for name, spec in config.backends.items()},
        )
        self._tracker.configure(generation.health_specs())
        models = {name: spec.mlx for name, spec in config.backends.items() if spec.mlx}
        self._supervisor.reconcile(models, config.memory)
        self._dispatcher.sessions.expires = config.sticky.expires
        self._dispatcher.purse.configure(config, compiled.prices)
        set_level(config.log.level)
        for note in compiled.notes:
            log.warning("config.note", message=note)
        self._in_force = compiled
        self._entered.set()
        self._entered = anyio.Event()
        for warning in loaded.warnings:
            log.warning("config.warning", message=str(warning))
        return generation
