"""What a check says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path

from msgspec import Struct

from routerd_client.protocol import StatusResult
from routerd_client.records import ConfigError

from ...config.places import Places
from ...config.schema import ConfigSpec
from ..manager import State


class Level(Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Struct, frozen=True, kw_only=True):
    """``fix`` says what a person should do; ``mend`` does it, where that is safe, and may raise ``OSError``."""

    check: str
    level: Level
    says: str
    fix: str = ""
    mend: Callable[[], None] | None = None


class Agent(Struct, frozen=True, kw_only=True):
    """The login agent as the service manager ``name`` has it. ``outdated`` files are not what would be written now."""

    name: str
    state: State
    outdated: list[Path] = []


class Scene(Struct, frozen=True, kw_only=True):
    """What the checks look at. ``status`` is None where no daemon answers, and ``unanswered`` says why; so are
    ``agent`` and ``no_agent``.

    ``places`` are those of the daemon that answers, ``config`` None where ``errors`` has mistakes. ``program`` is the
    daemon's, ``token`` the file for HTTP. Secrets are looked up in ``environ``, and ``whose`` says whose it is.
    """

    places: Places
    program: Path
    token: Path
    agent: Agent | None = None
    no_agent: str = ""
    status: StatusResult | None = None
    unanswered: str = ""
    config: ConfigSpec | None = None
    errors: list[ConfigError] = []
    warnings: list[ConfigError] = []
    environ: dict[str, str] = {}
    whose: str = "this terminal"

    @property
    def base(self) -> Path:
        """What relative paths of the configuration count from."""
        return self.places.config.parent


Check = Callable[[Scene], Iterable[Finding]]


def ok(check: str, says: str) -> Finding:
    return Finding(check=check, level=Level.OK, says=says)


def warn(check: str, says: str, fix: str = "", mend: Callable[[], None] | None = None) -> Finding:
    return Finding(check=check, level=Level.WARN, says=says, fix=fix, mend=mend)


def fail(check: str, says: str, fix: str = "", mend: Callable[[], None] | None = None) -> Finding:
    return Finding(check=check, level=Level.FAIL, says=says, fix=fix, mend=mend)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among them; `Level.OK` where there are none."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)
