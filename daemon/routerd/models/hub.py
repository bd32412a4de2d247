"""Models in Hugging Face's cache on this machine, found without its library."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

from msgspec import Struct

from .. import disk
from . import listing
from .errors import BrokenModelError
from .folder import check_folder


def cache_root() -> Path:
    """Where ``hf download`` puts models, as its environment variables say."""
    if cache := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return _expanded(cache)
    xdg = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _expanded(os.environ.get("HF_HOME") or f"{xdg}/huggingface") / "hub"


def _expanded(path: str) -> Path:
    return disk.expanded(os.path.expandvars(path))


class Repository(Struct, frozen=True):
    """``org/name`` in the cache at ``root``, where it may be whole, half or not at all.

    A revision is a branch, a tag or a commit. Each commit's snapshot holds links to blobs, which
    several commits may share.
    """

    name: str
    root: Path

    @classmethod
    def of(cls, name: str, root: Path | None = None) -> Repository:
        return cls(name, root or cache_root())

    @property
    def folder(self) -> Path:
        return self.root / f"models--{self.name.replace('/', '--')}"

    @property
    def lock(self) -> Path:
        """The file that whoever changes the repository has locked; it outlives the repository."""
        return self.root / ".locks" / self.folder.name / "routerd.lock"

    def blob(self, oid: str) -> Path:
        return self.folder / "blobs" / oid

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def ref(self, revision: str) -> Path:
        """The file that holds the commit of a branch or tag."""
        return self.folder / "refs" / revision

    def listing(self, commit: str) -> Path:
        """The file that says what the commit holds."""
        return self.folder / "trees" / f"{commit}.json"

    def commits(self, revision: str = "") -> list[str]:
        """Those that ``revision`` may mean, best first; without one, that of ``main`` and then the newest."""
        try:
            meant = disk.read(self.ref(revision or "main"), 4096).decode("utf-8", "replace").strip()
        except OSError:
            meant = revision
        snapshots = self.folder / "snapshots"
        found = [path for path in snapshots.iterdir() if path.is_dir()] if snapshots.is_dir() else []
        found.sort(key=lambda path: (path.name == meant, path.stat().st_mtime), reverse=True)
        return [path.name for path in found if not revision or path.name == meant]

    def whole(self, revision: str = "") -> Path | None:
        """The folder of the best commit of which nothing is missing, or ``None``."""
        return next((self.snapshot(commit) for commit in self.commits(revision) if not self.flaw(commit)), None)

    def flaw(self, commit: str) -> str:
        """What keeps the commit from being used, or ``""``.

        By the listing, where the download left one; else by what the model's own files say of each other.
        """
        listed = listing.read(self.listing(commit))
        if listed is None:
            try:
                check_folder(self.snapshot(commit))
            except BrokenModelError as error:
                return str(error)
            return ""
        needed = listed.needed()
        if not any(fnmatch(name, listing.WEIGHTS) for name in needed):
            return f"{self.name} has no {listing.WEIGHTS}"
        missing = [name for name, file in needed.items() if _size(self.snapshot(commit) / name) != file.size]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"{missing[-1]}{more} missing" if missing else ""


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None
