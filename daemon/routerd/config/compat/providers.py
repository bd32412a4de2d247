"""Who answers for a model of Hermes's: its provider, address and key -> a backend of ours."""

from __future__ import annotations

import re
import shlex
from urllib.parse import urlsplit

from ..yamltree import Node
from .catalog import MAKERS, Maker, recipe_of
from .draft import Tree, make, recipe_block

Settings = dict[str, Node]
"""What is said of a model, by Hermes's keys: model, provider, base_url, those of `KEYS`, api_mode, context_length."""

KEYS = ("key_cmd", "api_key", "key_env", "api_key_env")
"""Ways to give a key; of several, the first here counts."""

_MODES = {"chat_completions": "openai", "codex_responses": "responses", "anthropic_messages": "anthropic"}
_ANY = ("", "auto", "custom", "ollama", "vllm", "llamacpp", "llama.cpp")
_SPELLED = {"api": "base_url", "url": "base_url"}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class NoBackendError(Exception):
    """Nobody is known who answers for a model. ``hint`` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Providers:
    """The providers that a file of Hermes's names, and those whose addresses are known."""

    def __init__(self, named: Node | None, listed: Node | None) -> None:
        blocks = dict(named.items()) if named else {}
        for block in listed.elements() if listed else ():
            if name := block.get("name"):
                blocks[name.source] = block
        self._blocks = {name: _settings(block) for name, block in blocks.items()}

    def backend(self, settings: Settings) -> Node:
        """The block of a backend for ``settings``. Raises `NoBackendError`."""
        named = settings["provider"].source.removeprefix("custom:") if "provider" in settings else ""
        block = self._blocks.get(named, {})
        if block:
            settings = overlay(block, settings)
        model, url = settings["model"], settings.get("base_url")
        maker = MAKERS.get(named) or _maker_at(url)
        if not (url or maker or block or named in _ANY):
            raise NoBackendError(f"the provider '{named}' has no address here", "give its base_url")
        if url or maker:
            return _over_http(settings, maker, url)
        recipe = recipe_of(model.source)
        if recipe is None:
            raise NoBackendError(
                f"nothing here answers for '{model.source}'",
                f"declare it ('backends: {{{model.source}: {{mlx: {{model: ...}}}}}}'), or give a base_url",
            )
        if recipe.kind == "mlx":
            return recipe_block(recipe, model, **_context(settings))
        secret = secret_of(settings)
        return recipe_block(recipe, model, **({"api_key": secret} if secret else {}), **_context(settings))


def overlay(base: Settings, own: Settings) -> Settings:
    """``own`` over ``base``: what it does not give is the base's. A key replaces one that is given in another way."""
    kept = {name: node for name, node in base.items() if name not in KEYS or not any(key in own for key in KEYS)}
    return {**kept, **own}


def secret_of(settings: Settings) -> Node | None:
    """Where the key is, in our words; None where none is given."""
    name = next((name for name in KEYS if name in settings), None)
    if name is None:
        return None
    node = settings[name]
    if name == "key_cmd":
        return make({"command": node if isinstance(node.value, list) else list(_words(node.source))}, node)
    if name != "api_key":
        return make({"env": node}, node)
    variable = _VARIABLE.fullmatch(node.source)
    return make({"env": variable[1]}, node) if variable else node


def canonical(node: Node) -> object:
    """What two nodes that say the same have in common."""
    if isinstance(node.value, dict):
        return tuple((key, canonical(child)) for key, child in sorted(node.items()))
    return tuple(map(canonical, node.elements())) if isinstance(node.value, list) else node.source


def host_of(url: Node | None) -> str:
    return urlsplit(url.source).netloc if url else ""


def _over_http(settings: Settings, maker: Maker | None, url: Node | None) -> Node:
    mode = settings.get("api_mode")
    if mode and mode.source not in _MODES:
        raise NoBackendError(f"the api_mode '{mode.source}' is not known here", f"one of {', '.join(_MODES)}")
    kind = _MODES[mode.source] if mode else maker.kind if maker else "openai"
    spec: dict[str, Tree] = {"model": settings["model"]}
    if url or (maker and maker.base_url):
        spec["base_url"] = url or (maker.base_url if maker else "")
    if secret := secret_of(settings):
        spec["api_key"] = secret
    elif maker and maker.key_env:
        spec["api_key"] = {"env": maker.key_env}
    return make({kind: {**spec, **_context(settings)}}, settings["model"])


def _context(settings: Settings) -> dict[str, Tree]:
    return {"context": settings["context_length"]} if "context_length" in settings else {}


def _maker_at(url: Node | None) -> Maker | None:
    known = [maker for maker in MAKERS.values() if maker.base_url and url and url.source.startswith(maker.base_url)]
    return known[0] if known else None


def _settings(block: Node) -> Settings:
    """What a provider's block says that matters here."""
    known = {_SPELLED.get(key, key): child for key, child in block.items() if child.value not in (None, "", [])}
    return {key: child for key, child in known.items() if key in ("base_url", "api_mode", *KEYS)}


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an unclosed quote: tried as one word, and the failure names it
        return [text]
