"""The ledger's file, and the memory that stands in for it while it cannot be written. Belongs to one thread."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import structlog

from .. import disk
from .schema import CARRIED, TABLES, CorruptError, NewerSchemaError, migrate
from .sound import MONEY, ROWS, check_sound, count_damaged, expected

log = structlog.get_logger()

BUSY_S = 5.0
"""So long somebody else (a backup, the sqlite3 shell) may hold the file before it counts as unwritable."""
KEPT_IN_MEMORY = 10_000
"""Rows of each table that may wait in memory for the file."""
HISTORY_LOST = "history_lost"
"""Key in ``meta``: why what was spent before is not known."""

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNUSABLE = _CORRUPT | {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class FileGoneError(sqlite3.OperationalError):
    """The file was moved or removed while it was open; what is written would go nowhere."""


class Job:
    """One piece of work; afterwards it has a ``result`` or the ``error`` that the work raised."""

    def __init__(self, work: Callable[[sqlite3.Connection], Any], *, reads: bool = False) -> None:
        self.work = work
        self.reads = reads
        """Whatever it writes is taken back."""
        self.result: Any = None
        self.error: BaseException | None = None

    def carry_out(self, connection: sqlite3.Connection) -> None:
        """Do the work. Raises what it raises, and leaves the undoing to whom it may concern."""
        self.error = None
        self.result = self.work(connection)

    def carry_out_alone(self, connection: sqlite3.Connection) -> None:
        """The same; undo it alone where it fails. Raises what says that the file is unusable."""
        self.error = None
        connection.execute("SAVEPOINT job")
        try:
            self.result = self.work(connection)
        except Exception as error:
            if unusable(error):
                raise
            self.error = error
        if self.error or self.reads:
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")


class Database:
    """``connection`` is the file's in mode ``file``, and one to memory in mode ``memory``, with the ``reason``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mode: Literal["file", "memory"] = "memory"
        self.reason = "not open yet"
        self.connection: sqlite3.Connection | None = None
        self.dropped = 0
        """Rows for which memory had no room."""
        self.set_aside = ""
        """The newest damaged file that stands beside this one; ``""`` where there is none."""
        self._inode = 0

    def open(self) -> None:
        """Open or make the file; go on in memory where that is impossible."""
        self._look_aside()
        try:
            self.connection, _ = self._open_file()
            self.mode, self.reason = "file", ""
        except Exception as error:
            self._give_up(error)

    def close(self) -> None:
        if self.connection:
            self.connection.close()

    def run(self, jobs: list[Job]) -> None:
        """All of ``jobs`` in one transaction, durable on return; in memory where the file turns out unusable.

        Raises ``sqlite3.Error`` only where memory fails too.
        """
        try:
            self._transaction(jobs)
        except sqlite3.Error as error:
            if self.mode == "memory":
                raise
            self._give_up(error)
            self._transaction(jobs)

    def recover(self) -> bool:
        """Try to write to the file again what is in memory; whether it is the file's turn again. Blocks."""
        assert self.mode == "memory"
        assert self.connection
        self._prune(self.connection)
        try:
            file, fresh = self._open_file()
        except (sqlite3.Error, NewerSchemaError, OSError) as error:
            self.reason = str(error)
            return False
        try:
            _write_back(self.connection, file, fresh=fresh)
        except sqlite3.Error as error:
            self.reason = str(error)
            file.close()
            return False
        self.connection.close()
        self.connection, self.mode, self.reason = file, "file", ""
        return True

    def _transaction(self, jobs: list[Job]) -> None:
        connection = self.connection
        assert connection
        if self.mode == "file":
            self._check_place()
        if self.set_aside:
            self._look_aside()  # until somebody has looked at it and taken it away
        if not any(job.reads for job in jobs):
            try:
                with _committed(connection):
                    for job in jobs:
                        job.carry_out(connection)
            except Exception as error:
                if unusable(error):
                    raise
            else:
                return
        # A savepoint for each takes a sixth of the time of a commit, so only where one of them fails.
        with _committed(connection):
            for job in jobs:
                job.carry_out_alone(connection)

    def _open_file(self) -> tuple[sqlite3.Connection, bool]:
        """The file's connection, and whether the file is new."""
        disk.check_free(self.path)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
        connection.text_factory = _lenient
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # NORMAL would lose commits to a power cut
            connection.execute("PRAGMA checkpoint_fullfsync = ON")
            fresh = migrate(connection)
            check_sound(connection)
            self._inode = self.path.stat().st_ino
        except BaseException:
            connection.close()
            raise
        return connection, fresh

    def _check_place(self) -> None:
        try:
            there = self.path.stat().st_ino == self._inode
        except OSError:
            there = False
        if not there:
            raise FileGoneError(f"{self.path} was moved or removed")

    def _give_up(self, error: Exception) -> None:
        """Go on in memory. A corrupt file is set aside, and a new one begun at once."""
        log.error("ledger.unusable", path=str(self.path), error=str(error))
        memory = sqlite3.connect(":memory:", isolation_level=None)
        memory.text_factory = _lenient
        migrate(memory)
        lost = self._carry(memory)
        if lost:
            why = lost if str(error) in lost else f"{error}; {lost}"
            memory.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (HISTORY_LOST, why))
        if self.connection:
            with suppress(sqlite3.Error):
                self.connection.close()
        self.connection, self.mode, self.reason = memory, "memory", str(error)
        if corrupt(error):
            self._set_aside()
        if corrupt(error) or isinstance(error, FileGoneError):
            self.recover()

    def _carry(self, memory: sqlite3.Connection) -> str:
        """Copy what limits and loads hang on; return what of the money could not be read, ``""`` where all could."""
        lost: list[str] = []
        try:
            with nullcontext(self.connection) if self.connection else closing(_salvaging(self.path)) as source:
                found = {table: _carried(source, memory, table) for table in CARRIED}
            lost = [why for table, why in found.items() if why and table in MONEY]
        except (sqlite3.Error, OSError) as error:
            lost = [str(error)]
        return f"the ledger cannot be read: {lost[0]}" if lost else ""

    def _set_aside(self) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%S")
        for suffix in ("", "-wal", "-shm"):
            name = f"{self.path.name}{suffix}"
            with suppress(OSError):  # where it cannot be renamed, memory goes on
                self.path.with_name(name).rename(self.path.with_name(f"{self.path.name}.corrupt-{stamp}{suffix}"))
        self._look_aside()
        log.warning("ledger.set_aside", path=str(self.path), as_=f"{self.path.name}.corrupt-{stamp}")

    def _look_aside(self) -> None:
        found = self.path.parent.glob(f"{self.path.name}.corrupt-*")
        self.set_aside = max((str(file) for file in found if not file.name.endswith(("-wal", "-shm"))), default="")

    def _prune(self, memory: sqlite3.Connection) -> None:
        """Keep the newest rows where the file is away for long; money is never pruned."""
        for table in ("decisions", "attempts", "texts"):
            gone = memory.execute(
                f"DELETE FROM {table} WHERE rowid <= (SELECT max(rowid) FROM {table}) - ?",  # noqa: S608 - our names
                (KEPT_IN_MEMORY,),
            )
            self.dropped += gone.rowcount


