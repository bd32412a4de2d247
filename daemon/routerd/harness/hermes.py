"""Hermes: a provider of its own, and a model for each of its parts."""

from __future__ import annotations

from typing import Any

from .setup import Edit, Harness, Role, Setup, called

_VARIABLE = "ROUTERD_TOKEN"
_SHORT_TASKS = (
    *("web_extract", "skills_hub", "approval", "mcp", "title_generation", "memory_query_rewrite", "tts_audio_tags"),
    *("triage_specifier", "profile_describer", "goal_judge", "monitor"),
)
"""What it asks beside the conversation, each for a few sentences. The others stay with its main model, whose prompt
cache has the conversation already."""


def _edits(setup: Setup) -> list[Edit]:
    folder = setup.folder("HERMES_HOME", ".hermes")
    return [
        Edit(path=folder / "config.yaml", format="yaml", patch=_config(setup)),
        Edit(path=folder / ".env", format="env", patch={_VARIABLE: setup.token}),
    ]


def _config(setup: Setup) -> dict[str, Any]:
    roles = setup.roles
    # What an earlier provider left here would win over ours.
    cleared = dict.fromkeys(("base_url", "api_key", "key_env", "api_mode", "context_length"))
    patch: dict[str, Any] = {
        "model": {"default": roles["primary"], "provider": "routerd", **cleared},
        "providers": {
            "routerd": {
                "name": "routerd",
                "base_url": setup.base_url,
                "api_mode": "chat_completions",
                "key_env": _VARIABLE,
                "extra_headers": called("hermes"),
                "default_model": roles["primary"],
                "models": {name: _model(setup, name) for name in setup.offered},
            }
        },
        "auxiliary": {task: _ask(setup, "auxiliary") for task in _SHORT_TASKS},
        "delegation": {"base_url": None, "api_key": None, **_ask(setup, "delegation")},
    }
    for task in ("vision", "compression"):
        if task in roles:
            patch["auxiliary"][task] = _ask(setup, task)
    if "fallback" in roles:
        where = {"base_url": setup.base_url, "key_env": _VARIABLE}
        model = roles["fallback"]
        patch["fallback_providers"] = [{"provider": "custom", "model": model, **where, **_model(setup, model)}]
    return patch


def _ask(setup: Setup, role: str) -> dict[str, Any]:
    return {"provider": "routerd", "model": setup.roles[role]}


def _model(setup: Setup, name: str) -> dict[str, Any]:
    context = setup.contexts.get(name)
    return {"context_length": context} if context else {}


HERMES = Harness(
    about="Hermes Agent (0.19.0)",
    next="hermes chat -q 'say hello'",
    roles=(
        Role("primary", "the conversation", routed=True, tools=True),
        Role("delegation", "subagents", ("secondary",), like="primary", tools=True),
        Role("auxiliary", "titles, approvals and the like", ("fast", "simple", "small", "secondary"), short=True),
        Role("compression", "summaries of long conversations; its context must be no smaller", ("longctx",), "primary"),
        Role("vision", "images", like="primary", short=True, images=True),
        Role("fallback", "what Hermes itself turns to", ("secondary",), unlike="primary", optional=True),
    ),
    edits=_edits,
    min_context=64_000,
)
