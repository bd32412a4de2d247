"""Running the daemon from start to stop."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

import anyio
import structlog

from routerd_client.records import FailureKind, ModelStatus

from .. import disk
from ..agent.activation import activated
from ..agent.hang import HangGuard
from ..agent.notify import Notifier
from ..agent.starts import counted, looping
from ..backends.http import Http
from ..config.places import Places
from ..models.errors import ModelError
from ..models.prepare import prepare as prepare_model
from ..models.reference import ModelReference, resolve
from ..server.claim import SocketTakenError, claim, hold
from ..server.notices import Hub
from ..store.callers import LEDGER
from ..store.measured import Measurements
from ..store.writer import Store
from ..supervisor.command import Command, CounterCommand, counter_command, worker_command
from ..supervisor.effects import Find, Prepare
from ..supervisor.errors import ProcessFailedError, load_failed
from ..supervisor.supervisor import Sizing, Supervisor
from ..tasks import BackgroundTasks, FailureLog
from .compiled import compiled_file, without_preload
from .daemon import Daemon
from .pool import start_pool
from .signals import ENDING, IGNORED, QUIT, RELOAD, TAKEN, name, stacks
from .upkeep import keep_reachable, python_gone
from .waiting import right_config

log = structlog.get_logger()

DRAIN_S = 20.0
"""How long open chats may go on after a SIGTERM; login agents kill at 30."""


@asynccontextmanager
async def running(
    places: Places,
    *,
    prepare: Prepare | None = None,
    find: Find | None = None,
    command: Command = worker_command,
    counter: CounterCommand = counter_command,
    sizing: Sizing | None = None,
    watch: bool = True,
    given: Sequence[socket.socket] = (),
) -> AsyncIterator[Daemon]:
    """A daemon that accepts connections and, with ``watch``, its file's changes, until the ``with`` ends.

    ``prepare``, ``find`` and ``sizing`` say how models are made ready, found and measured, ``command`` and
    ``counter`` how processes are started, where it is not the usual way. ``given`` are sockets that listen
    already. Raises `ConfigFailedError`, `SocketTakenError` or ``OSError`` where it cannot start.
    """
    first = await compiled_file(places.config, places.state)
    hub = Hub()
    async with (
        disk.entered(claim(places.socket, given), what=places.socket) as socket_lock,
        disk.entered(hold(places.state), what=places.state) as state_lock,
        disk.entered(counted(places.state), what=places.state) as crashes,
    ):
        if looping(crashes, time.time()):
            log.warning("routerd.crash_loop", crashes=len(crashes), preload=False)
            first = without_preload(first)  # perhaps that is what it died of
        store = Store(places.state / LEDGER)
        failures = FailureLog()
        supervisor = Supervisor(
            places.state,
            prepare or partial(_prepare, places),
            find=find or partial(_find, places),
            on_change=partial(_publish_model, hub),
            command=command,
            counter=counter,
            sizing=sizing,
            records=Measurements(store),
            failures=failures,
        )
        async with (
            store,
            Http(places.config.parent) as http,
            supervisor,
            BackgroundTasks(failures) as tasks,
        ):
            daemon = Daemon(places, first, supervisor, store, http, hub, tasks, given=given, crashes=crashes)
            await daemon.purse.load()
            await tasks.started("listen", daemon.listener.run)
            tasks.keep("listen for HTTP", daemon.gateway.run)
            locks = [socket_lock, state_lock]
            tasks.keep("keep reachable", keep_reachable, daemon.listener, locks, fatal=(SocketTakenError,))
            tasks.keep("unlock spending", daemon.purse.unlock)
            tasks.start("learn from the ledger", daemon.learn)
            tasks.keep("expire records", daemon.expire)
            if watch:
                daemon.watch_file()
            log.info("routerd.ready", socket=str(places.socket), config=str(places.config))
            try:
                yield daemon
            finally:
                tasks.cancel()
                await daemon.gateway.close()
    log.info("routerd.stopped")


async def serve(places: Places, *, agent: bool = False) -> bool:
    """Run the daemon until SIGTERM or SIGINT; raises what `running` raises.

    The first of them drains: no new chats, `DRAIN_S` for the open ones; a second one cuts them, as SIGQUIT does at
    once. SIGHUP reloads; others, such as SIGUSR1, are logged and change nothing. Where launchd or systemd listens
    for us, its sockets are used, and systemd is told how it goes.

    As a login ``agent``, which is started again, it waits for a routes.yaml that is right, and ends where it
    hangs, or where the Python that runs it is removed. Returns whether it is to be started again.
    """
    notifier, given = Notifier(os.environ), activated(os.environ)
    await start_pool()
    with anyio.open_signal_receiver(*TAKEN) as signals:
        if agent and not await _configured(places, given, notifier, signals):
            return False
        async with running(places, given=given) as daemon, BackgroundTasks(daemon.failures) as tasks:
            life = _Life(daemon, notifier, tasks)
            with HangGuard() if agent else nullcontext() as guard:
                if guard:
                    tasks.keep("feed the hang guard", guard.feed)
                    tasks.keep("watch Python", life.end_without_python)
                tasks.keep("feed the watchdog", notifier.feed)
                notifier.ready()
                await life.heed(signals)
    return life.again


async def _configured(
    places: Places, given: Sequence[socket.socket], notifier: Notifier, signals: AsyncIterator[int]
) -> bool:
    """Whether the configuration is right, sooner or later; false where a signal ends the wait."""

    async def end() -> None:
        async for number in signals:
            if number in ENDING or number == QUIT:
                tasks.cancel()

    async with BackgroundTasks(FailureLog()) as tasks:
        tasks.keep("await a signal", end)
        tasks.keep("feed the watchdog", notifier.feed)
        await right_config(places, given, notifier.ready)
        return True
    return False


class _Life:
    """What happens to a running daemon from outside. ``again`` is whether it is to be started again."""

    def __init__(self, daemon: Daemon, notifier: Notifier, tasks: BackgroundTasks) -> None:
        self._daemon = daemon
        self._notifier = notifier
        self._tasks = tasks
        self.again = False

    async def heed(self, signals: AsyncIterator[int]) -> None:
        """Do what each signal means, until one ends the daemon."""
        async for number in signals:
            if number == RELOAD:
                self._tasks.start("reload on SIGHUP", self._reload)
            elif number in IGNORED:
                log.warning("signal.ignored", signal=name(number))
            elif number == QUIT:
                log.warning("routerd.quit", open=self._daemon.open_chats, stacks=stacks())
                return
            elif self._daemon.draining:
                return
            else:
                self._tasks.start("drain", self._drain)

    async def end_without_python(self) -> None:
        await python_gone()
        self.again = True
        await self._drain()

    async def _reload(self) -> None:
        self._notifier.reloading()
        await self._daemon.reload("SIGHUP")
        self._notifier.ready()

    async def _drain(self) -> None:
        daemon = self._daemon
        try:
            self._notifier.stopping()
            log.info("routerd.draining", open=daemon.open_chats, seconds=DRAIN_S)
            if cut := await daemon.drain(DRAIN_S):
                log.warning("routerd.cut", requests=cut)
        finally:
            self._tasks.cancel()  # whatever goes wrong on the way, it was asked to end


async def _prepare(places: Places, reference: str, on_phase: Callable[[str, float | None], None]) -> Path:
    """Relative paths of models count from the folder of routes.yaml."""
    try:
        return await prepare_model(ModelReference.parse(reference, places.config.parent), places.cache, on_phase)
    except ModelError as error:
        raise load_failed(error) from error
    except ValueError as error:
        raise ProcessFailedError(FailureKind.LOAD_FAILED, str(error), permanent=True) from error


async def _find(places: Places, reference: str) -> Path | None:
    try:
        return await disk.run(_folder, places, reference, what=f"the model {reference}")
    except OSError:
        return None


def _folder(places: Places, reference: str) -> Path | None:
    try:
        return resolve(ModelReference.parse(reference, places.config.parent), places.cache)
    except (ModelError, ValueError, OSError, RecursionError):
        return None  # whoever loads it is told why


def _publish_model(hub: Hub, status: ModelStatus) -> None:
    hub.publish("status", "model", backend=status.backend, residency=status.residency.value, error=status.error)
