"""What launchd and systemd have in common: the login agent's files, and what is done with them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from routerd_client.paths import max_socket_path

from .setup import Setup

CALL_S = 10.0
"""How long one call of ``launchctl`` or ``systemctl`` may take, where it need not wait for the daemon."""


class AgentError(Exception):
    """A service manager refused. The text says what it said, and what to do next."""


class State(Struct, frozen=True, kw_only=True):
    """``installed``: its file is there. ``loaded``: the service manager knows it. ``pid``: it runs."""

    installed: bool = False
    loaded: bool = False
    pid: int | None = None
    program: Path | None = None
    """What the installed file starts."""
    last_exit: str = ""
    """How the last process ended, in the service manager's words."""


class Manager(Protocol):
    """All methods block, some until a daemon has ended, and raise `AgentError`; no call is waited for without end."""

    name: str

    def files(self, setup: Setup) -> dict[Path, bytes]:
        """What is written for ``setup``, and where."""

    def commands(self) -> list[str]:
        """What `install` would call, for a person to read."""

    def install(self, setup: Setup) -> None:
        """Write the files and start the agent; one that runs with other files ends first. For ever idempotent."""

    def uninstall(self) -> list[Path]:
        """Stop the agent and remove its files; returns those."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """Have it drain and end; it stays so until `start`, or the next login. Returns when it has ended."""

    def restart(self) -> None:
        """Have it drain and end, and start it again."""

    def state(self) -> State: ...


class Ran(Struct, frozen=True):
    """How a command ended. ``said`` is all it printed."""

    status: int
    said: str


def run(command: Sequence[str], environ: Mapping[str, str] | None = None, *, seconds: float = CALL_S) -> Ran:
    """Run ``command`` to its end. Raises `AgentError` where it cannot be started, or takes longer than ``seconds``."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise AgentError(f"{' '.join(command)} gave no answer within {seconds:g} s") from error
    except OSError as error:
        raise AgentError(f"{command[0]} could not be started: {error.strerror}") from error
    return Ran(done.returncode, done.stdout.decode(errors="replace").strip())


def outdated(files: Mapping[Path, bytes]) -> list[Path]:
    """Those that are missing, or say something else. Blocks on the disk."""
    return [path for path, content in files.items() if not _holds(path, content)]


def write(files: Mapping[Path, bytes]) -> bool:
    """Put the files there, each whole or not at all; returns whether any was `outdated`. Raises `AgentError`."""
    changed = outdated(files)
    try:
        for path in changed:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            scratch = path.with_name(f".{path.name}.new")
            scratch.write_bytes(files[path])
            scratch.chmod(0o644)  # launchd refuses a file that others may write
            scratch.replace(path)
    except OSError as error:
        raise AgentError(f"{error.filename} cannot be written: {error.strerror}") from error
    return bool(changed)


def remove(paths: Sequence[Path]) -> list[Path]:
    """Remove those that are there, and return them. Raises `AgentError`."""
    found = [path for path in paths if path.exists() or path.is_symlink()]
    try:
        for path in found:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise AgentError(f"{error.filename} cannot be removed: {error.strerror}") from error
    return found


def make_ready(setup: Setup) -> None:
    """Make what a service manager does not: folders for the socket, whose path must fit, and for the logs.

    Raises `AgentError`.
    """
    length = len(os.fsencode(setup.socket))
    if length > max_socket_path():
        raise AgentError(
            f"the socket path is {length} bytes long, and this system allows {max_socket_path()}: {setup.socket}. "
            "Choose a shorter one with --socket or ROUTERD_SOCKET"
        )
    try:
        for folder in (setup.socket.parent, setup.logs):
            for missing in [one for one in (*reversed(folder.parents), folder) if not one.exists()]:
                missing.mkdir(mode=0o700)  # not parents=True, which leaves those open to others
    except OSError as error:
        raise AgentError(f"{error.filename} cannot be made: {error.strerror}") from error


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False
