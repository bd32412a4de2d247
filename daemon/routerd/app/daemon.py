"""The daemon as one object: what its handlers may use, and what its status says."""

from __future__ import annotations

import os
import random
import socket
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio
import structlog

from routerd_client.protocol import PROTOCOL, CheckResult, Feedback, ReloadResult, RoutesResult, StatusResult
from routerd_client.records import BackendStatus, RouteStatus

from .. import __version__
from ..backends.http import Http
from ..config.load import ConfigFailedError
from ..config.places import Places
from ..config.shadow import shadowed
from ..config.unreached import advice, unreached
from ..dispatch.dispatcher import Dispatcher
from ..dispatch.generation import Generation
from ..dispatch.purse import Purse
from ..gateway.gateway import Gateway
from ..harness.table import HARNESSES
from ..health.outcomes import FEEDBACK
from ..health.tracker import Tracker, combined
from ..server.listener import Listener
from ..server.notices import Hub
from ..store.ledger import Ledger
from ..store.writer import Store, StoreError
from ..supervisor.supervisor import Supervisor
from ..tasks import BackgroundTasks, FailureLog
from .compiled import Compiled, compiled_file, compiled_text
from .journal import Journal
from .reload import Reloader
from .shadow import Shadows

log = structlog.get_logger()


class Daemon:
    """One running daemon: the `Services` of its handlers. `serve.serve` makes and runs it."""

    def __init__(
        self,
        places: Places,
        first: Compiled,
        supervisor: Supervisor,
        store: Store,
        http: Http,
        hub: Hub,
        tasks: BackgroundTasks,
        *,
        given: Sequence[socket.socket] = (),
        crashes: Sequence[float] = (),
    ) -> None:
        self.places = places
        self.supervisor = supervisor
        self.store = store
        self.ledger = Ledger(store)
        self.hub = hub
        self.draining = False
        self._crashes = crashes
        self._tasks = tasks
        self._tracker = Tracker()
        self._started = anyio.current_time()
        self._journal = Journal(self, self._tracker.outcomes, Shadows(self))
        self.purse = Purse(store)
        self.dispatcher = Dispatcher(self._tracker, self._journal, self.purse)
        self._reloader = Reloader(places, first, self.dispatcher, supervisor, http, self._tracker, self._reloaded)
        self.gateway = Gateway(places.state, self)
        self.gateway.configure(first.loaded.config.http)
        self.listener = Listener(places.socket, self, self.gateway.take, tasks, given)

    def __repr__(self) -> str:
        return f"<Daemon generation={self.generation.number} {self.listener}>"

    @property
    def generation(self) -> Generation:
        return self._reloader.generation

    @property
    def failures(self) -> FailureLog:
        """The failures of background tasks."""
        return self._tasks.failures

    @property
    def open_chats(self) -> int:
        return self._journal.counts["open"]

    def new_request_id(self) -> str:
        return f"{random.getrandbits(48):012x}"

    def spawn(self, name: str, work: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
        """Run ``work`` in the background; it ends with the daemon."""
        self._tasks.start(name, work, *arguments)

    async def learn(self) -> None:
        """Take in what earlier daemons recorded of the backends' answers."""
        try:
            past = await self.ledger.past()
        except StoreError as error:
            log.warning("ledger.unread", error=str(error))
            return
        self._tracker.outcomes.load(past, anyio.current_time())

    async def expire(self) -> None:
        """Remove what the ledger has kept for long enough, until cancelled."""
        await self.ledger.expire(lambda: self.generation.config.ledger)

    async def feedback(self, said: Feedback) -> None:
        """Record it, and learn from it. Raises `LookupError` where there is no such chat, and `StoreError`."""
        about = await self.ledger.feedback(said)
        score = said.score
        self._tracker.outcomes.note(about, anyio.current_time(), FEEDBACK * score, FEEDBACK * (1 - score))

    async def reload(self, reason: str = "asked by a client") -> ReloadResult:
        return await self._reloader.reload(self._tasks, reason)

    async def drain(self, seconds: float) -> int:
        """Take no new chats, and let the open ones end for ``seconds``; returns how many were cut, or will be."""
        ends = anyio.current_time() + seconds
        self.draining = True
        cut = await self.supervisor.drain(seconds)
        return max(cut, await self._journal.rest(ends))

    def watch_file(self) -> None:
        """Reload by itself when the file, or a persona, changes."""
        self._reloader.watch(self._tasks)

    async def check(self, text: str | None, file: str) -> CheckResult:
        try:
            if text is None:
                compiled = await compiled_file(self.places.config, self.places.state)
            else:
                compiled = await compiled_text(text, file, self.places.state)
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
            connections=self.listener.connections + self.gateway.connections,
            http=self.gateway.address,
            http_error=self.gateway.error,
            memory=self.supervisor.memory(),
            ledger=self.ledger.status(),
            crashes=list(self._crashes),
            task_failures=self._tasks.failures.records(),
            locked=str(self.purse.accounts.closed() or "") if generation.tariffs.metered else "",
        )

    def routes(self) -> RoutesResult:
        specs = self.generation.config.routes
        never = dict(shadowed(specs))
        missed: defaultdict[int, list[str]] = defaultdict(list)
        for i, client, why in unreached(specs, self._journal.naming()):
            missed[i].append(f"{why}: {advice(client, HARNESSES)}")
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
                    missed="; ".join(missed[i]),
                )
                for i, route in enumerate(routes)
            ],
            named=self._journal.named,
            default=self._journal.hits[""],
        )

    def _backend(self, name: str, now: float) -> BackendStatus:
        backend = self.generation.backends[name]
        figures = combined(self._tracker.health(backend.identity), now)
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
            refusal_rate=figures.refusal_rate,
            ttft_p50_s=figures.ttft_p50_s,
            ttft_p95_s=figures.ttft_p95_s,
            in_flight=model.in_flight if model else 0,
            window_s=figures.window_s,
        )

    def _reloaded(self, result: ReloadResult) -> None:
        self.gateway.configure(self.generation.config.http)
        errors = [str(e) for e in result.errors]
        plan = result.plan.summary if result.plan else ""
        self.hub.publish("status", "reload", generation=result.generation, plan=plan, errors=errors)
