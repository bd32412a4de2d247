"""Logging: JSON lines to a rotating file, one readable line to the terminal. Written off the loop."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import NoReturn, cast

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from . import disk

MAX_BYTES = 10_000_000
MAX_AGE_S = 7 * 86_400.0
KEEP = 5

_TOGETHER_S = 0.02
"""So long a line may wait for others, so that a busy loop is not disturbed for each."""
STOP_S = 5.0
"""How long the last lines may take."""
MOST_WAITING = 50_000
"""Lines that may wait for a disk that is stuck; of further ones only their number is told."""
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class _Lines:
    """What structlog gives its lines to: a thread writes them. Of the logging library only the writing end is used:
    its front takes as long as all else that is done for a line, on the loop."""

    def __init__(self) -> None:
        self.least = _LEVELS["info"]
        self.stuck = False
        """Whether the thread still waits for its disk, after the end."""
        self._waiting: deque[EventDict] = deque()
        self._lost = 0
        self._news = threading.Event()
        self._end = threading.Event()
        self._end.set()

    def info(self, event: EventDict) -> None:
        if self._end.is_set():
            return  # nobody writes it
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            return
        self._waiting.append(event)
        if not self._news.is_set():
            self._news.set()

    debug = warning = error = critical = info

    @contextmanager
    def written(self, handlers: Sequence[logging.Handler]) -> Iterator[None]:
        """Have ``handlers`` write the lines that come meanwhile, all of them."""
        self._end.clear()
        thread = threading.Thread(target=self._run, args=(handlers,), name="log", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            self._news.set()
            thread.join(STOP_S)
            self.stuck = thread.is_alive()
            if self.stuck:
                disk.hung.set()

    def _run(self, handlers: Sequence[logging.Handler]) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            last = self._end.is_set()
            while self._waiting:
                _write(self._waiting.popleft(), handlers)
            lost, self._lost = self._lost, 0
            if lost:
                now = datetime.now(UTC).isoformat()
                _write({"event": "log.dropped", "lines": lost, "level": "error", "timestamp": now}, handlers)
            if last:
                return
            self._end.wait(_TOGETHER_S)


def _write(event: EventDict, handlers: Sequence[logging.Handler]) -> None:
    record = logging.makeLogRecord({"msg": event})
    for handler in handlers:
        handler.handle(record)


_lines = _Lines()


@contextmanager
def logging_to(file: Path | None, *, level: str = "info", terminal: bool = True) -> Iterator[None]:
    """Send every log line to ``file`` (a new one at 10 MB or after a week, five older kept) and, unless told
    otherwise, to stderr. Where the file cannot be opened they go to stderr in any case, and the first says why.

    Leaving flushes, for `STOP_S` at most.
    """
    handlers: list[logging.Handler] = []
    trouble: OSError | None = None
    try:
        handlers += [disk.wait(_to_file, file, what=file)] if file else []
    except OSError as error:
        trouble = error
    if terminal or trouble:
        to_terminal = logging.StreamHandler(sys.stderr)
        to_terminal.setFormatter(_Formatter(_readable))
        handlers.append(to_terminal)
    # A full disk must not end the daemon, nor print a traceback for each line.
    logging.raiseExceptions = False
    set_level(level)
    structlog.configure(
        processors=[
            _filtered,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            lambda _logger, _name, event: ((event,), {}),
        ],
        logger_factory=lambda *_: _lines,
        cache_logger_on_first_use=False,
    )
    try:
        with _lines.written(handlers):
            if trouble:
                structlog.get_logger().warning("log.unwritable", path=str(file), error=str(trouble))
            yield
    finally:
        for handler in () if _lines.stuck else handlers:
            try:
                handler.close()
            except OSError:
                pass  # a full disk has no room for the last lines either


def leave(status: int) -> NoReturn:
    """End the program; at once where a disk hangs, for at its exit Python would wait for whoever waits for it."""
    if disk.hung.is_set():
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def set_level(level: str) -> None:
    """``debug``, ``info``, ``warning`` or ``error``; takes effect at once."""
    _lines.least = _LEVELS[level]


def _filtered(_logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    if _LEVELS[name] < _lines.least:
        raise structlog.DropEvent
    return event


def _to_file(file: Path) -> logging.Handler:
    disk.check_free(file)  # whoever opens a FIFO waits for its reader
    handler = _File(file)
    handler.setFormatter(_Formatter(_json))
    return handler


class _Formatter(logging.Formatter):
    def __init__(self, render: Callable[[EventDict], str]) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        return self._render(dict(cast("EventDict", record.msg)))


class _File(RotatingFileHandler):
    """A new file at `MAX_BYTES`, or when the oldest line of this one is `MAX_AGE_S` old."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._began = _first_time(path)
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=KEEP, encoding="utf-8")

    def shouldRollover(self, record: logging.LogRecord) -> int:  # noqa: N802 - the base class calls it so
        try:
            size = self._path.stat().st_size
        except OSError:
            size = 0
            self._reopen()
        self._began = self._began or record.created
        return record.created - self._began >= MAX_AGE_S or size >= MAX_BYTES

    def doRollover(self) -> None:  # noqa: N802
        super().doRollover()
        self._began = None

    def _reopen(self) -> None:
        # Deleted under us: nobody could read what goes on being written there.
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.stream:
            self.stream.close()
        self.stream, self._began = self._open(), None


def _first_time(path: Path) -> float | None:
    """When the oldest line of the log was written, in seconds since 1970; None where nothing says so."""
    try:
        with disk.opened(path) as file:
            return datetime.fromisoformat(json.loads(file.readline(65536))["timestamp"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _json(event: EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _readable(event: EventDict) -> str:
    time, level, what = event.pop("timestamp", ""), event.pop("level", ""), event.pop("event", "")
    trouble = event.pop("exception", "")
    pairs = " ".join(f"{key}={value}" for key, value in event.items())
    line = f"{time[11:23]} {level:<7} {what:<22} {pairs}".rstrip()
    return f"{line}\n{trouble}" if trouble else line
