"""Which of the configuration's names an agent asks for in each of its roles, and with how much context. Pure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from ..config.graph import TAG, backends_of, tagged
from ..config.schema import ConfigSpec
from .setup import ROUTED, Harness, Role


def assign(harness: Harness, config: ConfigSpec, chosen: Mapping[str, str]) -> dict[str, str]:
    """The name for each role: the one ``chosen``, else the one that fits. Raises ``ValueError`` for a role that the
    agent has not, and for a name that the configuration has not."""
    known = [role.name for role in harness.roles]
    for name, use in chosen.items():
        if name not in known and not harness.free:
            raise ValueError(f"'{name}' is no role of it: {', '.join(known) or 'it has none'}")
        if not _exists(config, use):
            raise ValueError(f"nothing is called '{use}' in routes.yaml: {', '.join(names(config))}")
    roles: dict[str, str] = {}
    for role in harness.roles:
        if use := chosen.get(role.name) or _fitting(role, config, roles):
            roles[role.name] = use
    return {**roles, **chosen}


def lacking(harness: Harness, config: ConfigSpec, chosen: Mapping[str, str]) -> list[str]:
    """The roles for which there is nothing but a backend that is the default: each is worth an endpoint of its name.
    Those that are like another's or optional can do with what there is."""
    if config.default not in config.backends:
        return []
    known = {*config.endpoints, *config.backends}
    return [
        role.name
        for role in harness.roles
        if not (role.routed or role.like or role.optional or role.name in chosen)
        and not known & {role.name, *role.wants}
    ]


def doubtful(
    harness: Harness, config: ConfigSpec, roles: Mapping[str, str], of_model: Callable[[str], int | None]
) -> dict[str, int | None]:
    """The names that the agent would refuse for their contexts, with the most that each takes, in tokens; None where
    that is not known. ``of_model`` as for `context_of`."""
    found: dict[str, int | None] = {}
    for name in asked_at_length(harness, roles) if harness.min_context else ():
        context = context_of(config, name, of_model)
        # its caches bound a model of which nothing is known yet
        most = context or context_of(config, name, lambda model: of_model(model) or sys.maxsize)
        if most and most < harness.min_context:
            found[name] = most
        elif context is None:
            found[name] = None
    return found


def asked_at_length(harness: Harness, roles: Mapping[str, str]) -> dict[str, list[str]]:
    """The names whose contexts matter, and the roles that ask for each."""
    asked: dict[str, list[str]] = {}
    for role in harness.roles:
        if role.name in roles and not role.short:
            asked.setdefault(roles[role.name], []).append(role.name)
    return asked


def names(config: ConfigSpec) -> tuple[str, ...]:
    """What may be asked for: the default first, then endpoints, then backends."""
    return tuple(dict.fromkeys((config.default, *config.endpoints, *config.backends)))


def context_of(config: ConfigSpec, name: str, of_model: Callable[[str], int | None]) -> int | None:
    """The longest prompt and answer together, in tokens, that anyone behind ``name`` takes; None where nobody's
    is known. ``of_model`` is asked for a local backend's model's own."""
    known = [context for backend in _behind(config, name) if (context := _context(config, backend, of_model))]
    return max(known, default=None)


def _behind(config: ConfigSpec, name: str) -> list[str]:
    """The backends behind ``name``; for the routes those of the default."""
    return backends_of(config, config.default if name == ROUTED else name)


def _context(config: ConfigSpec, backend: str, of_model: Callable[[str], int | None]) -> int | None:
    spec = config.backends[backend]
    if spec.mlx is None:
        return spec.http.context if spec.http else None
    limits = [limit for limit in (spec.mlx.context, of_model(spec.mlx.model)) if limit]
    # prompt and answer are held in its caches together, so a smaller pool is the limit
    return min(*limits, spec.mlx.kv_tokens) if limits else None


def _exists(config: ConfigSpec, name: str) -> bool:
    if name.startswith(TAG):
        return bool(tagged(config, name.removeprefix(TAG)))
    return name == ROUTED or name in config.endpoints or name in config.backends


def _fitting(role: Role, config: ConfigSpec, roles: Mapping[str, str]) -> str:
    """Endpoints before backends, for these have nobody behind them."""
    if role.routed:
        return ROUTED
    other = roles.get(role.unlike)
    wanted = [name for name in (role.name, *role.wants) if name not in (other, other == ROUTED and config.default)]
    found = next((name for known in (config.endpoints, config.backends) for name in wanted if name in known), "")
    if found or role.optional:
        return found
    use = roles.get(role.like) or ROUTED
    return use if not role.images or any(_sees(config, name) for name in _behind(config, use)) else ""


def _sees(config: ConfigSpec, backend: str) -> bool:
    http = config.backends[backend].http
    return http is not None and http.vision
