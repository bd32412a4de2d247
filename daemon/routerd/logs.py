"""Logging: JSON lines to a rotating file, one readable line to the terminal. Written off the loop."""

from __future__ import annotations

import logging
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path

import structlog
from structlog.typing import EventDict, WrappedLogger

MAX_BYTES = 10_000_000
KEEP = 5

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


@contextmanager
def logging_to(file: Path | None, *, level: str = "info", terminal: bool = True) -> Iterator[None]:
    """Send every log line to ``file`` (rotated at 10 MB, five kept) and, unless told otherwise, to stderr.

    Raises ``OSError`` where the file cannot be opened. Leaving flushes.
    """
    handlers: list[logging.Handler] = []
    if file:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        to_file = RotatingFileHandler(file, maxBytes=MAX_BYTES, backupCount=KEEP, encoding="utf-8")
        to_file.setFormatter(_formatter(structlog.processors.JSONRenderer()))
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
            handler.close()


def set_level(level: str) -> None:
    """``debug``, ``info``, ``warning`` or ``error``; takes effect at once."""
    logging.getLogger("routerd").setLevel(level.upper())


class _Handler(QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # the formatters on the other side want the dictionary, not its text


def _formatter(renderer: structlog.typing.Processor) -> structlog.stdlib.ProcessorFormatter:
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return structlog.stdlib.ProcessorFormatter(processors=[remove, renderer])


def _readable(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    time, level, what = event.pop("timestamp", ""), event.pop("level", ""), event.pop("event", "")
    trouble = event.pop("exception", "")
    pairs = " ".join(f"{key}={value}" for key, value in event.items())
    line = f"{time[11:23]} {level:<7} {what:<22} {pairs}".rstrip()
    return f"{line}\n{trouble}" if trouble else line
