"""Frameworks, whose agents and nodes are the user's own: a module that gives each its model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .setup import ROUTED, Edit, Harness, Setup

_CREWAI = '''\
"""Models for CrewAI's agents, from routerd."""

from pathlib import Path
from urllib.parse import quote

from crewai import LLM

BASE_URL = <URL>
TOKEN = Path(<TOKEN>)


def llm(role: str, model: str = "routed", **options: object) -> LLM:
    """The model of the agent with this role. routes.yaml chooses it (match: {process: crewai, role: ...});
    another `model` names an endpoint."""
    headers = {"User-Agent": "crewai", "x-routerd-context": f"process=crewai,role={quote(role)}"}
    key = TOKEN.read_text().strip()
    return LLM(model=f"openai/{model}", base_url=BASE_URL, api_key=key, default_headers=headers, **options)
'''

_LANGGRAPH = '''\
"""Models for LangGraph's nodes, from routerd."""

from pathlib import Path
from urllib.parse import quote

from langchain_openai import ChatOpenAI

BASE_URL = <URL>
TOKEN = Path(<TOKEN>)


def llm(node: str, model: str = "routed", **options: object) -> ChatOpenAI:
    """The model of the node. routes.yaml chooses it (match: {process: langgraph, role: ...}); another `model`
    names an endpoint."""
    headers = {"User-Agent": "langgraph", "x-routerd-context": f"process=langgraph,role={quote(node)}"}
    key = TOKEN.read_text().strip()
    options = {"stream_usage": True, **options}
    return ChatOpenAI(model=model, base_url=BASE_URL, api_key=key, default_headers=headers, **options)
'''


def _module(text: str) -> Callable[[Setup], list[Edit]]:
    def edits(setup: Setup) -> list[Edit]:
        filled = text.replace("<URL>", repr(setup.base_url)).replace("<TOKEN>", repr(str(setup.token_file)))
        return [Edit(path=Path("routerd_llm.py"), format="text", patch=filled)]

    return edits


def _routes(process: str) -> Callable[[Setup], dict[str, Any]]:
    def routes(setup: Setup) -> dict[str, Any]:
        made = [
            {"name": f"{process}-{role}", "match": {"process": process, "role": role}, "use": name}
            for role, name in setup.roles.items()
            if name != ROUTED
        ]
        return {"routes": made} if made else {}

    return routes


CREWAI = Harness(
    about="CrewAI (1.15.30)",
    next="from routerd_llm import llm; Agent(role='researcher', llm=llm('researcher'), ...)",
    edits=_module(_CREWAI),
    routes=_routes("crewai"),
    free=True,
)

LANGGRAPH = Harness(
    about="LangGraph (1.2.22) with langchain-openai (1.7.3)",
    next="from routerd_llm import llm; llm('planner').invoke('say hello')",
    edits=_module(_LANGGRAPH),
    routes=_routes("langgraph"),
    free=True,
)
