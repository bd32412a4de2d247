"""Which backends an agent's requests can reach, and whether these support tools. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase

from ..config.graph import backends_of
from ..config.match import MatchSpec, texts
from ..config.schema import ConfigSpec
from .setup import ROUTED, Harness


def toolless(
    harness: Harness,
    client: str,
    config: ConfigSpec,
    roles: Mapping[str, str],
    of_model: Callable[[str], bool | None],
) -> dict[str, list[str]]:
    """Return the names behind which no backend supports tools, each with the roles that offer tools to it.

    ``of_model``: whether a local backend's model supports tools; None where that is not known.
    """
    found: dict[str, list[str]] = {}
    for role in harness.roles:
        name = roles.get(role.name, "") if role.tools else ""
        if name and supports_tools(config, name, of_model, client=client) is False:
            found.setdefault(name, []).append(role.name)
    return found


def supports_tools(
    config: ConfigSpec, name: str, of_model: Callable[[str], bool | None], *, client: str = ""
) -> bool | None:
    """Return whether any backend behind ``name`` supports tools; None where that is not known. ``of_model`` as for
    `toolless`."""
    known = {_supports(config, backend, of_model) for backend in reached(config, name, client=client)}
    return True if True in known else False if known == {False} else None


def reached(config: ConfigSpec, name: str, *, client: str = "") -> list[str]:
    """Return the backends that may answer a request for ``name`` that offers tools; without a ``client``, of any
    client."""
    uses = list(_routed(config, client)) if name == ROUTED else [name]
    return list(dict.fromkeys(backend for use in uses for backend in backends_of(config, use)))


def _routed(config: ConfigSpec, client: str) -> Iterator[str]:
    """Yield what the routes may choose, up to the first that always matches, else the default too."""
    for route in config.routes:
        if not _may_match(route.match, client):
            continue
        yield route.use
        if client and route.match in (
            MatchSpec(client=route.match.client),
            MatchSpec(client=route.match.client, has_tools=True),
        ):
            return
    yield config.default


def _may_match(match: MatchSpec, client: str) -> bool:
    wanted = texts(match.client)
    known = not (client and wanted) or any(fnmatchcase(client, str(pattern)) for pattern in wanted)
    return known and match.has_tools is not False


def _supports(config: ConfigSpec, backend: str, of_model: Callable[[str], bool | None]) -> bool | None:
    spec = config.backends[backend]
    if spec.mlx is not None:
        return of_model(spec.mlx.model)
    return spec.http is None or spec.http.tools
