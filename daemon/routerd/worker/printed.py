"""What libraries print: kept, as some say there why they end the process, and passed on as last words."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

MOST = 500
"""Characters that are kept of it, the last ones."""


class Printed(io.TextIOBase):
    """A standard output that goes to standard error, which the daemon reads."""

    def __init__(self) -> None:
        self._kept = ""

    def write(self, text: str) -> int:
        self._kept = (self._kept + text)[-MOST:]
        return sys.stderr.write(text)

    @property
    def text(self) -> str:
        """The last of it in one line."""
        return " ".join(self._kept.split())


def print_to_stderr() -> None:
    """Send this process's standard output to standard error, whoever writes to it: the daemon keeps that as last
    words."""
    os.dup2(sys.stderr.fileno(), 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


@contextmanager
def reading_prints() -> Iterator[Printed]:
    """Keep what is printed in the block."""
    printed = Printed()
    with redirect_stdout(printed):
        yield printed
