"""Where a person's configuration, state, logs and models are. The socket's place is the client's to know."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct
from platformdirs import PlatformDirs

from routerd_client.paths import default_socket

from .. import disk

_dirs = PlatformDirs("routerd", appauthor=False)


class Places(Struct, frozen=True):
    """``logs`` and ``cache`` are folders, made when something is written there."""

    config: Path
    socket: Path
    state: Path
    logs: Path
    cache: Path

    @property
    def log_file(self) -> Path:
        return self.logs / "routerd.log"


def places(config: Path | None = None, socket: Path | None = None, state: Path | None = None) -> Places:
    """What is given, else what ``ROUTERD_CONFIG``, ``ROUTERD_SOCKET``, ``ROUTERD_STATE_DIR`` and
    ``ROUTERD_CACHE_DIR`` say, else the platform's places. A state folder of its own holds its logs."""
    state = state or _from_environment("ROUTERD_STATE_DIR")
    return Places(
        config=config or _from_environment("ROUTERD_CONFIG") or _config_folder() / "routes.yaml",
        socket=socket or default_socket(),
        state=state or Path(_dirs.user_state_dir),
        logs=state / "logs" if state else Path(_dirs.user_log_dir),
        cache=_from_environment("ROUTERD_CACHE_DIR") or Path(_dirs.user_cache_dir),
    )


def _config_folder() -> Path:
    # On macOS too: a file that people edit by hand belongs where their other dotfiles are.
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "routerd"


def _from_environment(name: str) -> Path | None:
    value = os.environ.get(name)
    return disk.expanded(value) if value else None
