"""``model.routes`` of Hermes, applied without a daemon: a pure helper for agents that choose their model themselves."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from .contexts import ContextValue, texts

log = logging.getLogger(__name__)

SHORTHANDS = {"platforms": "platform", "by_source": "source_kind"}
"""Blocks of routes by one key of the context, and that key; they are tried in this order, after ``routes``."""

_NO_OPINION: tuple[Any, ...] = ("", None, [])


def apply_route(
    model: str,
    runtime_kwargs: Mapping[str, Any],
    model_config: Mapping[str, Any] | None,
    context: Mapping[str, ContextValue] | None,
) -> tuple[str, dict[str, Any]]:
    """Return the model and the keyword arguments that the first matching route of ``model_config`` leads to.

    ``model_config`` is Hermes's ``model:`` block, with ``routes``, ``platforms`` and ``by_source``. A route's fields
    replace those given, but for empty ones (``""``, None, ``[]``); 0 and False are values. Without a match, a context
    or routes, what was given is returned. Nothing that is passed in is changed. Never raises: a block that cannot be
    applied is logged and left out of account.
    """
    unchanged = model, dict(runtime_kwargs)
    try:
        route = _matching(model_config or {}, texts(context or {}))
        if route is None:
            return unchanged
        fields = {key: value for key, value in route.items() if key != "match" and value not in _NO_OPINION}
        return str(fields.pop("model", model)), {**runtime_kwargs, **fields}
    except Exception as error:  # a turn must not fail for its routing
        log.warning("model.routes cannot be applied, the base model answers: %s: %s", type(error).__name__, error)
        return unchanged


def _matching(model_config: Mapping[str, Any], context: Mapping[str, str]) -> Mapping[str, Any] | None:
    if not context:
        return None
    return next((route for route in _routes(model_config) if _matches(route.get("match"), context)), None)


def _routes(model_config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from model_config.get("routes") or ()
    for block, key in SHORTHANDS.items():
        for name, given in (model_config.get(block) or {}).items():
            fields = given if isinstance(given, Mapping) else {"model": given}
            if any(value not in _NO_OPINION for value in fields.values()):
                yield {**fields, "match": {key: name}}


def _matches(match: Any, context: Mapping[str, str]) -> bool:
    """Return whether the context has all keys of ``match``, each with exactly its text, or one of its texts. An empty
    ``match`` matches nothing."""
    if not isinstance(match, Mapping) or not match:
        return False
    return all(context.get(key) in _wanted(value) for key, value in match.items())


def _wanted(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [*texts({str(index): one for index, one in enumerate(values)}).values()]
