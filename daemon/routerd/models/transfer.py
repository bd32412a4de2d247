"""One file from elsewhere: resumed, retried, and checked before it counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from msgspec import Struct

from .errors import PrepareError
from .listing import ListedFile

PAUSES_S = (1.0, 2.0, 4.0, 8.0)
"""How long is waited before trying again, where the server does not say; then it is given up."""
LONGEST_S = 120.0
"""A server that asks to be left alone for longer is not waited for."""


class TransientError(Exception):
    """The same request may succeed later: in ``retry_after`` seconds, where the server said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WrongLengthError(Exception):
    """The server has nothing at the position that was asked for."""


class Patience:
    """What is left of the will to try again."""

    def __init__(self, wait: Callable[[float], None] = time.sleep) -> None:
        self._wait = wait
        self._tried = 0

    def restore(self) -> None:
        """Something was gained: begin anew."""
        self._tried = 0

    def lose(self, error: TransientError) -> None:
        """Block for as long as is fit after ``error``. Raises `PrepareError` where it is enough."""
        if self._tried == len(PAUSES_S):
            raise PrepareError(f"{error} (tried {self._tried + 1} times)", hint="try again later") from error
        pause = PAUSES_S[self._tried] if error.retry_after is None else error.retry_after
        if pause > LONGEST_S:
            raise PrepareError(str(error), hint=f"it asks to be left alone for {pause:.0f} s") from error
        self._tried += 1
        self._wait(pause)


class Body(Struct, frozen=True):
    """Content from the position ``start`` on, which may be another one than was asked for."""

    start: int
    blocks: Iterator[bytes]


Open = Callable[[int], AbstractContextManager[Body]]
"""Asks for a file's content from a position on. Raises `TransientError` and `WrongLengthError`, while reading too."""


def receive(target: Path, file: ListedFile, open_at: Open, on_size: Callable[[int], None]) -> None:
    """Make ``target`` hold ``file``; it appears once its size and hash are right.

    What an earlier attempt left in `part_of` it is not asked for again. ``on_size``
    gets the size of that file whenever it grew. Blocks. Raises `PrepareError` where the content is
    not what was listed, of which nothing is then kept, and ``OSError`` where it cannot be written.
    """
    part = part_of(target)
    part.parent.mkdir(parents=True, exist_ok=True)
    # What was left of an earlier attempt may be damaged: then once more, without it.
    for _ in range(2 if part.exists() else 1):
        if _fill(part, file, open_at, on_size):
            part.replace(target)
            return
        part.unlink(missing_ok=True)
    raise PrepareError("what was sent is not what the hub lists: its size or hash is another", hint="try again")


def _fill(part: Path, file: ListedFile, open_at: Open, on_size: Callable[[int], None]) -> bool:
    patience = Patience()
    while (size := _size(part)) < file.size or not part.exists():
        try:
            _continue(part, size, file.size, open_at, on_size)
        except TransientError as error:
            if _size(part) > size:
                patience.restore()
            patience.lose(error)
        except WrongLengthError:
            return False
    return file.matches(part)


def part_of(target: Path) -> Path:
    """Where `receive` keeps what it has of ``target`` so far."""
    return target.with_name(target.name + ".part")


def _continue(part: Path, size: int, wanted: int, open_at: Open, on_size: Callable[[int], None]) -> None:
    with open_at(size) as body, part.open("r+b" if part.exists() else "wb") as out:
        out.truncate(body.start)
        out.seek(body.start)
        for block in body.blocks:
            out.write(block)
            on_size(out.tell())
            if out.tell() > wanted:
                raise WrongLengthError
        out.flush()
        # After a power cut, a file whose name says that it is whole must be.
        os.fsync(out.fileno())
        if out.tell() < wanted:
            raise TransientError(f"the connection ended after {out.tell()} of {wanted} bytes")


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
