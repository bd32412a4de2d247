"""Where the daemon listens, as every client must know it. The daemon takes its default from here."""

from __future__ import annotations

import os
import sys
import tempfile
from hashlib import blake2s
from pathlib import Path

SOCKET_NAME = "routerd.sock"


def max_socket_path() -> int:
    """The longest path, in bytes, that ``sun_path`` holds without its final zero."""
    return 103 if sys.platform == "darwin" else 107


def default_socket() -> Path:
    """``$ROUTERD_SOCKET``, or the platform's place.

    macOS: ``~/Library/Application Support/routerd/``; Linux: ``$XDG_RUNTIME_DIR/routerd/``, else
    ``~/.local/state/routerd/``. A home so deep that the path would not fit gives
    ``$TMPDIR/routerd-<hash of the home>/`` instead.
    """
    if given := os.environ.get("ROUTERD_SOCKET"):
        return Path(given)
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support" / "routerd"
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        folder = Path(runtime) / "routerd"
    else:
        state = os.environ.get("XDG_STATE_HOME")
        folder = (Path(state) if state else Path.home() / ".local" / "state") / "routerd"
    path = folder / SOCKET_NAME
    if len(os.fsencode(path)) <= max_socket_path():
        return path
    digest = blake2s(os.fsencode(folder), digest_size=6).hexdigest()
    return Path(tempfile.gettempdir()) / f"routerd-{digest}" / SOCKET_NAME
