"""Logging: JSON lines to a rotating file, one readable line to the terminal. Written off the loop."""

from __future__ import annotations

import json
import logging
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

MAX_BYTES = 10_000_000
MAX_AGE_S = 7 * 86_400.0
KEEP = 5

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


@contextmanager
def logging_to(file: Path | None, *, level: str = "info", terminal: bool = True) -> Iterator[None]:
    """Send every log line to ``file`` (a new one at 10 MB or after a week, five older kept) and, unless told
    otherwise, to stderr.

    Raises ``OSError`` where the file cannot be opened. Leaving flushes.
    """
    handlers: list[logging.Handler] = []
    if file:
        to_file = _File(file)
        to_file.setFormatter(_formatter(structlog.processors.JSONRenderer(serializer=_json)))
        handlers.append(to_file)
    if terminal:
        to_terminal = logging.StreamHandler(sys.stderr)
        to_terminal.setFormatter(_formatter(_readable))
        handlers.append(to_terminal)
    # A full disk must not end the daemon, nor print a traceback for each line.
    logging.raiseExceptions = False
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = QueueListener(lines, *handlers)
    root = logging.getLogger("routerd")
    root.propagate = False
    root.handlers = [_Handler(lines)]
    set_level(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=lambda *_: root,
        cache_logger_on_first_use=False,
    )
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        for handler in handlers:
            try:
                handler.close()
            except OSError:
                pass  # a full disk has no room for the last lines either


def set_level(level: str) -> None:
    """``debug``, ``info``, ``warning`` or ``error``; takes effect at once."""
    logging.getLogger("routerd").setLevel(level.upper())


class _File(RotatingFileHandler):
    """A new file at `MAX_BYTES`, or when the oldest line of this one is `MAX_AGE_S` old."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._began = _first_time(path)
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=KEEP, encoding="utf-8")

    def shouldRollover(self, record: logging.LogRecord) -> int:  # noqa: N802 - the base class calls it so
        if not self._path.exists():
            self._reopen()
        self._began = self._began or record.created
        return record.created - self._began >= MAX_AGE_S or super().shouldRollover(record)

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
        with path.open("rb") as file:
            return datetime.fromisoformat(json.loads(file.readline(65536))["timestamp"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return None


class _Handler(QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # the formatters on the other side want the dictionary, not its text


def _formatter(renderer: structlog.typing.Processor) -> structlog.stdlib.ProcessorFormatter:
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return structlog.stdlib.ProcessorFormatter(processors=[remove, renderer])


def _json(event: EventDict, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _readable(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    time, level, what = event.pop("timestamp", ""), event.pop("level", ""), event.pop("event", "")
    trouble = event.pop("exception", "")
    pairs = " ".join(f"{key}={value}" for key, value in event.items())
    line = f"{time[11:23]} {level:<7} {what:<22} {pairs}".rstrip()
    return f"{line}\n{trouble}" if trouble else line
