"""The stage of one row: a private daemon, its backends with their faults, and a caller."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio

from routerd_client.protocol import StatusResult
from routerd_client.records import BackendStatus, FailureKind

from ..app.daemon import Daemon
from ..app.serve import running
from ..config.places import Places
from ..models.errors import ModelError
from ..models.prepare import prepare
from ..models.reference import ModelReference
from ..supervisor.errors import ProcessFailedError
from .fake_api import FakeApi, fake_api
from .fault import COOLDOWN, Api, Fault, Mode, Worker, WrongError
from .front import Ask
from .heard import Heard
from .workers import fake_command, fake_counter, fake_size

T = TypeVar("T")

STEP_S = 0.005


class Stage:
    """``apis`` are the servers of its backends over HTTP, by the backends' names."""

    def __init__(self, fault: Fault, ask: Ask, daemon: Daemon, apis: Mapping[str, FakeApi]) -> None:
        self.fault = fault
        self.apis = apis
        self._ask = ask
        self._daemon = daemon

    @property
    def socket(self) -> Path:
        return self._daemon.places.socket

    async def ask(self, mode: Mode, prompt: str = "") -> Heard:
        return await self._ask(self.socket, prompt or self.fault.prompt, mode, self.fault.options)

    def status(self) -> StatusResult:
        return self._daemon.status()

    def backend(self, name: str) -> BackendStatus:
        return next(b for b in self.status().backends if b.name == name)

    def pids(self) -> list[int]:
        return [model.pid for model in self.status().models if model.pid]

    async def edit(self, change: Callable[[str], str]) -> None:
        """Save another routes.yaml, and have it read."""
        file = self._daemon.places.config
        file.write_text(change(file.read_text()))
        result = await self._daemon.reload("the selftest edited it")
        must(not result.errors, f"the edited file is refused: {result.errors}")

    async def until(self, fact: Callable[[], T], what: str) -> T:
        """What ``fact`` gives once it is true. Raises `WrongError` where that does not come about."""
        with anyio.move_on_after(self.fault.within / 2):
            while True:
                if value := fact():
                    return value
                await anyio.sleep(STEP_S)
        raise WrongError(f"never: {what}")


def must(fact: object, otherwise: str) -> None:
    """Raises `WrongError` with ``otherwise`` where ``fact`` is not so."""
    if not fact:
        raise WrongError(otherwise)


@asynccontextmanager
async def staged(fault: Fault, ask: Ask) -> AsyncIterator[Stage]:
    """A daemon of its own in a temporary folder, which is gone afterwards."""
    async with AsyncExitStack() as stack:
        # A short path: it must fit a socket's.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="routerd-", dir="/tmp")))
        apis = {
            name: await stack.enter_async_context(fake_api(backend.knobs))
            for name, backend in fault.backends.items()
            if isinstance(backend, Api)
        }
        (folder / "routes.yaml").write_text(_routes(fault, apis))
        places = Places(folder / "routes.yaml", folder / "routerd.sock", folder / "state", folder / "logs", folder)
        daemon = await stack.enter_async_context(
            running(
                places,
                prepare=_preparing(folder),
                find=_nowhere,
                command=fake_command,
                counter=fake_counter,
                sizing=fake_size,
                watch=False,
            )
        )
        yield Stage(fault, ask, daemon, apis)


def refused_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _routes(fault: Fault, apis: Mapping[str, FakeApi]) -> str:
    """The routes.yaml of a fault; JSON is YAML."""
    backends = {name: _backend(name, backend, apis) for name, backend in fault.backends.items()}
    safe = {"match": {"mode": "safe"}, "use": "primary", "set": {"stream_mode": "safe"}}
    whole: dict[str, Any] = {
        "version": 1,
        "backends": backends,
        "endpoints": {"primary": {"fallback": list(backends), **fault.endpoint}},
        "routes": [safe],
        "default": "primary",
        "health": {"cooldown": COOLDOWN, "cooldown_max": COOLDOWN},
        **fault.config,
    }
    return json.dumps(whole)


def _backend(name: str, backend: Api | Worker, apis: Mapping[str, FakeApi]) -> dict[str, Any]:
    if isinstance(backend, Worker):
        return {"mlx": {"model": backend.named(name), **backend.settings}}
    port = apis[name].base_url.rsplit(":", 1)[1].partition("/")[0]
    url = backend.base_url.format(port=port, refused=refused_port()) or apis[name].base_url
    api = {"model": backend.named(name), "base_url": url, **backend.settings}
    return {backend.kind: api, "billing": "local"}  # so that none is passed over for want of a price


def _preparing(folder: Path) -> Callable[[str, Callable[[str, float | None], None]], Awaitable[Path]]:
    """Fake models need no files; others are prepared as the daemon does."""

    async def ready(reference: str, on_phase: Callable[[str, float | None], None]) -> Path:
        if reference.startswith("fake:"):
            return folder
        try:
            return await prepare(ModelReference.parse(reference, folder), folder, on_phase)
        except (ModelError, ValueError) as error:
            raise ProcessFailedError(FailureKind.LOAD_FAILED, str(error)) from error

    return ready


async def _nowhere(_reference: str) -> Path | None:
    return None
