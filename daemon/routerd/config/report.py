"""Places in a file, and the mistakes found there: gathered, so that all are told at once."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import NamedTuple, Protocol

from routerd_client.records import ConfigError

_HINTED_ERRORS = 50


class Place(Protocol):
    """Where something stands. Lines and columns count from 1; 0 means the file as a whole."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class Mark(NamedTuple):
    """A `Place` by itself."""

    line: int
    column: int


WHOLE_FILE = Mark(0, 0)


class ConfigFailedError(Exception):
    """A configuration that cannot be used. ``errors`` has every mistake, in the order of the file."""

    def __init__(self, errors: list[ConfigError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors


class Report:
    """The mistakes of one file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._errors: set[ConfigError] = set()

    def add(self, place: Place, message: str, hint: str = "") -> None:
        """Note a mistake. The same one in the same place counts once: an alias repeats its target's."""
        self._errors.add(ConfigError(self._file, place.line, place.column, _printable(message), _printable(hint)))

    def nearest(self, name: str, known: Collection[str]) -> str:
        """The one of ``known`` that ``name`` was probably meant to be, or ``""``."""
        # difflib is slow, and the fiftieth hint helps nobody
        if len(self._errors) > _HINTED_ERRORS:
            return ""
        return next(iter(difflib.get_close_matches(name, known, 1)), "")

    def sorted(self) -> list[ConfigError]:
        """All mistakes, in the order of the file."""
        return sorted(self._errors, key=lambda error: (error.line, error.column, error.message))

    def raise_if_any(self) -> None:
        """Raises ConfigFailedError where any mistake was noted."""
        if self._errors:
            raise ConfigFailedError(self.sorted())


def _printable(text: str) -> str:
    """Return ``text`` as a terminal can show it and JSON can carry it: it may quote anything."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
