"""Agents that write code."""

from __future__ import annotations

import json
import shlex
from typing import Any

from .setup import Edit, Harness, Role, Setup, called

MAX_ANSWER = 8192
"""What an agent is told that an answer may have, in tokens, where it insists on a number; less of a small context."""


def _room(context: int) -> int:
    return min(MAX_ANSWER, context // 4)


# Claude Code


def _claude_models(setup: Setup) -> dict[str, str]:
    kinds = {kind: setup.roles[kind] for kind in ("opus", "sonnet", "haiku")}
    told = {f"ANTHROPIC_DEFAULT_{kind.upper()}_MODEL": name for kind, name in kinds.items()}
    told |= {"ANTHROPIC_MODEL": setup.roles["main"], "CLAUDE_CODE_SUBAGENT_MODEL": setup.roles["subagent"]}
    if context := setup.contexts.get(setup.roles["main"]):
        told["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] = str(context)
    return told


def _claude_environment(setup: Setup) -> dict[str, str]:
    where = {"ANTHROPIC_BASE_URL": setup.url, "ANTHROPIC_AUTH_TOKEN": setup.token}
    if not setup.url:  # the socket's owner is known; the rest has to be there all the same
        where = {
            "ANTHROPIC_UNIX_SOCKET": str(setup.socket),
            "ANTHROPIC_BASE_URL": "http://localhost",
            "ANTHROPIC_AUTH_TOKEN": "local",
        }
    return where | _claude_models(setup)


def _claude_edits(setup: Setup) -> list[Edit]:
    env: dict[str, str | None] = dict(_claude_environment(setup))
    patch: dict[str, Any] = {"env": env}
    if setup.url:
        env |= {"ANTHROPIC_UNIX_SOCKET": None, "ANTHROPIC_AUTH_TOKEN": None}
        patch["apiKeyHelper"] = f"cat {shlex.quote(str(setup.token_file))}"
    folder = setup.folder("CLAUDE_CONFIG_DIR", ".claude")
    return [Edit(path=folder / "settings.json", format="json", patch=patch)]


CLAUDE_CODE = Harness(
    about="Claude Code (2.1.197)",
    next="claude -p 'say hello'",
    roles=(
        Role("main", "the conversation", routed=True, tools=True),
        Role("opus", "what asks for Opus", ("large", "heavy", "complex"), like="main", tools=True),
        Role("sonnet", "what asks for Sonnet", like="main", tools=True),
        Role("haiku", "titles and other short tasks", ("fast", "simple", "small", "secondary"), like="main"),
        Role("subagent", "subagents", like="main", tools=True),
    ),
    edits=_claude_edits,
    environment=_claude_environment,
    routes=lambda setup: {"aliases": {"claude-haiku-*": setup.roles["haiku"], "claude-*": setup.roles["main"]}},
    unix=True,
)


# Codex


def _codex_edits(setup: Setup) -> list[Edit]:
    provider = {
        "name": "routerd",
        "base_url": setup.base_url,
        "wire_api": "responses",
        "auth": {"command": "cat", "args": [str(setup.token_file)]},
    }
    patch = {
        "model": setup.roles["main"],
        "model_provider": "routerd",
        "model_context_window": setup.contexts.get(setup.roles["main"]),
        "model_providers": {"routerd": provider},
    }
    return [Edit(path=setup.folder("CODEX_HOME", ".codex") / "config.toml", format="toml", patch=patch)]


CODEX = Harness(
    about="Codex CLI (0.169.0)",
    next="codex exec 'say hello'",
    roles=(Role("main", "the conversation", routed=True, tools=True),),
    edits=_codex_edits,
)


# opencode


def _opencode(setup: Setup) -> dict[str, Any]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "routerd",
        "options": {"baseURL": setup.base_url, "apiKey": f"{{file:{setup.token_file}}}"},
        "models": {name: _opencode_model(setup, name) for name in setup.offered},
    }
    return {
        "$schema": "https://opencode.ai/config.json",
        "model": f"routerd/{setup.roles['main']}",
        "small_model": f"routerd/{setup.roles['small']}",
        "provider": {"routerd": provider},
    }


def _opencode_model(setup: Setup, name: str) -> dict[str, Any]:
    context = setup.contexts.get(name)
    return {"name": name, **({"limit": {"context": context, "output": _room(context)}} if context else {})}


def _opencode_edits(setup: Setup) -> list[Edit]:
    folder = setup.folder("XDG_CONFIG_HOME", ".config") / "opencode"
    return [Edit(path=folder / "opencode.json", format="json", patch=_opencode(setup))]


OPENCODE = Harness(
    about="opencode (1.18.33)",
    next="opencode run 'say hello'",
    roles=(
        Role("main", "the conversation", routed=True, tools=True),
        Role("small", "titles", ("fast", "simple", "secondary"), like="main"),
    ),
    edits=_opencode_edits,
    environment=lambda setup: {"OPENCODE_CONFIG_CONTENT": json.dumps(_opencode(setup))},
)


# aider


def _aider_edits(setup: Setup) -> list[Edit]:
    patch = {
        "model": f"openai/{setup.roles['main']}",
        "weak-model": f"openai/{setup.roles['weak']}",
        "editor-model": f"openai/{setup.roles['editor']}",
        "openai-api-base": setup.base_url,
        "openai-api-key": setup.token,
    }
    headers = {"extra_params": {"extra_headers": called("aider")}}
    settings = [{"name": f"openai/{name}", **headers} for name in setup.offered]
    edits = [
        Edit(path=setup.home / ".aider.conf.yml", format="yaml", patch=patch),
        Edit(path=setup.home / ".aider.model.settings.yml", format="yaml", patch=settings, by="name"),
    ]
    if known := {
        f"openai/{name}": _aider_model(setup.contexts[name]) for name in setup.offered if name in setup.contexts
    }:
        edits.append(Edit(path=setup.home / ".aider.model.metadata.json", format="json", patch=known))
    return edits


def _aider_model(context: int) -> dict[str, Any]:
    room = _room(context)
    prices = {"input_cost_per_token": 0, "output_cost_per_token": 0}
    limits = {"max_input_tokens": context - room, "max_output_tokens": room, "max_tokens": room}
    return {**limits, **prices, "litellm_provider": "openai", "mode": "chat"}


AIDER = Harness(
    about="aider (0.86.2)",
    next="aider --message 'say hello'",
    roles=(
        Role("main", "the conversation", routed=True),
        Role("weak", "commit messages and summaries", ("fast", "simple", "small", "secondary"), like="main"),
        Role("editor", "edits, in architect mode", like="main"),
    ),
    edits=_aider_edits,
    environment=lambda setup: {
        "OPENAI_API_BASE": setup.base_url,
        "OPENAI_API_KEY": setup.token,
        "AIDER_MODEL": f"openai/{setup.roles['main']}",
        "AIDER_WEAK_MODEL": f"openai/{setup.roles['weak']}",
        "AIDER_EDITOR_MODEL": f"openai/{setup.roles['editor']}",
    },
)


# Continue


def _continue_edits(setup: Setup) -> list[Edit]:
    roles = {"main": ["chat", "edit", "apply"], "autocomplete": ["autocomplete"], "summarize": ["summarize"]}
    by_name: dict[str, list[str]] = {}
    for role, theirs in roles.items():
        if name := setup.roles.get(role):
            by_name.setdefault(name, []).extend(theirs)
    by_name |= {name: ["chat"] for name in setup.offered if name not in by_name}
    patch = {
        "name": "routerd",
        "version": "1.0.0",
        "schema": "v1",
        "models": [_continue_model(setup, name, theirs) for name, theirs in by_name.items()],
    }
    folder = setup.folder("CONTINUE_GLOBAL_DIR", ".continue")
    return [Edit(path=folder / "config.yaml", format="yaml", patch=patch, by="name")]


def _continue_model(setup: Setup, name: str, roles: list[str]) -> dict[str, Any]:
    where = {"provider": "openai", "model": name, "apiBase": setup.base_url, "apiKey": setup.token}
    calls_itself = {"requestOptions": {"headers": {"x-routerd-client": "continue"}}}  # it adds a User-Agent of its own
    context = setup.contexts.get(name)
    limits = {"defaultCompletionOptions": {"contextLength": context, "maxTokens": _room(context)}} if context else {}
    able = {"capabilities": [] if name in setup.without_tools else ["tool_use"]}
    return {"name": f"routerd {name}", **where, **calls_itself, "roles": roles, **able, **limits}


CONTINUE = Harness(
    about="Continue (1.5.47)",
    next="cn -p 'say hello'",
    roles=(
        Role("main", "chat, edits and applying them", routed=True, tools=True),
        Role("autocomplete", "what is suggested while you type", ("fast", "small"), optional=True),
        Role("summarize", "summaries", ("fast", "simple", "small", "secondary"), like="main"),
    ),
    edits=_continue_edits,
)


# OpenHands

OPENHANDS = Harness(
    about="OpenHands",
    next="openhands --override-with-envs; in its pages: Settings, LLM, Advanced: Custom Model, Base URL and API Key",
    roles=(Role("main", "the conversation", routed=True, tools=True),),
    environment=lambda setup: {
        "LLM_MODEL": f"openai/{setup.roles['main']}",
        "LLM_BASE_URL": setup.base_url,
        "LLM_API_KEY": setup.token,
    },
)
