"""The disk: blocking work on it that is bounded for whoever waits, and small files that are read with care.

A disk that hangs (a network folder whose server is gone) must hold up neither the event loop nor the daemon's stop. So
the threads here are the daemon's own, few, and none is joined at exit.
"""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import anyio
import structlog

T = TypeVar("T")
log = structlog.get_logger()

WITHIN_S = 10.0
"""How long whoever waits for the disk waits, unless the work is a long one."""
LEAVE_S = 2.0
"""The same for what is put away at the end of the program."""
THREADS = 32
IDLE_S = 30.0
"""A thread without work ends after this long."""
SMALL = 1024 * 1024
"""The bytes that a state file or a persona may have."""


hung = threading.Event()
"""Set once something was not waited for: the end of the program is not to wait for it either."""


class DiskError(OSError):
    """A failure of the disk or of a file, in words; ``strerror`` has them too."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)
        self._message = message

    def __str__(self) -> str:
        return self._message


class DiskStuckError(DiskError):
    """Work on the disk that did not end within its bound. ``place`` is the file it was at, ``mark`` whatever the work
    has noted beside it."""

    def __init__(self, place: str, within: float, mark: object = None) -> None:
        what = f"the disk did not answer within {within:g} s: {place}; check that disk, or the network share it is on"
        super().__init__(errno.ETIMEDOUT, what)
        hung.set()
        self.place = place
        self.mark = mark


async def run(work: Callable[..., T], *arguments: Any, what: object, within: float = WITHIN_S, key: object = None) -> T:
    """Return ``work(*arguments)``, done by a thread of the disk's; raise what it raises.

    Raises `DiskStuckError` after ``within`` seconds, ``what`` being the place that messages name unless the work has
    noted a nearer one. The stuck work keeps its thread until it ends; until then further calls for the same ``key``
    (default: ``what``) take no thread, and wait for that one. Cancelling leaves at once, whatever becomes of the work.
    """
    loop, key = asyncio.get_running_loop(), str(key or what)
    call: _Call | None = None
    with anyio.move_on_after(within):
        while (call := _left.get(key)) and call.loop is loop:
            await call.ended.wait()
        call = _Call(partial(work, *arguments), str(what), key, loop)
        try:
            _threads.put(call)
            result: T = await call.answer
            return result
        finally:
            call.leave()
    raise DiskStuckError(call.place if call else str(what), within, call.mark if call else None)


def wait(work: Callable[..., T], *arguments: Any, what: object, within: float = WITHIN_S) -> T:
    """Do the same as `run` without an event loop."""
    ends: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def carry_out() -> None:
        try:
            ends.put((work(*arguments), None))
        except BaseException as error:
            ends.put((None, error))

    threading.Thread(target=carry_out, name="disk", daemon=True).start()
    try:
        result, error = ends.get(timeout=within)
    except queue.Empty:
        raise DiskStuckError(str(what), within) from None
    if error:
        raise error
    return cast("T", result)


class _Call:
    """One piece of work on its way through a thread, and whoever waits for it on ``loop``."""

    def __init__(self, work: Callable[[], Any], place: str, key: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.answer: asyncio.Future[Any] = loop.create_future()
        self.ended = anyio.Event()
        self.place = place
        self.mark: object = None
        self._key = key
        self._work = work
        self._begun = self._dropped = False

    def leave(self) -> None:
        """Wait no longer; what has begun and not ended is remembered."""
        self._dropped = True
        if self._begun and not self.ended.is_set():
            _left[self._key] = self

    def carry_out(self) -> None:
        """Do the work and report it. Runs in a thread."""
        if self._dropped:
            return
        self._begun, _here.call = True, self
        result: Any = None
        error: BaseException | None = None
        try:
            result = self._work()
        except StopIteration as stop:  # a future takes none
            error = RuntimeError(repr(stop))
        except BaseException as caught:
            error = caught
        _here.call = None
        try:
            self.loop.call_soon_threadsafe(self._end, result, error)
        except RuntimeError:
            pass  # the loop is closed, and nobody waits any more

    def _end(self, result: Any, error: BaseException | None) -> None:
        self.ended.set()
        if _left.get(self._key) is self:
            del _left[self._key]
        if self.answer.done():
            return
        if error:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(result)


class _Threads:
    """Up to ``most`` daemon threads, begun when there is work for them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._count = 0
        self._free = 0
        """Idle threads, less the calls that wait for one."""

    def put(self, call: _Call) -> None:
        """Have ``call`` carried out. Raises `DiskError` where the system gives no thread at all."""
        with self._lock:
            if self._free <= 0 and self._count < self._most:
                self._begin()
            self._free -= 1
            self._calls.put(call)

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._run, name="disk", daemon=True).start()
        except RuntimeError:
            if not self._count:
                raise DiskError(errno.EAGAIN, "the system has no more threads: end other programs") from None
            return  # those that there are come to it
        self._count += 1
        self._free += 1

    def _run(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=IDLE_S)
            except queue.Empty:
                with self._lock:
                    if not self._calls.empty():
                        continue
                    self._free -= 1
                    self._count -= 1
                return
            call.carry_out()
            del call
            with self._lock:
                self._free += 1


