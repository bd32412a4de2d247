"""The token that requests over TCP must bring: one line in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

FILE = "http-token"
"""In the state folder."""


class Token:
    """The token of a state folder, made where there is none. A new one counts from the next request on."""

    def __init__(self, state: Path) -> None:
        self._file = state / FILE
        self._known: tuple[int, int] | None = None
        self._text = ""

    def __call__(self) -> str:
        """Raises ``OSError`` where it can be neither read nor made."""
        try:
            info = self._file.stat()
        except FileNotFoundError:
            rotate(self._file.parent)  # the daemon at its first start, or routerctl before that
            info = self._file.stat()
        if self._known != (info.st_ino, info.st_mtime_ns):
            self._text = self._file.read_text().strip()
            self._known = (info.st_ino, info.st_mtime_ns)
        return self._text or secrets.token_urlsafe(32)  # an emptied file opens the door to nobody


def rotate(state: Path) -> str:
    """Replace the token by a new one; the old one is worth nothing from then on. Blocks on the disk."""
    token = f"rd-{secrets.token_urlsafe(32)}"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = state / f"{FILE}.{os.getpid()}"
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(f"{token}\n")
    new.replace(state / FILE)
    return token
