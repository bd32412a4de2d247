"""The daemon that answers, or why none does; the socket and who may reach it."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import routerd_client
from routerd_client.paths import max_socket_path
from routerd_client.protocol import PROTOCOL
from routerd_client.records import BreakerState, Residency

from ... import __version__, disk
from .finding import Finding, Scene, fail, ok, warn

UPDATE = "update the older of the two, then: routerctl restart"


def daemon(scene: Scene) -> Iterator[Finding]:
    status = scene.status
    if status is None:
        installed = scene.agent is not None and scene.agent.state.installed
        start = "routerctl start; " if installed else ""
        yield fail("daemon", scene.unanswered, f"{start}routerctl logs shows what it said last")
        return
    yield ok("daemon", f"pid {status.pid} answers, generation {status.generation}")
    if status.ledger and status.ledger.reason:
        says = f"records are kept in {status.ledger.mode} alone: {status.ledger.reason}"
        yield warn("daemon", says, "free some space, or see to the folder's rights")
    if status.ledger and status.ledger.set_aside:
        says = f"the ledger was damaged, and begun anew: what was in it is in {status.ledger.set_aside}"
        yield warn("daemon", says, "see to the disk; move that file away, and nothing more is said of it")
    if status.config_errors:
        says = f"it refused the newest configuration: generation {status.generation} stays in force"
        # the file's mistakes of now are among the findings on the file itself
        fix = "correct it, as below" if scene.errors else "routerctl reload: the file has no mistakes any more"
        yield fail("daemon", says, fix)


def versions(scene: Scene) -> Iterator[Finding]:
    """The daemon, this program and the client library should be of one version."""
    found = {"routerctl": __version__, "client": routerd_client.__version__}
    if scene.status:
        found["daemon"] = scene.status.version
        if scene.status.protocol != PROTOCOL:
            yield fail("versions", f"the daemon speaks protocol {scene.status.protocol}, this is {PROTOCOL}", UPDATE)
    told = ", ".join(f"{name} {version}" for name, version in found.items())
    yield ok("versions", told) if len(set(found.values())) == 1 else warn("versions", f"they differ: {told}", UPDATE)


def socket(scene: Scene) -> Iterator[Finding]:
    path = scene.places.socket
    length = len(os.fsencode(path))
    if length > max_socket_path():
        yield fail("socket", f"{path} is {length} bytes long, {max_socket_path()} fit", "a shorter ROUTERD_SOCKET")
    if path.parent.exists():
        yield from private(path.parent, path.parent.stat(), 0o700)
    try:
        info = path.lstat()
    except FileNotFoundError:
        if scene.status is None:
            return
        yield fail("socket", f"{path} was deleted under the daemon: nobody new can connect", "routerctl restart")
        return
    if not stat.S_ISSOCK(info.st_mode):
        yield fail("socket", f"{path} is no socket", "move it away: the daemon needs the name")
        return
    yield from private(path, info, 0o600)
    manages = scene.agent is not None and scene.agent.state.loaded  # and may hold the socket open itself
    if scene.status is None and not manages and unlocked(path.with_suffix(".lock")):
        yield warn("socket", f"{path} was left by a daemon that is gone", f"rm {path}", path.unlink)
    elif scene.status:
        yield ok("socket", str(path))


def private(path: Path, info: os.stat_result, mode: int) -> Iterator[Finding]:
    """Findings where ``path`` is another user's, or open to others."""
    if info.st_uid != os.getuid():
        yield fail("socket", f"{path} belongs to user {info.st_uid}, you are {os.getuid()}", "choose another --socket")
    elif stat.S_IMODE(info.st_mode) & 0o077:
        says = f"others have rights to {path} (mode {stat.S_IMODE(info.st_mode):04o})"
        if stat.S_ISDIR(info.st_mode) and disk.shared(info.st_mode):
            yield fail(
                "socket", says, f"it is for several users: choose a folder of your own, --socket {path}/routerd/sock"
            )
            return
        yield fail("socket", says, f"chmod {mode:o} {path}", partial(path.chmod, mode))


def owner(scene: Scene) -> Iterator[Finding]:
    """The daemon runs as the user who asks."""
    if scene.status is None or not (folder := Path(f"/proc/{scene.status.pid}")).exists():
        return  # elsewhere the socket's owner has to do: a daemon takes it for itself alone
    uid = folder.stat().st_uid
    if uid == os.getuid():
        yield ok("owner", f"the daemon runs as you (user {uid})")
    else:
        yield fail("owner", f"the daemon runs as user {uid}, you are {os.getuid()}", "use the socket of your own")


def backends(scene: Scene) -> Iterator[Finding]:
    if scene.status is None:
        return
    rests = [backend for backend in scene.status.backends if backend.breaker is not BreakerState.CLOSED]
    for backend in rests:
        yield warn("backends", f"{backend.name} is given a rest: {backend.last_error}", "routerctl status")
    failed = [model for model in scene.status.models if model.residency in (Residency.FAILED, Residency.BACKOFF)]
    for model in failed:
        yield warn("backends", f"{model.backend}: {model.error}", f"routerctl models load {model.backend}")
    if not rests and not failed:
        yield ok("backends", f"{len(scene.status.backends)}, all breakers closed")


def unlocked(file: Path) -> bool:
    """Whether no process holds the lock of ``file``, or there is none."""
    try:
        lock = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)