_threads = _Threads(THREADS)
_left: dict[str, _Call] = {}
"""Work that nobody waits for any more and that has not ended, by key."""
_not_left: list[object] = []
_here = threading.local()


def stuck(key: object) -> bool:
    """Tell whether work with this ``key`` has been abandoned and not ended."""
    return str(key) in _left


def at(path: Path, mark: object = None) -> None:
    """Note that the work of this thread is now at ``path``: where it hangs, the message names that, and the error has
    ``mark``."""
    call: _Call | None = getattr(_here, "call", None)
    if call:
        if mark or call.place != str(path):
            call.mark = mark
        call.place = str(path)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; never waits for another process. Blocks on the disk.

    Raises ``OSError``, which says in words what is there instead of a regular file.
    """
    at(path)
    try:
        _check_regular(path.stat().st_mode)  # some devices do not bear to be opened
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError:
        raise DiskError(errno.EINVAL, "its name has a NUL character") from None
    try:
        _check_regular(os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise DiskError(errno.EINVAL, "it is not a regular file")


def check_free(path: Path) -> None:
    """Raise ``OSError`` where something is at ``path`` that is no regular file. Blocks on the disk."""
    try:
        _check_regular(path.stat().st_mode)
    except FileNotFoundError:
        pass


def read(path: Path, most: int = SMALL) -> bytes:
    """Return the bytes of a regular file that has no more than ``most``. Blocks on the disk. Raises ``OSError``."""
    with opened(path) as file:
        data = cast("bytes | None", file.read(most + 1))
    if data is None:
        raise DiskError(errno.EAGAIN, "it has nothing to read now")
    if len(data) > most:
        raise DiskError(errno.EFBIG, f"it is larger than {_size(most)}")
    return data


def replace(path: Path, data: bytes) -> None:
    """Have a regular file at ``path`` hold ``data``, whole or not at all. Blocks on the disk. Raises ``OSError``; one
    call at a time for each path."""
    scratch = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    at(scratch)
    descriptor = os.open(scratch, flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        _check_regular(os.fstat(descriptor).st_mode)
        file.truncate(0)
        file.write(data)
    scratch.replace(path)


def shared(mode: int) -> bool:
    """Tell whether several users put files into a folder with ``mode``, such as /tmp."""
    return bool(mode & (stat.S_ISVTX | stat.S_IWGRP | stat.S_IWOTH))


@asynccontextmanager
async def entered(manager: AbstractContextManager[T], *, what: object) -> AsyncIterator[T]:
    """Enter and leave ``manager`` off the loop, each bounded. Raises what it raises, and `DiskStuckError` at the
    beginning; at the end a disk that hangs is only logged."""
    value = await run(manager.__enter__, what=what)
    try:
        yield value
    finally:
        with anyio.CancelScope(shield=True):
            try:
                await run(manager.__exit__, None, None, None, what=what, within=LEAVE_S, key=id(manager))
            except DiskError as error:
                log.error("disk.stuck", error=str(error))
                _not_left.append(manager)  # else it is left, on the loop, when nobody knows it any more


def expanded(text: str) -> Path:
    """Return the path that ``text`` means; where it begins with the home of no user, ``text`` as it stands."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def reason(error: BaseException) -> str:
    """Say in words why something on the disk cannot be used; the path is not part of it."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _size(count: int) -> str:
    return f"{count // 1024**2} MiB" if count >= 1024**2 else f"{count // 1024} KiB"
