"""/v1/models: every name that may be asked for, in one shape that OpenAI's SDKs take, and Anthropic's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from routerd_client.protocol import ErrorCode

from ..config.graph import TAG, backends_of
from ..config.match import is_glob
from ..dispatch.generation import Generation
from ..routing.table import ROUTED
from .page import Ask, Reply, json, refused
from .services import Services

_CREATED, _CREATED_AT = 1_700_000_000, "2023-11-14T22:13:20Z"
"""Nobody knows when a model was made, but a date is required; the same in both shapes."""


async def all_(services: Services, _ask: Ask) -> Reply:
    entries = list(_entries(services.generation))
    ends = {"first_id": entries[0]["id"], "last_id": entries[-1]["id"]}
    # Codex wants a list by its maker's private name, and complains where there is none
    return json({"object": "list", "data": entries, "has_more": False, **ends, "models": []})


async def one(services: Services, ask: Ask) -> Reply:
    for entry in _entries(services.generation):
        if entry["id"] == ask.rest:
            return json(entry)
    raise refused(404, f"there is no model {ask.rest[:100]!r}", "GET /v1/models lists them", ErrorCode.NOT_FOUND)


def _entries(generation: Generation) -> Iterator[dict[str, Any]]:
    """Endpoints, backends, tags, the name that asks for the routes, then aliases that are names themselves. There are
    agents that take the first."""
    config, table = generation.config, generation.table
    tags = (name for name in table.endpoints if name.startswith(TAG))
    for name in (*config.endpoints, *config.backends, *tags):
        yield _entry(generation, name, name)
    yield _entry(generation, ROUTED, config.default)
    for name, use in config.aliases.items():
        if not is_glob(name) and name != ROUTED and name not in table.endpoints:
            yield _entry(generation, name, config.default if use == ROUTED else use)


def _entry(generation: Generation, name: str, target: str) -> dict[str, Any]:
    backends = backends_of(generation.config, target)
    return {
        "id": name,
        "object": "model",
        "created": _CREATED,
        "owned_by": "routerd",
        "type": "model",
        "display_name": name,
        "created_at": _CREATED_AT,
        "context_length": _context(generation, backends),
        "backends": backends,
    }


def _context(generation: Generation, backends: list[str]) -> int | None:
    """The longest that one of ``backends`` takes: a prompt that is too long for the others goes there. None where
    that is not known of any."""
    known = [generation.backends[name].limits().context for name in backends]
    return max((context for context in known if context is not None), default=None)
