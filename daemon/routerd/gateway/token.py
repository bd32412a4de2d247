"""The token that requests over TCP must bring: one line in a file that only its owner can read."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from .. import disk

FILE = "http-token"
"""In the state folder."""
MOST_BYTES = 4096


class Token:
    """The token of a state folder, made where there is none. A new one counts from the next request on."""

    def __init__(self, state: Path) -> None:
        self.file = state / FILE
        self._known: tuple[int, int] | None = None
        self._text = ""

    def __call__(self) -> str:
        """Return the token. Raises ``OSError`` where it can be neither read nor made. Blocks on the disk."""
        try:
            info = self.file.stat()
        except FileNotFoundError:
            rotate(self.file.parent)  # the daemon at its first start, or routerctl before that
            info = self.file.stat()
        if self._known != (info.st_ino, info.st_mtime_ns):
            self._text = _checked(disk.read(self.file, MOST_BYTES))
            self._known = (info.st_ino, info.st_mtime_ns)
        return self._text or secrets.token_urlsafe(32)  # an emptied file opens the door to nobody


def _checked(data: bytes) -> str:
    text = data.decode("ascii", "replace").strip()
    if not (text.isascii() and text.isprintable()):
        raise disk.DiskError(errno.EINVAL, "it holds no token: make a new one with routerctl token --rotate")
    return text


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
