"""First configurations: names that people know from elsewhere, over the models they have. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import count
from textwrap import dedent

from msgspec import Struct

from .compat.catalog import Recipe, recipe_of
from .compat.tiers import TIERS

_HEAD = """\
# routerd's configuration. Once saved it is in force; a mistake changes nothing, and `routerctl check` tells it.
# A backend answers; an endpoint is a name to ask for; routes choose by who asks. Every default: `routerctl config`.
version: 1
"""
_NO_NAME = re.compile(r"[^A-Za-z0-9._:-]+")


class Preset(Struct, frozen=True):
    """``places`` is how many models it has use for; ``body`` makes the text of them, fewer than that or none."""

    about: str
    places: int
    body: Callable[[Sequence[str]], str]


def render(name: str, models: Sequence[str] = ()) -> str:
    """The text of a routes.yaml with the names of the preset ``name``, one of `PRESETS`.

    ``models`` are what `routes.yaml` takes for one, Ollama's tags that are known here, or names of Claude, GPT
    and Grok models; the last takes the places that are left. Raises ``ValueError`` for what is no model, and
    for more of them than there are places.
    """
    preset = PRESETS[name]
    if len(models) > preset.places:
        raise ValueError(f"the preset '{name}' has use for {preset.places} models, not {len(models)}")
    filled = [*models, *[models[-1]] * (preset.places - len(models))] if models else []
    return _HEAD + preset.body(filled)


def _two(models: Sequence[str]) -> str:
    text, (first, second) = _backends(models or ["demo"] * 2, "primary", "secondary")
    return text + dedent(f"""\
        endpoints:
          # The first that can, answers.
          primary: {{fallback: {_chain(first, second)}}}
          secondary: {{fallback: {_chain(second, first)}}}
        default: primary
    """)


def _mlx_stack(models: Sequence[str]) -> str:
    text, (fast, standard, longctx) = _backends(models or ["demo"] * 3, "fast", "standard", "longctx")
    return text + dedent(f"""\
        endpoints:
          # The first that can, answers.
          fast: {{fallback: {_chain(fast, standard)}}}
          standard: {{fallback: {_chain(standard, fast)}}}
          longctx: {{fallback: {_chain(longctx, standard)}}}
        default: standard
    """)


def _autobot(models: Sequence[str]) -> str:
    text, (simple, hard) = _backends(models or ["gemma2:2b", "mistral:7b-instruct"], "simple", "complex", "auto")
    return text + dedent(f"""\
        endpoints:
          simple: {{fallback: {_chain(simple, hard)}}}
          complex: {{fallback: [{hard}]}}
          # An ask is scored 0 to 10 by its words, without a model; what the simple model fails at goes to the other.
          auto: {{by_complexity: [{{below: 3, use: {simple}}}, {{use: {hard}}}]}}
        default: auto
    """)


def _timmy(models: Sequence[str]) -> str:
    named = [f"  {name}: {_block(_recipe(model))}\n" for name, model in zip(TIERS, models, strict=False)]
    left_out = [
        f"  {name}: {{}}  # ${tier.variable}, else {tier.model}\n" for name, tier in list(TIERS.items())[len(models) :]
    ]
    return (
        "backends:\n"
        + "".join(named + left_out)
        + dedent("""\
        endpoints:
          # Short tasks go to local_fast; a poor answer is tried again one tier up. The cloud comes last.
          auto:
            by_complexity: [{below: 3, use: local_fast}, {use: local_heavy}]
            then: cloud
            escalate_on: [error, empty, refusal]
          heavy: {fallback: [local_heavy, cloud]}
        routes:
          - {name: planning, match: {prompt: [plan, planning, strategy, optimal path]}, use: heavy}
        aliases: {LOCAL_FAST: local_fast, LOCAL_HEAVY: local_heavy, CLOUD_API: cloud}
        default: auto
    """)
    )


PRESETS = {
    "two": Preset("primary and secondary", 2, _two),
    "mlx-stack": Preset("fast, standard and longctx", 3, _mlx_stack),
    "autobot": Preset("simple and complex, and auto between them by complexity", 2, _autobot),
    "timmy": Preset("local_fast, local_heavy and cloud, and auto over them", 3, _timmy),
}


def _backends(models: Sequence[str], *taken: str) -> tuple[str, list[str]]:
    """The ``backends`` block, one for each different model, and each model's name, which is none of ``taken``."""
    names: dict[Recipe, str] = {}
    recipes = [_recipe(model) for model in models]
    for recipe in recipes:
        if recipe not in names:
            names[recipe] = _name(recipe, {*taken, *names.values()})
    lines = [f"  {name}: {_block(recipe)}\n" for recipe, name in names.items()]
    return "backends:\n" + "".join(lines), [names[recipe] for recipe in recipes]


def _recipe(model: str) -> Recipe:
    recipe = recipe_of(model) or (Recipe("mlx", model) if "/" in model else None)
    if recipe is None:
        kinds = "a Hugging Face id (org/name), a folder, a .gguf file, demo, or a claude-, gpt- or grok- model"
        raise ValueError(f"'{model}' is not known here: write {kinds}")
    return recipe


def _name(recipe: Recipe, taken: set[str]) -> str:
    last = recipe.model.rstrip("/").rpartition("/")[2].removesuffix(".gguf")
    name = _NO_NAME.sub("-", last).strip("._:-") or "model"
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(name for name in names if name not in {*taken, "routed"})


def _block(recipe: Recipe) -> str:
    fields = [f"model: {json.dumps(recipe.model)}"]
    if recipe.base_url:
        fields.append(f"base_url: {json.dumps(recipe.base_url)}")
    if recipe.key_env:
        fields.append(f"api_key: {{env: {recipe.key_env}}}")
    return f"{{{recipe.kind}: {{{', '.join(fields)}}}}}"


def _chain(*names: str) -> str:
    """A list of targets, each once."""
    return f"[{', '.join(dict.fromkeys(names))}]"
