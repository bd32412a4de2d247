"""Which file a login agent should start: one that is still there after an upgrade."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

NAME = "routerd"
SHIMS = tuple(
    Path(folder).expanduser()
    for folder in ("~/.local/bin", "/opt/homebrew/bin", "/usr/local/bin", "/home/linuxbrew/.linuxbrew/bin")
)
"""Folders whose links uv, pipx and Homebrew keep pointing at the version that is installed."""

_CELLAR = re.compile(r"(?P<prefix>.+)/Cellar/(?P<formula>[^/]+)/[^/]+/(?P<rest>.+)")
_PASSING = frozenset({"archive-v0", "builds-v0", "environments-v2"})  # of uvx, in uv's cache


def program() -> Path:
    """The ``routerd`` beside the one that runs, by its most lasting name. Blocks on the disk."""
    invoked = Path(sys.argv[0]).absolute().parent / NAME
    ours = invoked if invoked.is_file() else Path(sysconfig.get_path("scripts")) / NAME
    search = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return lasting(ours, [*SHIMS, *search])


def lasting(ours: Path, search: Sequence[Path]) -> Path:
    """The first of the names of ``ours`` that has no version in it; else its own.

    Its names are the links to it in ``search``, and what Homebrew calls it in ``opt``. Never resolved: the
    link is what lasts. Blocks on the disk.
    """
    real = ours.resolve()
    same = (name for name in _names(ours, search) if name.exists() and name.resolve() == real)
    return next((name for name in same if not _CELLAR.fullmatch(str(name))), ours)


def _names(ours: Path, search: Sequence[Path]) -> Iterator[Path]:
    for folder in search:
        yield folder / NAME
    if found := _CELLAR.fullmatch(str(ours)):
        yield Path(found["prefix"], "opt", found["formula"], found["rest"])


def passing(path: Path) -> bool:
    """Whether ``path`` is in a folder that is cleared by itself: a temporary one, uvx's cache. Blocks on the disk."""
    real = path.resolve()
    temporary = Path(tempfile.gettempdir()).resolve()
    return real.is_relative_to(temporary) or not _PASSING.isdisjoint(real.parts)
