"""AutoBot's ``tiered_routing:`` block: simple asks to one model, complex ones to another."""

from __future__ import annotations

from msgspec import Struct

from ..types import Word
from ..yamltree import Node
from .catalog import recipe_of
from .draft import Draft, Tree, make, recipe_block

ENDPOINT = "auto"
"""What the block becomes."""
DISABLED = "Tiered routing disabled"
"""The route that says why everything goes to the complex model."""

_SIMPLE, _COMPLEX = "gemma2:2b", "mistral:7b-instruct"


class _Models(Struct, frozen=True, kw_only=True):
    simple: Word = _SIMPLE
    complex: Word = _COMPLEX


class _Logging(Struct, frozen=True, kw_only=True):
    log_scores: bool = True
    log_routing_decisions: bool = True


class _TieredRouting(Struct, frozen=True, kw_only=True):
    enabled: bool = True
    complexity_threshold: float = 3.0
    """Asks that score this or more are complex."""
    models: _Models = _Models()
    fallback_to_complex: bool = True
    logging: _Logging = _Logging()


def read_tiered_routing(draft: Draft) -> None:
    """Work ``tiered_routing:`` into ``draft`` as the endpoint `ENDPOINT`, and as the default where there is none.

    Not enabled, the endpoint is the complex model alone, and a route says so where the default is this one's.
    """
    node = draft.take("tiered_routing")
    if node is None:
        return
    spec: _TieredRouting | None = draft.build(_TieredRouting, node, "tiered_routing")
    if spec is None:
        return
    if draft.declared(ENDPOINT):
        draft.fail(node, f"tiered_routing makes the endpoint '{ENDPOINT}', which is declared as well", "remove one")
        return
    draft.put("endpoints", ENDPOINT, _endpoint(draft, node, spec), "autobot tiered_routing")
    if draft.default(ENDPOINT, node, "autobot tiered_routing") and not spec.enabled:
        draft.route(make({"name": DISABLED, "match": {}, "use": ENDPOINT}, node), "autobot tiered_routing.enabled")
    _say_what_is_not_used(draft, node)


def _endpoint(draft: Draft, block: Node, spec: _TieredRouting) -> Node:
    if not spec.enabled:
        return make({"fallback": [_answering(draft, block, "complex", spec.models.complex)]}, block)
    below: Tree = {"below": spec.complexity_threshold, "use": _answering(draft, block, "simple", spec.models.simple)}
    bands: Tree = [below, {"use": _answering(draft, block, "complex", spec.models.complex)}]
    return make({"by_complexity": bands, "upward": spec.fallback_to_complex}, block)


def _answering(draft: Draft, block: Node, key: str, model: str) -> str:
    """The name that answers for ``model``."""
    models = block.get("models")
    place = (models and models.get(key)) or block
    if draft.declared(model):
        return model
    recipe = recipe_of(model)
    if recipe is None:
        what = f"tiered_routing.models.{key}: nothing here answers for '{model}'"
        draft.fail(place, what, f"declare it: 'backends: {{{model}: {{mlx: {{model: ...}}}}}}'")
        return model
    return draft.backend(model, recipe_block(recipe, place), key, f"autobot tiered_routing.models.{key}")


def _say_what_is_not_used(draft: Draft, block: Node) -> None:
    logging = block.get("logging")
    if logging and (given := [key for key, _ in logging.items()]):
        hint = "each decision has its score and reason: routerctl explain"
        draft.warn(logging, f"tiered_routing.logging: {', '.join(given)} has no setting of its own here", hint)
