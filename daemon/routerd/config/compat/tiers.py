"""``TIER_*``: environment variables that name the models of three tiers, where the file leaves them out."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from ..schema import BACKEND_KINDS
from ..yamltree import Node
from .catalog import Recipe, recipe_of
from .draft import Draft, make, recipe_block, remade


class Tier(Struct, frozen=True):
    """Where a tier's model is named, and which one it is where nobody names one."""

    variable: str
    model: str


TIERS = {
    "local_fast": Tier("TIER_LOCAL_FAST_MODEL", "llama3.1:8b"),
    "local_heavy": Tier("TIER_LOCAL_HEAVY_MODEL", "hermes3:70b"),
    "cloud": Tier("TIER_CLOUD_MODEL", "claude-haiku-4-5"),
}
"""The backends that may leave their model out, by name."""

CLOUD = "cloud"
BUDGETS = {"daily_usd": ("TIER_CLOUD_DAILY_BUDGET_USD", 5.0), "monthly_usd": ("TIER_CLOUD_MONTHLY_BUDGET_USD", 50.0)}
"""Keys of ``budgets``, where each is named, and what it is where nobody names it."""


def fill_tiers(draft: Draft, environ: Mapping[str, str]) -> None:
    """Give the backends named as in `TIERS` the model that the file leaves out: ``environ``'s, else the tier's own.

    What the file says stays. A backend that says no kind either gets the one that its model has.
    """
    backends = draft.names("backends")
    for name in TIERS.keys() & backends.keys():
        _fill(draft, name, backends[name], environ)
    if CLOUD in backends:
        _limit(draft, backends[CLOUD], environ)


def _limit(draft: Draft, block: Node, environ: Mapping[str, str]) -> None:
    """Give the file the budgets that it leaves out; where the cloud has a model of its own, only ``environ``'s."""
    own = not _leaves_out(block, [key for key, _ in block.items() if key in BACKEND_KINDS])
    for key, (variable, usual) in BUDGETS.items():
        named = environ.get(variable, "").strip()
        if key in draft.names("budgets") or (own and not named):
            continue
        try:
            amount = float(named) if named else usual
        except ValueError:
            draft.fail(block, f"{variable} is '{named}', which is no number of dollars", "such as 5.0")
            continue
        draft.put("budgets", key, make(amount, block), f"env {variable}" if named else "preset timmy")


def _fill(draft: Draft, name: str, block: Node, environ: Mapping[str, str]) -> None:
    kinds = [key for key, _ in block.items() if key in BACKEND_KINDS]
    if len(kinds) > 1 or not _leaves_out(block, kinds):
        return
    tier = TIERS[name]
    named = environ.get(tier.variable, "").strip()
    model, origin = (named, f"env {tier.variable}") if named else (tier.model, "preset timmy")
    recipe = recipe_of(model) or (Recipe("mlx", model) if "/" in model else None)
    if kinds:
        (kind,) = kinds
        known = recipe.model if recipe and kind == "mlx" == recipe.kind else model
        given = block.get(kind)
        made = make({kind: {**(dict(given.items()) if given else {}), "model": known}}, block)
        draft.origins["backends", name, kind, "model"] = origin
    elif recipe:
        made = recipe_block(recipe, block)
        draft.origins["backends", name, recipe.kind] = origin
    else:
        what = f"{tier.variable} names '{model}', and nothing here answers for it"
        draft.fail(block, f"backends.{name}: {what}", "a Hugging Face id, a folder, or a claude-, gpt- or grok- model")
        return
    draft.put("backends", name, remade(block, {**dict(block.items()), **dict(made.items())}))


def _leaves_out(block: Node, kinds: list[str]) -> bool:
    """Whether the file says no model for this backend."""
    given = block.get(kinds[0]) if kinds else None
    model = given.get("model") if given else None
    shapes = [node.value for node in (block, given) if node]
    return all(isinstance(shape, dict | None) for shape in shapes) and (model is None or model.value is None)
