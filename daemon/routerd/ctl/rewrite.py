"""Changing a file that is somebody's own: what changes is shown, and what was there is kept."""

from __future__ import annotations

import difflib
import os
from datetime import datetime
from pathlib import Path


def read(path: Path) -> str:
    """The file's text; ``""`` where there is none. Raises ``OSError`` and ``UnicodeDecodeError``."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def rewrite(path: Path, old: str, new: str, *, private: bool = False) -> str:
    """Write ``new`` in the place of ``old``, the file's text: a new file for its owner alone, an old one with its
    mode, but for what ``private`` ones let others do, and a copy of it beside it. Returns what is to be said of it:
    what changed, and where the copy is. Raises ``OSError``."""
    if old == new:
        return f"{path} has it already"
    said = [*difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), str(path), lineterm="", n=1)]
    target = path.resolve()  # where the file is a link, what it leads to is the one to replace
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o600
    if target.exists():
        mode = target.stat().st_mode & 0o777
        backup = target.with_name(f"{target.name}.{datetime.now():%Y%m%d-%H%M%S}.bak")
        _put(backup, old, mode)
        said.append(f"what was there: {backup}")
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    _put(fresh, new, mode & 0o700 if private else mode)
    fresh.replace(target)
    return "\n".join([*said, f"wrote {path}"])


def _put(path: Path, text: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "w") as file:
        file.write(text)
