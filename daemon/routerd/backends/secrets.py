"""Where an API's key is, looked up when it is needed. Nothing here puts a key into a message."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL

import anyio
import structlog

from routerd_client.records import FailureKind

from .. import clock, disk
from ..config.types import SecretSpec
from .base import BackendError

log = structlog.get_logger()

KEEP_S = 60.0
"""How long a key from a file, the keychain or a command is used before it is looked up again."""
AGAIN_S = 60.0
"""How long a backend rests whose key could not be had: the keychain may be unlocked by then."""
COMMAND_S = 15.0
"""How long a command, or the keychain's question at the user, may take."""
_MAX_BYTES = 65536

KEYCHAIN = ("/usr/bin/security", "find-generic-password", "-w", "-s") if sys.platform == "darwin" else ()


class Secrets:
    """Looks secrets up and keeps them for `KEEP_S`. Relative files count from ``folder``."""

    def __init__(self, folder: Path, *, keychain: Sequence[str] = KEYCHAIN, timeout: float = COMMAND_S) -> None:
        self._folder = folder
        self._keychain = tuple(keychain)
        self._timeout = timeout
        self._kept: dict[SecretSpec, tuple[str, float]] = {}
        self._locks: defaultdict[SecretSpec, anyio.Lock] = defaultdict(anyio.Lock)
        self._warned: set[Path] = set()

    def __repr__(self) -> str:
        return f"<Secrets {len(self._kept)} kept>"

    async def resolve(self, spec: SecretSpec, *, anew: bool = False) -> str:
        """The secret; ``anew`` looks it up where it might have changed.

        Raises `BackendError` ``auth_failed``, which says where it was looked for.
        """
        async with self._locks[spec]:  # many requests at once ask the keychain once
            kept = self._kept.get(spec)
            if kept and not anew and clock.now() < kept[1]:
                return kept[0]
            secret = _checked((await self._look_up(spec)).strip(), spec)
            self._kept[spec] = (secret, clock.now() + KEEP_S)
            return secret

    async def _look_up(self, spec: SecretSpec) -> str:
        if spec.inline:
            return spec.inline
        if spec.env:
            return _environment(spec.env)
        if spec.file:
            try:
                return await disk.run(self._read, spec.file, what=f"the file {spec.file}")
            except disk.DiskError as error:
                raise _missing(str(error)) from None
        if spec.keychain and not self._keychain:
            raise _missing(f"the keychain ({spec.keychain}) is there on macOS alone", "use env, file or command")
        command = (*self._keychain, spec.keychain) if spec.keychain else spec.command
        return await self._run(command, spec)

    def _read(self, name: str) -> str:
        path = Path(name)
        try:
            path = self._folder / path.expanduser()
            with disk.opened(path) as file:
                readable = os.fstat(file.fileno()).st_mode & 0o077
                content = file.read(_MAX_BYTES)
        except (OSError, RuntimeError) as error:
            raise _missing(f"the file {path} could not be read: {disk.reason(error)}") from None
        if readable and path not in self._warned:
            self._warned.add(path)
            log.warning("secret.others_can_read", file=str(path), hint=f"chmod 600 {path}")
        return content.decode(errors="replace")

    async def _run(self, command: Sequence[str], spec: SecretSpec) -> str:
        hint = "run it in a terminal to see why"
        try:
            with anyio.fail_after(self._timeout):
                done = await anyio.run_process(command, stdin=DEVNULL, stderr=DEVNULL, check=False)
        except TimeoutError:
            raise _missing(f"{spec} gave no answer within {self._timeout:g} s", hint) from None
        except (OSError, ValueError) as error:
            raise _missing(f"{spec} could not be started: {disk.reason(error)}") from None
        if done.returncode != 0:
            raise _missing(f"{spec} failed with status {done.returncode}", hint)
        return done.stdout[:_MAX_BYTES].decode(errors="replace")


def _environment(name: str) -> str:
    try:
        found = os.environ.get(name)
    except ValueError:  # a name that no environment can have
        found = None
    if found is None:
        hint = "a login agent does not see a shell's variables: use file, keychain or command"
        raise _missing(f"the environment variable {name} is not set for the daemon", hint)
    return found


def _checked(secret: str, spec: SecretSpec) -> str:
    if not secret:
        raise _missing(f"{spec} is empty")
    if not (secret.isascii() and secret.isprintable()):
        raise _missing(f"{spec} is not a key: it has characters that a header cannot carry")
    return secret


def _missing(message: str, hint: str = "") -> BackendError:
    return BackendError(FailureKind.AUTH_FAILED, f"no api_key: {message}", hint=hint, retry_after_s=AGAIN_S)
