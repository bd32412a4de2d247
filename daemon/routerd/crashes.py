"""Reports of model processes that died: one small text file each, written by the daemon, read by `routerctl`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from . import disk

KEEP = 20
FOLDER = "crashes"
"""In the state folder."""


class Crash(Struct, frozen=True, kw_only=True):
    """How one process died. ``at`` is in ISO 8601, UTC; ``planned`` and ``measured`` are memory in bytes, 0 where
    unknown; ``command`` is how it was started; ``stderr`` the last that it wrote there."""

    at: str
    backend: str
    pid: int
    kind: str
    says: str
    planned: int = 0
    measured: int = 0
    command: str = ""
    stderr: tuple[str, ...] = ()


def render(crash: Crash) -> str:
    """The text of its file: a line for each field, an empty line, what it wrote to stderr."""
    head = [f"{name}: {_one_line(getattr(crash, name))}" for name in Crash.__struct_fields__ if name != "stderr"]
    return "\n".join([*head, "", *crash.stderr, ""])


def parse(text: str) -> Crash:
    """What `render` made. Raises ``ValueError`` for anything else."""
    head, _, stderr = text.partition("\n\n")
    try:
        fields = dict(line.split(": ", 1) for line in head.splitlines())
        numbers = {name: int(fields.pop(name)) for name in ("pid", "planned", "measured")}
        return Crash(**fields, **numbers, stderr=tuple(stderr.splitlines()))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no report of a crash: {error}") from error


def keep(state: Path, crash: Crash) -> None:
    """Write the report, and delete the oldest where there are more than `KEEP`. Blocks on the disk; raises OSError."""
    folder = state / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / f"{crash.at.replace(':', '')}-{crash.backend}-{crash.pid}.txt").write_text(render(crash), "utf-8")
    for old in _files(folder)[:-KEEP]:
        old.unlink(missing_ok=True)


def kept(state: Path) -> Iterator[tuple[Path, Crash]]:
    """The reports and their files, the oldest first; what cannot be read is passed over. Blocks on the disk."""
    for file in _files(state / FOLDER):
        try:
            yield file, parse(disk.read(file).decode("utf-8", "replace"))
        except (OSError, ValueError):
            continue


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.txt"))  # their names begin with the time


def _one_line(value: object) -> str:
    return " ".join(str(value).split())
