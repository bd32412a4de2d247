"""llama-swap: models, each with the command that serves it.

What mlx-lm can load becomes a model of ours; for the rest, llama-swap itself goes on being asked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from ..yamltree import Node
from .draft import Block, Draft, versioned

LLAMA_SWAP = "http://127.0.0.1:8080/v1"
_MACRO = re.compile(r"\$\{([\w.-]+)\}")
_READABLE = re.compile(r"(?i)[-._](q4_0|q4_1|q8_0|f16)\.gguf$")
_ENVIRONMENT = re.compile(r"\$\{env\.(\w+)\}")
_LONG_CONTEXT = 16384
_LEVELS = {"warn": "warning"}
_GLOBAL_REASONS = {
    "matrix": "what is loaded together is decided by memory; models give way to one that is wanted",
    "apiKeys": "routerd makes a token of its own: routerctl token",
    "sendLoadingState": "callers of the socket see how far a model is loaded anyway",
    "startPort": "models have no ports here",
}
_MODEL_REASONS = {
    "filters": "a route may set temperature and the like",
    "setParams": "a route may set temperature and the like",
    "env": "models have the daemon's environment",
    "cmdStop": "routerd stops its models itself",
    "checkEndpoint": "a model is ready here when it has answered",
    "timeouts": "a backend over HTTP has its own: connect, first_token, stall and total",
}
_UNSAID = ("name", "description", "metadata", "unlisted", "useModelName", "proxy", "macros", "sendLoadingState")


def read_llamaswap(draft: Draft, tree: Node) -> None:
    """Work a config.yaml of llama-swap into ``draft``."""
    top = Block(draft, tree, "")
    macros = _macros(top.take("macros"))
    common = top.number("globalTTL")
    load_timeout = top.number("healthCheckTimeout")
    preload = _names(top.block("hooks").block("on_startup").take("preload"))
    kept = _kept(draft, top)
    for name, block in top.blocks("models"):
        made = _backend(draft, block, {**macros, **_macros(block.take("macros")), "MODEL_ID": name}, load_timeout)
        ttl = block.number("ttl")
        if mlx := made.get("mlx"):
            idle = common if ttl is None or ttl < 0 else ttl
            mlx["keep_alive"] = f"{idle:g}s" if idle else "forever"
            mlx |= {"preload": True} if name in preload else {}
            mlx |= {"pin": True} if name in kept else {}
        aliases = block.take("aliases")
        if block.node and (called := draft.backend(name, made, block.node)):
            draft.alias(name, called)
            _aliases(draft, aliases, called)
        block.ignore(*_UNSAID)
        block.rest(_MODEL_REASONS)
    for name, block in top.blocks("peers"):
        _peer(draft, name, block)
    if level := top.take("logLevel"):
        draft.setting("log", {"level": _LEVELS.get(level.source, level.source)}, level)
    top.rest(_GLOBAL_REASONS)


def _backend(draft: Draft, block: Block, macros: Mapping[str, str], load_timeout: float | None) -> dict[str, Any]:
    node = block.take("cmd")
    place = node or block.node
    assert place is not None
    words = _words(_filled(node.source, macros)) if node else []
    options = dict(_options(words))
    concurrency = block.number("concurrencyLimit") or _whole(options, "-np", "--parallel")
    model, why = _model(words, options)
    if not model:
        draft.note(place, f"{block.path}: {why}; llama-swap goes on serving it at {LLAMA_SWAP}")
        asked: dict[str, Any] = {"model": macros["MODEL_ID"], "base_url": LLAMA_SWAP}
        if "llama-server" in " ".join(words[:3]):
            asked["local"] = True  # of another program nobody knows whether it forwards requests
        return {"openai": asked | ({"concurrency": int(concurrency)} if concurrency else {})}
    spec: dict[str, Any] = {"model": model}
    if context := _whole(options, "-c", "--ctx-size"):
        spec |= {"context": context} | ({"kv_tokens": context} if context > _LONG_CONTEXT else {})
    if adapter := options.get("--adapter-path"):
        spec["adapter"] = adapter
    if concurrency:
        spec["concurrency"] = int(concurrency)
    if load_timeout:
        spec["load_timeout"] = f"{load_timeout:g}s"
    draft.note(place, f"{block.path}.cmd: routerd loads {model} itself, other options are not used")
    return {"mlx": spec}


def _model(words: list[str], options: Mapping[str, str]) -> tuple[str, str]:
    """The model that a command serves, where mlx-lm can load it, else why it cannot."""
    program = " ".join(words[:3])
    if "mlx_lm" in program or "mlx-lm" in program:
        return options.get("--model", ""), "no --model in its command"
    if "llama-server" not in program:
        return "", f"'{words[0] if words else ''}' is no server that routerd knows"
    file = options.get("-m") or options.get("--model") or ""
    if _READABLE.search(file):
        return file, ""
    what = file or options.get("-hf") or options.get("--hf-repo") or "its model"
    return "", f"{what} is not of a quantization that mlx-lm reads (Q4_0, Q4_1, Q8_0, F16)"


def _aliases(draft: Draft, node: Node | None, name: str) -> None:
    for item in node.elements() if node else []:
        named = item.get("id") if isinstance(item.value, dict) else item
        if named:
            draft.alias(named.source, name)


def _kept(draft: Draft, top: Block) -> set[str]:
    """The models of groups that are never unloaded."""
    kept: set[str] = set()
    for _, group in top.blocks("groups"):
        persistent, members = group.take("persistent"), group.take("members")
        if persistent and persistent.value is True:
            kept |= _names(members)
        for key in ("swap", "exclusive"):
            if node := group.take(key):
                draft.note(node, f"{group.path}.{key}: {_GLOBAL_REASONS['matrix']}")
        group.rest()
    return kept


def _peer(draft: Draft, name: str, block: Block) -> None:
    url, key, models = block.text("proxy"), block.text("apiKey"), block.take("models")
    secret = {"env": found[1]} if (found := _ENVIRONMENT.fullmatch(key)) else key
    for model in models.elements() if models else []:
        spec = {"model": model.source, "base_url": versioned(url), **({"api_key": secret} if secret else {})}
        if called := draft.backend(f"{name}-{model.source}", {"openai": spec}, model):
            draft.alias(model.source, called)
    block.rest(_MODEL_REASONS)


def _names(node: Node | None) -> set[str]:
    return {item.source for item in node.elements()} if node else set()


def _macros(node: Node | None) -> dict[str, str]:
    return {name: value.source for name, value in node.items()} if node else {}


def _filled(text: str, macros: Mapping[str, str]) -> str:
    """``text`` with its macros, and theirs, filled in; what is not known here stays."""
    for _ in range(len(macros) + 1):
        filled = _MACRO.sub(lambda found: macros.get(found[1], found[0]), text)
        if filled == text:
            break
        text = filled
    return _ENVIRONMENT.sub(r"$\1", text).replace("$HOME", "~")


def _words(command: str) -> list[str]:
    lines = (line for line in command.splitlines() if not line.lstrip().startswith("#"))
    try:
        return shlex.split(" ".join(line.rstrip("\\") for line in lines))
    except ValueError:  # an unclosed quote
        return command.split()


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if word.startswith("-"):
            name, equals, value = word.partition("=")
            yield name, value if equals else following


def _whole(options: Mapping[str, str], *names: str) -> int | None:
    return next((int(value) for name in names if (value := options.get(name, "")).isdigit() and int(value)), None)
