"""Taking the socket's path and the state folder, so that no two daemons share them, and keeping them."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from routerd_client.paths import max_socket_path

from .. import disk

_SIGNED = re.compile(rb"\s*\d{0,10}\s*")
"""Whatever a lock may hold: a pid, or nothing."""


class SocketTakenError(Exception):
    """The socket, or the state folder, cannot be had; the text says why and what to do."""


class Lock:
    """An exclusive lock on ``file``, with our pid in it, held while this process lives or until `release`. What was
    there before must be empty, or have another's pid in it.

    A lock needs no writing: on a read-only disk the file is locked as it is, and its folder where there is none.
    Raises `SocketTakenError` where another process has it: the text says ``what`` that one does, and names
    ``option`` as the way round. All methods block on the disk.
    """

    def __init__(self, file: Path, what: str, option: str) -> None:
        self.file = file
        self._what = what
        self._option = option
        self._descriptor = self._take()

    def __repr__(self) -> str:
        return f"<Lock {self.file}>"

    @property
    def stands(self) -> bool:
        """Whether the file that is locked is still the one at its path."""
        return _same(self._descriptor, self.file)

    def renew(self) -> bool:
        """Take the lock anew where its file was deleted, or can be made at last; returns whether it was taken.

        Raises `SocketTakenError` where another daemon has been quicker, ``OSError`` where the disk does not
        let us.
        """
        if self.stands:
            return False
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _same(self._descriptor, self.file.parent) and _read_only(self.file.parent):
            return False
        fresh = self._take()
        os.close(self._descriptor)
        self._descriptor = fresh
        return True

    def release(self) -> None:
        if self.stands and not _read_only(self.file.parent):
            self.file.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _take(self) -> int:
        while True:
            lock = self._open()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = "" if _read_only(self.file.parent) else os.pread(lock, 20, 0).decode(errors="replace").strip()
                os.close(lock)
                who = f"a daemon (pid {owner or 'unknown'})"
                raise SocketTakenError(
                    f"{who} {self._what}. Stop it first, or choose another with {self._option}"
                ) from error
            if _same(lock, self.file):
                self._check_ours(lock)
                _sign(lock)
                return lock
            if _same(lock, self.file.parent):
                return lock
            os.close(lock)  # it was removed by a daemon that stopped just now: lock its successor

    def _check_ours(self, lock: int) -> None:
        """Raise `SocketTakenError` for a file that no daemon has made: it is to be neither emptied nor deleted."""
        regular = stat.S_ISREG(os.fstat(lock).st_mode)
        if regular and _SIGNED.fullmatch(os.pread(lock, 64, 0)):
            return
        os.close(lock)
        raise SocketTakenError(
            f"{self.file} is needed for a lock, and holds something else: move it away, or choose another with "
            f"{self._option}"
        )

    def _open(self) -> int:
        try:
            return os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
        try:
            return os.open(self.file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return os.open(self.file.parent, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def claim(path: Path, given: Sequence[socket.socket] = ()) -> Iterator[Lock]:
    """Make ``path`` this process's own until the ``with`` ends; then the socket file is removed.

    A lock beside it tells a living daemon from a stale socket, which is removed. Sockets that were ``given``
    to us listen there already, and stay. The folder is made with mode 0700, and must be ours and closed to
    others. Raises `SocketTakenError`, also where ``path`` is anything but a socket: that is not ours to remove.
    Blocks on the disk.
    """
    length = len(os.fsencode(path))
    if length > max_socket_path():
        raise SocketTakenError(
            f"the socket path is {length} bytes long, and this system allows {max_socket_path()}: {path}. "
            "Choose a shorter one with --socket or ROUTERD_SOCKET"
        )
    for listening in given:
        _check_name(listening.getsockname(), path)
    if path.suffix == ".lock":
        raise SocketTakenError(f"the socket cannot end in .lock, which is the name of its lock: {path}")
    _private_folder(path.parent)
    if not given:
        _check_free(path)
    if not given and _read_only(path.parent):
        raise SocketTakenError(
            f"the socket's folder {path.parent} is on a read-only disk; choose another with --socket"
        )
    lock = Lock(path.with_suffix(".lock"), f"already listens on {path}", "--socket")
    try:
        if not given:
            path.unlink(missing_ok=True)
        yield lock
    finally:
        if lock.stands and not given and _worthless(path):
            path.unlink(missing_ok=True)
        lock.release()


@contextmanager
def hold(state: Path) -> Iterator[Lock]:
    """Keep other daemons off the state folder until the ``with`` ends: each would reap the other's workers. Makes it
    where it is missing.

    Raises `SocketTakenError`. Blocks on the disk.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SocketTakenError(
            f"the state folder {state} cannot be made ({disk.reason(error)}); choose another with --state-dir"
        ) from error
    lock = Lock(state / "daemon.lock", f"uses the state folder {state}", "--state-dir")
    try:
        yield lock
    finally:
        lock.release()


def _check_free(path: Path) -> None:
    mode = _mode(path)
    if mode and not stat.S_ISSOCK(mode):
        raise SocketTakenError(
            f"{path} is no socket, and routerd does not delete what it has not made: "
            "move it away, or choose another path with --socket"
        )


def _worthless(path: Path) -> bool:
    """Tell whether ``path`` may be deleted: it is a socket, or an empty file that has taken its place."""
    mode = _mode(path)
    return stat.S_ISSOCK(mode) or (stat.S_ISREG(mode) and not path.lstat().st_size)


def _mode(path: Path) -> int:
    """Return the mode of what is at ``path``, a link not followed; 0 where there is nothing."""
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return 0


def _check_name(given: str, path: Path) -> None:
    if os.path.realpath(given) != os.path.realpath(path):
        raise SocketTakenError(
            f"the service manager listens on {given}, and the socket is to be {path}. "
            "Run routerctl install again, with the same settings as routerd"
        )


def _same(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except OSError:
        return False


def _sign(lock: int) -> None:
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        pass  # a full disk, or a read-only one: then nobody is told our pid


def _read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.stat()
    except OSError as error:
        raise SocketTakenError(f"the socket's folder cannot be made: {error}") from error
    if info.st_uid != os.getuid():
        raise SocketTakenError(f"the socket's folder {folder} belongs to another user; choose another with --socket")
    if stat.S_IMODE(info.st_mode) & 0o077:
        way = f"Close it with: chmod 700 {folder}"
        if disk.shared(info.st_mode) or any(folder.iterdir()):  # others' files may need it open
            way = f"Choose a folder of your own: --socket {folder / 'routerd' / 'routerd.sock'}"
        raise SocketTakenError(f"other users can reach the socket's folder {folder}. {way}")
