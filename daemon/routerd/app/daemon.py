"""The daemon as one object: what its handlers may use, and what its status says."""

from __future__ import annotations

import os
import random

import anyio
import anyio.abc
from anyio import to_thread

from routerd_client.protocol import PROTOCOL, CheckResult, ReloadResult, RoutesResult, StatusResult
from routerd_client.records import BackendStatus, RouteStatus

from .. import __version__
from ..backends.http import Http
from ..config.load import ConfigFailedError
from ..config.places import Places
from ..config.shadow import shadowed
from ..dispatch.dispatcher import Dispatcher
from ..dispatch.generation import Generation
from ..health.tracker import Tracker
from ..server.listener import Listener
from ..server.notices import Hub
from ..supervisor.supervisor import Supervisor
from .compiled import Compiled, compile_file, compile_text
from .journal import Journal
from .reload import Reloader


class Daemon:
    """One running daemon: the `Services` of its handlers. `serve.serve` makes and runs it."""

    def __init__(
        self, places: Places, first: Compiled, supervisor: Supervisor, http: Http, hub: Hub, tasks: anyio.abc.TaskGroup
    ) -> None:
        self.places = places
        self.supervisor = supervisor
        self.hub = hub
        self.draining = False
        self._tasks = tasks
        self._tracker = Tracker()
        self._started = anyio.current_time()
        self._journal = Journal(self)
        self.dispatcher = Dispatcher(self._tracker, self._journal)
        self._reloader = Reloader(places, first, self.dispatcher, supervisor, http, self._tracker, self._reloaded)
        self.listener = Listener(places.socket, self)

    def __repr__(self) -> str:
        return f"<Daemon generation={self.generation.number} {self.listener}>"

    @property
    def generation(self) -> Generation:
        return self._reloader.generation

    def new_request_id(self) -> str:
        return f"{random.getrandbits(48):012x}"

    async def reload(self, reason: str = "asked by a client") -> ReloadResult:
        return await self._reloader.reload(self._tasks, reason)

    async def watch_file(self) -> None:
        await self._reloader.watch(self._tasks)

    async def check(self, text: str | None, file: str) -> CheckResult:
        try:
            if text is None:
                compiled = await to_thread.run_sync(compile_file, self.places.config, self.places.state)
            else:
                compiled = await to_thread.run_sync(compile_text, text, file, self.places.state)
        except ConfigFailedError as error:
            return CheckResult(id=0, errors=error.errors)
        return CheckResult(id=0, warnings=compiled.loaded.warnings)

    def status(self) -> StatusResult:
        generation, now = self.generation, anyio.current_time()
        return StatusResult(
            id=0,
            version=__version__,
            protocol=PROTOCOL,
            pid=os.getpid(),
            uptime_s=now - self._started,
            generation=generation.number,
            config=str(self.places.config),
            socket=str(self.places.socket),
            state_dir=str(self.places.state),
            log_file=str(self.places.log_file),
            default=generation.config.default,
            backends=[self._backend(name, now) for name in generation.backends],
            models=self.supervisor.statuses(now),
            endpoints=list(generation.config.endpoints),
            routes=len(generation.table.routes),
            requests=dict(self._journal.counts),
            config_errors=self._reloader.errors,
            last_reload=self._reloader.last_plan,
            connections=self.listener.connections,
            memory=self.supervisor.memory(),
        )

    def routes(self) -> RoutesResult:
        never = dict(shadowed(self.generation.config.routes))
        routes = self.generation.table.routes
        return RoutesResult(
            id=0,
            routes=[
                RouteStatus(
                    name=route.name,
                    match=str(route.predicate),
                    use=route.use,
                    hits=self._journal.hits[route.name],
                    never=f"{routes[never[i]].name} takes all of it" if i in never else "",
                )
                for i, route in enumerate(routes)
            ],
            named=self._journal.named,
            default=self._journal.hits[""],
        )

    def _backend(self, name: str, now: float) -> BackendStatus:
        backend = self.generation.backends[name]
        figures = self._tracker.health(backend.identity).figures(now)
        model = self.supervisor.status(name)
        return BackendStatus(
            name=name,
            kind=backend.kind,
            model=backend.model,
            breaker=figures.breaker,
            retry_in_s=figures.retry_in_s,
            last_failure=figures.last_failure,
            last_error=figures.last_error,
            requests=figures.requests,
            failures=figures.failures,
            success_rate=figures.success_rate,
            ttft_p50_s=figures.ttft_p50_s,
            ttft_p95_s=figures.ttft_p95_s,
            in_flight=model.in_flight if model else 0,
        )

    def _reloaded(self, result: ReloadResult) -> None:
        errors = [str(e) for e in result.errors]
        plan = result.plan.summary if result.plan else ""
        self.hub.publish("status", "reload", generation=result.generation, plan=plan, errors=errors)
