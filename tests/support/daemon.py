"""A daemon to test against: in this process with fake workers, or as the real program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path

from routerd.app.daemon import Daemon
from routerd.app.serve import running
from routerd.config.places import Places
from routerd.selftest.workers import fake_command, fake_counter, fake_size
from routerd.supervisor.command import Command
from routerd.supervisor.leftovers import started_at
from routerd_client import AsyncClient, Client
from routerd_client.protocol import StatusResult
from routerd_client.records import BackendStatus, ModelStatus

from .wait import until_blocking


def fake(options: str = "", **settings: object) -> str:
    """A backend of `routes` whose worker is fake; ``settings`` are those of ``mlx:``."""
    return json.dumps({"mlx": {"model": f"fake:{options}", **settings}})


def routes(*, rest: str = "", default: str = "primary", **backends: str) -> str:
    """A routes.yaml with ``backends``, all of them in the endpoint ``primary``, in this order."""
    lines = ["version: 1", "backends:", *(f"  {name}: {backend}" for name, backend in backends.items())]
    lines += [f"endpoints: {{primary: {{fallback: [{', '.join(backends)}]}}}}", f"default: {default}", rest]
    return "\n".join(lines)


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder for a socket: pytest's own are too deep for ``sun_path``."""
    folder = Path(tempfile.mkdtemp(prefix="routerd-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def make_places(folder: Path, sockets: Path) -> Places:
    return Places(
        config=folder / "routes.yaml",
        socket=sockets / "routerd.sock",
        state=folder / "state",
        logs=folder / "logs",
        cache=folder / "cache",
    )


class Running:
    """A daemon in this process, and ways to ask it."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.places = daemon.places
        self.socket = daemon.places.socket

    def client(self, **options: float) -> AsyncClient:
        return AsyncClient(self.socket, name="test", **options)

    def write(self, text: str) -> None:
        """Save another routes.yaml."""
        self.places.config.write_text(text)

    def remove(self) -> None:
        """Delete routes.yaml."""
        self.places.config.unlink()

    def status(self) -> StatusResult:
        return self.daemon.status()

    def backend(self, name: str) -> BackendStatus:
        return next(b for b in self.status().backends if b.name == name)

    def model(self, name: str) -> ModelStatus:
        return next(m for m in self.status().models if m.backend == name)


@asynccontextmanager
async def running_daemon(
    folder: Path, text: str, *, watch: bool = False, command: Command = fake_command
) -> AsyncIterator[Running]:
    """The daemon as it is, without its signals and with fake workers.

    ``watch`` has it see by itself that its file, ``text`` at first, was changed.
    """
    (folder / "routes.yaml").write_text(text)
    with short_folder() as sockets:
        places = make_places(folder, sockets)

        async def prepare(_reference: str, _on_phase: Callable[[str, float | None], None]) -> Path:
            return folder

        async def find(reference: str) -> Path:
            return folder / sha256(reference.encode()).hexdigest()

        try:
            async with running(
                places,
                prepare=prepare,
                find=find,
                command=command,
                counter=fake_counter,
                sizing=fake_size,
                watch=watch,
            ) as daemon:
                yield Running(daemon)
        except BaseExceptionGroup as group:
            raise _only(group) from None  # a failed assertion reads better without the task groups around it


def _only(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class Standalone:
    """The real ``routerd serve`` as a child process."""

    def __init__(self, places: Places, prefix: Sequence[str] = ()) -> None:
        self.places = places
        self.socket = places.socket
        self._prefix = prefix
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        where = ["--config", self.places.config, "--socket", self.socket, "--state-dir", self.places.state]
        with (self.places.config.parent / "stderr.txt").open("a") as stderr:
            return subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "routerd", "serve", *map(str, where)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, "ROUTERD_CACHE_DIR": str(self.places.cache)},
            )

    @property
    def stderr(self) -> str:
        return (self.places.config.parent / "stderr.txt").read_text()

    def answers(self) -> StatusResult:
        """Wait until it answers."""
        until_blocking(self._connectable, f"the daemon answers; it said: {self.stderr or 'nothing'}")
        with self.client() as client:
            return client.status()

    def _connectable(self) -> bool:
        assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}: {self.stderr}"
        return self.socket.is_socket()

    def client(self) -> Client:
        return Client(self.socket, name="test", timeout_s=60, start_timeout_s=10)

    def workers(self) -> list[int]:
        with self.client() as client:
            return [model.pid for model in client.status().models if model.pid]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(30)

    def restart(self) -> None:
        self.process = self._start()
        self.answers()

    def ctl(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return ctl("--socket", str(self.socket), *arguments, stdin=stdin)


def ctl(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The real ``routerctl``."""
    command = [sys.executable, "-c", "from routerd.ctl import main; main()", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **(env or {})}
    )


def alive(pid: int) -> bool:
    return started_at(pid) != ""


@contextmanager
def standalone_daemon(folder: Path, text: str, *, prefix: Sequence[str] = ()) -> Iterator[Standalone]:
    """The real program, answering; killed at the end where the test left it running.

    ``prefix`` is what starts it, such as ``nice -n 5``.
    """
    (folder / "routes.yaml").write_text(text)
    with short_folder() as sockets:
        daemon = Standalone(make_places(folder, sockets), prefix)
        try:
            daemon.answers()
            yield daemon
        finally:
            daemon.process.kill()
            daemon.process.wait()
