"""Reading routes.yaml: file -> text -> `Loaded`."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from msgspec import Struct

from routerd_client.records import ConfigError

from .build import build
from .check import check, warnings
from .report import WHOLE_FILE, ConfigFailedError, Mark, Place, Report
from .schema import ConfigSpec
from .yamltree import Node, parse

__all__ = ["MAX_BYTES", "ConfigFailedError", "Loaded", "digest", "load", "read", "read_bytes"]

MAX_BYTES = 4 * 1024 * 1024


class Loaded(Struct, frozen=True):
    """A configuration without mistakes. ``warnings`` are legal but surely not meant; ``digest`` is the text's."""

    config: ConfigSpec
    tree: Node
    warnings: list[ConfigError]
    digest: str


def read(path: Path) -> str:
    """The text of the file. Blocks on the disk.

    Raises ConfigFailedError where it is missing, unreadable, no regular file, larger than
    `MAX_BYTES` or not UTF-8.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise _failed(path, *_explain(error)) from error
    if len(data) > MAX_BYTES:
        raise _failed(path, f"the file is larger than {MAX_BYTES // 1024**2} MiB", "is it the right file?")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        lines = data[: error.start].decode().split("\n")
        place = Mark(len(lines), len(lines[-1]) + 1)
        raise _failed(path, "the file is not UTF-8 text", "save it as UTF-8", place) from error


def read_bytes(path: Path) -> bytes:
    """The file's bytes, cut one past `MAX_BYTES`. Blocks on the disk. Raises OSError."""
    # opening a pipe or a device could block for ever
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    if not stat.S_ISREG(mode):
        raise OSError("it is not a regular file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def load(text: str, file: str) -> Loaded:
    """The configuration that ``text`` describes; ``file`` is what messages call it. Pure computation.

    Raises ConfigFailedError with every mistake, in the order of the file; after a syntax error the
    rest is not read, and only the syntax is judged.
    """
    report = Report(file)
    tree = parse(text, report)
    if tree is None:
        raise ConfigFailedError(report.sorted())
    config = build(ConfigSpec, tree, "", report)
    check(tree, report)
    report.raise_if_any()
    return Loaded(config, tree, warnings(config, tree, file), digest(text.encode()))


def digest(data: bytes) -> str:
    """What tells two versions of the file apart."""
    return hashlib.sha256(data).hexdigest()


def _explain(error: OSError) -> tuple[str, str]:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "there is no such file", "write one, see docs/routes.md, or run: routerctl demo"
    if isinstance(error, IsADirectoryError):
        return "this is a directory", "name the file in it"
    if isinstance(error, PermissionError):
        return "the file may not be read by this user", "chmod u+r it, or check its owner"
    return f"the file cannot be read: {error.strerror or error}", ""


def _failed(path: Path, message: str, hint: str, place: Place = WHOLE_FILE) -> ConfigFailedError:
    report = Report(str(path))
    report.add(place, message, hint)
    return ConfigFailedError(report.sorted())
