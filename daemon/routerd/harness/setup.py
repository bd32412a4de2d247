"""What an agent is told of this daemon, and what that comes to in its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

ROUTED = "routed"
"""The model name that leaves the choice to the routes."""


def called(name: str) -> dict[str, str]:
    """Headers by which an agent is known as the client ``name``: many only send their SDK's."""
    return {"User-Agent": name}


class Setup(Struct, frozen=True, kw_only=True):
    """This daemon, as an agent is to reach it.

    ``url`` is its HTTP front's, without a path, ``token`` what that wants and ``token_file`` where that stands.
    ``roles`` has the name to ask for in each of the agent's roles, ``names`` all that the configuration has, and
    ``contexts`` what is known of their contexts, in tokens; ``without_tools`` those that are known not to support
    tools.
    """

    url: str
    socket: Path
    token: str
    token_file: Path
    roles: Mapping[str, str]
    names: tuple[str, ...]
    contexts: Mapping[str, int] = {}
    without_tools: frozenset[str] = frozenset()
    home: Path
    environ: Mapping[str, str] = {}

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def offered(self) -> tuple[str, ...]:
        """The models that the agent may ask for, each once. Some agents take the first."""
        return tuple(dict.fromkeys((ROUTED, *self.roles.values(), *self.names)))

    def folder(self, variable: str, *default: str) -> Path:
        """Where an agent keeps its files: what its variable says, else a folder under the home."""
        given = self.environ.get(variable)
        return Path(given) if given else self.home.joinpath(*default)


class Edit(Struct, frozen=True, kw_only=True):
    """What is to stand in one file of the agent's.

    ``patch`` is laid over what the file has (RFC 7396: None removes a key); lists of maps are merged by the key
    ``by`` of their maps, new ones first. In the format ``text`` it is the whole file, in ``env`` lines ``KEY=value``.
    """

    path: Path
    format: Literal["yaml", "json", "toml", "env", "text"]
    patch: Any
    by: str = ""


class Role(Struct, frozen=True):
    """A part for which the agent has a model of its own.

    Without a choice a ``routed`` one is left to the routes. Any other gets the endpoint of its own name, else the
    first of ``wants`` that there is, else what the role ``like`` has, else the routes. Where it is ``optional``, only
    its own name and ``wants`` count, and not what the role ``unlike`` has. A ``short`` one sends little, whatever its
    model's context. One of ``images`` is like another only where somebody behind that takes them. ``tools``: its
    requests offer tools.
    """

    name: str
    about: str
    wants: tuple[str, ...] = ()
    like: str = ""
    routed: bool = False
    unlike: str = ""
    optional: bool = False
    short: bool = False
    images: bool = False
    tools: bool = False


class Harness(Struct, frozen=True, kw_only=True):
    """An agent. ``routes`` is what routes.yaml needs besides the front, as a patch of it.

    ``unix``: it can be reached by the daemon's socket alone. ``free``: any role may be named, for they are the
    user's own agents or nodes. ``min_context``: it refuses models with less, in tokens.
    """

    about: str
    next: str
    roles: tuple[Role, ...] = ()
    edits: Callable[[Setup], list[Edit]] | None = None
    environment: Callable[[Setup], dict[str, str]] | None = None
    routes: Callable[[Setup], dict[str, Any]] | None = None
    unix: bool = False
    free: bool = False
    min_context: int = 0
