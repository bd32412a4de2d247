"""Seeing that the configuration file has new content, however an editor or a tool put it there."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import anyio
import structlog
from watchfiles import awatch

from .. import disk
from .load import digest, read_bytes
from .threads import require_threads

T = TypeVar("T")
log = structlog.get_logger()

_STEP_MS = 200  # the thread that waits for events wakes this often, also when idle
_SETTLE = 0.1
_SETTLE_ROUNDS = 20  # a file that never comes to rest is reported all the same
_AWAY = 1.0  # some put a file away before they write it anew
_MAX_LINKS = 40
_THREADS = 3

_Folders = dict[str, tuple[int, int]]


async def changes(
    path: Path, stop: anyio.Event | None = None, *, last: str | None = None, poll: float = 1.0
) -> AsyncGenerator[str, None]:
    """Yield the file's new `digest` each time its content has changed and come to rest.

    ``last`` is the digest of the content that the caller knows already; without it, the content at
    the first step counts as known. Versions that come and go while the caller is busy are skipped,
    the newest never is. A file that is missing or unreadable for more than a second yields ``""``, once,
    and then whatever comes back; an empty one is content. Never raises for what happens to the file.
    Seen within about half a second, or ``poll`` seconds more where the file system sends no events:
    bind mounts, network folders, and swapped folders further up.

    Ends within 0.2 s of ``stop`` being set. Cancelling sets ``stop`` too. Close it with `aclosing`.
    """
    path = _absolute(path)
    known = await _first(path) if last is None else last
    stamp: tuple[int, ...] | None = ()  # like none: the first step looks, also where there is no file
    stop = stop or anyio.Event()
    async with aclosing(_nudges(path, stop, poll)) as nudges:
        async for happened in nudges:
            try:
                now = await _off_loop(_stamp, path)
                if now == stamp and not happened:
                    continue
                # taken before the content is read: what is written meanwhile shows in the next one
                stamp = now
                found = await _settled(path)
                if found is None and known is not None:
                    with anyio.move_on_after(_AWAY):
                        await stop.wait()
                        return
                    found = await _settled(path)
            except OSError as error:  # a disk that hangs, or no more threads: nothing is known of the file
                log.warning("watch.blind", path=str(path), error=str(error))
                stamp = ()
                continue
            if found != known:
                known = found
                yield found or ""


def _absolute(path: Path) -> Path:
    return path.absolute()  # asks for the working directory, and no other disk


async def _first(path: Path) -> str | None:
    try:
        return await _off_loop(_digest, path)
    except OSError:
        return None


async def _off_loop(look: Callable[[Path], T], path: Path) -> T:
    """Return ``look(path)``. Raises ``OSError`` where the disk hangs; all else ``look`` has an answer to."""
    return await disk.run(look, path, what=path)


async def _settled(path: Path) -> str | None:
    """The content's digest once it stays the same; None for a file that is not there."""
    found = await _off_loop(_digest, path)
    for _ in range(_SETTLE_ROUNDS):
        await anyio.sleep(_SETTLE)
        again = await _off_loop(_digest, path)
        if again == found:
            break
        found = again
    return found


async def _nudges(path: Path, stop: anyio.Event, poll: float) -> AsyncGenerator[bool, None]:
    """True when something happened near the file, False when a poll is due."""
    while not stop.is_set():
        try:
            folders = await _off_loop(_folders, path)
            async with aclosing(_events(folders, stop, poll)) as events:
                async for happened in events:
                    yield happened
                    # a watch stays with a folder that was replaced, and would never hear again
                    if await _off_loop(_folders, path) != folders:
                        break
        except Exception:
            # a folder that went away or was closed at this moment, no more inotify watches, no more threads: polling
            # still works
            await anyio.sleep(poll)
            yield False


async def _events(folders: _Folders, stop: anyio.Event, poll: float) -> AsyncGenerator[bool, None]:
    require_threads(_THREADS)  # without them the watcher's own code, which is not Python's, aborts the process
    watching = awatch(
        *folders,
        watch_filter=None,
        step=_STEP_MS,
        stop_event=stop,
        rust_timeout=round(poll * 1000),
        yield_on_timeout=True,
        recursive=False,
    )
    async with aclosing(watching) as batches:
        async for batch in batches:
            yield bool(batch)


def _folders(path: Path) -> _Folders:
    """The folders whose entries decide what ``path`` leads to, with their identities.

    That of the file, and of each link's target on the way to it; the nearest one above where a
    folder is not there yet.
    """
    folders: _Folders = {}
    for _ in range(_MAX_LINKS):
        folder = Path(os.path.realpath(path.parent))
        while not folder.is_dir():
            folder = folder.parent
        info = folder.stat()
        folders[str(folder)] = (info.st_dev, info.st_ino)
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return folders


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def _digest(path: Path) -> str | None:
    try:
        return digest(read_bytes(path))
    except OSError:
        return None
