"""Reload as a transaction: read, validate, plan, swap, reconcile. A bad file changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import structlog
from anyio import to_thread

from routerd_client.protocol import ReloadResult
from routerd_client.records import ConfigError, Plan

from ..backends.build import build
from ..config.load import ConfigFailedError, Loaded, load, read
from ..config.plan import plan
from ..config.watch import changes
from ..dispatch.generation import Generation
from ..health.tracker import Tracker
from ..logs import set_level
from ..routing.table import compile_table
from ..supervisor.supervisor import Supervisor

log = structlog.get_logger()


class _Pending:
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.result: ReloadResult | None = None


class Reloader:
    """The one owner of the generation. File change, SIGHUP and request all come through `reload`."""

    def __init__(
        self,
        path: Path,
        first: Loaded,
        supervisor: Supervisor,
        tracker: Tracker,
        on_change: Callable[[ReloadResult], None],
    ) -> None:
        self._path = path
        self._supervisor = supervisor
        self._tracker = tracker
        self._on_change = on_change
        self._lock = anyio.Lock()
        self._queued: _Pending | None = None
        self.errors: list[ConfigError] = []
        """Those of the newest file, where it was refused."""
        self.last_plan: Plan | None = None
        self.generation = self._enter(1, first)

    def __repr__(self) -> str:
        return f"<Reloader generation={self.generation.number} {len(self.errors)} errors>"

    async def reload(self, tasks: anyio.abc.TaskGroup, reason: str) -> ReloadResult:
        """Read the file again and return what came of it; the work goes on in ``tasks`` if the caller leaves.

        A request during a reload waits for exactly one more, which all such requests share.
        """
        pending = self._queued
        if pending is None:
            pending = self._queued = _Pending()
            tasks.start_soon(self._carry_out, pending, reason)
        await pending.done.wait()
        assert pending.result
        return pending.result

    async def watch(self, tasks: anyio.abc.TaskGroup) -> None:
        """Reload whenever the file's content changes, until cancelled."""
        async with aclosing(changes(self._path, last=self.generation.digest)) as digests:
            async for _ in digests:
                await self.reload(tasks, "file changed")

    async def _carry_out(self, pending: _Pending, reason: str) -> None:
        async with self._lock:
            self._queued = None
            pending.result = await self._once(reason)
            pending.done.set()

    async def _once(self, reason: str) -> ReloadResult:
        number = self.generation.number
        try:
            text = await to_thread.run_sync(read, self._path)
            loaded = await to_thread.run_sync(load, text, str(self._path))
        except ConfigFailedError as error:
            self.errors = error.errors
            log.warning("reload.refused", reason=reason, errors=[str(e) for e in error.errors])
            result = ReloadResult(id=0, generation=number, errors=error.errors)
            self._on_change(result)
            return result
        self.errors = []
        if loaded.digest == self.generation.digest:
            return ReloadResult(id=0, generation=number)
        self.last_plan = plan(self.generation.config, loaded.config)
        self.generation = self._enter(number + 1, loaded)
        log.info("reload.done", reason=reason, generation=self.generation.number, plan=self.last_plan.summary)
        result = ReloadResult(id=0, generation=self.generation.number, changed=True, plan=self.last_plan)
        self._on_change(result)
        return result

    def _enter(self, number: int, loaded: Loaded) -> Generation:
        """Make ``loaded`` what is true. Synchronous, so that no request sees half of it."""
        config = loaded.config
        generation = Generation(
            number=number,
            digest=loaded.digest,
            config=config,
            table=compile_table(config),
            backends={name: build(name, spec, self._supervisor) for name, spec in config.backends.items()},
        )
        self._tracker.configure(generation.health_specs())
        self._supervisor.reconcile({name: spec.mlx for name, spec in config.backends.items()}, config.memory)
        set_level(config.log.level)
        for warning in loaded.warnings:
            log.warning("config.warning", message=str(warning))
        return generation


async def first_load(path: Path) -> Loaded:
    """The configuration the daemon starts with. Raises `ConfigFailedError`."""
    text = await to_thread.run_sync(read, path)
    return await to_thread.run_sync(partial(load, text, str(path)))
