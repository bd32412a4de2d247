"""Which of the configuration's names an agent asks for in each of its roles, and with how much context. Pure."""

from __future__ import annotations

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


def too_short(harness: Harness, roles: Mapping[str, str], contexts: Mapping[str, int]) -> dict[str, int]:
    """The names that the agent would refuse for their contexts, and these, in tokens."""
    names = (roles[role.name] for role in harness.roles if role.name in roles and not role.short)
    return {name: contexts[name] for name in names if contexts.get(name, harness.min_context) < harness.min_context}


def names(config: ConfigSpec) -> tuple[str, ...]:
    """What may be asked for: the default first, then endpoints, then backends."""
    return tuple(dict.fromkeys((config.default, *config.endpoints, *config.backends)))


def context_of(config: ConfigSpec, name: str, of_model: Callable[[str], int | None]) -> int | None:
    """The longest prompt and answer together, in tokens, that anyone behind ``name`` takes; None where nobody's
    is known. ``of_model`` is asked for a local backend's model's own."""
    target = config.default if name == ROUTED else name
    known = [context for backend in backends_of(config, target) if (context := _context(config, backend, of_model))]
    return max(known, default=None)


def _context(config: ConfigSpec, backend: str, of_model: Callable[[str], int | None]) -> int | None:
    spec = config.backends[backend]
    if spec.mlx is None:
        return spec.http.context if spec.http else None
    own = spec.mlx.context or of_model(spec.mlx.model)
    # prompt and answer are held in its caches together, so a smaller pool is the limit
    return min(own, spec.mlx.kv_tokens) if own else None


def _exists(config: ConfigSpec, name: str) -> bool:
    if name.startswith(TAG):
        return bool(tagged(config, name.removeprefix(TAG)))
    return name == ROUTED or name in config.endpoints or name in config.backends


def _fitting(role: Role, config: ConfigSpec, roles: Mapping[str, str]) -> str:
    """Endpoints before backends, for these have nobody behind them."""
    wanted = [name for name in (role.name, *role.wants) if name != roles.get(role.unlike)]
    found = next((name for known in (config.endpoints, config.backends) for name in wanted if name in known), "")
    return found if found or role.optional else roles.get(role.like) or config.default
