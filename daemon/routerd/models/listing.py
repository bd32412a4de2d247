"""What a repository holds at one commit, and which of it a model needs."""

from __future__ import annotations

import hashlib
import os
import re
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import msgspec
from msgspec import Struct

from .. import disk

# What mlx-lm itself downloads, except for code: a download must never bring something to run.
WEIGHTS = "model*.safetensors"
NEEDED = (WEIGHTS, "*.json", "*.jsonl", "*.txt", "*.jinja", "*.tiktoken", "tokenizer.model", "tiktoken.model")
FORMAT = 1
MOST = 64 * 1024 * 1024
"""The bytes that a listing may have."""


class ListedFile(Struct, frozen=True, omit_defaults=True):
    """One file: ``size`` in bytes, its hash as git knows it, and that of its content where it is a large one."""

    size: int
    blob_id: str
    lfs_sha256: str | None = None
    lfs_size: int | None = None

    @property
    def oid(self) -> str:
        """What the cache names the content by: the sha256 of a large file, the git hash of a small one."""
        return self.lfs_sha256 or self.blob_id

    def matches(self, file: Path) -> bool:
        """Whether ``file`` has this size and this hash. Blocks while it reads it all."""
        if file.stat().st_size != self.size:
            return False
        digest = hashlib.sha256() if self.lfs_sha256 else hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        with file.open("rb") as stream:
            while block := stream.read(1024 * 1024):
                digest.update(block)
        return digest.hexdigest() == self.oid


class Listing(Struct, frozen=True):
    """The files of one commit by name.

    Kept in the form in which huggingface_hub keeps it too, so that each can tell whether what the
    other downloaded is whole.
    """

    files: dict[str, ListedFile]
    format_version: int = FORMAT

    def needed(self) -> dict[str, ListedFile]:
        """The files that a model needs, small ones first: a config that is wrong shows before the weights."""
        chosen = ((name, file) for name, file in self.files.items() if any(fnmatch(name, p) for p in NEEDED))
        return dict(sorted(chosen, key=lambda item: item[1].size))

    def check(self) -> None:
        """Raise ``ValueError`` where a name or a hash could lead out of the cache: they become paths."""
        for name, file in self.files.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", file.oid):
                raise ValueError(f"{name!r} ({file.oid!r}) is no file of a repository")


def read(file: Path) -> Listing | None:
    """The listing in ``file``, or ``None`` where there is none that can be used."""
    try:
        listing = msgspec.json.decode(disk.read(file, MOST), type=Listing)
    except (OSError, ValueError, RecursionError):
        return None
    return listing if listing.format_version == FORMAT else None


def write(file: Path, listing: Listing) -> None:
    """Keep ``listing`` in ``file``, which appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    fresh.write_bytes(msgspec.json.encode(listing))
    fresh.replace(file)