@contextmanager
def _committed(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction; undone where what is inside raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has ended it already after some faults
            connection.execute("ROLLBACK")
        raise


def read(path: Path, query: Callable[[sqlite3.Connection], Any]) -> Any:
    """``query`` on the file's own read-only connection. Blocks; raises ``sqlite3.Error``."""
    with closing(_reading(path)) as connection:
        return query(connection)


def salvage(path: Path, query: Callable[[sqlite3.Connection], Any]) -> Any:
    """The same, also where the file's folder cannot be written. Blocks; raises ``sqlite3.Error`` and ``OSError``."""
    with closing(_salvaging(path)) as connection:
        return query(connection)


def check(connection: sqlite3.Connection) -> None:
    """Look through all of it. Raises `CorruptError`."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise CorruptError(f"database disk image is malformed: {found}")
    check_sound(connection)


def corrupt(error: BaseException) -> bool:
    """Whether ``error`` says that what is in the file cannot be used."""
    return _code(error) in _CORRUPT


def unusable(error: BaseException) -> bool:
    """Whether ``error`` speaks of the file and not of a statement."""
    return _code(error) in _UNUSABLE


def _code(error: BaseException) -> int:
    """SQLite's primary result code; 0 for what is none of its errors."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else 0


def _reading(path: Path, mode: str = "mode=ro") -> sqlite3.Connection:
    """A connection that cannot write."""
    address = f"file:{quote(str(path))}?{mode}"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None)
    connection.text_factory = _lenient
    return connection


def _salvaging(path: Path) -> sqlite3.Connection:
    """The same, also of a file in a folder that cannot be written: SQLite wants to, beside a file of this kind."""
    unwritten = path.with_name(f"{path.name}-wal")
    whole = not unwritten.exists() or not unwritten.stat().st_size
    return _reading(path, "mode=ro&immutable=1" if whole else "mode=ro")


def _write_back(memory: sqlite3.Connection, file: sqlite3.Connection, *, fresh: bool) -> None:
    file.execute("BEGIN IMMEDIATE")
    try:
        if not fresh:  # it can be read again, so nothing is lost
            memory.execute("DELETE FROM meta WHERE key = ?", (HISTORY_LOST,))
        for table in TABLES:
            _copy(memory, file, table)
        # A commit that writes nothing would succeed on a full disk.
        file.execute("INSERT OR REPLACE INTO meta VALUES ('recovered', ?)", (str(time.time()),))
        file.execute("COMMIT")
    except BaseException:
        if file.in_transaction:
            file.execute("ROLLBACK")
        raise


def _carried(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> str:
    """Copy what can be used of ``table``; returns what could not, ``""`` where all could."""
    try:
        damaged = count_damaged(source, table)
        _copy(source, target, table, ROWS[table])
    except sqlite3.Error as error:
        return str(error)
    return f"{damaged} of its table {table} cannot be used" if damaged else ""


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str, where: str = "1") -> None:
    """Rows have keys of their own, so a row that is there already is replaced by itself."""
    names = ", ".join(expected()[table])
    marks = ", ".join("?" * len(expected()[table]))
    rows = source.execute(f"SELECT {names} FROM {table} WHERE {where}")  # noqa: S608 - our names
    target.executemany(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", rows)  # noqa: S608


def _lenient(data: bytes) -> str:
    """Decode text that somebody else may have written: one damaged value must not hide its row."""
    return data.decode("utf-8", "replace")
