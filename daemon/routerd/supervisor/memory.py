"""Memory claimed before a load starts, so that two loads can never both count on the same bytes."""

from __future__ import annotations

from types import TracebackType


class MemoryFullError(RuntimeError):
    """A claim does not fit the budget; the message has the numbers."""


class Reservation:
    """Bytes claimed for one process. Given back by ``release``, or at the end of a ``with``."""

    def __init__(self, book: MemoryBook, owner: str, size: int) -> None:
        self._book = book
        self.owner = owner
        self.size = size

    def __repr__(self) -> str:
        return f"<Reservation {self.owner} {self.size} bytes>"

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        """Give the bytes back; again does nothing."""
        self._book.open.discard(self)


class MemoryBook:
    """The one account of claimed memory. ``budget`` in bytes; None accepts everything."""

    def __init__(self, budget: int | None = None) -> None:
        self.budget = budget
        self.open: set[Reservation] = set()

    @property
    def claimed(self) -> int:
        return sum(r.size for r in self.open)

    def reserve(self, owner: str, size: int) -> Reservation:
        """Claim ``size`` bytes. Raises `MemoryFullError`; never blocks."""
        if self.budget is not None and self.claimed + size > self.budget:
            raise MemoryFullError(
                f"{owner} needs {size} bytes; {self.claimed} of {self.budget} are claimed by "
                + (", ".join(sorted(r.owner for r in self.open)) or "nobody")
            )
        reservation = Reservation(self, owner, size)
        self.open.add(reservation)
        return reservation
