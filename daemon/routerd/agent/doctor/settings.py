"""The configuration, whether its secrets can be had, and the front for HTTP."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from functools import partial

import msgspec

from ... import disk
from ..manager import AgentError, run
from ..secrets import LOOK_S, Unresolved, offer, secrets
from .finding import Finding, Scene, fail, ok, warn


def config(scene: Scene) -> Iterator[Finding]:
    for error in scene.errors:
        yield fail("config", str(error))
    for warning in scene.warnings:
        yield warn("config", str(warning))
    if not scene.errors and not scene.warnings:
        yield ok("config", f"{scene.places.config}: no mistakes")


def resolvable(scene: Scene) -> Iterator[Finding]:
    """Has the daemon's own program look every secret up, and forget it, where the daemon would."""
    found = list(secrets(scene.config))
    if not found:
        if scene.config:
            yield ok("secrets", "none needed")
        return
    command = [str(scene.program), "secrets", "--config", str(scene.places.config)]
    said = run(command, scene.environ, seconds=LOOK_S).said
    try:
        missing = msgspec.json.decode(said.rpartition("\n")[2], type=list[Unresolved])
    except msgspec.DecodeError:
        raise AgentError(f"{scene.program} does not run: {said}") from None
    for one in missing:
        fix = offer(one, scene.places.config.parent, keychain=sys.platform == "darwin")
        yield fail("secrets", f"{one.where}: {one.why} ({scene.whose})", fix)
    if not missing:
        yield ok("secrets", f"{len(found)} in routes.yaml, and all can be had ({scene.whose})")


def readable(scene: Scene) -> Iterator[Finding]:
    """Files of secrets that others may read."""
    files = [scene.base / disk.expanded(spec.file) for _, spec in secrets(scene.config) if spec.file]
    for file in dict.fromkeys([*files, scene.token]):
        if file.exists() and (mode := stat.S_IMODE(file.stat().st_mode)) & 0o077:
            says = f"others have rights to {file} (mode {mode:04o})"
            yield warn("secrets", says, f"chmod 600 {file}", partial(file.chmod, 0o600))


def front(scene: Scene) -> Iterator[Finding]:
    """HTTP over TCP, where routes.yaml asks for it."""
    asked = scene.config.http if scene.config else None
    if asked is None:
        return
    if asked.remote:
        yield warn("http", f"other machines may ask at {asked.listen}, and nothing is encrypted", "put TLS before it")
    if scene.status and scene.status.http_error:
        yield fail("http", scene.status.http_error, "another port at http.listen, or end what has this one")
    elif scene.status and scene.status.http:
        yield ok("http", f"{scene.status.http} answers")
    if scene.status and not os.access(scene.token, os.R_OK):
        yield fail("http", f"the token {scene.token} cannot be read", "routerctl token --rotate makes a new one")
