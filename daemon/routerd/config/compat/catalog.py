"""What a model's name alone says of who answers for it. Pure."""

from __future__ import annotations

from msgspec import Struct

from .ollama import conversion


class Maker(Struct, frozen=True):
    """An API that is reached by a well known address; ``""`` is the one our own kind knows."""

    kind: str
    base_url: str
    key_env: str


MAKERS = {
    "anthropic": Maker("anthropic", "", "ANTHROPIC_API_KEY"),
    "openai": Maker("openai", "", "OPENAI_API_KEY"),
    "xai": Maker("openai", "https://api.x.ai/v1", "XAI_API_KEY"),
    "openrouter": Maker("openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "lmstudio": Maker("openai", "http://127.0.0.1:1234/v1", ""),
}
_FAMILIES = {"claude-": "anthropic", "gpt-": "openai", "grok-": "xai"}
_FOLDERS = ("/", "./", "../", "~")


class Recipe(Struct, frozen=True):
    """A backend that can be made from a model's name."""

    kind: str
    model: str
    base_url: str = ""
    key_env: str = ""


def recipe_of(model: str) -> Recipe | None:
    """Who answers for ``model``: its maker's API for Claude, GPT and Grok, a process of our own for Ollama tags that
    are known here, mlx-community's conversions, folders, ``.gguf`` files and ``demo``; None for all else."""
    for family, name in _FAMILIES.items():
        if model.startswith(family):
            maker = MAKERS[name]
            return Recipe(maker.kind, model, maker.base_url, maker.key_env)
    if converted := conversion(model):
        return Recipe("mlx", converted)
    if model == "demo" or model.startswith(("mlx-community/", *_FOLDERS)) or model.lower().endswith(".gguf"):
        return Recipe("mlx", model)
    return None
