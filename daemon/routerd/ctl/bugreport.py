from __future__ import annotations

import io
import os
import platform
import sys
import tarfile
import time
from collections import deque
from collections.abc import Iterator
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

import click
import msgspec

from .. import disk
from ..agent.doctor.examine import examine
from ..agent.doctor.finding import Scene, worst
from ..agent.secrets import secrets
from ..config.effective import effective
from ..config.http import HttpSpec
from ..config.units import format_size
from ..crashes import kept, render
from .common import EXIT_FAILED, plain
from .doctor import scene, told
from .logbook import Tail, decode, rotated
from .redact import Redactor

LINES = 5000
"""So many of the log's last lines are packed."""
STDERR = 100_000
"""So many of the last bytes of what the daemon said on stderr."""

ABOUT = {
    "doctor.json": "what routerctl doctor finds",
    "config.json": "the configuration in force, without secrets",
    "status.json": "what the daemon says of itself",
    "machine.json": "versions, system, processors and memory",
    "routerd.log": "the last lines of the log, without prompts, answers and keys",
    "agent.err": "what the daemon said on stderr as a login agent",
    "crashes.txt": "reports of model processes that died",
}


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="The file to write (.tar.gz).")
def command(output: Path | None) -> None:
    """Pack what a bug report needs into one .tar.gz, and say what is in it. Nothing is sent. Needs no daemon.

    Packed are doctor's findings, the configuration, the daemon's status, versions, the machine, crash reports and the
    log's last lines. Secrets, header values, prompts and answers are left out, and so is whatever looks like a key.
    Look through it before you give it to others.

    \b
    Examples:
      routerctl bugreport
      routerctl bugreport -o report.tar.gz
    """
    path = output or Path(time.strftime("routerd-bugreport-%Y%m%d-%H%M%S.tar.gz"))
    seen = scene()
    redactor = Redactor(known_secrets(seen), str(Path.home()))
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            parts = {name: redactor.text(text).encode() for name, text in contents(seen, redactor)}
            pack(file, path.name.removesuffix(".tar.gz"), parts)
    except OSError as error:
        click.echo(f"routerctl: {path} cannot be written: {error.strerror}", err=True)
        sys.exit(EXIT_FAILED)
    click.echo(f"wrote {path}")
    for name, data in parts.items():
        click.echo(f"  {name:<12} {format_size(len(data)):>7}  {ABOUT[name]}")
    click.echo(f"look through it before you give it to others: tar -xzf {path}")


def contents(seen: Scene, redactor: Redactor) -> Iterator[tuple[str, str]]:
    """The parts of the report, each with its name; keys may still stand in them."""
    findings = list(examine(seen))
    yield "doctor.json", _json({"level": worst(findings).value, "findings": [told(found) for found in findings]})
    config = effective(seen.config) if seen.config else {"errors": plain(seen.errors)}
    yield "config.json", _json(config)
    yield "status.json", _json(plain(seen.status) if seen.status else {"unanswered": seen.unanswered})
    yield "machine.json", _json(_machine())
    yield "routerd.log", "".join(_log(seen.places.log_file, redactor))
    if said := _stderr(seen.places.logs / "agent.err"):
        yield "agent.err", said
    if reports := [render(crash) for _, crash in kept(seen.places.state)]:
        yield "crashes.txt", "\n".join(reports)


def known_secrets(seen: Scene) -> Iterator[str]:
    """Those that can be had without asking anybody, so that they can be hidden wherever they stand."""
    specs = [spec for _, spec in secrets(seen.config)]
    for spec in specs:
        yield spec.inline
        yield seen.environ.get(spec.env, "")
    for file in [seen.token, *(seen.base / disk.expanded(spec.file) for spec in specs if spec.file)]:
        try:
            yield disk.read(file).decode("utf-8", "replace").strip()
        except OSError:
            continue
    for backend in seen.config.backends.values() if seen.config else ():
        if isinstance(backend.http, HttpSpec):
            yield from backend.http.headers.values()


def pack(file: io.BufferedIOBase, folder: str, parts: dict[str, bytes]) -> None:
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in parts.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))


def _log(log: Path, redactor: Redactor) -> Iterator[str]:
    try:
        with Tail(log) as tail:
            lines = deque(chain(rotated(log), tail.news()), LINES)
    except OSError as error:
        yield f"{log} cannot be read: {error.strerror}\n"
        return
    for line in lines:
        event = decode(line)
        if event is not None:
            yield msgspec.json.encode(redactor.event(event)).decode() + "\n"


def _stderr(file: Path) -> str:
    try:
        return file.read_bytes()[-STDERR:].decode(errors="replace")
    except OSError:
        return ""  # only launchd has one


def _machine() -> dict[str, Any]:
    wanted = metadata.requires("routerd") or []
    names = sorted({entry.split(";")[0].strip() for entry in wanted if "extra ==" not in entry})
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "versions": {name: _version(name) for name in ["routerd", *map(_bare, names), "mlx-lm", "mlx"]},
    }


def _bare(requirement: str) -> str:
    return next((requirement[:i] for i, letter in enumerate(requirement) if letter in "<>=!~[ ("), requirement)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
