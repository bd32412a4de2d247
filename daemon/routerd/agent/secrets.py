"""Whether the secrets of routes.yaml can be had by the agent, which has none of its user's shell's variables."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ..config.types import SecretSpec
from .manager import AgentError, run
from .setup import Setup

_NO_NAME = re.compile(r"[^a-z0-9]+")

LOOK_S = 60.0
"""How long all look-ups together may take; a keychain asks its user."""


class Unresolved(Struct, frozen=True):
    """``where`` in routes.yaml; ``secret`` says where it was looked for; ``why`` it was not there."""

    where: str
    secret: str
    why: str


def secrets(value: Any, where: str = "") -> Iterator[tuple[str, SecretSpec]]:
    """Every secret in a configuration, with its path in the file. Pure."""
    if isinstance(value, SecretSpec):
        yield where, value
        return
    if isinstance(value, Struct):
        fields: Any = ((name, getattr(value, name)) for name in value.__struct_fields__)
    elif isinstance(value, dict):
        fields = value.items()
    elif isinstance(value, list | tuple):
        fields = enumerate(value)
    else:
        return
    for name, field in fields:
        yield from secrets(field, f"{where}[{name}]" if isinstance(name, int) else f"{where}.{name}".lstrip("."))


def unresolved(setup: Setup) -> list[Unresolved]:
    """Those that the agent could not have: its own program looks them up in its own environment.

    Blocks for up to `LOOK_S`. Raises `AgentError` where the program does not run there at all.
    """
    done = run([str(setup.program), "secrets"], setup.own_environment(os.environ), seconds=LOOK_S)
    try:
        return msgspec.json.decode(done.said.rpartition("\n")[2], type=list[Unresolved])
    except msgspec.DecodeError:
        raise AgentError(f"{setup.program} does not run as an agent would run it: {done.said}") from None


def offer(missing: Unresolved, folder: Path, *, keychain: bool) -> str:
    """What to do, so that an agent has it too; ``folder`` is that of routes.yaml. Pure."""
    name = _NO_NAME.sub("-", missing.secret.rpartition(" ")[2].lower()).strip("-") or "key"
    file = f"(umask 077; cat > {shlex.quote(str(folder / name))}), paste it, Ctrl-D, and write {{file: {name}}}"
    ring = f'security add-generic-password -a "$USER" -s {name} -w, and write {{keychain: {name}}}'
    return f"{ring}; or {file}" if keychain else file
