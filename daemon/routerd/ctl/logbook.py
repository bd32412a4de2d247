"""The daemon's log files, read back: which lines are wanted, and how a person reads one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

LEVELS = ("debug", "info", "warning", "error", "critical")
_COLOURS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "red"}
_HEAD = ("timestamp", "level", "event", "exception")

Event = dict[str, Any]


class Wanted(Struct, frozen=True):
    """Which lines to show. ``since`` is in seconds since 1970; ``request`` the beginning of a request's id."""

    since: float = 0.0
    level: str = "debug"
    request: str = ""

    def takes(self, event: Event) -> bool:
        return (
            str(event.get("request", "")).startswith(self.request)
            and _severity(event.get("level")) >= LEVELS.index(self.level)
            and (not self.since or written_at(event) >= self.since)
        )


def _severity(level: object) -> int:
    return LEVELS.index(str(level)) if level in LEVELS else len(LEVELS)  # what cannot be judged is shown


def decode(line: bytes) -> Event | None:
    """The line as it was logged; None where it is none, such as half a line of a daemon that was killed."""
    try:
        return msgspec.json.decode(line, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def written_at(event: Event) -> float:
    """When, in seconds since 1970; 0 where the line does not say."""
    try:
        return datetime.fromisoformat(event["timestamp"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return 0.0


def human(event: Event) -> str:
    """The line for people, in their own time and with colours; `click.echo` drops those where they do not belong."""
    at, level = written_at(event), str(event.get("level", ""))
    when = datetime.fromtimestamp(at).astimezone().strftime("%m-%d %H:%M:%S.%f")[:-3] if at else ""
    pairs = " ".join(f"{key}={value}" for key, value in event.items() if key not in _HEAD)
    shown = click.style(f"{level:<7}", fg=_COLOURS.get(level))
    name = click.style(f"{event.get('event', ''):<20}", bold=True)
    line = f"{click.style(when, dim=True)} {shown} {name} {pairs}".rstrip()
    return "\n".join([line, *str(event.get("exception", "")).splitlines()])


def rotated(log: Path, since: float = 0.0) -> Iterator[bytes]:
    """The lines of the files that were rotated away from ``log`` and do not end before ``since`` (seconds since
    1970), the oldest first. Raises ``OSError``."""
    aside = [(int(file.suffix[1:]), file) for file in log.parent.glob(f"{log.name}.*") if file.suffix[1:].isdecimal()]
    for _, file in sorted(aside, reverse=True):
        with file.open("rb") as lines:
            if os.fstat(lines.fileno()).st_mtime >= since:
                yield from lines


class Tail:
    """The lines of ``log`` from its beginning, also when another file takes its name, or there is none yet."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._file = log.open("rb") if log.exists() else None
        self._rest = b""

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file:
            self._file.close()

    def news(self) -> Iterator[bytes]:
        """The whole lines that have come since the last call, all of them at first; does not wait for any."""
        yield from self._lines()
        if self._replaced():
            yield from self._lines()  # the last that was written before another took its name
            if self._file:
                self._file.close()
            self._file, self._rest = self._log.open("rb"), b""
            yield from self._lines()

    def _replaced(self) -> bool:
        try:
            now = self._log.stat().st_ino
        except FileNotFoundError:
            return False  # between two names, or deleted: what has been written is in the old one
        return self._file is None or now != os.fstat(self._file.fileno()).st_ino

    def _lines(self) -> Iterator[bytes]:
        *lines, self._rest = (self._rest + (self._file.read() if self._file else b"")).split(b"\n")
        yield from lines
