"""Running the daemon from start to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import structlog

from routerd_client.records import FailureKind, ModelStatus

from ..config.places import Places
from ..models.errors import ModelError
from ..models.prepare import prepare
from ..models.reference import ModelReference
from ..server.hub import Hub
from ..server.listener import claim
from ..supervisor.errors import ProcessFailedError
from ..supervisor.supervisor import Supervisor
from .daemon import Daemon
from .reload import first_load

log = structlog.get_logger()

DRAIN_S = 20.0
"""How long open chats may go on after a SIGTERM; login agents kill at 30."""


async def serve(places: Places, *, on_ready: Callable[[Daemon], None] = lambda _daemon: None) -> None:
    """Run until SIGTERM or SIGINT; ``on_ready`` is called once connections are accepted.

    SIGTERM and SIGINT drain: no new chats, `DRAIN_S` for the open ones; a second one cuts them.
    SIGHUP reloads. Raises `ConfigFailedError`, `SocketTakenError` or ``OSError`` where it cannot start.
    """
    first = await first_load(places.config)
    places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    hub = Hub()
    with claim(places.socket):
        async with (
            Supervisor(places.state, partial(_prepare, places), on_change=partial(_publish_model, hub)) as supervisor,
            anyio.create_task_group() as tasks,
        ):
            daemon = Daemon(places, first, supervisor, hub, tasks)
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                await tasks.start(daemon.listener.run)
                tasks.start_soon(daemon.watch_file)
                log.info("routerd.ready", socket=str(places.socket), config=str(places.config))
                on_ready(daemon)
                async for number in signals:
                    if number == signal.SIGHUP:
                        tasks.start_soon(daemon.reload, "SIGHUP")
                    elif daemon.draining:
                        break
                    else:
                        tasks.start_soon(_drain, daemon, tasks)
            tasks.cancel_scope.cancel()
    log.info("routerd.stopped")


async def _drain(daemon: Daemon, tasks: anyio.abc.TaskGroup) -> None:
    daemon.draining = True
    log.info("routerd.draining", open=daemon.status().requests["open"], seconds=DRAIN_S)
    cut = await daemon.supervisor.drain(DRAIN_S)
    if cut:
        log.warning("routerd.cut", requests=cut)
    tasks.cancel_scope.cancel()


async def _prepare(places: Places, reference: str, on_phase: Callable[[str, float | None], None]) -> Path:
    """Relative paths of models count from the folder of routes.yaml."""
    try:
        return await prepare(ModelReference.parse(reference, places.config.parent), places.cache, on_phase)
    except ModelError as error:
        raise ProcessFailedError(FailureKind.LOAD_FAILED, str(error), hint=error.hint) from error
    except ValueError as error:
        raise ProcessFailedError(FailureKind.LOAD_FAILED, str(error)) from error


def _publish_model(hub: Hub, status: ModelStatus) -> None:
    hub.publish("status", "model", backend=status.backend, residency=status.residency.value, error=status.error)
