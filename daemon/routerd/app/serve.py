"""Running the daemon from start to stop."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import structlog
from anyio import to_thread

from routerd_client.records import FailureKind, ModelStatus

from ..agent.activation import activated
from ..agent.hang import HangGuard
from ..agent.notify import Notifier
from ..agent.starts import counted, looping
from ..backends.http import Http
from ..config.places import Places
from ..models.errors import ModelError
from ..models.prepare import prepare as prepare_model
from ..models.reference import ModelReference, resolve
from ..server.claim import claim, hold
from ..server.notices import Hub
from ..store.measured import Measurements
from ..store.writer import Store
from ..supervisor.command import Command, CounterCommand, counter_command, worker_command
from ..supervisor.effects import Find, Prepare
from ..supervisor.errors import ProcessFailedError, load_failed
from ..supervisor.supervisor import Sizing, Supervisor
from .compiled import compile_file, without_preload
from .daemon import Daemon
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
    first = await to_thread.run_sync(compile_file, places.config, places.state)
    places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    hub = Hub()
    with (
        claim(places.socket, given) as socket_lock,
        hold(places.state) as state_lock,
        counted(places.state) as crashes,
    ):
        if looping(crashes, time.time()):
            log.warning("routerd.crash_loop", crashes=len(crashes), preload=False)
            first = without_preload(first)  # perhaps that is what it died of
        store = Store(places.state / "ledger.db")
        supervisor = Supervisor(
            places.state,
            prepare or partial(_prepare, places),
            find=find or partial(_find, places),
            on_change=partial(_publish_model, hub),
            command=command,
            counter=counter,
            sizing=sizing,
            records=Measurements(store),
        )
        async with (
            store,
            Http(places.config.parent) as http,
            supervisor,
            anyio.create_task_group() as tasks,
        ):
            daemon = Daemon(places, first, supervisor, store, http, hub, tasks, given=given, crashes=crashes)
            await daemon.purse.load()
            await tasks.start(daemon.listener.run)
            tasks.start_soon(daemon.gateway.run)
            tasks.start_soon(keep_reachable, daemon.listener, [socket_lock, state_lock])
            tasks.start_soon(daemon.purse.unlock)
            tasks.start_soon(daemon.learn)
            tasks.start_soon(daemon.expire)
            if watch:
                tasks.start_soon(daemon.watch_file)
            log.info("routerd.ready", socket=str(places.socket), config=str(places.config))
            try:
                yield daemon
            finally:
                tasks.cancel_scope.cancel()
    log.info("routerd.stopped")


async def serve(places: Places, *, agent: bool = False) -> bool:
    """Run the daemon until SIGTERM or SIGINT; raises what `running` raises.

    The first of them drains: no new chats, `DRAIN_S` for the open ones; a second one cuts them. SIGHUP
    reloads. Where launchd or systemd listens for us, its sockets are used, and systemd is told how it goes.

    As a login ``agent``, which is started again, it waits for a routes.yaml that is right, and ends where it
    hangs, or where the Python that runs it is removed. Returns whether it is to be started again.
    """
    notifier, given = Notifier(os.environ), activated(os.environ)
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        if agent and not await _configured(places, given, notifier, signals):
            return False
        async with running(places, given=given) as daemon, anyio.create_task_group() as tasks:
            life = _Life(daemon, notifier, tasks)
            with HangGuard() if agent else nullcontext() as guard:
                if guard:
                    tasks.start_soon(guard.feed)
                    tasks.start_soon(life.end_without_python)
                tasks.start_soon(notifier.feed)
                notifier.ready()
                await life.heed(signals)
                tasks.cancel_scope.cancel()
    return life.again


async def _configured(
    places: Places, given: Sequence[socket.socket], notifier: Notifier, signals: AsyncIterator[signal.Signals]
) -> bool:
    """Whether the configuration is right, sooner or later; false where a signal ends the wait."""

    async def end() -> None:
        async for number in signals:
            if number != signal.SIGHUP:
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end)
        tasks.start_soon(notifier.feed)
        await right_config(places, given, notifier.ready)
        tasks.cancel_scope.cancel()
        return True
    return False


class _Life:
    """What happens to a running daemon from outside. ``again`` is whether it is to be started again."""

    def __init__(self, daemon: Daemon, notifier: Notifier, tasks: anyio.abc.TaskGroup) -> None:
        self._daemon = daemon
        self._notifier = notifier
        self._tasks = tasks
        self.again = False

    async def heed(self, signals: AsyncIterator[signal.Signals]) -> None:
        """Do what each signal means, until one ends the daemon."""
        async for number in signals:
            if number == signal.SIGHUP:
                self._tasks.start_soon(self._reload)
            elif self._daemon.draining:
                return
            else:
                self._tasks.start_soon(self._drain)

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
        self._notifier.stopping()
        log.info("routerd.draining", open=daemon.status().requests["open"], seconds=DRAIN_S)
        if cut := await daemon.drain(DRAIN_S):
            log.warning("routerd.cut", requests=cut)
        self._tasks.cancel_scope.cancel()


async def _prepare(places: Places, reference: str, on_phase: Callable[[str, float | None], None]) -> Path:
    """Relative paths of models count from the folder of routes.yaml."""
    try:
        return await prepare_model(ModelReference.parse(reference, places.config.parent), places.cache, on_phase)
    except ModelError as error:
        raise load_failed(error) from error
    except ValueError as error:
        raise ProcessFailedError(FailureKind.LOAD_FAILED, str(error), permanent=True) from error


async def _find(places: Places, reference: str) -> Path | None:
    return await to_thread.run_sync(_folder, places, reference)


def _folder(places: Places, reference: str) -> Path | None:
    try:
        return resolve(ModelReference.parse(reference, places.config.parent), places.cache)
    except (ModelError, ValueError, OSError):
        return None  # whoever loads it is told why


def _publish_model(hub: Hub, status: ModelStatus) -> None:
    hub.publish("status", "model", backend=status.backend, residency=status.residency.value, error=status.error)
