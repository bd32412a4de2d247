"""Running the daemon from start to stop."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import structlog
from anyio import to_thread

from routerd_client.records import FailureKind, ModelStatus

from ..backends.http import Http
from ..config.places import Places
from ..models.errors import ModelError
from ..models.prepare import prepare as prepare_model
from ..models.reference import ModelReference, resolve
from ..server.listener import claim, hold
from ..server.notices import Hub
from ..supervisor.command import Command, CounterCommand, counter_command, worker_command
from ..supervisor.effects import Find, Prepare
from ..supervisor.errors import ProcessFailedError
from ..supervisor.supervisor import Sizing, Supervisor
from .compiled import compile_file
from .daemon import Daemon

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
) -> AsyncIterator[Daemon]:
    """A daemon that accepts connections and, with ``watch``, its file's changes, until the ``with`` ends.

    ``prepare``, ``find`` and ``sizing`` say how models are made ready, found and measured, ``command`` and
    ``counter`` how processes are started, where it is not the usual way. Raises `ConfigFailedError`,
    `SocketTakenError` or ``OSError`` where it cannot start.
    """
    first = await to_thread.run_sync(compile_file, places.config, places.state)
    places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    hub = Hub()
    with claim(places.socket), hold(places.state):
        supervisor = Supervisor(
            places.state,
            prepare or partial(_prepare, places),
            find=find or partial(_find, places),
            on_change=partial(_publish_model, hub),
            command=command,
            counter=counter,
            sizing=sizing,
        )
        async with Http(places.config.parent) as http, supervisor, anyio.create_task_group() as tasks:
            daemon = Daemon(places, first, supervisor, http, hub, tasks)
            await tasks.start(daemon.listener.run)
            if watch:
                tasks.start_soon(daemon.watch_file)
            log.info("routerd.ready", socket=str(places.socket), config=str(places.config))
            try:
                yield daemon
            finally:
                tasks.cancel_scope.cancel()
    log.info("routerd.stopped")


async def serve(places: Places) -> None:
    """Run the daemon until SIGTERM or SIGINT; raises what `running` raises.

    The first of them drains: no new chats, `DRAIN_S` for the open ones; a second one cuts them.
    SIGHUP reloads.
    """
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with running(places) as daemon, anyio.create_task_group() as tasks:
            async for number in signals:
                if number == signal.SIGHUP:
                    tasks.start_soon(daemon.reload, "SIGHUP")
                elif daemon.draining:
                    break
                else:
                    tasks.start_soon(_drain, daemon, tasks.cancel_scope)
            tasks.cancel_scope.cancel()


async def _drain(daemon: Daemon, stop: anyio.CancelScope) -> None:
    daemon.draining = True
    log.info("routerd.draining", open=daemon.status().requests["open"], seconds=DRAIN_S)
    cut = await daemon.supervisor.drain(DRAIN_S)
    if cut:
        log.warning("routerd.cut", requests=cut)
    stop.cancel()


async def _prepare(places: Places, reference: str, on_phase: Callable[[str, float | None], None]) -> Path:
    """Relative paths of models count from the folder of routes.yaml."""
    try:
        return await prepare_model(ModelReference.parse(reference, places.config.parent), places.cache, on_phase)
    except ModelError as error:
        raise ProcessFailedError(FailureKind.LOAD_FAILED, str(error), hint=error.hint) from error
    except ValueError as error:
        raise ProcessFailedError(FailureKind.LOAD_FAILED, str(error)) from error


async def _find(places: Places, reference: str) -> Path | None:
    return await to_thread.run_sync(_folder, places, reference)


def _folder(places: Places, reference: str) -> Path | None:
    try:
        return resolve(ModelReference.parse(reference, places.config.parent), places.cache)
    except (ModelError, ValueError, OSError):
        return None  # whoever loads it is told why


def _publish_model(hub: Hub, status: ModelStatus) -> None:
    hub.publish("status", "model", backend=status.backend, residency=status.residency.value, error=status.error)
