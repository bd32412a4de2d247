"""What a login agent is made of, before it is written as a plist or as units. Pure, but for `setup`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from ..config.places import Places
from .program import program

LABEL = "org.routerd.agent"
"""What launchd knows it by."""
UNIT = "routerd"
"""What systemd knows it by, before ``.service`` and ``.socket``."""
EXIT_TIMEOUT_S = 30
"""So long after being told to stop it is killed. The daemon's own drain is shorter."""
THROTTLE_S = 10
"""So far apart are two starts of a daemon that ends at once."""
WATCHDOG_S = 45
"""So long may systemd hear nothing of the event loop. The daemon ends itself sooner, where it still can."""

KEPT = (
    *("ROUTERD_CONFIG", "ROUTERD_STATE_DIR", "ROUTERD_CACHE_DIR"),
    *("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT"),
)
"""Variables that say where things are. An agent has none of its user's shell, so these are written down for it."""

_GIVEN = ("HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


class Setup(Struct, frozen=True, kw_only=True):
    """``command`` is the program and its arguments; ``environment`` what it is told beside ``socket``."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    socket: Path
    logs: Path
    home: Path
    runtime: Path | None = None
    """``$XDG_RUNTIME_DIR``, which units call ``%t``."""
    throttle_s: float = THROTTLE_S
    watchdog_s: float = WATCHDOG_S

    @property
    def program(self) -> Path:
        return Path(self.command[0])

    def own_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """All variables that the agent will have: what a service manager gives of ``environ``, and its own."""
        given = {name: environ[name] for name in _GIVEN if name in environ}
        return {**given, "ROUTERD_SOCKET": str(self.socket), **self.environment}


def setup(places: Places, environ: Mapping[str, str]) -> Setup:
    """The agent for this installation and ``places``, which ``environ`` names. Blocks on the disk."""
    home, path = Path.home(), program()
    kept = {name: environ[name] for name in KEPT if environ.get(name)}
    runtime = environ.get("XDG_RUNTIME_DIR")
    return Setup(
        command=(str(path), "serve", "--agent"),
        environment={"PATH": search_path(path, home, sys.platform), "LANG": _language(), **kept},
        socket=places.socket.absolute(),
        logs=places.logs,
        home=home,
        runtime=Path(runtime) if runtime else None,
    )


def search_path(program: Path, home: Path, platform: str) -> str:
    """A ``PATH`` on which the commands of secrets are found. Not the user's own: folders with versions vanish."""
    brew = ["/opt/homebrew/bin"] if platform == "darwin" else []
    folders = [str(program.parent), f"{home}/.local/bin", *brew, "/usr/local/bin", "/usr/bin", "/bin"]
    folders += ["/usr/sbin", "/sbin"]
    return os.pathsep.join(dict.fromkeys(folders))


def _language() -> str:
    return "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
