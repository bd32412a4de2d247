"""Reading routes.yaml: file -> text -> `Loaded`."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from routerd_client.records import ConfigError

from .. import disk
from .build import build
from .check import check, warnings
from .check_files import absent_models, check_files, place_files, read_personas
from .check_whole import check_cycles, check_whole
from .compat import translate
from .report import WHOLE_FILE, ConfigFailedError, Mark, Place, Report
from .scalars import INVALID
from .schema import ConfigSpec
from .secrets import inline_secrets
from .yamltree import Node, parse

__all__ = ["MAX_BYTES", "ConfigFailedError", "Loaded", "digest", "load", "load_file", "read", "read_bytes"]

MAX_BYTES = 4 * 1024 * 1024


class Loaded(Struct, frozen=True):
    """A configuration without mistakes. ``warnings`` are legal but surely not meant; ``digest`` is the text's.

    ``tree`` is what the file says in our own words, and ``origins``, by path in it, what that was made from
    which the file says in another's, or leaves to the environment. ``personas`` are the texts of those that it names.
    """

    config: ConfigSpec
    tree: Node
    origins: dict[tuple[str, ...], str]
    warnings: list[ConfigError]
    digest: str
    personas: dict[str, str]


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
    with disk.opened(path) as file:
        return file.read(MAX_BYTES + 1)


def load_file(path: Path) -> Loaded:
    """The configuration in the file, with this process's environment. Blocks on the disk.

    Warns where others may read a secret that stands in it. Raises ConfigFailedError as `read` and `load` do.
    """
    loaded = load(read(path), str(path), os.environ)
    if not any(inline_secrets(loaded.config, loaded.tree)) or not (mode := _open_to_others(path)):
        return loaded
    report = Report(str(path))
    what = f"a secret stands in this file, and others have rights to it (mode {mode:04o})"
    report.add(WHOLE_FILE, what, f"chmod 600 {path}")
    return replace(loaded, warnings=[*report.sorted(), *loaded.warnings])


def load(text: str, file: str, environ: Mapping[str, str] | None = None) -> Loaded:
    """The configuration that ``text`` describes; ``file`` is what messages call it, and its folder is where
    relative folders count from. Asks the disk for the files and folders that it names, and for nothing else.
    ``environ`` may give what the file leaves out, see `compat`.

    Raises ConfigFailedError with every mistake, in the order of the file; after a syntax error the
    rest is not read, and only the syntax is judged; the same goes for another system's block. Raises nothing else.
    """
    with contained(file):
        return _load(text, file, environ)


@contextmanager
def contained(file: str) -> Iterator[None]:
    """Turn whatever is raised into a ConfigFailedError, whose cause it is: no file is to end whoever reads it."""
    try:
        yield
    except ConfigFailedError:
        raise
    except Exception as error:
        report = Report(file)
        what = f"the configuration cannot be used: {disk.reason(error)} ({type(error).__name__})"
        report.add(WHOLE_FILE, what, "undo the newest change; the log has the details")
        raise ConfigFailedError(report.sorted()) from error


def _load(text: str, file: str, environ: Mapping[str, str] | None) -> Loaded:
    report, base = Report(file), Path(file).parent
    tree = parse(text, report)
    if tree is None:
        raise ConfigFailedError(report.sorted())
    translated = translate(tree, environ or {}, report, file)
    if not translated.whole:
        raise ConfigFailedError(report.sorted())
    tree = translated.tree
    config = build(ConfigSpec, tree, "", report)
    check(tree, report)
    check_files(tree, report, base)
    personas = read_personas(tree, report, base)
    if config is not INVALID:
        check_cycles(config, tree, report)
    report.raise_if_any()
    check_whole(config, tree, report)
    report.raise_if_any()
    notes = translated.warnings + warnings(config, tree, file) + absent_models(tree, file, base)
    noted = sorted(notes, key=lambda note: (note.line, note.column))
    return Loaded(place_files(config, base), tree, translated.origins, noted, digest(text.encode()), personas)


def digest(data: bytes) -> str:
    """What tells two versions of the file apart."""
    return hashlib.sha256(data).hexdigest()


def _open_to_others(path: Path) -> int:
    """The file's mode where others than its owner have a right to it, else 0."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:  # gone since it was read
        return 0
    return mode if mode & 0o077 else 0


def _explain(error: OSError) -> tuple[str, str]:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "there is no such file", "write a first one with: routerctl init"
    if isinstance(error, IsADirectoryError):
        return "this is a directory", "name the file in it"
    if isinstance(error, PermissionError):
        return "the file may not be read by this user", "chmod u+r it, or check its owner"
    return f"the file cannot be read: {disk.reason(error)}", ""


def _failed(path: Path, message: str, hint: str, place: Place = WHOLE_FILE) -> ConfigFailedError:
    report = Report(str(path))
    report.add(place, message, hint)
    return ConfigFailedError(report.sorted())
