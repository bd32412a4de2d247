"""The Unix socket itself: taking it, so that no two daemons share it, and letting the right peers in."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.abc
import structlog

from routerd_client.paths import max_socket_path

from .peer import peer_uid
from .services import Services
from .session import Session

log = structlog.get_logger()

FIRST_BYTE_S = 10.0
"""A connection that says nothing for this long is closed."""

ACCEPT_PAUSE_S = 0.1

HTTP_NOT_HERE = (
    b"HTTP/1.1 501 Not Implemented\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"This socket speaks routerd's own protocol; HTTP is not served here yet. See docs/protocol.md.\n"
)


class SocketTakenError(Exception):
    """The socket, or the state folder, cannot be had; the text says why and what to do."""


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Make ``path`` this process's own until the ``with`` ends; then the socket file is removed.

    A lock beside it tells a living daemon from a stale socket, which is removed. The folder is made
    with mode 0700, and must be ours and closed to others. Raises `SocketTakenError`. Blocks on the disk.
    """
    length = len(os.fsencode(path))
    if length > max_socket_path():
        raise SocketTakenError(
            f"the socket path is {length} bytes long, and this system allows {max_socket_path()}: {path}. "
            "Choose a shorter one with --socket or ROUTERD_SOCKET"
        )
    _private_folder(path.parent)
    lock = _lock(path.with_suffix(".lock"), f"already listens on {path}", "--socket")
    try:
        path.unlink(missing_ok=True)
        yield
    finally:
        path.unlink(missing_ok=True)
        path.with_suffix(".lock").unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def hold(state: Path) -> Iterator[None]:
    """Keep other daemons off the state folder until the ``with`` ends: each would reap the other's workers.

    Raises `SocketTakenError`. Blocks on the disk.
    """
    lock = _lock(state / "daemon.lock", f"uses the state folder {state}", "--state-dir")
    try:
        yield
    finally:
        (state / "daemon.lock").unlink(missing_ok=True)
        os.close(lock)


def _lock(file: Path, what: str, option: str) -> int:
    """The descriptor that holds the lock, with our pid in it."""
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise SocketTakenError(
                f"a daemon (pid {owner}) {what}. Stop it first, or choose another with {option}"
            ) from error
        try:
            if file.stat().st_ino == os.fstat(lock).st_ino:
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
                return lock
        except FileNotFoundError:
            pass
        os.close(lock)  # it was removed by a daemon that stopped just now: lock its successor


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.stat()
    except OSError as error:
        raise SocketTakenError(f"the socket's folder cannot be made: {error}") from error
    if info.st_uid != os.getuid():
        raise SocketTakenError(f"the socket's folder {folder} belongs to another user; choose another with --socket")
    if stat.S_IMODE(info.st_mode) & 0o077:
        raise SocketTakenError(f"other users can reach the socket's folder {folder}. Close it with: chmod 700 {folder}")


class Listener:
    """Accepts connections on a claimed path and runs a `Session` for each."""

    def __init__(self, path: Path, services: Services) -> None:
        self._path = path
        self._services = services
        self._sessions: set[Session] = set()

    def __repr__(self) -> str:
        return f"<Listener {self._path} {len(self._sessions)} connections>"

    @property
    def connections(self) -> int:
        return len(self._sessions)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; reports started when connections are accepted."""
        async with (
            await anyio.create_unix_listener(self._path, mode=0o600, backlog=1024) as listener,
            anyio.create_task_group() as tasks,
        ):
            task_status.started()
            while True:
                try:
                    stream = await listener.accept()
                except (anyio.BrokenResourceError, OSError) as error:
                    # Out of descriptors, most likely: those who are connected go on, and will free some.
                    log.warning("accept.failed", error=str(error.__cause__ or error), retry_in_s=ACCEPT_PAUSE_S)
                    await anyio.sleep(ACCEPT_PAUSE_S)
                    continue
                tasks.start_soon(self._connection, stream)

    async def _connection(self, stream: anyio.abc.SocketStream) -> None:
        try:
            async with stream:
                await self._welcome(stream)
        except (TimeoutError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass  # the peer went away, or never said anything
        except Exception:
            log.exception("session.internal_error")  # one peer's trouble must not end the daemon

    async def _welcome(self, stream: anyio.abc.SocketStream) -> None:
        uid = peer_uid(stream.extra(anyio.abc.SocketAttribute.raw_socket))
        if uid != os.getuid():
            log.warning("peer.refused", uid=uid)
            return
        with anyio.fail_after(FIRST_BYTE_S):
            first = await stream.receive(262144)
        if first[:1].isalpha() and first[:1].isupper():
            await stream.send(HTTP_NOT_HERE)
            return
        session = Session(stream, self._services, first)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
