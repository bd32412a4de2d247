"""``python -m routerd.models.fetch ORG/NAME``: download a model from the hub, as a process of its own.

So the daemon stays free of huggingface_hub, and a download that hangs can be killed. Says what it
does as lines on stdout, each a `Line` in JSON. Whoever starts it holds the repository's lock.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
from argparse import ArgumentParser
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from . import listing
from .download import Line
from .errors import ModelError, PrepareError
from .hub import Repository
from .runtime import how_to_install
from .transfer import part_of, receive

if TYPE_CHECKING:
    from .remote import Remote

INTERVAL_S = 0.1
MAKE_ROOM = "routerctl models ls shows what could go; HF_HUB_CACHE names another place"


def main() -> None:
    """Exit code 1 where it failed."""
    parser = ArgumentParser(prog="routerd.models.fetch")
    parser.add_argument("name")
    parser.add_argument("--revision", default="")
    arguments = parser.parse_args()
    repository = Repository.of(arguments.name)
    try:
        line = Line(path=str(fetch(repository, arguments.revision)))
    except ModelError as error:
        line = Line(error=str(error), hint=error.hint)
    except OSError as error:
        line = _storage_error(repository, error)
    _say(line)
    sys.exit(1 if line.error else 0)


def fetch(repository: Repository, revision: str) -> Path:
    """Download what is missing, and return the model's folder.

    Files appear in the snapshot one by one, each whole; the listing that was written before them
    keeps the snapshot from counting until the last is there. Raises `PrepareError` and ``OSError``.
    """
    try:
        from . import remote
    except ImportError as error:
        raise PrepareError(f"models cannot be downloaded without {error.name}", hint=how_to_install()) from error
    if remote.offline():
        raise _offline(repository, revision)
    hub = remote.Remote(repository.name)
    commit, listed = hub.listing(revision)
    _check_usable(repository, listed)
    if listing.read(repository.listing(commit)) is None:
        listing.write(repository.listing(commit), listed)
    _Download(repository, commit, hub, listed.needed()).run()
    if revision != commit:
        ref = repository.ref(revision or "main")
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)
    if flaw := repository.flaw(commit):
        raise PrepareError(f"the download of {repository.name} came to its end, but {flaw}")
    return repository.snapshot(commit)


class _Download:
    def __init__(self, repository: Repository, commit: str, hub: Remote, files: dict[str, listing.ListedFile]) -> None:
        self._repository = repository
        self._commit = commit
        self._hub = hub
        self._files = files
        self._total = sum(file.size for file in files.values())
        self._most = 0
        self._said = 0.0

    def run(self) -> None:
        here = {name: _here(self._repository.blob(file.oid), file.size) for name, file in self._files.items()}
        self._check_space(self._total - sum(here.values()))
        done = sum(here.values())
        for name, file in self._files.items():
            done -= here[name]
            self._fetch(name, file, done)
            done += file.size
        self._report(done, last=True)

    def _check_space(self, missing: int) -> None:
        self._repository.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._repository.folder).free
        if missing > free:
            raise PrepareError(
                f"{self._repository.name} needs {missing / 1e9:.1f} GB more, and {self._repository.root} has"
                f" {free / 1e9:.1f} GB free",
                hint=MAKE_ROOM,
            )

    def _fetch(self, name: str, file: listing.ListedFile, before: int) -> None:
        blob = self._repository.blob(file.oid)
        if _size(blob) != file.size:
            try:
                open_at = partial(self._hub.open, self._commit, name)
                receive(blob, file, open_at, lambda size: self._report(before + size))
            except ModelError as error:
                raise PrepareError(f"{self._repository.name}: {name}: {error}", hint=error.hint) from error
        link = self._repository.snapshot(self._commit) / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))

    def _report(self, done: int, *, last: bool = False) -> None:
        # A server that begins a file again does not take back what was said.
        self._most = max(self._most, min(done, self._total))
        if last or time.monotonic() - self._said > INTERVAL_S:
            self._said = time.monotonic()
            _say(Line(done=self._most, total=self._total))


def _here(blob: Path, size: int) -> int:
    """How many of the file's bytes need not be fetched."""
    part = max(0, _size(part_of(blob)))
    return size if _size(blob) == size else min(size, part)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else -1


def _say(line: Line) -> None:
    print(msgspec.json.encode(line).decode(), flush=True)


def _check_usable(repository: Repository, listed: listing.Listing) -> None:
    if not any(fnmatch(name, listing.WEIGHTS) for name in listed.needed()):
        raise PrepareError(
            f"{repository.name} is no model that mlx-lm can load: it has no {listing.WEIGHTS}",
            hint="look for one that was converted, e.g. at mlx-community",
        )


def _offline(repository: Repository, revision: str) -> PrepareError:
    flaws = [flaw for commit in repository.commits(revision) if (flaw := repository.flaw(commit))]
    text = f"{repository.name}{'@' * bool(revision)}{revision} is not on this machine"
    return PrepareError(
        f"{text}: {flaws[0]}" if flaws else text,
        hint="HF_HUB_OFFLINE forbids to download it: unset that, or copy the model into the hub's cache",
    )


def _storage_error(repository: Repository, error: OSError) -> Line:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Line(error=f"no room is left in {repository.root} for {repository.name}", hint=MAKE_ROOM)
    return Line(error=f"{repository.name} cannot be stored in {repository.root}: {error}")


if __name__ == "__main__":
    main()
